"""Seconds, waiting and memory of the training steps of every stage, alone (phase 1) and with the discriminator (2).

    python Testing/Benchmarks/training_speed.py                                  preset cpu, one thread, 2 workers
    python Testing/Benchmarks/training_speed.py --device cuda --preset paper     full size, both phases
    python Testing/Benchmarks/training_speed.py --device cuda --preset payer     a method to compare with: phase 1 alone
    python Testing/Benchmarks/training_speed.py --only rendering                 phantoms

What is trained on is noise at full size (crops of 192 x 160 x 96), because the values do not change the work. "step" is
the network alone, with the batch at hand; "waiting" is the share of the wall-clock time that the training spends on
waiting for its batch, which `--workers` processes make. Each stage is measured in a process of its own; memory is the
highest of that process, or what torch allocated on the GPU. Needs torch, numpy and scipy alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PATHS = [str(ROOT / folder) for folder in ("CoWLandmarks", "CoWLandmarksTraining", "Testing", "Testing/Benchmarks")]
sys.path[:0] = PATHS
CASES, SCAN_SHAPE, RENDERED = 4, (120, 170, 150), 6


def main() -> int:
    """Measure and print a table with the machine's name."""
    from phantom_option import add_phantom_version

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--preset", choices=["cpu", "gpu", "paper", "payer", "noothout"], default="cpu")
    parser.add_argument("--steps", type=int, default=8, help="steps that count, after three that do not")
    parser.add_argument("--workers", type=int, default=2, help="processes that make batches")
    parser.add_argument("--only", choices=["rendering", "training"])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as well")
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--cohort", type=Path, help=argparse.SUPPRESS)
    add_phantom_version(parser)
    arguments = parser.parse_args()
    if arguments.part:
        print(json.dumps(measured(arguments, arguments.part[0], int(arguments.part[1]))))
        return 0
    from detection_speed import machine

    print(
        f"{machine()}; preset {arguments.preset}, device {arguments.device}, {arguments.workers} workers\n", flush=True
    )
    rows = []
    if arguments.only in (None, "rendering"):
        rendering(arguments.phantom_version)
    if arguments.only in (None, "training"):
        rows = training(arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1), encoding="utf-8")
    return 0


def rendering(version: int) -> None:
    """Seconds a phantom of a version, on one thread of the processor."""
    import torch
    from CoWLandmarksTrainingLib.phantom.circle_cases import render_circle_case
    from CoWLandmarksTrainingLib.phantom.training_cases import render_training_case

    torch.set_num_threads(1)
    spent = {}
    for render in (render_training_case, render_circle_case):
        render(1, RENDERED, torch.device("cpu"), version)
        began = time.process_time()
        for number in range(RENDERED):
            render(1, number, torch.device("cpu"), version)
        spent[render] = (time.process_time() - began) / RENDERED
    print("| processor seconds a phantom | coarse and fine | circle |\n|---|---|---|")
    print(f"| one thread | {spent[render_training_case]:.2f} | {spent[render_circle_case]:.2f} |\n", flush=True)


def training(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each stage and phase."""
    from CoWLandmarksTrainingLib.config.presets import PRESETS

    rows = []
    print("| stage | phase | batch | step, s | all, s | waiting | memory, MB |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        write_noise_cohort(Path(folder))
        plan = PRESETS[arguments.preset]
        for name in plan.training.stages:
            for phase in (1, 2) if name == "fine" and plan.fine.method == "heatmaps" else (1,):
                command = [sys.executable, __file__, "--part", name, str(phase), "--cohort", folder]
                command += ["--device", arguments.device, "--preset", arguments.preset]
                command += ["--steps", str(arguments.steps), "--workers", str(arguments.workers)]
                environment = {**os.environ, "OMP_NUM_THREADS": "1"}
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
                row = json.loads(done.stdout.splitlines()[-1])
                rows.append({"stage": name, "phase": phase, **row})
                print(
                    f"| {name} | {phase} | {row['batch_size']} | {row['step']:.3g} | {row['all']:.3g} | "
                    f"{100 * row['waiting']:.0f} % | {row['memory_mb']:.0f} |",
                    flush=True,
                )
    return rows


def measured(arguments: argparse.Namespace, name: str, phase: int) -> dict[str, Any]:
    """Wall-clock seconds and memory of the steps of one stage, in this process."""
    import torch
    from CoWLandmarksTrainingLib.config.presets import PRESETS
    from CoWLandmarksTrainingLib.records.aligned_folder import AlignedCohort
    from CoWLandmarksTrainingLib.train.cohort_data import CohortData
    from CoWLandmarksTrainingLib.train.memory import memory_mb
    from CoWLandmarksTrainingLib.train.training import Training

    torch.set_num_threads(1)
    device = torch.device(arguments.device)
    plan = PRESETS[arguments.preset].with_values(training={"workers": arguments.workers, "start_from": ""})
    if name == "fine":
        plan = plan.with_values(fine={"steps": 10_000 * (phase == 1), "adversarial_steps": 10_000 * (phase == 2)})
    done = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    with tempfile.TemporaryDirectory() as folder:
        training = Training(CohortData(AlignedCohort.read(arguments.cohort), plan), plan, Path(folder), device)
        trainer = training.trainer(training.stage(name))
        feed = trainer.batches()
        waited = alone = total = 0.0
        for step in range(arguments.steps + 3):
            done()
            before = time.perf_counter()
            batch = next(feed)
            ready = time.perf_counter()
            trainer.train_step(batch)
            done()
            after = time.perf_counter()
            if step >= 3:
                waited, alone, total = waited + ready - before, alone + after - ready, total + after - before
        size = len(batch)
        del feed
    return {
        "batch_size": size,
        "step": alone / arguments.steps,
        "all": total / arguments.steps,
        "waiting": waited / total,
        "memory_mb": memory_mb(device) or float("nan"),
    }


def write_noise_cohort(folder: Path) -> None:
    """An aligned cohort of noise at full size, with landmarks about the mean places of the atlas."""
    import numpy as np
    from CoWLandmarksLib.core.alignment import REFERENCE_CENTRE_MM
    from CoWLandmarksLib.core.anatomy import default_anatomy
    from CoWLandmarksLib.core.intensity import DEFAULT_INTENSITY_RULES
    from CoWLandmarksLib.core.volume import Modality, axis_aligned_grid
    from CoWLandmarksTrainingLib.records.aligned_folder import AlignedCase, AlignedCohort, write_arrays
    from CoWLandmarksTrainingLib.train.phantom_data import phantom_frame

    anatomy, rng, frame = default_anatomy(), np.random.default_rng(1), phantom_frame()
    scan = axis_aligned_grid(REFERENCE_CENTRE_MM, np.ones(3), SCAN_SHAPE)
    mean = frame.mean_landmarks
    cases = []
    for number in range(2 * CASES):
        modality, status = list(Modality)[number % 2], np.ones(len(anatomy), np.int8)
        places = mean + rng.normal(0, 1.5, mean.shape)
        case = AlignedCase(f"c{number}", f"p{number}", modality, "train", places, status, np.eye(4), 1.5)
        arrays = [rng.random(grid.shape, np.float32) for grid in (frame.grid, frame.region, scan)]
        write_arrays(folder / case.name, *arrays)
        cases.append(replace(case, folder=folder / case.name, coarse_grid=scan))
    AlignedCohort(anatomy, frame, DEFAULT_INTENSITY_RULES, tuple(cases), provenance={"made": "noise"}).write(folder)


if __name__ == "__main__":
    sys.exit(main())
