"""A scene with one detection, and the panels to review, export and compare it, in the stand-in for Slicer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from cohort_cases import bead_image, estimates, places
from CoWLandmarksLib.core.detection import Detection, LandmarkState, Verdict
from CoWLandmarksLib.core.volume import Modality
from CoWLandmarksLib.scene.nodes import add_detection, add_volume, read_detection
from example_detection import ANATOMY
from SlicerStandIn import Application

POINTS = places(ANATOMY, np.random.default_rng(5))
ABSENT, OUTSIDE, UNCERTAIN = "L-A1-A2", "R-A2-A3", "BA-T"
"""The three most doubtful landmarks of the example; in the table the uncertain one comes first."""

BUTTONS = {
    "Previous": "previousButton",
    "Next": "nextButton",
    "Accept": "acceptButton",
    "Absent": "absentButton",
    "Outside": "outsideButton",
    "Re-place": "replaceButton",
    "Undo": "undoButton",
    "As detected": "detectedButton",
}
"""The buttons of the review by their texts."""
ARTERY_BUTTONS = {
    "Artery present": "arteryPresentButton",
    "Artery absent": "arteryAbsentButton",
    "Through a point": "throughButton",
    "Program decides": "programButton",
    "Undo artery": "arteryUndoButton",
}
"""Those of its arteries."""


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
            if texts[1].split()[0] == code:
                return texts
        raise AssertionError(code)

    def finish(self, running: Callable[[], bool]) -> None:
        self.application.spin_until(lambda: not running())


def nothing_selected(desk: Desk) -> None:
    """Select no landmark of the review."""
    desk.ui.landmarkTable.setCurrentCell(-1, -1)
    assert desk.review.selectedCode is None


def press(desk: Desk, keys: str, focus: str = "landmarkTable") -> None:
    """Press a key while a widget of the section has the focus."""
    from PySide6 import QtGui, QtTest, QtWidgets

    widget = getattr(desk.ui, focus)
    window = widget.window()
    window.activateWindow()
    QtTest.QTest.qWaitForWindowActive(QtWidgets.QWidget.windowHandle(window))
    widget.setFocus()
    pressed = QtGui.QKeySequence(keys)[0]
    QtTest.QTest.keyClick(widget, pressed.key(), pressed.keyboardModifiers())
    QtTest.QTest.qWait(150)  # a key holds a button down for a tenth of a second
