"""What the panel shows of files that the commands write: checked cases, aligned cases, an evaluation. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from CoWLandmarksLib.core.errors import AnnotationError, OutputError

from ..records.improvement import Improvement

EVALUATION_FILE, COMPARISON_FILE = "evaluation.json", "comparison.json"


@dataclass(frozen=True)
class CheckedCase:
    """One case as `check --json` tells of it; `problems` are (severity, sentence). Paths are None where not known."""

    name: str
    patient: str = ""
    modality: str = ""
    split: str = ""
    placed: int = 0
    absent: int = 0
    has_image: bool = False
    readable: bool = True
    scene: Path | None = None
    volume: Path | None = None
    annotation: Path | None = None
    problems: tuple[tuple[str, str], ...] = ()

    @property
    def failed(self) -> bool:
        """Whether it cannot be used as it is."""
        return any(severity == "error" for severity, _ in self.problems)


@dataclass(frozen=True)
class CheckedCohort:
    """All cases, those with errors first, and what is wrong with the cohort as a whole."""

    cases: tuple[CheckedCase, ...]
    landmarks: int
    problems: tuple[tuple[str, str], ...]

    def case(self, name: str) -> CheckedCase | None:
        """The case of this name."""
        return next((case for case in self.cases if case.name == name), None)

    def names(self, modality: str) -> list[str]:
        """Cases of a modality with an image and without errors, which can be templates."""
        return sorted(
            case.name for case in self.cases if case.modality == modality and case.has_image and not case.failed
        )

    def pairs(self) -> list[str]:
        """Patients who have both an MRA and a CTA."""
        kinds = {(case.patient, case.modality) for case in self.cases if case.has_image and not case.failed}
        return sorted({patient for patient, _ in kinds if {(patient, "mra"), (patient, "cta")} <= kinds})


def read_checked(file: Path) -> CheckedCohort:
    """What `cowlandmarks-train check --json FILE` has written; raises OutputError."""
    content = _read(file)
    told: dict[str, list[tuple[str, str]]] = {}
    for problem in content["problems"]:
        told.setdefault(problem["case"], []).append((problem["severity"], problem["sentence"]))
    cases = [
        CheckedCase(
            name=row["name"],
            patient=row["patient"],
            modality=row["modality"],
            split=row["split"],
            placed=row["placed"],
            absent=row["absent"],
            has_image=row["scene"] is not None or row["volume"] is not None,
            scene=_path(row["scene"]),
            volume=_path(row["volume"]),
            annotation=_path(row["annotation"]),
            problems=tuple(told.pop(row["name"], ())),
        )
        for row in content["cases"]
    ]
    whole = tuple(told.pop("", ()))
    cases += [CheckedCase(name, readable=False, problems=tuple(problems)) for name, problems in told.items()]
    order = {"error": 0, "warning": 1}
    cases.sort(key=lambda case: (min((order.get(kind, 2) for kind, _ in case.problems), default=2), case.name))
    return CheckedCohort(tuple(cases), int(content["landmarks"]), whole)


def read_comparison(folder: Path) -> Improvement | None:
    """What a training has found against the model it began from; None where nothing was compared.

    Raises OutputError, AnnotationError.
    """
    file = folder / COMPARISON_FILE
    if not file.is_file():
        return None
    content = _read(file)
    try:
        low_high = content["interval_mm"]
        return Improvement(
            int(content["scans"]),
            int(content["landmarks"]),
            float(content["old_mre_mm"]),
            float(content["new_mre_mm"]),
            None if low_high is None else (float(low_high[0]), float(low_high[1])),
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise AnnotationError(f"'{file}' is damaged; run the step again.") from error


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
    """What `evaluate` has written; `failed` are (case, sentence)."""

    title: str
    rows: tuple[FigureRow, ...]
    per_landmark: Mapping[str, Mapping[str, Any]]
    failed: Sequence[tuple[str, str]]


def read_evaluation(folder: Path) -> Evaluation | None:
    """The evaluation in a folder; None where there is none. Raises OutputError."""
    file = folder / EVALUATION_FILE
    if not file.is_file():
        return None
    content = _read(file)
    figures = content["figures"].get("subvoxel", {})
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
        for group, row in figures.items()
    )
    split = f", {content['split']}" if content["split"] else ""
    failed = [(entry["case"], entry["error"]) for entry in content["failed"]]
    return Evaluation(f"{content['model']} on {content['cohort']}{split}", rows, content["per_landmark"], failed)


def _read(file: Path) -> Any:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputError(f"'{file}' cannot be read ({error}); run the step again.") from error
    if not isinstance(content, dict):
        raise AnnotationError(f"'{file}' is damaged; run the step again.")
    return content


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
