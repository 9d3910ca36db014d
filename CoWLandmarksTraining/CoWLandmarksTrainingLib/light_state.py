"""What of a training travels to another machine: averaged weights in half precision, and where each stage stood.

An exact checkpoint is eight times as large and stays where it was made. Who goes on from a light state begins with new
moments of the optimiser.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from CoWLandmarksLib.errors import ConfigurationError, OutputError
from CoWLandmarksLib.files import atomic_path

from .checkpoint import read_checkpoint
from .trainer import CHECKPOINT_NAME, Trainer

logger = logging.getLogger(__name__)

LARGEST_FILE = 16 * 2**20
"""A file that travels has to be smaller."""
_LOG_LINES = 2000


def write_light_states(folder: Path, out: Path, stages: Sequence[str]) -> None:
    """Write `state-STAGE.pt` and `log-STAGE.jsonl` into `out` for every stage that `folder` holds a checkpoint of.

    A stage whose checkpoints are damaged is only warned of. Raises OutputError where a file cannot be written or would
    be too large to travel.
    """
    for name in stages:
        state: dict[str, Any] = {}
        try:
            if not read_checkpoint(folder / name / CHECKPOINT_NAME, torch.device("cpu"), state.update):
                continue
        except ConfigurationError as error:
            logger.warning("%s", error)
            continue
        average = {key: value.half() if value.is_floating_point() else value for key, value in state["average"].items()}
        path = out / f"state-{name}.pt"
        with atomic_path(path) as temporary:
            torch.save({"average": average, "step": state["step"], "seconds": state["seconds"]}, temporary)
            size = temporary.stat().st_size
            if size >= LARGEST_FILE:
                raise OutputError(f"'{path}' would have {size / 2**20:.1f} MiB, too much to travel.")
        log = folder / name / "log.jsonl"
        if log.exists():
            lines = log.read_text(encoding="utf-8").splitlines()[-_LOG_LINES:]
            (out / f"log-{name}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def take_over(trainer: Trainer, folder: Path, stage: str) -> bool:
    """Go on from the light state of a stage in `folder`; False where there is none. Raises ConfigurationError."""
    path = folder / f"state-{stage}.pt"
    if not path.exists():
        return False
    try:
        state = torch.load(path, map_location=trainer.device, weights_only=True)
        weights = {name: value.to(trainer.average[name].dtype) for name, value in state["average"].items()}
        trainer.generator.load_state_dict(weights)
        step, seconds = int(state["step"]), float(state["seconds"])
    except Exception as error:  # foreign bytes make torch raise almost anything
        reason = " ".join(str(error).split())[:160]
        raise ConfigurationError(f"'{path}' is no state of this training ({reason}); carry another.") from error
    trainer.average = {name: value.clone() for name, value in weights.items()}
    trainer.step, trainer.seconds_before = step, seconds
    trainer.folder.mkdir(parents=True, exist_ok=True)
    trainer.save_checkpoint(seconds)
    return True
