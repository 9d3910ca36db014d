"""What fewer annotated scans cost: rows with 100, 75 and 50 % of them, as curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..figures.curve_figure import CurvePoint
from .comparison_rows import BASELINE, ROWS
from .row_result import RowResult
from .row_statistics import estimates

DATA_ROWS: Mapping[str, tuple[str, ...]] = {
    "Baseline": ("baseline-50", "baseline-75", BASELINE),
    "Tan et al.": ("tan-50", "tan-75", "d-mra-cta-places"),
}
"""Rows of each curve."""
_AXES = {"mre_mm": ("MRE, mm", 1.0), "beyond_6mm": ("beyond 6 mm, %", 100.0)}


def data_curves(results: Sequence[RowResult], decoding: str) -> dict[str, dict[str, list[CurvePoint]]]:
    """Curves by measure and method, over the seeds that all their rows have; empty where no curve has two points.

    The place of a point is the share of the annotated scans in per cent.
    """
    by_row = {name: {r.seed: r for r in results if r.row == name and decoding in r.errors} for name in ROWS}
    rows = {name: [row for row in each if by_row[row]] for name, each in DATA_ROWS.items()}
    rows = {name: each for name, each in rows.items() if len(each) > 1}
    seeds = set.intersection(*(set(by_row[row]) for each in rows.values() for row in each)) if rows else set()
    if not seeds:
        return {}

    def point(row: str, measure: str, factor: float) -> CurvePoint:
        found = estimates([by_row[row][seed] for seed in sorted(seeds)], decoding)[measure]
        low, high = found.interval or (found.value, found.value)
        return CurvePoint(100.0 * ROWS[row].share, factor * found.value, (factor * low, factor * high))

    return {
        axis: {name: [point(row, measure, factor) for row in each] for name, each in rows.items()}
        for measure, (axis, factor) in _AXES.items()
    }


def data_table(curves: Mapping[str, Mapping[str, Sequence[CurvePoint]]]) -> str:
    """The curves as a table in Markdown, with intervals."""
    head = ["annotated scans", *(f"{name}, {axis}" for axis, each in curves.items() for name in each)]
    lines = [_line(head), _line(["---"] * len(head))]
    every = [curve for each in curves.values() for curve in each.values()]
    for share in sorted({point.at for curve in every for point in curve}, reverse=True):
        cells = [next((_cell(point) for point in curve if point.at == share), "") for curve in every]
        lines.append(_line([f"{share:g} %", *cells]))
    return "".join(lines)


def _cell(point: CurvePoint) -> str:
    if point.interval is None:
        return f"{point.value:.2f}"
    return f"{point.value:.2f} ({point.interval[0]:.2f} to {point.interval[1]:.2f})"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"
