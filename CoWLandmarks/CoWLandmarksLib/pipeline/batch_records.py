"""What a batch keeps of its scans, so that it can be continued, shared among processes, and looked up later."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from ..core.detection import Detection
from ..core.errors import AnnotationError, ConfigurationError, OutputError, VolumeError
from ..files.detection_files import read_detection_json
from ..files.result_folders import (
    DETECTION_FILE,
    PICTURE_FILE,
    RESULT_MARK,
    SHARD_FOLDER,
    ResultNames,
    make_folders,
    remove_if_empty,
)
from ..files.result_layout import ResultLayout
from ..files.result_record import ResultRecord, RunSettings, changed_since, read_record, record_of
from ..files.run_manifest import ScanEntry, ShardManifest, read_shards
from ..io.scan_hash import scan_sha256
from ..jobs.process_lock import process_lock

_QUOTED = re.compile(r"'(?:[^']|'(?=\w))*'|\"[^\"]*\"")
"""What a sentence quotes; the apostrophe in a name (O'Brien) is followed by a letter, the closing one is not."""


@dataclass(frozen=True)
class Shard:
    """Part `number` (from 1) of `count` parts of a list of scans; `scans` is the hash of the whole list."""

    number: int
    count: int
    scans: str
    total: int

    @property
    def members(self) -> range:
        """The scans of this part by their place in the list, from 0: every `count`-th."""
        return range(self.number - 1, self.total, self.count)


class BatchRecords:
    """Records of the results below `directory`, and an entry for each scan of this call.

    With `resume` a result that is whole and came from the same bytes, program, model and options is not made again,
    and any other result of the scan is replaced, unless a person changed it. Each `shard` writes its own manifest.
    Without `with_paths` entries hold no folder, and of DICOM, whose files often are called as the patient, no name.
    """

    def __init__(
        self,
        directory: Path,
        layout: ResultLayout,
        settings: RunSettings,
        *,
        resume: bool = False,
        force: bool = False,
        shard: Shard | None = None,
        with_paths: bool = False,
    ) -> None:
        self._directory = directory
        self._layout = layout
        self._settings = settings
        self._resume = resume
        self._force = force
        self._shard = shard
        self._with_paths = with_paths
        self._noted: dict[int, ScanEntry] = {}
        self.entries: list[ScanEntry] = []

    @contextmanager
    def begun(self) -> Iterator[None]:
        """Write the manifest of the shard, and let no other process work on that shard while the block lasts.

        What an earlier call noted of its scans stands until this one comes to them. Raises ConfigurationError if
        another process works on the shard, if the other shards share another batch, or if it was begun before and the
        call neither resumes nor replaces results.
        """
        shard = self._shard
        if shard is None:
            yield
            return
        folder = self._directory / SHARD_FOLDER
        with self._only_process(folder / f"{shard.number}-of-{shard.count}.lock") as mine:
            if not mine:
                raise ConfigurationError(
                    f"Another process works on shard {shard.number}/{shard.count} in '{folder}'; wait for its end."
                )
            self._take_up(shard, folder)
            self._write_manifest(shard)
            yield

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Let no other process that resumes make the result of this name meanwhile; raises OutputError if one does."""
        if not self._resume:
            yield
            return
        with self._only_process(self._directory / f".{PurePosixPath(name).name}.lock") as mine:
            if not mine:
                raise OutputError(
                    f"Another process is making '{self._layout.shown(name)}'; wait for its end and use --resume."
                )
            yield

    @staticmethod
    @contextmanager
    def _only_process(lock: Path) -> Iterator[bool]:
        made: list[Path] = []
        with suppress(OSError):  # no lock then; writing the result will say what is wrong
            made = make_folders(lock.parent)
        try:
            with process_lock(lock) as mine:
                yield mine
        finally:
            remove_if_empty(made)

    def _take_up(self, shard: Shard, folder: Path) -> None:
        here = (shard.count, shard.scans, self._settings.identity)
        for other in read_shards(self._directory):
            if (other.shards, other.scans, other.settings.identity) != here:
                raise ConfigurationError(
                    f"Shard {other.shard}/{other.shards} in '{folder}' has other scans, options or another number of "
                    f"shards; when no job works there, remove '{folder}' and start all shards with --resume."
                )
            if other.shard == shard.number:
                if not self._resume and not self._force:
                    raise ConfigurationError(
                        f"Shard {shard.number}/{shard.count} in '{folder}' was begun before; use --resume to go on, or "
                        "--force to make its results again."
                    )
                self._noted = {entry.number: entry for entry in other.entries}

    def digest(self, scan: Path) -> str | None:
        """The hash of a scan; None where it cannot be read, which reading it will explain."""
        try:
            return scan_sha256(scan)
        except VolumeError:
            return None

    def name_of_bytes(self, digest: str | None) -> str | None:
        """The name of an earlier result of a scan with this hash."""
        return self._names_by_digest.get(digest or "") if self._resume else None

    def new_name(self, wished: str, digest: str | None, names: ResultNames) -> str:
        """A name for a scan whose path may not name it; the processes that share a batch never choose the same."""
        if self._shard is not None:
            return names.claim(f"{wished}-{(digest or '')[:12]}")
        name = names.claim(wished)
        while self._resume and self._layout.shown(name).exists():
            name = names.claim(wished)
        return name

    @cached_property
    def _names_by_digest(self) -> dict[str, str]:
        found = {}
        for path in self._layout.records():
            record = read_record(path)
            if record is not None:
                found[record.input_sha256] = self._layout.result_of(path)
        return found

    def finished(self, name: str, digest: str | None) -> tuple[Detection, str] | None:
        """Detection and summary of a result that need not be made again; None for any other."""
        path = self._layout.record(name)
        record = read_record(path) if self._resume else None
        if record is None or record.input_sha256 != digest or record.settings.identity != self._settings.identity:
            return None
        file = record.named(DETECTION_FILE)
        if file is None or not record.is_whole(path.parent):
            return None
        try:
            return read_detection_json(path.parent / file), record.summary
        except AnnotationError:
            return None

    def may_replace(self, name: str, force: bool) -> bool:
        """Whether an earlier result of this name may be replaced; raises OutputError if a person changed it."""
        record = self._layout.record(name)
        if force or not self._resume:
            return force
        self._layout.remove_leftovers(name)
        if not record.is_file() and (self._layout.shown(name) / RESULT_MARK).is_file():
            raise OutputError(
                f"'{self._layout.shown(name)}' holds a result without a record; use --force to replace it, "
                "or choose another --out."
            )
        if changed_since(record):
            raise OutputError(
                f"'{self._layout.shown(name)}' was changed after it was made, by a correction perhaps; use --force "
                "to replace it, or move it away."
            )
        return True

    def write(
        self, folder: Path, name: str, detection: Detection, digest: str | None, seconds: float, summary: str
    ) -> None:
        """Write the record of the result in the hidden `folder`, whose files have their final names."""
        files = {entry.name: entry.stat().st_size for entry in sorted(folder.iterdir())}
        record = record_of(detection, self._settings, digest or "", seconds, summary, files)
        record.write(folder / self._layout.record(name).name)

    def delivered(self, number: int, scan: Path, named: bool, name: str) -> None:
        """Add the entry of a result that stands; `named`: the path of the scan names its result."""
        label, path = self._shown(number, scan, named)
        file = self._layout.record(name)
        record = read_record(file)
        if record is None:
            raise OutputError(f"'{file}' cannot be read, although the result was delivered; check the disk.")
        self._add(entry_of(number, label, path, name, record, file.parent.relative_to(self._directory)))

    def failed(self, number: int, scan: Path, named: bool, digest: str | None, seconds: float, error: str) -> None:
        """Add the entry of a scan without a result."""
        label, path = self._shown(number, scan, named)
        if not self._with_paths:
            error = _QUOTED.sub(f"'{label}'", error.replace(str(scan), label))
        self._add(ScanEntry(number, label, path, digest, seconds, error=error))

    def _shown(self, number: int, scan: Path, named: bool) -> tuple[str, str]:
        """What a scan is called, and its path, '' where that is not kept."""
        if self._with_paths:
            return scan.name, str(scan)
        return scan.name if named else f"scan {number}", ""

    def _add(self, entry: ScanEntry) -> None:
        self.entries.append(entry)
        if self._shard is not None:
            self._write_manifest(self._shard)

    def _write_manifest(self, shard: Shard) -> None:
        numbers = (shard.number, shard.count, shard.scans, shard.total)
        noted = {**self._noted, **{entry.number: entry for entry in self.entries}}
        entries = [entry for _, entry in sorted(noted.items())]
        ShardManifest(*numbers, self._settings, entries).write(self._directory)


def entry_of(number: int, label: str, scan: str, result: str, record: ResultRecord, place: Path) -> ScanEntry:
    """The entry of a `result` with its `record`, whose files lie in `place` (from the directory of the batch)."""
    picture = record.named(PICTURE_FILE)
    return ScanEntry(
        number,
        label,
        scan,
        record.input_sha256,
        record.seconds,
        result=result,
        picture=None if picture is None else (place / picture).as_posix(),
        device=record.device,
        verdict=record.verdict,
        modality=record.modality,
        landmarks=dict(record.landmarks),
        summary=record.summary,
        reasons=record.reasons,
    )
