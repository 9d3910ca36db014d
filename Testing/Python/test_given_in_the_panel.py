"""Landmarks from a file in the panel of CoW Landmarks: not judged, alone in the views, checked with one click."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("SlicerStandIn", reason="needs slicer-core and PySide6", exc_type=ImportError)

import slicer
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.detection import Detection, Verdict
from CoWLandmarksLib.files.markups import write_annotation
from CoWLandmarksLib.scene.nodes import detection_nodes, read_detection
from CoWLandmarksLib.scene.results import result_of, result_texts
from CoWLandmarksLib.scene.views import latest_result
from CoWLandmarksPanel.machine_settings import MachineSettings
from CoWLandmarksPanel.result_panel import VERDICT_COLOURS
from SlicerStandIn import Application

pytestmark = pytest.mark.slow

ANATOMY = default_anatomy()
MOVED, MM = "BA-T", 9.0


@pytest.fixture
def widget(tmp_path: Path, quick_model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module with the sample MRA and its detection, all of its points and arteries."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with Application(tmp_path / "application") as application:
        MachineSettings().device, MachineSettings().modelFile = "cpu", quick_model
        widget = application.load_module("CoWLandmarks")
        widget.ui.sampleMraButton.click()
        widget.ui.detectButton.click()
        finish(widget)
        yield widget


def finish(widget: Any) -> None:
    """Wait for the detection that runs."""
    end = time.monotonic() + 300.0
    while widget.panel.detecting:
        assert time.monotonic() < end, "it takes too long"
        slicer.app.processEvents()
        time.sleep(0.005)


def load_given(widget: Any, path: Path) -> tuple[Any, Detection]:
    """Load the points that were detected, one of them moved, as another person's file; returns them as well."""
    detected = read_detection(widget.panel.detection, ANATOMY)
    r, a, s = detected.landmark(MOVED).position or (0.0, 0.0, 0.0)
    given = [replace(e, position=(r + MM, a, s)) if e.code == MOVED else e for e in detected.landmarks]
    write_annotation(path, given, ANATOMY)
    review = widget.panel.review.ui
    widget.ui.reviewCollapsibleButton.collapsed = review.loadGroupBox.collapsed = False
    review.loadVolumeComboBox.setCurrentNode(widget.ui.inputSelector.currentNode())
    review.loadFileEdit.currentPath = str(path)
    review.loadButton.click()
    assert "can be reviewed now" in review.loadMessageLabel.text
    return widget.panel.detection, detected


def test_landmarks_from_a_file_are_alone_and_unjudged_until_they_are_checked(widget: Any, tmp_path: Path) -> None:
    ui = widget.panel.result.ui
    first = result_of(widget.panel.detection)
    assert ui.checkFrame.isHidden()
    given, detected = load_given(widget, tmp_path / "other.mrk.json")
    assert given is not first.markups and given.GetDisplayVisibility()
    assert result_of(given).regions.GetDisplayVisibility()
    assert not any(node.GetDisplayVisibility() for node in (first.markups, first.segmentation, first.regions))
    assert ui.verdictLabel.text == "From a file, not judged"
    assert given.GetName() == "Phantom MRA landmarks (from other.mrk.json)"
    assert ui.detectionsTable.item(1, 1).text() == "Phantom MRA (from other.mrk.json)"
    assert ui.summaryLabel.text == ui.detectionsTable.item(1, 3).text() == "19 found"
    assert VERDICT_COLOURS[None] in ui.verdictLabel.styleSheet
    assert VERDICT_COLOURS[Verdict.OK] not in ui.verdictLabel.styleSheet
    assert [ui.detectionsTable.item(row, 2).text() for row in range(2)] == ["ok", "from a file, not judged"]
    assert not ui.checkFrame.isHidden() and ui.checkButton.enabled

    before = [point.position for point in read_detection(given, ANATOMY).landmarks]
    ui.checkButton.click()
    assert widget.panel.detecting and not ui.checkButton.enabled and widget.ui.detectButton.text == "Cancel"
    finish(widget)
    assert widget.panel.detection is given and given.GetDisplayVisibility()
    assert [point.position for point in read_detection(given, ANATOMY).landmarks] == before
    _, _, made = detection_nodes(slicer.mrmlScene)
    assert result_texts(made).verdict is detected.verdict and not made.GetDisplayVisibility()
    assert not result_of(made).segmentation.GetDisplayVisibility()
    compare = widget.panel.compare.ui
    assert (compare.firstComboBox.currentNode(), compare.secondComboBox.currentNode()) == (given, made)
    assert not widget.ui.compareCollapsibleButton.collapsed and not compare.compareTable.isHidden()
    assert float(compare.compareTable.item(ANATOMY.index(MOVED), 3).text()) == pytest.approx(MM, abs=0.1)
    message = widget.ui.messageLabel.text
    assert "Checked against the scan: 19 landmarks placed in both" in message
    assert (
        f"Farther apart than two annotators usually are: {MOVED} {MM:.1f} mm." in message and made.GetName() in message
    )
    assert ui.verdictLabel.text == "From a file, not judged" and ui.checkButton.enabled
    assert latest_result(widget.ui.inputSelector.currentNode()) is given


def test_a_check_that_is_cancelled_leaves_the_scene_and_the_next_detection_alone(widget: Any, tmp_path: Path) -> None:
    given, _ = load_given(widget, tmp_path / "other.mrk.json")
    count = slicer.mrmlScene.GetNumberOfNodes()
    widget.panel.result.ui.checkButton.click()
    assert widget.panel.detecting
    widget.ui.detectButton.click()
    finish(widget)
    assert slicer.mrmlScene.GetNumberOfNodes() == count and widget.panel.detection is given
    widget.panel.advanced.ui.arteriesCheckBox.click()
    widget.ui.detectButton.click()
    finish(widget)
    assert widget.panel.detection is detection_nodes(slicer.mrmlScene)[2]  # chosen, and not compared with anything
    assert "Checked" not in widget.ui.messageLabel.text
