"""Rendering, sampling, training and detection with the default model: seconds on a processor and on a card.

    python Testing/Benchmarks/default_model_speed.py --device cuda --batches 2 8 16
    python Testing/Benchmarks/default_model_speed.py --device cpu --batches 2

One thread of the processor beside the card; seconds by the clock where there is a card, else of the processor (a
detection: by the clock). Rendering: the fields of view and windows of a training case. A step: the networks that ship,
cases of seed 1, in bf16, batches made beforehand ("step") or as they are needed ("with sampling"). Detection: a phantom
of seed 1 through the whole road, and how far the card's landmarks are from the processor's.
Needs torch, numpy and scipy alone.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("CoWLandmarks", "CoWLandmarksTraining", "Testing/Benchmarks")]

CASES, SEED = 6, 1


def main() -> int:
    """Measure and print tables with the machine's name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--batches", type=int, nargs="+", default=[2])
    parser.add_argument("--steps", type=int, default=10, help="steps that count, after three that do not")
    parser.add_argument("--only", choices=["rendering", "training", "detection"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(arguments.device)
    from detection_speed import machine

    print(f"{machine()}; one thread\n", flush=True)
    if arguments.only in (None, "rendering"):
        rendering(device)
    if arguments.only in (None, "training"):
        training(device, arguments.batches, arguments.steps)
    if arguments.only in (None, "detection"):
        detection(device)
    return 0


def seconds(work: Callable[..., Any], device: torch.device, *words: Any) -> float:
    """How long work(*words) takes, by `training_speed.clock`."""
    from training_speed import clock

    now = clock(device)
    began = now()
    work(*words)
    return now() - began


def rendering(device: torch.device) -> None:
    """Seconds a case."""
    from CoWLandmarksTrainingLib.phantom.circle_cases import render_circle_case
    from CoWLandmarksTrainingLib.phantom.training_cases import render_training_case

    cpu = torch.device("cpu")
    print("| seconds a case | coarse and fine | circle |\n|---|---|---|")
    for place in dict.fromkeys([cpu, device]):
        render_circle_case(SEED, CASES, place)
        render_training_case(SEED, CASES, place)
        numbers = range(CASES)
        coarse = statistics.mean(seconds(render_training_case, device, SEED, n, place) for n in numbers)
        circle = statistics.mean(seconds(render_circle_case, device, SEED, n, place) for n in numbers)
        print(f"| {place.type} | {coarse:.2f} | {circle:.2f} |", flush=True)


def training(device: torch.device, batches: list[int], steps: int) -> None:
    """Seconds of a step and of its batch."""
    from CoWLandmarksLib.model import DEFAULT_MODEL_FILE, load_model
    from CoWLandmarksTrainingLib.default_model import PART_NAMES, make_trainer
    from CoWLandmarksTrainingLib.default_presets import PRESETS, continued
    from CoWLandmarksTrainingLib.phantom.case_cache import cache_training_cases
    from CoWLandmarksTrainingLib.training_log import memory_mb

    model = load_model(DEFAULT_MODEL_FILE)
    print("\n| network | samples a batch | batch, ms | step, ms | with sampling, ms | samples a second | memory, MB |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        cache_training_cases(Path(folder), SEED, range(CASES), torch.device("cpu"))
        for part in PART_NAMES:
            for size in batches:
                if device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats(device)
                preset = replace(continued(PRESETS["gpu"], model), batch_size=size)
                with tempfile.TemporaryDirectory() as out:
                    trainer = make_trainer(part, preset, Path(folder), Path(out) / part, device, model)
                    rng = np.random.default_rng(SEED)
                    made = [trainer.sampler(rng) for _ in range(2)]
                    sampled = statistics.median(seconds(trainer.sampler, device, rng) for _ in range(steps))
                    train(trainer, itertools.cycle(made), 3)
                    step = seconds(train, device, trainer, itertools.cycle(made), steps) / steps
                    next(trainer.feed)
                    both = seconds(train, device, trainer, trainer.feed, steps) / steps
                    trainer.feed.close()
                count = len(made[0])
                print(
                    f"| {part} | {count} | {1e3 * sampled:.0f} | {1e3 * step:.0f} | {1e3 * both:.0f} | "
                    f"{count / both:.1f} | {memory_mb(device) or 0:.0f} |",
                    flush=True,
                )


def train(trainer: Any, batches: Iterator[Any], steps: int) -> None:
    """So many steps."""
    for _ in range(steps):
        trainer.train_step(next(batches))


def detection(device: torch.device) -> None:
    """Seconds of a detection, and how much the place of the work matters."""
    from CoWLandmarksLib.detector import Detector
    from CoWLandmarksLib.modality import Modality
    from CoWLandmarksLib.model import DEFAULT_MODEL_FILE, load_model
    from CoWLandmarksTrainingLib.phantom.cohort import make_case

    volume = make_case(SEED, 0, Modality.MRA).volume
    positions = {}
    print(
        f"\n| detection, {' x '.join(map(str, volume.grid.shape[::-1]))} voxels | first, s | then, s |\n|---|---|---|"
    )
    for place in dict.fromkeys(["cpu", device.type]):
        detector = Detector(load_model(DEFAULT_MODEL_FILE), place)
        times = []
        for _ in range(3):
            began = time.perf_counter()
            found = detector.detect(volume)
            times.append(time.perf_counter() - began)
        if place == "cuda":
            print(f"(up to {torch.cuda.max_memory_allocated() / 1e6:.0f} MB of the card)")
        positions[place] = np.array([p.position or (np.nan,) * 3 for p in found.landmarks], float)
        print(f"| {place} | {times[0]:.2f} | {statistics.median(times[1:]):.2f} |", flush=True)
    if len(positions) == 2:
        apart = np.linalg.norm(positions["cpu"] - positions[device.type], axis=1)
        print(f"\nThe landmarks are {np.nanmedian(apart):.4f} mm apart (median), at most {np.nanmax(apart):.3f} mm.")


if __name__ == "__main__":
    sys.exit(main())
