"""Starting a training that goes on by itself, also when the program that started it is closed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import CoWLandmarksLib
from CoWLandmarksLib.core.errors import JobError, OutputError
from CoWLandmarksLib.jobs.child_process import NEW_GROUP_WITHOUT_WINDOW, environment_with

from .job_files import OUTPUT_FILE, STOP_FILE, TrainingJob, TrainingJobState, read_job, write_job

_PACKAGES = (Path(__file__).resolve().parents[2], Path(CoWLandmarksLib.__file__).resolve().parent.parent)


def start_job(folder: Path, arguments: Sequence[str], python: str = sys.executable) -> TrainingJob:
    """Start `cowlandmarks-train ARGUMENTS` detached, with its job files in `folder`; returns at once.

    `python` is the interpreter (in 3D Slicer: its PythonSlicer). Raises JobError when a training runs in the folder
    already or the process cannot be started, OutputError when the folder cannot be written.
    """
    before = read_job(folder)
    if before is not None and before.state.active:
        raise JobError(f"A training runs in '{folder}' already; stop it, or choose another output folder.")
    job = TrainingJob(token=uuid.uuid4().hex, arguments=tuple(arguments), started=time.time())
    write_job(folder, job)
    try:
        (folder / STOP_FILE).unlink(missing_ok=True)
        with (folder / OUTPUT_FILE).open("ab") as output:
            process = subprocess.Popen(
                [
                    python,
                    "-m",
                    "CoWLandmarksTrainingLib.jobs.job_process",
                    str(folder.absolute()),
                    job.token,
                    *arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=child_environment(),
                # Neither Ctrl-C nor the end of this process reaches it.
                start_new_session=os.name != "nt",
                creationflags=NEW_GROUP_WITHOUT_WINDOW,
            )
    except OSError as error:
        sentence = f"The training cannot be started ({error.strerror or error}: '{error.filename or python}')."
        write_job(folder, job.ended_with(1, sentence, stopped=False))
        raise JobError(sentence) from error
    threading.Thread(target=_reap, args=(process, folder, job), daemon=True, name="end of a training").start()
    return replace(job, pid=process.pid)


def child_environment() -> dict[str, str]:
    """This process's environment in which a child finds both packages."""
    return {**environment_with(*dict.fromkeys(_PACKAGES)), "PYTHONIOENCODING": "utf-8"}


def _reap(process: subprocess.Popen[bytes], folder: Path, job: TrainingJob) -> None:
    """Take the end of the process over, and tell of one that could not even begin."""
    code = process.wait()
    try:
        left = read_job(folder)
        if left is not None and left.token == job.token and left.state.active:
            state = TrainingJobState.STOPPING is left.state
            sentence = f"The process ended without a message (exit code {code}); '{OUTPUT_FILE}' may tell more."
            write_job(
                folder, replace(left, state=TrainingJobState.RUNNING).ended_with(code or 1, sentence, stopped=state)
            )
    except (JobError, OutputError):
        return  # the folder was taken away meanwhile: nobody is left to tell
