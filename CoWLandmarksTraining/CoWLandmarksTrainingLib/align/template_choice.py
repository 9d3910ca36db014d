"""Which scan of a modality is its template: named by the user, marked by its role, or chosen by trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from CoWLandmarksLib.core.alignment import fit_similarity_robustly
from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.core.errors import AnnotationError, ConfigurationError, CoWLandmarksError
from CoWLandmarksLib.core.volume import Grid, Modality, apply_affine
from CoWLandmarksLib.files.case_description import Role

from ..cohort.annotated_cases import AnnotatedScan, placed_landmarks
from ..cohort.reference_shape import FEWEST_POINTS
from .crops import overlap_of
from .vessel_image import blank_of

LEAST_TISSUE = 0.6
"""A scan of which one single value fills more than the rest was masked, zeroed or thresholded: too little tissue."""
_MOST_LOOKED_AT, _MOST_CANDIDATES, _MOST_PROBES = 24, 4, 6
_OVERLAP_STEPS = 20

Trial = Callable[[Sequence[tuple[AnnotatedScan, AnnotatedScan]]], Sequence[float]]
"""Registers pairs (template, scan) at a coarse level; returns how far the landmarks then are from their mean places
(mm, mean; infinite where the registration found nothing)."""


@dataclass(frozen=True)
class Candidates:
    """Scans of one modality to choose from: `scans` with image, `mean` shape (n, 3), `grid` of the crop.

    A trial whose landmarks end up farther than `largest_residual_mm` from their mean places has failed.
    """

    scans: Sequence[AnnotatedScan]
    anatomy: Anatomy
    mean: np.ndarray
    grid: Grid
    largest_residual_mm: float = 10.0


def chosen_template(
    candidates: Candidates, named: str, modality: Modality, trial: Trial, patient: str | None = None
) -> tuple[AnnotatedScan, str]:
    """The template and a sentence that says why it is; `patient` is whose scan it should be, if there is a choice.

    Raises ConfigurationError for a name that no case of the cohort has, AnnotationError when there is no candidate.
    """
    scans = candidates.scans
    subject = f"The {modality.value.upper()} template is"
    if named:
        for scan in scans:
            if scan.name == named:
                return scan, f"{subject} '{named}', as the configuration says."
        raise ConfigurationError(
            f"'{named}' is no {modality.value.upper()} case for training with an image; it cannot be the template."
        )
    for role in (Role.TEMPLATE, Role.TEMPLATE_PAIR):
        for scan in scans:
            if scan.role is role:
                return scan, f"{subject} '{scan.name}' by its role."
    own = [scan for scan in scans if scan.patient == patient]
    return _by_trials(candidates, own or scans, subject, trial)


def _by_trials(
    candidates: Candidates, scans: Sequence[AnnotatedScan], subject: str, trial: Trial
) -> tuple[AnnotatedScan, str]:
    """Of a few scans that show tissue and most of the crop, the one to which other scans are registered best."""
    typical = _typical_first(candidates, scans)
    looked = typical[:_MOST_LOOKED_AT]
    shown = {scan.name: _shown(candidates, scan) for scan in looked}
    good = [scan for scan in looked if shown[scan.name][1] >= LEAST_TISSUE]
    refused = len(looked) - len(good)
    note = f" {refused} scans were refused because they are masked, thresholded or zeroed." if refused else ""
    if not good:
        return looked[0], (
            f"{subject} '{looked[0].name}', though it is masked, thresholded or zeroed as all scans looked at are; "
            "registrations may fail."
        )
    best = sorted(good, key=lambda scan: -shown[scan.name][0])[:_MOST_CANDIDATES]
    others = [scan for scan in _typical_first(candidates, candidates.scans) if scan not in best[:1]]
    if len(best) == 1 or not others:
        return best[0], f"{subject} '{best[0].name}', the only one that could be.{note}"
    step = max(1.0, len(others) / _MOST_PROBES)
    probes = [others[int(n * step)] for n in range(min(_MOST_PROBES, len(others)))]
    pairs = [(template, scan) for template in best for scan in probes if scan.name != template.name]
    residuals = list(zip(pairs, trial(pairs), strict=True))
    ranked = []
    for number, template in enumerate(best):
        own = np.array([residual for (one, _), residual in residuals if one is template])
        good_ones = own[own <= candidates.largest_residual_mm]
        middle = float(np.median(good_ones)) if good_ones.size else float("inf")
        ranked.append((-good_ones.size / max(1, own.size), middle, number, good_ones.size, own.size))
    _, middle, number, count, tried = min(ranked)
    reached = f" (landmarks {middle:.1f} mm off)" if count else ""
    return best[number], (
        f"{subject} '{best[number].name}', chosen among {len(best)} by trials: {count} of {tried} other scans were "
        f"registered to it well{reached}.{note}"
    )


def _shown(candidates: Candidates, scan: AnnotatedScan) -> tuple[float, float]:
    """How much of the crop a scan shows, in steps of 1 / 20, and its share of tissue; zeros where it cannot be read."""
    try:
        volume = scan.read_volume()
    except CoWLandmarksError:
        return 0.0, 0.0
    transform = fit_similarity_robustly(placed_landmarks(scan, candidates.anatomy), candidates.mean).transform
    overlap = overlap_of(candidates.grid, volume.grid, transform)
    return round(_OVERLAP_STEPS * overlap) / _OVERLAP_STEPS, 1.0 - blank_of(np.asarray(volume.voxels))[1]


def _typical_first(candidates: Candidates, scans: Sequence[AnnotatedScan]) -> list[AnnotatedScan]:
    """Scans with enough landmarks by their mean distance to all others after alignment by landmarks, least first.

    Those with all landmarks come before the others. Raises AnnotationError when there is none.
    """
    fitted = []
    for scan in scans:
        points = placed_landmarks(scan, candidates.anatomy)
        count = int(np.isfinite(points).all(axis=1).sum())
        if count >= FEWEST_POINTS:
            transform = fit_similarity_robustly(points, candidates.mean).transform
            fitted.append((scan, apply_affine(transform, points), count))
    if not fitted:
        raise AnnotationError(
            f"No case for training with an image has {FEWEST_POINTS} landmarks; choose a template yourself."
        )
    laid = np.array([entry[1] for entry in fitted])
    gaps = np.linalg.norm(laid[:, None] - laid[None], axis=-1)
    apart = np.where(np.isfinite(gaps), gaps, 0.0).sum(axis=2) / np.maximum(np.isfinite(gaps).sum(axis=2), 1)
    most = max(entry[2] for entry in fitted)
    order = sorted(range(len(fitted)), key=lambda n: (most - fitted[n][2], apart[n].mean(), fitted[n][0].name))
    return [fitted[index][0] for index in order]
