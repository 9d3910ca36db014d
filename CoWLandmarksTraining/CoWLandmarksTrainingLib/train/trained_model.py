"""From trained networks to a model file: put together, calibrated, compared with the model it began from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from CoWLandmarksLib.core.calibration import UNCALIBRATED
from CoWLandmarksLib.core.errors import ConfigurationError
from CoWLandmarksLib.detect.model import Model, NetworkPart, save_model
from CoWLandmarksLib.networks.packed_weights import pack_weights, unpack_weights

from ..evaluate.fit_calibration import calibrated
from ..records.improvement import improvement, write_comparison
from .checkpoint import averaged_weights
from .memory import enough_memory
from .model_provenance import model_description, model_provenance
from .stages import Stage, grid_spec
from .trainer import CHECKPOINT_NAME, LogSink

if TYPE_CHECKING:
    from pathlib import Path

    from .training import Training


def trained_model(training: Training) -> Model:
    """The model of all stages as they were trained, uncalibrated. Raises ConfigurationError where one was not."""
    parts = {stage.name: _part(training, stage) for stage in training.stages}
    fine, frame = training.plan.fine, training.data.frame
    steps = {stage.name: _steps_of(training, stage) for stage in training.stages}
    return Model(
        name=training.name or f"{training.out.resolve().name}-{training.plan.name}",
        anatomy=training.data.anatomy,
        coarse=parts["coarse"],
        circle=parts.get("circle"),
        fine=parts["fine"],
        window=training.stage("fine").shape,
        prior_sigma_mm=fine.prior_sigma_mm,
        shape=training.data.shape_model(),
        grid=grid_spec(frame.grid),
        intensity=dict(training.data.rules),
        provenance=model_provenance(training, steps),
        licence=training.licence,
        description=model_description(training),
        decode_with_prior=fine.decode_with_prior,
        read_mirrored=training.augmentation.mirror,
    )


def _part(training: Training, stage: Stage) -> NetworkPart:
    """What became of a stage, rounded to what is stored, so that calibration sees that."""
    checkpoint = training.out / stage.name / CHECKPOINT_NAME
    weights = None if stage.fixed else averaged_weights(checkpoint)
    if weights is None:
        if stage.start is None:
            raise ConfigurationError(
                f"The {stage.name} network in '{training.out}' is not trained yet; train it first."
            )
        weights = stage.start.weights
    # How many batches a normalisation has seen is a whole number, and of no use to detection.
    weights = {name: value for name, value in weights.items() if value.is_floating_point()}
    kept = stage.start if stage.fixed else None
    sigma_mm = stage.settings.sigma_mm if kept is None else kept.sigma_mm
    return NetworkPart(stage.config, unpack_weights(pack_weights(weights)), sigma_mm, UNCALIBRATED)


def _steps_of(training: Training, stage: Stage) -> dict[str, Any]:
    log = {} if stage.fixed else _last_state(training.out / stage.name / CHECKPOINT_NAME)
    return {
        "steps": log.get("step", 0),
        "seconds": round(log.get("seconds", 0.0)),
        "batch_size": stage.settings.batch_size,
    }


def _last_state(checkpoint: Path) -> dict[str, Any]:
    if not checkpoint.exists():
        return {}
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return {"step": int(state["step"]), "seconds": float(state["seconds"])}


def deliver_model(training: Training, report: LogSink) -> None:
    """Calibrate, compare with the model it began from, and write the model file."""
    device, data, start = training.device.type, training.data, training.start
    # Tables of networks that this training did not go on with say nothing of its own.
    before = start if all(stage.start is not None for stage in training.stages) else None
    report({"stage": "calibration", "message": "measuring the confidences"})
    with enough_memory("the calibration"):
        model = calibrated(
            trained_model(training),
            lambda model: data.read_calibration(model, device),
            lambda model: data.read_absence(model, device),
            before,
        )
    if model.fine.calibration is (UNCALIBRATED if before is None else before.fine.calibration):  # nothing was measured
        whose = "a guess" if before is None else "those of the model it began from"
        model = replace(
            model, description=f"{model.description} There was no validation scan: confidences are {whose}."
        )
    compared = None
    if start is not None:
        report({"stage": "comparison", "message": "comparing with the model it began from"})
        with enough_memory("the comparison"):
            compared = improvement(data.read_validation(start, device), data.read_validation(model, device))
    if compared is not None:
        model = replace(model, provenance={**model.provenance, "compared_with_start": compared.to_dict()})
        write_comparison(training.out, compared)
        report({"stage": "comparison", "message": compared.sentence(), **compared.to_dict()})
    elif start is not None:
        message = (
            "There is no validation scan: whether the new model is better than the one it began from is not known."
        )
        report({"stage": "comparison", "message": message})
    save_model(model, training.model_file, eight_bit=True)
