"""3D Slicer module "CoW Landmarks Training": annotated cohorts, training and evaluation of landmark models."""

from __future__ import annotations

from pathlib import Path

import slicer
from CoWLandmarksTrainingPanel.panel_height import PanelHeight
from CoWLandmarksTrainingPanel.training_panel import TrainingPanel
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class CoWLandmarksTraining(ScriptedLoadableModule):
    """What the module list and the help section show."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("CoW Landmarks Training")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Quantification")]
        self.parent.dependencies = ["CoWLandmarks"]
        self.parent.contributors = ["CoW Landmarks contributors"]
        self.parent.helpText = _(
            "Trains and evaluates models that find the landmarks of the Circle of Willis.<br>"
            "<b>For research only. This is not a medical device and must not be used for diagnosis or treatment.</b>"
        )
        self.parent.acknowledgementText = _(
            "The method follows Tan et al., IEEE International Symposium on Biomedical Imaging (ISBI) 2023. "
            "Anatomical statistics are derived in part from GNN-ART-LABEL (Chen et al., MICCAI 2020) and AICAL, "
            "both under the Apache License 2.0."
        )


@parameterNodeWrapper
class CoWLandmarksTrainingParameterNode:
    """What a scene keeps of the panel, at first the preset "cpu"; folders, files and device belong to the computer."""

    alignBy: str = "template"
    preset: str = "cpu"
    modality: str = "mra-cta"
    beginFrom: str = "default"
    phantomPercent: int = 0
    coarseSteps: int = 800
    circleSteps: int = 2400
    fineSteps: int = 2400
    adversarialSteps: int = 0
    adversarialWeight: float = 0.0
    gradientShare: float = 0.05
    learningRate: float = 0.001
    batchSize: int = 2
    alpha: float = 1000.0
    sigma: float = 1.5
    seed: int = 1
    coordinates: bool = True
    distance: bool = True


class CoWLandmarksTrainingWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Joins the panel to the application: parameter node, scene events, enter and exit."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None
        self.height = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None

    def setup(self):
        """Build the panel; a training that runs in the training folder is found again."""
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/CoWLandmarksTraining.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = CoWLandmarksTrainingLogic()
        self.panel = TrainingPanel(self.ui)
        self.height = PanelHeight(uiWidget)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        self.initializeParameterNode()

    def cleanup(self):
        """Called when the application closes and before the module is reloaded; a training goes on."""
        self.removeObservers()
        self.setParameterNode(None)
        if self.panel is not None:
            self.panel.cleanup()
            self.panel = None
        self.height = None

    def enter(self):
        """Called each time the user opens this module."""
        self.initializeParameterNode()
        self.panel.refresh()

    def exit(self):
        """Called each time the user opens another module."""
        self.setParameterNode(None)

    def onSceneStartClose(self, caller, event):
        """Called before the scene is closed."""
        self.setParameterNode(None)
        self.panel.sceneCloses()

    def onSceneEndClose(self, caller, event):
        """Called after the scene was closed."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self):
        """Take the scene's parameter node."""
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, parameterNode):
        """Connect the panel to a parameter node (None: to none)."""
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
        self._parameterNode = parameterNode
        if self._parameterNode is not None:
            self._parameterNodeGuiTag = self._parameterNode.connectGui(self.ui)
        if self.panel is not None:
            self.panel.setParameterNode(parameterNode)


