"""The recipe of the shipped model: phantom cases, coarse and fine network, calibration, one model file."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from CoWLandmarksLib import __version__
from CoWLandmarksLib.alignment import REFERENCE_CENTRE_MM, REFERENCE_SHAPE, REFERENCE_SPACING_MM, ShapeModel
from CoWLandmarksLib.anatomy import default_anatomy
from CoWLandmarksLib.calibration import UNCALIBRATED
from CoWLandmarksLib.errors import ConfigurationError, StoppedError
from CoWLandmarksLib.generator import Generator
from CoWLandmarksLib.intensity import DEFAULT_INTENSITY_RULES
from CoWLandmarksLib.model import GridSpec, Model, NetworkPart, save_model
from CoWLandmarksLib.packed_weights import pack_weights, unpack_weights

from .batch import Sampler
from .default_calibration import ABSENCE_SEED, CALIBRATION_SEED, absence_scans, calibrated
from .default_presets import LEARNING_RATE, Preset, continued
from .parallel import end_with_parent
from .phantom.atlas import default_atlas
from .phantom.case_cache import cache_training_cases, training_case_path
from .phantom.geometry import sample_phantom
from .phantom.training_cases import FINE_WINDOW
from .phantom.vessel import PHANTOM_VERSION
from .samples import CaseFolder, CircleSampler, CoarseSampler, FineSampler
from .shape import shape_model_of
from .trainer import CHECKPOINT_NAME, Trainer, TrainerConfig

COARSE_SIGMA_MM = 4.0
CIRCLE_SIGMA_MM = 2.5
FINE_SIGMA_MM = 1.5
PRIOR_SIGMA_MM = 5.0
PART_NAMES = ("coarse", "circle", "fine")
CARD = (
    "CoW Landmarks default model. Trained on synthetic phantoms only (TOF-MRA and CTA). Research use only; not a "
    "medical device; its accuracy on patients is not established. Check every point."
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
    """The trainer of a network (one of PART_NAMES), resumed from `folder` when it holds a checkpoint.

    Without a checkpoint it begins with the weights of `start` (whose networks the preset must have), or afresh. The
    circle network has the form of the coarse one and begins with its weights where `start` has none of its own.
    """
    if part not in PART_NAMES:
        raise ConfigurationError(f"'{part}' is no part of the model; use one of {', '.join(PART_NAMES)}.")
    permutation = default_anatomy().mirror_permutation
    torch.manual_seed(preset.seed)
    folder_of_cases, size = CaseFolder(cases), preset.batch_size
    generator: Generator
    sampler: Sampler
    if part == "coarse":
        generator = Generator(preset.coarse)
        sampler = CoarseSampler(folder_of_cases, permutation, COARSE_SIGMA_MM, size, device=device)
    elif part == "circle":
        generator = Generator(preset.coarse)
        sampler = CircleSampler(folder_of_cases, permutation, CIRCLE_SIGMA_MM, max(1, size // 2), device)
    else:
        generator = Generator(preset.fine)
        sampler = FineSampler(folder_of_cases, permutation, FINE_SIGMA_MM, PRIOR_SIGMA_MM, size, device)
    weights = _first_weights(part, folder, start)
    if weights is not None:
        generator.load_state_dict({name: value.to(torch.float32) for name, value in weights.items()})
    training = replace(preset.training, seed=preset.seed)
    if part == "circle" and (start is None or start.circle is None):
        last = training.final_alpha or training.alpha  # what it begins with knew another scale
        training = replace(training, learning_rate=LEARNING_RATE, alpha=TrainerConfig.alpha, final_alpha=last)
    trainer = Trainer(generator, sampler, training, folder, device)
    trainer.resume()
    return trainer


def _first_weights(part: str, folder: Path, start: Model | None) -> dict[str, torch.Tensor] | None:
    """Weights that a network begins with; None: random ones."""
    if start is not None:
        network = {"coarse": start.coarse, "circle": start.circle or start.coarse, "fine": start.fine}[part]
        return network.weights
    coarse = folder.with_name("coarse") / CHECKPOINT_NAME
    if part == "circle" and coarse.exists():
        weights: dict[str, torch.Tensor] = torch.load(coarse, map_location="cpu", weights_only=True)["average"]
        return weights
    return None


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
    preset: Preset,
    trainers: Mapping[str, Trainer],
    path: Path,
    *,
    work: Path,
    start: Model | None = None,
    cases: int | None = None,
) -> Model:
    """Put the averaged networks (`trainers` by part), the shape model and the calibrations into one model file.

    A network that was not trained a step is that of `start`. Weights are rounded to 8 bits first, so that calibration
    sees what is stored; it uses phantoms of a seed of its own (neither trained on nor tested on). `cases` is for the
    record (default: those in `work`).
    """
    shape = phantom_shape_model(preset.seed, preset.shape_samples)
    provenance = {
        "training_data": "synthetic phantoms; statistics derived from iCafe (Apache-2.0) and BraVa, see atlas.json",
        "phantom_version": PHANTOM_VERSION,
        "program": __version__,
        "preset": preset.name,
        "seed": preset.seed,
        "cases": len(list((work / "cases").glob("*.npz"))) if cases is None else cases,
        **{part: _training_of(trainer) for part, trainer in trainers.items()},
        "calibration": {
            "seed": CALIBRATION_SEED,
            "scans": 2 * (preset.validation_cases // 2),
            "absence_seed": ABSENCE_SEED,
            "absence_scans": absence_scans(preset.validation_cases),
        },
    }
    if start is not None:
        provenance["started_from"] = {"model": start.name, **start.provenance}
    model = Model(
        name=f"default-{preset.name}",
        anatomy=default_anatomy(),
        coarse=_network(trainers["coarse"], COARSE_SIGMA_MM, None if start is None else start.coarse),
        circle=_network(trainers["circle"], CIRCLE_SIGMA_MM, None if start is None else start.circle),
        fine=_network(trainers["fine"], FINE_SIGMA_MM, None if start is None else start.fine),
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
    save_model(model, path, eight_bit=True)
    return model


def _training_of(trainer: Trainer) -> dict[str, int]:
    size = getattr(trainer.sampler, "batch_size", 0)
    return {"steps": trainer.step, "seconds": round(trainer.seconds_before), "batch_size": size}


def _network(trainer: Trainer, sigma_mm: float, start: NetworkPart | None) -> NetworkPart:
    """What a trainer made, not yet calibrated; `start` where it made nothing."""
    if trainer.step == 0 and start is not None:
        return replace(start, weights=unpack_weights(pack_weights(start.weights)), calibration=UNCALIBRATED)
    weights = unpack_weights(pack_weights(trainer.averaged_generator().state_dict()))
    return NetworkPart(trainer.generator.config, weights, sigma_mm, UNCALIBRATED)


def phantom_shape_model(seed: int, count: int) -> ShapeModel:
    """Shape model of phantom landmarks in the atlas frame, the drawn places standing in for absent points."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 2**40]))
    configurations = np.empty((count, len(default_anatomy()), 3))
    for index in range(count):
        phantom = sample_phantom(rng)
        configurations[index] = np.where(np.isfinite(phantom.landmarks), phantom.landmarks, phantom.anchors)
    return shape_model_of(configurations, default_atlas().shape_models["patients"].mean)


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
    missing = [part for part in untrained if start is None or (part == "circle" and start.circle is None)]
    if missing or len(untrained) == len(trainers):
        raise ConfigurationError(f"The {untrained[0]} network in '{work}' is not trained yet; train it first.")
    assemble(preset, trainers, out, work=work, start=start)
    return out
