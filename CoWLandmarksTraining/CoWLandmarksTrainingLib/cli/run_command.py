"""The command run: align and train, all by one configuration file, as on a cluster or without a window in Slicer."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from CoWLandmarksLib.core.errors import ExitCode

from ..config.presets import DEFAULT_PRESET, PRESETS
from ..config.training_config import AlignConfig, read_config


def add_run_command(commands: Any, main: Callable[[Sequence[str]], int]) -> None:
    """Add the sub-parser; `main` runs another command and returns its exit code."""
    run = commands.add_parser("run", help="align a cohort and train on it, all by one configuration file")
    run.add_argument("--config", type=Path, required=True, metavar="FILE", help="configuration (init writes one)")
    run.add_argument("--out", type=Path, metavar="DIR", help="model and log (default: training beside the file)")
    run.add_argument("--preset", choices=list(PRESETS), default=DEFAULT_PRESET, help="where missing settings come from")
    run.add_argument("--resume", action="store_true", help="go on where a training was stopped")
    run.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    run.add_argument("--json-progress", action="store_true", help="print the log as JSON lines")
    run.set_defaults(run=lambda arguments: _run(arguments, main))


def _run(arguments: argparse.Namespace, main: Callable[[Sequence[str]], int]) -> int:
    config: Path = arguments.config.absolute()
    aligned = config.parent / read_config(config).section("align", AlignConfig).folder
    aligning = main(["align", str(config)])
    if aligning not in (ExitCode.DELIVERED, ExitCode.PARTLY_FAILED):
        return aligning
    out = arguments.out or config.parent / "training"
    command = ["train", str(aligned), "--out", str(out), "--config", str(config), "--preset", arguments.preset]
    command += ["--device", arguments.device]
    command += ["--resume"] if arguments.resume else []
    command += ["--json-progress"] if arguments.json_progress else []
    return main(command) or aligning
