"""The self tests of the panel of CoW Landmarks Training: from cases to a model, clicked through on two phantoms."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import CoWLandmarksLib
import slicer
from CoWLandmarksPanel.machine_settings import MODEL_FILE, MachineSettings
from CoWLandmarksPanel.self_test_case import SelfTestCase
from CoWLandmarksTrainingLib.jobs.job_files import TrainingJob, TrainingJobState, beat, write_job

from .local_settings import ALIGNED_FOLDER, CTA_FOLDER, DEVICE, MRA_FOLDER, OUTPUT_FOLDER

SHORT = {"coarseStepsSpinBox": 0, "circleStepsSpinBox": 0, "fineStepsSpinBox": 200, "batchSizeSpinBox": 1}
"""Steps of a training that is stopped long before its end."""


class TrainingSelfTests(SelfTestCase):
    """To be mixed with ScriptedLoadableModuleTest; each test clicks through one thing that people do."""

    settingsKeys = (MRA_FOLDER, CTA_FOLDER, ALIGNED_FOLDER, OUTPUT_FOLDER, DEVICE, MODEL_FILE)

    def openModule(self) -> Any:
        """The module's widget, opened, with folders of this test's own."""
        slicer.util.selectModule("CoWLandmarksTraining")
        widget = slicer.util.getModuleWidget("CoWLandmarksTraining")
        ui = widget.ui
        self.openSections(getattr(ui, name) for name in vars(ui) if name.endswith("CollapsibleButton"))
        edits = (ui.mraFolderEdit, ui.ctaFolderEdit, ui.alignedFolderEdit, ui.outputFolderEdit, ui.modelFileEdit)
        for edit, name in zip(edits, ("mra", "", "aligned", "training", ""), strict=True):
            self.fill(edit, str(self.folder / name) if name else "")
        return widget

    def tearDown(self) -> None:
        """No section may have failed."""
        label = slicer.util.getModuleWidget("CoWLandmarksTraining").ui.sectionErrorLabel
        self.assertEqual(label.text, "")
        SelfTestCase.tearDown(self)

    def choose(self, box: Any, key: str) -> None:
        """Choose an entry of a box by its key; the box is as before afterwards."""
        self.addCleanup(box.setCurrentIndex, box.currentIndex)
        box.setCurrentIndex(box.findData(key))

    def texts(self, table: Any, column: int) -> list[str]:
        """A column of a table."""
        return [table.item(row, column).text() for row in range(table.rowCount)]

    def test_TheCommandFollowsTheChoices(self) -> None:
        """What is shown is what 'Start' runs; only what differs from the preset is named."""
        ui = self.openModule().ui
        ui.parametersGroupBox.collapsed = False
        self.assertIn("--start-from default", ui.commandText.plainText)
        ui.presetComboBox.setCurrentIndex(ui.presetComboBox.findData("paper"))
        self.assertIn("--preset paper", ui.commandText.plainText)
        self.assertNotIn("--start-from", ui.commandText.plainText)
        self.assertNotIn("--set", ui.commandText.plainText)
        self.assertAlmostEqual(ui.learningRateSpinBox.value, 1e-4)
        ui.seedSpinBox.value = 7
        self.assertIn("--set training.seed=7", ui.commandText.plainText)
        ui.copyButton.click()
        self.assertEqual(slicer.app.clipboard().text(), ui.commandText.plainText)
        ui.presetValuesButton.click()
        self.assertNotIn("--set", ui.commandText.plainText)

    def test_TheStagesOfThePresetAreShownWithWhatTheyTake(self) -> None:
        """A row for each network of the recipe, and time and disk space before the start."""
        ui = self.openModule().ui
        self.assertTrue(ui.expectedLabel.text.startswith("Expected"))
        self.assertEqual(ui.circleFiguresLabel.text, "2400 steps")
        self.assertTrue(ui.fineAdversarialProgressBar.isHidden())
        ui.presetComboBox.setCurrentIndex(ui.presetComboBox.findData("paper"))
        self.assertTrue(ui.circleProgressBar.isHidden())
        self.assertFalse(ui.fineAdversarialProgressBar.isHidden())

    def test_AnEmptyTrainingFolderCanOnlyBeStarted(self) -> None:
        """Nothing runs there, nothing can be stopped or resumed."""
        ui = self.openModule().ui
        self.assertTrue(ui.startButton.enabled)
        for button in (ui.stopButton, ui.resumeButton, ui.evaluateButton, ui.useModelButton):
            self.assertFalse(button.enabled)

    def test_ATrainingOfAnotherTimeIsFoundAgain(self) -> None:
        """A job whose heartbeat has stopped is reported, and can be resumed."""
        widget = self.openModule()
        folder = Path(widget.ui.outputFolderEdit.currentPath)
        folder.mkdir(parents=True)
        arguments = ("train", "aligned", "--out", str(folder))
        write_job(folder, TrainingJob("token", arguments, time.time(), TrainingJobState.RUNNING, pid=1))
        beat(folder, "token")
        (folder / "plan.json").write_text(json.dumps({}), encoding="utf-8")
        widget.panel.training.advance()
        self.assertTrue(widget.ui.stopButton.enabled)
        self.assertFalse(widget.ui.startButton.enabled)
        self.assertEqual(widget.ui.commandLabel.text, "The command that runs:")
        write_job(folder, TrainingJob("token", arguments, time.time() - 3600, TrainingJobState.RUNNING, pid=1))
        (folder / "heartbeat.json").unlink()
        widget.panel.training.advance()
        self.assertTrue(widget.ui.resumeButton.enabled)
        self.assertIn("--resume", widget.ui.commandText.plainText)

    def test_NothingIsLowerThanItNeeds(self) -> None:
        """The panel is as high as it needs at its width, whatever holds it."""
        ui = self.openModule().ui
        panel = ui.trainCollapsibleButton.parentWidget()
        ui.parametersGroupBox.collapsed = False
        slicer.app.processEvents()
        self.assertGreaterEqual(panel.height, panel.layout().totalHeightForWidth(panel.width))

    def test_TheSceneKeepsTheChoices(self) -> None:
        """Preset and parameters are those of the scene's parameter node."""
        widget = self.openModule()
        widget.ui.seedSpinBox.value = 11
        self.assertEqual(widget.logic.getParameterNode().seed, 11)

    def test_FromCasesToAModel(self) -> None:
        """Checked, aligned, rejected, trained, stopped, resumed; a model evaluated and handed on."""
        self.skipWithoutTorch()
        widget = self.openModule()
        ui, panel = widget.ui, widget.panel
        phantoms = ["phantom", "--mra", "2", "--cta", "0", "--validation", "0", "--test", "0"]
        widget.logic.runCommand([*phantoms, "--out", str(self.folder / "mra")])
        ui.mraFolderEdit.currentPath = str(self.folder / "mra")
        ui.checkButton.click()
        self.assertEqual(ui.checkButton.text, "Cancel")
        self.waitUntil(lambda: not panel.cases.running)
        self.assertIn("2 of 2 cases can be used", ui.checkLabel.text)
        names = self.texts(ui.caseTable, 0)
        panel.cases.openCase(names[0])  # as a double click on the row does
        slicer.app.processEvents()
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode"), 1)

        self.choose(ui.alignMethodComboBox, "landmarks")
        ui.alignButton.click()
        self.waitUntil(lambda: not panel.alignment.running)
        self.assertEqual(self.texts(ui.alignedTable, 4), ["used", "used"])
        ui.alignedTable.selectRow(0)
        ui.rejectButton.click()
        self.assertEqual(self.texts(ui.alignedTable, 4), ["rejected by you", "used"])
        ui.rejectButton.click()
        self.assertEqual(self.texts(ui.alignedTable, 4), ["used", "used"])
        ui.nextCaseButton.click()
        self.assertEqual(ui.alignedTable.currentRow(), 1)
        ui.registrationPictureButton.click()
        panel.alignment.window.cleanup()

        self.choose(ui.modalityComboBox, "mra")
        for name, steps in SHORT.items():
            getattr(ui, name).value = steps
        folder = self.folder / "training"
        ui.startButton.click()
        self.addCleanup(self.endTraining, widget, folder)
        self.follow(
            panel, ui, lambda: panel.training.job.state is TrainingJobState.RUNNING and (folder / "plan.json").exists()
        )
        for button in (ui.lossButton, ui.validationButton, ui.discriminatorButton):
            button.click()
        self.stop(panel, ui)
        self.assertTrue(ui.resumeButton.enabled)
        self.assertFalse(ui.startButton.enabled)
        ui.resumeButton.click()
        self.follow(panel, ui, lambda: panel.training.job.state is TrainingJobState.RUNNING)
        self.stop(panel, ui)

        shipped = Path(CoWLandmarksLib.__file__).parent / "Resources" / "Models" / "default.cow.pt"
        model = self.folder / "copy.cow.pt"
        shutil.copyfile(shipped, model)
        ui.modelFileEdit.currentPath = str(model)
        self.choose(ui.splitComboBox, "")
        ui.evaluateButton.click()
        self.waitUntil(lambda: not panel.evaluation.running)
        self.assertGreater(ui.figuresTable.rowCount, 0)
        ui.landmarkErrorsButton.click()
        ui.useModelButton.click()
        self.assertEqual(MachineSettings().modelFile, model)

    def follow(self, panel: Any, ui: Any, done: Any) -> None:
        """Follow a training until `done()`; it may not end before."""

        def ended() -> bool:
            panel.training.advance()
            return bool(done()) or not panel.training.job.state.active

        self.waitUntil(ended)
        self.assertTrue(done(), ui.trainLabel.text)

    def stop(self, panel: Any, ui: Any) -> None:
        """Stop the training by its button and wait for its checkpoint."""
        ui.stopButton.click()
        self.follow(panel, ui, lambda: not panel.training.job.state.active)
        self.assertIs(panel.training.job.state, TrainingJobState.STOPPED, ui.trainLabel.text)

    def endTraining(self, widget: Any, folder: Path) -> None:
        """Leave no training behind, whatever went wrong."""
        if widget.logic.trainingState(folder) in ("starting", "running"):
            widget.logic.stopTraining(folder)
        self.waitUntil(lambda: widget.logic.trainingState(folder) not in ("starting", "running", "stopping"))
