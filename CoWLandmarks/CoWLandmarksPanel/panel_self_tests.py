"""The self tests of the panel of CoW Landmarks: what a person does with mouse and keys (Docs/slicer-checks.md)."""

from __future__ import annotations

from dataclasses import replace

import slicer
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.detection import Detection, Verdict
from CoWLandmarksLib.core.given_landmarks import given_detection
from CoWLandmarksLib.files.markups import write_annotation
from CoWLandmarksLib.scene.nodes import add_detection, detection_nodes, read_detection, volume_from_node
from CoWLandmarksLib.scene.results import result_of, result_texts

from .panel_self_test_case import PanelSelfTestCase
from .review_self_tests import KEYS
from .sample_data import CTA, MRA

FIRST_USE = {"installButton", "notNowButton"}
"""Buttons that are there only while PyTorch is missing."""
EMPTY_SCENE = {"sampleMraButton", "sampleCtaButton"}
ARTERY = {"arteryPresentButton", "arteryAbsentButton", "throughButton", "programButton", "arteryUndoButton"}
WITHOUT_STEPS = {"cohortButton", "undoButton", "detectedButton", "reopenButton"} | ARTERY
"""Buttons that need something done before, or an artery selected."""
HINTS = {"placeHintButton", "tryAgainButton"}
"""Buttons of a result that is not to be trusted."""


class PanelSelfTests(PanelSelfTestCase):
    """To be mixed with ScriptedLoadableModuleTest; each test clicks through one thing that people do."""

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
