"""Detections and updates of arteries as the panel starts them: a child process works, a timer watches it."""

from __future__ import annotations

import tempfile
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import qt
import slicer
from CoWLandmarksLib.core.anatomy import Anatomy, default_anatomy
from CoWLandmarksLib.core.detection import Detection, LandmarkEstimate, LandmarkState
from CoWLandmarksLib.core.errors import AnnotationError
from CoWLandmarksLib.files.delivered import Delivered, read_delivered
from CoWLandmarksLib.files.markups import write_annotation
from CoWLandmarksLib.files.surfaces import artery_surfaces
from CoWLandmarksLib.jobs.child_process import Worker
from CoWLandmarksLib.jobs.job_queue import DetectOptions, JobQueue, WorkerJob, WorkerJobState
from CoWLandmarksLib.jobs.progress import Event
from CoWLandmarksLib.jobs.scan_handover import ScanHandover
from CoWLandmarksLib.jobs.temporary_folders import remove_orphans
from CoWLandmarksLib.scene.declared_arteries import declared_in
from CoWLandmarksLib.scene.nodes import landmarks_from_node, volume_from_node, volume_node_of, with_table_states
from CoWLandmarksLib.scene.results import ResultNodes, add_result, result_texts, update_arteries

from .machine_settings import pythonExecutable

TIMER_MS = 40
MOST_SCANS_KEPT = 3


def _nothing(run: Run) -> None:
    pass


def removeLeftBehind() -> None:
    """Remove the scans and scenes that killed processes left in the temporary folders."""
    for folder in {Path(slicer.app.temporaryPath), Path(tempfile.gettempdir())}:
        remove_orphans(folder)


@dataclass(eq=False)
class Run:
    """One task of the child process, as its starter sees it."""

    title: str
    onProgress: Callable[[Run], None] = _nothing
    onEnd: Callable[[Run], None] = _nothing
    message: str = ""
    fraction: float = 0.0
    error: str | None = None
    nodes: ResultNodes | None = None
    delivered: Delivered | None = None
    text: str = ""
    _job: WorkerJob | None = field(default=None, repr=False)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._job is not None and not self._job.ended

    @property
    def cancelled(self) -> bool:
        """Whether it ended because somebody cancelled it, or its volume left the scene."""
        return self._job is not None and self._job.state is WorkerJobState.CANCELLED

    @property
    def markupsNode(self) -> Any | None:
        """The 19 points, when the run has ended well."""
        return None if self.nodes is None else self.nodes.markups

    @property
    def segmentationNode(self) -> Any | None:
        """The arteries, when they were traced."""
        return None if self.nodes is None else self.nodes.segmentation

    @property
    def tableNode(self) -> Any | None:
        """The measures of the arteries, when they were traced."""
        return None if self.nodes is None else self.nodes.table

    @property
    def detection(self) -> Detection | None:
        """Verdict, states, confidences and positions (RAS mm) as they were found."""
        return None if self.delivered is None else self.delivered.detection

    @property
    def summary(self) -> str:
        """One line for people: '17 found; 2 to check; right PCoA absent'."""
        return "" if self.nodes is None else result_texts(self.nodes.markups).summary

    @property
    def warnings(self) -> list[str]:
        """What the child process warned of."""
        return [] if self._job is None else list(self._job.warnings)

    def take(self, event: Event) -> None:
        """Take an event of the child process."""
        if event.fraction is not None:
            self.fraction = max(self.fraction, min(event.fraction, 1.0))
        if event.message and event.stage is not None:
            self.message = event.message
        self.onProgress(self)


