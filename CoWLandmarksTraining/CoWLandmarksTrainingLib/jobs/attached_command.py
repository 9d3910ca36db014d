"""A command of cowlandmarks-train in a child process that ends with the program that started it.

    python -m CoWLandmarksTrainingLib.jobs.attached_command COMMAND ...

is the child's side: it ends as soon as its standard input is closed, however its parent went.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress

from CoWLandmarksLib.core.errors import ExitCode, JobError
from CoWLandmarksLib.jobs.child_process import NEW_GROUP_WITHOUT_WINDOW, end_process_tree

from .detached_job import child_environment


class AttachedCommand:
    """One running command. All methods but `wait` return at once; one thread may use it."""

    def __init__(self, arguments: Sequence[str], python: str = sys.executable) -> None:
        """Start it; raises JobError."""
        try:
            self._process = subprocess.Popen(
                [python, "-m", "CoWLandmarksTrainingLib.jobs.attached_command", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=child_environment(),
                encoding="utf-8",
                errors="replace",
                start_new_session=os.name != "nt",
                creationflags=NEW_GROUP_WITHOUT_WINDOW,
            )
        except OSError as error:
            raise JobError(f"'{python}' cannot be started ({error.strerror}); give another Python.") from error
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.complaints: list[str] = []
        self.cancelled = False
        self._readers = [
            threading.Thread(target=self._read_lines, daemon=True),
            threading.Thread(target=self._read_complaints, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def process_id(self) -> int:
        """Of the child process."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """The exit code once the process has ended and all it wrote is read."""
        code = self._process.poll()
        return None if code is None or any(reader.is_alive() for reader in self._readers) else code

    @property
    def delivered(self) -> bool:
        """Whether it ended by itself and gave results, if only of some cases."""
        return self.code in (0, 2) and not self.cancelled

    def lines(self) -> list[str]:
        """What it printed since the last call."""
        taken = []
        with suppress(queue.Empty):
            while True:
                taken.append(self._lines.get_nowait())
        return taken

    @property
    def error(self) -> str:
        """The last error it reported, as a sentence; empty where there is none."""
        errors = [line for line in self.complaints if line.startswith("error: ")]
        return (errors or self.complaints or [""])[-1].removeprefix("error: ")

    def cancel(self) -> None:
        """End it with all its children, in the background."""
        self.cancelled = True
        threading.Thread(target=self._end, args=(3.0,), daemon=True).start()

    def close(self) -> None:
        """End it now, without waiting for it to tidy up; for the end of the program."""
        self.cancelled = True
        self._end(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; returns the exit code. For scripts."""
        code = self._process.wait(timeout)
        for reader in self._readers:
            reader.join()
        return code

    def _end(self, grace_seconds: float) -> None:
        if self._process.poll() is None:
            end_process_tree(self._process, grace_seconds)
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    def _read_lines(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            for line in stream:
                self._lines.put(line.rstrip("\n"))

    def _read_complaints(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            for line in stream:
                if line.strip():
                    self.complaints.append(line.strip())


def _end_with_input() -> None:
    while os.read(0, 1024):  # not through sys.stdin, whose lock would be held when the interpreter ends
        pass
    os._exit(ExitCode.RESUMABLE)  # children that multiprocessing started notice it and end as well (parallel.py)


if __name__ == "__main__":
    from ..__main__ import main

    threading.Thread(target=_end_with_input, daemon=True).start()
    sys.exit(main(sys.argv[1:]))
