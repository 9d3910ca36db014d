"""Phantoms as what a training learns from: what the model that ships is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from CoWLandmarksLib.core.alignment import ShapeModel, reference_grid
from CoWLandmarksLib.core.anatomy import Anatomy, default_anatomy
from CoWLandmarksLib.core.intensity import DEFAULT_INTENSITY_RULES, IntensityRule
from CoWLandmarksLib.core.volume import Modality
from CoWLandmarksLib.detect.detector import Detector
from CoWLandmarksLib.detect.model import Model

from ..cohort.parallel import in_processes
from ..cohort.reference_shape import shape_model_of
from ..config.settings import PHANTOM_VERSION
from ..config.training_plan import TrainingPlan
from ..evaluate.evaluation import AnnotatedVolume, CaseResult, evaluate
from ..phantom.atlas import default_atlas
from ..phantom.geometry import sample_phantom
from ..phantom.phantom_cohort import make_case
from ..records.aligned_folder import AlignedCase, AlignedFrame
from .phantom_source import PhantomLandmarkSets, PhantomSource
from .posed_case import CaseSource
from .samples import LandmarkSetSource

CALIBRATION_SEED, CALIBRATION_ENRICHMENT = 7001, 4.0
ABSENCE_SEED, ABSENCE_ENRICHMENT, ABSENCE_SHARE = 7002, 16.0, 0.6
"""Phantom cohorts used for calibration only (the second is rich in absent arteries and has this share of the scans of
the first); tests use other seeds (Docs/model/model-card.md)."""
VALIDATION_SEED, VALIDATION_SCANS = 7003, 20
"""Phantoms that tell whether a training helped; neither trained on nor calibrated with, and no test cohort."""
FEWEST_IN_PROCESSES = 8
"""So many scans are worth the start of further processes."""
SHAPE_SAMPLES = 400


@dataclass(frozen=True)
class PhantomData:
    """Phantoms alone."""

    plan: TrainingPlan

    @property
    def anatomy(self) -> Anatomy:
        """The 19 landmarks of the paper."""
        return default_anatomy()

    @property
    def frame(self) -> AlignedFrame:
        """The frame of the atlas, with the default reference grid."""
        return phantom_frame()

    @property
    def rules(self) -> Mapping[Modality, IntensityRule]:
        """The default rules."""
        return DEFAULT_INTENSITY_RULES

    def check(self) -> None:
        """Nothing can be missing."""

    @property
    def uses_phantoms(self) -> bool:
        """Always."""
        return True

    def sources(self, phantoms: PhantomSource) -> tuple[tuple[CaseSource, float], ...]:
        """Phantoms of both modalities."""
        return ((replace(phantoms, modalities=tuple(Modality)), 1.0),)

    def landmark_sets(self) -> LandmarkSetSource:
        """Landmarks of freshly drawn heads."""
        return PhantomLandmarkSets(self.plan.data.phantom_version)

    def shape_model(self) -> ShapeModel:
        """Of phantom landmarks, the drawn places standing in for absent points."""
        rng = np.random.Generator(np.random.Philox(key=[self.plan.training.seed, 2**40]))
        configurations = np.empty((SHAPE_SAMPLES, len(self.anatomy), 3))
        for index in range(SHAPE_SAMPLES):
            phantom = sample_phantom(rng, version=self.plan.data.phantom_version)
            configurations[index] = np.where(np.isfinite(phantom.landmarks), phantom.landmarks, phantom.anchors)
        return shape_model_of(configurations, self.frame.mean_landmarks)

    def validation_cases(self) -> tuple[AlignedCase, ...]:
        """None: phantoms are judged at the end, as whole scans."""
        return ()

    def read_validation(self, model: Model, device: str) -> list[CaseResult]:
        """Phantoms of a seed of their own."""
        return self._read(model, VALIDATION_SEED, min(VALIDATION_SCANS, self.plan.training.calibration_scans), 1.0)

    def read_calibration(self, model: Model, device: str) -> list[CaseResult]:
        """Phantoms of a seed of their own, enriched in variants."""
        return self._read(model, CALIBRATION_SEED, self.plan.training.calibration_scans, CALIBRATION_ENRICHMENT)

    def read_absence(self, model: Model, device: str) -> list[CaseResult]:
        """Phantoms in which arteries are often absent."""
        scans = 2 * max(1, round(ABSENCE_SHARE * self.plan.training.calibration_scans / 2))
        return self._read(model, ABSENCE_SEED, scans, ABSENCE_ENRICHMENT)

    def _read(self, model: Model, seed: int, scans: int, enrichment: float) -> list[CaseResult]:
        return read_phantoms(model, seed, scans, enrichment, self.plan.data.phantom_version)

    def fingerprint(self) -> list[list[Any]]:
        """The version of the phantoms."""
        return [["phantoms", self.plan.data.phantom_version]]

    def images(self) -> dict[str, str]:
        """None."""
        return {}

    def provenance(self) -> dict[str, Any]:
        """Where the phantoms' statistics come from."""
        return {
            "training_data": "synthetic phantoms; statistics derived from iCafe (Apache-2.0) and BraVa, see atlas.json",
            "phantom_version": self.plan.data.phantom_version,
            "calibration": {
                "seed": CALIBRATION_SEED,
                "scans": self.plan.training.calibration_scans,
                "absence_seed": ABSENCE_SEED,
                "validation_seed": VALIDATION_SEED,
            },
        }

    def description(self) -> str:
        """What phantoms are."""
        return "synthetic phantoms only (TOF-MRA and CTA)"


def phantom_frame() -> AlignedFrame:
    """The frame in which phantoms are rendered."""
    return AlignedFrame(reference_grid(), default_atlas().shape_models["patients"].mean, "phantoms")


def phantom_source(plan: TrainingPlan, folder: Path, seed: int) -> PhantomSource:
    """The phantoms that a plan wants, of its modalities."""
    own = plan.data
    return PhantomSource(folder, seed, own.phantom_cases, own.phantom_reuse, own.image_modalities, own.phantom_version)


@dataclass(frozen=True)
class _PhantomReading:
    """One phantom to be read with a model."""

    model: Model
    seed: int
    enrichment: float
    version: int
    index: int
    modality: Modality


def read_phantoms(
    model: Model, seed: int, scans: int, enrichment: float, version: int = PHANTOM_VERSION
) -> list[CaseResult]:
    """What a model finds in phantoms, half of them MRA, several at a time where there are many."""
    jobs = [
        _PhantomReading(model, seed, enrichment, version, index, modality)
        for index in range(max(1, scans // 2))
        for modality in Modality
    ]
    read = {
        (job.index, job.modality): result
        for job, result in in_processes(_result, jobs, 1 if len(jobs) < FEWEST_IN_PROCESSES else 0)
    }
    return [read[job.index, job.modality] for job in jobs]


def _result(job: _PhantomReading) -> CaseResult:
    case = make_case(job.seed, job.index, job.modality, enrichment=job.enrichment, version=job.version)
    scan = AnnotatedVolume(case.volume, case.truth, job.modality.value)
    [result] = evaluate(Detector(job.model, "cpu"), [scan])
    return result
