"""What a batch keeps of its scans, so that it can be continued, shared among processes, and looked up later."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..core.detection import Detection
from ..core.errors import AnnotationError, ConfigurationError, OutputError, VolumeError
from ..files.detection_files import read_detection_json
from ..files.result_folders import DETECTION_FILE, PICTURE_FILE, RESULT_MARK, SHARD_FOLDER, ResultNames
from ..files.result_layout import ResultLayout
from ..files.result_record import RunSettings, changed_since, read_record, record_of
from ..files.run_manifest import ScanEntry, ShardManifest, read_shards
from ..io.scan_hash import scan_sha256


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
        shard: Shard | None = None,
        with_paths: bool = False,
    ) -> None:
        self._directory = directory
        self._layout = layout
        self._settings = settings
        self._resume = resume
        self._shard = shard
        self._with_paths = with_paths
        self.entries: list[ScanEntry] = []

    def begin(self) -> None:
        """Write the empty manifest of the shard; raises ConfigurationError if the others share another batch."""
        if self._shard is None:
            return
        here = (self._shard.count, self._shard.scans, self._settings.identity)
        for other in read_shards(self._directory):
            if (other.shards, other.scans, other.settings.identity) != here:
                folder = self._directory / SHARD_FOLDER
                raise ConfigurationError(
                    f"Shard {other.shard}/{other.shards} in '{folder}' has other scans, options or another number of "
                    f"shards; when no job works there, remove '{folder}' and start all shards with --resume."
                )
        self._write_manifest(self._shard)

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
        self._add(entry_of(number, label, path, name, self._layout.record(name), self._directory))

    def failed(self, number: int, scan: Path, named: bool, digest: str | None, seconds: float, error: str) -> None:
        """Add the entry of a scan without a result."""
        label, path = self._shown(number, scan, named)
        if not self._with_paths:
            error = error.replace(str(scan), label).replace(str(scan.parent.absolute()), "")
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
        ShardManifest(*numbers, self._settings, self.entries).write(self._directory)


def entry_of(number: int, label: str, scan: str, result: str, path: Path, directory: Path) -> ScanEntry:
    """The entry of a `result` with the record `path`; raises OutputError where that is gone."""
    record = read_record(path)
    if record is None:
        raise OutputError(f"'{path}' cannot be read, although the result was delivered; check the disk.")
    place = path.parent.relative_to(directory)
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
