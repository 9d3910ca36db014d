"""The report of an evaluation, `evaluation.json` (`cow-evaluation/1`): written by `evaluate`, read here alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from CoWLandmarksLib.core.atomic_files import write_json
from CoWLandmarksLib.core.errors import AnnotationError, ConfigurationError, OutputError

SCHEMA = "cow-evaluation/1"
EVALUATION_FILE = "evaluation.json"


@dataclass(frozen=True)
class FigureRow:
    """Errors of one group of scans: mm, and shares within 2 and 4 mm."""

    group: str
    scans: int
    mre_mm: float
    sd_mm: float
    median_mm: float
    within_2mm: float
    within_4mm: float


@dataclass(frozen=True)
class Evaluation:
    """What the panel shows of a report; `failed` are (case, sentence)."""

    title: str
    rows: tuple[FigureRow, ...]
    per_landmark: Mapping[str, Mapping[str, Any]]
    failed: Sequence[tuple[str, str]]


def write_evaluation(folder: Path, report: Mapping[str, Any]) -> None:
    """Write a report, which carries its schema; raises OutputError."""
    write_json(folder / EVALUATION_FILE, report)


def read_evaluation(folder: Path) -> Evaluation | None:
    """The evaluation in a folder; None where there is none. Raises OutputError, AnnotationError."""
    file = folder / EVALUATION_FILE
    if not file.is_file():
        return None
    try:
        content: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputError(f"'{file}' cannot be read ({error}); run the evaluation again.") from error
    try:
        rows = tuple(
            FigureRow(
                group,
                row["scans"],
                row["mre_mm"],
                row["sd_mm"] if row["sd_mm"] is not None else 0.0,
                row["median_mm"],
                row["sdr"]["2"],
                row["sdr"]["4"],
            )
            for group, row in content["figures"].get("subvoxel", {}).items()
        )
        failed = [(entry["case"], entry["error"]) for entry in content["failed"]]
        return Evaluation(title_of(content), rows, content["per_landmark"], failed)
    except (KeyError, TypeError, AttributeError) as error:
        raise AnnotationError(f"'{file}' is damaged ({error!r}); run the evaluation again.") from error


def title_of(report: Mapping[str, Any]) -> str:
    """What was evaluated on what."""
    split = f", {report['split']}" if report["split"] else ""
    return f"{report['model']} on {report['cohort']}{split}"


def read_errors(report: Path) -> dict[str, list[float]]:
    """Errors in mm by scan, NaN where a landmark does not count, of a report or of the folder that holds it.

    Raises ConfigurationError where it cannot be read or has no errors by scan.
    """
    path = report / EVALUATION_FILE if report.is_dir() else report
    try:
        scans = json.loads(path.read_text(encoding="utf-8"))["errors_mm"]
        return {str(name): [float("nan" if e is None else e) for e in errors] for name, errors in scans.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"'{path}' is no report with errors by scan (it is missing, damaged or of an earlier version); "
            "run evaluate again."
        ) from error
