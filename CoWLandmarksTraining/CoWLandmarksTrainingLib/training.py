"""Training on an aligned cohort: coarse network, fine network (both phases), calibration, one model file."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from CoWLandmarksLib import __version__
from CoWLandmarksLib.alignment import ShapeModel
from CoWLandmarksLib.calibration import UNCALIBRATED
from CoWLandmarksLib.errors import ConfigurationError, ModelError, OutputError
from CoWLandmarksLib.files import write_json
from CoWLandmarksLib.generator import Generator, GeneratorConfig
from CoWLandmarksLib.model import GridSpec, Model, NetworkPart, load_model, save_model

from .adversary import Adversary
from .aligned import CROP_FILE, AlignedCase, AlignedCohort
from .aligned_samples import AlignedCoarseSampler, AlignedFineSampler, CoarsePose, FineTask, RealSampler, usable
from .augmentation import AugmentationConfig
from .crop_calibration import calibrated_on_crops
from .crop_validation import CoarseValidation, FineValidation
from .input_files import sha256_of
from .processes import Processes
from .shape import shape_model_of
from .trainer import COARSE_MEMORY_ADVICE, LogSink, Trainer, Validation, enough_memory
from .training_plan import DEFAULT_START, TrainingPlan, start_model_path

logger = logging.getLogger(__name__)

MODEL_FILE = "model.cow.pt"
PLAN_FILE = "plan.json"
_MOST_VALIDATED = 8
_SAME_FRAME_MM = 6.0
_PRIOR_CASES, _PRIOR_SD_MM = 10.0, 3.0
"""A shape model of few cases is mixed with that many cases of independent variation."""


@dataclass(frozen=True)
class CohortTraining:
    """One training: cohort, settings, place, device and this process's part."""

    cohort: AlignedCohort
    plan: TrainingPlan
    out: Path
    device: torch.device
    processes: Processes

    @property
    def model_file(self) -> Path:
        """Where the model is delivered."""
        return self.out / MODEL_FILE

    @cached_property
    def train_cases(self) -> tuple[AlignedCase, ...]:
        """Scans to learn from."""
        return self._scans("train")

    @cached_property
    def validation_cases(self) -> tuple[AlignedCase, ...]:
        """Scans to judge the training by."""
        return self._scans("validation")

    @cached_property
    def real_cases(self) -> tuple[AlignedCase, ...]:
        """Annotated sets for the discriminator, with or without image."""
        own = self.plan.training
        return usable([case for m in own.real_modalities for case in self.cohort.cases("train", m)])

    @cached_property
    def coarse_start(self) -> NetworkPart | None:
        """The coarse network to begin with."""
        model = self._start_model(self.plan.coarse.start_from)
        return model.coarse if model else None

    @cached_property
    def fine_start(self) -> NetworkPart | None:
        """The fine network to begin with; None where the model that ships has another input."""
        own = self.plan.training.start_from
        model = self._start_model(own)
        if model is None or model.reads_priors == self.plan.generator.priors:
            return model.fine if model else None
        if own != DEFAULT_START:
            raise ModelError(f"'{Path(own).name}' has another input than this training; change training.start_from.")
        logger.warning("The default model reads another input; the fine network begins from nothing.")
        return None

    @cached_property
    def circle_kept(self) -> NetworkPart | None:
        """The circle network of the model that the fine network begins with, where it fits this cohort's frame.

        It is not trained here; without it a model made from the default one would find less than that one.
        """
        model = self._start_model(self.plan.training.start_from)
        if model is None or model.circle is None or not self.plan.generator.priors:
            return None
        off = np.linalg.norm(cohort_shape_model(self.cohort).mean - model.shape.mean, axis=1).mean()
        if off > _SAME_FRAME_MM:
            logger.warning("The circle network of the model to begin from is left out: it knows another frame.")
            return None
        return replace(model.circle, calibration=UNCALIBRATED)

    def _start_model(self, start_from: str) -> Model | None:
        path = start_model_path(start_from)
        if path is None:
            return None
        model = load_model(path)
        if model.anatomy.codes == self.cohort.anatomy.codes:
            return model
        if start_from != DEFAULT_START:
            raise ModelError(f"'{path.name}' has other landmarks than this cohort; change start_from.")
        logger.warning("The default model has other landmarks; the training begins from nothing.")
        return None

    @cached_property
    def augmentation(self) -> AugmentationConfig:
        """The plan's, without mirroring where a landmark of one side has no counterpart on the other."""
        own = self.plan.augmentation
        alone = [
            mark.code for mark in self.cohort.anatomy.landmarks if mark.side != "midline" and mark.mirror == mark.code
        ]
        if not own.mirror or not alone:
            return own
        logger.warning("Nothing is mirrored: %s has no counterpart on the other side.", ", ".join(alone))
        return replace(own, mirror=False)

    @cached_property
    def task(self) -> FineTask:
        """What the fine network learns."""
        own = self.plan.generator
        shape = self.cohort.frame.grid.shape
        return FineTask(
            self.cohort.frame,
            self.cohort.anatomy.mirror_permutation,
            own.window if min(own.window) > 0 else shape,
            own.sigma_mm,
            own.prior_sigma_mm if own.priors else None,
            own.subvoxel_targets,
            own.learn_absence,
            self.device,
        )

    def coarse_trainer(self) -> Trainer:
        """The trainer of the coarse network."""
        own, plan = self.plan.coarse, self.plan
        config = GeneratorConfig(2, len(self.cohort.anatomy), own.base_width, own.levels, fold=own.fold)
        sampler = AlignedCoarseSampler(
            self.train_cases,
            self.task.permutation,
            own.sigma_mm,
            own.batch_size,
            CoarsePose(own.pitch_deg, own.roll_yaw_deg, own.scale),
            self.augmentation,
            device=self.device,
            seed=plan.training.seed,
            processes=self.processes,
        )
        generator = self._network(config, self.coarse_start, 0)
        return Trainer(
            generator,
            sampler,
            plan.coarse_trainer_config(),
            self.out / "coarse",
            self.device,
            processes=self.processes,
            memory_advice=COARSE_MEMORY_ADVICE,
        )

    def fine_trainer(self) -> Trainer:
        """The trainer of the fine network, with its discriminator where there is an adversarial phase."""
        own, plan, count = self.plan.generator, self.plan, len(self.cohort.anatomy)
        channels = 1 + count if own.priors else 1
        config = GeneratorConfig(channels, count, own.base_width, own.levels, own.max_width, own.fold)
        sampler = AlignedFineSampler(
            self.train_cases,
            self.task,
            self.augmentation,
            plan.training.batch_size,
            seed=plan.training.seed,
            processes=self.processes,
        )
        generator = self._network(config, self.fine_start, 1)
        adversary = None
        if plan.training.adversarial_steps:
            torch.manual_seed(plan.training.seed + 2)
            adversary = Adversary(
                count,
                plan.discriminator,
                self.grid_spec,
                own.sigma_mm,
                RealSampler(self.real_cases, self.task, self.augmentation, plan.training.batch_size, self.processes),
                self.device,
                seed=plan.training.seed,
                processes=self.processes,
            )
        return Trainer(
            generator,
            sampler,
            plan.trainer_config(),
            self.out / "fine",
            self.device,
            adversary=adversary,
            processes=self.processes,
        )

    @property
    def grid_spec(self) -> GridSpec:
        """The reference grid as a model keeps it."""
        grid = self.cohort.frame.grid
        spacing, centre = (tuple(float(v) for v in values) for values in (grid.spacing, grid.centre))
        return GridSpec(grid.shape, (spacing[0], spacing[1], spacing[2]), (centre[0], centre[1], centre[2]))

    def coarse_validation(self) -> Validation | None:
        """What judges the coarse network while it is trained."""
        cases = self.validation_cases[:_MOST_VALIDATED]
        return CoarseValidation(cases, self.plan.coarse.sigma_mm, self.device) if cases else None

    def fine_validation(self, model: Model) -> Validation | None:
        """What judges the fine network while it is trained; `model` without its weights."""
        cases = self.validation_cases[:_MOST_VALIDATED]
        return FineValidation(model, cases, self.device, self.out / "fine" / "pictures") if cases else None

    def model(self, coarse: Trainer, fine: Trainer) -> Model:
        """The model of two trainers, uncalibrated."""
        own, frame = self.plan.generator, self.cohort.frame
        return Model(
            name=f"{self.out.resolve().name}-{self.plan.name}",
            anatomy=self.cohort.anatomy,
            coarse=_part(coarse, self.plan.coarse.sigma_mm),
            fine=_part(fine, own.sigma_mm),
            window=self.task.window,
            prior_sigma_mm=own.prior_sigma_mm,
            shape=cohort_shape_model(self.cohort),
            grid=self.grid_spec,
            intensity=dict(self.cohort.rules),
            provenance=self._provenance(coarse, fine),
            licence="of the data it was trained on; not stated",
            card=_card(self, frame.notes),
            decode_with_prior=own.decode_with_prior,
            read_mirrored=self.augmentation.mirror,
            circle=self.circle_kept,
        )

    def _provenance(self, coarse: Trainer, fine: Trainer) -> dict[str, Any]:
        """Numbers only, no names of cases or patients."""
        return {
            "training_data": "an annotated cohort",
            "program": __version__,
            "preset": self.plan.name,
            "seed": self.plan.training.seed,
            "scans": len(self.train_cases),
            "landmark_sets": len(self.real_cases) if self.plan.training.adversarial_steps else 0,
            "validation_scans": len(self.validation_cases),
            "alignment": self.cohort.frame.method,
            "test_seal": self.cohort.provenance.get("test_seal"),
            "coarse": {"steps": coarse.step, "seconds": round(coarse.seconds_before)},
            **({} if self.circle_kept is None else {"circle": {"steps": 0}}),
            "fine": {"steps": fine.step, "seconds": round(fine.seconds_before)},
            "plan": self.plan.to_dict(),
        }

    def _scans(self, split: str) -> tuple[AlignedCase, ...]:
        own = self.plan.training
        return usable([c for m in own.image_modalities for c in self.cohort.cases(split, m, has_image=True)])

    def _network(self, config: GeneratorConfig, start: NetworkPart | None, number: int) -> Generator:
        if start is None:
            torch.manual_seed(self.plan.training.seed + number)
            return Generator(config)
        generator = Generator(start.config)
        generator.load_state_dict({name: value.to(torch.float32) for name, value in start.weights.items()})
        return generator


