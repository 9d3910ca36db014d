"""Long work in a child process: start it, follow its events without waiting, cancel it with all its children."""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import JobError
from .progress import END, Event, EventKind

logger = logging.getLogger(__name__)

_PACKAGE_FOLDER = Path(__file__).resolve().parents[2]
_GRACE_SECONDS = 3.0
_MOST_COMPLAINTS = 200
_POSIX = os.name != "nt"
# A group (on POSIX: session) of its own, so that the process can be ended with its children.
NEW_GROUP_WITHOUT_WINDOW = 0 if _POSIX else 0x00000200 | 0x08000000


@dataclass(frozen=True)
class JobEvent:
    """An event of job number `job`; the last one of a job has the stage "end" and the exit `code`."""

    job: int
    event: Event
    code: int | None = None

    @property
    def ends(self) -> bool:
        """Whether nothing of this job follows."""
        return self.code is not None


class Worker:
    """A child process that keeps torch and the model loaded between jobs (worker.py runs in it).

    It starts with the first job, or with `warm`, and again by itself after it was cancelled or died. `python` is the
    interpreter (in 3D Slicer: its PythonSlicer); `environment` is added to this process's. All methods return at once.
    What it writes to standard error, such as where an error comes from, is logged here. One thread may use it.
    """

    def __init__(self, python: str = sys.executable, environment: Mapping[str, str] | None = None) -> None:
        self._python = python
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[str] | None = None
        self._events: queue.SimpleQueue[JobEvent] = queue.SimpleQueue()
        self._complaints: deque[str] = deque(maxlen=_MOST_COMPLAINTS)
        self._last_complaint = ""
        self._waiting: list[int] = []
        self._count = 0

    @property
    def busy(self) -> bool:
        """Whether a job is not ended yet (its last event not yet taken)."""
        return bool(self._waiting)

    @property
    def process_id(self) -> int | None:
        """Of the child process, None where there is none."""
        return None if self._process is None else self._process.pid

    def submit(self, arguments: Sequence[str]) -> int:
        """Queue a command line such as ["detect", "scan.nrrd", "--out", "results"]; returns its job number.

        Raises JobError when the child process cannot be started.
        """
        return self._send("arguments", arguments)

    def warm(self, arguments: Sequence[str] = ("detect", "--out", ".")) -> int:
        """Load now what a `detect` with these arguments needs, so that it starts at once later."""
        return self._send("warm", arguments)

    def events(self) -> list[JobEvent]:
        """What happened since the last call, without waiting."""
        taken = []
        with suppress(queue.Empty):
            while True:
                taken.append(self._taken(self._events.get_nowait()))
        process = self._process
        if process is not None and process.poll() is not None and not self._reader.is_alive():
            with suppress(queue.Empty):
                while True:
                    taken.append(self._taken(self._events.get_nowait()))
            taken += self._died(process.returncode)
        self._log_complaints()
        return taken

    def wait(self, job: int, timeout: float = 600.0) -> list[JobEvent]:
        """All events up to the end of `job`; for scripts. Raises JobError when `timeout` seconds pass before."""
        seen: list[JobEvent] = []
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            seen += self.events()
            if any(event.job == job and event.ends for event in seen):
                return seen
            if job not in self._waiting:
                raise JobError(f"Job {job} is not known, or was cancelled; submit it again.")
            time.sleep(0.02)
        raise JobError(f"Job {job} did not end within {timeout:.0f} s; cancel it, or wait longer.")

    def cancel(self, grace_seconds: float = _GRACE_SECONDS) -> None:
        """Stop all jobs: the child process and its children end, no event of them follows.

        They get `grace_seconds` to tidy up after themselves; 0 kills at once.
        """
        self._end_process(grace_seconds)
        self._waiting.clear()
        self._events = queue.SimpleQueue()

    def close(self) -> None:
        """End the child process; waits a moment for it to end by itself when it has nothing to do."""
        process = self._process
        if process is not None and not self._waiting and process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_SECONDS)
        self.cancel()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, key: str, arguments: Sequence[str]) -> int:
        if self._process is None or self._process.poll() is not None:
            self._start()
        assert self._process is not None and self._process.stdin is not None
        self._count += 1
        try:
            self._process.stdin.write(
                json.dumps({"job": self._count, key: [str(argument) for argument in arguments]}) + "\n"
            )
            self._process.stdin.flush()
        except OSError as error:
            raise JobError(f"The worker process does not take a job ({error}); try again.") from error
        self._waiting.append(self._count)
        return self._count

    def _start(self) -> None:
        self._end_process()
        self._complaints, self._last_complaint = deque(maxlen=_MOST_COMPLAINTS), ""
        environment = {**environment_with(_PACKAGE_FOLDER), **self._environment}
        try:
            process = subprocess.Popen(
                [self._python, "-m", "CoWLandmarksLib.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                encoding="utf-8",
                errors="replace",
                start_new_session=_POSIX,
                creationflags=NEW_GROUP_WITHOUT_WINDOW,
            )
        except OSError as error:
            raise JobError(f"'{self._python}' cannot be started ({error.strerror}); give another Python.") from error
        self._process = process
        self._reader = _reading(process, self._events, self._complaints)

    def _taken(self, event: JobEvent) -> JobEvent:
        if event.ends and event.job in self._waiting:
            self._waiting.remove(event.job)
        return event

    def _died(self, code: int) -> list[JobEvent]:
        """Ends of the jobs that a child process which ended by itself left behind."""
        self._end_process()
        last = self._last_complaint or "it said nothing"
        message = f"The worker process ended unexpectedly (exit code {code}; {last.strip()}); try again."
        lost = [JobEvent(job, Event(EventKind.ERROR, message, END, 1.0), 1) for job in self._waiting]
        self._waiting.clear()
        return lost

    def _log_complaints(self) -> None:
        """Log what the child process wrote to standard error since the last call."""
        with suppress(IndexError):
            while True:
                self._last_complaint = self._complaints.popleft()
                logger.debug("%s", self._last_complaint)

    def _end_process(self, grace_seconds: float = _GRACE_SECONDS) -> None:
        process, self._process = self._process, None
        self._log_complaints()
        if process is None:
            return
        if process.poll() is None:
            end_process_tree(process, grace_seconds)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with suppress(OSError, ValueError):
                    stream.close()


def environment_with(*folders: Path) -> dict[str, str]:
    """This process's environment, in which a child finds the packages in `folders` before all others."""
    paths = [*map(str, folders), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def end_process_tree(process: subprocess.Popen[str], grace_seconds: float = _GRACE_SECONDS) -> None:
    """End a process that leads a group of its own, and all its children; asks first, then kills after a while."""
    if not _POSIX:
        subprocess.run(
            ["taskkill", "/PID", str(process.pid), "/T", "/F"],
            capture_output=True,
            check=False,
            creationflags=NEW_GROUP_WITHOUT_WINDOW,
        )
    else:
        if grace_seconds > 0:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(grace_seconds)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _reading(
    process: subprocess.Popen[str], events: queue.SimpleQueue[JobEvent], complaints: deque[str]
) -> threading.Thread:
    """Threads that take what a process writes, so that it never waits; returns the one that reads the events."""

    def read_events() -> None:
        assert process.stdout is not None
        with suppress(ValueError, OSError):
            for line in process.stdout:
                event = parsed(line)
                if event is not None:
                    events.put(event)

    def read_complaints() -> None:
        assert process.stderr is not None
        with suppress(ValueError, OSError):
            for line in process.stderr:
                if line.strip():
                    complaints.append(line.rstrip())

    reader = threading.Thread(target=read_events, daemon=True)
    reader.start()
    threading.Thread(target=read_complaints, daemon=True).start()
    return reader


def parsed(line: str) -> JobEvent | None:
    """The event in a line of the worker's output; None for a line that is none."""
    try:
        entry = json.loads(line)
        event = Event(
            EventKind(entry["event"]),
            str(entry["message"]),
            entry.get("stage"),
            entry.get("fraction"),
            Path(entry["path"]) if "path" in entry else None,
            entry.get("scan"),
        )
        return JobEvent(int(entry["job"]), event, entry.get("code"))
    except (ValueError, KeyError, TypeError):
        return None
