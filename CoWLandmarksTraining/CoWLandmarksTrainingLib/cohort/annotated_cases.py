"""Cohorts: annotated Slicer scenes and case folders as a list of annotated scans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.core.detection import LandmarkEstimate, LandmarkState
from CoWLandmarksLib.core.errors import AnnotationError
from CoWLandmarksLib.core.volume import Modality, Volume, validated
from CoWLandmarksLib.files.case_description import Role
from CoWLandmarksLib.io.file_integrity import files_of_image

from ..records.aligned_folder import ABSENT, INSIDE, UNKNOWN
from .problems import Problem, cases_with_errors, error

LABELS_ANNOTATOR = "labels "
"""What the annotator's initials begin with where landmarks were derived from a label map; the scheme follows."""


@dataclass(frozen=True)
class ImageSource:
    """Where voxels are: an image file, or (with `node`, an ID) a volume or segmentation inside a scene file."""

    path: Path
    node: str = ""


@dataclass(frozen=True)
class AnnotatedScan:
    """One annotated case; nothing of its voxels is held in memory.

    `landmarks` in the anatomy's order, possibly only some of them; `transform` (4, 4) RAS mm of the scan -> reference
    frame where the case carries one; `split` "train", "validation" or "test" where the folder it lies in says so;
    `files` everything it was read from; `phantom` how a synthetic case was drawn, empty for any other.
    """

    name: str
    patient: str
    modality: Modality
    landmarks: tuple[LandmarkEstimate, ...]
    files: tuple[Path, ...]
    role: Role = Role.CASE
    image: ImageSource | None = None
    vessel_mask: ImageSource | None = None
    transform: np.ndarray | None = None
    split: str | None = None
    annotator: str = ""
    reviewed: bool = False
    phantom: Mapping[str, Any] = field(default_factory=dict)

    def positions(self, anatomy: Anatomy) -> np.ndarray:
        """(n, 3) RAS mm of the scan, NaN where there is no point."""
        by_code = {estimate.code: estimate.position for estimate in self.landmarks}
        return np.array([by_code.get(code) or (np.nan,) * 3 for code in anatomy.codes], float)

    def status(self, anatomy: Anatomy) -> np.ndarray:
        """(n,) 1 placed, 0 absent, -1 outside or not annotated."""
        by_code = {estimate.code: estimate.state for estimate in self.landmarks}
        values = {LandmarkState.ABSENT: ABSENT, LandmarkState.OUTSIDE: UNKNOWN, None: UNKNOWN}
        return np.array([values.get(by_code.get(code), INSIDE) for code in anatomy.codes], np.int8)

    @property
    def from_labels(self) -> bool:
        """Whether its landmarks were derived from a label map; their notes then say what each rests on."""
        return self.annotator.startswith(LABELS_ANNOTATOR)

    def image_files(self) -> tuple[Path, ...]:
        """The files that hold the voxels: the image, or everything a scene consists of."""
        if self.image is None:
            return ()
        return self.files if self.image.node else files_of_image(self.image.path)

    def read_volume(self) -> Volume:
        """The scan, checked; raises VolumeError or AnnotationError."""
        if self.image is None:
            raise AnnotationError(f"The case '{self.name}' has no image.")
        volume = validated(_read(self.image))
        return replace(volume, name=self.name, modality=self.modality)

    def read_vessel_mask(self) -> Volume:
        """Label map of the vessels, 0 elsewhere, on a grid of its own; raises VolumeError or AnnotationError."""
        if self.vessel_mask is None:
            raise AnnotationError(f"The case '{self.name}' has no vessel mask.")
        return replace(_read(self.vessel_mask), name=f"{self.name} vessels")


def _read(source: ImageSource) -> Volume:
    if source.node:
        from CoWLandmarksLib.scene.annotations import read_volume_in_scene  # optional

        return read_volume_in_scene(source.path, source.node)
    from CoWLandmarksLib.io.volume_io import read_volume  # start-up time

    return read_volume(source.path)


@dataclass(frozen=True)
class Cohort:
    """Annotated scans with unique names, sorted by name, and every problem that reading them found."""

    anatomy: Anatomy
    scans: tuple[AnnotatedScan, ...]
    problems: tuple[Problem, ...] = ()

    def usable(self) -> tuple[AnnotatedScan, ...]:
        """Scans without an error among `problems`."""
        bad = cases_with_errors(self.problems)
        return tuple(scan for scan in self.scans if scan.name not in bad)

    def with_problems(self, more: Sequence[Problem]) -> Cohort:
        """The same scans with further problems."""
        return replace(self, problems=(*self.problems, *more))


def problems_across_splits(scans: Sequence[AnnotatedScan]) -> list[Problem]:
    """Patients whose cases lie in folders of different splits, or of whom one scan is there twice."""
    problems = []
    splits: dict[str, set[str]] = {}
    for scan in scans:
        if scan.split:
            splits.setdefault(scan.patient, set()).add(scan.split)
    for scan in scans:
        if len(splits.get(scan.patient, ())) > 1:
            places = " and ".join(sorted(splits[scan.patient]))
            problems.append(
                error(scan.name, f"patient '{scan.patient}' has cases in {places}; keep a patient in one split.")
            )
    return problems


def placed_landmarks(scan: AnnotatedScan, anatomy: Anatomy) -> np.ndarray:
    """(n, 3) RAS mm of the scan, NaN where a landmark is not placed."""
    return np.where((scan.status(anatomy) == INSIDE)[:, None], scan.positions(anatomy), np.nan)
