"""An aligned cohort as what a training learns from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from CoWLandmarksLib.core.alignment import ShapeModel
from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.core.detection import LandmarkEstimate, LandmarkState
from CoWLandmarksLib.core.errors import ConfigurationError
from CoWLandmarksLib.core.intensity import IntensityRule
from CoWLandmarksLib.core.volume import Modality, Volume, apply_affine
from CoWLandmarksLib.detect.detector import Detector
from CoWLandmarksLib.detect.model import Model

from ..cohort.reference_shape import shape_model_of
from ..config.training_plan import TrainingPlan
from ..evaluate.evaluation import AnnotatedVolume, CaseResult, evaluate
from ..records.aligned_folder import (
    ABSENT,
    CROP_FILE,
    INSIDE,
    AlignedCase,
    AlignedCohort,
    AlignedFrame,
)
from ..records.input_files import sha256_of
from .aligned_source import AlignedLandmarkSets, AlignedSource, usable
from .phantom_data import phantom_frame
from .phantom_source import PhantomSource
from .posed_case import CaseSource
from .samples import LandmarkSetSource

_PRIOR_CASES, _PRIOR_SD_MM = 10.0, 3.0
"""A shape model of few cases is mixed with that many cases of independent variation."""


@dataclass(frozen=True)
class CohortData:
    """An aligned cohort, with phantoms beside it where the plan wants some."""

    cohort: AlignedCohort
    plan: TrainingPlan

    @property
    def anatomy(self) -> Anatomy:
        """The landmark set of the cohort."""
        return self.cohort.anatomy

    @property
    def frame(self) -> AlignedFrame:
        """The frame of the cohort."""
        return self.cohort.frame

    @property
    def rules(self) -> Mapping[Modality, IntensityRule]:
        """Intensity rules of the cohort."""
        return self.cohort.rules

    @cached_property
    def train_cases(self) -> tuple[AlignedCase, ...]:
        """Scans to learn from."""
        return self._scans("train")

    @cached_property
    def real_cases(self) -> tuple[AlignedCase, ...]:
        """Annotated sets for the discriminator, with or without image."""
        return usable([case for m in self.plan.data.real_modalities for case in self.cohort.cases("train", m)])

    def validation_cases(self) -> tuple[AlignedCase, ...]:
        """Scans of the split 'validation'."""
        return self._scans("validation")

    def check(self) -> None:
        """Raise ConfigurationError when the cohort cannot be trained on, with what is missing."""
        own, cohort = self.plan.data, self.cohort
        without = [
            m.value.upper() for m in own.image_modalities if not usable(cohort.cases("train", m, has_image=True))
        ]
        if without:
            raise ConfigurationError(
                f"The aligned cohort has no {without[0]} training scan with at least three landmarks; add annotated "
                "scans, or change data.image_modality."
            )
        if self.plan.adversarial and own.prior != "none":
            missing = [m for m in own.real_modalities if not usable(cohort.cases("train", m))]
            if missing:
                raise ConfigurationError(
                    f"The aligned cohort has no {missing[0].value.upper()} landmarks for training; add some, "
                    "or use data.prior = none."
                )
        seen = np.any([case.placed_in(cohort.frame.grid) for case in self.train_cases], axis=0)
        # Phantoms, which have every landmark, teach those that no scan is annotated with.
        if not seen.all() and not self.uses_phantoms:
            codes = [code for code, known in zip(cohort.anatomy.codes, seen, strict=True) if not known]
            raise ConfigurationError(
                f"No training scan has the landmark {', '.join(codes)} in its crop; annotate it, make the crop larger "
                "(align.shape), mix phantoms in (--phantoms), or use an anatomy without it."
            )
        if own.phantom_share and not (cohort.has_default_landmarks and self.frame.same_as(phantom_frame())):
            raise ConfigurationError(
                "Phantoms have the 19 landmarks of the paper in a frame of their own, and this cohort has others or "
                "another frame; use data.phantom_share = 0."
            )

    @property
    def uses_phantoms(self) -> bool:
        """Whether the plan wants some."""
        return self.plan.data.phantom_share > 0.0

    def sources(self, phantoms: PhantomSource) -> tuple[tuple[CaseSource, float], ...]:
        """The training scans, and phantoms; of the samples only a share uses up phantoms."""
        own, share = self.plan, self.plan.data.phantom_share
        scans = AlignedSource(self.train_cases, self.frame, own.coarse, own.augmentation, own.training.seed)
        if not share:
            return ((scans, 1.0),)
        beside = replace(phantoms, reuse=max(1, round(phantoms.reuse / share)))
        return ((scans, 1.0 - share), (beside, share))

    def landmark_sets(self) -> LandmarkSetSource:
        """Sets of the training cases."""
        return AlignedLandmarkSets(self.real_cases)

    def shape_model(self) -> ShapeModel:
        """Of the training cases; with few of them, or for a landmark that none has, wider than what they show."""
        cases = usable(self.cohort.cases("train"))
        points = np.array([case.landmarks for case in cases])
        shape = shape_model_of(points, self.frame.mean_landmarks)
        loose = _PRIOR_SD_MM**2 * np.eye(len(shape.covariance))
        share = len(cases) / (len(cases) + _PRIOR_CASES)
        covariance = share * shape.covariance + (1.0 - share) * loose
        never = np.repeat(~np.isfinite(points).all(axis=2).any(axis=0), 3)
        covariance[never] = loose[never]
        return replace(shape, covariance=covariance)

    def read_validation(self, model: Model, device: str) -> list[CaseResult]:
        """Validation scans, as `read_calibration`."""
        return read_aligned_cases(model, self.validation_cases(), self.frame, device)

    def read_calibration(self, model: Model, device: str) -> list[CaseResult]:
        """Validation scans, read from the arrays of the aligned folder."""
        cases = self.validation_cases()[: self.plan.training.calibration_scans]
        return read_aligned_cases(model, cases, self.frame, device)

    def read_absence(self, model: Model, device: str) -> list[CaseResult]:
        """None: a cohort has no scans for this alone."""
        return []

    def fingerprint(self) -> list[list[Any]]:
        """Frame, intensity rules, and pose, landmarks and states of every case that is learnt or judged by."""
        cases = {case.name: case for case in (*self.train_cases, *self.real_cases, *self.validation_cases())}
        grid = self.frame.grid
        common = [*grid.shape, *grid.ijk_to_ras.ravel().tolist(), *self.frame.mean_landmarks.ravel().tolist()]
        return [
            ["frame", _sum_of(common), list(self.anatomy.codes)],
            ["intensity", {modality.value: rule.to_dict() for modality, rule in self.rules.items()}],
            *([name, *_content_of(case)] for name, case in sorted(cases.items())),
        ]

    def images(self) -> dict[str, str]:
        """Hashes of the crops."""
        cases = (*self.train_cases, *self.validation_cases())
        return {case.name: sha256_of(case.folder / CROP_FILE) for case in cases if case.folder is not None}

    def provenance(self) -> dict[str, Any]:
        """Numbers only."""
        return {
            "training_data": "an annotated cohort",
            "scans": len(self.train_cases),
            "landmark_sets": len(self.real_cases) if self.plan.adversarial else 0,
            "validation_scans": len(self.validation_cases()),
            "alignment": self.frame.method,
            "test_seal": self.cohort.provenance.get("test_seal"),
        }

    def description(self) -> str:
        """How many scans of which kind."""
        share = self.plan.data.phantom_share
        beside = f", with {100 * share:.0f} % synthetic phantoms beside them" if share else ""
        return f"{len(self.train_cases)} annotated scans ({self.plan.data.image_modality}){beside}"

    def _scans(self, split: str) -> tuple[AlignedCase, ...]:
        own = self.plan.data
        return usable([c for m in own.image_modalities for c in self.cohort.cases(split, m, has_image=True)])


def read_aligned_cases(
    model: Model, cases: tuple[AlignedCase, ...], frame: AlignedFrame, device: str
) -> list[CaseResult]:
    """What a model finds in aligned cases: in the surroundings of the circle (`AlignedCase.region`), the coarse network
    in the whole scans at 1 mm."""
    as_cached = {
        modality: IntensityRule("fixed", rule.low, rule.high, fixed_scale=1.0)
        for modality, rule in model.intensity.items()
    }
    detector = Detector(replace(model, intensity=as_cached), device)
    results = []
    for case in cases:
        [result] = evaluate(detector, [_region(model, case, frame)])
        coarse = detector.measure(_whole_scan(case)).alignment.coarse
        places = coarse.positions if _is_similarity(case) else apply_affine(case.ras_to_reference, coarse.positions)
        results.append(replace(result, coarse=places, coarse_peaks=coarse.peaks))
    return results


def _is_similarity(case: AlignedCase) -> bool:
    """Whether a case can be turned back to how it was scanned without shear, which no scan has."""
    turned = case.ras_to_reference[:3, :3]
    product = turned.T @ turned
    return bool(np.allclose(product, product[0, 0] * np.eye(3), atol=1e-6 * product[0, 0]))


def _whole_scan(case: AlignedCase) -> Volume:
    assert case.coarse_grid is not None
    return Volume(np.asarray(case.coarse(), np.float32), case.coarse_grid.ijk_to_ras, case.name, case.modality)


def _region(model: Model, case: AlignedCase, frame: AlignedFrame) -> AnnotatedVolume:
    """The surroundings of the circle, in scan RAS where that is possible, else in the reference frame."""
    to_scan = np.linalg.inv(case.ras_to_reference) if _is_similarity(case) else np.eye(4)
    grid = frame.region.transformed(to_scan)
    points = apply_affine(to_scan, case.landmarks)
    depth = grid.depth_mm(np.nan_to_num(points, nan=1e6))
    truth = []
    for code, point, status, deep in zip(model.anatomy.codes, points, case.status, depth, strict=True):
        if status == INSIDE and deep >= 0.0:
            place = (float(point[0]), float(point[1]), float(point[2]))
            truth.append(LandmarkEstimate(code, place, LandmarkState.FOUND, 1.0, 0.0))
        elif status in (INSIDE, ABSENT):  # the others are beyond the scan or not annotated: nobody knows
            state = LandmarkState.ABSENT if status == ABSENT else LandmarkState.OUTSIDE
            truth.append(LandmarkEstimate(code, None, state, 1.0, 0.0))
    volume = Volume(np.asarray(case.region(), np.float32), grid.ijk_to_ras, case.name, case.modality)
    return AnnotatedVolume(volume, tuple(truth), case.modality.value)


def _content_of(case: AlignedCase) -> list[Any]:
    numbers = [*np.nan_to_num(case.landmarks).ravel(), *case.ras_to_reference.ravel()]
    return [_sum_of(numbers), case.status.tolist(), int(case.has_image)]


def _sum_of(values: Any) -> str:
    """SHA-256 of numbers, rounded to a micrometre."""
    rounded = np.round(np.asarray(values, np.float64), 3) + 0.0
    return hashlib.sha256(rounded.tobytes()).hexdigest()
