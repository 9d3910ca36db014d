"""Tables and figures of all rows that are done, from their results alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.atomic_files import write_text
from CoWLandmarksLib.core.errors import AnnotationError, ConfigurationError

from ..figures.case_figure import CasePanel, DrawnVessel, write_cases
from ..figures.curve_figure import write_curves
from ..figures.landmark_figure import MOST_METHODS, write_landmark_errors
from ..records.metrics import figures_by_landmark
from .comparison_cohort import SPECIFICATIONS, CohortSpecification, arteries_of_case
from .comparison_rows import BASELINE, CONTROL, ROWS
from .data_curve import data_curves, data_table
from .row_result import DECODINGS, RowResult
from .row_table import comma_separated, latex, markdown, table_lines

LANDMARK_ROWS = (
    CONTROL,
    "payer",
    "noothout",
    "d-mra",
    "d-mra-cta-places",
    "layouts-longer",
    "labels-and-layouts",
    "energy-and-layouts",
)
"""Shown in the figure of the errors by landmark, as far as they are done."""
CASE_ROWS = (CONTROL, "d-mra-cta-places", "layouts-longer")
"""Shown in the picture of three cases."""
PERCENTILES = (10, 50, 90)
"""Of the mean errors of the test scans with the first row shown and its first seed: these three cases are shown."""
_SAME_PLACE_MM = 0.2


@dataclass(frozen=True)
class ComparisonReport:
    """Writes into `out`. `shown`: rows of the figures (empty: those above; the cases show the first three)."""

    out: Path
    specifications: tuple[CohortSpecification, ...] = SPECIFICATIONS
    shown: tuple[str, ...] = ()

    def is_current(self, results: Sequence[Path], table: str) -> bool:
        """Whether all tables of these result files are there and newer than they are."""
        files = [self.out / f"{table}-{decoding}.tex" for decoding in DECODINGS]
        if not all(file.exists() for file in files):
            return False
        return min(f.stat().st_mtime_ns for f in files) >= max(r.stat().st_mtime_ns for r in results)

    def write(self, results: Sequence[RowResult], document: Path | None = None) -> None:
        """All tables and figures; `document` is a Markdown file in which tables are renewed, each between the comments
        `<!-- begin NAME -->` and `<!-- end NAME -->`.

        Raises OutputError, AnnotationError, ConfigurationError.
        """
        text: dict[str, str] = {}
        for table in sorted({result.table for result in results}):
            own = [result for result in results if result.table == table]
            text |= self._write_tables(own, table)
            self._write_landmarks(own, table)
            self._write_cases(own, table)
        if document is not None:
            renew_document(document, text)

    def _write_tables(self, results: Sequence[RowResult], table: str) -> dict[str, str]:
        """Returns the Markdown by name."""
        text = {}
        for decoding in DECODINGS:
            name = f"{table}-{decoding}"
            lines = table_lines(results, decoding)
            text[name] = markdown(lines)
            for ending, content in (("md", text[name]), ("csv", comma_separated(lines)), ("tex", latex(lines))):
                write_text(self.out / f"{name}.{ending}", content)
        curves = data_curves(results, DECODINGS[0])
        if curves:
            name = f"{table}-training-data"
            text[name] = data_table(curves)
            write_text(self.out / f"{name}.md", text[name])
            title = "Fewer annotated scans (95 % intervals over test scans)"
            write_curves(self.out / f"{name}.png", curves, "annotated training scans, %", title, begins_at=35.0)
        return text

    def _write_landmarks(self, results: Sequence[RowResult], table: str) -> None:
        anatomy = default_anatomy()
        methods = []
        for name in self._shown(results, LANDMARK_ROWS, MOST_METHODS):
            errors = np.concatenate([r.errors[DECODINGS[0]] for r in results if r.row == name])
            if errors.shape[1] == len(anatomy):
                methods.append((ROWS[name].title, figures_by_landmark(errors, anatomy.codes)))
        if methods:
            write_landmark_errors(self.out / f"{table}-landmarks.png", methods, anatomy, "Errors by landmark")

    def _write_cases(self, results: Sequence[RowResult], table: str) -> None:
        """Where the results hold points (earlier ones do not)."""
        first = {r.row: r for r in sorted(results, key=lambda r: r.seed, reverse=True) if r.found is not None}
        shown = [first[name] for name in self._shown(tuple(first.values()), CASE_ROWS, len(CASE_ROWS))]
        if not shown or len(default_anatomy()) != shown[0].errors[DECODINGS[0]].shape[1]:
            return
        chosen_by, *_ = shown = [result for result in shown if result.cases == shown[0].cases]
        rows = []
        for percentile, number in zip(PERCENTILES, cases_at(PERCENTILES, chosen_by), strict=True):
            name, truth = chosen_by.cases[number], np.asarray(chosen_by.truth)[number]
            arteries = self._arteries(table, name, truth)
            panels = [CasePanel(truth, np.asarray(result.found)[number], arteries) for result in shown]
            rows.append((f"{percentile}th percentile ({name})", panels))
        which = ", ".join(f"{percentile}th" for percentile in PERCENTILES)
        title = f"Test scans at the {which} percentile of the mean error of the first method"
        methods = [ROWS[result.row].title for result in shown]
        write_cases(self.out / f"{table}-cases.png", rows, methods, default_anatomy(), title)

    def _arteries(self, table: str, case: str, truth: np.ndarray) -> tuple[DrawnVessel, ...]:
        """Those of the phantom, where the case is one."""
        for specification in self.specifications:
            if specification.name == table:
                landmarks, tubes = arteries_of_case(specification, case)
                distance = np.linalg.norm(landmarks - truth, axis=1)
                if np.nanmax(distance) < _SAME_PLACE_MM:
                    return tubes
        return ()

    def _shown(self, results: Sequence[RowResult], default: tuple[str, ...], most: int) -> list[str]:
        """Rows of a figure that are done, the control or the baseline among them."""
        done = {result.row for result in results}
        wanted = self.shown or (default if CONTROL in done else (BASELINE, *default))
        return [name for name in wanted if name in done][:most]


def cases_at(percentiles: Sequence[int], result: RowResult) -> list[int]:
    """The scan at each percentile of the mean errors by scan (nearest rank)."""
    means = np.array([np.nanmean(row) if np.isfinite(row).any() else np.inf for row in result.errors[DECODINGS[0]]])
    order = np.argsort(means, kind="stable")
    return [int(order[max(0, int(np.ceil(p / 100.0 * len(order))) - 1)]) for p in percentiles]


def read_results(folder: Path) -> list[RowResult]:
    """All results in a folder, in the order of the table. Raises AnnotationError."""
    read = [RowResult.read(path) for path in sorted(folder.glob("*.json"))]
    unknown = sorted({result.row for result in read} - ROWS.keys())
    if unknown:
        raise AnnotationError(f"'{folder}' has results of a row '{unknown[0]}' that there is not; move them away.")
    return sorted(read, key=lambda result: (result.table, list(ROWS).index(result.row), result.seed))


def renew_document(document: Path, text: dict[str, str]) -> None:
    """Put tables into a Markdown file, each between `<!-- begin NAME -->` and `<!-- end NAME -->`.

    Raises ConfigurationError where it cannot be read or has no such place, OutputError.
    """
    try:
        content = document.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"'{document}' cannot be read ({error}); name a Markdown file.") from error
    renewed = 0
    for name, table in text.items():
        place = re.compile(rf"(<!-- begin {re.escape(name)} -->\n).*?(<!-- end {re.escape(name)} -->)", re.DOTALL)
        content, count = place.subn(lambda found, table=table: f"{found[1]}\n{table}\n{found[2]}", content)  # type: ignore[misc]
        renewed += count
    if not renewed:
        raise ConfigurationError(
            f"'{document}' has no place for a table; put in the lines '<!-- begin {next(iter(text))} -->' and "
            f"'<!-- end {next(iter(text))} -->'."
        )
    write_text(document, content)
