"""Between which places an artery has to be traced, from the states of the landmarks at its ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from ..core.anatomy import Anatomy, Artery
from ..core.artery_map import ArteryState
from ..core.declaration import Declaration
from ..core.detection import LandmarkEstimate, LandmarkState

SAME_PLACE_MM = 0.6


class Way(str, Enum):
    """How an artery is traced: between two points, from one to the edge of the scan, down the basilar, not at all.

    ACROSS: from the junction of the other side, because its own is absent (no A1, so the ACoA feeds the A2); to the
    edge of the scan where its far end lies beyond.
    """

    BETWEEN = "between"
    TO_EDGE = "to edge"
    BASILAR = "basilar"
    ACROSS = "across"
    NONE = "none"


@dataclass(frozen=True)
class Ends:
    """The ends of an artery: `start`, `end` are landmark codes where a point is known.

    `beyond` is the landmark outside the scan towards which it runs to the edge (TO_EDGE, ACROSS). With Way.NONE
    `state` and `reason` say why it is not traced. `by_rule` is set where both ends were placed by the fallback of their
    definition: whoever placed them did not see the artery. `declared` is what a person says of the artery.
    """

    way: Way
    start: str | None = None
    end: str | None = None
    state: ArteryState = ArteryState.UNKNOWN
    reason: str = ""
    by_rule: bool = False
    beyond: str | None = None
    declared: Declaration | None = field(default=None, compare=False)

    @property
    def surely_present(self) -> bool:
        """Whether a person says that the artery is there."""
        return self.declared is not None and self.declared.present

    @property
    def waypoints(self) -> tuple[tuple[float, float, float], ...]:
        """RAS mm of the points that a person leads it through, from its start to its end."""
        return () if self.declared is None else self.declared.waypoints


def ends_of(artery: Artery, landmarks: Mapping[str, LandmarkEstimate], positions: Mapping[str, np.ndarray]) -> Ends:
    """Ends of one artery; `landmarks` as given, `positions` RAS mm of those inside the scan, by code."""
    if artery.start is None:
        return _one_ended(artery, str(artery.end), landmarks, positions)
    codes = (artery.start, str(artery.end))
    states = [_state(code, landmarks, positions) for code in codes]
    placed = [code for code, state in zip(codes, states, strict=True) if state is None]
    if len(placed) == 2:
        if np.linalg.norm(positions[codes[0]] - positions[codes[1]]) < SAME_PLACE_MM:
            return _at_one_place(artery, codes)
        return Ends(Way.BETWEEN, *codes, by_rule=all(_by_rule_of_a_person(landmarks[code]) for code in codes))
    missing = [(code, state) for code, state in zip(codes, states, strict=True) if state is not None]
    for wanted, result, text in (
        (LandmarkState.UNCERTAIN, ArteryState.UNKNOWN, "is not placed"),
        (LandmarkState.ABSENT, ArteryState.ABSENT, "is absent"),
    ):
        codes_so = [code for code, state in missing if state is wanted]
        if codes_so:
            return Ends(Way.NONE, state=result, reason=f"its end {' and '.join(codes_so)} {text}")
    if len(missing) == 2:
        return Ends(Way.NONE, state=ArteryState.OUTSIDE, reason="both its ends lie outside the scan")
    if placed[0] == codes[0]:
        return Ends(Way.TO_EDGE, start=codes[0], beyond=codes[1])
    return Ends(Way.TO_EDGE, end=codes[1], beyond=codes[0])


def ends_across(
    ends: Mapping[str, Ends],
    landmarks: Mapping[str, LandmarkEstimate],
    positions: Mapping[str, np.ndarray],
    anatomy: Anatomy,
) -> dict[str, Ends]:
    """The ends with those of arteries that the other side feeds because a landmark is absent.

    Where the midline artery's landmark is absent on one side only, so is the feeding artery (A1). The artery that is
    hardly ever absent (A2) then begins at the junction of the other side, and the midline artery is its first part.
    Both have the same ends: that junction and the far end of the fed artery, or the edge of the scan before it.
    """
    result = dict(ends)
    for bridge in anatomy.arteries:
        if bridge.side != "midline" or bridge.start is None:
            continue
        for lost, other in ((bridge.start, str(bridge.end)), (str(bridge.end), bridge.start)):
            fed = [a for a in anatomy.arteries if a.start == lost and a is not bridge and not a.optional]
            absent = lost in landmarks and landmarks[lost].state is LandmarkState.ABSENT
            if not (absent and lost not in positions and other in positions and fed):
                continue
            far = str(fed[0].end)
            beyond = _state(far, landmarks, positions)
            if beyond in (None, LandmarkState.OUTSIDE):
                across = Ends(Way.ACROSS, start=other, end=far if beyond is None else None, beyond=beyond and far)
                result |= {bridge.code: across, fed[0].code: across}
    return result


def _one_ended(
    artery: Artery, end: str, landmarks: Mapping[str, LandmarkEstimate], positions: Mapping[str, np.ndarray]
) -> Ends:
    state = _state(end, landmarks, positions)
    if state is None:
        return Ends(Way.BASILAR, end=end)
    if state is LandmarkState.ABSENT:
        return Ends(Way.NONE, state=ArteryState.ABSENT, reason=f"its end {end} is absent")
    if state is LandmarkState.OUTSIDE:
        return Ends(Way.NONE, state=ArteryState.OUTSIDE, reason=f"its end {end} lies outside the scan")
    return Ends(Way.NONE, state=ArteryState.UNKNOWN, reason=f"its end {end} is not placed")


def _state(
    code: str, landmarks: Mapping[str, LandmarkEstimate], positions: Mapping[str, np.ndarray]
) -> LandmarkState | None:
    """None for a point inside the scan, UNCERTAIN for one that the annotation does not list, else why it has none."""
    if code in positions:
        return None
    estimate = landmarks.get(code)
    if estimate is None:
        return LandmarkState.UNCERTAIN
    return LandmarkState.OUTSIDE if estimate.position is not None else estimate.state


def _by_rule_of_a_person(estimate: LandmarkEstimate) -> bool:
    """Whether somebody placed a point by rule. A detection says so because no artery was traced, and expects errors."""
    return estimate.by_rule and (estimate.reviewed or estimate.error_mm == 0.0)


def _at_one_place(artery: Artery, codes: tuple[str, str]) -> Ends:
    if artery.side == "midline":
        reason = f"{codes[0]} and {codes[1]} lie at the same place: the two sides meet without an artery between them"
        return Ends(Way.NONE, state=ArteryState.ABSENT, reason=reason)
    reason = f"its ends {codes[0]} and {codes[1]} lie at the same place; move one of them"
    return Ends(Way.NONE, state=ArteryState.UNKNOWN, reason=reason)


def positions_in_scan(
    landmarks: Mapping[str, LandmarkEstimate], depth_mm: Mapping[str, float], anatomy: Anatomy
) -> dict[str, np.ndarray]:
    """RAS mm of the landmarks that lie inside the scan, in the order of the anatomy."""
    return {
        code: np.array(landmarks[code].position, float)
        for code in anatomy.codes
        if code in landmarks and landmarks[code].position is not None and depth_mm[code] >= 0.0
    }
