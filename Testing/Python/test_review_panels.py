"""The section Review of the panel, driven through its widgets on real MRML scenes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("SlicerStandIn", reason="needs slicer-core and PySide6", exc_type=ImportError)

from CoWLandmarksLib.files.markups import write_annotation
from CoWLandmarksLib.scene.nodes import add_detection, detection_nodes
from CoWLandmarksLib.scene.scene_files import load_scene, save_scene
from example_detection import ANATOMY
from panel_desk import (
    ABSENT,
    BUTTONS,
    OUTSIDE,
    POINTS,
    UNCERTAIN,
    Desk,
    finish_editing,
    make_detection,
    nothing_selected,
)
from slice_view import SliceView


def test_without_a_detection_the_section_says_what_to_do(desk: Desk) -> None:
    assert desk.ui.emptyLabel.visible and not desk.ui.reviewFrame.visible
    assert "detect the landmarks" in desk.ui.emptyLabel.text
    assert desk.review.markupsNode is None and desk.review.selectedCode is None


def test_the_doubtful_landmarks_come_first_and_the_first_is_selected(desk: Desk) -> None:
    desk.start_review()
    assert desk.ui.reviewFrame.visible and not desk.ui.emptyLabel.visible
    table = desk.ui.landmarkTable
    assert table.rowCount == 19
    states = [table.item(row, 2).text() for row in range(4)]
    assert states == ["to check", "absent", "outside", "found"]
    assert desk.review.selectedCode == UNCERTAIN
    assert desk.ui.progressLabel.text == "0 of 19 reviewed" and desk.ui.reviewProgressBar.value == 0
    assert not desk.markups.GetLocked()


def test_the_definition_and_the_drawing_follow_the_selection(desk: Desk) -> None:
    desk.start_review()
    first = drawing(desk)
    assert ANATOMY.landmark(UNCERTAIN).definition[:40] in desk.ui.definitionEdit.plainText
    desk.review.select("R-M1-M2")
    text = desk.ui.definitionEdit.plainText
    assert ANATOMY.landmark("R-M1-M2").name in text and "If not visible:" in text
    assert drawing(desk) != first


def test_the_table_fits_a_narrow_panel_and_tells_names_in_full_in_tooltips(desk: Desk) -> None:
    desk.start_review()
    window = desk.ui.landmarkTable.window()
    window.resize(360, 900)
    desk.application.process_events()
    table = desk.ui.landmarkTable
    assert table.horizontalScrollBar().maximum() == 0 and table.width <= 360
    labels = {"to check", "absent", "outside", "corrected", "found"}
    assert max(table.fontMetrics().horizontalAdvance(label) for label in labels) < table.columnWidth(2)
    names = [table.item(row, 1).text() for row in range(19)]
    assert "R-A1-A2 junction" in names and "L-ICA-T terminus" in names and "BA-T Basilar tip" in names
    assert max(table.fontMetrics().horizontalAdvance(name) for name in names) < table.columnWidth(1)
    tips = {table.item(row, 1).toolTip() for row in range(19)}
    window.resize(298, 900)  # what a panel of 360 leaves to its sections
    desk.application.process_events()
    assert table.horizontalScrollBar().maximum() == 0
    assert max(table.fontMetrics().horizontalAdvance(f"{code}...") for code in ANATOMY.codes) < table.columnWidth(1)
    assert tips == {f"{landmark.code}: {landmark.name}" for landmark in ANATOMY.landmarks}


def test_nothing_moves_when_a_message_comes_or_goes(desk: Desk) -> None:
    from PySide6 import QtCore

    desk.start_review()
    window = desk.ui.landmarkTable.window()
    window.resize(360, 900)
    desk.ui.acceptButton.click()

    def places() -> list[tuple[int, int]]:
        desk.application.process_events()
        widgets = [getattr(desk.ui, name) for name in (*BUTTONS.values(), "reopenButton", "landmarkTable")]
        points = [widget.mapTo(window, QtCore.QPoint(0, 0)) for widget in widgets]
        return [(point.x(), point.y()) for point in points]

    before = places()
    desk.ui.replaceButton.click()
    assert desk.ui.messageLabel.text and places() == before
    desk.ui.replaceButton.click()
    assert not desk.ui.messageLabel.text and places() == before
    assert max(y for _x, y in before[:-1]) < before[-1][1], "all buttons are above the table"


def test_the_buttons_are_above_the_fold_of_a_screen_of_1080_lines(desk: Desk, tmp_path: Path) -> None:
    from PySide6 import QtCore

    widget = desk.application.load_module("CoWLandmarks")
    widget.ui.inputSelector.setCurrentNode(desk.volume)
    widget.panel.refresh()
    desk.application.grab(widget.parent, tmp_path / "panel.png", 360)
    review = widget.panel.review.ui
    ends = [
        button.mapTo(widget.parent, QtCore.QPoint(0, button.height)).y()
        for button in (getattr(review, name) for name in BUTTONS.values())
    ]
    assert max(ends) < 700  # of 1080 lines the application leaves some 750 to a panel


def test_with_nothing_selected_previous_and_next_begin_at_the_ends(desk: Desk) -> None:
    desk.start_review()
    nothing_selected(desk)
    desk.ui.previousButton.click()
    assert desk.ui.landmarkTable.currentRow() == 18
    nothing_selected(desk)
    desk.ui.nextButton.click()
    assert desk.ui.landmarkTable.currentRow() == 0


def drawing(desk: Desk) -> bytes:
    image = desk.ui.schematicLabel.pixmap.toImage()
    return bytes(image.pixel(x, y) % 251 for x in range(0, image.width(), 2) for y in range(0, image.height(), 2))


def test_selecting_a_row_brings_slices_and_cameras_there(desk: Desk) -> None:
    view = SliceView(desk.scene, (0.0, 0.0, 0.0))
    camera = desk.scene.AddNewNodeByClass("vtkMRMLCameraNode")
    desk.start_review()
    desk.review.select("R-M1-M2")
    place = desk.landmark("R-M1-M2").position
    assert [view.node.GetSliceToRAS().GetElement(row, 3) for row in range(3)] == pytest.approx(place)
    assert camera.GetFocalPoint() == pytest.approx(place)
    desk.review.select(ABSENT)  # there one has to look where it would be
    assert np.linalg.norm(np.subtract(camera.GetFocalPoint(), POINTS[ANATOMY.index(ABSENT)])) < 15.0


def test_next_and_previous_go_round(desk: Desk) -> None:
    desk.start_review()
    desk.ui.nextButton.click()
    assert desk.review.selectedCode == ABSENT
    desk.ui.previousButton.click()
    desk.ui.previousButton.click()
    table = desk.ui.landmarkTable
    assert table.currentRow() == 18
    desk.ui.nextButton.click()
    assert desk.review.selectedCode == UNCERTAIN


def test_accepting_locks_counts_and_goes_on(desk: Desk) -> None:
    desk.start_review()
    desk.ui.acceptButton.click()
    assert desk.changes == [(UNCERTAIN,)]  # to check -> found
    assert desk.cells(UNCERTAIN)[2] == "found" and desk.cells(UNCERTAIN)[5] == "AB"
    assert desk.markups.GetNthControlPointLocked(ANATOMY.index(UNCERTAIN))
    assert desk.review.selectedCode == ABSENT
    assert desk.ui.progressLabel.text == "1 of 19 reviewed" and desk.ui.reviewProgressBar.value == 1
    desk.ui.acceptButton.click()
    assert desk.changes == [(UNCERTAIN,)]  # absent it was already


def test_an_accepted_landmark_can_be_reopened_by_a_button_of_its_own(desk: Desk) -> None:
    desk.start_review()
    assert not desk.ui.reopenButton.enabled
    desk.ui.acceptButton.click()
    desk.review.select(UNCERTAIN)
    assert "Reviewed by AB" in desk.ui.definitionEdit.plainText
    desk.ui.acceptButton.click()  # a second time by accident
    assert desk.landmark(UNCERTAIN).reviewed and desk.ui.acceptButton.text == "Accept"
    assert "accepted already" in desk.ui.messageLabel.text
    desk.ui.reopenButton.click()
    assert not desk.ui.reopenButton.enabled and desk.ui.progressLabel.text == "0 of 19 reviewed"
    assert not desk.markups.GetNthControlPointLocked(ANATOMY.index(UNCERTAIN))


def test_when_all_are_reviewed_it_says_what_comes_next(desk: Desk) -> None:
    desk.start_review()
    for _ in range(19):
        desk.ui.acceptButton.click()
    assert desk.ui.progressLabel.text == "19 of 19 reviewed"
    assert desk.ui.messageLabel.visible and "All landmarks are reviewed" in desk.ui.messageLabel.text
    assert desk.markups.GetAttribute("CoWLandmarks.reviewed") == "1"


@pytest.mark.parametrize(("button", "state"), [("absentButton", "absent"), ("outsideButton", "outside")])
def test_a_landmark_is_said_not_to_be_there_and_taken_back(desk: Desk, button: str, state: str) -> None:
    desk.start_review()
    desk.review.select("R-M1-M2")
    assert not desk.ui.undoButton.enabled and not desk.ui.detectedButton.enabled
    getattr(desk.ui, button).click()
    assert desk.cells("R-M1-M2")[2] == state and desk.changes == [("R-M1-M2",)]
    assert desk.review.selectedCode != "R-M1-M2"
    desk.review.select("R-M1-M2")
    assert not desk.ui.byRuleCheckBox.enabled
    desk.ui.undoButton.click()
    assert desk.cells("R-M1-M2")[2] == "found" and desk.changes == [("R-M1-M2",)] * 2
    assert not desk.ui.undoButton.enabled


def test_one_click_in_a_view_sets_a_landmark_anew(desk: Desk) -> None:
    desk.start_review()
    view = SliceView(desk.scene, (0.0, 10.0, 2.0))
    desk.ui.replaceButton.click()
    assert desk.ui.replaceButton.text == "Cancel" and UNCERTAIN in desk.ui.messageLabel.text
    assert desk.interaction.GetCurrentInteractionMode() == desk.interaction.Place
    view.click((10.0, 14.0, 2.0))
    assert desk.landmark(UNCERTAIN).position == pytest.approx((10.0, 14.0, 2.0), abs=0.3)
    assert desk.changes == [(UNCERTAIN,)] and desk.ui.replaceButton.text == "Re-place"
    assert desk.cells(UNCERTAIN)[2] == "corrected"
    assert desk.interaction.GetCurrentInteractionMode() != desk.interaction.Place


@pytest.mark.parametrize("way", ["button", "escape", "other row", "other button"])
def test_re_placing_is_broken_off_in_any_way(desk: Desk, way: str) -> None:
    desk.start_review()
    before = desk.landmark(UNCERTAIN)
    desk.ui.replaceButton.click()
    if way == "button":
        desk.ui.replaceButton.click()
    elif way == "escape":
        desk.interaction.SwitchToViewTransformMode()
    elif way == "other row":
        desk.review.select("R-M1-M2")
    else:
        desk.ui.byRuleCheckBox.click()
        before = replace(before, by_rule=True)
    assert desk.landmark(UNCERTAIN) == before
    assert desk.ui.replaceButton.text == "Re-place" and desk.changes == []
    assert desk.interaction.GetCurrentInteractionMode() != desk.interaction.Place


def test_a_point_dragged_in_a_view_is_corrected_selected_reported_once_and_taken_back(desk: Desk) -> None:
    desk.start_review()
    start = desk.landmark("R-ICA-T").position
    view = SliceView(desk.scene, start)
    view.drag(start, (start[0] + 8.0, start[1], start[2]))
    assert desk.changes == [("R-ICA-T",)]
    assert desk.review.selectedCode == "R-ICA-T" and desk.cells("R-ICA-T")[2] == "corrected"
    assert "R-ICA-T moved" in desk.ui.messageLabel.text
    camera = desk.scene.AddNewNodeByClass("vtkMRMLCameraNode")
    desk.ui.undoButton.click()
    assert [view.node.GetSliceToRAS().GetElement(row, 3) for row in range(3)] == pytest.approx(start)
    assert camera.GetFocalPoint() == pytest.approx(start)
    assert desk.landmark("R-ICA-T").position == pytest.approx(start)
    assert not desk.landmark("R-ICA-T").corrected and desk.changes == [("R-ICA-T",)] * 2


def test_an_accepted_point_cannot_be_dragged(desk: Desk) -> None:
    desk.start_review()
    desk.review.select("R-ICA-T")
    desk.ui.acceptButton.click()
    start = desk.landmark("R-ICA-T").position
    view = SliceView(desk.scene, start)
    view.drag(start, (start[0] + 8.0, start[1], start[2]))
    assert desk.landmark("R-ICA-T").position == start and desk.changes == []


def test_a_point_moved_by_a_script_is_noticed(desk: Desk) -> None:
    desk.start_review()
    desk.markups.SetNthControlPointPosition(ANATOMY.index("R-ICA-T"), 1.0, 2.0, 3.0)
    assert desk.changes == [("R-ICA-T",)] and desk.landmark("R-ICA-T").corrected
    desk.ui.detectedButton.click()
    assert desk.landmark("R-ICA-T") == make_detection().landmark("R-ICA-T")


def test_points_moved_before_the_review_are_reported_when_it_begins(desk: Desk) -> None:
    desk.markups.SetNthControlPointPosition(ANATOMY.index("R-ICA-T"), 1.0, 2.0, 3.0)
    desk.start_review()
    assert desk.changes == [("R-ICA-T",)]


def test_the_fallback_rule_is_noted(desk: Desk) -> None:
    desk.start_review()
    desk.ui.byRuleCheckBox.click()
    assert desk.landmark(UNCERTAIN).by_rule and desk.changes == []
    desk.ui.undoButton.click()
    assert not desk.ui.byRuleCheckBox.checked


def test_the_user_s_sorting_and_selection_stay_while_working(desk: Desk) -> None:
    desk.start_review()
    desk.ui.landmarkTable.sortItems(1)
    names = [desk.ui.landmarkTable.item(row, 1).text() for row in range(19)]
    assert names == sorted(names) and {name.split()[0] for name in names} == set(ANATOMY.codes)
    desk.review.select("R-M1-M2")
    desk.ui.undoButton.click()
    desk.ui.byRuleCheckBox.click()
    assert [desk.ui.landmarkTable.item(row, 1).text() for row in range(19)] == names
    assert desk.review.selectedCode == "R-M1-M2"


def test_initials_are_asked_for_and_kept_on_this_computer(desk: Desk) -> None:
    desk.start_review("")
    desk.ui.acceptButton.click()
    assert "initials" in desk.ui.messageLabel.text and desk.cells(UNCERTAIN)[5] == "yes"
    desk.ui.initialsEdit.text = " QX "
    finish_editing(desk.ui.initialsEdit)
    desk.ui.acceptButton.click()
    assert desk.cells(ABSENT)[5] == "QX"
    from CoWLandmarksPanel.review_panel import ReviewPanel

    assert ReviewPanel(desk.application.container(), ANATOMY).ui.initialsEdit.text == "QX"


def test_leaving_a_detection_locks_its_points(desk: Desk) -> None:
    desk.start_review()
    desk.ui.replaceButton.click()
    other = add_detection(desk.scene, desk.volume, make_detection(), ANATOMY).markups
    desk.review.setDetection(other)
    assert desk.markups.GetLocked() and not other.GetLocked()
    assert desk.landmark(UNCERTAIN) == make_detection().landmark(UNCERTAIN)
    desk.review.setDetection(None)
    assert other.GetLocked() and desk.ui.emptyLabel.visible
    desk.markups.SetNthControlPointPosition(0, 1.0, 2.0, 3.0)
    assert desk.changes == []


@pytest.mark.parametrize("placing", [False, True])
def test_a_detection_that_leaves_the_scene_leaves_the_panel(desk: Desk, placing: bool) -> None:
    desk.start_review()
    if placing:
        desk.ui.replaceButton.click()
    desk.scene.RemoveNode(desk.markups)
    assert desk.review.markupsNode is None and desk.ui.emptyLabel.visible
    for button in (desk.ui.acceptButton, desk.ui.nextButton, desk.ui.undoButton, desk.ui.replaceButton):
        button.click()
    desk.review.cleanup()


def test_a_closed_scene_and_a_second_clean_up_do_no_harm(desk: Desk) -> None:
    desk.start_review()
    desk.scene.Clear(0)
    assert desk.review.markupsNode is None
    for panel in (desk.review, desk.export, desk.compare):
        panel.cleanup()
        panel.cleanup()


def test_a_lost_landmark_is_reported_in_a_sentence(desk: Desk) -> None:
    desk.start_review()
    desk.markups.SetNthControlPointLabel(0, "mine")
    desk.review.refresh()
    assert "has lost the landmarks R-A2-A3" in desk.ui.messageLabel.text
    desk.review.setDetection(None)
    desk.review.setDetection(desk.markups)
    assert "has lost the landmarks R-A2-A3" in desk.ui.messageLabel.text and desk.ui.emptyLabel.visible


def test_the_review_goes_on_after_saving_and_loading(desk: Desk, tmp_path: Path) -> None:
    desk.start_review()
    desk.ui.acceptButton.click()
    desk.ui.absentButton.click()
    desk.review.setDetection(None)
    save_scene(desk.scene, tmp_path / "scene.mrb")
    loaded = load_scene(tmp_path / "scene.mrb")
    desk.review.setDetection(detection_nodes(loaded)[0])
    assert desk.ui.progressLabel.text == "2 of 19 reviewed"
    assert desk.review.selectedCode == OUTSIDE  # the first that is open
    desk.review.select(UNCERTAIN)
    assert "Reviewed by AB" in desk.ui.definitionEdit.plainText
    desk.ui.undoButton.click()
    assert desk.cells(UNCERTAIN)[2] == "to check"
    desk.review.setDetection(None)


def test_landmarks_of_a_file_are_loaded_for_review(desk: Desk, tmp_path: Path) -> None:
    write_annotation(tmp_path / "other.mrk.json", make_detection().landmarks[:12], ANATOMY, {"annotator": "ZZ"})
    desk.ui.loadGroupBox.collapsed = False
    desk.ui.loadVolumeComboBox.setCurrentNode(None)
    desk.ui.loadButton.click()
    assert "Choose the scan and the file" in desk.ui.loadMessageLabel.text
    desk.ui.loadVolumeComboBox.setCurrentNode(desk.volume)
    desk.ui.loadFileEdit.currentPath = str(tmp_path / "none.mrk.json")
    desk.ui.loadButton.click()
    assert "cannot be read" in desk.ui.loadMessageLabel.text and len(detection_nodes(desk.scene)) == 1
    desk.ui.loadFileEdit.currentPath = str(tmp_path / "other.mrk.json")
    desk.ui.loadButton.click()
    assert desk.review.markupsNode is detection_nodes(desk.scene)[1]
    assert desk.review.markupsNode.GetAttribute("CoWLandmarks.annotator") == "ZZ"
    assert "can be reviewed now" in desk.ui.loadMessageLabel.text and not desk.ui.loadMessageLabel.isHidden()
    assert desk.review.markupsNode.GetName() == "scan landmarks (from other.mrk.json)"
    assert desk.review.markupsNode.GetDisplayVisibility()
    assert not desk.markups.GetDisplayVisibility()  # or they would lie over each other
