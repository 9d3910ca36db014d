"""The pipeline for several scans: read, validate, detect, deliver; one bad scan does not stop the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from ..core.artery_map import ArteryMap
from ..core.circle_variant import summary_line
from ..core.detection import Detection
from ..core.errors import CoWLandmarksError, is_out_of_memory, unexpected_problem
from ..core.volume import Modality, Volume
from ..files.result_folders import PICTURE_FILE, ResultNames, check_free, result_folder
from ..io.dicom_header import is_dicom
from ..io.volume_io import read_scan, scan_name
from ..jobs.progress import Event, EventKind, EventSink
from .delivery import Delivery
from .outcome import ScanOutcome

logger = logging.getLogger(__name__)

ScanReader = Callable[[Path, str | None], Volume]
"""Reads a scan file or DICOM folder, of which the series with this name; checked (`validated`). Raises VolumeError."""

ArteryFinder = Callable[[Volume, Detection], ArteryMap]
"""Traces the arteries between the landmarks of a detection."""

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
    Without `find_arteries` only landmarks are delivered.
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
    ) -> None:
        self._detector = detector
        self._delivery = delivery
        self._options = options
        self._events = events
        self._read = read
        self._uninterrupted = uninterrupted
        self._find_arteries = find_arteries
        self.outcomes: list[ScanOutcome] = []

    def run(self, scans: Sequence[Path]) -> list[ScanOutcome]:
        """Work through `scans`; an outcome for each, in order. Only interrupts (KeyboardInterrupt) get out.

        After an interrupt `outcomes` holds those of the scans that were done.
        """
        names = ResultNames()
        # Names of files are fixed before the work begins, so that they do not depend on which scans fail.
        claimed = [names.claim(scan_name(scan)) if _names_its_result(scan) else None for scan in scans]
        self.outcomes = []
        for number, (scan, label, name) in enumerate(zip(scans, _labels(scans), claimed, strict=True)):
            progress = _ScanProgress(self._events, label, number / len(scans), 1 / len(scans))
            started = time.monotonic()
            try:
                with ExitStack() as delivering:  # ends when the delivery is on record
                    folder, detection, summary = self._one(scan, name, names, progress, delivering)
                    picture = folder / PICTURE_FILE if self._delivery.pictures else None
                    seconds = time.monotonic() - started
                    self.outcomes.append(ScanOutcome(progress.scan, seconds, folder, picture, detection, summary))
            except Exception as error:
                logger.debug("%s failed", scan, exc_info=True)
                sentence = sentence_of(error)
                self.outcomes.append(ScanOutcome(progress.scan, time.monotonic() - started, error=sentence))
                progress.error(sentence)
            else:
                progress.result(f"{detection.verdict_label}; {summary}", folder)
        return self.outcomes

    def _one(
        self, scan: Path, name: str | None, names: ResultNames, progress: _ScanProgress, delivering: ExitStack
    ) -> tuple[Path, Detection, str]:
        options = self._options
        if name is not None:
            check_free(options.out, name, options.force)
        progress.stage("read", 0.0, "reading the scan")
        volume = self._read(scan, options.series)
        name = name or names.claim(volume.name)
        volume = replace(volume, name=name)
        for warning in volume.warnings:
            progress.warning(warning)
        with result_folder(options.out, name, options.force, self._uninterrupted) as folder:
            detection = self._detector.detect(
                volume, modality=options.modality, hint=options.hint, progress=progress.detecting
            )
            arteries = self._arteries(volume, detection, progress)
            delivering.enter_context(self._uninterrupted())
            left_out = self._delivery.write(folder, volume, detection, progress.writing, arteries)
        for warning in dict.fromkeys((*detection.warnings, *left_out)):
            if warning not in volume.warnings:
                progress.warning(warning)
        summary = summary_line(detection.landmarks, () if arteries is None else arteries.absent)
        return options.out / name, detection, summary

    def _arteries(self, volume: Volume, detection: Detection, progress: _ScanProgress) -> ArteryMap | None:
        """The arteries; None, with a warning, where tracing fails: the landmarks are worth delivering without them."""
        if self._find_arteries is None:
            return None
        progress.stage("arteries", _DETECT_END, "tracing the arteries")
        try:
            return self._find_arteries(volume, detection)
        except Exception as error:
            logger.debug("tracing the arteries of %s failed", progress.scan, exc_info=True)
            progress.warning(f"The arteries could not be traced; only landmarks are delivered. {sentence_of(error)}")
            return None


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
