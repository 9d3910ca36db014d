"""The self tests of the panel of CoW Landmarks: what a person does with mouse and keys (Docs/slicer-checks.md)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import slicer
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.detection import Detection, LandmarkState, Verdict
from CoWLandmarksLib.core.given_landmarks import given_detection
from CoWLandmarksLib.core.mean_landmarks import mean_landmark
from CoWLandmarksLib.files.markups import write_annotation
from CoWLandmarksLib.scene.declared_arteries import declared_in
from CoWLandmarksLib.scene.given_points import add_given_points
from CoWLandmarksLib.scene.nodes import add_detection, detection_nodes, read_detection, volume_from_node
from CoWLandmarksLib.scene.results import result_of, result_texts

from .export_panel import COHORT_FOLDER, FILES_FOLDER
from .machine_settings import ALL_LABELS, DEVICE, MODEL_FILE, RESULT_FOLDER, SCAN_FOLDER, VOLUME_RENDERING
from .review_panel import INITIALS
from .sample_data import CTA, MRA, SampleScan
from .self_test_case import SelfTestCase

KEYS = {
    "acceptButton": "Shift+A",
    "absentButton": "Shift+X",
    "outsideButton": "Shift+O",
    "replaceButton": "Shift+R",
    "undoButton": "Shift+Z",
    "detectedButton": "Shift+D",
    "previousButton": "Shift+P",
    "nextButton": "Shift+N",
}
FIRST_USE = {"installButton", "notNowButton"}
"""Buttons that are there only while PyTorch is missing."""
EMPTY_SCENE = {"sampleMraButton", "sampleCtaButton"}
ARTERY = {"arteryPresentButton", "arteryAbsentButton", "throughButton", "programButton", "arteryUndoButton"}
WITHOUT_STEPS = {"cohortButton", "undoButton", "detectedButton", "reopenButton"} | ARTERY
"""Buttons that need something done before, or an artery selected."""
HINTS = {"placeHintButton", "tryAgainButton"}
"""Buttons of a result that is not to be trusted."""


class PanelSelfTests(SelfTestCase):
    """To be mixed with ScriptedLoadableModuleTest; each test clicks through one thing that people do."""

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

    def test_ASampleIsLoadedAndPreselected(self) -> None:
        """One click is all that is left to do."""
        widget = self.openModule()
        ui = widget.ui
        for button in (ui.sampleCtaButton, ui.sampleMraButton):
            slicer.mrmlScene.Clear()
            slicer.app.processEvents()
            self.assertFalse(ui.detectButton.enabled)
            self.assertFalse(widget.panel.batch.ui.batchButton.enabled)
            button.click()
            slicer.app.processEvents()
            self.assertIsNotNone(ui.inputSelector.currentNode())
            self.assertTrue(ui.detectButton.enabled)
            self.assertTrue(widget.panel.batch.ui.batchButton.enabled)

    def test_EveryButtonCanBeClicked(self) -> None:
        """What is there and enabled does something or says why not; nothing fails."""
        self.skipWithoutTorch()
        volume = self.loadSample()
        self.addAnnotation(volume, "first")
        markups = self.addAnnotation(volume, "second")
        widget = self.openModule()
        panel = widget.panel
        self.waitUntil(lambda: panel.detection is markups)
        for edit in (panel.export.ui.folderEdit, panel.compare.ui.compareFileEdit, panel.review.ui.loadFileEdit):
            self.fill(edit, "")
        self.openSections((panel.review.ui.loadGroupBox,))
        clicked, root = set(), widget.ui.detectCollapsibleButton.parentWidget()
        panels = (panel.result, panel.review, panel.export, panel.compare, panel.batch, panel.advanced, widget)
        for ui in (each.ui for each in panels):
            for name, button in sorted(vars(ui).items()):
                if not name.endswith("Button") or name.endswith(("CollapsibleButton", "RadioButton")):
                    continue
                if name in ("detectButton", "checkButton"):
                    self.detectAndCancel(widget, button)
                elif button.isVisibleTo(root) and button.enabled:
                    button.click()
                    slicer.app.processEvents()
                    if panel.batch.running:
                        button.click()
                        self.waitUntil(lambda: not panel.batch.running)
                else:
                    self.assertIn(name, FIRST_USE | EMPTY_SCENE | HINTS | WITHOUT_STEPS)
                    continue
                clicked.add(name)
        expected = {*KEYS, "loadButton", "filesButton", "compareButton", "saveButton", "batchButton"}
        self.assertEqual(expected - clicked - WITHOUT_STEPS, set())
        self.assertIn("Choose a folder", panel.export.ui.exportMessageLabel.text)
        self.assertIn("Choose a file", panel.compare.ui.compareLabel.text)

    def test_EveryKeyWorksTwice(self) -> None:
        """A key presses its button, and the button keeps it whatever its text was meanwhile."""
        markups = self.addAnnotation(self.loadSample())
        review = self.reviewOf(markups)
        ui = review.ui
        interaction = slicer.app.applicationLogic().GetInteractionNode()

        def placing() -> bool:
            return interaction.GetCurrentInteractionMode() == interaction.Place

        def press(name: str) -> None:
            button = getattr(ui, name)
            for each, key in KEYS.items():
                self.assertEqual(getattr(ui, each).shortcut.toString(), key)
            self.assertTrue(button.enabled)
            pressed: list[bool] = []

            def onClicked(checked: bool = False) -> None:
                pressed.append(checked)

            button.connect("clicked(bool)", onClicked)
            button.animateClick()  # what Qt does when the key of a button is pressed
            self.waitUntil(lambda: pressed, 10.0)
            button.disconnect("clicked(bool)", onClicked)

        for _round in range(2):
            code = review.selectedCode
            press("nextButton")
            self.assertNotEqual(review.selectedCode, code)
            press("previousButton")
            self.assertEqual(review.selectedCode, code)
            press("acceptButton")
            self.assertTrue(self.landmark(markups, code).reviewed)
            for name, state in (("absentButton", LandmarkState.ABSENT), ("outsideButton", LandmarkState.OUTSIDE)):
                code = review.selectedCode
                press(name)
                self.assertEqual(self.landmark(markups, code).state, state)
                review.select(code)
                press("detectedButton" if name == "absentButton" else "undoButton")
                self.assertEqual(self.landmark(markups, code).state, LandmarkState.FOUND)
                press("acceptButton")
            press("replaceButton")
            self.assertTrue(placing())
            press("replaceButton")
            self.assertFalse(placing())

    def test_ALandmarkIsAcceptedMovedPlacedAnewAndTakenBack(self) -> None:
        """The review, by its buttons and in the views' place mode."""
        anatomy = default_anatomy()
        markups = self.addAnnotation(self.loadSample())
        review = self.reviewOf(markups)
        self.assertEqual(review.ui.landmarkTable.rowCount, 19)
        first = review.selectedCode
        review.ui.acceptButton.click()
        self.assertTrue(self.landmark(markups, first).reviewed)
        self.assertTrue(markups.GetNthControlPointLocked(anatomy.index(first)))
        code = review.selectedCode
        self.assertNotEqual(code, first)
        start = self.landmark(markups, code)
        self.expectViewsAt(start.position)
        review.ui.replaceButton.click()
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        self.assertEqual(interaction.GetCurrentInteractionMode(), interaction.Place)
        place = [value + 3.0 for value in start.position]
        markups.SetNthControlPointPosition(anatomy.index(code), *place)
        self.assertNotEqual(interaction.GetCurrentInteractionMode(), interaction.Place)
        self.assertTrue(self.landmark(markups, code).corrected)
        review.ui.undoButton.click()
        self.assertEqual(self.landmark(markups, code), start)
        self.expectViewsAt(start.position)
        review.ui.absentButton.click()
        self.assertIsNone(self.landmark(markups, code).position)
        review.select(first)
        review.ui.reopenButton.click()
        self.assertFalse(self.landmark(markups, first).reviewed)
        review.ui.byRuleCheckBox.click()
        self.assertTrue(self.landmark(markups, first).by_rule)
        review.ui.byRuleCheckBox.click()
        review.setDetection(None)
        self.assertTrue(markups.GetLocked())

    def test_AnArteryIsDeclaredLedThroughAPointAndTakenBack(self) -> None:
        """A person's word on arteries, by the buttons and in the views' place mode."""
        anatomy = default_anatomy()
        markups = self.addAnnotation(self.loadSample())
        review = self.reviewOf(markups)
        review.arteries.onDeclared = lambda node: None
        review.arteries.select("R-ICA-C7")
        review.ui.arteryAbsentButton.click()
        self.assertFalse(declared_in(markups, anatomy)["R-ICA-C7"].present)
        review.ui.throughButton.click()
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        (point,) = slicer.util.getNodes("R-ICA-C7 waypoint").values()
        place = self.landmark(markups, "R-ICA-T").position
        point.SetNthControlPointPosition(0, *place)
        self.assertNotEqual(interaction.GetCurrentInteractionMode(), interaction.Place)
        (waypoint,) = declared_in(markups, anatomy)["R-ICA-C7"].waypoints
        self.assertAlmostEqual(sum(waypoint), sum(place), 2)
        slicer.app.processEvents()
        self.assertEqual(dict(slicer.util.getNodes("R-ICA-C7 waypoint")), {})
        review.ui.arteryUndoButton.click()
        self.assertFalse(declared_in(markups, anatomy)["R-ICA-C7"].present)

    def test_APointIsDraggedWithTheMouseAndTakenBack(self) -> None:
        """A drag is one step, written down when the mouse is let go."""
        markups = self.addAnnotation(self.loadSample())
        review = self.reviewOf(markups)
        code = default_anatomy().codes[5]
        start = self.landmark(markups, code)
        self.drag(markups, code, 4.0)
        slicer.app.processEvents()
        self.assertIn(code, review.ui.messageLabel.text)
        self.assertEqual(review.selectedCode, code)
        moved = self.landmark(markups, code)
        self.assertTrue(moved.corrected)
        self.assertAlmostEqual(moved.position[0], start.position[0] + 4.0, 3)
        review.ui.undoButton.click()  # once
        self.assertEqual(self.landmark(markups, code), start)
        self.assertFalse(review.ui.undoButton.enabled)
        self.expectViewsAt(start.position)

    def test_TheReviewGoesOnAfterSavingAndLoadingTheScene(self) -> None:
        """What was done, by whom, and what can be taken back."""
        self.openModule()
        markups = self.addAnnotation(self.loadSample())
        review = self.reviewOf(markups)
        accepted = review.selectedCode
        review.ui.acceptButton.click()
        absent = review.selectedCode
        review.ui.absentButton.click()
        moved = review.selectedCode
        start = self.landmark(markups, moved)
        self.drag(markups, moved, 3.0)
        before, progress = read_detection(markups, default_anatomy()), review.ui.progressLabel.text
        file = self.folder / "scene.mrb"
        self.assertTrue(slicer.util.saveScene(str(file)))
        slicer.mrmlScene.Clear()
        slicer.app.processEvents()
        self.assertEqual(detection_nodes(slicer.mrmlScene), [])
        slicer.util.loadScene(str(file))
        self.waitUntil(lambda: review.markupsNode is not None, 20.0)
        (markups,) = detection_nodes(slicer.mrmlScene)
        self.assertIs(review.markupsNode, markups)
        after = read_detection(markups, default_anatomy())
        for one, other in zip(before.landmarks, after.landmarks, strict=True):
            self.assertEqual(replace(one, position=other.position), other)
        self.assertEqual(review.ui.progressLabel.text, progress)
        self.assertTrue(after.landmark(accepted).reviewed)
        table = review.ui.landmarkTable
        self.assertEqual(sorted(table.item(row, 5).text() for row in range(19)), [""] * 17 + ["ST"] * 2)
        self.assertEqual(after.landmark(absent).state, LandmarkState.ABSENT)
        self.assertNotIn(review.selectedCode, (accepted, absent))
        review.select(moved)
        review.ui.undoButton.click()
        self.assertAlmostEqual(self.landmark(markups, moved).position[0], start.position[0], 2)

    def test_SelectorResultAndViewsGoTogether(self) -> None:
        """Only the chosen result is visible, and its scan is in selector and views."""
        widget = self.openModule()
        volumes = [self.loadSample(), self.loadSample(CTA)]
        results = [self.addAnnotation(volume) for volume in volumes]
        slicer.app.processEvents()

        def expect(number: int) -> None:
            slicer.app.processEvents()
            self.assertEqual(widget.ui.inputSelector.currentNode(), volumes[number])
            self.assertEqual(widget.panel.detection, results[number])
            self.assertEqual(widget.logic.likelyInput(), volumes[number])
            self.assertEqual([bool(node.GetDisplayVisibility()) for node in results], [number == 0, number == 1])

        widget.ui.inputSelector.setCurrentNode(volumes[0])
        expect(0)
        slicer.util.setSliceViewerLayers(background=volumes[1])
        expect(1)
        widget.panel.result.ui.detectionsTable.selectRow(0)
        expect(0)

    def test_TwoAnnotationsAreCompared(self) -> None:
        """A table with every distance, in the panel, in the scene and as a file."""
        volume = self.loadSample()
        annotations = [self.addAnnotation(volume, "first"), self.addAnnotation(volume, "second", 2.0)]
        compare = self.openModule().panel.compare
        compare.ui.firstComboBox.setCurrentNode(annotations[0])
        compare.ui.secondComboBox.setCurrentNode(annotations[1])
        compare.ui.compareButton.click()
        self.assertEqual(compare.ui.compareTable.rowCount, 19)
        self.assertEqual({compare.ui.compareTable.item(row, 3).text() for row in range(19)}, {"2.0"})
        file = self.folder / "distances.csv"
        self.fill(compare.ui.compareFileEdit, str(file))
        compare.ui.saveButton.click()
        text = file.read_text(encoding="utf-8")
        self.assertEqual([code for code in default_anatomy().codes if f"{code}," not in text], [])

    def test_AnAnnotationIsExportedAndLoadedAgain(self) -> None:
        """Files to hand on; loaded for review they are not judged, and alone in the views."""
        volume = self.loadSample()
        markups = self.addAnnotation(volume)
        review = self.reviewOf(markups)
        panel = slicer.util.getModuleWidget("CoWLandmarks").panel
        ui = panel.export.ui
        self.fill(ui.folderEdit, str(self.folder))
        self.fill(ui.fileNameEdit, "annotation-7")
        ui.filesButton.click()
        self.waitUntil(lambda: not panel.export.running)
        self.assertIn("Written to", ui.exportMessageLabel.text)
        self.assertEqual({path.name for path in self.folder.iterdir()}, {"annotation-7.mrk.json", "annotation-7.csv"})
        self.openSections((review.ui.loadGroupBox,))
        review.ui.loadVolumeComboBox.setCurrentNode(volume)
        self.fill(review.ui.loadFileEdit, str(self.folder / "annotation-7.mrk.json"))
        review.ui.loadButton.click()
        slicer.app.processEvents()
        self.assertEqual(len(detection_nodes(slicer.mrmlScene)), 2)
        self.assertIsNot(panel.detection, markups)
        self.assertFalse(markups.GetDisplayVisibility())
        self.assertTrue(panel.detection.GetDisplayVisibility())
        self.assertEqual(panel.result.ui.verdictLabel.text, "From a file, not judged")

    def test_AnAnnotationBecomesACaseOfACohort(self) -> None:
        """Written a little at a time, under a pseudonym."""
        self.addAnnotation(self.loadSample())
        export = self.openModule().panel.export
        self.waitUntil(lambda: not export.ui.exportFrame.isHidden(), 20.0)
        self.fill(export.ui.cohortEdit, str(self.folder))
        self.assertFalse(export.ui.cohortButton.enabled)
        self.fill(export.ui.caseEdit, "self-test")
        self.tick(export.ui.consentCheckBox, True)
        export.ui.cohortButton.click()
        self.waitUntil(lambda: not export.running)
        written = {path.name for path in (self.folder / "self-test").iterdir()}
        self.assertEqual(written, {"case.json", "scan.nrrd", "landmarks.mrk.json"})

    def test_AResultThatIsNotToBeTrustedAsksForHints(self) -> None:
        """Three points placed by hand, and it can be tried again."""
        self.skipWithoutTorch()
        volume, anatomy = self.loadSample(), default_anatomy()
        given = read_detection(self.addAnnotation(volume), anatomy)
        scan = volume_from_node(volume, copy=False)
        doubted = replace(
            given_detection(scan, given.landmarks, anatomy, scan.modality),
            verdict=Verdict.DO_NOT_TRUST,
            reasons=("The circle was not recognised.",),
            provenance={},
        )
        assert isinstance(doubted, Detection)
        markups = add_detection(slicer.mrmlScene, volume, doubted, anatomy).markups
        widget = self.openModule()
        ui = widget.panel.result.ui
        self.waitUntil(lambda: widget.panel.detection is not None, 20.0)
        ui.detectionsTable.selectRow(1)
        self.waitUntil(lambda: widget.panel.detection is markups, 20.0)
        self.assertEqual(ui.verdictLabel.text, "Do not trust this result")
        ui.placeHintButton.click()
        hint = widget.panel.result.hint.node
        for index in range(3):
            self.assertFalse(ui.tryAgainButton.enabled)
            code = hint.GetNthControlPointLabel(index)
            hint.SetNthControlPointPosition(index, *given.landmark(code).position)
        slicer.app.applicationLogic().GetInteractionNode().SwitchToViewTransformMode()
        self.assertTrue(ui.tryAgainButton.enabled)
        self.detectAndCancel(widget, ui.tryAgainButton)

    def test_TheWholeWayOfTwoScans(self) -> None:
        """Detected one after the other, reviewed, the arteries follow, exported, checked against the scan."""
        self.skipWithoutTorch()
        anatomy = default_anatomy()
        widget = self.openModule()
        panel = widget.panel
        volumes = [self.loadSample(CTA), self.loadSample(MRA)]
        slicer.app.processEvents()
        panel.batch.ui.batchButton.click()
        self.assertEqual(panel.batch.ui.batchButton.text, "Cancel")
        self.assertFalse(widget.ui.detectButton.enabled)
        self.waitUntil(lambda: not panel.batch.running)
        slicer.app.processEvents()
        results = detection_nodes(slicer.mrmlScene)
        self.assertEqual(panel.batch.ui.batchTable.rowCount, 2)
        self.assertEqual([bool(node.GetDisplayVisibility()) for node in results], [False, True])
        for number in (0, 1):  # as a double click on the row does
            panel.batch.openRow(number)
            slicer.app.processEvents()
            self.assertIs(panel.detection, results[number])
            self.assertIs(widget.ui.inputSelector.currentNode(), volumes[number])
            self.assertIs(widget.logic.likelyInput(), volumes[number])
            self.assertEqual([bool(node.GetDisplayVisibility()) for node in results], [number == 0, number == 1])
        nodes = result_of(results[1])
        self.assertEqual(nodes.segmentation.GetSegmentation().GetNumberOfSegments(), 20)
        self.assertEqual(nodes.table.GetNumberOfRows(), 20)
        self.assertTrue(panel.result.ui.verdictLabel.text)

        code = "R-M1-M2"
        panel.review.select(code)
        before = nodes.table.GetMTime()
        self.drag(results[1], code, 2.0)
        self.assertTrue(widget.logic.runs.busy)
        self.waitUntil(lambda: not widget.logic.runs.busy)
        self.assertGreater(nodes.table.GetMTime(), before)
        self.assertEqual(widget.ui.messageLabel.text, "")

        self.fill(panel.export.ui.folderEdit, str(self.folder))
        self.fill(panel.export.ui.fileNameEdit, "whole-way")
        panel.export.ui.filesButton.click()
        self.waitUntil(lambda: not panel.export.running)
        written = {path.name.removeprefix("whole-way") for path in self.folder.iterdir()}
        self.assertEqual(written, {".mrk.json", ".csv", "-arteries.csv", "-arteries.seg.nrrd"})

        file = self.folder / "other.mrk.json"
        self.openSections((panel.review.ui.loadGroupBox,))
        write_annotation(file, read_detection(results[1], anatomy).landmarks, anatomy)
        self.fill(panel.review.ui.loadFileEdit, str(file))
        panel.review.ui.loadVolumeComboBox.setCurrentNode(volumes[1])
        panel.review.ui.loadButton.click()
        slicer.app.processEvents()
        given = panel.detection
        self.assertNotIn(given, results, panel.review.ui.loadMessageLabel.text)
        panel.result.ui.checkButton.click()
        self.finish(panel)
        self.assertIs(panel.detection, given)
        self.assertIn("Checked against the scan", widget.ui.messageLabel.text)
        compared = panel.compare.ui
        self.assertIs(compared.firstComboBox.currentNode(), given)
        self.assertEqual(compared.compareTable.rowCount, 19)
        self.assertIsNone(result_texts(given).verdict)
        distance = float(compared.compareTable.item(anatomy.index(code), 3).text())
        self.assertGreater(distance, 1.5)
