"""The sections Review, Export and Compare of the panel, driven through their widgets on real MRML scenes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("SlicerStandIn", reason="needs slicer-core and PySide6", exc_type=ImportError)

from cohort_cases import bead_image, estimates, places
from CoWLandmarksLib.detection import Detection, LandmarkState, Verdict
from CoWLandmarksLib.markups import read_annotation, write_annotation
from CoWLandmarksLib.modality import Modality
from CoWLandmarksLib.scene import add_detection, add_volume, detection_nodes, read_detection
from CoWLandmarksLib.scene_files import load_scene, save_scene
from example_detection import ANATOMY
from slice_view import SliceView
from SlicerStandIn import Application

POINTS = places(ANATOMY, np.random.default_rng(5))
ABSENT, OUTSIDE, UNCERTAIN = "L-A1-A2", "R-A2-A3", "BA-T"
"""The three most doubtful landmarks of the example; in the table the uncertain one comes first."""


def make_detection() -> Detection:
    rng = np.random.default_rng(1)
    landmarks = {
        estimate.code: replace(estimate, confidence=float(rng.uniform(0.5, 1.0)), error_mm=float(rng.uniform(0.4, 3.0)))
        for estimate in estimates(ANATOMY, POINTS)
    }
    for code, state in ((ABSENT, LandmarkState.ABSENT), (OUTSIDE, LandmarkState.OUTSIDE)):
        landmarks[code] = replace(landmarks[code], position=None, state=state)
    landmarks[UNCERTAIN] = replace(landmarks[UNCERTAIN], state=LandmarkState.UNCERTAIN)
    return Detection("scan", Modality.MRA, Verdict.REVIEW, (), tuple(landmarks.values()), np.eye(4))


def finish_editing(edit: Any) -> None:
    """What Enter does in a line."""
    edit.editingFinished.emit()


class Desk:
    """A scene with one detection, and the three panels."""

    def __init__(self, application: Application) -> None:
        from CoWLandmarksPanel.compare_panel import ComparePanel
        from CoWLandmarksPanel.export_panel import ExportPanel
        from CoWLandmarksPanel.review_panel import ReviewPanel

        self.application = application
        self.scene = application.scene
        self.volume = add_volume(self.scene, replace(bead_image(POINTS), name="scan", modality=Modality.MRA))
        self.markups = add_detection(self.scene, self.volume, make_detection(), ANATOMY).markups
        self.review = ReviewPanel(application.container(), ANATOMY)
        self.export = ExportPanel(application.container(), ANATOMY)
        self.compare = ComparePanel(application.container(), ANATOMY)
        self.changes: list[tuple[str, ...]] = []
        self.review.onLandmarksChanged = lambda node, codes: self.changes.append(codes)
        self.interaction = self.scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        application.process_events()  # what was added to a window that is shown appears

    @property
    def ui(self) -> Any:
        return self.review.ui

    def landmark(self, code: str) -> Any:
        return read_detection(self.markups, ANATOMY).landmark(code)

    def start_review(self, initials: str = "AB") -> None:
        self.ui.initialsEdit.text = initials
        finish_editing(self.ui.initialsEdit)
        self.review.setDetection(self.markups)

    def cells(self, code: str) -> list[str]:
        table = self.ui.landmarkTable
        for row in range(table.rowCount):
            texts = [table.item(row, column).text() for column in range(table.columnCount)]
            if texts[1] == ANATOMY.landmark(code).name:
                return texts
        raise AssertionError(code)

    def finish(self, running: Callable[[], bool]) -> None:
        self.application.spin_until(lambda: not running())


@pytest.fixture
def desk(application: Application) -> Desk:
    return Desk(application)


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


def test_every_button_has_a_key_that_works_while_the_section_is_seen(desk: Desk) -> None:
    from PySide6 import QtCore, QtTest, QtWidgets

    desk.start_review()
    window = desk.ui.landmarkTable.window()
    window.activateWindow()
    QtTest.QTest.qWaitForWindowActive(QtWidgets.QWidget.windowHandle(window))

    def press(key: str) -> None:
        QtTest.QTest.keyClick(desk.ui.landmarkTable, key, QtCore.Qt.ShiftModifier)
        QtTest.QTest.qWait(200)  # a key holds a button down for a tenth of a second

    press("n")
    assert desk.review.selectedCode == ABSENT
    press("p")
    press("a")
    assert desk.landmark(UNCERTAIN).reviewed and desk.review.selectedCode == ABSENT
    press("o")
    assert desk.landmark(ABSENT).state is LandmarkState.OUTSIDE and desk.review.selectedCode == OUTSIDE
    press("x")
    assert desk.landmark(OUTSIDE).state is LandmarkState.ABSENT
    desk.review.select(ABSENT)
    press("z")
    assert desk.landmark(ABSENT).state is LandmarkState.ABSENT
    desk.review.select(OUTSIDE)
    press("d")
    assert desk.landmark(OUTSIDE).state is LandmarkState.OUTSIDE
    press("r")
    assert desk.interaction.GetCurrentInteractionMode() == desk.interaction.Place
    QtTest.QTest.keyClick(desk.ui.initialsEdit, "A", QtCore.Qt.ShiftModifier)
    assert desk.ui.initialsEdit.text == "ABA" and not desk.landmark(OUTSIDE).reviewed  # typed, no command


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


def test_an_accepted_landmark_can_be_reopened(desk: Desk) -> None:
    desk.start_review()
    desk.ui.acceptButton.click()
    desk.review.select(UNCERTAIN)
    assert desk.ui.acceptButton.text == "Reopen" and "Reviewed by AB" in desk.ui.definitionEdit.plainText
    desk.ui.acceptButton.click()
    assert desk.ui.acceptButton.text == "Accept" and desk.ui.progressLabel.text == "0 of 19 reviewed"
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


def test_a_point_dragged_in_a_view_is_corrected_selected_told_once_and_taken_back(desk: Desk) -> None:
    desk.start_review()
    start = desk.landmark("R-ICA-T").position
    view = SliceView(desk.scene, start)
    view.drag(start, (start[0] + 8.0, start[1], start[2]))
    assert desk.changes == [("R-ICA-T",)]
    assert desk.review.selectedCode == "R-ICA-T" and desk.cells("R-ICA-T")[2] == "corrected"
    assert "R-ICA-T moved" in desk.ui.messageLabel.text
    desk.ui.undoButton.click()
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


def test_points_moved_before_the_review_are_told_when_it_begins(desk: Desk) -> None:
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
    assert names == sorted(landmark.name for landmark in ANATOMY.landmarks)
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


def test_a_lost_landmark_is_told_in_words(desk: Desk) -> None:
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
    assert "Choose the scan and the file" in desk.ui.messageLabel.text
    desk.ui.loadVolumeComboBox.setCurrentNode(desk.volume)
    desk.ui.loadFileEdit.currentPath = str(tmp_path / "none.mrk.json")
    desk.ui.loadButton.click()
    assert "cannot be read" in desk.ui.messageLabel.text and len(detection_nodes(desk.scene)) == 1
    desk.ui.loadFileEdit.currentPath = str(tmp_path / "other.mrk.json")
    desk.ui.loadButton.click()
    assert desk.review.markupsNode is detection_nodes(desk.scene)[1]
    assert desk.review.markupsNode.GetAttribute("CoWLandmarks.annotator") == "ZZ"
    assert "can be reviewed now" in desk.ui.messageLabel.text


def test_files_are_exported_and_not_replaced_without_a_question(desk: Desk, tmp_path: Path) -> None:
    ui = desk.export.ui
    assert ui.exportEmptyLabel.visible and not ui.exportFrame.visible
    desk.export.setDetection(desk.markups)
    ui.filesButton.click()
    assert "Choose a folder and a name" in ui.exportMessageLabel.text
    ui.folderEdit.currentPath, ui.fileNameEdit.text = str(tmp_path / "out"), "case-7"
    ui.segmentationCheckBox.checked = False
    ui.filesButton.click()
    assert ui.filesButton.text == "Cancel" and ui.exportProgressBar.visible and not ui.cohortButton.enabled
    desk.finish(lambda: desk.export.running)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"case-7.mrk.json", "case-7.csv"}
    assert "Written to" in ui.exportMessageLabel.text and "Only 0 of 19" in ui.exportMessageLabel.text
    before = (tmp_path / "out" / "case-7.csv").read_bytes()
    desk.markups.SetNthControlPointPosition(5, 1.0, 2.0, 3.0)
    desk.application.answer(False)
    ui.filesButton.click()
    assert "Nothing was written" in ui.exportMessageLabel.text and not desk.export.running
    assert (tmp_path / "out" / "case-7.csv").read_bytes() == before
    desk.application.answer(True)
    ui.filesButton.click()
    desk.finish(lambda: desk.export.running)
    assert (tmp_path / "out" / "case-7.csv").read_bytes() != before


def test_nothing_chosen_means_nothing_to_export(desk: Desk) -> None:
    ui = desk.export.ui
    desk.export.setDetection(desk.markups)
    for box in (ui.landmarksCheckBox, ui.tablesCheckBox, ui.segmentationCheckBox):
        box.click()
    assert not ui.filesButton.enabled
    ui.tablesCheckBox.click()
    assert ui.filesButton.enabled


def test_a_case_goes_into_the_cohort_only_with_consent(desk: Desk, tmp_path: Path) -> None:
    ui = desk.export.ui
    desk.export.setDetection(desk.markups)
    assert "Names, IDs and dates" in ui.consentLabel.text and not ui.cohortButton.enabled
    ui.consentCheckBox.click()
    assert ui.cohortButton.enabled
    ui.cohortEdit.currentPath = ""
    ui.cohortButton.click()
    assert "Choose the folder of the cohort" in ui.exportMessageLabel.text
    ui.cohortEdit.currentPath = str(tmp_path / "cohort")
    assert ui.caseEdit.placeholderText == "case-001"
    ui.cohortButton.click()
    desk.finish(lambda: desk.export.running)
    description = json.loads((tmp_path / "cohort" / "case-001" / "case.json").read_text())
    assert (description["case"], description["reviewed"]) == ("case-001", False)
    assert ui.caseEdit.placeholderText == "case-002"
    for name, said in (("case-001", "is not replaced"), ("a b", "cannot be a pseudonym")):
        ui.caseEdit.text = name
        ui.cohortButton.click()
        desk.finish(lambda: desk.export.running)
        assert said in ui.exportMessageLabel.text
    assert [path.name for path in (tmp_path / "cohort").iterdir()] == ["case-001"]


def test_an_export_is_broken_off_by_a_second_click(desk: Desk, tmp_path: Path) -> None:
    ui = desk.export.ui
    desk.export.setDetection(desk.markups)
    ui.cohortEdit.currentPath = str(tmp_path / "cohort")
    ui.consentCheckBox.click()
    ui.cohortButton.click()
    assert ui.cohortButton.text == "Cancel"
    ui.cohortButton.click()
    assert "Broken off" in ui.exportMessageLabel.text and ui.cohortButton.text == "Add to training cohort"
    assert not (tmp_path / "cohort").exists() or not any((tmp_path / "cohort").iterdir())


def test_consent_is_given_for_one_scan_only(desk: Desk) -> None:
    desk.export.setDetection(desk.markups)
    desk.export.ui.consentCheckBox.click()
    desk.export.ui.caseEdit.text = "mine"
    desk.export.setDetection(desk.markups)
    assert desk.export.ui.consentCheckBox.checked and desk.export.ui.caseEdit.text == "mine"
    desk.export.setDetection(add_detection(desk.scene, desk.volume, make_detection(), ANATOMY).markups)
    assert not desk.export.ui.consentCheckBox.checked and desk.export.ui.caseEdit.text == ""


def test_a_detection_that_leaves_the_scene_during_an_export_is_still_written(desk: Desk, tmp_path: Path) -> None:
    ui = desk.export.ui
    desk.export.setDetection(desk.markups)
    ui.folderEdit.currentPath, ui.fileNameEdit.text = str(tmp_path), "one"
    ui.filesButton.click()
    desk.scene.RemoveNode(desk.markups)
    desk.finish(lambda: desk.export.running)
    assert len(read_annotation(tmp_path / "one.mrk.json", ANATOMY)) == 19
    assert "Written to" in ui.exportMessageLabel.text and ui.exportEmptyLabel.visible


def second_annotation(desk: Desk, mm: float = 3.0) -> Any:
    landmarks = []
    for estimate in make_detection().landmarks:
        if estimate.position is not None:
            r, a, s = estimate.position
            estimate = replace(estimate, position=(r + mm, a, s))
        landmarks.append(estimate)
    detection = replace(make_detection(), landmarks=tuple(landmarks))
    return add_detection(desk.scene, desk.volume, detection, ANATOMY).markups


def test_two_annotators_are_compared_in_a_table(desk: Desk, tmp_path: Path) -> None:
    ui = desk.compare.ui
    second = second_annotation(desk)
    desk.compare.setDetection(desk.markups)
    assert ui.firstComboBox.currentNode() is desk.markups and ui.secondComboBox.currentNode() is second
    assert not ui.compareTable.visible
    ui.compareButton.click()
    assert ui.compareTable.visible and ui.compareTable.rowCount == 19
    assert "17 landmarks placed in both: 3.00 ± 0.00 mm" in ui.compareLabel.text
    row = ANATOMY.index("R-M1-M2")
    assert [ui.compareTable.item(row, column).text() for column in range(1, 5)] == ["placed", "placed", "3.0", "2.0"]
    assert desk.scene.GetFirstNodeByName(f"{desk.markups.GetName()} vs {second.GetName()}") is not None
    ui.saveButton.click()
    assert "Choose a file" in ui.compareLabel.text
    ui.compareFileEdit.currentPath = str(tmp_path / "observers")
    ui.saveButton.click()
    rows = list(csv.reader((tmp_path / "observers.csv").open(encoding="utf-8")))
    assert rows[20][0] == "mean" and rows[20][5] == "3.00"
    desk.application.answer(False)
    before = (tmp_path / "observers.csv").stat().st_mtime_ns
    ui.saveButton.click()
    assert "Nothing was written" in ui.compareLabel.text
    assert (tmp_path / "observers.csv").stat().st_mtime_ns == before


def test_a_comparison_goes_when_another_annotation_is_chosen_and_stays_when_the_scene_changes(desk: Desk) -> None:
    ui = desk.compare.ui
    second_annotation(desk)
    desk.compare.setDetection(desk.markups)
    ui.compareButton.click()
    desk.compare.setDetection(desk.markups)  # what the panel does when anything in the scene changes
    assert ui.compareTable.visible
    ui.secondComboBox.setCurrentNode(desk.markups)
    assert not ui.compareTable.visible
    ui.compareButton.click()
    assert "with itself" in ui.compareLabel.text and not ui.compareTable.visible
