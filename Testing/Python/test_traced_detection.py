"""States and verdict once the arteries are traced: absence is earned, points by rule say so; on circles of tubes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from CoWLandmarksLib.core.artery_map import ArteryMap, ArteryState
from CoWLandmarksLib.core.detection import Detection, LandmarkState, Verdict
from CoWLandmarksLib.core.mean_landmarks import reference_to_scan
from CoWLandmarksLib.core.volume import Modality, Volume
from CoWLandmarksLib.pipeline.scan_memory import ScanMemory
from CoWLandmarksLib.pipeline.traced_detection import traced_detection
from tube_circle import ANATOMY, cut, landmarks, position, tube_scan

CAROTID = tuple(f"L-{code}" for code in ("C4-C5", "C5-C6", "C6-C7", "ICA-T"))
SEGMENTS = ("L-ICA-C5", "L-ICA-C6", "L-ICA-C7")
FED = ("L-MCA-M1", "L-ACA-A1", "L-PCoA")


def detected(not_seen: tuple[str, ...]) -> Detection:
    """What the networks say of the circle of tubes: those not seen are uncertain, in their places."""
    estimates = tuple(
        replace(point, error_mm=0.8, state=LandmarkState.UNCERTAIN if point.code in not_seen else point.state)
        for point in landmarks()
    )
    back = np.linalg.inv(reference_to_scan({code: position(code) for code in ANATOMY.codes}))
    return Detection("tubes", Modality.MRA, Verdict.REVIEW, ("To check.",), estimates, back, not_seen=not_seen)


def decided(scan: Volume, not_seen: tuple[str, ...] = ()) -> tuple[Detection, ArteryMap]:
    return traced_detection(scan, detected(not_seen), ANATOMY, ScanMemory())


def states(detection: Detection, codes: tuple[str, ...]) -> list[str]:
    return [detection.landmark(code).state.value for code in codes]


def scan_without(*codes: str) -> Volume:
    return tube_scan(left_out=codes, spacing=(0.8, 0.8, 0.9))


@pytest.mark.slow
def test_a_carotid_artery_that_is_not_there_is_absent_and_the_scan_to_be_reviewed() -> None:
    detection, found = decided(scan_without(*SEGMENTS, *FED), CAROTID)
    assert states(detection, CAROTID) == ["absent"] * 4
    assert detection.verdict is Verdict.REVIEW
    assert detection.reasons == ("Absent, though hardly anybody lacks it: L-ICA-T, L-C6-C7, L-C5-C6, L-C4-C5.",)
    assert found.landmarks == detection.landmarks
    for code in SEGMENTS:
        assert found.artery(code).state is ArteryState.ABSENT and "is absent" in found.artery(code).reason
    assert detection.landmark("R-ICA-T").state is LandmarkState.FOUND


@pytest.mark.slow
def test_a_carotid_artery_that_the_networks_missed_is_uncertain_and_traced() -> None:
    detection, found = decided(scan_without(), CAROTID)
    assert states(detection, CAROTID) == ["uncertain"] * 4
    assert all(found.artery(code).traced for code in SEGMENTS)
    assert detection.verdict is Verdict.REVIEW


@pytest.mark.slow
def test_where_only_a_part_of_the_carotid_artery_is_lost_nothing_is_called_absent() -> None:
    detection, _ = decided(scan_without("L-ICA-C5", "L-ICA-C6"), CAROTID[:2])
    assert states(detection, CAROTID[:2]) == ["uncertain"] * 2


@pytest.mark.slow
def test_without_other_arteries_at_its_level_a_basilar_tip_is_not_called_absent() -> None:
    gone = ("BA", "R-PCA-P1", "L-PCA-P1")
    assert states(decided(scan_without(*gone), ("BA-T",))[0], ("BA-T",)) == ["absent"]
    low = tuple(f"{side}-ICA-{part}" for side in "RL" for part in ("C5", "C6", "C7"))
    assert states(decided(scan_without(*gone, *low), ("BA-T",))[0], ("BA-T",)) == ["uncertain"]


@pytest.mark.slow
def test_points_are_by_rule_where_the_communicating_artery_is_absent() -> None:
    detection, _ = decided(scan_without("R-PCoA", "ACoA"))
    by_rule = {estimate.code for estimate in detection.landmarks if estimate.by_rule}
    assert by_rule == {"R-C6-C7", "R-P1-P2A", "R-A1-A2", "L-A1-A2"}
    assert detection.verdict is Verdict.OK


@pytest.mark.slow
def test_a_scan_that_ends_in_the_circle_says_nothing_of_what_lies_beyond() -> None:
    whole = scan_without("R-PCoA")
    upper = cut(whole, (0, 0, whole.voxels.shape[0] // 2), whole.voxels.shape[::-1])
    detection, _ = decided(upper, CAROTID)
    assert LandmarkState.ABSENT not in {estimate.state for estimate in detection.landmarks}
