"""The panel of the module CoW Landmarks: one click from a scan to its landmarks, and the sections round it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import qt
import slicer
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.errors import CoWLandmarksError
from CoWLandmarksLib.files.delivered import read_delivered
from CoWLandmarksLib.jobs.job_queue import DetectOptions
from CoWLandmarksLib.scene.batch_table import BatchRow
from CoWLandmarksLib.scene.declared_arteries import DECLARED
from CoWLandmarksLib.scene.display import look_at_circle
from CoWLandmarksLib.scene.nodes import points_from_node, volume_from_node, volume_node_of
from CoWLandmarksLib.scene.region_balls import update_region_balls
from CoWLandmarksLib.scene.results import add_result, refresh_summary, set_shown
from CoWLandmarksLib.scene.vessel_rendering import hide_vessels
from CoWLandmarksLib.scene.views import latest_result, mark_as_check, show_only_result
from slicer.i18n import tr as _

from .advanced_panel import AdvancedPanel
from .batch_panel import BatchPanel, PanelBatch
from .batch_runs import FolderBatch, SceneBatch
from .compare_panel import ComparePanel
from .detection_runs import Run
from .export_panel import ExportPanel
from .pytorch_setup import torchInstalled
from .result_panel import ResultPanel
from .review_panel import ReviewPanel
from .sample_data import CTA, MRA, SampleScan
from .scan_views import ScanViews
from .section_guard import SectionGuard
from .setup_panel import SetupPanel
from .stepwise import Stepwise
from .vessel_drawing import VesselDrawing

DEFAULT_MODEL = Path(__file__).resolve().parent.parent / "CoWLandmarksLib" / "Resources" / "Models" / "default.cow.pt"


Places = tuple[tuple[tuple[float, float, float] | None, str] | str | None, ...]


def _places(markupsNode: Any) -> Places:
    """Where the points are, which have no place, and what is declared of arteries."""
    points = ((point.position, point.status) for point in points_from_node(markupsNode))
    return (markupsNode.GetAttribute(DECLARED), *points)


class DetectionPanel:
    """Everything below the module's title; `ui` are the widgets of CoWLandmarks.ui, `logic` does the work."""

    def __init__(self, ui: Any, logic: Any) -> None:
        self.ui = ui
        self._logic = logic
        self._parameters: Any | None = None
        self._run: Run | None = None
        self._checked: Any | None = None
        self._scan: Any | None = None
        self._traced: dict[str, Places] = {}
        self._arteriesMessage = ""
        self._input: Any | None = None
        self._shown: Any | None = None
        self._switching = False
        self._views = ScanViews(self.followViews)
        self._toDisplay: Any | None = None
        self._loading: Stepwise | None = None
        self._centreViews = True
        self._drawAgain = False
        self._displayTimer = qt.QTimer()
        self._displayTimer.setSingleShot(True)
        self._displayTimer.setInterval(0)
        self._displayTimer.connect(
            "timeout()", lambda: self._guard.call(ui.resultCollapsibleButton.text, self._onDisplay)
        )
        anatomy = default_anatomy()
        self._anatomy = anatomy
        self.result = ResultPanel(ui.resultCollapsibleButton, anatomy)
        self.batch = BatchPanel(ui.batchCollapsibleButton, logic.settings)
        self.advanced = AdvancedPanel(ui.advancedCollapsibleButton, logic.settings, DEFAULT_MODEL)
        self.setup = SetupPanel(ui, self.refresh)
        self._vessels = VesselDrawing(logic.settings)
        self.result.onSelected = self._choose
        self.result.onTryAgain = lambda volumeNode, hint: self._start(volumeNode, hint)
        self.result.onCheck = lambda markupsNode: self._start(volume_node_of(markupsNode), None, markupsNode)
        self.batch.startScene = self._startSceneBatch
        self.batch.startFolder = self._startFolderBatch
        self.batch.onOpen = self._openRow
        self.batch.onResult = self._onBatchResult
        self.batch.onRunningChanged = self.refresh
        self.advanced.onShowDescription = self._fetchDescription
        self.advanced.onModalityChanged = lambda value: self._keep("modality", value)
        self.advanced.onDecodingChanged = lambda value: self._keep("decoding", value)
        self.advanced.onVolumeRenderingChanged = self._drawVessels
        self.review = ReviewPanel(ui.reviewCollapsibleButton, anatomy)
        self.export = ExportPanel(ui.exportCollapsibleButton, anatomy)
        self.compare = ComparePanel(ui.compareCollapsibleButton, anatomy)
        self._guard = SectionGuard(ui.sectionErrorLabel)
        self._sections = (
            (ui.resultCollapsibleButton.text, self.result),
            (ui.reviewCollapsibleButton.text, self.review),
            (ui.exportCollapsibleButton.text, self.export),
            (ui.compareCollapsibleButton.text, self.compare),
        )
        self.review.onLandmarksChanged = self.onLandmarksChanged
        self.review.onDetectionAdded = self._choose
        self.review.arteries.onDeclared = lambda markupsNode: self._guard.call(
            ui.reviewCollapsibleButton.text, self._updateArteries, markupsNode
        )
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
            self._input = parameters.inputVolume
        self.followViews()
        self.refresh()

    def enter(self) -> None:
        """The user comes back to the panel."""
        self.advanced.refresh()
        if self._input is not None and self._input.GetScene() is not None and self._views.blank:
            self._views.show(self._input)
        self.refresh()
        if self._drawAgain:
            self._displayTimer.start()

    def sceneLoaded(self) -> None:
        """A scene was loaded: its vessels are drawn as this computer can, not as the one can that saved it."""
        if hide_vessels(slicer.mrmlScene):
            self._drawAgain, self._centreViews = True, False
            self._displayTimer.start()  # when the result is chosen

    def sceneCloses(self) -> None:
        """Everything that works on the scene stops; its nodes go."""
        self._stop()
        self._logic.runs.forgetScans()
        self._showDetection(None)
        self._views.forget()
        self._input = None
        self._traced.clear()
        self._drawAgain = False
        self.ui.messageLabel.text = ""

    def cleanup(self) -> None:
        """Leave nothing behind."""
        self.setup.cancel()
        self._displayTimer.stop()
        self._views.cleanup()
        self._stop()
        for title, section in self._sections:
            self._guard.call(title, section.cleanup)
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
        self.result.ui.checkButton.enabled = not (running or installing or self.batch.running)
        # While another module is open the sections keep what they show, as long as it is in the scene.
        detection = self._shown if self._parameters is None else self.detection
        if detection is not None and detection.GetScene() is None:
            detection = None
        if detection is None and self._parameters is not None and scan is not None:
            detection = latest_result(scan)
            if detection is not None:
                self._switch(scan, detection)
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
        """Another scan is chosen in the selector: its latest result is shown, and it itself in the views."""
        if self._switching or slicer.mrmlScene.IsBatchProcessing():
            return
        if self._parameters is not None:
            # Without a scan before, the selector chose by itself: the views stay, unless they are blank.
            chosenByUser = self._input is not None and self._input.GetScene() is not None
            if node is not None and (self.detection is None or volume_node_of(self.detection) is not node):
                self._switch(node, latest_result(node), show=chosenByUser or self._views.blank)
            self._input = node
        self.refresh()

    def followViews(self) -> None:
        """Where all slice views show another scan than before, it is the chosen one: its latest result is shown."""
        self._views.observe()
        scene = slicer.mrmlScene
        if self._parameters is None or self.detecting or scene.IsBatchProcessing() or scene.IsClosing():
            return
        if self.ui.inputSelector.currentNode() is not self._input:  # chosen while the scene was being changed
            self._onInputChanged(self.ui.inputSelector.currentNode())
        scan = self._views.newScan()
        if scan is not None and scan is not self._input:
            self._switch(scan, latest_result(scan), centre=False)
            self.refresh()

    def _switch(self, volumeNode: Any | None, markupsNode: Any | None, show: bool = True, centre: bool = True) -> None:
        """From now on this is the scan, and this its result (None: it has none); the other results are hidden.

        `show`: the slice views show the scan. `centre`: they turn to the circle, where the scan is another one.
        """
        parameters = self._parameters or self._logic.getParameterNode()
        another = volumeNode is not None and volumeNode is not self._input
        self._switching = True
        try:
            parameters.detection = markupsNode
            if volumeNode is not None:
                parameters.inputVolume = self._input = volumeNode
        finally:
            self._switching = False
        show_only_result(slicer.mrmlScene, markupsNode)
        if show and volumeNode is not None:
            self._views.show(volumeNode)
        if another:
            hide_vessels(slicer.mrmlScene)
            self._toDisplay, self._centreViews = markupsNode, centre and show
            self._displayTimer.start()  # in a turn of its own, so that none takes long

    def _onDetectButton(self, checked: bool = False) -> None:
        if self.setup.installing:
            self.setup.cancel()
        elif self.detecting:
            self._logic.runs.cancel(self._run)
            self.ui.stageLabel.text = _("Cancelling...")
        else:
            self._start(self.ui.inputSelector.currentNode(), None)

    def _start(self, volumeNode: Any | None, hint: dict | None, checked: Any | None = None) -> None:
        """Detect; `checked` are landmarks from a file that are then compared with what was found."""
        if volumeNode is None or self.detecting or self.batch.running:
            return
        if not torchInstalled():
            self.setup.offer(
                lambda: self._start(volumeNode if volumeNode.GetScene() is not None else None, hint, checked)
            )
            return
        self._showMessage("")
        self._scan, self._checked = volumeNode, checked
        try:
            self._run = self._logic.runs.detect(
                volumeNode, self._options(), hint, onProgress=self._onProgress, onEnd=self._onEnd
            )
        except CoWLandmarksError as error:
            self._showMessage(str(error))
            return
        self.ui.progressBar.maximum = 0  # busy: how long PyTorch takes to start is not known
        self.ui.stageLabel.text = _("Handing over the scan...")
        self.refresh()

    def _options(self) -> DetectOptions:
        parameters = self._parameters
        if parameters is None:
            return self.advanced.options(arteries=True, heatmaps=False)
        return self.advanced.options(parameters.traceArteries, parameters.keepHeatmaps)

    def _onProgress(self, run: Run) -> None:
        if run is self._run:
            if run.fraction > 0.0:
                self.ui.progressBar.maximum = 100
                self.ui.progressBar.value = round(100 * run.fraction)
            if run.message:
                self.ui.stageLabel.text = _(run.message[:1].upper() + run.message[1:]) + "..."

    def _onEnd(self, run: Run) -> None:
        if run is not self._run:
            return
        self._run = None
        checked, self._checked = self._checked, None
        if run.nodes is not None and checked is not None and checked.GetScene() is not None:
            self._showCheck(checked, run)
        elif run.nodes is not None:
            self._showMessage("\n".join(run.warnings))
            self._switch(volume_node_of(run.nodes.markups), run.nodes.markups)
            self._toDisplay, self._centreViews = run.nodes.markups, True
            self._displayTimer.start()  # in a turn of its own, so that none takes long
        elif run.cancelled and self._scan is not None and self._scan.GetScene() is None:
            self._showMessage(_("The detection was stopped because its scan was removed from the scene."))
        elif run.cancelled:
            self._showMessage(_("Cancelled. The scene is as it was before."))
        else:
            self._showMessage(run.error or "")
        self.followViews()
        self.refresh()

    def _showCheck(self, given: Any, run: Run) -> None:
        """Landmarks from a file stay the chosen ones; what was detected is a hidden result beside them."""
        mark_as_check(run.markupsNode)
        show_only_result(slicer.mrmlScene, given)
        self._choose(given)
        self._showMessage("\n".join([self.compare.check(given, run.markupsNode), *run.warnings]))
        self.ui.compareCollapsibleButton.collapsed = False

    def _onDisplay(self) -> None:
        markupsNode, self._toDisplay = self._toDisplay, None
        if self._drawAgain and self.detection is not None:
            self._drawAgain = False
            self._drawVessels()
        if markupsNode is not None and markupsNode.GetScene() is not None:
            if self._centreViews:
                self._display(markupsNode)
            else:
                self._drawVessels()

    def _display(self, markupsNode: Any) -> None:
        volumeNode = volume_node_of(markupsNode)
        if volumeNode is not None:
            look_at_circle(slicer.mrmlScene, volumeNode, markupsNode)
        self._drawVessels(markupsNode)

    def _drawVessels(self, markupsNode: Any | None = None) -> None:
        """Draw the vessels of a result, else of the chosen one, as the settings say now."""
        if markupsNode is None:
            markupsNode = self.detection
        volumeNode = None if markupsNode is None else volume_node_of(markupsNode)
        if volumeNode is not None:
            self.result.showDrawing(self._vessels.show(volumeNode, markupsNode))

    def _choose(self, markupsNode: Any) -> None:
        self._switch(volume_node_of(markupsNode), markupsNode)
        self._showDetection(markupsNode)

    def _showDetection(self, markupsNode: Any | None) -> None:
        self._shown = markupsNode
        if markupsNode is not None:
            self._traced.setdefault(markupsNode.GetID(), _places(markupsNode))
        for title, section in self._sections:
            self._guard.call(title, section.setDetection, markupsNode)

    def onLandmarksChanged(self, markupsNode: Any, changedCodes: Sequence[str]) -> None:
        """A person moved, placed or removed points: colours, summary and arteries follow."""
        title = self.ui.resultCollapsibleButton.text
        self._guard.call(title, update_region_balls, markupsNode, self._anatomy)
        self._guard.call(title, refresh_summary, markupsNode, self._anatomy)
        self._guard.call(title, self.result.refresh)
        self._guard.call(title, self._updateArteries, markupsNode)

    def _updateArteries(self, markupsNode: Any) -> None:
        places = _places(markupsNode)
        if places == self._traced.get(markupsNode.GetID()) or not torchInstalled():
            return  # accepted as it is: the arteries stay
        self._traced[markupsNode.GetID()] = places
        try:
            self._logic.runs.updateArteries(markupsNode, self._onArteries)
        except CoWLandmarksError as error:
            self._showArteriesMessage(str(error))

    def _onArteries(self, run: Run) -> None:
        if run.error is not None:
            self._showArteriesMessage(_("The arteries could not be updated: {reason}").format(reason=run.error))
        elif not run.cancelled:
            self._showArteriesMessage("")
        self._guard.call(self.ui.resultCollapsibleButton.text, self.result.refresh)
        self._guard.call(self.ui.reviewCollapsibleButton.text, self.review.arteries.refresh)

    def _showArteriesMessage(self, text: str) -> None:
        """Say why the arteries do not follow; without a text take back what was said so."""
        if text or self.ui.messageLabel.text == self._arteriesMessage:
            self._showMessage(text)
        self._arteriesMessage = text

    def _startSceneBatch(self, nodes: Sequence[Any], onChanged: Callable[[], None]) -> PanelBatch | None:
        if not self._ready():
            return None
        return SceneBatch(self._logic.runs, nodes, self._options(), onChanged)

    def _startFolderBatch(self, scans: Sequence[Path], out: Path, onChanged: Callable[[], None]) -> PanelBatch | None:
        if not self._ready():
            return None
        return FolderBatch(self._logic.runs, scans, out, self._options(), onChanged)

    def _ready(self) -> bool:
        if not torchInstalled():
            self.setup.offer(lambda: None)
            return False
        return not self.detecting

    def _onBatchResult(self, row: BatchRow) -> None:
        """A result of a batch has come: it is shown if its scan is the chosen one, else at the end, or by its row."""
        markups = row.markups
        if markups is not None and markups.GetScene() is not None:
            if volume_node_of(markups) is self._input:
                self._choose(markups)
            else:
                set_shown(markups, False)

    def _openRow(self, row: BatchRow) -> None:
        """Show the result of one scan of a batch; from a folder it is loaded first."""
        if self._loading is not None and self._loading.running:
            return  # a second double click
        if row.markups is None and row.folder is not None and row.scan_file is not None:
            self._loadResult(row.scan_file, row.folder)
        else:
            self._open(row.markups)

    def _open(self, markups: Any | None) -> None:
        if markups is not None and markups.GetScene() is not None:
            self._choose(markups)
            self._display(markups)
            self.refresh()

    def _loadResult(self, scan: Path, folder: Path) -> None:
        """Load a scan and its result and show them; each surface is made in a turn of its own."""
        if scan.is_dir():
            self._showMessage(
                _("Load the DICOM series '{name}' with the DICOM module; its result is in '{folder}'.").format(
                    name=scan.name, folder=folder
                )
            )
            return
        self._showMessage("")
        try:
            volumeNode = slicer.util.loadVolume(str(scan))
            grid = volume_from_node(volumeNode, copy=False).grid
            delivered = read_delivered(folder, grid, self._anatomy)
        except (CoWLandmarksError, RuntimeError) as error:
            self._showMessage(str(error))
            return
        loaded: list[Any] = []

        def steps() -> Iterator[float]:
            surfaces: dict[str, Any] = {}
            for _surface in self._logic.runs.surfaces(delivered, surfaces):
                yield 0.0
            if volumeNode.GetScene() is not None:
                loaded.append(add_result(slicer.mrmlScene, volumeNode, delivered, self._anatomy, surfaces).markups)
                yield 1.0  # what is shown takes a turn of its own

        def onEnd(error: str | None) -> None:
            self._showMessage(error or "")
            for markups in loaded:
                self._open(markups)

        self._loading = Stepwise(lambda fraction: None, onEnd)
        self._loading.start(steps())

    def _fetchDescription(self, path: Path) -> None:
        if not torchInstalled():
            self.advanced.showDescription(
                path, _("The model card is shown after PyTorch was installed (with the first detection).")
            )
            return
        self._logic.runs.describeModel(path, lambda run: self.advanced.showDescription(path, run.error or run.text))

    def _loadSample(self, sample: SampleScan) -> None:
        slicer.util.loadVolume(str(sample.file), {"name": sample.name})

    def _keep(self, name: str, value: str) -> None:
        if self._parameters is not None:
            setattr(self._parameters, name, value)

    def _stop(self) -> None:
        self.batch.cleanup()
        if self._loading is not None:
            self._loading.cancel()
        run, self._run = self._run, None
        if run is not None:
            self._logic.runs.cancel(run)

    def _showMessage(self, text: str) -> None:
        self.ui.messageLabel.text = text
        self.ui.messageLabel.visible = bool(text)
