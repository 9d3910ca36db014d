"""Jobs of the persistent worker one after the other, watched from a timer: nothing here waits.

The owner calls `JobQueue.advance` again and again (in 3D Slicer from a QTimer). Slow steps of this side, such as
writing the scan for the child process or reading its result, run in a thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from ..core.errors import CoWLandmarksError
from .child_process import JobEvent, Worker
from .progress import Event, EventKind

logger = logging.getLogger(__name__)

MODALITIES = ("auto", "mra", "cta")
DEVICES = ("auto", "cpu", "cuda", "mps")
DECODINGS = ("subvoxel", "argmax")
_DELIVERED_CODES = (0, 2, 3)
_YIELD_SECONDS = 0.002
_OVER = object()
_FINISHING_SECONDS = 0.015
"""Of each advance, at most, but for the length of one step."""


@dataclass(frozen=True)
class DetectOptions:
    """Options of one detection; the defaults are those of the command line."""

    modality: str = "auto"
    device: str = "auto"
    decoding: str = "subvoxel"
    model: Path | None = None
    arteries: bool = True
    heatmaps: bool = False

    def arguments(self) -> list[str]:
        """The command line's arguments for them."""
        arguments = ["--modality", self.modality, "--device", self.device, "--decoding", self.decoding]
        if self.model is not None:
            arguments += ["--model", str(self.model)]
        if not self.arteries:
            arguments.append("--no-arteries")
        if self.heatmaps:
            arguments.append("--heatmaps")
        return arguments


class WorkerJobState(str, Enum):
    """Where a job stands; the last three are final."""

    WAITING = "waiting"
    PREPARING = "preparing"
    WORKING = "working"
    READING = "reading"
    FINISHING = "finishing"
    CANCELLING = "cancelling"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


def _always() -> bool:
    return True


def _nothing_more(result: Any) -> Iterator[None]:
    return iter(())


@dataclass(eq=False)
class WorkerJob:
    """One command line for the worker.

    `prepare` runs before it and `read` takes the path that it delivered; both in a thread. What `finish` makes of the
    read result is done in short steps in the calling thread. A job that is no longer `wanted` (asked often) is
    cancelled. `on_event` sees what the worker reports, `on_end` the job in a final state;
    both are called from `JobQueue.advance`. A cancelled worker gets `grace_seconds` to tidy up after itself.
    """

    arguments: Sequence[str]
    read: Callable[[Path], Any] = lambda path: path
    prepare: Callable[[], None] | None = None
    finish: Callable[[Any], Iterator[None]] = _nothing_more
    wanted: Callable[[], bool] = _always
    on_event: Callable[[Event], None] = lambda event: None
    on_end: Callable[[WorkerJob], None] = lambda job: None
    grace_seconds: float = 0.0
    state: WorkerJobState = WorkerJobState.WAITING
    warnings: list[str] = field(default_factory=list)
    error: str | None = None
    result: Any = None
    code: int | None = None

    def let_go(self) -> None:
        """Drop the callbacks, and what they keep alive; called when the job has ended."""
        idle = WorkerJob(())
        self.read, self.prepare, self.finish, self.wanted = idle.read, idle.prepare, idle.finish, idle.wanted
        self.on_event, self.on_end = idle.on_event, idle.on_end

    @property
    def ended(self) -> bool:
        """Whether the state is final."""
        return self.state in (WorkerJobState.DONE, WorkerJobState.FAILED, WorkerJobState.CANCELLED)


