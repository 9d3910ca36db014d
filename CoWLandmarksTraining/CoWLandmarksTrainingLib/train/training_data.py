"""What a training needs to know of what it learns from; cohort_data.py and phantom_data.py are the two kinds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from CoWLandmarksLib.core.alignment import ShapeModel
from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.core.intensity import IntensityRule
from CoWLandmarksLib.core.volume import Modality
from CoWLandmarksLib.detect.model import Model

from ..evaluate.evaluation import CaseResult
from ..records.aligned_folder import AlignedCase, AlignedFrame
from .phantom_source import PhantomSource
from .posed_case import CaseSource
from .samples import LandmarkSetSource


class TrainingData(Protocol):
    """What a training needs to know of its data."""

    @property
    def anatomy(self) -> Anatomy:
        """The landmark set."""

    @property
    def frame(self) -> AlignedFrame:
        """The reference frame and grid."""

    @property
    def rules(self) -> Mapping[Modality, IntensityRule]:
        """From scanner units to network units."""

    def check(self) -> None:
        """Raise ConfigurationError when it cannot be trained on, with what is missing."""

    @property
    def uses_phantoms(self) -> bool:
        """Whether some of the samples, or all, are phantoms."""

    def sources(self, phantoms: PhantomSource) -> tuple[tuple[CaseSource, float], ...]:
        """Sources of cases with their shares; `phantoms` are those that are wanted beside the data."""

    def landmark_sets(self) -> LandmarkSetSource:
        """Annotated sets for the discriminator."""

    def shape_model(self) -> ShapeModel:
        """Of the landmarks, in the frame."""

    def validation_cases(self) -> tuple[AlignedCase, ...]:
        """Cases that judge a stage while it is trained."""

    def read_validation(self, model: Model, device: str) -> list[CaseResult]:
        """What a model finds in scans that it has not learnt from."""

    def read_calibration(self, model: Model, device: str) -> list[CaseResult]:
        """What a model finds in the scans that its confidences are measured on."""

    def read_absence(self, model: Model, device: str) -> list[CaseResult]:
        """The same for scans in which arteries are often absent; may be empty."""

    def fingerprint(self) -> list[list[Any]]:
        """What must be the same when a training goes on."""

    def images(self) -> dict[str, str]:
        """Hashes of images, which may be replaced on the way."""

    def provenance(self) -> dict[str, Any]:
        """For the model: numbers only, no names of cases or patients."""

    def description(self) -> str:
        """For the description of the model: "10 annotated scans (mra)"."""
