"""The log of a long training, as a panel that is opened late finds it."""

from __future__ import annotations

import json
from pathlib import Path

from CoWLandmarksTrainingLib.config.presets import PRESETS

LONG_LOG_ENTRIES = 6000


def write_long_log(folder: Path) -> None:
    """30000 steps, a line for every 5: far more than a line every few seconds makes in a training of days."""
    steps = {"coarse": {"steps": 0}, "circle": {"steps": 0}, "fine": {"steps": 20000, "adversarial_steps": 10000}}
    plan = PRESETS["gpu"].with_values(**steps)
    (folder / "plan.json").write_text(json.dumps({"plan": plan.to_dict()}), encoding="utf-8")
    (folder / "fine").mkdir()
    entry = {"schema": "cow-training-log/1", "steps": 30000, "loss": 0.01, "phase": 1, "seconds_per_step": 0.5}
    more = {"learning_rate": 1e-4, "waiting_share": 0.0, "memory_mb": 3000, "seconds": 100.0}
    lines = [json.dumps({**entry, **more, "step": 5 * number}) for number in range(1, LONG_LOG_ENTRIES + 1)]
    (folder / "fine" / "log.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
