"""The states of landmarks: each one from what is known of it, and in their order."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from CoWLandmarksLib.core.calibration import UNCALIBRATED
from CoWLandmarksLib.core.detection import LandmarkEstimate, LandmarkState
from CoWLandmarksLib.core.volume import EDGE_MM
from CoWLandmarksLib.detect.states import (
    SEARCH_BEYOND_MM,
    LandmarkReadings,
    TracedEvidence,
    after_tracing,
    beyond_scan,
    estimates_of,
    landmark_state,
    sought,
    unseen,
)

FOUND, UNCERTAIN, ABSENT, OUTSIDE = LandmarkState
NOBODY = np.zeros(4, bool)


def readings(**changes: object) -> LandmarkReadings:
    """Four landmarks deep in the scan that were all read surely."""
    deep = np.full(4, 30.0)
    positions = np.arange(12.0).reshape(4, 3)
    return replace(LandmarkReadings(positions, deep, deep, np.full(4, 0.9), np.full(4, 0.5), NOBODY), **changes)  # type: ignore[arg-type]


def states_of(given: LandmarkReadings, *, recognised: bool = True) -> list[LandmarkState]:
    return [estimate.state for estimate in estimates_of("abcd", given, 0.5, recognised=recognised)]


@pytest.mark.parametrize("known", list(itertools.product([False, True], repeat=4)))
def test_outside_comes_before_absent_and_absent_before_uncertain(known: tuple[bool, bool, bool, bool]) -> None:
    outside, not_seen, recognised, sure = known
    state = landmark_state(outside=outside, not_seen=not_seen, recognised=recognised, sure=sure)
    if outside:
        assert state is OUTSIDE
    elif not_seen:
        assert state is (ABSENT if recognised else UNCERTAIN)
    else:
        assert state is (FOUND if sure else UNCERTAIN)


def test_a_low_confidence_is_uncertain_from_just_below_the_limit() -> None:
    confidence = np.array([0.9, 0.5, np.nextafter(0.5, 0.0), 0.0])
    assert states_of(readings(confidence=confidence)) == [FOUND, FOUND, UNCERTAIN, UNCERTAIN]


def test_a_landmark_is_outside_beyond_the_edge_or_where_it_is_expected_there_and_not_seen() -> None:
    edge = np.array([EDGE_MM, EDGE_MM - 0.01, EDGE_MM - 0.01, -SEARCH_BEYOND_MM - 0.01])
    deep, missed = np.full(4, 30.0), np.array([False, True, False, False])
    assert beyond_scan(readings(depth_mm=edge)).tolist() == [False, True, True, True]
    assert beyond_scan(readings(depth_mm=deep, expected_depth_mm=edge, not_seen=missed)).tolist() == [
        False,
        True,
        False,
        True,
    ]
    assert sought(edge).tolist() == [True, True, True, False]


def test_the_circle_network_says_what_is_not_seen_but_for_points_that_a_person_gave() -> None:
    limited, blind = replace(UNCALIBRATED, absent_below=0.3), replace(UNCALIBRATED, absent_below=0.0)
    fine, circle = np.array([0.1, 0.9, 0.1, 0.9]), np.array([0.9, 0.1, 0.1, 0.9])
    given = np.array([False, False, True, False])
    assert unseen(fine, limited, circle, limited, given).tolist() == [True, False, True, False]
    assert unseen(fine, blind, circle, limited, NOBODY).tolist() == [False, True, True, False]
    assert unseen(fine, blind, circle, limited, given).tolist() == [False, True, False, False]
    assert not unseen(fine, blind, None, None, NOBODY).any()


def test_places_and_errors_are_those_of_placed_landmarks_and_what_is_outside_has_no_confidence() -> None:
    missed, depth = np.array([False, True, True, False]), np.array([30.0, 30.0, 30.0, -1.0])
    given = readings(depth_mm=depth, not_seen=missed, circle_confidence=np.array([0.0, 0.2, 0.95, 0.1]))
    found, absent, kept, outside = estimates_of("abcd", given, 0.5, recognised=True)
    assert (found.state, found.position, found.confidence, found.error_mm) == (FOUND, (0.0, 1.0, 2.0), 0.9, 0.5)
    assert (absent.state, absent.position, absent.confidence, absent.error_mm) == (ABSENT, None, 0.2, 0.0)
    assert (kept.state, kept.confidence) == (ABSENT, 0.9)
    assert (outside.state, outside.position, outside.confidence) == (OUTSIDE, None, 0.0)
    assert states_of(given, recognised=False) == [FOUND, UNCERTAIN, UNCERTAIN, OUTSIDE]


@pytest.mark.parametrize("code", ["R-C4-C5", "L-C5-C6", "R-C6-C7", "L-ICA-T", "BA-T"])
def test_points_of_carotid_and_basilar_artery_are_uncertain_with_a_place_where_nothing_was_seen(code: str) -> None:
    given = readings(not_seen=~NOBODY, circle_confidence=np.full(4, 0.1))
    codes = (code, "R-M1-M2", "L-P1-P2A", "R-A1-A2")
    kept, *others = estimates_of(codes, given, 0.5, recognised=True)
    assert (kept.state, kept.position, kept.confidence) == (UNCERTAIN, (0.0, 1.0, 2.0), 0.1)
    assert {other.state for other in others} == {ABSENT}


CAROTID = {"L-ICA-C5": "absent", "L-ICA-C6": "absent", "L-ICA-C7": "absent"}


def evidence(**changes: object) -> TracedEvidence:
    """Of the left C6-C7 point: no lumen in the whole carotid artery of its side, the other one at the same level."""
    nothing = TracedEvidence(
        trunk={"L-ICA-C6": "absent", "L-ICA-C7": "absent"},
        branches={"L-PCoA": "absent"},
        contrast={"L-ICA-C6": 0.02},
        vessel=CAROTID,
        same_level=("R-ICA-C6",),
    )
    return replace(nothing, **changes)  # type: ignore[arg-type]


def decided(found: TracedEvidence, code: str = "L-C6-C7", not_seen: tuple[str, ...] = ("L-C6-C7",)) -> LandmarkEstimate:
    placed = LandmarkEstimate(code, (1.0, 2.0, 3.0), UNCERTAIN, 0.2, 2.0)
    (estimate,) = after_tracing([placed], {code: found}, not_seen)
    return estimate


def test_absence_is_earned_by_no_lumen_along_the_whole_vessel_and_other_arteries_at_its_level() -> None:
    absent = decided(evidence())
    assert (absent.state, absent.position, absent.error_mm, absent.by_rule) == (ABSENT, None, 0.0, False)


@pytest.mark.parametrize(
    "change",
    [
        {"vessel": {**CAROTID, "L-ICA-C5": "present"}},
        {"vessel": {**CAROTID, "L-ICA-C5": "outside"}},
        {"vessel": {**CAROTID, "L-ICA-C5": "unknown"}},
        {"vessel": {}},
        {"branches": {"L-PCoA": "hypoplastic"}},
        {"trunk": {"L-ICA-C7": "absent", "L-MCA-M1": "present"}},
        {"same_level": ()},
    ],
)
def test_whatever_speaks_for_a_lumen_or_a_lost_signal_leaves_the_point_uncertain(change: dict[str, object]) -> None:
    assert decided(evidence(**change)).state is UNCERTAIN


def test_only_points_that_were_not_seen_and_whose_absence_is_earned_become_absent() -> None:
    assert decided(evidence(), not_seen=()).state is UNCERTAIN
    assert decided(evidence(), code="L-P1-P2A", not_seen=("L-P1-P2A",)).state is UNCERTAIN


def test_a_placed_point_is_by_rule_where_the_communicating_artery_that_defines_it_is_absent() -> None:
    assert decided(evidence(), not_seen=()).by_rule
    for state in ("present", "hypoplastic", "unknown", "outside"):
        assert not decided(evidence(branches={"L-PCoA": state}), not_seen=()).by_rule
    without_p1 = {"L-P1-P2A": evidence(branches={"L-PCoA": "present", "L-PCA-P1": "absent"})}
    (by_definition,) = after_tracing([LandmarkEstimate("L-P1-P2A", (1.0, 2.0, 3.0), FOUND, 0.9, 0.5)], without_p1, ())
    assert not by_definition.by_rule
    gone = LandmarkEstimate("L-P1-P2A", None, ABSENT, 1.0, 0.0)
    assert after_tracing([gone], {"L-P1-P2A": evidence()}, ()) == (gone,)
