"""Whether a landmark is found, uncertain, absent or outside: decided here and nowhere else.

In this order: *outside* beyond the scan; *absent* where nothing was seen in a circle of Willis that was recognised;
*uncertain* where nothing was seen otherwise, or the confidence is low; *found* for the rest. The internal carotid and
the basilar artery are hardly ever missing: their points are *uncertain* where nothing was seen, and *absent* only once
the arteries were traced and showed no lumen there (`after_tracing`). What a person says of a landmark later (review,
annotations) wins over it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..core.anatomy import without_side
from ..core.calibration import Calibration
from ..core.detection import LandmarkEstimate, LandmarkState
from ..core.volume import EDGE_MM

SEARCH_BEYOND_MM = 6.0
"""Landmarks expected farther beyond the scan than this are not sought."""
EARNED = ("C4-C5", "C5-C6", "C6-C7", "ICA-T", "BA-T")
"""Points (without the side) on the internal carotid and the basilar artery, whose absence has to be earned."""
MOUTHS = {"C6-C7": "PCoA", "P1-P2A": "PCoA", "A1-A2": "ACoA"}
"""Points that are defined by a communicating artery (without the sides); where it is not seen they are by rule."""
_TRACED, _ABSENT = ("present", "hypoplastic"), "absent"


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


@dataclass(frozen=True)
class TracedEvidence:
    """What the traced arteries tell of one landmark.

    States (Docs/use/conventions.md) by code of artery: of the `trunk` that ends there and of the `branches`, arteries
    that some people lack; of all segments of the `vessel` that the landmark lies on, from one end to the other.
    `contrast`: how far the best paths of trunk and branches stand out at their weak places, as a share of a typical
    artery's; missing where there is no path. `same_level` are other arteries that were traced at the level of the
    vessel.
    """

    trunk: Mapping[str, str]
    branches: Mapping[str, str]
    contrast: Mapping[str, float]
    vessel: Mapping[str, str]
    same_level: tuple[str, ...]

    @property
    def no_lumen(self) -> bool:
        """Whether no lumen was found along the whole vessel nor where others join it, but elsewhere at its level."""
        joining = (*self.trunk.values(), *self.branches.values())
        missing = bool(self.vessel) and all(state == _ABSENT for state in self.vessel.values())
        return missing and not any(state in _TRACED for state in joining) and bool(self.same_level)


def must_be_earned(code: str) -> bool:
    """Whether a landmark is absent only where the traced arteries show that."""
    return without_side(code) in EARNED


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


def landmark_state(
    *, outside: bool, not_seen: bool, recognised: bool, sure: bool, earned: bool = False
) -> LandmarkState:
    """The state of one landmark; of what is no clear circle of Willis (`recognised`) nothing is said to be missing.

    `earned`: its absence has to be earned, and is not yet.
    """
    if outside:
        return LandmarkState.OUTSIDE
    if not_seen and recognised and not earned:
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
            earned=must_be_earned(code),
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


def after_tracing(
    estimates: Sequence[LandmarkEstimate], evidence: Mapping[str, TracedEvidence], not_seen: Collection[str]
) -> tuple[LandmarkEstimate, ...]:
    """The landmarks of a detection once its arteries are traced; `evidence` by code.

    Those `not_seen` (codes) whose absence had to be earned are absent where the evidence shows no lumen. Placed ones
    are by rule where the communicating artery that defines them is absent. The others stay as they were.
    """
    return tuple(
        _after_tracing(estimate, evidence[estimate.code], estimate.code in not_seen)
        if estimate.code in evidence
        else estimate
        for estimate in estimates
    )


def _after_tracing(estimate: LandmarkEstimate, evidence: TracedEvidence, not_seen: bool) -> LandmarkEstimate:
    if not_seen and must_be_earned(estimate.code) and evidence.no_lumen:
        return replace(estimate, position=None, state=LandmarkState.ABSENT, error_mm=0.0)
    mouth = MOUTHS.get(without_side(estimate.code))
    missing = any(state == _ABSENT for code, state in evidence.branches.items() if without_side(code) == mouth)
    return replace(estimate, by_rule=estimate.position is not None and missing)
