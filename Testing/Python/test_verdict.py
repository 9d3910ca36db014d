"""When a result is not to be trusted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from CoWLandmarksLib.core.alignment import ShapeModel
from CoWLandmarksLib.core.detection import LandmarkEstimate, LandmarkState, Verdict
from CoWLandmarksLib.core.volume import Sides
from CoWLandmarksLib.detect.verdict import (
    FEWEST_ON_ODDS,
    LEAST_LOG_ODDS,
    CircleReading,
    VerdictEvidence,
    circle_reading,
    gather_evidence,
    log_odds_of_circle,
    recognition,
    verdict_after_tracing,
    verdict_of,
)
from CoWLandmarksTrainingLib.phantom.atlas import default_atlas

ATLAS = default_atlas().shape_models["patients"]
SHAPE = ShapeModel(ATLAS.mean, ATLAS.covariance + 0.25 * np.eye(57))
SURE = VerdictEvidence(landmarks=19, confidence=0.9, sure=1.0, inliers=1.0, mahalanobis=1.0, tilt_deg=10.0, scale=1.0)
FOUND = LandmarkEstimate("BA-T", (0.0, 0.0, 0.0), LandmarkState.FOUND, 0.9, 0.8)


def evidence(positions: np.ndarray, transform: np.ndarray | None = None) -> VerdictEvidence:
    matrix = np.eye(4) if transform is None else transform
    return gather_evidence(positions, np.full(19, 0.9), np.full(19, 1.0), matrix, SHAPE)


def test_a_usual_circle_is_not_strange() -> None:
    rng = np.random.default_rng(0)
    drawn = (SHAPE.mean.reshape(-1) + np.linalg.cholesky(SHAPE.covariance) @ rng.normal(size=57)).reshape(19, 3)
    found = evidence(drawn)
    assert found.landmarks == 19
    assert 0.3 < found.mahalanobis < 2.0
    assert found.inliers > 0.75
    assert found.scale == pytest.approx(1.0, abs=0.1)


def test_scattered_points_are_no_circle() -> None:
    scattered = np.random.default_rng(1).uniform(-40, 40, (19, 3))
    found = evidence(scattered)
    assert found.inliers < 0.6
    assert found.mahalanobis > 10
    assert verdict_of(found, [FOUND])[0] is Verdict.DO_NOT_TRUST


def test_evidence_is_kept_under_the_keys_of_version_0_1_0() -> None:
    former = Path(__file__).resolve().parents[1] / "Fixtures" / "version-0.1.0" / "results" / "scan-mra"
    kept = json.loads((former / "detection.json").read_text(encoding="utf-8"))["provenance"]["evidence"]
    assert list(SURE.to_dict())[: len(kept)] == list(kept)


def test_exchanged_sides_are_strange() -> None:
    left, right = [6, 4, 12], [7, 5, 13]
    exchanged = SHAPE.mean.copy()
    exchanged[left + right] = SHAPE.mean[right + left]
    assert evidence(exchanged).mahalanobis > 10


def test_landmarks_without_a_place_do_not_count() -> None:
    positions = SHAPE.mean.copy()
    positions[[0, 1, 11, 12]] = np.nan
    found = evidence(positions)
    assert found.landmarks == 15
    assert verdict_of(found, [FOUND])[0] is Verdict.OK


def test_tilt_and_size_are_read_from_the_transform() -> None:
    turn = np.diag([-0.9, -0.9, 0.9, 1.0])
    found = evidence(SHAPE.mean, turn)
    assert found.tilt_deg == pytest.approx(180.0)
    assert found.scale == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"landmarks": 4}, "not recognised"),
        ({"confidence": 0.3}, "not recognised"),
        ({"sure": 0.3}, "not recognised"),
        ({"recognition": 1.2, "least_recognition": 1.21}, "not recognised"),
        ({"inliers": 0.4}, "plausible circle"),
        ({"mahalanobis": 9.0}, "plausible circle"),
        ({"scale": 0.5}, "voxel size"),
        ({"scale": 1.5}, "voxel size"),
        ({"tilt_deg": 120.0}, "orientation"),
    ],
)
def test_each_fault_alone_is_enough_and_is_named(change: dict[str, float], reason: str) -> None:
    verdict, reasons = verdict_of(replace(SURE, **change), [FOUND])  # type: ignore[arg-type]
    assert verdict is Verdict.DO_NOT_TRUST
    assert len(reasons) == 1
    assert reason in reasons[0]


def test_a_circle_that_is_only_just_recognised_is_to_be_reviewed() -> None:
    barely = replace(SURE, recognition=1.2, least_recognition=1.46, log_odds=LEAST_LOG_ODDS)
    verdict, [reason] = verdict_of(barely, [FOUND])
    assert verdict is Verdict.REVIEW
    assert "only just recognised" in reason
    assert verdict_after_tracing(verdict, (reason,), Sides.RECORDED, [FOUND]) == (Verdict.REVIEW, (reason,))
    for log_odds in (LEAST_LOG_ODDS - 0.1, -0.1, None):
        assert verdict_of(replace(barely, log_odds=log_odds), [FOUND])[0] is Verdict.DO_NOT_TRUST
    assert verdict_of(replace(barely, landmarks=FEWEST_ON_ODDS), [FOUND])[0] is Verdict.REVIEW
    assert verdict_of(replace(barely, landmarks=FEWEST_ON_ODDS - 1), [FOUND])[0] is Verdict.DO_NOT_TRUST
    assert verdict_of(replace(barely, scale=1.5), [FOUND])[0] is Verdict.DO_NOT_TRUST
    assert verdict_of(replace(barely, recognition=1.5), [FOUND]) == (Verdict.OK, ())


def test_what_speaks_for_a_circle_of_willis() -> None:
    # A CTA of 1 mm through a narrow window, and a head stored upside down.
    windowed = CircleReading(coarse=0.43, circle=0.76, from_fine_mm=1.1, from_coarse_mm=2.1)
    assert log_odds_of_circle(windowed, 9.0) == pytest.approx(
        19.9 * 0.76 - 3.5 * 1.1 - 1.27 * 2.1 - 0.135 * 9.0 - 4.4, abs=1e-6
    )
    assert log_odds_of_circle(windowed, 9.0) > LEAST_LOG_ODDS
    assert log_odds_of_circle(CircleReading(0.4, 0.73, 0.8, 4.0), 24.0) < 0.0
    # The farther the networks are apart the worse, but not without end.
    far = [log_odds_of_circle(replace(windowed, from_fine_mm=mm), 9.0) for mm in (2.0, 3.0, 30.0)]
    assert far[0] > far[1] == far[2]


def test_a_reading_is_of_the_landmarks_that_should_lie_in_the_scan() -> None:
    inside = np.array([True, False, True, True])
    confidences = np.array([0.2, 9.0, 0.4, 0.6]), np.array([0.5, 9.0, 0.7, 0.9])
    circle = np.zeros((4, 3))
    fine = np.array([[1.0, 0, 0], [9, 0, 0], [0, 5, 0], [0, 0, 2]])
    coarse = np.array([[4.0, 3, 0], [9, 0, 0], [6, 0, 0], [0, 0, 0]])
    one = circle_reading(confidences, (coarse, circle, fine), inside)
    assert (one.coarse, one.circle) == (pytest.approx(0.4), pytest.approx(0.7))
    assert (one.from_fine_mm, one.from_coarse_mm) == (2.0, 5.0)
    assert one.recognition == pytest.approx(1.1)
    nothing = circle_reading(confidences, (coarse, circle, fine), np.zeros(4, bool))
    assert nothing.recognition == 0.0
    assert log_odds_of_circle(nothing, 0.0) < 0.0


def test_doubtful_points_ask_for_a_review_and_are_named() -> None:
    doubtful = replace(FOUND, code="R-M1-M2", state=LandmarkState.UNCERTAIN)
    assert verdict_of(SURE, [FOUND, doubtful]) == (Verdict.REVIEW, ("To check: R-M1-M2.",))
    assert verdict_of(SURE, [FOUND]) == (Verdict.OK, ())


def test_a_scan_with_an_absent_point_of_the_carotid_artery_is_at_best_to_be_reviewed() -> None:
    gone = replace(FOUND, code="L-C4-C5", state=LandmarkState.ABSENT, position=None)
    usual = replace(gone, code="L-A1-A2")
    reason = "Absent, though hardly anybody lacks it: L-C4-C5."
    assert verdict_of(SURE, [FOUND, usual]) == (Verdict.OK, ())
    assert verdict_of(SURE, [FOUND, gone]) == (Verdict.REVIEW, (reason,))
    assert verdict_after_tracing(Verdict.OK, (), Sides.RECORDED, [FOUND, gone]) == (Verdict.REVIEW, (reason,))
    assert verdict_after_tracing(Verdict.REVIEW, ("To check: L-C4-C5.",), Sides.RECORDED, [FOUND]) == (Verdict.OK, ())
    for kept in (Verdict.DO_NOT_TRUST, None):
        assert verdict_after_tracing(kept, ("why",), Sides.RECORDED, [gone]) == (kept, ("why",))


def test_a_file_that_does_not_say_which_side_is_left_is_never_ok() -> None:
    verdict, [reason] = verdict_of(replace(SURE, sides=Sides.UNRECORDED), [FOUND])
    assert verdict is Verdict.REVIEW
    assert "which side is left" in reason
    verdict, [reason] = verdict_of(replace(SURE, sides=Sides.CONTRADICTORY), [FOUND])
    assert verdict is Verdict.DO_NOT_TRUST
    assert "two things about left and right" in reason


def test_the_share_of_sure_points_is_counted_among_the_placed() -> None:
    positions = SHAPE.mean.copy()
    positions[0] = np.nan
    confidence = np.where(np.arange(19) < 10, 0.69, 0.7)
    found = gather_evidence(positions, confidence, np.full(19, 1.0), np.eye(4), SHAPE)
    assert found.sure == pytest.approx(9 / 18)


def test_recognition_is_the_mean_of_the_coarse_confidence_plus_the_share_of_sure_points() -> None:
    sure = np.array([True, False, True, True])
    assert recognition(np.array([0.2, 0.4, 0.6, 0.8]), sure) == pytest.approx(0.5 + 0.75)
    assert recognition(np.zeros(0), np.zeros(0, bool)) == 0.0


def test_only_landmarks_with_a_place_count_for_recognition() -> None:
    positions = SHAPE.mean.copy()
    positions[:9] = np.nan
    coarse = np.where(np.arange(19) < 9, 0.0, 0.8)
    found = gather_evidence(
        positions, np.full(19, 0.9), np.full(19, 1.0), np.eye(4), SHAPE, coarse_confidence=coarse, least_recognition=1.7
    )
    assert found.recognition == pytest.approx(1.8)
    assert verdict_of(found, [FOUND])[0] is Verdict.OK
    worse = replace(found, least_recognition=1.81)
    assert verdict_of(worse, [FOUND])[0] is Verdict.DO_NOT_TRUST


def test_a_head_that_lies_on_its_face_is_doubted_unless_a_person_placed_points_in_it() -> None:
    turn = np.eye(4)
    turn[1:3, 1:3] = [[0.0, -1.0], [1.0, 0.0]]
    alone = gather_evidence(
        SHAPE.mean, np.full(19, 0.9), np.full(19, 1.0), turn, SHAPE, coarse_confidence=np.full(19, 0.9)
    )
    assert alone.tilt_deg == pytest.approx(90.0)
    assert verdict_of(alone, [FOUND])[0] is Verdict.DO_NOT_TRUST
    assert verdict_of(evidence(SHAPE.mean, turn), [FOUND])[0] is Verdict.OK