class DetectionRuns:
    """Owns the child process, the temporary files and the timer; everything it starts ends with `close`."""

    def __init__(self, anatomy: Anatomy | None = None) -> None:
        self.anatomy = anatomy or default_anatomy()
        self.queue = JobQueue(lambda: Worker(pythonExecutable()))
        self._scans: OrderedDict[str, ScanHandover] = OrderedDict()
        self._outdated: list[ScanHandover] = []
        self._latest: dict[str, Path] = {}
        self._arteries: dict[str, Run] = {}
        self._again: dict[str, tuple[Any, Callable[[Run], None]]] = {}
        self._timer = qt.QTimer()
        self._timer.setInterval(TIMER_MS)
        # Neither timer nor application may keep this object alive: scripts drop their logic silently.
        itself = weakref.ref(self)
        self._timer.connect("timeout()", lambda: _advance(itself))
        slicer.app.connect("aboutToQuit()", lambda: _close(itself))
        weakref.finalize(self, _endWorkAndRemoveFiles, self.queue, self._scans, self._outdated)
        removeLeftBehind()

    @property
    def busy(self) -> bool:
        """Whether something runs or waits."""
        return self.queue.busy

    def advance(self) -> None:
        """Take the next steps; the timer calls this, and whoever waits for a run."""
        self.queue.advance()
        if not self.queue.busy:
            self._timer.stop()
            self._discardOutdated()

    def detect(
        self,
        volumeNode: Any,
        options: DetectOptions,
        hint: dict[str, tuple[float, float, float]] | None = None,
        onProgress: Callable[[Run], None] = _nothing,
        onEnd: Callable[[Run], None] = _nothing,
    ) -> Run:
        """Start a detection on a volume; its nodes are added to the scene when everything is there.

        `hint`: (R, A, S) mm of landmarks that a person placed. Raises VolumeError or OutputError.
        """
        scene = volumeNode.GetScene()
        name = volumeNode.GetName() or "scan"
        scan, modality = self._handedOver(volumeNode)
        if modality is not None and options.modality == "auto":
            options = replace(options, modality=modality)
        arguments = [
            "detect",
            str(scan.path),
            "--out",
            str(scan.next_result()),
            "--no-scene",
            "--no-pictures",
            "--surfaces",
        ]
        arguments += options.arguments()
        if hint:
            arguments += ["--hint", str(self._writtenHint(scan, hint))]
        run = Run(name, onProgress, onEnd)

        def finish(delivered: Delivered) -> Iterator[None]:
            surfaces: dict[str, Any] = {}
            yield from self.surfaces(delivered, surfaces)
            run.delivered = delivered
            run.nodes = add_result(scene, volumeNode, delivered, self.anatomy, surfaces)
            self._latest[run.nodes.markups.GetID()] = delivered.folder
            yield  # what `onEnd` shows takes a turn of its own

        job = WorkerJob(
            arguments,
            read=lambda path: read_delivered(path, scan.grid, self.anatomy, name),
            prepare=scan.write,
            finish=finish,
            wanted=lambda: volumeNode.GetScene() is scene,
            on_event=run.take,
            on_end=lambda job: self._ended(run, job),
        )
        return self._start(run, job)

    def updateArteries(self, markupsNode: Any, onEnd: Callable[[Run], None] = _nothing) -> Run | None:
        """Trace the arteries of a detection anew between its landmarks as they are now.

        While an update runs, the newest correction waits and is traced after it; None then. Raises VolumeError,
        AnnotationError or OutputError.
        """
        key = markupsNode.GetID()
        if key in self._arteries:
            self._again[key] = (markupsNode, onEnd)
            return None
        scene = markupsNode.GetScene()
        volumeNode = volume_node_of(markupsNode)
        if volumeNode is None:
            raise AnnotationError(
                f"The volume of '{markupsNode.GetName()}' is not in the scene; load it to update the arteries."
            )
        scan, _ = self._handedOver(volumeNode)
        out = scan.next_result()
        landmarks = with_table_states(markupsNode, landmarks_from_node(markupsNode, self.anatomy))
        points = out.with_suffix(".mrk.json")
        write_annotation(points, landmarks, self.anatomy, None, declared_in(markupsNode, self.anatomy))
        arguments = [
            "arteries",
            str(scan.path),
            str(points),
            "--out",
            str(out),
            "--no-scene",
            "--no-pictures",
            "--surfaces",
        ]
        modality = markupsNode.GetAttribute("CoWLandmarks.modality")
        if modality in ("mra", "cta"):
            arguments += ["--modality", modality]
        previous = self._latest.get(key)
        if previous is not None and scan.folder in previous.parents:
            arguments += ["--previous", str(previous)]
        run = Run(markupsNode.GetName(), onEnd=onEnd)
        self._arteries[key] = run

        def finish(delivered: Delivered) -> Iterator[None]:
            self._latest[key] = delivered.folder
            surfaces: dict[str, Any] = {}
            yield from self.surfaces(delivered, surfaces)
            if delivered.arteries is not None and key not in self._again:  # else a newer correction is on its way
                update_arteries(markupsNode, delivered.arteries, self.anatomy, surfaces)
                yield

        def ended(job: WorkerJob) -> None:
            del self._arteries[key]
            again = self._again.pop(key, None)
            self._ended(run, job)
            if again is not None and job.state is not WorkerJobState.CANCELLED:
                self.updateArteries(*again)

        job = WorkerJob(
            arguments,
            read=lambda path: read_delivered(path, scan.grid, self.anatomy),
            prepare=scan.write,
            finish=finish,
            wanted=lambda: markupsNode.GetScene() is scene and volumeNode.GetScene() is scene,
            on_event=run.take,
            on_end=ended,
        )
        return self._start(run, job)

    def describeModel(self, path: Path, onEnd: Callable[[Run], None]) -> Run:
        """Fetch the description of a model file: `text` of the run."""
        run = Run(path.name, onEnd=onEnd)

        def ended(job: WorkerJob) -> None:
            self._ended(run, job)

        def take(event: Event) -> None:
            run.text = event.message

        return self._start(run, WorkerJob(["info", str(path)], on_event=take, on_end=ended))

    def start(self, run: Run, arguments: list[str], onEvent: Callable[[Event], None], graceSeconds: float) -> Run:
        """Start any other command line of the program."""
        job = WorkerJob(
            arguments, on_event=onEvent, on_end=lambda job: self._ended(run, job), grace_seconds=graceSeconds
        )
        return self._start(run, job)

    def cancel(self, run: Run) -> None:
        """Stop a run; its `onEnd` follows when nothing of it is left."""
        if run.running:
            self.queue.cancel(run._job)

    def wait(self, run: Run) -> None:
        """Stay until a run has ended, while the application stays alive."""
        while run.running:
            self.advance()
            slicer.app.processEvents()
            time.sleep(0.01)

    def forgetScans(self) -> None:
        """Remove the temporary files of all scans as soon as nothing runs any more."""
        self._outdated += self._scans.values()
        self._scans.clear()
        self._latest.clear()
        if not self.busy:
            self._discardOutdated()

    def forgetRemovedScans(self) -> None:
        """Remove the temporary files of scans that have left the scene, as soon as nothing runs any more."""
        for key in [key for key in self._scans if slicer.mrmlScene.GetNodeByID(key) is None]:
            self._outdated.append(self._scans.pop(key))
        if not self.busy:
            self._discardOutdated()

    def close(self) -> None:
        """End the child process and remove the temporary files; running work is cancelled."""
        self._timer.stop()
        self._again.clear()
        self._latest.clear()
        _endWorkAndRemoveFiles(self.queue, self._scans, self._outdated)

    def _discardOutdated(self) -> None:
        for scan in self._outdated:
            scan.discard()
        self._outdated.clear()

    def surfaces(self, delivered: Delivered, made: dict[str, Any]) -> Iterator[None]:
        """Put the closed surfaces into `made`: those that the child process made; else one after the other."""
        made.update(delivered.surfaces)
        if delivered.arteries is not None and not made:
            for code, surface in artery_surfaces(delivered.arteries, self.anatomy):
                made[code] = surface
                yield

    def _start(self, run: Run, job: WorkerJob) -> Run:
        run._job = self.queue.add(job)
        self._timer.start()
        return run

    def _ended(self, run: Run, job: WorkerJob) -> None:
        if job.state is WorkerJobState.FAILED:
            run.error = job.error
        elif job.state is WorkerJobState.DONE:
            run.fraction = 1.0
        run.onEnd(run)

    def _handedOver(self, volumeNode: Any) -> tuple[ScanHandover, str | None]:
        """The volume as a scan for the child process (an earlier one, if nothing has changed) and its modality."""
        volume = volume_from_node(volumeNode, copy=False)
        modality = None if volume.modality is None else volume.modality.value
        image = volumeNode.GetImageData()
        key = volumeNode.GetID()
        self.forgetRemovedScans()
        scan = self._scans.pop(key, None)
        if scan is not None and not scan.still_shows(volume.grid, image.GetMTime()):
            self._outdated.append(scan)  # a job may still be reading it
            scan = None
        self._scans[key] = scan or ScanHandover(volume, Path(slicer.app.temporaryPath), image.GetMTime)
        while len(self._scans) > MOST_SCANS_KEPT:
            self._outdated.append(self._scans.popitem(last=False)[1])
        return self._scans[key], modality

    def _writtenHint(self, scan: ScanHandover, hint: dict[str, tuple[float, float, float]]) -> Path:
        path = scan.folder / "hint.mrk.json"
        placed = [
            LandmarkEstimate(code, position, LandmarkState.FOUND, 1.0, 0.0, corrected=True)
            for code, position in hint.items()
        ]
        write_annotation(path, placed, self.anatomy)
        return path


def _advance(reference: weakref.ref[DetectionRuns]) -> None:
    runs = reference()
    if runs is not None:
        runs.advance()


def _close(reference: weakref.ref[DetectionRuns]) -> None:
    runs = reference()
    if runs is not None:
        runs.close()


def _endWorkAndRemoveFiles(
    queue: JobQueue, scans: OrderedDict[str, ScanHandover], outdated: list[ScanHandover]
) -> None:
    queue.close()
    for scan in (*scans.values(), *outdated):
        scan.discard()
    scans.clear()
    outdated.clear()
