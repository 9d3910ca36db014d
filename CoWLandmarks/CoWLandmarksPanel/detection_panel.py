"""The panel of the module CoW Landmarks: one click from a scan to its landmarks, and the sections round it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import qt
import slicer
from CoWLandmarksLib.anatomy import default_anatomy
from CoWLandmarksLib.delivered import read_delivered
from CoWLandmarksLib.detect_options import DetectOptions
from CoWLandmarksLib.errors import CoWLandmarksError
from CoWLandmarksLib.scene import detection_nodes, points_from_node, volume_from_node, volume_node_of
from CoWLandmarksLib.scene_batch import BatchRow
from CoWLandmarksLib.scene_display import look_at_circle, show_vessels
from CoWLandmarksLib.scene_regions import update_region_balls
from CoWLandmarksLib.scene_results import add_result, refresh_summary
from CoWLandmarksLib.scene_surfaces import artery_surfaces
from slicer.i18n import tr as _

from .advanced_panel import AdvancedPanel
from .batch_panel import Batch, BatchPanel
from .batch_runs import FolderBatch, SceneBatch
from .compare_panel import ComparePanel
from .detection_runs import Run
from .export_panel import ExportPanel
from .pytorch_setup import torchInstalled
from .result_panel import ResultPanel
from .review_panel import ReviewPanel
from .sample_data import CTA, MRA, Sample
from .setup_panel import SetupPanel

DEFAULT_MODEL = Path(__file__).resolve().parent.parent / "CoWLandmarksLib" / "Resources" / "Models" / "default.cow.pt"


Places = tuple[tuple[tuple[float, float, float] | None, str], ...]


def _places(markupsNode: Any) -> Places:
    """Where the points are, and which have no place."""
    return tuple((point.position, point.status) for point in points_from_node(markupsNode))


class DetectionPanel:
    """Everything below the module's title; `ui` are the widgets of CoWLandmarks.ui, `logic` does the work."""

    def __init__(self, ui: Any, logic: Any) -> None:
        self.ui = ui
        self._logic = logic
        self._parameters: Any | None = None
        self._run: Run | None = None
        self._scan: Any | None = None
        self._traced: dict[str, Places] = {}
        self._arteriesMessage = ""
        self._toDisplay: Any | None = None
        self._displayTimer = qt.QTimer()
        self._displayTimer.setSingleShot(True)
        self._displayTimer.setInterval(0)
        self._displayTimer.connect("timeout()", self._onDisplay)
        anatomy = default_anatomy()
        self._anatomy = anatomy
        self.result = ResultPanel(ui.resultCollapsibleButton, anatomy)
        self.batch = BatchPanel(ui.batchCollapsibleButton, logic.settings)
        self.advanced = AdvancedPanel(ui.advancedCollapsibleButton, logic.settings, DEFAULT_MODEL)
        self.setup = SetupPanel(ui, self.refresh)
        self.result.onSelected = self._choose
        self.result.onTryAgain = lambda volumeNode, hint: self._start(volumeNode, hint)
        self.batch.startScene = self._startSceneBatch
        self.batch.startFolder = self._startFolderBatch
        self.batch.onOpen = self._openRow
        self.batch.onRunningChanged = self.refresh
        self.advanced.onShowCard = self._fetchCard
        self.advanced.onModalityChanged = lambda value: self._keep("modality", value)
        self.advanced.onDecodingChanged = lambda value: self._keep("decoding", value)
        self.review = ReviewPanel(ui.reviewCollapsibleButton, anatomy)
        self.export = ExportPanel(ui.exportCollapsibleButton, anatomy)
        self.compare = ComparePanel(ui.compareCollapsibleButton, anatomy)
        self.review.onLandmarksChanged = self.onLandmarksChanged
        self.review.onDetectionAdded = self._choose
        ui.detectButton.connect("clicked(bool)", self._onDetectButton)
        ui.sampleMraButton.connect("clicked(bool)", lambda checked=False: self._loadSample(MRA))
        ui.sampleCtaButton.connect("clicked(bool)", lambda checked=False: self._loadSample(CTA))
        ui.inputSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onInputChanged)
        ui.messageLabel.text = ""
        self.refresh()

    @property
    def detection(self) -> Any | None:
        """The point list that result, review, export and comparison show."""
        return None if self._parameters is None else self._parameters.detection

    @property
    def detecting(self) -> bool:
        """Whether a single detection runs."""
        return self._run is not None and self._run.running

    def setParameterNode(self, parameters: Any | None) -> None:
        """Follow the parameter node of the scene."""
        self._parameters = parameters
        if parameters is not None:
            self.advanced.setChoices(parameters.modality, parameters.decoding)
        self.refresh()

    def enter(self) -> None:
        """The user comes back to the panel."""
        self.advanced.refresh()
        self.refresh()

    def sceneCloses(self) -> None:
        """Everything that works on the scene stops; its nodes go."""
        self._stop()
        self._logic.runs.forgetScans()
        self._showDetection(None)
        self._traced.clear()
        self.ui.messageLabel.text = ""

    def cleanup(self) -> None:
        """Leave nothing behind."""
        self.setup.cancel()
        self._displayTimer.stop()
        self._stop()
        for section in (self.result, self.review, self.export, self.compare):
            section.cleanup()
        self._parameters = None

    def refresh(self) -> None:
        """Show what is possible now."""
        ui = self.ui
        running, installing = self.detecting, self.setup.installing
        scan = ui.inputSelector.currentNode()
        ui.emptyFrame.visible = scan is None
        ui.inputSelector.enabled = not running
        ui.detectButton.text = _("Cancel") if running or installing else _("Detect landmarks")
        ui.detectButton.enabled = running or installing or (scan is not None and not self.batch.running)
        ui.detectButton.toolTip = self._hintForButton(scan)
        ui.progressBar.visible = running or installing
        ui.stageLabel.visible = running or installing
        ui.messageLabel.visible = bool(ui.messageLabel.text)
        self.batch.setEnabled(not running and not installing)
        detection = self.detection
        if detection is None or detection.GetScene() is None:
            known = detection_nodes(slicer.mrmlScene)
            detection = known[-1] if known else None
            if self._parameters is not None and detection is not None:
                self._parameters.detection = detection
        self._showDetection(detection)

    def _hintForButton(self, scan: Any | None) -> str:
        if self.detecting:
            return _("Stop; the scene stays as it was.")
        if self.batch.running:
            return _("Wait for the many scans below, or cancel them.")
        if scan is None:
            return _("Load a brain angiogram first.")
        return _("Find the 19 landmarks and the 20 arteries of the Circle of Willis.")

    def _onInputChanged(self, node: Any | None) -> None:
        self.refresh()

    def _onDetectButton(self, checked: bool = False) -> None:
        if self.setup.installing:
            self.setup.cancel()
        elif self.detecting:
            self._logic.runs.cancel(self._run)
            self.ui.stageLabel.text = _("Cancelling...")
        else:
            self._start(self.ui.inputSelector.currentNode(), None)

    def _start(self, volumeNode: Any | None, hint: dict | None) -> None:
        if volumeNode is None or self.detecting or self.batch.running:
            return
        if not torchInstalled():
            self.setup.offer(lambda: self._start(volumeNode if volumeNode.GetScene() is not None else None, hint))
            return
        self._tell("")
        self._scan = volumeNode
        try:
            self._run = self._logic.runs.detect(
                volumeNode, self._options(), hint, onProgress=self._onProgress, onEnd=self._onEnd
            )
        except CoWLandmarksError as error:
            self._tell(str(error))
            return
        self.ui.progressBar.maximum = 100
        self.ui.progressBar.value = 0
        self.ui.stageLabel.text = _("Handing over the scan...")
        self.refresh()

    def _options(self) -> DetectOptions:
        parameters = self._parameters
        if parameters is None:
            return self.advanced.options(arteries=True, heatmaps=False)
        return self.advanced.options(parameters.traceArteries, parameters.keepHeatmaps)

    def _onProgress(self, run: Run) -> None:
        if run is self._run:
            self.ui.progressBar.value = round(100 * run.fraction)
            if run.message:
                self.ui.stageLabel.text = _(run.message[:1].upper() + run.message[1:]) + "..."

    def _onEnd(self, run: Run) -> None:
        if run is not self._run:
            return
        self._run = None
        if run.nodes is not None:
            self._tell("\n".join(run.warnings))
            if self._parameters is not None:
                self._parameters.detection = run.nodes.markups
            self._toDisplay = run.nodes.markups
            self._displayTimer.start()  # in a turn of its own, so that none takes long
        elif run.cancelled and self._scan is not None and self._scan.GetScene() is None:
            self._tell(_("The detection was stopped because its scan was removed from the scene."))
        elif run.cancelled:
            self._tell(_("Cancelled. The scene is as it was before."))
        else:
            self._tell(run.error or "")
        self.refresh()

    def _onDisplay(self) -> None:
        markupsNode, self._toDisplay = self._toDisplay, None
        if markupsNode is not None and markupsNode.GetScene() is not None:
            self._display(markupsNode)

    def _display(self, markupsNode: Any) -> None:
        volumeNode = volume_node_of(markupsNode)
        if volumeNode is not None:
            look_at_circle(slicer.mrmlScene, volumeNode, markupsNode)
            show_vessels(slicer.modules.volumerendering.logic(), volumeNode, markupsNode)

    def _choose(self, markupsNode: Any) -> None:
        if self._parameters is not None:
            self._parameters.detection = markupsNode
        self._showDetection(markupsNode)

    def _showDetection(self, markupsNode: Any | None) -> None:
        if markupsNode is not None:
            self._traced.setdefault(markupsNode.GetID(), _places(markupsNode))
        for section in (self.result, self.review, self.export, self.compare):
            section.setDetection(markupsNode)

    def onLandmarksChanged(self, markupsNode: Any, changedCodes: Sequence[str]) -> None:
        """A person moved, placed or removed points: colours, summary and arteries follow."""
        update_region_balls(markupsNode, self._anatomy)
        refresh_summary(markupsNode, self._anatomy)
        self.result.refresh()
        places = _places(markupsNode)
        if places == self._traced.get(markupsNode.GetID()) or not torchInstalled():
            return  # accepted as it is: the arteries stay
        self._traced[markupsNode.GetID()] = places
        try:
            self._logic.runs.updateArteries(markupsNode, self._onArteries)
        except CoWLandmarksError as error:
            self._tellOfArteries(str(error))

    def _onArteries(self, run: Run) -> None:
        if run.error is not None:
            self._tellOfArteries(_("The arteries could not be updated: {reason}").format(reason=run.error))
        elif not run.cancelled:
            self._tellOfArteries("")
        self.result.refresh()

    def _tellOfArteries(self, text: str) -> None:
        """Say why the arteries do not follow; without a text take back what was said so."""
        if text or self.ui.messageLabel.text == self._arteriesMessage:
            self._tell(text)
        self._arteriesMessage = text

    def _startSceneBatch(self, nodes: Sequence[Any], onChanged: Callable[[], None]) -> Batch | None:
        if not self._ready():
            return None
        return SceneBatch(self._logic.runs, nodes, self._options(), onChanged)

    def _startFolderBatch(self, scans: Sequence[Path], out: Path, onChanged: Callable[[], None]) -> Batch | None:
        if not self._ready():
            return None
        return FolderBatch(self._logic.runs, scans, out, self._options(), onChanged)

    def _ready(self) -> bool:
        if not torchInstalled():
            self.setup.offer(lambda: None)
            return False
        return not self.detecting

    def _openRow(self, row: BatchRow) -> None:
        """Show the result of one scan of a batch; from a folder it is loaded first."""
        markups = row.markups
        if markups is None and row.folder is not None and row.scan_file is not None:
            markups = self._loadResult(row.scan_file, row.folder)
        if markups is not None and markups.GetScene() is not None:
            self._choose(markups)
            self._display(markups)
            self.refresh()

    def _loadResult(self, scan: Path, folder: Path) -> Any | None:
        if scan.is_dir():
            self._tell(
                _("Load the DICOM series '{name}' with the DICOM module; its result is in '{folder}'.").format(
                    name=scan.name, folder=folder
                )
            )
            return None
        try:
            volumeNode = slicer.util.loadVolume(str(scan))
            grid = volume_from_node(volumeNode, copy=False).grid
            delivered = read_delivered(folder, grid, self._anatomy)
            surfaces = {} if delivered.arteries is None else dict(artery_surfaces(delivered.arteries, self._anatomy))
            return add_result(slicer.mrmlScene, volumeNode, delivered, self._anatomy, surfaces).markups
        except (CoWLandmarksError, RuntimeError) as error:
            self._tell(str(error))
            return None

    def _fetchCard(self, path: Path) -> None:
        if not torchInstalled():
            self.advanced.showCard(path, _("The card is shown after PyTorch was installed (with the first detection)."))
            return
        self._logic.runs.describeModel(path, lambda run: self.advanced.showCard(path, run.error or run.text))

    def _loadSample(self, sample: Sample) -> None:
        slicer.util.loadVolume(str(sample.file), {"name": sample.name})

    def _keep(self, name: str, value: str) -> None:
        if self._parameters is not None:
            setattr(self._parameters, name, value)

    def _stop(self) -> None:
        self.batch.cleanup()
        run, self._run = self._run, None
        if run is not None:
            self._logic.runs.cancel(run)

    def _tell(self, text: str) -> None:
        self.ui.messageLabel.text = text
        self.ui.messageLabel.visible = bool(text)
