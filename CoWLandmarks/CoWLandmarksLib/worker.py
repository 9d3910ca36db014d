"""The persistent worker: a process that runs one command after the other and keeps model and last scan loaded.

`python -m CoWLandmarksLib.worker` reads one JSON object per line from standard input, `{"job": 7, "arguments":
["detect", ...]}`, with the arguments of the command line, and writes the events of each job (progress.py) as JSON
lines with its number. The last line of a job is a result or an error with `"stage": "end"` and the exit `"code"`.
`{"job": 8, "warm": ["detect", ...]}` only loads what these arguments would need. It ends with its input.
It is started by jobs/child_process.py.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import sys
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from .cli.detect_command import load_detector
from .cli.program import run
from .jobs.progress import END, Event, EventKind, EventSink, JsonLines
from .pipeline.scan_memory import ScanMemory

if TYPE_CHECKING:
    from .core.anatomy import Anatomy
    from .pipeline.batch import LandmarkDetector


class KeptDetectors:
    """Makes detectors and keeps the last few, as long as their model files do not change.

    `events` gets a line before a model is loaded, which takes a while.
    """

    def __init__(self, most: int = 2) -> None:
        self.events: EventSink = lambda event: None
        self._most = most
        self._kept: OrderedDict[tuple[Any, ...], tuple[LandmarkDetector, Anatomy]] = OrderedDict()

    def __call__(self, arguments: argparse.Namespace) -> tuple[LandmarkDetector, Anatomy]:
        """The detector that the options ask for and its landmark set."""
        key = self._key(arguments)
        if key not in self._kept:
            self.events(Event(EventKind.STAGE, "loading the model (the first time some seconds)", "model", 0.0))
            self._kept[key] = load_detector(arguments)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    @staticmethod
    def _key(arguments: argparse.Namespace) -> tuple[Any, ...]:
        from .detect.model import DEFAULT_MODEL_FILE  # start-up time

        path = Path(arguments.model or DEFAULT_MODEL_FILE)
        try:
            state = path.stat()
        except OSError:
            return (path, None)
        return (path.resolve(), state.st_mtime_ns, state.st_size, arguments.device, arguments.decoding)


def serve(requests: TextIO, answers: TextIO, errors: TextIO) -> None:
    """Work through requests until there are no more."""
    detectors, memory = KeptDetectors(), ScanMemory()
    for line in requests:
        if not line.strip():
            continue
        try:
            request = json.loads(line)
            job, warm = int(request["job"]), "warm" in request
            arguments = [str(argument) for argument in request["warm" if warm else "arguments"]]
        except (ValueError, KeyError, TypeError) as error:
            errors.write(f"error: A request to the worker is not readable ({error}).\n")
            errors.flush()
            continue
        detectors.events = job_answers = _JobLines(answers, job)
        if arguments[:1] == ["detect"] and "torch" not in sys.modules:
            job_answers(Event(EventKind.STAGE, "starting PyTorch (the first time about 10 s)", "start", 0.0))
        if arguments[:1] in (["detect"], ["info"]):
            arguments.append("--json-progress")  # standard output is for the events
        job_answers.end(run(arguments, job_answers, detectors, memory, only_load=warm))


class _JobLines:
    """Events of one job as JSON lines that carry its number."""

    def __init__(self, stream: TextIO, job: int) -> None:
        self._stream = stream
        self._job = job
        self._last = Event(EventKind.ERROR, "The job ended without a message.")

    def __call__(self, event: Event) -> None:
        self._last = event
        self._write(event)

    def end(self, code: int) -> None:
        """The line that ends the job; its message is that of the last event."""
        kind = EventKind.ERROR if code in (1, 2) else EventKind.RESULT
        self._write(Event(kind, self._last.message, END, 1.0, self._last.path), code=code)

    def _write(self, event: Event, **more: int) -> None:
        text = io.StringIO()
        JsonLines(text, io.StringIO())(event)
        self._stream.write(json.dumps({**json.loads(text.getvalue()), "job": self._job, **more}) + "\n")
        self._stream.flush()


def main() -> int:
    """Serve standard input; whatever else prints goes to standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="ascii")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # Where an error comes from goes to standard error, and from there to the log of whoever started this.
    logging.basicConfig(stream=sys.stderr, format="%(name)s: %(message)s")
    logging.getLogger(__package__).setLevel(logging.DEBUG)
    try:
        serve(sys.stdin, answers, sys.stderr)
    except (BrokenPipeError, KeyboardInterrupt):  # whoever listened is gone
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
