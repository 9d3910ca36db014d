"""The process of a detached training: `python -m CoWLandmarksTrainingLib.jobs.job_process FOLDER TOKEN COMMAND ...`.

Beside the command a thread renews the heartbeat and looks whether the job is asked to stop; if so it raises SIGTERM
in the main thread, as a scheduler would. That works alike on all systems and needs no permission to signal anybody.
"""

from __future__ import annotations

import _thread
import io
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from CoWLandmarksLib.core.errors import OutputError

from .job_files import BEAT_SECONDS, JOB_FILE, TrainingJobState, beat, read_job, stop_requested, write_job

_FAILED = 1
_BEATS_WITHOUT_FOLDER = 30
"""A training whose folder is deleted works for nobody; a network drive may be away for a while."""


class Heartbeat:
    """The thread that renews the heartbeat; `stopped` says whether a stop was asked for."""

    def __init__(self, folder: Path, token: str) -> None:
        self._folder, self._token = folder, token
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="heartbeat")
        self.stopped = False

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        missed = 0
        while not self._end.is_set():
            missed = 0 if (self._folder / JOB_FILE).exists() else missed + 1
            if not missed:  # else the folder would be made anew
                with suppress(OutputError):  # a full disk, or a reader on Windows: the next beat comes
                    beat(self._folder, self._token)
            gone = missed > _BEATS_WITHOUT_FOLDER
            if not self.stopped and (gone or stop_requested(self._folder, self._token)):
                self.stopped = True
                interrupt_main_thread()
            self._end.wait(BEAT_SECONDS)


def interrupt_main_thread() -> None:
    """Raise SIGTERM in the main thread of this process; where the system can, it also wakes from waiting."""
    main = threading.main_thread().ident
    if os.name != "nt" and main is not None:
        signal.pthread_kill(main, signal.SIGTERM)
    else:
        _thread.interrupt_main(signal.SIGTERM)


class LastLine(io.TextIOBase):
    """A stream that hands everything on to another and remembers the last line that said something."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._open = ""
        self._last = ""

    @property
    def text(self) -> str:
        """The last line, what is not ended yet included."""
        return self._open.strip() or self._last

    def write(self, text: str) -> int:
        """Hand `text` on."""
        *whole, self._open = (self._open + text).split("\n")
        self._last = next((line.strip() for line in reversed(whole) if line.strip()), self._last)
        return self._stream.write(text)

    def flush(self) -> None:
        """Hand it on now."""
        self._stream.flush()


def main(argv: Sequence[str]) -> int:
    """Run the command and keep the job files; returns its exit code."""
    folder, token, *arguments = argv
    place = Path(folder)
    job = read_job(place)
    if job is None or job.token != token:
        return _FAILED  # another start took the folder over
    # Until the command handles it, SIGTERM ends it like Ctrl-C: with a sentence, and with the files tidied up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    write_job(place, replace(job, state=TrainingJobState.RUNNING, pid=os.getpid()))
    complaints = LastLine(sys.stderr)
    sys.stderr = complaints
    code = _FAILED
    with Heartbeat(place, token) as heartbeat:
        try:
            from ..__main__ import main as command  # start-up time

            code = command(arguments)
        except KeyboardInterrupt:
            complaints.write("error: Stopped before all was delivered.\n")
        except BaseException as error:
            complaints.write(f"error: {type(error).__name__}: {error}\n")
            raise
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the end is reported in any case
            message = complaints.text.removeprefix("error: ").removeprefix("stopped: ")
            now = read_job(place)
            if now is not None and now.token == token:
                done = replace(job, pid=os.getpid(), state=TrainingJobState.RUNNING)
                write_job(place, done.ended_with(code, "" if code == 0 else message, stopped=heartbeat.stopped))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
