"""Landmarks placed and dragged with the mouse in a real slice view, by Slicer's own markups widgets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("slicer", reason="needs slicer-core")

from CoWLandmarksLib.core.detection import LandmarkState
from CoWLandmarksLib.scene.nodes import add_detection, add_volume, detection_nodes, read_detection
from CoWLandmarksLib.scene.review import Review
from CoWLandmarksLib.scene.review_placement import Placement
from CoWLandmarksLib.scene.scene_files import create_scene, load_scene, save_scene
from example_detection import ANATOMY, make_detection, make_volume
from slice_view import SliceView

FOUND, UNCERTAIN, ABSENT, OUTSIDE = "R-ICA-T", "BA-T", "L-A1-A2", "R-A2-A3"


class Desk:
    """A scene with a detection under review and a slice view through all its points."""

    def __init__(self) -> None:
        self.scene = create_scene()
        nodes = add_detection(self.scene, add_volume(self.scene, make_volume()), make_detection(), ANATOMY)
        self.review = Review(nodes.markups, ANATOMY, "AB")
        self.review.open()
        self.ended: list[tuple[str, bool]] = []
        self.placement = Placement(self.review, lambda code, placed: self.ended.append((code, placed)))
        self.view = SliceView(self.scene, (0.0, -10.0, 0.7))
        self.interaction = self.scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")

    def landmark(self, code: str) -> Any:
        return read_detection(self.review.markups, ANATOMY).landmark(code)

    def in_place_mode(self) -> bool:
        return self.interaction.GetCurrentInteractionMode() == self.interaction.Place


@pytest.mark.parametrize("code", [FOUND, UNCERTAIN, ABSENT, OUTSIDE])
def test_one_click_places_a_landmark_of_any_state(code: str) -> None:
    desk = Desk()
    others = [e for e in desk.review.detection().landmarks if e.code != code]
    desk.placement.start(code)
    assert desk.in_place_mode() and desk.placement.code == code
    desk.view.click((-20.0, 5.0, 0.7))
    assert not desk.in_place_mode() and desk.placement.code is None
    placed = desk.landmark(code)
    assert placed.position == pytest.approx((-20.0, 5.0, 0.7), abs=0.3)
    assert (placed.state, placed.corrected, placed.reviewed) == (LandmarkState.FOUND, True, False)
    assert desk.ended == [(code, True)]
    points = desk.review.markups
    assert [points.GetNthControlPointLabel(i) for i in range(points.GetNumberOfControlPoints())] == list(ANATOMY.codes)
    assert [e for e in desk.review.detection().landmarks if e.code != code] == others
    before = make_detection().landmark(code)
    assert desk.review.revert_to_previous(code)
    assert (desk.landmark(code).state, desk.landmark(code).position) == (before.state, before.position)


def test_a_second_click_moves_nothing() -> None:
    desk = Desk()
    desk.placement.start(FOUND)
    desk.view.click((-20.0, 5.0, 0.7))
    before = desk.review.detection().landmarks
    desk.view.click((20.0, 5.0, 0.7))
    assert desk.review.detection().landmarks == before and desk.ended == [(FOUND, True)]


def test_an_accepted_point_is_placed_anew_on_purpose_only() -> None:
    desk = Desk()
    desk.review.accept(FOUND)
    start = desk.landmark(FOUND).position
    desk.view.drag(start, (-20.0, 5.0, 0.7))
    assert desk.landmark(FOUND).position == start
    desk.placement.start(FOUND)
    desk.view.click((-20.0, 5.0, 0.7))
    assert desk.landmark(FOUND).position == pytest.approx((-20.0, 5.0, 0.7), abs=0.3)


@pytest.mark.parametrize("code", [FOUND, ABSENT, OUTSIDE])
def test_leaving_place_mode_puts_the_point_back(code: str) -> None:
    desk = Desk()
    desk.review.accept(code)
    before = desk.landmark(code)
    desk.placement.start(code)
    desk.view.move((100, 100))
    desk.interaction.SwitchToViewTransformMode()
    assert desk.landmark(code) == before and desk.ended == [(code, False)]
    assert desk.review.moved() == ()
    assert desk.review.markups.GetNthControlPointLocked(desk.review.index(code))


def test_a_landmark_that_waits_for_its_click_counts_as_where_it_was(tmp_path: Path) -> None:
    desk = Desk()
    before = desk.review.detection().landmarks
    desk.placement.start(FOUND)
    desk.view.move((100, 100))
    assert desk.review.detection().landmarks == before and desk.review.moved() == ()
    other = Review(desk.review.markups, ANATOMY)  # an export, say
    assert other.record_moves() == () and other.detection().landmarks == before
    save_scene(desk.scene, tmp_path / "scene.mrb")
    loaded = Review(detection_nodes(load_scene(tmp_path / "scene.mrb"))[0], ANATOMY)
    loaded.open()
    assert loaded.moved() == () and loaded.row(FOUND).steps == 0
    assert loaded.detection().landmark(FOUND).position == pytest.approx(make_detection().landmark(FOUND).position)


def test_asking_for_another_landmark_breaks_the_first_off() -> None:
    desk = Desk()
    before = desk.landmark(FOUND)
    desk.placement.start(FOUND)
    desk.placement.start(UNCERTAIN)
    assert desk.in_place_mode() and desk.ended == [(FOUND, False)]
    desk.view.click((-20.0, 5.0, 0.7))
    assert desk.landmark(FOUND) == before and desk.landmark(UNCERTAIN).corrected
    assert desk.ended == [(FOUND, False), (UNCERTAIN, True)]


def test_a_placement_whose_point_list_is_gone_ends_quietly() -> None:
    desk = Desk()
    desk.placement.start(FOUND)
    desk.scene.RemoveNode(desk.review.markups)
    desk.interaction.SwitchToViewTransformMode()
    assert desk.placement.code is None


def test_a_point_is_dragged_with_the_mouse_and_tells_when_it_is_let_go() -> None:
    desk = Desk()
    points = desk.review.markups
    events: list[str] = []
    for name in ("PointStartInteractionEvent", "PointModifiedEvent", "PointEndInteractionEvent"):
        points.AddObserver(getattr(points, name), lambda *_, name=name: events.append(name))
    desk.view.drag(desk.landmark(FOUND).position, (-20.0, 5.0, 0.7))
    assert events[0] == "PointStartInteractionEvent" and events[-1] == "PointEndInteractionEvent"
    assert "PointModifiedEvent" in events
    assert desk.review.record_moves() == (FOUND,)
    assert desk.landmark(FOUND).position == pytest.approx((-20.0, 5.0, 0.7), abs=0.6)
    assert desk.landmark(FOUND).corrected


def test_no_point_can_be_dragged_when_the_review_is_closed() -> None:
    desk = Desk()
    desk.review.close()
    desk.view.drag(desk.landmark(FOUND).position, (-20.0, 5.0, 0.7))
    assert desk.review.moved() == ()
