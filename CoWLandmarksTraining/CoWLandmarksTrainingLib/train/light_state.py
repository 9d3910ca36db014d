"""What of a training travels to another machine: averaged weights in half precision, and where each stage stood.

An exact checkpoint is eight times as large and stays where it was made. Who goes on from a light state begins with new
moments of the optimiser.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from CoWLandmarksLib.core.atomic_files import atomic_path, write_text
from CoWLandmarksLib.core.errors import ConfigurationError, OutputError

from ..records.training_log import LOG_FILE
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
        kept: dict[str, Any] = {"average": _halved(state["average"])}
        if state.get("adversary") is not None:
            kept["discriminator"] = _halved(state["adversary"]["discriminator"])
        path = out / f"state-{name}.pt"
        with atomic_path(path) as temporary:
            torch.save({**kept, "step": state["step"], "seconds": state["seconds"]}, temporary)
            size = temporary.stat().st_size
            if size >= LARGEST_FILE:
                raise OutputError(f"'{path}' would have {size / 2**20:.1f} MiB, too much to travel.")
        log = folder / name / LOG_FILE
        if log.exists():
            lines = log.read_text(encoding="utf-8").splitlines()[-_LOG_LINES:]
            (out / f"log-{name}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _halved(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}


def take_over(trainer: Trainer, folder: Path, stage: str) -> bool:
    """Go on from the light state of a stage in `folder` where it is further than the trainer; False otherwise.

    Its log comes along. Raises ConfigurationError.
    """
    path = folder / f"state-{stage}.pt"
    if not path.exists():
        return False
    try:
        state = torch.load(path, map_location=trainer.device, weights_only=True)
        if int(state["step"]) <= trainer.step:
            return False
        weights = {name: value.to(trainer.average[name].dtype) for name, value in state["average"].items()}
        trainer.generator.load_state_dict(weights)
        if trainer.adversary is not None and "discriminator" in state:
            judged = trainer.adversary.discriminator.state_dict()
            halves = state["discriminator"]
            trainer.adversary.discriminator.load_state_dict({k: halves[k].to(v.dtype) for k, v in judged.items()})
        step, seconds = int(state["step"]), float(state["seconds"])
    except Exception as error:  # foreign bytes make torch raise almost anything
        reason = " ".join(str(error).split())[:160]
        raise ConfigurationError(f"'{path}' is no state of this training ({reason}); carry another.") from error
    trainer.average = {name: value.clone() for name, value in weights.items()}
    trainer.step, trainer.seconds_before = step, seconds
    trainer.folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"log-{stage}.jsonl"
    if log.exists() and trainer.processes.first:
        write_text(trainer.folder / LOG_FILE, log.read_text(encoding="utf-8"))
    trainer.save_checkpoint(seconds)
    return True
