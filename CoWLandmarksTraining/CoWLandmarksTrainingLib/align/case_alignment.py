"""How one case comes into the reference frame, and how well; both ways of alignment end here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.core.volume import apply_affine

from ..cohort.annotated_cases import AnnotatedScan


@dataclass(frozen=True)
class CaseAlignment:
    """`ras_to_reference` (4, 4); `residual_mm` mean distance of the landmarks to the frame's mean landmarks.

    `accepted` is False, with a `reason`, where it failed; a case accepted for another way's sake has a reason, too.
    """

    ras_to_reference: np.ndarray
    residual_mm: float
    accepted: bool = True
    reason: str = ""


@dataclass(frozen=True)
class CohortAlignment:
    """Every case by its name, and what they share: `mean_landmarks` (n, 3), `centre_mm` of the grid, `notes`."""

    cases: Mapping[str, CaseAlignment]
    mean_landmarks: np.ndarray
    centre_mm: np.ndarray
    notes: tuple[str, ...]


class CohortAligner(Protocol):
    """Brings annotated scans into one frame."""

    @property
    def method(self) -> str:
        """Its name in `aligned.json`."""
        ...

    def align(
        self,
        scans: Sequence[AnnotatedScan],
        training: Sequence[bool],
        anatomy: Anatomy,
        on_case: Callable[[str], None] = lambda _: None,
    ) -> CohortAlignment:
        """Align `scans`; only those marked as `training` may shape the frame. Raises AnnotationError."""
        ...


def residual_mm(points: np.ndarray, transform: np.ndarray, mean: np.ndarray) -> float:
    """Mean distance of the transformed points (n, 3) to `mean` (n, 3), over those that are known; NaN for none."""
    distances = np.linalg.norm(apply_affine(transform, points) - mean, axis=1)
    known = np.isfinite(distances)
    return float(distances[known].mean()) if known.any() else float("nan")
