"""All results below a directory, whichever calls made them, as one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..core.anatomy import default_anatomy
from ..files.result_layout import ResultLayout, SeparateFolders
from ..files.result_record import ResultRecord, RunSettings, read_record
from ..files.run_manifest import ScanEntry, ShardManifest, read_shards
from .batch_records import entry_of
from .bids_layout import BidsLayout, is_bids


@dataclass(frozen=True)
class Collection:
    """Entries in the order of the batch, and how many scans have none yet; `settings` is None where they differ."""

    entries: Sequence[ScanEntry]
    settings: RunSettings | None
    not_done: int
    warnings: tuple[str, ...]


def collect(directory: Path) -> Collection:
    """The results below `directory`, and the failures that shards noted; raises ConfigurationError.

    What lies in the results counts, not what a manifest says of them: a process that was killed may not have written
    it any more.
    """
    shards = read_shards(directory)
    noted = {entry.result: entry for shard in shards for entry in shard.entries if entry.result is not None}
    failed = [entry for shard in shards for entry in shard.entries if not entry.delivered]
    entries, records = [], []
    layout: ResultLayout = (
        BidsLayout(directory, (), default_anatomy()) if is_bids(directory) else SeparateFolders(directory)
    )
    for path in layout.records():
        record, name = read_record(path), layout.result_of(path)
        known = noted.pop(name, None)
        if record is None:
            continue
        records.append(record)
        entries.append(_entry(path, name, record, known, directory))
    failed += [replace(entry, error="The result is gone; run again with --resume.") for entry in noted.values()]
    ordered = _numbered([*entries, *failed])
    settings = _common(records)
    not_done, warnings = _unfinished(shards)
    if settings is None and records:
        warnings = (
            *warnings,
            "The results were made with different programs, models or options, so that run.json holds no settings; "
            "detect with --resume and the same options makes them alike.",
        )
    return Collection(ordered, settings, not_done, warnings)


def _entry(path: Path, name: str, record: ResultRecord, known: ScanEntry | None, directory: Path) -> ScanEntry:
    number = 0 if known is None else known.number
    label, scan = (name, "") if known is None else (known.scan, known.path)
    entry = entry_of(number, label, scan, name, record, path.parent.relative_to(directory))
    if record.is_whole(path.parent):
        return entry
    return replace(entry, error="The result is not whole; run again with --resume.")


def _numbered(entries: list[ScanEntry]) -> list[ScanEntry]:
    """The entries by number; those that no manifest numbers come after the others, by name."""
    last = max((entry.number for entry in entries), default=0)
    known = sorted((entry for entry in entries if entry.number), key=lambda entry: entry.number)
    others = sorted((entry for entry in entries if not entry.number), key=lambda entry: entry.scan)
    return [*known, *(replace(entry, number=last + place) for place, entry in enumerate(others, 1))]


def _common(records: Sequence[ResultRecord]) -> RunSettings | None:
    """The settings of all records; None where two of them differ in more than the device."""
    first = records[0].settings if records else None
    return first if all(first and record.settings.identity == first.identity for record in records) else None


def _unfinished(shards: Sequence[ShardManifest]) -> tuple[int, tuple[str, ...]]:
    """How many scans have no entry in the manifests of their shards, and a warning that says which shards these are."""
    if not shards:
        return 0, ()
    total, count = shards[0].total, shards[0].shards
    done = {shard.shard: len(shard.entries) for shard in shards if shard.shards == count}
    behind = [number for number in range(1, count + 1) if done.get(number, 0) < len(range(number - 1, total, count))]
    if not behind:
        return 0, ()
    listed = ", ".join(f"{number}/{count}" for number in behind[:20]) + (", ..." if len(behind) > 20 else "")
    missing = total - sum(done.values())
    return missing, (f"{missing} scans are not done; start these shards again with --resume: {listed}.",)
