"""The recipe of the shipped model: phantom cases, coarse and fine network, calibration, one model file."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from CoWLandmarksLib.anatomy import default_anatomy
from CoWLandmarksLib.errors import ConfigurationError
from CoWLandmarksLib.generator import Generator, GeneratorConfig

from .phantom.training_cases import cache_training_cases
from .samples import CaseFolder, CoarseSampler, FineSampler
from .trainer import Trainer, TrainerConfig

COARSE_SIGMA_MM = 4.0
FINE_SIGMA_MM = 1.5
PRIOR_SIGMA_MM = 5.0
PART_NAMES = ("coarse", "fine")


@dataclass(frozen=True)
class Preset:
    """Size of a training: number of phantom cases, networks, optimiser steps, time limit per network."""

    name: str
    cases: int
    coarse: GeneratorConfig
    fine: GeneratorConfig
    training: TrainerConfig
    batch_size: int
    renderers: int
    validation_cases: int
    seed: int = 1


_CPU = Preset(
    name="cpu",
    cases=1600,
    coarse=GeneratorConfig(in_channels=2, base_width=32, levels=4, fold=2),
    fine=GeneratorConfig(in_channels=20, base_width=32, levels=4, fold=2),
    training=TrainerConfig(steps=9000, learning_rate=1e-3, final_learning_rate=1e-5, time_limit_seconds=5400.0),
    batch_size=2,
    renderers=2,
    validation_cases=64,
)
_GPU = replace(
    _CPU,
    name="gpu",
    cases=12000,
    fine=GeneratorConfig(in_channels=20, base_width=16, levels=5, fold=1),
    training=replace(_CPU.training, steps=40000, time_limit_seconds=3000.0),
    batch_size=8,
    renderers=14,
    validation_cases=128,
)
_SMALL = replace(
    _CPU,
    name="small",
    cases=4,
    coarse=GeneratorConfig(in_channels=2, base_width=8, levels=2, fold=2),
    fine=GeneratorConfig(in_channels=20, base_width=8, levels=2, fold=2),
    training=replace(_CPU.training, steps=4, warm_up_steps=1),
    batch_size=1,
    renderers=1,
    validation_cases=2,
)
PRESETS = {preset.name: preset for preset in (_CPU, _GPU, _SMALL)}


def render_cases(preset: Preset, folder: Path) -> None:
    """Render the preset's training cases into `folder`, in parallel processes of one thread each."""
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_render_share, args=(folder, preset.seed, first, preset.cases, preset.renderers))
        for first in range(preset.renderers)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise ConfigurationError(f"Rendering training cases into '{folder}' failed; see the messages above.")


def _render_share(folder: Path, seed: int, first: int, count: int, step: int) -> None:
    torch.set_num_threads(1)
    cache_training_cases(folder, seed, range(first, count, step), torch.device("cpu"))


def make_trainer(part: str, preset: Preset, cases: Path, folder: Path, device: torch.device) -> Trainer:
    """The trainer of the "coarse" or the "fine" network, resumed from `folder` when it holds a checkpoint."""
    permutation = default_anatomy().mirror_permutation
    torch.manual_seed(preset.seed)
    sampler: CoarseSampler | FineSampler
    if part == "coarse":
        generator = Generator(preset.coarse)
        sampler = CoarseSampler(CaseFolder(cases), permutation, COARSE_SIGMA_MM, preset.batch_size)
    elif part == "fine":
        generator = Generator(preset.fine)
        sampler = FineSampler(CaseFolder(cases), permutation, FINE_SIGMA_MM, PRIOR_SIGMA_MM, preset.batch_size)
    else:
        raise ConfigurationError(f"'{part}' is no part of the model; use one of {', '.join(PART_NAMES)}.")
    trainer = Trainer(generator, sampler, replace(preset.training, seed=preset.seed), folder, device)
    trainer.resume()
    return trainer


def train_part(
    part: str,
    preset: Preset,
    cases: Path,
    folder: Path,
    device: torch.device,
    on_log: Callable[[dict[str, Any]], None] | None = None,
) -> Trainer:
    """Train one network to its end (or time limit) and return its trainer."""
    trainer = make_trainer(part, preset, cases, folder, device)
    trainer.run(on_log)
    return trainer
