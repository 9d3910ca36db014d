"""The recipe of the shipped model: phantom cases, coarse and fine network, calibration, one model file."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from CoWLandmarksLib import __version__
from CoWLandmarksLib.alignment import REFERENCE_CENTRE_MM, REFERENCE_SHAPE, REFERENCE_SPACING_MM, ShapeModel
from CoWLandmarksLib.anatomy import default_anatomy
from CoWLandmarksLib.calibration import UNCALIBRATED
from CoWLandmarksLib.detector import Detector
from CoWLandmarksLib.errors import ConfigurationError, StoppedError
from CoWLandmarksLib.generator import Generator, GeneratorConfig
from CoWLandmarksLib.intensity import DEFAULT_INTENSITY_RULES
from CoWLandmarksLib.modality import Modality
from CoWLandmarksLib.model import GridSpec, Model, NetworkPart, save_model
from CoWLandmarksLib.verdict import recognition

from .calibrating import calibration_of
from .evaluation import AnnotatedVolume, CaseResult, evaluate
from .parallel import end_with_parent
from .phantom.atlas import default_atlas
from .phantom.cohort import make_case
from .phantom.geometry import sample_phantom
from .phantom.training_cases import FINE_WINDOW, cache_training_cases, training_case_path
from .phantom.vessel import PHANTOM_VERSION
from .samples import CaseFolder, CoarseSampler, FineSampler
from .shape import shape_model_of
from .trainer import Trainer, TrainerConfig

COARSE_SIGMA_MM = 4.0
FINE_SIGMA_MM = 1.5
PRIOR_SIGMA_MM = 5.0
PART_NAMES = ("coarse", "fine")
CALIBRATION_SEED = 7001
CALIBRATION_ENRICHMENT = 4.0
ABSENCE_SEED = 7002
ABSENCE_ENRICHMENT = 16.0
ABSENCE_SHARE = 0.6
"""Phantom cohorts used for calibration only (the second is rich in absent arteries and has this share of the scans of
the first); tests use other seeds (Docs/model-card.md)."""
ALLOWED_TO_FAIL = 0.02
RECOGNITION_SLACK = 0.05
CARD = (
    "CoW Landmarks default model. Trained on synthetic phantoms only (TOF-MRA and CTA). Research use only; not a "
    "medical device; its accuracy on patients is not established. Check every point."
)


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
    training=TrainerConfig(steps=9000, learning_rate=1e-3, final_learning_rate=1e-5, time_limit_seconds=5400.0),
    batch_size=2,
    renderers=2,
    validation_cases=40,
)
_GPU = replace(
    _CPU,
    name="gpu",
    cases=12000,
    coarse=GeneratorConfig(in_channels=2, base_width=24, levels=4, fold=2),
    fine=GeneratorConfig(in_channels=20, base_width=16, levels=5, max_width=192, fold=1),
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
    shape_samples=40,
)
CONTINUED_LEARNING_RATE = 5e-4
PRESETS = {preset.name: preset for preset in (_CPU, _GPU, _SMALL)}


def continued(preset: Preset, start: Model) -> Preset:
    """The preset for going on from the weights of `start`: its networks, new cases, a lower learning rate.

    The seed is one above the model's, so no case that it was trained on comes again.
    """
    return replace(
        preset,
        coarse=start.coarse.config,
        fine=start.fine.config,
        training=replace(preset.training, learning_rate=CONTINUED_LEARNING_RATE),
        seed=int(start.provenance.get("seed", 0)) + 1,
    )


def render_cases(
    preset: Preset,
    folder: Path,
    should_stop: Callable[[], bool] = lambda: False,
    on_log: Callable[[dict[str, Any]], None] | None = None,
    log_seconds: float = 10.0,
) -> None:
    """Render the preset's training cases into `folder`, in parallel processes of one thread each.

    `on_log` is told every `log_seconds` and at the end how many cases are there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [training_case_path(folder, preset.seed, index) for index in range(preset.cases)]

    def log() -> None:
        if on_log:
            on_log({"stage": "cases", "done": sum(path.exists() for path in wanted), "of": len(wanted)})

    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_render_share, args=(folder, preset.seed, first, preset.cases, preset.renderers))
        for first in range(preset.renderers)
    ]
    for worker in workers:
        worker.start()
    logged = time.monotonic()
    while any(worker.is_alive() for worker in workers):
        workers[0].join(0.2)
        if time.monotonic() - logged >= log_seconds:
            logged = time.monotonic()
            log()
        if should_stop():
            for worker in workers:
                worker.terminate()
                worker.join()
            raise StoppedError(f"Stopped; the cases rendered so far stay in '{folder}', the same command goes on.")
    log()
    if any(worker.exitcode for worker in workers):
        raise ConfigurationError(f"Rendering training cases into '{folder}' failed; see the messages above.")


