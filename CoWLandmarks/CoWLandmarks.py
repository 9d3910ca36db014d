"""3D Slicer module "CoW Landmarks": the 19 landmarks of the Circle of Willis on a brain angiogram."""

# No postponed annotations here: those of a parameter node must be types, not texts.
import qt
import slicer
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.scene.results import scans_of
from CoWLandmarksPanel.detection_panel import DetectionPanel
from CoWLandmarksPanel.detection_runs import DetectionRuns, Run, removeLeftBehind
from CoWLandmarksPanel.machine_settings import MachineSettings
from CoWLandmarksPanel.package_reload import forgetPackages
from CoWLandmarksPanel.panel_self_tests import PanelSelfTests
from CoWLandmarksPanel.panel_widgets import PanelHeight
from CoWLandmarksPanel.review_self_tests import ReviewSelfTests
from CoWLandmarksPanel.sample_data import CTA, MRA, registerSampleData
from CoWLandmarksPanel.script_runs import detectFromScript
from slicer import vtkMRMLMarkupsFiducialNode, vtkMRMLScalarVolumeNode
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


class CoWLandmarks(ScriptedLoadableModule):
    """What the module list and the help section show."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("CoW Landmarks")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Quantification")]
        self.parent.dependencies = []
        self.parent.contributors = ["CoW Landmarks contributors"]
        self.parent.helpText = _(
            "Finds the 19 landmarks that divide the Circle of Willis into 20 arteries, "
            "on brain MR and CT angiograms. Each of them with pictures: Docs/landmarks.md of the source code.<br>"
            "<b>For research only. This is not a medical device and must not be used for diagnosis or treatment.</b>"
        )
        self.parent.acknowledgementText = _(
            "The method follows Tan et al., IEEE International Symposium on Biomedical Imaging (ISBI) 2023. "
            "Anatomical statistics are derived in part from GNN-ART-LABEL (Chen et al., MICCAI 2020) and AICAL, "
            "both under the Apache License 2.0."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)
        slicer.app.connect("startupCompleted()", removeLeftBehind)


@parameterNodeWrapper
class CoWLandmarksParameterNode:
    """What a scene keeps of the panel; device and model file belong to the computer (machine_settings.py)."""

    inputVolume: vtkMRMLScalarVolumeNode
    detection: vtkMRMLMarkupsFiducialNode
    modality: str = "auto"
    decoding: str = "subvoxel"
    traceArteries: bool = True
    keepHeatmaps: bool = False


class CoWLandmarksWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Joins the panel to the application: parameter node, scene events, enter and exit."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None
        self.height = None
        self.sceneTimer = None
        self._parameterNode = None
        self._parameterNodeGuiTags = []

    def setup(self):
        """Build the panel."""
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/CoWLandmarks.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = CoWLandmarksLogic()
        self.panel = DetectionPanel(self.ui, self.logic)
        self.height = PanelHeight(uiWidget)
        # A result adds many nodes; the panel looks at the scene once when all are there.
        self.sceneTimer = qt.QTimer()
        self.sceneTimer.setSingleShot(True)
        self.sceneTimer.setInterval(0)
        self.sceneTimer.connect("timeout()", self.followScene)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndImportEvent, scene.EndBatchProcessEvent):
            self.addObserver(scene, event, self.onSceneChanged)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEndImport)
        self.initializeParameterNode()

    def cleanup(self):
        """Called when the application closes and before the module is reloaded."""
        self.removeObservers()
        if self.sceneTimer is not None:
            self.sceneTimer.stop()
        self.setParameterNode(None)
        if self.panel is not None:
            self.panel.cleanup()
            self.panel = None
        self.height = None
        if self.logic is not None:
            self.logic.close()

    def onReload(self):
        """Reload the module with its packages, after the panel was cleaned up (developer mode)."""
        self.cleanup()
        forgetPackages("CoWLandmarksLib", "CoWLandmarksPanel")
        ScriptedLoadableModuleWidget.onReload(self)

    def enter(self):
        """Called each time the user opens this module."""
        self.initializeParameterNode()
        self.panel.enter()

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
        self.panel.refresh()

    def onSceneEndImport(self, caller, event):
        """Called after a scene was loaded, before its views are drawn."""
        self.panel.sceneLoaded()

    def onSceneChanged(self, caller, event):
        """Called when nodes came or went."""
        self.sceneTimer.start()

    def followScene(self):
        """Show the scene as it is now, unless it is just being changed; then this is called again."""
        if self.panel is not None and not (slicer.mrmlScene.IsBatchProcessing() or slicer.mrmlScene.IsClosing()):
            self.logic.runs.forgetRemovedScans()
            self.chooseInput()
            self.panel.followViews()
            self.panel.refresh()

    def initializeParameterNode(self):
        """Take the scene's parameter node, with a scan chosen where there is one."""
        self.setParameterNode(self.logic.getParameterNode())
        self.chooseInput()

    def chooseInput(self):
        """Choose a scan where none is chosen: the one in the slice views, else the first."""
        if self._parameterNode is not None and self._parameterNode.inputVolume is None:
            self._parameterNode.inputVolume = self.logic.likelyInput()

    def setParameterNode(self, parameterNode):
        """Connect the panel to a parameter node (None: to none)."""
        for tag in self._parameterNodeGuiTags:
            self._parameterNode.disconnectGui(tag)
        self._parameterNodeGuiTags = []
        self._parameterNode = parameterNode
        if self._parameterNode is not None:
            for widgets in (self.ui, self.panel.advanced.ui):
                self._parameterNodeGuiTags.append(self._parameterNode.connectGui(widgets))
        if self.panel is not None:
            self.panel.setParameterNode(parameterNode)


