"""The live log of a training: one JSON object per line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from CoWLandmarksLib.files import plain, write_text

SCHEMA = "cow-training-log/1"
LOG_SCHEMA_FILE = Path(__file__).parent / "Resources" / "Schemas" / "training-log.schema.json"


class TrainingLog:
    """Appends entries to `log.jsonl` in a folder; a process that does not write the files has `path` None."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def append(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Write one entry; returns it with its schema."""
        line = {"schema": SCHEMA, **entry}
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(plain(line), allow_nan=False) + "\n")
        return line

    def cut_after(self, step: int) -> None:
        """Forget what was written after the checkpoint of `step` (and a last line that was cut short)."""
        if self.path is None or not self.path.exists():
            return
        kept = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                if int(json.loads(line)["step"]) <= step:
                    kept.append(line)
            except (ValueError, KeyError, TypeError):
                continue
        write_text(self.path, "".join(f"{line}\n" for line in kept))


def memory_mb(device: torch.device) -> float | None:
    """Largest memory used so far in MB: of the graphics card, or of this process where the system tells it."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024.0
    return None
