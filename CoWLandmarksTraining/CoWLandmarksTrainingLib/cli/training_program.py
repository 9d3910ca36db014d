"""The command line `cowlandmarks-train`: from annotated scans, or phantoms, to a model."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from CoWLandmarksLib import __version__
from CoWLandmarksLib.cli.command_line import Parser, UsageError, missing_library
from CoWLandmarksLib.core.errors import CoWLandmarksError, ExitCode, StoppedError, is_out_of_memory

from .cohort_commands import add_cohort_commands
from .experiments_command import add_experiments_command
from .import_command import add_import_command
from .phantom_command import add_phantom_command
from .run_command import add_run_command
from .training_commands import add_training_commands


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code of Docs/use/conventions.md.

    0 all delivered, 1 nothing or wrong usage, 2 some cases failed, 75 stopped with a checkpoint to resume from.
    """
    try:
        arguments = _parser().parse_args(argv)
        code: int = arguments.run(arguments)
        return code
    except SystemExit as stop:  # --help and --version
        return int(stop.code or 0)
    except StoppedError as stopped:
        print(f"stopped: {stopped}", file=sys.stderr)
        return ExitCode.RESUMABLE
    except (UsageError, CoWLandmarksError) as error:
        sentence = str(error)
    except ModuleNotFoundError as error:
        sentence = missing_library(error)
    except OSError as error:
        place = f"'{error.filename}'" if error.filename else "A file"
        sentence = f"{place} cannot be used ({error.strerror or error}); check the place and its permissions."
    except KeyboardInterrupt:
        sentence = "Stopped before all was delivered."
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        sentence = "The memory is full; close other programs, or use a smaller batch, smaller crops or fewer processes."
    print(f"error: {sentence}", file=sys.stderr)
    return ExitCode.FAILED


class _StopOnSignal:
    """Turns Ctrl-C and a scheduler's SIGTERM into a request that training heeds between two steps."""

    def __init__(self) -> None:
        self.made = False

    def __enter__(self) -> _StopOnSignal:
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, *_: object) -> None:
        if self.made:
            raise KeyboardInterrupt
        self.made = True


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="cowlandmarks-train",
        description="Synthetic cohorts and training for CoW Landmarks. Research use only; not a medical device.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    add_phantom_command(commands)
    add_import_command(commands)
    add_cohort_commands(commands, _StopOnSignal)
    add_training_commands(commands, _StopOnSignal)
    add_run_command(commands, main)
    add_experiments_command(commands, _StopOnSignal)
    return parser
