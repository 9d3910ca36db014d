"""What a person says of arteries in real MRML scenes: what is kept, taken back, loaded again and exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("slicer", reason="needs slicer-core")

import numpy as np
import slicer
from CoWLandmarksLib.core.artery_map import ArteryMap, ArteryState
from CoWLandmarksLib.core.declaration import Declaration
from CoWLandmarksLib.core.errors import AnnotationError
from CoWLandmarksLib.core.volume import Modality, Volume, axis_aligned_grid
from CoWLandmarksLib.files.annotation_files import FileChoice, writing_annotation
from CoWLandmarksLib.files.delivered import Delivered
from CoWLandmarksLib.files.markups import read_declared
from CoWLandmarksLib.scene.annotation_export import adding_to_cohort, annotation_of
from CoWLandmarksLib.scene.artery_review import ArteryReview
from CoWLandmarksLib.scene.declared_arteries import DECLARED, declared_in
from CoWLandmarksLib.scene.given_points import add_given_file
from CoWLandmarksLib.scene.nodes import add_volume, detection_nodes, volume_node_of
from CoWLandmarksLib.scene.results import add_result
from CoWLandmarksLib.scene.review import Review
from CoWLandmarksLib.scene.scene_files import create_scene, load_scene, save_scene
from CoWLandmarksLib.scene.waypoint_placement import WaypointPlacement
from drawn_arteries import drawn_arteries, drawn_detection
from slice_view import SliceView
from tube_circle import ANATOMY, CENTRE_MM, position

PCOA = "R-PCoA"
MIDDLE = tuple(float(v) for v in np.round(0.5 * (position("R-C6-C7") + position("R-P1-P2A")), 3))
TIME = "2030-01-02T03:04:05Z"


def make_nodes(declared: dict[str, Declaration] | None = None) -> Any:
    """The point list of a result on a coarse scan; the right PCoA was not found."""
    grid = axis_aligned_grid(CENTRE_MM, np.full(3, 2.0), (45, 60, 60))
    scan = Volume(np.arange(45 * 60 * 60, dtype=np.int16).reshape(45, 60, 60), grid.ijk_to_ras, "head", Modality.MRA)
    drawn = drawn_arteries(grid, {PCOA: ArteryState.ABSENT})
    found = ArteryMap(
        drawn.arteries, drawn.labels, drawn.start, grid, drawn.summary, drawn.landmarks, declared=declared or {}
    )
    scene = create_scene()
    volume_node = add_volume(scene, scan)
    nodes = add_result(scene, volume_node, Delivered(Path(), drawn_detection(found), found), ANATOMY)
    nodes.markups.kept_scene = scene  # keeps it alive
    return nodes.markups


def reviewing(markups: Any, initials: str = "AB") -> ArteryReview:
    return ArteryReview(markups, ANATOMY, initials, lambda: TIME)


def test_every_artery_is_listed_with_what_was_traced() -> None:
    rows = {row.code: row for row in reviewing(make_nodes()).rows()}
    assert list(rows) == [artery.code for artery in ANATOMY.arteries]
    assert (rows[PCOA].state, rows[PCOA].reason, rows["BA"].state) == ("absent", "left out", "present")
    assert all(row.declaration is None and row.steps == 0 for row in rows.values())


def test_what_is_said_is_kept_with_initials_and_taken_back_step_by_step() -> None:
    markups = make_nodes()
    review = reviewing(markups)
    assert review.declare(PCOA, True) and not review.declare(PCOA, True)
    assert review.lead_through(PCOA, MIDDLE)
    assert review.declare(PCOA, False)
    row = review.row(PCOA)
    assert (row.declaration, row.reviewer, row.steps) == (Declaration(PCOA, False), "AB", 3)
    said = [Declaration(PCOA, True, (MIDDLE,)), Declaration(PCOA, True), None]
    for expected in said:
        assert review.revert_to_previous(PCOA)
        assert review.row(PCOA).declaration == expected
    assert not review.revert_to_previous(PCOA) and declared_in(markups, ANATOMY) == {}
    assert markups.GetAttribute(DECLARED) is None
    review.declare("BA", False)
    assert review.leave_to_program("BA") and not review.leave_to_program("BA")
    assert review.revert_to_previous("BA") and review.row("BA").declaration == Declaration("BA", False)


def test_waypoints_are_kept_in_the_order_in_which_the_artery_passes_them() -> None:
    review = reviewing(make_nodes())
    start, end = position("R-C6-C7"), position("R-P1-P2A")
    places = [tuple(float(v) for v in np.round(start + part * (end - start), 3)) for part in (0.5, 0.9, 0.1)]
    for place in places:
        review.lead_through(PCOA, place)
    assert review.row(PCOA).declaration == Declaration(PCOA, True, (places[2], places[0], places[1]))


@pytest.mark.parametrize(
    ("place", "message"), [((500.0, 0.0, 0.0), "outside the scan"), ((-25.0, 19.0, 2.0), "nearer")]
)
def test_a_waypoint_in_the_wrong_place_is_refused_and_nothing_is_said(
    place: tuple[float, float, float], message: str
) -> None:
    review = reviewing(make_nodes())
    with pytest.raises(AnnotationError, match=message):
        review.lead_through(PCOA, place)
    assert review.row(PCOA).declaration is None and review.row(PCOA).steps == 0


def test_the_steps_of_landmarks_and_arteries_do_not_disturb_each_other() -> None:
    markups = make_nodes()
    landmarks, arteries = Review(markups, ANATOMY, "AB"), reviewing(markups)
    landmarks.accept("BA-T")
    arteries.declare("BA", False)
    landmarks.mark_absent("BA-T")
    assert landmarks.revert_to_previous("BA-T") and arteries.row("BA").steps == 1
    assert arteries.revert_to_previous("BA") and landmarks.row("BA-T").steps == 1


def test_a_saved_and_loaded_scene_holds_what_was_said_and_how_to_take_it_back(tmp_path: Path) -> None:
    markups = make_nodes()
    review = reviewing(markups)
    review.declare("ACoA", False)
    review.lead_through(PCOA, MIDDLE)
    save_scene(markups.kept_scene, tmp_path / "scene.mrb")
    scene = load_scene(tmp_path / "scene.mrb")
    (loaded,) = detection_nodes(scene)
    said = {"ACoA": Declaration("ACoA", False), PCOA: Declaration(PCOA, True, (MIDDLE,))}
    assert declared_in(loaded, ANATOMY) == said
    again = reviewing(loaded)
    assert again.row("ACoA").reviewer == "AB"
    assert again.revert_to_previous(PCOA) and again.row(PCOA).declaration is None


def test_waypoints_go_along_with_a_transform_of_the_point_list() -> None:
    markups = make_nodes()
    review = reviewing(markups)
    review.lead_through(PCOA, MIDDLE)
    transform = markups.kept_scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[:3, 3] = (1.0, 2.0, 3.0)
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    for node in (markups, volume_node_of(markups)):
        node.SetAndObserveTransformNodeID(transform.GetID())
    moved = tuple(float(v) for v in np.add(MIDDLE, (1.0, 2.0, 3.0)))
    assert declared_in(markups, ANATOMY)[PCOA].waypoints[0] == pytest.approx(moved)
    review.declare(PCOA, False)
    review.revert_to_previous(PCOA)
    assert review.row(PCOA).declaration.waypoints[0] == pytest.approx(moved, abs=1e-3)


def test_a_delivered_result_brings_what_was_declared() -> None:
    said = {PCOA: Declaration(PCOA, False)}
    markups = make_nodes(said)
    assert declared_in(markups, ANATOMY) == said
    review = reviewing(markups)
    assert review.row(PCOA).steps == 0
    review.declare(PCOA, True)
    assert review.revert_to_previous(PCOA) and review.row(PCOA).declaration == said[PCOA]


def test_what_was_said_is_in_exported_files_and_cases_and_comes_back_from_them(tmp_path: Path) -> None:
    markups = make_nodes()
    review = reviewing(markups)
    review.lead_through(PCOA, MIDDLE)
    review.declare("ACoA", False)
    said = declared_in(markups, ANATOMY)
    annotation = annotation_of(markups, ANATOMY)
    list(writing_annotation(tmp_path, "one", annotation, ANATOMY, FileChoice()))
    assert read_declared(tmp_path / "one.mrk.json", ANATOMY) == said
    rows = (tmp_path / "one-arteries.csv").read_text(encoding="utf-8").splitlines()
    assert {row.split(",")[0]: row.rsplit(",", 1)[1] for row in rows if row.startswith(("ACoA", PCOA, "BA"))} == {
        "ACoA": "absent",
        PCOA: "present",
        "BA": "",
    }
    list(adding_to_cohort(markups, ANATOMY, tmp_path / "cohort", "case-1"))
    assert read_declared(tmp_path / "cohort" / "case-1" / "landmarks.mrk.json", ANATOMY) == said
    nodes = add_given_file(markups.kept_scene, volume_node_of(markups), tmp_path / "one.mrk.json", ANATOMY)
    assert declared_in(nodes.markups, ANATOMY) == said


@pytest.mark.parametrize("text", ["{", '[{"code": "mine", "presence": "absent"}]', '{"a": 1}'])
def test_a_damaged_attribute_is_reported_in_a_sentence(text: str) -> None:
    markups = make_nodes()
    markups.SetAttribute(DECLARED, text)
    with pytest.raises(AnnotationError, match=r"The point list 'tubes landmarks'.* remove|use one of"):
        reviewing(markups).rows()


def test_a_damaged_history_is_reported_in_a_sentence() -> None:
    markups = make_nodes()
    review = reviewing(markups)
    review.lead_through(PCOA, MIDDLE)
    table = markups.GetNodeReference("CoWLandmarks.history").GetTable()
    table.GetColumnByName("position").SetValue(1, "1.0 2.0")
    with pytest.raises(AnnotationError, match="is damaged"):
        review.row(PCOA)


class Clicks:
    """A placement in a scene with a slice view, and what came of it."""

    def __init__(self) -> None:
        self.markups = make_nodes()
        self.scene = self.markups.kept_scene
        self.ended: list[tuple[str, Any]] = []
        self.placement = WaypointPlacement(lambda code, place: self.ended.append((code, place)))
        self.view = SliceView(self.scene, MIDDLE)
        self.interaction = self.scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")

    def lists(self) -> int:
        return int(self.scene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode"))


def test_one_click_in_a_slice_view_gives_a_waypoint_and_leaves_no_list_behind() -> None:
    clicks = Clicks()
    before = clicks.lists()
    clicks.placement.start(PCOA, clicks.scene)
    assert clicks.placement.code == PCOA
    place = (MIDDLE[0] + 2.0, MIDDLE[1] - 3.0, MIDDLE[2])
    clicks.view.click(place)
    ((code, found),) = clicks.ended
    assert code == PCOA and found == pytest.approx(place, abs=0.3)
    assert clicks.interaction.GetCurrentInteractionMode() != clicks.interaction.Place
    clicks.placement.discard()
    assert clicks.lists() == before


def test_place_mode_that_is_left_or_broken_off_gives_no_waypoint() -> None:
    clicks = Clicks()
    before = clicks.lists()
    clicks.placement.start(PCOA, clicks.scene)
    clicks.interaction.SwitchToViewTransformMode()  # Escape in a view
    clicks.placement.start(PCOA, clicks.scene)
    clicks.placement.start("BA", clicks.scene)
    clicks.placement.cancel()
    clicks.placement.cancel()
    assert clicks.ended == [(PCOA, None), (PCOA, None), ("BA", None)]
    clicks.placement.discard()
    assert clicks.lists() == before
    assert json.loads(clicks.markups.GetAttribute(DECLARED) or "[]") == []
