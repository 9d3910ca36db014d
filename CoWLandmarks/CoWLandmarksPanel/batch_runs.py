"""Detection on many scans: the volumes of the scene one after the other, or a folder of scans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from CoWLandmarksLib.core.errors import CoWLandmarksError
from CoWLandmarksLib.jobs.job_queue import DetectOptions
from CoWLandmarksLib.jobs.progress import Event, EventKind
from CoWLandmarksLib.scene.batch_table import FAILED, BatchRow
from CoWLandmarksLib.scene.results import result_texts

from .detection_runs import DetectionRuns, Run

FOLDER_GRACE_SECONDS = 3.0
"""A cancelled folder gets this long to remove its half-written results."""


class SceneBatch:
    """Detections on volumes of the scene; a failure does not stop the others."""

    def __init__(
        self, runs: DetectionRuns, volumeNodes: Sequence[Any], options: DetectOptions, onChanged: Callable[[], None]
    ) -> None:
        self._runs = runs
        self._left = list(volumeNodes)
        self._options = options
        self._onChanged = onChanged
        self._run: Run | None = None
        self.count = len(self._left)
        self.rows: list[BatchRow] = []
        self.running = True
        self.message = ""
        self._next()

    @property
    def fraction(self) -> float:
        """Part of the work that is done."""
        here = 0.0 if self._run is None or not self.running else self._run.fraction
        return min(1.0, (len(self.rows) + here) / max(1, self.count))

    def cancel(self) -> None:
        """Stop; what is done stays."""
        self._left.clear()
        if self._run is not None:
            self._runs.cancel(self._run)

    def _next(self) -> None:
        while self._left:
            node = self._left.pop(0)
            if node.GetScene() is None:
                self.count -= 1
                continue
            try:
                self._run = self._runs.detect(node, self._options, onProgress=self._progress, onEnd=self._ended)
                return
            except CoWLandmarksError as error:
                self.rows.append(BatchRow(node.GetName(), FAILED, str(error)))
        self._run = None
        self.running = False
        self._onChanged()

    def _progress(self, run: Run) -> None:
        self.message = f"{run.title}: {run.message}"
        self._onChanged()

    def _ended(self, run: Run) -> None:
        if run.nodes is not None:
            texts = result_texts(run.nodes.markups)
            self.rows.append(BatchRow(run.title, texts.verdict_label, texts.summary, markups=run.nodes.markups))
        elif not run.cancelled:
            self.rows.append(BatchRow(run.title, FAILED, run.error or ""))
        self._onChanged()
        self._next()


class FolderBatch:
    """Detections on scan files; results are written to folders below `out` and stay there, not in the scene."""

    def __init__(
        self,
        runs: DetectionRuns,
        scans: Sequence[Path],
        out: Path,
        options: DetectOptions,
        onChanged: Callable[[], None],
    ) -> None:
        self._runs = runs
        self._scans = list(scans)
        self._onChanged = onChanged
        self.count = len(self._scans)
        self.rows: list[BatchRow] = []
        self.message = ""
        self.error: str | None = None
        self._run = Run(str(out), onEnd=self._ended)
        arguments = ["detect", *map(str, scans), "--out", str(out), "--no-scene", *options.arguments()]
        runs.start(self._run, arguments, self._take, FOLDER_GRACE_SECONDS)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._run.running

    @property
    def fraction(self) -> float:
        """Part of the work that is done."""
        return self._run.fraction

    def cancel(self) -> None:
        """Stop; what is done stays."""
        self._runs.cancel(self._run)

    def _take(self, event: Event) -> None:
        self._run.take(event)
        if event.scan is not None or event.stage is not None:
            self.message = event.sentence()
        if event.scan is not None:
            if event.kind is EventKind.RESULT:
                self.rows.append(self._delivered(event))
            elif event.kind is EventKind.ERROR:
                self.rows.append(BatchRow(event.scan, FAILED, event.message, self._scan()))
        self._onChanged()

    def _delivered(self, event: Event) -> BatchRow:
        verdict, _, summary = event.message.partition("; ")
        return BatchRow(event.scan or "", verdict, summary, self._scan(), event.path)

    def _scan(self) -> Path:
        return self._scans[min(len(self.rows), self.count - 1)]

    def _ended(self, run: Run) -> None:
        if not self.rows:
            self.error = run.error
        self._onChanged()