def train(
    training: CohortTraining,
    *,
    resume: bool = False,
    on_log: LogSink | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Path:
    """Train both networks and write the model file; returns its path.

    Raises OutputError when the folder holds a training and `resume` is not wanted, ConfigurationError when the cohort
    or the settings do not allow a training, StoppedError when `should_stop` ended it with a checkpoint.
    """
    check_cohort(training)
    claim(training, resume)
    tell = on_log or (lambda entry: None)
    coarse = training.coarse_trainer()
    coarse.resume()
    coarse.run(lambda e: tell({"network": "coarse", **e}), should_stop, training.coarse_validation())
    fine = training.fine_trainer()
    fine.resume()
    validation = training.fine_validation(training.model(coarse, fine))
    fine.run(lambda e: tell({"network": "fine", **e}), should_stop, validation)
    if training.processes.first:
        tell({"network": "both", "stage": "calibration on validation scans"})
        model = training.model(coarse, fine)
        with enough_memory("the calibration on validation scans"):
            model = calibrated_on_crops(model, training.validation_cases, training.device.type)
        save_model(model, training.model_file)
    training.processes.wait()
    return training.model_file


def check_cohort(training: CohortTraining) -> None:
    """Raise ConfigurationError when the cohort cannot be trained on, with what is missing."""
    own, cohort = training.plan.training, training.cohort
    without = [m.value.upper() for m in own.image_modalities if not usable(cohort.cases("train", m, has_image=True))]
    if without:
        raise ConfigurationError(
            f"The aligned cohort has no {without[0]} training scan with at least three landmarks; add annotated scans, "
            "or change training.image_modality."
        )
    if own.adversarial_steps and own.prior != "none":
        missing = [m for m in own.real_modalities if not usable(cohort.cases("train", m))]
        if missing:
            raise ConfigurationError(
                f"The aligned cohort has no {missing[0].value.upper()} landmarks for training; add some, "
                "or use training.prior = none."
            )
    grid, window = cohort.frame.grid.shape, training.task.window
    multiple = training.plan.generator.fold * 2 ** (training.plan.generator.levels - 1)
    if any(side % multiple for side in window):
        raise ConfigurationError(
            f"The crop of {window[2]} x {window[1]} x {window[0]} voxels needs sides that are multiples of {multiple}; "
            "change align.shape, generator.levels or generator.fold."
        )
    if any(side > whole for side, whole in zip(window, grid, strict=True)):
        raise ConfigurationError(f"generator.window {window} is larger than the crop {grid}; make it smaller.")
    seen = np.any([case.placed_in(cohort.frame.grid) for case in training.train_cases], axis=0)
    if not seen.all():
        codes = [code for code, known in zip(cohort.anatomy.codes, seen, strict=True) if not known]
        raise ConfigurationError(
            f"No training scan has the landmark {', '.join(codes)} in its crop; annotate it, make the crop larger "
            "(align.shape), or use an anatomy without it."
        )


def cohort_shape_model(cohort: AlignedCohort) -> ShapeModel:
    """Landmark shape model of the training cases; with few of them, wider than what they show."""
    cases = usable(cohort.cases("train"))
    shape = shape_model_of(np.array([case.landmarks for case in cases]), cohort.frame.mean_landmarks)
    loose = _PRIOR_SD_MM**2 * np.eye(len(shape.covariance))
    share = len(cases) / (len(cases) + _PRIOR_CASES)
    return replace(shape, covariance=share * shape.covariance + (1.0 - share) * loose)


def claim(training: CohortTraining, resume: bool) -> None:
    """Note what is trained in `training.out`, or make sure that it is the same as what was begun there.

    Raises OutputError when something was begun and `resume` is not wanted, ConfigurationError when it was another
    training. Images that have been replaced since, as after a repair, are named in a warning.
    """
    path = training.out / PLAN_FILE
    now = {"schema": "cow-training-plan/1", "plan": training.plan.to_dict(), "cases": _fingerprint(training)}
    if path.exists():
        if not resume:
            raise OutputError(f"'{training.out}' holds a training; go on with --resume, or choose another --out.")
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"'{path}' is damaged ({error}); choose another --out.") from error
        images = before.pop("images", {}) if isinstance(before, dict) else {}
        if before != json.loads(json.dumps(now)):
            raise ConfigurationError(
                f"Settings or cases differ from those that '{training.out}' was begun with; "
                "use the same ones to resume, or choose another --out."
            )
        replaced = sorted(name for name, content in _images(training).items() if images.get(name, content) != content)
        if replaced:
            logger.warning(
                "Images replaced since the training was begun are learnt from now on: %s.", ", ".join(replaced)
            )
    training.processes.wait()
    if training.processes.first and not path.exists():
        write_json(path, {**now, "images": _images(training)})
    training.processes.wait()


