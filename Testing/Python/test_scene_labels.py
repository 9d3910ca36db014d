"""Which landmarks are labelled in 3-D views, in the scene and by the section Review."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("SlicerStandIn", reason="needs slicer-core and PySide6", exc_type=ImportError)

import slicer
from CoWLandmarksLib.scene.landmark_labels import LABELS, SELECTED_TEXT_SCALE, TEXT_SCALE, hide_labels, show_labels
from CoWLandmarksLib.scene.nodes import detection_nodes
from CoWLandmarksLib.scene.results import set_shown
from CoWLandmarksLib.scene.scene_files import load_scene, save_scene
from panel_desk import ABSENT, POINTS, UNCERTAIN, Desk


def lists(scene: Any) -> dict[str, Any]:
    count = scene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode")
    nodes = [scene.GetNthNodeByClass(index, "vtkMRMLMarkupsFiducialNode") for index in range(count)]
    return {node.GetAttribute(LABELS): node for node in nodes if node.GetAttribute(LABELS)}


def labelled(desk: Desk) -> dict[str, float]:
    """Codes that a 3-D view labels, with the size of their texts."""
    found: dict[str, float] = {}
    for node in (desk.markups, *lists(desk.scene).values()):
        displays = [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]
        for display in displays:
            if display.GetVisibility() and display.GetVisibility3D() and display.GetPointLabelsVisibility():
                for index in range(node.GetNumberOfControlPoints()):
                    if node.GetNthControlPointPositionStatus(index) == node.PositionDefined:
                        code = node.GetNthControlPointLabel(index)
                        found[code] = max(found.get(code, 0.0), display.GetTextScale())
    return found


def labelled_in_slices(desk: Desk) -> bool:
    displays = [desk.markups.GetNthDisplayNode(index) for index in range(desk.markups.GetNumberOfDisplayNodes())]
    return [d.GetPointLabelsVisibility() for d in displays if d.GetVisibility() and d.GetVisibility2D()] == [1]


def test_only_the_selected_and_the_doubtful_landmarks_are_labelled_in_3d(desk: Desk) -> None:
    assert len(labelled(desk)) == 17, "before"
    desk.start_review()
    assert labelled(desk) == {UNCERTAIN: SELECTED_TEXT_SCALE}
    desk.review.select("L-C4-C5")
    assert labelled(desk) == {UNCERTAIN: TEXT_SCALE, "L-C4-C5": SELECTED_TEXT_SCALE}
    assert labelled_in_slices(desk)
    desk.review.select(ABSENT)
    assert labelled(desk) == {UNCERTAIN: TEXT_SCALE}, "there is nothing to label"
    desk.review.select(UNCERTAIN)
    desk.ui.acceptButton.click()
    desk.review.select("L-C4-C5")
    assert labelled(desk) == {"L-C4-C5": SELECTED_TEXT_SCALE}, "it is not doubtful any more"


def test_a_switch_labels_all_and_is_kept_on_this_computer(desk: Desk) -> None:
    desk.start_review()
    desk.review.select("L-C4-C5")
    desk.ui.allLabelsCheckBox.click()
    found = labelled(desk)
    assert len(found) == 17 and {code for code, size in found.items() if size > TEXT_SCALE} == {"L-C4-C5"}
    another = Desk(desk.application)
    assert another.ui.allLabelsCheckBox.checked
    desk.ui.allLabelsCheckBox.click()
    assert set(labelled(desk)) == {UNCERTAIN, "L-C4-C5"}


def test_a_label_goes_along_with_its_point_while_it_is_dragged(desk: Desk) -> None:
    desk.start_review()
    desk.review.select("L-C4-C5")
    index = next(n for n in range(19) if desk.markups.GetNthControlPointLabel(n) == "L-C4-C5")
    desk.markups.InvokeEvent(desk.markups.PointStartInteractionEvent)
    place = [value + 4.0 for value in POINTS[index]]
    desk.markups.SetNthControlPointPositionWorld(index, *place)
    assert list(lists(desk.scene)["selected"].GetNthControlPointPositionWorld(0)) == pytest.approx(place)
    desk.markups.InvokeEvent(desk.markups.PointEndInteractionEvent)


def test_the_labels_of_a_result_that_is_hidden_or_left_are_gone(desk: Desk) -> None:
    desk.start_review()
    set_shown(desk.markups, False)
    assert labelled(desk) == {}
    set_shown(desk.markups, True)
    assert set(labelled(desk)) == {UNCERTAIN}
    desk.review.setDetection(None)
    assert all(node.GetNumberOfControlPoints() == 0 for node in lists(desk.scene).values())


def test_labels_are_no_result_and_are_not_saved(desk: Desk, tmp_path: Path) -> None:
    desk.start_review()
    desk.review.select("L-C4-C5")
    made = lists(desk.scene)
    assert set(made) == {"doubtful", "selected"}
    assert all(node.GetLocked() and node.GetHideFromEditors() for node in made.values())
    assert detection_nodes(desk.scene) == [desk.markups]
    save_scene(desk.scene, tmp_path / "scene.mrb")
    loaded = load_scene(tmp_path / "scene.mrb")
    assert lists(loaded) == {}
    (markups,) = detection_nodes(loaded)
    assert markups.GetNumberOfDisplayNodes() == 2
    desk.review.setDetection(None)
    desk.review.setDetection(desk.markups)
    assert desk.markups.GetNumberOfDisplayNodes() == 2, "found again"


def test_the_list_in_which_a_person_places_points_stays_the_active_one(desk: Desk) -> None:
    logic = slicer.vtkSlicerMarkupsLogic()
    logic.SetMRMLScene(desk.scene)
    own = desk.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "own")
    selection = desk.scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
    assert selection.GetActivePlaceNodeID() == own.GetID(), "a list that somebody adds becomes the active one"
    show_labels(desk.markups, "L-C4-C5")
    show_labels(desk.markups, ABSENT)
    assert selection.GetActivePlaceNodeID() == own.GetID()
    assert all(node.GetFixedNumberOfControlPoints() for node in lists(desk.scene).values())
    hide_labels(desk.scene)
    assert selection.GetActivePlaceNodeID() == own.GetID()
    logic.SetMRMLScene(None)
