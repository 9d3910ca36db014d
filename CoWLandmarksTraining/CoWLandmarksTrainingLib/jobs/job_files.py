"""What is kept of a detached training in its output folder, and what it means.

`job.json` says what was started and how it ended; `heartbeat.json` is renewed by the process every two seconds; a file
`stop.json` asks it to stop. Whoever looks into the folder later, from another Slicer or the command line, finds the
training by them. Nothing here starts or waits for anything.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from CoWLandmarksLib.core.atomic_files import write_json
from CoWLandmarksLib.core.errors import ExitCode, JobError

SCHEMA = "cow-job/1"
JOB_FILE, HEARTBEAT_FILE, STOP_FILE = "job.json", "heartbeat.json", "stop.json"
OUTPUT_FILE = "job.log"
"""What the process prints."""

BEAT_SECONDS = 2.0
STALE_SECONDS = 20.0
"""A heartbeat older than this is that of a process which ended without a message (killed, computer switched off)."""
_START_SECONDS = 60.0


class TrainingJobState(str, Enum):
    """`LOST`: it was running, and its heartbeat has stopped."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FINISHED = "finished"
    FAILED = "failed"
    LOST = "lost"

    @property
    def active(self) -> bool:
        """Whether a process is at work, or is about to be."""
        return self in (TrainingJobState.STARTING, TrainingJobState.RUNNING, TrainingJobState.STOPPING)


@dataclass(frozen=True)
class TrainingJob:
    """One training: the `arguments` of its command, its process, times in seconds since 1970, and how it ended.

    `token` tells one start in a folder from the next. `code` is the exit code and `message` its last sentence.
    """

    token: str
    arguments: tuple[str, ...]
    started: float
    state: TrainingJobState = TrainingJobState.STARTING
    pid: int = 0
    ended: float = 0.0
    code: int | None = None
    message: str = ""

    def ended_with(self, code: int, message: str, *, stopped: bool) -> TrainingJob:
        """This job after its end."""
        if code in (0, 2):
            state = TrainingJobState.FINISHED
        else:
            state = TrainingJobState.STOPPED if stopped or code == ExitCode.RESUMABLE else TrainingJobState.FAILED
        return replace(self, state=state, code=code, message=message, ended=time.time())


def write_job(folder: Path, job: TrainingJob) -> None:
    """Write `job.json`; raises OutputError."""
    content = asdict(job)
    content["words"] = content.pop("arguments")  # the key of cow-job/1
    write_json(folder / JOB_FILE, {"schema": SCHEMA, **content})


def read_job(folder: Path, now: float | None = None) -> TrainingJob | None:
    """The last job of an output folder with the state it is in `now`; None where there is none.

    Raises JobError when `job.json` is damaged.
    """
    content = _content(folder / JOB_FILE)
    if content is None:
        return None
    try:
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']!r}")
        job = TrainingJob(
            token=str(content["token"]),
            arguments=tuple(str(argument) for argument in content["words"]),
            started=float(content["started"]),
            state=TrainingJobState(content["state"]),
            pid=int(content["pid"]),
            ended=float(content["ended"]),
            code=None if content["code"] is None else int(content["code"]),
            message=str(content["message"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise JobError(
            f"'{folder / JOB_FILE}' is damaged ({error}); delete it, or choose another output folder."
        ) from error
    return replace(job, state=_state_now(folder, job, time.time() if now is None else now))


def beat(folder: Path, token: str) -> None:
    """Renew the heartbeat; raises OutputError."""
    write_json(folder / HEARTBEAT_FILE, {"schema": SCHEMA, "token": token, "time": time.time()})


def request_stop(folder: Path) -> None:
    """Ask the training in a folder to stop with a checkpoint; raises JobError where none runs, OutputError."""
    job = read_job(folder)
    if job is None or not job.state.active:
        raise JobError(f"No training runs in '{folder}'; there is nothing to stop.")
    write_json(folder / STOP_FILE, {"schema": SCHEMA, "token": job.token})


def stop_requested(folder: Path, token: str) -> bool:
    """Whether the job with this token is asked to stop, or another one took its folder over."""
    if _token(folder / STOP_FILE) == token:
        return True
    owner = _token(folder / JOB_FILE)
    return owner is not None and owner != token


def _state_now(folder: Path, job: TrainingJob, now: float) -> TrainingJobState:
    if not job.state.active:
        return job.state
    last, patience = job.started, _START_SECONDS
    if job.state is not TrainingJobState.STARTING:
        pulse = _content(folder / HEARTBEAT_FILE) or {}
        if pulse.get("token") == job.token and isinstance(pulse.get("time"), int | float):
            last, patience = float(pulse["time"]), STALE_SECONDS
    if now - last > patience:
        return TrainingJobState.LOST
    return TrainingJobState.STOPPING if _token(folder / STOP_FILE) == job.token else job.state


def _token(path: Path) -> str | None:
    content = _content(path)
    return None if content is None else str(content.get("token"))


def _content(path: Path) -> Mapping[str, Any] | None:
    """What a file holds; None where it is missing, cannot be read now or holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return None if path.name != JOB_FILE else {"schema": "unreadable"}
    return content if isinstance(content, dict) else {"schema": "no object"}
