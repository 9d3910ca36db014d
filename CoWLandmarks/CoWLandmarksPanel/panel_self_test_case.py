"""What the self tests of the panel of CoW Landmarks share: samples, annotations, and what a person does with them."""

from __future__ import annotations

from typing import Any

import slicer
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.mean_landmarks import mean_landmark
from CoWLandmarksLib.scene.given_points import add_given_points
from CoWLandmarksLib.scene.nodes import read_detection, volume_from_node

from .export_panel import COHORT_FOLDER, FILES_FOLDER
from .machine_settings import ALL_LABELS, DEVICE, MODEL_FILE, RESULT_FOLDER, SCAN_FOLDER, VOLUME_RENDERING
from .review_panel import INITIALS
from .sample_data import MRA, SampleScan
from .self_test_case import SelfTestCase


class PanelSelfTestCase(SelfTestCase):
    """To be mixed with ScriptedLoadableModuleTest: the panel with a sample, an annotation, a point that is dragged."""

    settingsKeys = (
        COHORT_FOLDER,
        FILES_FOLDER,
        ALL_LABELS,
        DEVICE,
        MODEL_FILE,
        RESULT_FOLDER,
        SCAN_FOLDER,
        VOLUME_RENDERING,
        INITIALS,
    )

    def openModule(self) -> Any:
        """The module's widget with all its sections open, and initials entered."""
        slicer.util.selectModule("CoWLandmarks")
        widget = slicer.util.getModuleWidget("CoWLandmarks")
        ui = widget.ui
        self.fill(widget.panel.review.ui.initialsEdit, "ST")
        self.openSections(getattr(ui, name) for name in vars(ui) if name.endswith("CollapsibleButton"))
        return widget

    def tearDown(self) -> None:
        """No section may have failed."""
        label = slicer.util.getModuleWidget("CoWLandmarks").ui.sectionErrorLabel
        self.assertEqual(label.text, "")
        SelfTestCase.tearDown(self)

    def loadSample(self, sample: SampleScan = MRA) -> Any:
        """A synthetic scan that comes with the extension."""
        return slicer.util.loadVolume(str(sample.file), {"name": sample.name})

    def addAnnotation(self, volume: Any, name: str = "mean", shiftMm: float = 0.0) -> Any:
        """A detection made of the mean landmarks in the middle of a volume; needs no child process."""
        anatomy = default_anatomy()
        middle = volume_from_node(volume, copy=False).grid.centre
        points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
        for code in anatomy.codes:
            r, a, s = middle + mean_landmark(code)
            points.AddControlPoint(float(r) + shiftMm, float(a), float(s), code)
        markups = add_given_points(slicer.mrmlScene, volume, points, anatomy).markups
        slicer.mrmlScene.RemoveNode(points)
        return markups

    def reviewOf(self, markups: Any) -> Any:
        """The review panel, with this detection under review."""
        panel = self.openModule().panel
        self.waitUntil(lambda: panel.detection is markups)
        return panel.review

    def landmark(self, markups: Any, code: str) -> Any:
        """A landmark as the scene has it now."""
        return read_detection(markups, default_anatomy()).landmark(code)

    def drag(self, markups: Any, code: str, byMm: float) -> None:
        """Move a point to the right of the patient as the mouse does, in several steps between two events."""
        index = default_anatomy().index(code)
        r, a, s = self.landmark(markups, code).position
        markups.InvokeEvent(markups.PointStartInteractionEvent)
        for step in range(1, 5):
            markups.SetNthControlPointPosition(index, r + byMm * step / 4, a, s)
            slicer.app.processEvents()
        markups.InvokeEvent(markups.PointEndInteractionEvent)

    def expectViewsAt(self, position: Any) -> None:
        """All slice views show this point, in their middle."""
        for name in slicer.app.layoutManager().sliceViewNames():
            matrix = slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLSliceNode").GetSliceToRAS()
            for row, value in enumerate(position):
                self.assertAlmostEqual(matrix.GetElement(row, 3), value, 3)

    def finish(self, panel: Any) -> None:
        """Wait for the detection that runs."""
        self.waitUntil(lambda: not panel.detecting)
        slicer.app.processEvents()

    def detectAndCancel(self, widget: Any, button: Any) -> None:
        """Start a detection by a button, and stop it."""
        button.click()
        self.assertTrue(widget.panel.detecting)
        self.assertFalse(widget.ui.inputSelector.enabled)
        widget.ui.detectButton.click()
        self.finish(widget.panel)
