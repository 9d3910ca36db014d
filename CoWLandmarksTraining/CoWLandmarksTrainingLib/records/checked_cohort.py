"""What `cowlandmarks-train check --json FILE` writes (`cow-check/1`), and how it is read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from CoWLandmarksLib.core.atomic_files import write_json
from CoWLandmarksLib.core.errors import AnnotationError, OutputError

SCHEMA = "cow-check/1"
NO_IMAGE, UNREADABLE_IMAGE = "none", "unreadable"
_PATHS = ("scene", "volume", "annotation")


@dataclass(frozen=True)
class CheckedCase:
    """One case of a checked cohort; `image` describes its scan, or is NO_IMAGE or UNREADABLE_IMAGE.

    Where it lies: its `scene`, or its `volume` (None without) and its `annotation`. `problems` are (severity,
    sentence). A case that could not be read at all is not `readable`: of it only the problems are known.
    """

    name: str
    patient: str = ""
    modality: str = ""
    role: str = ""
    split: str = ""
    image: str = NO_IMAGE
    placed: int = 0
    absent: int = 0
    outside: int = 0
    missing: int = 0
    scene: Path | None = None
    volume: Path | None = None
    annotation: Path | None = None
    problems: tuple[tuple[str, str], ...] = ()
    readable: bool = True

    @property
    def has_image(self) -> bool:
        """Whether there is a scan and not only landmarks."""
        return self.image != NO_IMAGE

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


def write_checked(
    file: Path, cases: Sequence[CheckedCase], landmarks: int, problems: Iterable[tuple[str, str, str]]
) -> None:
    """Write the cases and all problems (case, severity, sentence), with an empty case those of the whole cohort.

    Raises OutputError.
    """
    keys = ("case", "severity", "sentence")
    content = {
        "schema": SCHEMA,
        "landmarks": landmarks,
        "cases": [
            {key: value for key, value in asdict(case).items() if key not in ("problems", "readable")} for case in cases
        ],
        "problems": [dict(zip(keys, problem, strict=True)) for problem in problems],
    }
    write_json(file, content)


def read_checked(file: Path) -> CheckedCohort:
    """Read what `write_checked` wrote; raises OutputError, AnnotationError."""
    try:
        content: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputError(f"'{file}' cannot be read ({error}); run the check again.") from error
    try:
        found: dict[str, list[tuple[str, str]]] = {}
        for problem in content["problems"]:
            found.setdefault(problem["case"], []).append((problem["severity"], problem["sentence"]))
        cases = [replace(_case_from_dict(row), problems=tuple(found.pop(row["name"], ()))) for row in content["cases"]]
        landmarks = int(content["landmarks"])
    except (KeyError, TypeError, ValueError) as error:
        raise AnnotationError(f"'{file}' is damaged ({error!r}); run the check again.") from error
    whole = tuple(found.pop("", ()))
    cases += [CheckedCase(name, readable=False, problems=tuple(problems)) for name, problems in found.items()]
    order = {"error": 0, "warning": 1}
    cases.sort(key=lambda case: (min((order.get(kind, 2) for kind, _ in case.problems), default=2), case.name))
    return CheckedCohort(tuple(cases), landmarks, whole)


def _case_from_dict(row: dict[str, Any]) -> CheckedCase:
    places = {key: None if row[key] is None else Path(row[key]) for key in _PATHS}
    return CheckedCase(**{**row, **places})
