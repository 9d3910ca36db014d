"""3D Slicer module "CoW Landmarks Training": annotated cohorts, training and evaluation of landmark models."""

from __future__ import annotations

from pathlib import Path

import slicer
from CoWLandmarksLib.core.errors import CoWLandmarksError
from CoWLandmarksPanel.machine_settings import pythonExecutable
from CoWLandmarksPanel.package_reload import forgetPackages
from CoWLandmarksPanel.panel_widgets import PanelHeight
from CoWLandmarksTrainingLib.config.presets import PRESETS
from CoWLandmarksTrainingLib.config.settings import DEFAULT_START
from CoWLandmarksTrainingLib.jobs.attached_command import AttachedCommand
from CoWLandmarksTrainingLib.jobs.detached_job import start_job
from CoWLandmarksTrainingLib.jobs.job_files import read_job, request_stop
from CoWLandmarksTrainingLib.panel.training_command import NOTHING, TrainingChoices
from CoWLandmarksTrainingPanel.training_panel import TrainingPanel
from CoWLandmarksTrainingPanel.training_self_tests import TrainingSelfTests
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
    phantomPercent: int = 50
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

    def onReload(self):
        """Reload the module with its packages, after the panel was cleaned up (developer mode)."""
        self.cleanup()
        forgetPackages("CoWLandmarksLib", "CoWLandmarksPanel", "CoWLandmarksTrainingLib", "CoWLandmarksTrainingPanel")
        ScriptedLoadableModuleWidget.onReload(self)

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

    def runCommand(self, arguments):
        """Run a command of cowlandmarks-train (check, split, align, evaluate, ...) and wait for its end.

        Returns what it printed. Raises CoWLandmarksError where nothing was delivered.
        """
        command = AttachedCommand([str(argument) for argument in arguments], pythonExecutable())
        command.wait()
        if not command.delivered:
            raise CoWLandmarksError(command.error or _("The command ended without a message."))
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
        known = {NOTHING: "", DEFAULT_START: DEFAULT_START}
        start = known[start_from] if start_from in known else str(Path(start_from).absolute())
        own = {"training.start_from": start, "data.phantom_share": phantoms, **(values or {})}
        choices = TrainingChoices(Path(aligned).absolute(), Path(folder).absolute(), preset, modality, device, own)
        start_job(choices.out, choices.arguments(resume=resume), pythonExecutable())

    def trainingState(self, folder):
        """ "starting", "running", "stopping", "stopped", "finished", "failed" or "lost"; None where nothing began."""
        job = read_job(Path(folder))
        return None if job is None else job.state.value

    def stopTraining(self, folder):
        """Ask the training in a folder to stop with a checkpoint; returns at once. Raises CoWLandmarksError."""
        request_stop(Path(folder))


class CoWLandmarksTrainingTest(TrainingSelfTests, ScriptedLoadableModuleTest):
    """Self test for Slicer's developer mode and ctest; what a person does is in training_self_tests.py."""

    def test_TheTrainingLibraryIsPackagedWithItsPresets(self):
        """The library and its data travelled with the module."""
        from CoWLandmarksTrainingLib.phantom.atlas import default_atlas  # child process

        self.assertLessEqual({"cpu", "gpu", "paper"}, set(PRESETS))
        self.assertEqual(len(default_atlas().shape_models["patients"].mean), 19)
