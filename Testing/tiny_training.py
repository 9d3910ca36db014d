"""The command of a training of a few seconds, and waiting for what its process does."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from CoWLandmarksTrainingLib.job_files import JobState, read_job

TINY = {
    "generator.base_width": 8,
    "generator.levels": 2,
    "generator.window": [0, 0, 0],
    "generator.priors": False,
    "generator.sigma_mm": 3.0,
    "discriminator.base_width": 4,
    "discriminator.layers": 2,
    "training.mixed_precision": False,
    "training.warm_up_steps": 1,
    "training.log_every": 1,
    "training.validate_every": 0,
    "training.checkpoint_seconds": 0.0,
    "coarse.base_width": 8,
    "coarse.levels": 2,
    "coarse.batch_size": 1,
    "coarse.steps": 2,
}


def tiny_words(aligned: Path, out: Path, pretrain: int, adversarial: int = 2) -> list[str]:
    """Words of `cowlandmarks-train train` for an aligned folder of beads."""
    words = ["train", str(aligned), "--out", str(out), "--device", "cpu"]
    values = {**TINY, "training.pretrain_steps": pretrain, "training.adversarial_steps": adversarial}
    for setting, value in values.items():
        words += ["--set", f"{setting}={json.dumps(value)}"]
    return words


def wait_for(done: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait until `done()`; AssertionError when that takes too long."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.05)


def state_of(folder: Path) -> JobState:
    """The state of the training in a folder, which must hold one."""
    job = read_job(folder)
    assert job is not None
    return job.state
