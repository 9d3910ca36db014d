"""Checkpoints: written all at once, the one before is kept, and a damaged one is noticed."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from CoWLandmarksLib.core.atomic_files import atomic_path
from CoWLandmarksLib.core.errors import ConfigurationError, OutputError

logger = logging.getLogger(__name__)


def previous(path: Path) -> Path:
    """Where the checkpoint before `path` is kept."""
    return path.with_name(f"{path.stem}-before{path.suffix}")


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a state; the checkpoint that was there becomes `previous(path)`. Raises OutputError, and then both
    older files are as they were."""
    try:
        with atomic_path(path) as temporary:
            torch.save(state, temporary)
            if path.exists():
                path.replace(previous(path))
    except RuntimeError as error:  # torch's writer tells a full disk so
        reason = " ".join(str(error).split())[:120]
        raise OutputError(f"'{path}' cannot be written ({reason}); make room on the disk.") from error


def read_checkpoint(path: Path, device: torch.device, restore: Callable[[dict[str, Any]], None]) -> bool:
    """Restore from `path`, or from the checkpoint before it when that one is damaged; False when there is none.

    `restore` takes the state over and raises when it does not fit. Raises ConfigurationError when nothing is usable.
    """
    candidates = [candidate for candidate in (path, previous(path)) if candidate.exists()]
    problems = []
    for candidate in candidates:
        try:
            restore(torch.load(candidate, map_location=device, weights_only=True))
        except Exception as error:  # foreign bytes make torch raise almost anything
            problems.append(error)
            logger.debug("%s", candidate, exc_info=True)
            continue
        if problems:
            logger.warning("'%s' is damaged; training goes on from the one before, '%s'.", path, candidate.name)
        return True
    if not problems:
        return False
    reason = " ".join(str(problems[0]).split())[:160]
    raise ConfigurationError(
        f"The checkpoint '{candidates[0]}' cannot be used ({reason}); delete it to start again."
    ) from problems[0]


def averaged_weights(path: Path) -> dict[str, torch.Tensor] | None:
    """The averaged weights in a checkpoint; None where there is none. Raises ConfigurationError when it is damaged."""
    found: dict[str, torch.Tensor] = {}

    def take(state: dict[str, Any]) -> None:
        found.update(state["average"])

    return found if read_checkpoint(path, torch.device("cpu"), take) else None


def random_state(rng: np.random.Generator) -> str:
    """State of a random stream as text."""
    return json.dumps(rng.bit_generator.state, default=np.ndarray.tolist)


def set_random_state(rng: np.random.Generator, text: str) -> None:
    """Inverse of `random_state`."""
    saved = json.loads(text)
    saved["state"] = {name: np.array(value, dtype=np.uint64) for name, value in saved["state"].items()}
    saved["buffer"] = np.array(saved["buffer"], dtype=np.uint64)
    rng.bit_generator.state = saved
