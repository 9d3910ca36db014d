"""The pipeline for several scans: read, validate, detect, deliver; one bad scan does not stop the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np

from ..core.artery_map import ArteryMap
from ..core.circle_variant import summary_line
from ..core.detection import Detection
from ..core.errors import CoWLandmarksError, is_out_of_memory, unexpected_problem
from ..core.volume import Modality, Volume
from ..files.dicom_source import SourceSeries
from ..files.result_folders import PICTURE_FILE, ResultNames
from ..files.result_layout import ResultLayout, SeparateFolders
from ..io.dicom_header import is_dicom
from ..io.volume_io import read_scan, scan_name
from ..jobs.progress import Event, EventKind, EventSink
from .batch_records import BatchRecords
from .delivery import Delivery
from .outcome import ScanOutcome

logger = logging.getLogger(__name__)

ScanReader = Callable[[Path, str | None], Volume]
"""Reads a scan file or DICOM folder, of which the series with this name; checked (`validated`). Raises VolumeError."""

ArteryFinder = Callable[[Volume, Detection], tuple[Detection, ArteryMap]]
"""Traces the arteries between the landmarks of a detection; that too, as it is once they are traced."""

_READ_END, _DETECT_END, _TRACE_END = 0.15, 0.7, 0.85  # parts of the bar; a guess, only for the eye


class LandmarkDetector(Protocol):
    """What the batch needs of a detector."""

    def detect(
        self,
        volume: Volume,
        *,
        modality: Modality | None = None,
        hint: Mapping[str, np.ndarray] | None = None,
        progress: Callable[[str, float, str], None] | None = None,
    ) -> Detection:
        """Find the landmarks of a scan."""


@dataclass(frozen=True)
class BatchOptions:
    """What holds for every scan of one call; `hint` are (R, A, S) mm of landmarks by code, for a single scan."""

    out: Path
    modality: Modality | None = None
    series: str | None = None
    hint: Mapping[str, np.ndarray] | None = None
    force: bool = False


class ScanBatch:
    """Takes scans one after the other through the pipeline from file to result folder.

    `uninterrupted` makes the context in which a result is delivered; an interrupt should wait until it ends.
    Without `find_arteries` only landmarks are delivered. `layout` says where results lie (default: a folder each), and
    `records`, where they are kept, which results stand already.
    """

    def __init__(
        self,
        detector: LandmarkDetector,
        delivery: Delivery,
        options: BatchOptions,
        events: EventSink,
        read: ScanReader = read_scan,
        uninterrupted: Callable[[], AbstractContextManager[None]] = nullcontext,
        find_arteries: ArteryFinder | None = None,
        layout: ResultLayout | None = None,
        records: BatchRecords | None = None,
    ) -> None:
        self._detector = detector
        self._delivery = delivery
        self._options = options
        self._events = events
        self._read = read
        self._uninterrupted = uninterrupted
        self._find_arteries = find_arteries
        self._layout = layout or SeparateFolders(options.out)
        self._records = records
        self.outcomes: list[ScanOutcome] = []

    def run(self, scans: Sequence[Path], part: Sequence[int] | None = None) -> list[ScanOutcome]:
        """Work through `scans`, or those at the places `part`; an outcome for each, in order.

        Only interrupts (KeyboardInterrupt) get out, and OutputError where records cannot be written. After an interrupt
        `outcomes` holds those of the scans that were done.
        """
        names = ResultNames()
        # Names of files are fixed before the work begins, so that they do not depend on which scans fail.
        claimed = [names.claim(scan_name(scan)) if _names_its_result(scan) else None for scan in scans]
        labels = _labels(scans)
        part = range(len(scans)) if part is None else part
        self.outcomes = []
        for done, place in enumerate(part):
            progress = _ScanProgress(self._events, labels[place], done / len(part), 1 / len(part))
            work = _Work(place + 1, scans[place], claimed[place], self._digest(scans[place]), time.monotonic())
            try:
                with ExitStack() as delivering:  # ends when the delivery is on record
                    outcome = self._one(work, names, progress, delivering)
                    self.outcomes.append(outcome)
            except Exception as error:
                logger.debug("%s failed", work.scan, exc_info=True)
                sentence = sentence_of(error)
                self.outcomes.append(ScanOutcome(progress.scan, work.seconds, error=sentence))
                progress.error(sentence)
                if self._records is not None:
                    named = work.name is not None
                    self._records.failed(work.number, work.scan, named, work.digest, work.seconds, sentence)
            else:
                again = "done earlier; " if outcome.earlier else ""
                assert outcome.detection is not None and outcome.folder is not None  # what _one delivers has both
                progress.result(f"{again}{outcome.detection.verdict_label}; {outcome.summary}", outcome.folder)
        return self.outcomes

    def _digest(self, scan: Path) -> str | None:
        return None if self._records is None else self._records.digest(scan)

    def _one(self, work: _Work, names: ResultNames, progress: _ScanProgress, delivering: ExitStack) -> ScanOutcome:
        layout, records = self._layout, self._records
        name = layout.name_of(work.scan, work.name)
        if name is None and records is not None:
            name = records.name_of_bytes(work.digest)
        force = self._options.force
        if name is not None:
            self._keep_others_off(name, delivering)
            earlier = None if records is None else records.finished(name, work.digest)
            if earlier is not None:
                return self._delivered(work, name, *earlier, progress, earlier=True)
            force = self._may_replace(name)
            layout.check_free(name, force)
        progress.stage("read", 0.0, "reading the scan")
        volume = self._read(work.scan, self._options.series)
        if name is None:
            name = names.claim(volume.name) if records is None else records.new_name(volume.name, work.digest, names)
            self._keep_others_off(name, delivering)
            force = self._may_replace(name)
        volume = replace(volume, name=PurePosixPath(name).name)
        source = self._delivery.source_of(work.scan, self._options.series)
        for warning in volume.warnings:
            progress.warning(warning)
        with layout.result(name, force, self._uninterrupted) as folder:
            detection, summary, left_out = self._make(folder, volume, source, progress, delivering)
            layout.arrange(folder, name)
            if records is not None:
                records.write(folder, name, detection, work.digest, work.seconds, summary)
        for warning in dict.fromkeys((*detection.warnings, *left_out)):
            if warning not in volume.warnings:
                progress.warning(warning)
        return self._delivered(work, name, detection, summary, progress)

    def _keep_others_off(self, name: str, delivering: ExitStack) -> None:
        if self._records is not None:
            delivering.enter_context(self._records.alone(name))

    def _may_replace(self, name: str) -> bool:
        force = self._options.force
        return force if self._records is None else self._records.may_replace(name, force)

    def _make(
        self,
        folder: Path,
        volume: Volume,
        source: SourceSeries | None,
        progress: _ScanProgress,
        delivering: ExitStack,
    ) -> tuple[Detection, str, tuple[str, ...]]:
        """Detection, summary, and warnings about files left out; from the writing on, an interrupt waits."""
        options = self._options
        detection = self._detector.detect(
            volume, modality=options.modality, hint=options.hint, progress=progress.detecting
        )
        detection, arteries = self._arteries(volume, detection, progress)
        delivering.enter_context(self._uninterrupted())
        left_out = self._delivery.write(folder, volume, detection, progress.writing, arteries, source)
        return detection, summary_line(detection.landmarks, () if arteries is None else arteries.absent), left_out

    def _delivered(
        self,
        work: _Work,
        name: str,
        detection: Detection,
        summary: str,
        progress: _ScanProgress,
        *,
        earlier: bool = False,
    ) -> ScanOutcome:
        if self._records is not None:
            self._records.delivered(work.number, work.scan, work.name is not None, name)
        folder = self._layout.shown(name)
        picture = self._layout.file(name, PICTURE_FILE)
        shown = picture if self._delivery.pictures and (not earlier or picture.is_file()) else None
        return ScanOutcome(
            progress.scan,
            work.seconds,
            folder,
            shown,
            replace(detection, heatmaps=()),  # thousands of scans have to fit into memory
            summary,
            earlier=earlier,
            name=PurePosixPath(name).name,
        )

    def _arteries(
        self, volume: Volume, detection: Detection, progress: _ScanProgress
    ) -> tuple[Detection, ArteryMap | None]:
        """Detection and arteries; the detection alone, with a warning, where tracing fails."""
        if self._find_arteries is None:
            return detection, None
        progress.stage("arteries", _DETECT_END, "tracing the arteries")
        try:
            return self._find_arteries(volume, detection)
        except Exception as error:
            logger.debug("tracing the arteries of %s failed", progress.scan, exc_info=True)
            progress.warning(f"The arteries could not be traced; only landmarks are delivered. {sentence_of(error)}")
            return detection, None


@dataclass(frozen=True)
class _Work:
    """One scan of a call: its number from 1, the name of its result where the path gives one, its hash, the start."""

    number: int
    scan: Path
    name: str | None
    digest: str | None
    started: float

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


class _ScanProgress:
    """Events of one scan, with fractions counted over the whole call."""

    def __init__(self, events: EventSink, scan: str, start: float, share: float) -> None:
        self.scan = scan
        self._events = events
        self._start = start
        self._share = share
        self._stage: str | None = None

    def stage(self, stage: str, fraction: float, message: str) -> None:
        kind = EventKind.PROGRESS if stage == self._stage else EventKind.STAGE
        self._stage = stage
        done = self._start + self._share * min(max(fraction, 0.0), 1.0)
        self._events(Event(kind, message, stage, done, scan=self.scan))

    def detecting(self, stage: str, fraction: float, message: str) -> None:
        self.stage(str(getattr(stage, "value", stage)), _READ_END + (_DETECT_END - _READ_END) * fraction, message)

    def writing(self, file: str, fraction: float) -> None:
        self.stage("write", _TRACE_END + (1.0 - _TRACE_END) * fraction, f"writing {file}")

    def warning(self, message: str) -> None:
        self._events(Event(EventKind.WARNING, message, scan=self.scan))

    def result(self, message: str, folder: Path) -> None:
        done = self._start + self._share
        self._events(Event(EventKind.RESULT, message, fraction=done, path=folder, scan=self.scan))

    def error(self, message: str) -> None:
        self._events(Event(EventKind.ERROR, message, scan=self.scan))


def _names_its_result(scan: Path) -> bool:
    """Whether a scan's path may name its result; a DICOM path may not, because it often names a person."""
    try:
        return scan.is_file() and not is_dicom(scan)
    except OSError:
        return False  # reading it will say what is wrong


def _labels(scans: Sequence[Path]) -> list[str]:
    """What the scans are called in messages: the file name, or the path where two files share a name."""
    names = [scan.name for scan in scans]
    return [name if name and names.count(name) == 1 else str(scan) for scan, name in zip(scans, names, strict=True)]


def sentence_of(error: Exception) -> str:
    """One sentence for people about any error."""
    if isinstance(error, CoWLandmarksError):
        return " ".join(str(error).split())
    if is_out_of_memory(error):
        return "There is not enough memory for this scan; close other programs, or crop the scan around the head."
    return unexpected_problem(error, "this scan")
