"""Problems of annotations that show without their images: in one case, and the same landmarks in two."""

from __future__ import annotations

import numpy as np
from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.core.detection import LandmarkState
from CoWLandmarksLib.core.volume import EDGE_MM, Grid

from .annotated_cases import AnnotatedScan, Cohort, placed_landmarks
from .annotation_geometry import coinciding, swapped_sides
from .problems import Problem, error, warning
from .reference_shape import FEWEST_POINTS

_HALF = 0.5
_SAME_MM = 0.01


def with_checked_annotations(cohort: Cohort) -> Cohort:
    """The cohort with the problems of its landmarks; no image is read."""
    problems = [p for scan in cohort.scans for p in annotation_problems(scan, cohort.anatomy, None)]
    return cohort.with_problems(problems + listed_twice(cohort))


def annotation_problems(scan: AnnotatedScan, anatomy: Anatomy, grid: Grid | None) -> list[Problem]:
    """Problems of the landmarks of one case; `grid` is that of its scan, None where there is none."""
    name, points = scan.name, placed_landmarks(scan, anatomy)
    problems = _completeness(scan, anatomy)
    swapped = swapped_sides(points, anatomy)
    if swapped.whole:
        sentence = (
            "left and right are exchanged in the whole case; swap the labels, or look whether the scan is mirrored."
        )
        problems.append(error(name, sentence))
    problems += [
        error(name, f"'{code}' lies to the left of its counterpart; exchange the two labels.") for code in swapped.pairs
    ]
    problems += [
        warning(name, f"'{first}' and '{second}' lie at the same place.")
        for first, second in coinciding(points, anatomy)
    ]
    if grid is not None:
        known = np.isfinite(points).all(axis=1)
        depths = np.where(known, grid.depth_mm(np.nan_to_num(points)), np.inf)
        for code, depth in zip(anatomy.codes, depths, strict=True):
            if depth < -EDGE_MM:
                problems.append(error(name, f"'{code}' lies {-depth:.1f} mm outside the scan."))
            elif depth < EDGE_MM:
                problems.append(
                    warning(name, f"'{code}' lies within {EDGE_MM:g} mm of the edge and counts as outside.")
                )
    return problems


def _completeness(scan: AnnotatedScan, anatomy: Anatomy) -> list[Problem]:
    name = scan.name
    given = {estimate.code: estimate for estimate in scan.landmarks}
    missing = [code for code in anatomy.codes if code not in given]
    placed = sum(estimate.position is not None for estimate in scan.landmarks)
    problems = []
    if placed == 0:
        return [error(name, "no landmark is placed.")]
    if placed < FEWEST_POINTS:
        problems.append(error(name, f"only {placed} landmarks are placed; {FEWEST_POINTS} are needed to align it."))
    if missing:
        half = "only half annotated: " if len(missing) > _HALF * len(anatomy) else ""
        problems.append(
            warning(name, f"{half}{', '.join(missing)} not annotated; these channels do not count in training.")
        )
    doubtful = [
        estimate.code
        for estimate in scan.landmarks
        if estimate.state is LandmarkState.UNCERTAIN and not (estimate.corrected or estimate.reviewed)
    ]
    if doubtful and not scan.reviewed:
        problems.append(warning(name, f"{', '.join(doubtful)}: uncertain to the program and reviewed by nobody."))
    return problems


def listed_twice(cohort: Cohort) -> list[Problem]:
    """Cases with the same landmarks at the same places: one scan under two names."""
    problems = []
    seen: dict[tuple[float, ...], AnnotatedScan] = {}
    for scan in cohort.scans:
        points = np.nan_to_num(placed_landmarks(scan, cohort.anatomy))
        if not points.any():
            continue
        key = tuple(np.round(points / _SAME_MM).ravel().tolist())
        other = seen.setdefault(key, scan)
        if other is not scan:
            make_problem = warning if other.patient == scan.patient else error
            problems.append(make_problem(scan.name, f"has the same landmarks as '{other.name}'; keep one of the two."))
    return problems
