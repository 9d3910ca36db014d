"""The command experiments: the comparison of the paper's Table 1."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from CoWLandmarksLib.core.errors import ConfigurationError, ExitCode, StoppedError

from .training_commands import StopRequest


def add_experiments_command(commands: Any, stop_request: Callable[[], AbstractContextManager[StopRequest]]) -> None:
    """Add the sub-parser; `stop_request` watches for signals."""
    command = commands.add_parser("experiments", help="train and test every row of the paper's comparison, one table")
    command.add_argument(
        "--scale", choices=["small", "paper"], default="small", help="a third of the paper's size, or all"
    )
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="cohorts, rows, results and tables")
    command.add_argument("--rows", nargs="+", metavar="ROW", help="only these, and those that they begin from")
    command.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds 1 to N (default: 3)")
    command.add_argument("--aligned", type=Path, metavar="DIR", help="a cohort of your own that align has made")
    command.add_argument(
        "--no-reverse", action="store_true", help="without the second table (CTA images, MRA landmarks)"
    )
    command.add_argument(
        "--screen",
        action="store_true",
        help="instead of the rows: ways to teach the discriminator, for a short while, judged on validation scans",
    )
    command.add_argument("--dry-run", action="store_true", help="only list rows, steps and hours")
    command.add_argument(
        "--smoke",
        action="store_true",
        help="every row once with a few steps and scans, into DIR/smoke, before hours of a GPU are paid for",
    )
    command.add_argument(
        "--report",
        type=Path,
        metavar="RESULTS",
        help="train nothing: tables and figures of the results in this folder, into DIR (--rows: those of the figures)",
    )
    command.add_argument(
        "--document",
        type=Path,
        metavar="FILE",
        help="with --report: renew the tables in this Markdown file as well, between <!-- begin NAME --> and "
        "<!-- end NAME --> (NAME: a table's file name without ending)",
    )
    command.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    command.set_defaults(run=lambda arguments: _experiments(arguments, stop_request))


def _experiments(arguments: argparse.Namespace, stop_request: Callable[[], AbstractContextManager[StopRequest]]) -> int:
    if arguments.report is not None:
        return _report(arguments)
    if arguments.document is not None:
        raise ConfigurationError("--document needs --report RESULTS, the folder of the results.")

    from CoWLandmarksLib.detect.devices import choose_device  # start-up time

    from ..experiments.comparison_cohort import SPECIFICATIONS  # start-up time
    from ..experiments.comparison_rows import chosen_rows  # start-up time
    from ..experiments.comparison_scale import SCALES  # start-up time
    from ..experiments.method_comparison import MethodComparison  # start-up time

    comparison = MethodComparison(
        SCALES[arguments.scale],
        chosen_rows(arguments.rows),
        arguments.out,
        arguments.seeds,
        SPECIFICATIONS[:1] if arguments.no_reverse else SPECIFICATIONS,
        arguments.aligned,
        arguments.smoke,
    )
    if arguments.dry_run:
        print(comparison.dry_run(), end="")
        return ExitCode.DELIVERED
    device = choose_device(arguments.device)
    with stop_request() as stop:
        try:
            if arguments.screen:
                comparison.screen(device, _show, _say, lambda: stop.made)
            else:
                comparison.run(device, _show, _say, lambda: stop.made)
        except StoppedError as stopped:
            raise StoppedError(
                f"The comparison in '{comparison.folder}' was stopped; the same command goes on."
            ) from stopped
    print(f"The tables are in '{comparison.folder}'.")
    return ExitCode.DELIVERED


def _report(arguments: argparse.Namespace) -> int:
    """Tables and figures of results, which are copied to DIR/results where they lie elsewhere."""
    from ..experiments.comparison_report import ComparisonReport, read_results  # start-up time
    from ..experiments.comparison_rows import chosen_rows  # start-up time
    from ..experiments.method_comparison import RESULTS  # start-up time

    if arguments.rows:
        chosen_rows(arguments.rows)
    results = read_results(arguments.report)
    if not results:
        raise ConfigurationError(
            f"There are no results in '{arguments.report}'; name the folder 'results' that experiments has written."
        )
    copies = arguments.out / RESULTS
    if copies.resolve() != arguments.report.resolve():
        for result in results:
            result.write(copies / result.file_name)
    ComparisonReport(arguments.out, shown=tuple(arguments.rows or ())).write(results, arguments.document)
    print(f"Tables and figures of {len(results)} results are in '{arguments.out}'.")
    return ExitCode.DELIVERED


def _say(sentence: str) -> None:
    print(sentence, flush=True)


def _show(entry: dict[str, Any]) -> None:
    if "loss" in entry:
        print(f"  {entry['row']} step {entry['step']} of {entry['steps']}, loss {entry['loss']:.3g}", file=sys.stderr)
    elif "validation" in entry:
        found = entry["validation"]
        print(
            f"  {entry['row']} step {entry['step']}: validation {found['mre_mm']:.2f} mm, "
            f"{100 * found['confusion']:.1f} % confused",
            file=sys.stderr,
        )
