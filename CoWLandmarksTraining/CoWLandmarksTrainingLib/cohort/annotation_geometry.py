"""What the geometry of annotated landmarks says of mistakes: swapped sides, coinciding and absurd points."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from CoWLandmarksLib.core.anatomy import Anatomy

APART_MM = 4.0
"""A pair closer than this may lie on either side of the middle: its sides cannot be determined by geometry."""
COINCIDE_MM = 0.3
ABSURD_Z = 5.0
ABSURD_MM = 8.0
FEWEST_TO_COMPARE = 5
_LEAST_SD_MM = 1.0


@dataclass(frozen=True)
class SwappedSides:
    """`whole` case mirrored, or single right-sided `pairs` (codes) that lie on the left of their counterparts."""

    whole: bool
    pairs: tuple[str, ...]


def swapped_sides(points: np.ndarray, anatomy: Anatomy) -> SwappedSides:
    """Left and right exchanged, in all pairs or in single ones.

    `points` (n, 3) RAS mm of the scan, NaN where not placed. The right point of a pair has to lie to the right (R)
    of the left one; a head turned by less than 60 degrees does not change that.
    """
    mirrored = np.array(anatomy.mirror_permutation)
    right = [index for index, landmark in enumerate(anatomy.landmarks) if landmark.side.lower().startswith("r")]
    right = [index for index in right if mirrored[index] != index]
    across = {index: points[index] - points[mirrored[index]] for index in right}
    known = {index: gap for index, gap in across.items() if np.isfinite(gap).all() and np.linalg.norm(gap) > APART_MM}
    if not known:
        return SwappedSides(False, ())
    axis = np.array([1.0, 0.0, 0.0])
    wrong = [index for index, gap in known.items() if gap @ axis < 0.0]
    if len(wrong) > len(known) / 2:
        return SwappedSides(True, ())
    # Within the case, pairs lie along one axis, however the head is turned.
    gaps = np.array([gap for index, gap in known.items() if index not in wrong])
    axis = np.median(gaps / np.linalg.norm(gaps, axis=1, keepdims=True), axis=0)
    pairs = [index for index, gap in known.items() if gap @ axis < 0.0]
    return SwappedSides(False, tuple(anatomy.codes[index] for index in pairs))


def coinciding(points: np.ndarray, anatomy: Anatomy) -> list[tuple[str, str]]:
    """Pairs of codes at one place that are not each other's counterpart (an azygos artery lets those coincide)."""
    mirrored = anatomy.mirror_permutation
    found = []
    for first in range(len(points)):
        for second in range(first + 1, len(points)):
            if mirrored[first] != second and np.linalg.norm(points[first] - points[second]) < COINCIDE_MM:
                found.append((anatomy.codes[first], anatomy.codes[second]))
    return found


@dataclass(frozen=True)
class AbsurdDistance:
    """Landmark `index` of case `case`: its distances to others are `z` robust SDs, `off_mm`, from the cohort's."""

    case: int
    index: int
    z: float
    off_mm: float


def absurd_distances(configurations: Sequence[np.ndarray]) -> list[AbsurdDistance]:
    """Landmarks whose distances to most others do not fit the cohort.

    `configurations` of (n, 3) mm in any pose, NaN where not placed. For every pair of landmarks the distance is
    compared with the cohort's median in units of its robust SD (1.4826 MAD, at least 1 mm); a landmark's score is the
    upper quartile over its pairs: a wrong point does not accuse the others, and need not be off in all directions.
    Nothing is said of fewer than 5 cases.
    """
    if len(configurations) < FEWEST_TO_COMPARE:
        return []
    points = np.array(configurations)
    distances = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1)
    n = points.shape[1]
    distances[:, np.arange(n), np.arange(n)] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # pairs that nobody has
        middle = np.nanmedian(distances, axis=0)
        sd = np.maximum(1.4826 * np.nanmedian(np.abs(distances - middle), axis=0), _LEAST_SD_MM)
        enough = np.isfinite(distances).sum(axis=0) >= FEWEST_TO_COMPARE
        off = np.where(enough, np.abs(distances - middle), np.nan)
        scores, gaps = (np.nanquantile(values, 0.75, axis=2, method="lower") for values in (off / sd, off))
    found = np.argwhere((scores > ABSURD_Z) & (gaps > ABSURD_MM))
    return [AbsurdDistance(int(c), int(i), float(scores[c, i]), float(gaps[c, i])) for c, i in found]
