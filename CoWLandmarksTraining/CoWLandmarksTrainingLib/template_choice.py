"""Which scan of a modality is its template: named by the user, marked by its role, or the medoid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from CoWLandmarksLib.alignment import fit_similarity_robustly
from CoWLandmarksLib.anatomy import Anatomy
from CoWLandmarksLib.errors import AnnotationError, ConfigurationError, CoWLandmarksError
from CoWLandmarksLib.modality import Modality
from CoWLandmarksLib.volume import Grid, apply_affine

from .case_alignment import placed_landmarks
from .cohort import AnnotatedScan, Role
from .crops import overlap_of
from .reference_shape import FEWEST_POINTS

_SEEN = 5
_MOST_AT_LOWEST = 0.5
_SMALLEST_OVERLAP = 0.9


@dataclass(frozen=True)
class Candidates:
    """Scans of one modality to choose from: `scans` with image, `mean` shape (n, 3) and `grid` of the crop."""

    scans: Sequence[AnnotatedScan]
    anatomy: Anatomy
    mean: np.ndarray
    grid: Grid


def chosen_template(
    candidates: Candidates, named: str, modality: Modality, patient: str | None = None
) -> tuple[AnnotatedScan, str]:
    """The template and a sentence that says why it is; `patient` is whose scan it should be, if there is a choice.

    Raises ConfigurationError for a name that no case of the cohort has, AnnotationError when there is no candidate.
    """
    scans = candidates.scans
    word = f"The {modality.value.upper()} template is"
    if named:
        for scan in scans:
            if scan.name == named:
                return scan, f"{word} '{named}', as the configuration says."
        raise ConfigurationError(
            f"'{named}' is no {modality.value.upper()} case for training with an image; it cannot be the template."
        )
    for role in (Role.TEMPLATE, Role.TEMPLATE_PAIR):
        for scan in scans:
            if scan.role is role:
                return scan, f"{word} '{scan.name}' by its role."
    own = [scan for scan in scans if scan.patient == patient]
    scan = _medoid(candidates, own or scans)
    return scan, f"{word} '{scan.name}', the medoid of the training cases that show the whole circle."


def _medoid(candidates: Candidates, scans: Sequence[AnnotatedScan]) -> AnnotatedScan:
    """The scan with the least mean distance to all others after alignment by landmarks.

    Of the first few the first is taken that is not masked and covers the crop: a template needs tissue to hold on to.
    """
    anatomy, mean = candidates.anatomy, candidates.mean
    fitted = []
    for scan in scans:
        points = placed_landmarks(scan, anatomy)
        count = int(np.isfinite(points).all(axis=1).sum())
        if count >= FEWEST_POINTS:
            transform = fit_similarity_robustly(points, mean).transform
            fitted.append((scan, transform, apply_affine(transform, points), count))
    if not fitted:
        raise AnnotationError(
            f"No case for training with an image has {FEWEST_POINTS} landmarks; choose a template yourself."
        )
    laid = np.array([entry[2] for entry in fitted])
    gaps = np.linalg.norm(laid[:, None] - laid[None], axis=-1)
    apart = np.where(np.isfinite(gaps), gaps, 0.0).sum(axis=2) / np.maximum(np.isfinite(gaps).sum(axis=2), 1)
    most = max(entry[3] for entry in fitted)
    order = sorted(range(len(fitted)), key=lambda n: (most - fitted[n][3], apart[n].mean(), fitted[n][0].name))
    for index in order[:_SEEN]:
        scan, transform = fitted[index][:2]
        try:
            volume = scan.read_volume()
        except CoWLandmarksError:
            continue
        voxels = np.asarray(volume.voxels)
        masked = np.mean(voxels == voxels.min()) > _MOST_AT_LOWEST
        if not masked and overlap_of(candidates.grid, volume.grid, transform) >= _SMALLEST_OVERLAP:
            return scan
    return fitted[order[0]][0]