class JobQueue:
    """Runs jobs in order on a worker that `make_worker` makes when the first one comes. One thread may use it."""

    def __init__(self, make_worker: Callable[[], Worker]) -> None:
        self._make_worker = make_worker
        self._worker: Worker | None = None
        self._waiting: list[WorkerJob] = []
        self._running: WorkerJob | None = None
        self._number: int | None = None
        self._background: _Background | None = None
        self._ending: _Background | None = None
        self._finishing: Iterator[object] = iter(())

    @property
    def busy(self) -> bool:
        """Whether some job has not ended."""
        return self._running is not None or bool(self._waiting)

    @property
    def worker_process_id(self) -> int | None:
        """Of the child process, None where there is none."""
        return None if self._worker is None else self._worker.process_id

    def add(self, job: WorkerJob) -> WorkerJob:
        """Queue a job; it starts with one of the next calls of `advance`."""
        self._waiting.append(job)
        return job

    def cancel(self, job: WorkerJob) -> None:
        """Stop a job; its `on_end` is called when nothing of it is left."""
        if job in self._waiting:
            self._waiting.remove(job)
            self._finish(job, WorkerJobState.CANCELLED)
        elif job is self._running and job.state is not WorkerJobState.CANCELLING:
            if job.state is WorkerJobState.WORKING:
                worker, self._worker = self._worker, None
                if worker is not None:
                    self._ending = _Background(lambda: worker.cancel(job.grace_seconds))
            job.state = WorkerJobState.CANCELLING

    def close(self) -> None:
        """End everything at once, the worker included; jobs that had not ended are cancelled. Waits a moment."""
        jobs = [*([self._running] if self._running is not None else []), *self._waiting]
        self._waiting.clear()
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.cancel(max([job.grace_seconds for job in jobs], default=0.0))
        for thread in (self._ending, self._background):
            if thread is not None:
                thread.join()
        self._running = self._number = self._background = self._ending = None
        self._finishing = iter(())
        for job in jobs:
            self._finish(job, WorkerJobState.CANCELLED)

    def advance(self) -> None:
        """Take the next step where one is due."""
        if self._running is None and self._waiting:
            self._running = self._waiting.pop(0)
            self._begin(self._running)
        job = self._running
        if job is None:
            self._take_events(None)
            return
        if self._background is not None or self._ending is not None:
            # Inside 3D Slicer other threads run only while this one does not hold Python's lock.
            time.sleep(_YIELD_SECONDS)
        if not job.wanted():
            self.cancel(job)
        try:
            self._step(job)
        except CoWLandmarksError as error:
            self._fail(job, str(error))

    def _begin(self, job: WorkerJob) -> None:
        job.state = WorkerJobState.PREPARING
        self._background = _Background(job.prepare or (lambda: None))

    def _step(self, job: WorkerJob) -> None:
        if job.state is WorkerJobState.CANCELLING:
            if _over(self._background) and _over(self._ending):
                self._background = self._ending = None
                self._end(job, WorkerJobState.CANCELLED)
            return
        if job.state is WorkerJobState.PREPARING and _over(self._background):
            assert self._background is not None
            background, self._background = self._background, None
            background.result()
            if self._worker is None:
                self._worker = self._make_worker()
            self._number = self._worker.submit(job.arguments)
            job.state = WorkerJobState.WORKING
        if job.state is WorkerJobState.WORKING:
            self._take_events(job)
        if job.state is WorkerJobState.READING and _over(self._background):
            assert self._background is not None
            background, self._background = self._background, None
            job.result = background.result()
            self._finishing = job.finish(job.result)
            job.state = WorkerJobState.FINISHING
        elif job.state is WorkerJobState.FINISHING:
            started = time.monotonic()
            while time.monotonic() - started < _FINISHING_SECONDS:
                if next(self._finishing, _OVER) is _OVER:
                    self._end(job, WorkerJobState.DONE)
                    return

    def _take_events(self, job: WorkerJob | None) -> None:
        for event in self._worker.events() if self._worker is not None else []:
            if job is not None and event.job == self._number and job.state is WorkerJobState.WORKING:
                self._take(job, event)

    def _take(self, job: WorkerJob, event: JobEvent) -> None:
        if not event.ends:
            if event.event.kind is EventKind.WARNING:
                job.warnings.append(event.event.message)
            elif event.event.kind is EventKind.ERROR:
                job.error = event.event.message
            job.on_event(event.event)
            return
        job.code = event.code
        if event.code not in _DELIVERED_CODES:
            self._fail(job, event.event.message)
            return
        path = event.event.path or Path()
        job.state = WorkerJobState.READING
        self._background = _Background(lambda: job.read(path))

    def _fail(self, job: WorkerJob, sentence: str) -> None:
        job.error = sentence
        self._end(job, WorkerJobState.FAILED)

    def _end(self, job: WorkerJob, state: WorkerJobState) -> None:
        self._running = self._number = None
        self._finishing = iter(())
        self._finish(job, state)

    def _finish(self, job: WorkerJob, state: WorkerJobState) -> None:
        job.state = state
        callback = job.on_end
        job.let_go()
        callback(job)


class _Background:
    """A call in a thread of its own."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._value: Any = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def over(self) -> bool:
        """Whether the call has returned."""
        return not self._thread.is_alive()

    def join(self, seconds: float = 10.0) -> None:
        """Wait for the call to return."""
        with suppress(RuntimeError):
            self._thread.join(seconds)

    def result(self) -> Any:
        """What the call returned, when it is over; raises what it raised, unexpected things as CoWLandmarksError."""
        if self._error is None:
            return self._value
        if isinstance(self._error, CoWLandmarksError):
            raise self._error
        logger.error("unexpected", exc_info=self._error)
        raise CoWLandmarksError(f"Something unexpected went wrong ({self._error!r}); try again.") from self._error

    def _run(self) -> None:
        try:
            self._value = self._work()
        except Exception as error:
            self._error = error


def _over(background: _Background | None) -> bool:
    return background is None or background.over
