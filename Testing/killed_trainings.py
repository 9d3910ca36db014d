"""Kill trainings at random moments and see that they go on to the weights of one that nothing interrupted.

    python killed_trainings.py FOLDER N [SEED]

N kills (kill -9) for each stage; prints a line for each and ends with code 1 where a weight differs. Everything is
kept in FOLDER. Needs both packages and Testing on PYTHONPATH.

Called with END_WITH and END_IN in the environment it is `cowlandmarks-train` itself, ended by a signal in a certain
step: END_WITH=KILL END_IN="fine 3" python killed_trainings.py train ...
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from CoWLandmarksLib.detect.model import load_model
from CoWLandmarksTrainingLib.__main__ import main as train_main
from CoWLandmarksTrainingLib.config.settings import STAGE_NAMES

KILLED_IN_STEP = __file__
STEPS = 8
CHECKPOINT = "checkpoint.pt"


def differences(one: Path, other: Path, stages: Sequence[str] = STAGE_NAMES, *, model: bool = True) -> list[str]:
    """What is not the same to the last bit in two trainings: weights, averages, moments, discriminators, models."""
    found = []
    for stage in stages:
        states = [torch.load(folder / stage / CHECKPOINT, weights_only=True) for folder in (one, other)]
        parts = [{k: v for k, v in state.items() if k not in ("seconds", "config")} for state in states]
        found += [f"{stage}: {name}" for name in _unequal(*parts)]
    if model:
        models = [load_model(folder / "model.cow.pt") for folder in (one, other)]
        networks = [{name: part.weights for name, part in each.stages} for each in models]
        found += [f"model: {name}" for name in _unequal(*networks)]
    return found


def _unequal(one: Any, other: Any, name: str = "") -> list[str]:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return [] if torch.equal(one, other) else [name]
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [n for key in one for n in _unequal(one[key], other[key], f"{name} {key}".strip())]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [n for k, pair in enumerate(zip(one, other, strict=True)) for n in _unequal(*pair, f"{name} {k}")]
    return [] if one == other else [name]


def end_in_step(ending: str, moment: str) -> None:
    """From now on this process ends itself with a signal after step N of a stage ("fine 3"), or while the checkpoint
    of that step is written ("fine checkpoint 3")."""
    from CoWLandmarksTrainingLib.train import checkpoint
    from CoWLandmarksTrainingLib.train.trainer import Trainer

    stage, *where, step = moment.split()
    number = signal.Signals[f"SIG{ending}"]
    make_step, save, save_checkpoint = Trainer.train_step, torch.save, Trainer.save_checkpoint

    def step_and_end(self: Trainer, batch: Any, unlabelled: Any = None) -> float:
        loss = make_step(self, batch, unlabelled)
        if self.folder.name == stage and self.step == int(step) and not where:
            os.kill(os.getpid(), number)
        return loss

    def half_a_checkpoint(state: Any, path: Any) -> None:
        save(state, path)
        size = Path(path).stat().st_size
        os.truncate(path, size // 2)
        os.kill(os.getpid(), number)

    def save_and_end(self: Trainer, seconds: float) -> None:
        if self.folder.name == stage and self.step == int(step) and where:
            checkpoint.torch.save = half_a_checkpoint  # type: ignore[attr-defined, assignment]
        save_checkpoint(self, seconds)

    Trainer.train_step = step_and_end  # type: ignore[method-assign]
    Trainer.save_checkpoint = save_and_end  # type: ignore[method-assign]


def arguments(folder: Path, out: Path, *more: str) -> list[str]:
    """The training that is killed."""
    from tiny_training import tiny_arguments

    own = tiny_arguments(folder / "aligned", out, pretrain=STEPS // 2, adversarial=STEPS // 2)
    stages = {"training.stages": list(STAGE_NAMES), "coarse.steps": STEPS, "circle.steps": STEPS, "training.workers": 1}
    return [
        *own,
        *(argument for name, value in stages.items() for argument in ("--set", f"{name}={json.dumps(value)}")),
        *more,
    ]


def started(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """`cowlandmarks-train` as a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "CoWLandmarksTrainingLib", *command],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def step_of(out: Path, stage: str) -> int:
    """How many steps of a stage are in its log."""
    log = out / stage / "log.jsonl"
    return log.read_text(encoding="utf-8", errors="replace").count('"learning_rate"') if log.exists() else 0


def kill_at_random(folder: Path, out: Path, stage: str, rng: random.Random, seconds_per_step: float) -> str:
    """Start a training and kill it in a stage; says when."""
    step, delay = rng.randrange(STEPS), rng.uniform(0.0, 1.5 * seconds_per_step)
    process = started(arguments(folder, out))
    while process.poll() is None and (step_of(out, stage) < step or not (out / stage).exists()):
        time.sleep(0.002)
    time.sleep(delay)
    if process.poll() is not None:
        return f"{stage}: it was done before"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return f"{stage}: killed {delay:.3f} s after step {step}, {step_of(out, stage)} steps in the log"


def main(folder: Path, kills: int, seed: int) -> int:
    """Train once, then kill and go on; returns the exit code."""
    from aligned_beads import write_bead_cohort

    torch.set_num_threads(1)
    rng = random.Random(seed)
    write_bead_cohort(folder / "aligned", mra=3, sets=2, validation=1)
    whole = folder / "whole"
    assert started(arguments(folder, whole)).wait() == 0, "the training that nothing interrupts failed"
    wrong = 0
    for number in range(kills):
        for stage in STAGE_NAMES:
            out = folder / f"{stage}-{number}"
            checkpoint = torch.load(whole / stage / CHECKPOINT, weights_only=True)
            message = kill_at_random(folder, out, stage, rng, float(checkpoint["seconds"]) / STEPS)
            code = started(arguments(folder, out, "--resume")).wait()
            other = differences(out, whole) if code == 0 else [f"exit code {code}"]
            print(
                f"{message}; then {'the same weights' if not other else 'OTHER: ' + ', '.join(other[:5])}", flush=True
            )
            wrong += bool(other)
    print(f"{kills * len(STAGE_NAMES)} kills, {wrong} with other weights.")
    return 1 if wrong else 0


if __name__ == "__main__":
    if "END_IN" in os.environ:
        end_in_step(os.environ["END_WITH"], os.environ["END_IN"])
        sys.exit(train_main(sys.argv[1:]))
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1))
