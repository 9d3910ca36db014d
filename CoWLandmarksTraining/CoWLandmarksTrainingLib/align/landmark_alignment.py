"""Alignment by landmarks: a similarity fit of each annotation to the mean shape of the training cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from CoWLandmarksLib.core.alignment import REFERENCE_CENTRE_MM, fit_similarity_robustly
from CoWLandmarksLib.core.anatomy import Anatomy, default_anatomy

from ..cohort.annotated_cases import AnnotatedScan, placed_landmarks
from ..cohort.reference_shape import FEWEST_POINTS, reference_shape
from .case_alignment import CaseAlignment, CohortAlignment, residual_mm


@dataclass(frozen=True)
class LandmarkAligner:
    """Similarity fits; a case whose landmarks lie farther than `largest_residual_mm` (mean) off the mean has failed."""

    largest_residual_mm: float

    @property
    def method(self) -> str:
        """Its name in `aligned.json`."""
        return "landmarks"

    def align(
        self,
        scans: Sequence[AnnotatedScan],
        training: Sequence[bool],
        anatomy: Anatomy,
        on_case: Callable[[str], None] = lambda _: None,
    ) -> CohortAlignment:
        """Align by the annotations alone; no image is read."""
        points = [placed_landmarks(scan, anatomy) for scan in scans]
        shaping = [index for index, own in enumerate(training) if own]
        mean, origin = reference_shape(
            [points[index] for index in shaping], [scans[index].transform for index in shaping], anatomy
        )
        cases = {}
        for scan, own in zip(scans, points, strict=True):
            cases[scan.name] = fitted_by_landmarks(own, mean, self.largest_residual_mm)
            on_case(scan.name)
        known = set(anatomy.codes) <= set(default_anatomy().codes) and len(anatomy) == len(default_anatomy())
        centre = REFERENCE_CENTRE_MM if known else mean.mean(axis=0)
        return CohortAlignment(cases, mean, centre, (origin, "Every case was aligned by its annotated landmarks."))


def fitted_by_landmarks(points: np.ndarray, mean: np.ndarray, largest_residual_mm: float) -> CaseAlignment:
    """Similarity fit of landmarks (n, 3) RAS mm, NaN where unknown, to the mean shape (n, 3)."""
    placed = int(np.isfinite(points).all(axis=1).sum())
    if placed < FEWEST_POINTS:
        reason = f"it has {placed} placed landmarks; {FEWEST_POINTS} are needed to align it."
        return CaseAlignment(np.eye(4), float("nan"), False, reason)
    fit = fit_similarity_robustly(points, mean)
    residual = residual_mm(points, fit.transform, mean)
    if residual > largest_residual_mm:
        reason = (
            f"its landmarks lie {residual:.1f} mm from their mean places after the fit "
            f"(at most {largest_residual_mm:g} mm); check its labels, left and right above all."
        )
        return CaseAlignment(fit.transform, residual, False, reason)
    return CaseAlignment(fit.transform, residual)
