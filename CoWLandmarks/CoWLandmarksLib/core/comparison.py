"""Two annotations of one scan compared: distances per landmark, their summary, and agreement of the states."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np

from .anatomy import Anatomy
from .atomic_files import write_text
from .detection import NOT_PLACED, LandmarkEstimate, LandmarkState
from .errors import AnnotationError

COLUMNS = ("code", "name", "state_1", "state_2", "same_state", "distance_mm", "expected_mm")
SUMMARY_ROWS = ("mean", "median", "sd", "largest")
NOT_ANNOTATED = "not annotated"


@dataclass(frozen=True)
class ComparedLandmark:
    """One landmark in both annotations.

    `first`, `second`: "placed", "absent", "outside" or NOT_ANNOTATED; whether a placed point was uncertain does not
    count. `distance_mm` is None unless both have placed it; `expected_mm` is what two annotators usually differ by.
    """

    code: str
    name: str
    first: str
    second: str
    distance_mm: float | None
    expected_mm: float

    @property
    def annotated(self) -> bool:
        """Whether both annotations say anything of it."""
        return NOT_ANNOTATED not in (self.first, self.second)

    @property
    def same_state(self) -> bool:
        """Whether both say the same."""
        return self.annotated and self.first == self.second

    @property
    def far(self) -> bool:
        """Whether the points are farther apart than those of two annotators usually are."""
        return self.distance_mm is not None and self.distance_mm > self.expected_mm


@dataclass(frozen=True)
class Comparison:
    """Two annotations, landmark by landmark in the anatomy's order; `first` and `second` are what they are called."""

    first: str
    second: str
    landmarks: tuple[ComparedLandmark, ...]

    @property
    def distances(self) -> np.ndarray:
        """(n,) distances in mm of the landmarks that both have placed."""
        return np.array([row.distance_mm for row in self.landmarks if row.distance_mm is not None], float)

    @property
    def mean_mm(self) -> float:
        """Mean distance; NaN where no landmark is placed by both, as below."""
        return _of(self.distances, np.mean)

    @property
    def median_mm(self) -> float:
        """Median distance."""
        return _of(self.distances, np.median)

    @property
    def sd_mm(self) -> float:
        """Standard deviation of the distances over the landmarks (n - 1 in the denominator); NaN for a single one."""
        return float(np.std(self.distances, ddof=1)) if self.distances.size > 1 else math.nan

    @property
    def largest_mm(self) -> float:
        """Largest distance."""
        return _of(self.distances, np.max)

    @property
    def compared(self) -> int:
        """Number of landmarks of which both say something."""
        return sum(row.annotated for row in self.landmarks)

    @property
    def same_states(self) -> int:
        """Number of landmarks of which both say the same: placed, absent or outside."""
        return sum(row.same_state for row in self.landmarks)

    def farthest(self, most: int = 5) -> str:
        """The landmarks that are `far`, the farthest first: 'BA-T 7.3 mm, R-M1-M2 4.1 mm'; `most` are named."""
        far = sorted((row for row in self.landmarks if row.far), key=lambda row: -round(row.distance_mm or 0.0, 1))
        named = ", ".join(f"{row.code} {row.distance_mm:.1f} mm" for row in far[:most])
        return named if len(far) <= most else f"{named} and {len(far) - most} more"

    def summary(self) -> str:
        """One or two lines for people."""
        states = f"Same state in {self.same_states} of {self.compared} landmarks."
        if self.distances.size == 0:
            return f"No landmark is placed in both. {states}"
        if self.distances.size == 1:
            return f"1 landmark placed in both: {self.mean_mm:.2f} mm. {states}"
        return (
            f"{self.distances.size} landmarks placed in both: {self.mean_mm:.2f} ± {self.sd_mm:.2f} mm (mean ± SD), "
            f"median {self.median_mm:.2f} mm, largest {self.largest_mm:.2f} mm. {states}"
        )

    def table(self) -> list[tuple[str, ...]]:
        """Rows of COLUMNS as text, then SUMMARY_ROWS and the agreement of the states; blank where there is none."""
        rows: list[tuple[str, ...]] = [
            (
                row.code,
                row.name,
                row.first,
                row.second,
                ("yes" if row.same_state else "no") if row.annotated else "",
                _number(row.distance_mm),
                _number(row.expected_mm),
            )
            for row in self.landmarks
        ]
        numbers = (self.mean_mm, self.median_mm, self.sd_mm, self.largest_mm)
        for name, value in zip(SUMMARY_ROWS, numbers, strict=True):
            rows.append((name, "", "", "", "", _number(value), ""))
        rows.append(("same state", "", "", "", f"{self.same_states} of {self.compared}", "", ""))
        return rows


def compare(
    first: Sequence[LandmarkEstimate],
    second: Sequence[LandmarkEstimate],
    anatomy: Anatomy,
    names: tuple[str, str] = ("first", "second"),
) -> Comparison:
    """Compare two annotations of one scan (positions in RAS mm of the same frame).

    Raises AnnotationError where one of them says nothing of any landmark.
    """
    sides = [{estimate.code: estimate for estimate in side} for side in (first, second)]
    for side, name in zip(sides, names, strict=True):
        if not any(_state_text(side.get(code)) != NOT_ANNOTATED for code in anatomy.codes):
            raise AnnotationError(f"'{name}' holds no landmark of '{anatomy.name}'; choose another annotation.")
    rows = []
    for landmark in anatomy.landmarks:
        one, other = (side.get(landmark.code) for side in sides)
        distance = None
        if one is not None and other is not None and one.position is not None and other.position is not None:
            distance = math.dist(one.position, other.position)
        rows.append(
            ComparedLandmark(
                landmark.code,
                landmark.name,
                _state_text(one),
                _state_text(other),
                distance,
                landmark.expected_two_annotator_mm,
            )
        )
    return Comparison(*names, tuple(rows))


def write_comparison_csv(path: str | PathLike[str], comparison: Comparison) -> None:
    """Write the table of a comparison, with the names of the two annotations in the header; raises OutputError."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column_title(column, comparison) for column in COLUMNS])
    writer.writerows(comparison.table())
    write_text(path, text.getvalue())


def column_title(column: str, comparison: Comparison) -> str:
    """Title of one of COLUMNS: the columns of states carry the names of the annotations."""
    return {"state_1": f"state: {comparison.first}", "state_2": f"state: {comparison.second}"}.get(column, column)


def _state_text(estimate: LandmarkEstimate | None) -> str:
    if estimate is None or (estimate.position is None and estimate.note == NOT_PLACED):
        return NOT_ANNOTATED
    if estimate.position is not None:
        return "placed"
    return "absent" if estimate.state is LandmarkState.ABSENT else "outside"


def _of(distances: np.ndarray, measure: object) -> float:
    return float(measure(distances)) if distances.size else math.nan  # type: ignore[operator]


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.2f}"
