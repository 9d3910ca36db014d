"""The review of a detection in real MRML scenes: what a person does, what can be taken back, what a file keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("slicer", reason="needs slicer-core")

import numpy as np
import slicer
from CoWLandmarksLib.core.detection import LandmarkState
from CoWLandmarksLib.core.errors import AnnotationError
from CoWLandmarksLib.scene.nodes import STATES_ROLE, add_detection, add_volume, detection_nodes, read_detection
from CoWLandmarksLib.scene.review import Review
from CoWLandmarksLib.scene.review_history import HISTORY_ROLE
from CoWLandmarksLib.scene.scene_files import create_scene, load_scene, save_scene
from example_detection import ANATOMY, make_detection, make_volume

FOUND, UNCERTAIN, ABSENT, OUTSIDE = "R-ICA-T", "BA-T", "L-A1-A2", "R-A2-A3"
"""Codes of landmarks in these states in the example."""


class Clock:
    """Counts the seconds of one minute."""

    def __init__(self) -> None:
        self.seconds = 0

    def __call__(self) -> str:
        self.seconds += 1
        return f"2030-01-02T03:04:{self.seconds:02d}Z"


def make_nodes() -> Any:
    scene = create_scene()
    return add_detection(scene, add_volume(scene, make_volume()), make_detection(), ANATOMY)


def make_review(initials: str = "AB") -> Review:
    nodes = make_nodes()
    review = Review(nodes.markups, ANATOMY, initials, Clock())
    review.scene = nodes.markups.GetScene()  # keeps it alive
    return review


def drag(review: Review, code: str, position: tuple[float, float, float]) -> None:
    review.markups.SetNthControlPointPosition(review.index(code), *position)


def landmark(review: Review, code: str) -> Any:
    return read_detection(review.markups, ANATOMY).landmark(code)


def test_the_doubtful_landmarks_come_first() -> None:
    rows = make_review().rows()
    assert len(rows) == 19
    assert [row.code for row in rows[:3]] == [UNCERTAIN, ABSENT, OUTSIDE]
    found = [row.estimate.confidence for row in rows[3:]]
    assert found == sorted(found)
    assert rows[0].name == ANATOMY.landmark(UNCERTAIN).name
    assert (rows[0].reviewer, rows[0].reviewed_at, rows[0].steps) == ("", "", 0)


def test_rows_keep_their_places_while_a_person_works() -> None:
    review = make_review()
    before = [row.code for row in review.rows()]
    review.accept(UNCERTAIN)
    review.place(ABSENT, (1.0, 2.0, 3.0))
    review.mark_absent(FOUND)
    assert [row.code for row in review.rows()] == before


def test_an_accepted_landmark_is_reviewed_found_and_locked() -> None:
    review = make_review()
    review.open()
    index = review.index(UNCERTAIN)
    assert not review.markups.GetLocked() and not review.markups.GetNthControlPointLocked(index)
    assert review.accept(UNCERTAIN)
    row = review.row(UNCERTAIN)
    assert (row.estimate.state, row.estimate.reviewed, row.estimate.corrected) == (LandmarkState.FOUND, True, False)
    assert (row.reviewer, row.reviewed_at, row.steps) == ("AB", "2030-01-02T03:04:01Z", 1)
    assert review.markups.GetNthControlPointLocked(index) and review.markups.GetNthControlPointSelected(index)
    assert "state=found; " in review.markups.GetNthControlPointDescription(index)
    assert review.markups.GetNthControlPointDescription(index).endswith("corrected=0; reviewed=1")
    assert review.progress() == (1, 19)


def test_accepting_what_was_found_changes_neither_state_nor_place() -> None:
    review = make_review()
    assert not review.accept(FOUND) and not review.accept(ABSENT) and not review.accept(OUTSIDE)
    assert [landmark(review, code).state.value for code in (FOUND, ABSENT, OUTSIDE)] == ["found", "absent", "outside"]
    assert review.reopen(FOUND) is False
    row = review.row(FOUND)
    assert (row.estimate.reviewed, row.reviewer, row.reviewed_at) == (False, "", "")


def test_a_dragged_point_is_found_corrected_and_open_again() -> None:
    review = make_review()
    review.accept(UNCERTAIN)
    drag(review, UNCERTAIN, (5.0, 6.0, 7.0))
    assert review.moved() == (UNCERTAIN,)
    assert review.record_moves() == (UNCERTAIN,)
    moved = landmark(review, UNCERTAIN)
    assert (moved.position, moved.state, moved.corrected, moved.reviewed) == (
        (5.0, 6.0, 7.0),
        LandmarkState.FOUND,
        True,
        False,
    )
    assert (moved.confidence, moved.error_mm) == (1.0, ANATOMY.landmark(UNCERTAIN).expected_two_annotator_mm)
    assert review.record_moves() == ()


def test_a_point_that_is_moved_before_any_review_is_read_as_corrected() -> None:
    review = make_review()
    drag(review, UNCERTAIN, (5.0, 6.0, 7.0))
    read = landmark(review, UNCERTAIN)
    assert (read.state, read.corrected) == (LandmarkState.FOUND, True)
    assert not landmark(review, FOUND).corrected


def test_points_under_a_transform_have_not_been_moved() -> None:
    review = make_review()
    review.place(FOUND, (1.0, 2.0, 3.0))
    transform = review.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[:3, 3] = (10, 20, 30)
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    review.markups.SetAndObserveTransformNodeID(transform.GetID())
    assert review.moved() == ()
    assert not landmark(review, UNCERTAIN).corrected
    assert landmark(review, FOUND).position == pytest.approx((11.0, 22.0, 33.0))
    review.place(FOUND, (0.0, 0.0, 0.0))
    assert review.revert_to_previous(FOUND)
    assert landmark(review, FOUND).position == pytest.approx((11.0, 22.0, 33.0))
    review.markups.SetAndObserveTransformNodeID(None)
    assert landmark(review, FOUND).position == pytest.approx((1.0, 2.0, 3.0))


@pytest.mark.parametrize("code", [FOUND, UNCERTAIN, OUTSIDE, ABSENT])
def test_a_landmark_is_marked_absent_and_taken_back(code: str) -> None:
    review = make_review()
    before = landmark(review, code)
    assert review.mark_absent(code) is (code != ABSENT)
    absent = landmark(review, code)
    assert (absent.state, absent.position, absent.reviewed) == (LandmarkState.ABSENT, None, True)
    assert absent.corrected is (code != ABSENT)
    points = review.markups
    assert points.GetNthControlPointPositionStatus(review.index(code)) == points.PositionMissing
    assert review.revert_to_previous(code) is (code != ABSENT)
    assert landmark(review, code) == before


@pytest.mark.parametrize("code", [FOUND, ABSENT])
def test_a_landmark_is_marked_outside_and_taken_back(code: str) -> None:
    review = make_review()
    before = landmark(review, code)
    assert review.mark_outside(code)
    assert landmark(review, code).state is LandmarkState.OUTSIDE
    points = review.markups
    assert points.GetNthControlPointPositionStatus(review.index(code)) == points.PositionUndefined
    assert review.revert_to_previous(code)
    assert landmark(review, code) == before


def test_every_step_is_taken_back_one_by_one() -> None:
    review = make_review()
    first = landmark(review, UNCERTAIN)
    drag(review, UNCERTAIN, (1.0, 1.0, 1.0))
    review.record_moves()
    drag(review, UNCERTAIN, (2.0, 2.0, 2.0))
    review.record_moves()
    review.accept(UNCERTAIN)
    assert review.row(UNCERTAIN).steps == 3
    assert review.revert_to_previous(UNCERTAIN) is False  # only the acceptance
    assert landmark(review, UNCERTAIN).position == (2.0, 2.0, 2.0) and not landmark(review, UNCERTAIN).reviewed
    assert not review.markups.GetNthControlPointLocked(review.index(UNCERTAIN))
    assert review.revert_to_previous(UNCERTAIN)
    assert landmark(review, UNCERTAIN).position == (1.0, 1.0, 1.0)
    assert review.revert_to_previous(UNCERTAIN)
    assert landmark(review, UNCERTAIN) == first
    assert not review.revert_to_previous(UNCERTAIN) and landmark(review, UNCERTAIN) == first
    assert review.row(UNCERTAIN).steps == 0


def test_a_drag_that_was_not_written_down_yet_is_taken_back_too() -> None:
    review = make_review()
    first = landmark(review, FOUND)
    drag(review, FOUND, (1.0, 1.0, 1.0))
    assert review.revert_to_previous(FOUND)
    assert landmark(review, FOUND) == first


def test_going_back_to_the_detection_can_be_taken_back() -> None:
    review = make_review()
    first = landmark(review, FOUND)
    assert not review.revert_to_detected(FOUND)
    review.place(FOUND, (1.0, 1.0, 1.0))
    review.place(FOUND, (2.0, 2.0, 2.0))
    assert review.revert_to_detected(FOUND)
    assert landmark(review, FOUND) == first
    assert review.revert_to_previous(FOUND)
    assert landmark(review, FOUND).position == (2.0, 2.0, 2.0)


def test_an_absent_landmark_is_placed_and_keeps_index_and_label() -> None:
    review = make_review()
    assert review.place(ABSENT, (1.0, 2.0, 3.0))
    placed = landmark(review, ABSENT)
    assert (placed.state, placed.position, placed.corrected) == (LandmarkState.FOUND, (1.0, 2.0, 3.0), True)
    points = review.markups
    assert [points.GetNthControlPointLabel(i) for i in range(points.GetNumberOfControlPoints())] == list(ANATOMY.codes)


def test_a_broken_off_placement_leaves_no_trace() -> None:
    review = make_review()
    before = landmark(review, FOUND)
    review.markups.UnsetNthControlPointPosition(review.index(FOUND))
    review.restore_position(FOUND)
    assert landmark(review, FOUND) == before
    assert review.row(FOUND).steps == 0 and review.moved() == ()


def test_the_fallback_rule_is_noted_and_taken_back() -> None:
    review = make_review()
    assert not review.set_by_rule(FOUND, True)
    assert landmark(review, FOUND).by_rule
    review.revert_to_previous(FOUND)
    assert not landmark(review, FOUND).by_rule


def test_a_person_s_own_text_stays_through_every_step() -> None:
    review = make_review()
    code = "R-M1-M2"
    text = "früh; =|: text"
    review.place(code, (1.0, 1.0, 1.0))
    review.accept(code)
    assert landmark(review, code).note == text
    review.revert_to_detected(code)
    assert landmark(review, code).note == text
    assert review.markups.GetNthControlPointDescription(review.index(code)).endswith(f" | {text}")


def test_when_all_are_reviewed_the_point_list_says_by_whom_and_when() -> None:
    review = make_review()
    codes = [row.code for row in review.rows()]
    for code in codes[:-1]:
        review.accept(code)
    assert review.markups.GetAttribute("CoWLandmarks.reviewed") == "0"
    assert review.next_open(codes[0]) == codes[-1] and review.next_open(codes[-1]) == codes[-1]
    review.initials = "ZZ"
    review.mark_absent(codes[-1])
    assert review.next_open(codes[0]) is None and review.progress() == (19, 19)
    attributes = {key: review.markups.GetAttribute(f"CoWLandmarks.{key}") for key in ("reviewed", "annotator")}
    assert attributes == {"reviewed": "1", "annotator": "AB, ZZ"}
    assert review.markups.GetAttribute("CoWLandmarks.reviewed_at") == "2030-01-02T03:04:19Z"


def test_closing_the_review_locks_every_point() -> None:
    review = make_review()
    review.open()
    review.close()
    assert review.markups.GetLocked()


def test_a_review_survives_saving_and_loading_and_goes_on(tmp_path: Path) -> None:
    review = make_review()
    review.accept(UNCERTAIN)
    review.place(ABSENT, (1.0, 2.0, 1.0 / 3.0))
    review.mark_absent(FOUND)
    review.mark_outside("L-ICA-T")
    before = review.rows()
    save_scene(review.scene, tmp_path / "scene.mrb")

    scene = load_scene(tmp_path / "scene.mrb")
    loaded = Review(detection_nodes(scene)[0], ANATOMY, "CD", Clock())
    assert loaded.moved() == ()
    assert loaded.progress() == (3, 19)
    for old, new in zip(before, loaded.rows(), strict=True):
        assert (new.code, new.reviewer, new.reviewed_at, new.steps) == (
            old.code,
            old.reviewer,
            old.reviewed_at,
            old.steps,
        )
        assert (new.estimate.state, new.estimate.corrected, new.estimate.reviewed, new.estimate.note) == (
            old.estimate.state,
            old.estimate.corrected,
            old.estimate.reviewed,
            old.estimate.note,
        )
        assert (new.estimate.confidence, new.estimate.error_mm) == pytest.approx(
            (old.estimate.confidence, old.estimate.error_mm)
        )
        assert (new.estimate.position is None) == (old.estimate.position is None)
        if new.estimate.position is not None:
            assert new.estimate.position == pytest.approx(old.estimate.position, abs=1e-6)
    assert loaded.markups.GetNthControlPointLocked(loaded.index(UNCERTAIN))
    assert loaded.markups.GetAttribute("CoWLandmarks.annotator") == "AB"
    for code in (FOUND, ABSENT, UNCERTAIN, "L-ICA-T"):
        loaded.revert_to_previous(code)
        now, was = landmark(loaded, code), make_detection().landmark(code)
        assert (now.state, now.corrected, now.reviewed) == (was.state, False, False)
        assert now.position == (None if was.position is None else pytest.approx(was.position, abs=1e-6))
    assert loaded.row(FOUND).steps == 0


def test_a_moved_point_of_a_saved_scene_is_still_noticed(tmp_path: Path) -> None:
    review = make_review()
    drag(review, FOUND, (1.0, 1.0, 1.0))
    save_scene(review.scene, tmp_path / "scene.mrb")
    scene = load_scene(tmp_path / "scene.mrb")
    loaded = Review(detection_nodes(scene)[0], ANATOMY)
    assert loaded.record_moves() == (FOUND,)
    assert loaded.revert_to_detected(FOUND)
    assert landmark(loaded, FOUND).position == pytest.approx(make_detection().landmark(FOUND).position)


def test_the_history_lies_in_the_folder_of_the_detection_and_can_be_read_by_people() -> None:
    review = make_review()
    review.accept(FOUND)
    history = review.markups.GetNodeReference(HISTORY_ROLE)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(review.scene)
    folders = {
        hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node))
        for node in (history, review.markups, review.markups.GetNodeReference(STATES_ROLE))
    }
    assert len(folders) == 1
    table = history.GetTable()
    cells = [[table.GetColumnByName(name).GetValue(row) for name in ("code", "action", "time")] for row in range(2)]
    assert cells == [[FOUND, "before the review", ""], [FOUND, "accepted", "2030-01-02T03:04:01Z"]]


def test_a_table_of_states_that_was_deleted_is_made_again() -> None:
    review = make_review()
    review.scene.RemoveNode(review.markups.GetNodeReference(STATES_ROLE))
    again = Review(review.markups, ANATOMY, "AB", Clock())
    assert again.row(UNCERTAIN).estimate.state is LandmarkState.UNCERTAIN
    again.accept(UNCERTAIN)
    assert again.progress() == (1, 19)


def test_what_cannot_be_reviewed_says_why() -> None:
    review = make_review()
    with pytest.raises(AnnotationError, match="holds no detection"):
        Review(review.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "F"), ANATOMY)
    review.accept(FOUND)
    review.markups.GetNodeReference(HISTORY_ROLE).GetTable().GetColumnByName("state").SetValue(0, "splendid")
    with pytest.raises(AnnotationError, match="history' is damaged"):
        review.revert_to_detected(FOUND)
