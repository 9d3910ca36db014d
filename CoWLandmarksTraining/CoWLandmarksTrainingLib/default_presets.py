"""Sizes of the training of the shipped model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from CoWLandmarksLib.generator import GeneratorConfig
from CoWLandmarksLib.model import Model

from .trainer import TrainerConfig

LEARNING_RATE, CONTINUED_LEARNING_RATE = 1e-3, 5e-4


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
    shape_samples: int = 400
    seed: int = 1


_CPU = Preset(
    name="cpu",
    cases=1600,
    coarse=GeneratorConfig(in_channels=2, base_width=32, levels=4, fold=2),
    fine=GeneratorConfig(in_channels=20, base_width=32, levels=4, fold=2),
    training=TrainerConfig(
        steps=9000, learning_rate=LEARNING_RATE, final_learning_rate=1e-5, time_limit_seconds=5400.0, final_alpha=10.0
    ),
    batch_size=2,
    renderers=2,
    validation_cases=40,
)
_GPU = replace(
    _CPU,
    name="gpu",
    cases=12000,
    training=replace(_CPU.training, steps=40000, time_limit_seconds=3000.0),
    batch_size=16,
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
    shape_samples=40,
)
PRESETS = {preset.name: preset for preset in (_CPU, _GPU, _SMALL)}


def continued(preset: Preset, start: Model) -> Preset:
    """The preset for going on from the weights of `start`: its networks, new cases, a lower learning rate.

    alpha is the preset's last one from the beginning. The seed is above all of the model's, so no case that it was
    trained on comes again.
    """
    alpha = preset.training.final_alpha or preset.training.alpha
    return replace(
        preset,
        coarse=start.coarse.config,
        fine=start.fine.config,
        training=replace(preset.training, learning_rate=CONTINUED_LEARNING_RATE, alpha=alpha, final_alpha=0.0),
        seed=1 + max(_seeds(start.provenance), default=0),
    )


def _seeds(told: Any, *, are_seeds: bool = False) -> Iterator[int]:
    """Seeds in a model's provenance: its own, its networks', those of their cases and of the models before it.

    A provenance is free in form; what is no whole number is passed over. `are_seeds`: all numbers in it are.
    """
    if isinstance(told, Mapping):
        for key, value in told.items():
            if key != "calibration":
                yield from _seeds(value, are_seeds=are_seeds or key in ("seed", "case_seeds"))
    elif isinstance(told, (list, tuple)):
        for value in told:
            yield from _seeds(value, are_seeds=are_seeds)
    elif are_seeds and isinstance(told, int) and not isinstance(told, bool):
        yield told