def _render_share(folder: Path, seed: int, first: int, count: int, step: int) -> None:
    end_with_parent()
    torch.set_num_threads(1)
    cache_training_cases(folder, seed, range(first, count, step), torch.device("cpu"))


def make_trainer(
    part: str, preset: Preset, cases: Path, folder: Path, device: torch.device, start: Model | None = None
) -> Trainer:
    """The trainer of the "coarse" or the "fine" network, resumed from `folder` when it holds a checkpoint.

    Without a checkpoint it begins with the weights of `start` (whose networks the preset must have), or afresh.
    """
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
    if start is not None:
        network = start.coarse if part == "coarse" else start.fine
        generator.load_state_dict({name: value.to(torch.float32) for name, value in network.weights.items()})
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
    should_stop: Callable[[], bool] = lambda: False,
    start: Model | None = None,
) -> Trainer:
    """Train one network to its end (or time limit) and return its trainer."""
    trainer = make_trainer(part, preset, cases, folder, device, start)
    trainer.run(on_log, should_stop)
    return trainer


def assemble(
    preset: Preset, coarse: Trainer, fine: Trainer, path: Path, *, work: Path, start: Model | None = None
) -> Model:
    """Put the averaged networks, the shape model and their calibrations into one model file.

    A network that was not trained a step is that of `start`. Calibration uses phantoms of a seed of its own (neither
    trained on nor tested on).
    """
    shape = phantom_shape_model(preset.seed, preset.shape_samples)
    provenance = {
        "training_data": "synthetic phantoms; statistics derived from iCafe (Apache-2.0) and BraVa, see atlas.json",
        "phantom_version": PHANTOM_VERSION,
        "program": __version__,
        "preset": preset.name,
        "seed": preset.seed,
        "cases": len(list((work / "cases").glob("*.npz"))),
        "coarse": {"steps": coarse.step, "seconds": round(coarse.seconds_before), "batch_size": preset.batch_size},
        "fine": {"steps": fine.step, "seconds": round(fine.seconds_before), "batch_size": preset.batch_size},
        "calibration": {
            "seed": CALIBRATION_SEED,
            "scans": 2 * (preset.validation_cases // 2),
            "absence_seed": ABSENCE_SEED,
            "absence_scans": _absence_scans(preset.validation_cases),
        },
    }
    if start is not None:
        provenance["started_from"] = {"model": start.name, **start.provenance}
    model = Model(
        name=f"default-{preset.name}",
        anatomy=default_anatomy(),
        coarse=_network(coarse, COARSE_SIGMA_MM, None if start is None else start.coarse),
        fine=_network(fine, FINE_SIGMA_MM, None if start is None else start.fine),
        window=FINE_WINDOW,
        prior_sigma_mm=PRIOR_SIGMA_MM,
        shape=shape,
        grid=GridSpec(REFERENCE_SHAPE, tuple(REFERENCE_SPACING_MM), tuple(REFERENCE_CENTRE_MM)),
        intensity=dict(DEFAULT_INTENSITY_RULES),
        provenance=provenance,
        licence="Apache-2.0",
        card=CARD,
    )
    model = calibrated(model, preset.validation_cases)
    save_model(model, path)
    return model


def _network(trainer: Trainer, sigma_mm: float, start: NetworkPart | None) -> NetworkPart:
    """What a trainer made, not yet calibrated; `start` where it made nothing."""
    if trainer.step == 0 and start is not None:
        return replace(start, calibration=UNCALIBRATED)
    return NetworkPart(trainer.generator.config, trainer.averaged_generator().state_dict(), sigma_mm, UNCALIBRATED)


def phantom_shape_model(seed: int, count: int) -> ShapeModel:
    """Shape model of phantom landmarks in the atlas frame, the drawn places standing in for absent points."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 2**40]))
    configurations = np.empty((count, len(default_anatomy()), 3))
    for index in range(count):
        phantom = sample_phantom(rng)
        configurations[index] = np.where(np.isfinite(phantom.landmarks), phantom.landmarks, phantom.anchors)
    return shape_model_of(configurations, default_atlas().shape_models["patients"].mean)


def calibrated(model: Model, scans: int) -> Model:
    """The model with both calibrations measured on phantoms: first the coarse network, then, with it, the fine one.

    The cohort is enriched in variants. A second one, in which arteries are often absent, serves only to see how high
    the peaks of absent landmarks are.
    """
    permutation = model.anatomy.mirror_permutation
    cases = _calibration_cases(CALIBRATION_SEED, scans, CALIBRATION_ENRICHMENT)
    results = evaluate(Detector(model, "cpu", passes=1), cases)
    coarse = calibration_of(results, "coarse", "coarse_peaks", permutation)
    # The second pass relies on a table of the first.
    first = calibration_of(results, "subvoxel", "peaks", permutation)
    model = replace(
        model, coarse=replace(model.coarse, calibration=coarse), fine=replace(model.fine, calibration=first)
    )
    detector = Detector(model, "cpu")
    results = evaluate(detector, cases)
    rich = evaluate(detector, _calibration_cases(ABSENCE_SEED, _absence_scans(scans), ABSENCE_ENRICHMENT))
    absent_peaks = np.concatenate([result.peaks[result.absent] for result in rich])
    final = calibration_of(results, "subvoxel", "peaks", permutation, absent_peaks)
    model = replace(model, fine=replace(model.fine, calibration=final))
    return replace(model, least_recognition=least_recognition(model, results))


def least_recognition(model: Model, results: list[CaseResult]) -> float:
    """The limit of `verdict.recognition` that the worst recognised of these scans, all of heads, just passes.

    One scan in fifty may fail it: those are the scans on which the networks went astray.
    """
    values = []
    for result in results:
        inside = np.isfinite(result.truth).all(axis=1)
        coarse = model.coarse.calibration.confidence_of(result.coarse_peaks)
        fine = model.fine.calibration.confidence_of(result.peaks)
        values.append(recognition(coarse[inside], fine[inside] >= model.fine.calibration.uncertain_below))
    return float(np.quantile(values, ALLOWED_TO_FAIL)) - RECOGNITION_SLACK


def _absence_scans(scans: int) -> int:
    return 2 * max(1, round(ABSENCE_SHARE * scans / 2))


def _calibration_cases(seed: int, scans: int, enrichment: float) -> list[AnnotatedVolume]:
    return [
        AnnotatedVolume(case.volume, case.truth, modality.value)
        for index in range(scans // 2)
        for modality in Modality
        for case in [make_case(seed, index, modality, enrichment=enrichment)]
    ]


def run_recipe(
    preset: Preset,
    work: Path,
    out: Path,
    device: torch.device,
    *,
    only: str | None = None,
    minutes: float | None = None,
    start: Model | None = None,
    on_log: Callable[[dict[str, Any]], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Path | None:
    """The whole recipe, or one step of it; what is done already is kept.

    `start`: go on from the weights of this model instead of from random ones (see `continued`).
    Returns the model file when it was written. Raises StoppedError when `should_stop` ended a training.
    """
    if start is not None:
        preset = continued(preset, start)
    if minutes is not None:
        preset = replace(preset, training=replace(preset.training, time_limit_seconds=60.0 * minutes))
    if only in (None, "cases"):
        render_cases(preset, work / "cases", should_stop, on_log)
    for part in PART_NAMES:
        if only in (None, part):
            train_part(part, preset, work / "cases", work / part, device, on_log, should_stop, start)
    if only not in (None, "assemble"):
        return None
    trainers = {part: make_trainer(part, preset, work / "cases", work / part, device, start) for part in PART_NAMES}
    untrained = [part for part, trainer in trainers.items() if trainer.step == 0]
    if untrained and (start is None or len(untrained) == len(trainers)):
        raise ConfigurationError(f"The {untrained[0]} network in '{work}' is not trained yet; train it first.")
    assemble(preset, trainers["coarse"], trainers["fine"], out, work=work, start=start)
    return out
