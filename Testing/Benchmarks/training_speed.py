"""Seconds and memory of a training step: coarse network, fine network alone (phase 1) and with the discriminator.

    python Testing/Benchmarks/training_speed.py                          preset cpu, one thread, processor seconds
    python Testing/Benchmarks/training_speed.py --device cuda --preset gpu       seconds by the clock, bf16

What is trained on is noise at full size (192 x 160 x 96 crops), because the values do not change the work. The share
in the networks is what a step does not spend on waiting for its batch. On the processor, processor seconds are
counted, so that other work on the machine disturbs little; on a card, seconds by the clock, after every step is done.
Each part runs in a process of its own; memory is the highest of that process, or what torch allocated on the card.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PATHS = [str(ROOT / folder) for folder in ("CoWLandmarks", "CoWLandmarksTraining", "Testing")]
sys.path[:0] = PATHS
PARTS = {"coarse": "coarse network", "pretraining": "fine network, phase 1", "joint": "fine network, phase 2"}
CASES, COARSE_SHAPE = 4, (120, 170, 150)


def main() -> int:
    """Measure and print a table with the machine's name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--preset", choices=["cpu", "gpu", "paper"], default="cpu")
    parser.add_argument("--steps", type=int, default=6, help="steps that count, after two that do not")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as well")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--cohort", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        print(json.dumps(measured(arguments)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        write_noise_cohort(Path(folder))
        rows = {part: in_own_process(part, Path(folder), arguments) for part in PARTS}
    from detection_speed import machine

    print(f"{machine()}; preset {arguments.preset}, device {arguments.device}, {arguments.threads} threads\n")
    unit = "seconds" if arguments.device == "cuda" else "processor seconds"
    print(f"| | {unit} a step | batch | share in the networks | peak memory, MB |\n|---|---|---|---|---|")
    for part, row in rows.items():
        print(
            f"| {PARTS[part]} | {row['seconds_per_step']:.3g} | {row['batch_size']} | "
            f"{100 * row['share_in_networks']:.0f} % | {row['memory_mb']:.0f} |"
        )
    ratio = rows["joint"]["seconds_per_step"] / rows["pretraining"]["seconds_per_step"]
    print(f"\nA step of phase 2 takes {ratio:.1f} times as long as one of phase 1.")
    if arguments.json:
        content = {"machine": machine(), "preset": arguments.preset, "device": arguments.device, "parts": rows}
        arguments.json.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return 0


def in_own_process(part: str, cohort: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures of one part."""
    command = [sys.executable, __file__, "--part", part, "--cohort", str(cohort), "--device", arguments.device]
    command += ["--preset", arguments.preset, "--steps", str(arguments.steps), "--threads", str(arguments.threads)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds and memory of the steps of one part, in this process."""
    import torch
    from CoWLandmarksTrainingLib.aligned import AlignedCohort
    from CoWLandmarksTrainingLib.processes import Processes
    from CoWLandmarksTrainingLib.training import CohortTraining
    from CoWLandmarksTrainingLib.training_log import memory_mb
    from CoWLandmarksTrainingLib.training_plan import PRESETS

    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    plan = PRESETS[arguments.preset]
    if arguments.part == "joint":  # both phases have the same generator; this one begins with the discriminator
        plan = plan.with_values(training={"pretrain_steps": 0, "adversarial_steps": 10_000})
    with tempfile.TemporaryDirectory() as folder:
        training = CohortTraining(AlignedCohort.read(arguments.cohort), plan, Path(folder), device, Processes())
        trainer = training.coarse_trainer() if arguments.part == "coarse" else training.fine_trainer()
        now = clock(device)
        waited = total = 0.0
        for step in range(arguments.steps + 2):
            before = now()
            batch = next(trainer.feed)
            ready = now()
            trainer.train_step(batch)
            after = now()
            if step >= 2:
                waited += ready - before
                total += after - before
        trainer.feed.close()
    return {
        "seconds_per_step": total / arguments.steps,
        "share_in_networks": 1.0 - waited / total,
        "batch_size": len(batch),
        "memory_mb": memory_mb(device) or float("nan"),
    }


def clock(device: Any) -> Callable[[], float]:
    """Processor seconds of this process, or seconds by the clock once the card is done."""
    import torch

    if device.type == "cpu":
        return time.process_time

    def by_the_clock() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return by_the_clock


def write_noise_cohort(folder: Path) -> None:
    """An aligned cohort of noise at full size, with landmarks about the mean places of the atlas."""
    import numpy as np
    from CoWLandmarksLib.alignment import REFERENCE_CENTRE_MM, REFERENCE_SHAPE, REFERENCE_SPACING_MM
    from CoWLandmarksLib.anatomy import default_anatomy
    from CoWLandmarksLib.intensity import DEFAULT_INTENSITY_RULES
    from CoWLandmarksLib.modality import Modality
    from CoWLandmarksLib.volume import axis_aligned_grid
    from CoWLandmarksTrainingLib.aligned import AlignedCase, AlignedCohort, AlignedFrame, write_arrays
    from CoWLandmarksTrainingLib.phantom.atlas import default_atlas

    anatomy, rng = default_anatomy(), np.random.default_rng(1)
    grid = axis_aligned_grid(REFERENCE_CENTRE_MM, REFERENCE_SPACING_MM, REFERENCE_SHAPE)
    scan = axis_aligned_grid(REFERENCE_CENTRE_MM, np.ones(3), COARSE_SHAPE)
    mean = default_atlas().shape_models["patients"].mean
    cases = []
    for number in range(2 * CASES):
        modality, status = list(Modality)[number % 2], np.ones(len(anatomy), np.int8)
        places = mean + rng.normal(0, 1.5, mean.shape)
        case = AlignedCase(f"c{number}", f"p{number}", modality, "train", places, status, np.eye(4), 1.5)
        write_arrays(folder / case.name, rng.random(grid.shape, np.float32), rng.random(scan.shape, np.float32))
        cases.append(replace(case, folder=folder / case.name, coarse_grid=scan))
    frame = AlignedFrame(grid, mean, "landmarks")
    AlignedCohort(anatomy, frame, DEFAULT_INTENSITY_RULES, tuple(cases), provenance={"made": "noise"}).write(folder)


if __name__ == "__main__":
    sys.exit(main())
