"""What is wrong with annotated cases: collected, never the end of the work."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Severity(str, Enum):
    """ERROR: the case cannot be used as it is; WARNING: look at it; NOTE: what was assumed."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Problem:
    """One sentence about one case (or, with an empty `case`, about the whole cohort)."""

    case: str
    severity: Severity
    sentence: str

    def __str__(self) -> str:
        return f"{self.severity.value}: {f'{self.case}: ' if self.case else ''}{self.sentence}"


def error(case: str, sentence: str) -> Problem:
    """A problem that keeps the case from being used."""
    return Problem(case, Severity.ERROR, sentence)


def warning(case: str, sentence: str) -> Problem:
    """A problem that a person should look at."""
    return Problem(case, Severity.WARNING, sentence)


def note(case: str, sentence: str) -> Problem:
    """Something that was assumed."""
    return Problem(case, Severity.NOTE, sentence)


def cases_with_errors(problems: Iterable[Problem]) -> set[str]:
    """Names of the cases that cannot be used."""
    return {problem.case for problem in problems if problem.severity is Severity.ERROR and problem.case}
