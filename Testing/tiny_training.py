"""The command of a training of a few seconds, and waiting for what its process does."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from CoWLandmarksTrainingLib.jobs.job_files import TrainingJobState, read_job

PATIENCE_SECONDS = 1200.0
"""A safety net only: whoever waits for a state or a file waits as long as a slow machine needs."""
TINY: dict[str, Any] = {
    "training.stages": ["coarse", "fine"],
    "training.mixed_precision": False,
    "training.workers": 0,
    "training.log_seconds": 0.0,
    "training.validate_every": 0,
    "training.checkpoint_seconds": 0.0,
    "coarse.base_width": 8,
    "coarse.levels": 2,
    "coarse.batch_size": 1,
    "coarse.steps": 2,
    "circle.base_width": 8,
    "circle.levels": 2,
    "fine.base_width": 8,
    "fine.levels": 2,
    "fine.window": [0, 0, 0],
    "fine.priors": False,
    "fine.sigma_mm": 3.0,
    "fine.warm_up_steps": 1,
    "discriminator.base_width": 4,
    "discriminator.layers": 2,
}
"""Without the circle network, a step of which costs a second."""


def tiny_arguments(aligned: Path, out: Path, pretrain: int, adversarial: int = 2) -> list[str]:
    """Arguments of `train` for an aligned folder of beads: steps of both phases of the fine network."""
    arguments = ["train", str(aligned), "--out", str(out), "--device", "cpu"]
    values = {**TINY, "fine.steps": pretrain, "fine.adversarial_steps": adversarial}
    for setting, value in values.items():
        arguments += ["--set", f"{setting}={json.dumps(value)}"]
    return arguments


def tiny_sections(**changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The same settings as the content of a configuration file, with `changes` by section."""
    content: dict[str, dict[str, Any]] = {}
    for setting, value in TINY.items():
        section, _, key = setting.partition(".")
        content.setdefault(section, {})[key] = value
    for section, values in changes.items():
        content[section] = {**content.get(section, {}), **values}
    return content


def wait_for(done: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until `done()`; AssertionError when that takes too long."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.05)


def state_of(folder: Path) -> TrainingJobState:
    """The state of the training in a folder, which must hold one."""
    job = read_job(folder)
    assert job is not None
    return job.state