def _fingerprint(training: CohortTraining) -> list[list[Any]]:
    """The frame, the intensity rules, and pose, landmarks and states of every case that is learnt or judged by."""
    cases = {case.name: case for case in (*training.train_cases, *training.real_cases, *training.validation_cases)}
    frame, spec = training.cohort.frame, training.grid_spec
    common = [*spec.shape, *spec.spacing, *spec.centre, *frame.mean_landmarks.ravel().tolist()]
    return [
        ["frame", _sum_of(common), list(training.cohort.anatomy.codes)],
        ["intensity", {modality.value: rule.to_dict() for modality, rule in training.cohort.rules.items()}],
        *([name, *_content_of(case)] for name, case in sorted(cases.items())),
    ]


def _content_of(case: AlignedCase) -> list[Any]:
    numbers = [*np.nan_to_num(case.landmarks).ravel(), *case.ras_to_reference.ravel()]
    return [_sum_of(numbers), case.status.tolist(), int(case.has_image)]


def _images(training: CohortTraining) -> dict[str, str]:
    cases = (*training.train_cases, *training.validation_cases)
    return {case.name: sha256_of(case.folder / CROP_FILE) for case in cases if case.folder is not None}


def _sum_of(values: Any) -> str:
    """SHA-256 of numbers, rounded to a micrometre."""
    rounded = np.round(np.asarray(values, np.float64), 3) + 0.0
    return hashlib.sha256(rounded.tobytes()).hexdigest()


def _part(trainer: Trainer, sigma_mm: float) -> NetworkPart:
    return NetworkPart(trainer.generator.config, trainer.averaged_generator().state_dict(), sigma_mm, UNCALIBRATED)


def _card(training: CohortTraining, notes: tuple[str, ...]) -> str:
    own = training.plan.training
    told = [
        f"Trained with CoW Landmarks {__version__} on {len(training.train_cases)} annotated scans "
        f"({own.image_modality}); {own.pretrain_steps} steps alone, {own.adversarial_steps} against a discriminator.",
        "Confidences were measured on validation crops."
        if training.validation_cases
        else "There was no validation scan: confidences are a guess.",
        *notes,
        "Research use only; not a medical device. Check every point.",
    ]
    return " ".join(told)
