"""The sections Export and Compare of the panel, driven through their widgets on real MRML scenes."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("SlicerStandIn", reason="needs slicer-core and PySide6", exc_type=ImportError)

import slicer
from CoWLandmarksLib.files.markups import read_annotation
from CoWLandmarksLib.scene.nodes import add_detection
from CoWLandmarksPanel.export_panel import COHORT_FOLDER
from example_detection import ANATOMY
from panel_desk import Desk, make_detection
from qt import QSettings


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


def test_an_export_that_fails_unexpectedly_ends_and_says_so(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from CoWLandmarksPanel import export_panel

    def broken(*arguments: Any, **options: Any) -> Iterator[float]:
        yield 0.1
        raise ValueError("nobody expected this")

    monkeypatch.setattr(export_panel, "writing_annotation", broken)
    desk.export.setDetection(desk.markups)
    ui = desk.export.ui
    ui.folderEdit.currentPath, ui.fileNameEdit.text = str(tmp_path / "out"), "case-7"
    ui.filesButton.click()
    desk.finish(lambda: desk.export.running)
    for _turn in range(3):
        desk.application.process_events()
    text = ui.exportMessageLabel.text
    assert "ValueError: nobody expected this" in text and "error log" in text and "Written" not in text
    assert ui.filesButton.text == "Export files" and ui.filesButton.enabled
    assert len(desk.application.slot_errors) == 1
    desk.application.slot_errors.clear()


def test_the_panel_does_not_widen_when_export_opens_however_long_the_folders_are(application: Any) -> None:
    from CoWLandmarks import CoWLandmarksTest  # not above: pytest would take it for a test of this file

    folder = "/data/" + "/".join(["a-folder-with-a-long-name"] * 6)
    QSettings().setValue(COHORT_FOLDER, folder)
    widget = application.load_module("CoWLandmarks")
    widget.ui.sampleMraButton.click()
    CoWLandmarksTest().addAnnotation(widget.ui.inputSelector.currentNode())
    application.process_events()
    export = widget.panel.export
    export.ui.folderEdit.currentPath = folder
    export.ui.exportMessageLabel.visible = True
    export.ui.exportMessageLabel.text = f"Written to {folder}."
    widget.ui.reviewCollapsibleButton.collapsed = True
    widths = []
    for collapsed in (True, False):
        widget.ui.exportCollapsibleButton.collapsed = collapsed
        application.grab(widget.parent, Path(slicer.app.temporaryPath) / "panel.png", 360)
        widths.append(widget.parent.width())
    assert export.ui.exportFrame.visible and widths == [360, 360]
    assert widget.ui.exportCollapsibleButton.minimumSizeHint.width() < 340


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
    for name, message in (("case-001", "is not replaced"), ("a b", "cannot be a pseudonym")):
        ui.caseEdit.text = name
        ui.cohortButton.click()
        desk.finish(lambda: desk.export.running)
        assert message in ui.exportMessageLabel.text
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
    ui.compareTable.window().resize(298, 900)  # what a panel of 360 leaves to its sections
    desk.application.process_events()
    names = [ui.compareTable.item(row, 0).text() for row in range(19)]
    assert names[0] == "R-A2-A3 boundary" and ui.compareTable.item(0, 0).toolTip().startswith("R-A2-A3: Right A2-A3")
    width = ui.compareTable.fontMetrics().horizontalAdvance
    assert max(width(f"{code}...") for code in ANATOMY.codes) < ui.compareTable.columnWidth(0)
    assert ui.compareTable.horizontalScrollBar().maximum() == 0
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


def test_a_check_says_when_the_detector_does_not_trust_its_own_points(desk: Desk) -> None:
    found = second_annotation(desk)
    message = desk.compare.check(desk.markups, found)
    assert message.startswith("Checked against the scan: 17 landmarks placed in both: 3.00")
    assert (
        "Farther apart than two annotators usually are: L-A2-A3 3.0 mm, R-A1-A2 3.0 mm, " in message
        and found.GetName() in message
    )
    found.SetAttribute("CoWLandmarks.verdict", "do not trust")
    assert desk.compare.check(desk.markups, found).startswith("The detector does not trust its own points")
    assert "with itself" in desk.compare.check(desk.markups, desk.markups)
