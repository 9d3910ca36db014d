"""`cowlandmarks collect`: one run.json, table and page of all results below a directory."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..core.errors import ConfigurationError, ExitCode
from ..jobs.progress import Event, EventKind, EventSink
from .command_line import add_debug, add_json_progress, path_argument


def add_collect(commands: Any) -> None:
    """Add the sub-parser."""
    collect = commands.add_parser(
        "collect",
        help="one table and one page of all results of a batch",
        description="Write run.json, summary.csv and summary.html of all results in DIR, for example of all shards.",
        epilog="Exit codes: 0 all delivered, 1 there is nothing to collect, 2 some scans failed or are not done, "
        "3 delivered but at least one scan carries the verdict 'do not trust'.",
    )
    collect.add_argument("directory", metavar="DIR", type=path_argument, help="the --out of the batch")
    collect.add_argument("--with-paths", action="store_true", help="write paths and names of scans into run.json, too")
    add_json_progress(collect)
    add_debug(collect)
    collect.set_defaults(run=_collect)


def _collect(arguments: argparse.Namespace, events: EventSink, *_: object) -> int:
    from ..core.detection import Verdict  # start-up time
    from ..files.batch_summary import check_replaceable, write_batch  # start-up time
    from ..pipeline.collection import collect  # start-up time

    directory: Path = arguments.directory
    if not directory.is_dir():
        raise ConfigurationError(f"'{directory}' is no folder; give the --out of a batch.")
    check_replaceable(directory)
    collected = collect(directory)
    if not collected.entries:
        raise ConfigurationError(
            f"'{directory}' holds no recorded result; a call of detect with several scans, --resume or --shard "
            "makes them."
        )
    for warning in collected.warnings:
        events(Event(EventKind.WARNING, warning))
    write_batch(directory, collected.settings, collected.entries, {} if arguments.with_paths else None)
    delivered = [entry for entry in collected.entries if entry.delivered]
    total = len(collected.entries) + collected.not_done
    message = f"{len(delivered)} of {total} scans delivered; see {directory / 'summary.html'}"
    events(Event(EventKind.RESULT, message, fraction=1.0, path=directory))
    if not delivered:
        return ExitCode.FAILED
    if len(delivered) < total:
        return ExitCode.PARTLY_FAILED
    untrusted = any(entry.verdict == Verdict.DO_NOT_TRUST.value for entry in delivered)
    return ExitCode.NOT_TO_BE_TRUSTED if untrusted else ExitCode.DELIVERED
