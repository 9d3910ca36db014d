"""Several scans in one call, or in several that share them: what is kept of them, and what is written in the end."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..core.anatomy import Anatomy
from ..core.errors import ConfigurationError
from ..files.batch_summary import check_replaceable, write_batch
from ..files.result_layout import ResultLayout, SeparateFolders
from ..files.result_record import RunSettings
from ..pipeline.batch_records import BatchRecords, Shard
from ..pipeline.bids_layout import BidsLayout, is_bids
from .run_options import private_values, settings_of


@dataclass(frozen=True)
class BatchRun:
    """The scans of a call, of which those at the places `part` are its own; `records` is None for a plain call.

    `summarises`: run.json, table and page are written in the end. `values` are the options that only a run.json with
    paths holds.
    """

    directory: Path
    scans: Sequence[Path]
    part: Sequence[int]
    layout: ResultLayout
    settings: RunSettings | None
    records: BatchRecords | None
    summarises: bool
    values: dict[str, str] | None

    def finish(self) -> None:
        """Write run.json, table and page, if this call is the one to do so; raises OutputError."""
        if self.records is None or not self.summarises:
            return
        if any(entry.delivered for entry in self.records.entries):
            write_batch(self.directory, self.settings, self.records.entries, self.values)


@contextmanager
def batch_run(arguments: argparse.Namespace, scans: Sequence[Path], anatomy: Anatomy) -> Iterator[BatchRun]:
    """What `arguments` ask for, while no other process works on the same shard.

    Raises ConfigurationError where a shard does not fit the others, or the directory does not fit.
    """
    summarises = arguments.shard is None and (len(scans) > 1 or arguments.with_paths)
    layout = _layout(arguments, scans, anatomy)
    if summarises:
        check_replaceable(arguments.out)
    values = dict(private_values(arguments)) if arguments.with_paths else None
    part: Sequence[int] = range(len(scans))
    if not (summarises or arguments.shard or arguments.resume or arguments.settings or arguments.bids):
        yield BatchRun(arguments.out, scans, part, layout, None, None, False, None)
        return
    shard = None
    if arguments.shard is not None:
        scans = sorted(scans)
        listed = "\n".join(map(str, scans)).encode("utf-8", "surrogateescape")
        number, count = arguments.shard
        shard = Shard(number, count, hashlib.sha256(listed).hexdigest(), len(scans))
        part = shard.members
    settings = settings_of(arguments)
    records = BatchRecords(
        arguments.out,
        layout,
        settings,
        resume=arguments.resume,
        force=arguments.force,
        shard=shard,
        with_paths=arguments.with_paths,
    )
    with records.begun():
        yield BatchRun(arguments.out, scans, part, layout, settings, records, summarises, values)


def _layout(arguments: argparse.Namespace, scans: Sequence[Path], anatomy: Anatomy) -> ResultLayout:
    """The layout that is asked for; raises ConfigurationError where the directory holds results in the other."""
    folders = SeparateFolders(arguments.out)
    if not arguments.bids:
        if is_bids(arguments.out):
            raise ConfigurationError(f"'{arguments.out}' holds BIDS derivatives; add --bids or choose another --out.")
        return folders
    if next(folders.records(), None) is not None:
        raise ConfigurationError(
            f"'{arguments.out}' holds results in folders of their own; leave out --bids or choose another --out."
        )
    return BidsLayout(arguments.out, scans, anatomy)