class CoWLandmarksLogic(ScriptedLoadableModuleLogic):
    """Detections for scripts and for the panel; the work runs in a child process.

    A script needs no more than `CoWLandmarksLogic().detect(volumeNode)`.
    """

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        self.settings = MachineSettings()
        self.runs = DetectionRuns()

    def getParameterNode(self):
        """The scene's parameter node."""
        return CoWLandmarksParameterNode(super().getParameterNode())

    def detect(
        self,
        volumeNode,
        modality="auto",
        hint=None,
        arteries=True,
        device=None,
        modelFile=None,
        decoding="subvoxel",
        keepHeatmaps=False,
        waitForCompletion=True,
        onProgress=None,
        onEnd=None,
    ):
        """Find the landmarks and arteries of a volume node and add them to its scene.

        `modality`: "auto", "mra" or "cta". `hint`: {code: (R, A, S) in mm} of three or more landmarks that a person
        placed. `device`: "auto", "cpu", "cuda" or "mps"; `modelFile`: path of a model; None means what is set in the
        panel. Returns a `Run`: its `markupsNode`, `segmentationNode`, `tableNode`, `detection` (with `verdict`) and
        `summary`. With `waitForCompletion` these are there when the call returns, and CoWLandmarksError is raised when
        the detection fails. Otherwise the call returns at once; `onProgress` and `onEnd` get the run, which has
        `running`, `error` and `cancelled`. Raises ConfigurationError where PyTorch is missing: this installs nothing.
        """
        return detectFromScript(
            self.runs,
            self.settings,
            volumeNode,
            modality=modality,
            hint=hint,
            arteries=arteries,
            device=device,
            modelFile=modelFile,
            decoding=decoding,
            heatmaps=keepHeatmaps,
            waitForCompletion=waitForCompletion,
            onProgress=onProgress,
            onEnd=onEnd,
        )

    def cancel(self, run: Run):
        """Stop a run; the scene stays as it was."""
        self.runs.cancel(run)

    def likelyInput(self):
        """The volume in the slice views if it may be a scan, else the first that may; None without one."""
        volumes = scans_of(slicer.mrmlScene)
        composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
        shown = {composite.GetBackgroundVolumeID() for composite in composites}
        return next((node for node in volumes if node.GetID() in shown), volumes[0] if volumes else None)

    def close(self):
        """End the child process and remove temporary files. Called by itself when the logic is not used any more."""
        self.runs.close()


class CoWLandmarksTest(PanelSelfTests, ReviewSelfTests, ScriptedLoadableModuleTest):
    """Self test for Slicer's developer mode and ctest; what a person does in the panel is in panel_self_tests.py and
    review_self_tests.py."""

    def nodesOfScene(self):
        """All nodes as they are now, by ID."""
        scene = slicer.mrmlScene
        return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}

    def test_TheNumericCoreIsPackagedWithItsAnatomy(self):
        """The library and its data travelled with the module."""
        self.assertEqual(len(default_anatomy().landmarks), 19)
        self.assertEqual(len(default_anatomy().arteries), 20)

    def test_BothSamplesAreOfferedWithoutInternet(self):
        """The Sample Data module gets files that lie in the extension."""
        import SampleData  # load order

        registerSampleData()
        for sample in (MRA, CTA):
            self.assertTrue(sample.file.is_file())
            self.assertTrue(sample.thumbnail.is_file())
            self.assertIsNotNone(SampleData.SampleDataLogic().sourceForSampleName(sample.sample))

    def test_ADetectionAddsItsNodesBesideTheVolume(self):
        """The whole way, as a script goes it."""
        self.skipWithoutTorch()
        volume = self.loadSample()
        logic = CoWLandmarksLogic()
        run = logic.detect(volume, device="cpu")
        self.assertEqual(run.markupsNode.GetNumberOfControlPoints(), 19)
        self.assertEqual(run.segmentationNode.GetSegmentation().GetNumberOfSegments(), 20)
        self.assertEqual(run.tableNode.GetNumberOfRows(), 20)
        hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
        folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(run.markupsNode))
        self.assertEqual(hierarchy.GetItemParent(folder), hierarchy.GetItemParent(hierarchy.GetItemByDataNode(volume)))
        self.assertIn("found", run.summary)
        logic.close()

    def test_CancellingLeavesTheSceneAsItWas(self):
        """Cancel ends the child process and adds nothing."""
        self.skipWithoutTorch()
        volume = self.loadSample()
        before = self.nodesOfScene()
        logic = CoWLandmarksLogic()
        run = logic.detect(volume, device="cpu", waitForCompletion=False)
        for _attempt in range(20):
            slicer.app.processEvents()
            logic.runs.advance()
        logic.cancel(run)
        logic.runs.wait(run)
        self.assertTrue(run.cancelled)
        self.assertEqual(self.nodesOfScene(), before)
        logic.close()