class CoWLandmarksTrainingLogic(ScriptedLoadableModuleLogic):
    """The steps from cases to a model for scripts; all work runs in child processes.

    A script says, for example::

        logic = CoWLandmarksTrainingLogic()
        logic.runCommand(["align", "cohort", "--out", "aligned", "--by", "landmarks"])
        logic.startTraining("aligned", "training", start_from="default", phantoms=0.3, values={"training.seed": 2})
        logic.trainingState("training")  # "running"
    """

    def getParameterNode(self):
        """The scene's parameter node."""
        return CoWLandmarksTrainingParameterNode(super().getParameterNode())

    def runCommand(self, words):
        """Run a command of cowlandmarks-train (check, split, align, evaluate, ...) and wait for its end.

        Returns what it printed. Raises CoWLandmarksError where nothing was delivered.
        """
        from CoWLandmarksLib.errors import CoWLandmarksError
        from CoWLandmarksPanel.python_executable import pythonExecutable
        from CoWLandmarksTrainingLib.attached_command import AttachedCommand

        command = AttachedCommand([str(word) for word in words], pythonExecutable())
        command.wait()
        if not command.delivered:
            raise CoWLandmarksError(command.error or _("The command ended without a word."))
        return "\n".join(command.lines())

    def startTraining(
        self,
        aligned,
        folder,
        preset="cpu",
        modality="mra-cta",
        device="auto",
        values=None,
        resume=False,
        start_from="nothing",
        phantoms=0.0,
    ):
        """Start a training that goes on by itself, or go on with one (`resume`); returns at once.

        `modality` is a key of `training_command.MODALITIES`; `values` maps settings such as "training.seed" to values
        that differ from the preset. It begins from "nothing", the "default" model or a model file, and `phantoms` is
        the share of synthetic scans beside those of the cohort. Raises CoWLandmarksError.
        """
        from CoWLandmarksPanel.python_executable import pythonExecutable
        from CoWLandmarksTrainingLib.detached_job import start_job
        from CoWLandmarksTrainingLib.settings import DEFAULT_START
        from CoWLandmarksTrainingLib.training_command import NOTHING, TrainingChoices

        known = {NOTHING: "", DEFAULT_START: DEFAULT_START}
        start = known[start_from] if start_from in known else str(Path(start_from).absolute())
        own = {"training.start_from": start, "data.phantom_share": phantoms, **(values or {})}
        choices = TrainingChoices(Path(aligned).absolute(), Path(folder).absolute(), preset, modality, device, own)
        start_job(choices.out, choices.words(resume=resume), pythonExecutable())

    def trainingState(self, folder):
        """ "starting", "running", "stopping", "stopped", "finished", "failed" or "lost"; None where nothing began."""
        from CoWLandmarksTrainingLib.job_files import read_job

        job = read_job(Path(folder))
        return None if job is None else job.state.value

    def stopTraining(self, folder):
        """Ask the training in a folder to stop with a checkpoint; returns at once. Raises CoWLandmarksError."""
        from CoWLandmarksTrainingLib.job_files import request_stop

        request_stop(Path(folder))


