"""`run.json` beside a batch, and the manifests of its shards: settings, versions, and what became of every scan."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..core.atomic_files import write_json
from ..core.errors import ConfigurationError, short_path
from .result_folders import RUN_FILE, SHARD_FOLDER
from .result_record import RunSettings, settings_from_dict

SCHEMA_NAME, SCHEMA_MAJOR = "cow-run", 1
SHARD_SCHEMA = "cow-shard/1"
PRIVATE = ("path", "scan", "result", "picture", "error")
"""What may hold the name of a file, and so of a person: in run.json only where it was asked for."""
_LIBRARIES = ("numpy", "scipy", "torch", "SimpleITK", "pydicom")
_SHARD_NAME = re.compile(r"\d+-of-\d+\.json")


@dataclass(frozen=True)
class ScanEntry:
    """What became of one scan; `number` counts the scans of the batch from 1.

    `error` is the sentence of a scan that failed, which has no `result` (path from the directory of the batch).
    `landmarks` are numbers by state. `picture` is where the report picture lies, from there as well.
    """

    number: int
    scan: str
    path: str
    sha256: str | None
    seconds: float
    result: str | None = None
    picture: str | None = None
    device: str | None = None
    verdict: str | None = None
    modality: str | None = None
    landmarks: Mapping[str, int] = field(default_factory=dict)
    summary: str = ""
    reasons: tuple[str, ...] = ()
    error: str | None = None

    @property
    def delivered(self) -> bool:
        """Whether a result stands."""
        return self.error is None

    @property
    def outcome(self) -> str:
        """The verdict, or 'failed', as tables show it."""
        return "failed" if not self.delivered else self.verdict or "not judged"

    def to_dict(self) -> dict[str, Any]:
        """As files keep it."""
        return {**asdict(self), "delivered": self.delivered, "seconds": round(self.seconds, 2)}


def entry_from_dict(content: Mapping[str, Any]) -> ScanEntry:
    """The inverse of `ScanEntry.to_dict`; raises KeyError or TypeError for anything else."""
    values = {name: content[name] for name in ScanEntry.__dataclass_fields__}
    return ScanEntry(**{**values, "reasons": tuple(values["reasons"])})


@dataclass(frozen=True)
class ShardManifest:
    """What one of several processes that share a batch has done; `scans` is the hash of the whole list of scans."""

    shard: int
    shards: int
    scans: str
    total: int
    settings: RunSettings
    entries: Sequence[ScanEntry]

    def write(self, directory: Path) -> None:
        """Write it to its own file below `directory`, all at once; raises OutputError."""
        write_json(
            directory / SHARD_FOLDER / f"{self.shard}-of-{self.shards}.json",
            {
                "schema": SHARD_SCHEMA,
                "shard": self.shard,
                "shards": self.shards,
                "scans": self.scans,
                "total": self.total,
                **self.settings.to_dict(),
                "entries": [entry.to_dict() for entry in self.entries],
            },
        )


def read_shards(directory: Path) -> list[ShardManifest]:
    """The manifests of all shards of a directory, sorted by shard; raises ConfigurationError for a damaged one."""
    shards = []
    for path in sorted((directory / SHARD_FOLDER).glob("*.json")):
        if not _SHARD_NAME.fullmatch(path.name):
            continue
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["schema"] != SHARD_SCHEMA:
                raise ValueError(content["schema"])
            entries = [entry_from_dict(entry) for entry in content["entries"]]
            numbers = (int(content["shard"]), int(content["shards"]), str(content["scans"]), int(content["total"]))
            shards.append(ShardManifest(*numbers, settings_from_dict(content), entries))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ConfigurationError(
                f"'{short_path(path)}' is damaged or of another version; remove it and start that shard again."
            ) from error
    return sorted(shards, key=lambda manifest: (manifest.shards, manifest.shard))


def write_run(
    path: Path, settings: RunSettings | None, entries: Sequence[ScanEntry], values: Mapping[str, str] | None
) -> None:
    """Write run.json; `settings` is None where results differ in them. Raises OutputError.

    With `values`, the options that name files or series, it also holds paths and names of the scans.
    """
    devices = sorted({entry.device for entry in entries if entry.device is not None})
    write_json(
        path,
        {
            "schema": f"{SCHEMA_NAME}/{SCHEMA_MAJOR}",
            "program": None if settings is None else settings.program,
            "versions": versions(),
            "model": None if settings is None else dict(settings.model),
            "devices": devices,
            "options": None if settings is None else dict(settings.options),
            "seconds": round(sum(entry.seconds for entry in entries), 2),
            **({} if values is None else {"values": dict(values)}),
            "scans": [_public(entry, values is not None) for entry in entries],
        },
    )


def _public(entry: ScanEntry, with_paths: bool) -> dict[str, Any]:
    hidden = () if with_paths else (*PRIVATE, "reasons", "summary")
    return {name: value for name, value in entry.to_dict().items() if name not in hidden}


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that results depend on, and the kind of machine."""
    found = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # 3D Slicer brings some without their description
            continue
    return found


def read_run_settings(path: Path) -> tuple[RunSettings, dict[str, str]]:
    """The settings in a run.json, and the values of options in one with paths; raises ConfigurationError otherwise."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"The settings '{path}' cannot be read ({error.strerror}); give a {RUN_FILE} that a batch has written."
        ) from error
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"The settings '{path}' are damaged; give a {RUN_FILE} that a batch has written."
        ) from error
    name, _, major = str(content.get("schema") if isinstance(content, dict) else "").partition("/")
    if name != SCHEMA_NAME:
        raise ConfigurationError(f"'{path}' holds no settings; give a {RUN_FILE} that a batch has written.")
    if major != str(SCHEMA_MAJOR):
        raise ConfigurationError(
            f"'{path}' holds settings of version {major}, this program reads version {SCHEMA_MAJOR}; "
            "use the program that wrote them, or give the options themselves."
        )
    if content.get("options") is None:
        raise ConfigurationError(f"The results of '{path}' were made with different options; give the options instead.")
    try:
        values = {str(name): str(value) for name, value in dict(content.get("values", {})).items()}
        return settings_from_dict(content), values
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(f"The settings '{path}' are incomplete ({error}); give another {RUN_FILE}.") from error
