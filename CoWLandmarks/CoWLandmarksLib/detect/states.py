"""Whether a landmark is found, uncertain, absent or outside: decided here and nowhere else.

In this order: *outside* beyond the scan; *absent* where nothing was seen in a circle of Willis that was recognised;
*uncertain* where nothing was seen otherwise, or the confidence is low; *found* for the rest. What a person says of a
landmark later (review, annotations) wins over it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.calibration import Calibration
from ..core.detection import LandmarkEstimate, LandmarkState
from ..core.volume import EDGE_MM

SEARCH_BEYOND_MM = 6.0
"""Landmarks expected farther beyond the scan than this are not sought."""


@dataclass(frozen=True)
class LandmarkReadings:
    """What is known of the n landmarks of a scan before their states are; arrays (n,) but `positions` (n, 3) RAS mm.

    `depth_mm` of the positions, and `expected_depth_mm` of the places that the shape model expects, below the surface
    of the scan; `confidence`, `error_mm` of the fine network; `not_seen` is given by `unseen`; `circle_confidence` is
    that of the circle network, None where the model has none.
    """

    positions: np.ndarray
    depth_mm: np.ndarray
    expected_depth_mm: np.ndarray
    confidence: np.ndarray
    error_mm: np.ndarray
    not_seen: np.ndarray
    circle_confidence: np.ndarray | None = None


def sought(expected_depth_mm: np.ndarray) -> np.ndarray:
    """(n,) landmarks that may lie in the scan, by the depth of their expected places below its surface."""
    return np.asarray(expected_depth_mm > -SEARCH_BEYOND_MM)


def unseen(
    fine_peaks: np.ndarray,
    fine: Calibration,
    circle_peaks: np.ndarray | None,
    circle: Calibration | None,
    given: np.ndarray,
) -> np.ndarray:
    """(n,) landmarks with a peak too low for one that is there; `given` (n,) are those that a person placed.

    The circle network tells more than the fine one, whose window is small and always shows some vessel. It has no
    say where the fine one has a limit (older models), nor about points that a person gave.
    """
    if fine.absent_below > 0.0 or circle is None or circle_peaks is None:
        return np.asarray(fine_peaks < fine.absent_below)
    return np.asarray((circle_peaks < circle.absent_below) & ~given)


def beyond_scan(readings: LandmarkReadings) -> np.ndarray:
    """(n,) landmarks outside the scan; what is not seen where it is expected at the edge lies beyond it."""
    expected = readings.expected_depth_mm
    return np.asarray(
        (expected < -SEARCH_BEYOND_MM) | (readings.depth_mm < EDGE_MM) | (readings.not_seen & (expected < EDGE_MM))
    )


def landmark_state(*, outside: bool, not_seen: bool, recognised: bool, sure: bool) -> LandmarkState:
    """The state of one landmark; of what is no clear circle of Willis (`recognised`) nothing is said to be missing."""
    if outside:
        return LandmarkState.OUTSIDE
    if not_seen and recognised:
        return LandmarkState.ABSENT
    return LandmarkState.FOUND if sure and not not_seen else LandmarkState.UNCERTAIN


def estimates_of(
    codes: Sequence[str], readings: LandmarkReadings, uncertain_below: float, *, recognised: bool
) -> tuple[LandmarkEstimate, ...]:
    """Every landmark with its state; a confidence below `uncertain_below` needs a check."""
    outside = beyond_scan(readings)
    estimates = []
    for index, code in enumerate(codes):
        not_seen, confidence = bool(readings.not_seen[index]), float(readings.confidence[index])
        state = landmark_state(
            outside=bool(outside[index]),
            not_seen=not_seen,
            recognised=recognised,
            sure=not readings.confidence[index] < uncertain_below,
        )
        position: tuple[float, float, float] | None = None
        if state in (LandmarkState.FOUND, LandmarkState.UNCERTAIN):
            r, a, s = (float(value) for value in readings.positions[index])
            position = (r, a, s)
        sure = 0.0 if state is LandmarkState.OUTSIDE else confidence
        if not_seen and readings.circle_confidence is not None:
            sure = min(sure, float(readings.circle_confidence[index]))
        error = 0.0 if position is None else float(readings.error_mm[index])
        estimates.append(LandmarkEstimate(code, position, state, sure, error))
    return tuple(estimates)