class CoWLandmarksTrainingTest(ScriptedLoadableModuleTest):
    """Self test for Slicer's developer mode and ctest."""

    def runTest(self):
        """Run all tests."""
        for name in sorted(name for name in dir(self) if name.startswith("test_")):
            self.setUp()
            getattr(self, name)()
            self.tearDown()
            self.doCleanups()

    def setUp(self):
        """Start from an empty scene."""
        slicer.mrmlScene.Clear()

    def widget(self):
        """The module's widget, opened, with folders of this test's own."""
        import tempfile

        from CoWLandmarksTrainingPanel.local_settings import (
            ALIGNED_FOLDER,
            CTA_FOLDER,
            MRA_FOLDER,
            OUTPUT_FOLDER,
            LocalSettings,
        )

        settings = LocalSettings()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        before = {key: settings.text(key) for key in (MRA_FOLDER, CTA_FOLDER, ALIGNED_FOLDER, OUTPUT_FOLDER)}
        slicer.util.selectModule("CoWLandmarksTraining")
        widget = slicer.util.getModuleWidget("CoWLandmarksTraining")
        edits = (
            widget.ui.mraFolderEdit,
            widget.ui.ctaFolderEdit,
            widget.ui.alignedFolderEdit,
            widget.ui.outputFolderEdit,
        )
        for edit, text in zip(edits, before.values(), strict=True):
            self.addCleanup(setattr, edit, "currentPath", text)
        for edit, name in zip(edits, ("mra", "", "aligned", "training"), strict=True):
            edit.currentPath = str(Path(folder.name) / name) if name else ""
        return widget

    def test_TheTrainingLibraryIsPackagedWithItsPresets(self):
        """The library and its data travelled with the module."""
        from CoWLandmarksTrainingLib.phantom.atlas import default_atlas
        from CoWLandmarksTrainingLib.settings import PRESETS

        self.assertLessEqual({"cpu", "gpu", "paper"}, set(PRESETS))
        self.assertEqual(len(default_atlas().shape_models["patients"].mean), 19)

    def test_TheCommandFollowsTheChoices(self):
        """What is shown is what 'Start' runs; only what differs from the preset is named."""
        widget = self.widget()
        ui = widget.ui
        ui.parametersGroupBox.collapsed = False
        self.assertIn("--start-from default", ui.commandText.plainText)
        ui.presetComboBox.setCurrentIndex(ui.presetComboBox.findData("paper"))
        self.assertIn("--preset paper", ui.commandText.plainText)
        self.assertNotIn("--start-from", ui.commandText.plainText)
        self.assertNotIn("--set", ui.commandText.plainText)
        self.assertAlmostEqual(ui.learningRateSpinBox.value, 1e-4)
        ui.seedSpinBox.value = 7
        self.assertIn("--set training.seed=7", ui.commandText.plainText)
        ui.presetValuesButton.click()
        self.assertNotIn("--set", ui.commandText.plainText)

    def test_TheStagesOfThePresetAreShownWithWhatTheyTake(self):
        """A row for each network of the recipe, and time and disk space before the start."""
        ui = self.widget().ui
        self.assertTrue(ui.expectedLabel.text.startswith("Expected"))
        self.assertEqual(ui.circleFiguresLabel.text, "2400 steps")
        self.assertTrue(ui.fineAdversarialProgressBar.isHidden())
        ui.presetComboBox.setCurrentIndex(ui.presetComboBox.findData("paper"))
        self.assertTrue(ui.circleProgressBar.isHidden())
        self.assertFalse(ui.fineAdversarialProgressBar.isHidden())

    def test_AnEmptyTrainingFolderCanOnlyBeStarted(self):
        """Nothing runs there, nothing can be stopped or resumed."""
        ui = self.widget().ui
        self.assertTrue(ui.startButton.enabled)
        self.assertFalse(ui.stopButton.enabled)
        self.assertFalse(ui.resumeButton.enabled)
        self.assertFalse(ui.evaluateButton.enabled)

    def test_ATrainingOfAnotherTimeIsFoundAgain(self):
        """A job whose heartbeat has stopped is told, and can be resumed."""
        import json
        import time

        from CoWLandmarksTrainingLib.job_files import Job, JobState, beat, write_job

        widget = self.widget()
        folder = Path(widget.ui.outputFolderEdit.currentPath)
        folder.mkdir(parents=True)
        words = ("train", "aligned", "--out", str(folder))
        write_job(folder, Job("token", words, time.time(), JobState.RUNNING, pid=1))
        beat(folder, "token")
        (folder / "plan.json").write_text(json.dumps({}), encoding="utf-8")
        widget.panel.training.advance()
        self.assertTrue(widget.ui.stopButton.enabled)
        self.assertFalse(widget.ui.startButton.enabled)
        self.assertEqual(widget.ui.commandLabel.text, "The command that runs:")
        write_job(folder, Job("token", words, time.time() - 3600, JobState.RUNNING, pid=1))
        (folder / "heartbeat.json").unlink()
        widget.panel.training.advance()
        self.assertTrue(widget.ui.resumeButton.enabled)
        self.assertIn("--resume", widget.ui.commandText.plainText)

    def test_NothingIsLowerThanItNeeds(self):
        """The panel is as high as it needs at its width, whatever holds it."""
        widget = self.widget()
        panel = widget.ui.commandText.parent().parent()
        widget.ui.parametersGroupBox.collapsed = False
        slicer.app.processEvents()
        self.assertGreaterEqual(panel.height, panel.layout().totalHeightForWidth(panel.width))

    def test_TheSceneKeepsTheChoices(self):
        """Preset and parameters are those of the scene's parameter node."""
        widget = self.widget()
        widget.ui.seedSpinBox.value = 11
        self.assertEqual(widget.logic.getParameterNode().seed, 11)
