"""`record.json` in a result: from which bytes, by which program, model and options it was made, and which files it has.

A result with its record is whole: both appear at once, or the record last. It holds no path and no name of a scan.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.atomic_files import write_json
from ..core.detection import Detection, LandmarkState

SCHEMA = "cow-record/1"
_BLOCK_BYTES = 1 << 20
_SETTLED_NS = 2_000_000_000
"""A file newer than the record by more than this was changed after the delivery."""
NOT_OF_THE_RESULT = ("device", "bids")
"""Options that do not change what a result says: one made with another device or layout is still the same."""


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal digits; raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


@dataclass(frozen=True)
class RunSettings:
    """What all results of a run have in common: program, model (name and SHA-256) and options by name."""

    program: str
    model: Mapping[str, str]
    options: Mapping[str, Any]

    @property
    def identity(self) -> dict[str, Any]:
        """What decides whether a result would come out the same: program, hash of the model, and most options."""
        kept = {name: value for name, value in self.options.items() if name not in NOT_OF_THE_RESULT}
        return {"program": self.program, "model": self.model["sha256"], "options": kept}

    def to_dict(self) -> dict[str, Any]:
        """As files keep it."""
        return {"program": self.program, "model": dict(self.model), "options": dict(self.options)}


def settings_from_dict(content: Mapping[str, Any]) -> RunSettings:
    """The inverse of `RunSettings.to_dict`; raises KeyError, TypeError or ValueError for anything else."""
    model = {str(key): str(value) for key, value in dict(content["model"]).items()}
    if "sha256" not in model:
        raise KeyError("sha256")
    return RunSettings(str(content["program"]), model, dict(content["options"]))


@dataclass(frozen=True)
class ResultRecord:
    """What is recorded of one result; `files` are the sizes in bytes of its files by name."""

    settings: RunSettings
    input_sha256: str
    device: str
    seconds: float
    verdict: str | None
    modality: str
    landmarks: Mapping[str, int]
    summary: str
    reasons: tuple[str, ...]
    files: Mapping[str, int]

    def write(self, path: Path) -> None:
        """Write it, all at once; raises OutputError."""
        write_json(
            path,
            {
                "schema": SCHEMA,
                **self.settings.to_dict(),
                "input_sha256": self.input_sha256,
                "device": self.device,
                "seconds": round(self.seconds, 2),
                "verdict": self.verdict,
                "modality": self.modality,
                "landmarks": dict(self.landmarks),
                "summary": self.summary,
                "reasons": list(self.reasons),
                "files": dict(self.files),
            },
        )

    def is_whole(self, folder: Path) -> bool:
        """Whether no file of the result is missing or shorter than it was."""
        try:
            return all((folder / name).stat().st_size >= size for name, size in self.files.items())
        except OSError:
            return False

    def named(self, ending: str) -> str | None:
        """The file of the result whose name ends so."""
        return next((name for name in self.files if name.endswith(ending)), None)


def record_of(
    detection: Detection,
    settings: RunSettings,
    input_sha256: str,
    seconds: float,
    summary: str,
    files: Mapping[str, int],
) -> ResultRecord:
    """The record of a detection that is about to be delivered."""
    return ResultRecord(
        settings,
        input_sha256,
        str(detection.provenance.get("device", "not recorded")),
        seconds,
        None if detection.verdict is None else detection.verdict.value,
        detection.modality.value,
        {state.value: detection.count(state) for state in LandmarkState},
        summary,
        detection.reasons,
        files,
    )


def read_record(path: Path) -> ResultRecord | None:
    """The record in a file; None where there is none, or none that was written to its end by this version."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            return None
        return ResultRecord(
            settings_from_dict(content),
            str(content["input_sha256"]),
            str(content["device"]),
            float(content["seconds"]),
            content["verdict"],
            str(content["modality"]),
            {str(state): int(count) for state, count in content["landmarks"].items()},
            str(content["summary"]),
            tuple(map(str, content["reasons"])),
            {str(name): int(size) for name, size in content["files"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def changed_since(record: Path) -> bool:
    """Whether a file beside a record was changed after the result was delivered, by a person who corrected it, say."""
    try:
        limit = record.stat().st_mtime_ns + _SETTLED_NS
        kept = read_record(record)
        names = [entry.name for entry in record.parent.iterdir()] if kept is None else list(kept.files)
        places = [record.parent / name for name in names]
        return any(place.stat().st_mtime_ns > limit for place in places if place.is_file())
    except OSError:
        return False
