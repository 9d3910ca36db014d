"""The command line `cowlandmarks`: detect, collect, arteries, export and info."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from .. import __version__
from ..core.errors import CoWLandmarksError, ExitCode, unexpected_problem
from ..jobs.interruption import Interruption
from ..jobs.progress import Event, EventKind, EventSink, JsonLines, terminal_progress
from ..pipeline.scan_memory import ScanMemory
from .arteries_command import add_arteries
from .collect_command import add_collect
from .command_line import Parser, UsageError, missing_library
from .detect_command import DetectorFactory, add_detect, load_detector, made_detector
from .export_command import add_export
from .info_command import add_info

# Nothing above imports torch, so that --help and wrong usage answer at once; commands import what they need.


def main(argv: Sequence[str] | None = None, make_detector: DetectorFactory | None = None) -> int:
    """Run the command line; returns the exit code of Docs/use/conventions.md (0, 1, 2, 3).

    `make_detector` takes the place of the one that loads a model file. Without `argv` the process is taken to end
    with the call.
    """
    command_line = list(sys.argv[1:] if argv is None else argv)
    _survive_any_file_name(sys.stdout, sys.stderr)
    events = JsonLines(sys.stdout, sys.stderr) if "--json-progress" in command_line else terminal_progress(sys.stderr)
    return run(command_line, events, make_detector or load_detector, last=argv is None)


def run(
    argv: Sequence[str],
    events: EventSink,
    make_detector: DetectorFactory,
    memory: ScanMemory | None = None,
    *,
    only_load: bool = False,
    last: bool = False,
) -> int:
    """Run the command line `argv` and report to `events`; returns the exit code.

    `memory` keeps the last scan for the next call. `only_load`: make the detector that a `detect` with these arguments
    would use, and nothing else. `last`: the process ends after this call, so that signals that come after the work
    are ignored.
    """
    try:
        with Interruption(last=last) as interruption:
            arguments = _arguments(argv)
            if only_load:
                made_detector(make_detector, arguments)
                return ExitCode.DELIVERED
            kept = memory or ScanMemory(keeps=False)
            code: int = arguments.run(arguments, events, make_detector, interruption, kept)
        _flush(sys.stdout)
        return code
    except SystemExit as stop:  # --help and --version
        return int(stop.code or 0)
    except OSError as error:  # whoever started this and listened is gone, or standard output is full
        _flush(sys.stdout)
        with suppress(OSError):
            sys.stderr.write(
                f"error: The output cannot be written ({error.strerror or error}); the work was stopped.\n"
            )
    except (Exception, KeyboardInterrupt) as error:
        if not isinstance(error, UsageError | KeyboardInterrupt):
            logging.getLogger(__name__).debug("stopped", exc_info=True)
        events(Event(EventKind.ERROR, _sentence(error)))
    return ExitCode.FAILED


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The parsed command line; raises UsageError, or ConfigurationError for unusable settings."""
    arguments = _parser().parse_args(argv)
    if getattr(arguments, "settings", None) is not None:  # again, with the file's options as defaults
        arguments = _parser(arguments.settings).parse_args(argv)
    if arguments.debug:
        logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    return arguments


def _sentence(error: Exception | KeyboardInterrupt) -> str:
    """What to say of an error that ended the call."""
    if isinstance(error, KeyboardInterrupt):
        return "Stopped; results of earlier scans stand, and nothing half-written remains."
    if isinstance(error, ModuleNotFoundError):
        return missing_library(error)
    return str(error) if isinstance(error, UsageError | CoWLandmarksError) else unexpected_problem(error)


def _parser(settings: Path | None = None) -> argparse.ArgumentParser:
    parser = Parser(prog="cowlandmarks", description="Landmarks of the Circle of Willis on MR and CT angiograms.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    add_detect(commands, settings)
    add_collect(commands)
    add_arteries(commands)
    add_export(commands)
    add_info(commands)
    return parser


def _flush(stream: TextIO) -> None:
    """Write out what waits; where nobody takes it any more (`| head`, full disk) drop it, the results stand."""
    try:
        stream.flush()
    except OSError:
        # Without this the interpreter would try again at exit and complain with a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _survive_any_file_name(*streams: TextIO) -> None:
    for stream in streams:
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
