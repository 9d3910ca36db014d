"""Tables of the comparison, from the results of its rows: Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..records.metrics import SUCCESS_RADII_MM
from .comparison_rows import CONTROL, ROWS
from .row_result import RowResult
from .row_statistics import Estimate, PairedDifference, differences, estimates, with_holm

_RADII = [f"{radius:g}" for radius in SUCCESS_RADII_MM]


@dataclass(frozen=True)
class TableLine:
    """One row: its figures averaged over its seeds, and by measure the intervals and differences from the control
    (empty for the control itself, and where it has no seed in common with it)."""

    title: str
    seeds: tuple[int, ...]
    figures: dict[str, float]
    estimates: dict[str, Estimate]
    differences: dict[str, PairedDifference]


def table_lines(results: Sequence[RowResult], decoding: str) -> list[TableLine]:
    """Lines in the order of the rows; a method without heatmaps has no argmax and no line there.

    Raises AnnotationError where results are of different test scans.
    """
    by_row = {
        name: sorted((r for r in results if r.row == name and decoding in r.errors), key=lambda r: r.seed)
        for name in ROWS
    }
    control = by_row[CONTROL]
    lines = [
        TableLine(
            ROWS[name].title,
            tuple(r.seed for r in own),
            _mean_figures(own, decoding),
            estimates(own, decoding),
            differences(own, control, decoding) if name != CONTROL else {},
        )
        for name, own in by_row.items()
        if own
    ]
    corrected = with_holm([line.differences for line in lines])
    return [replace(line, differences=each) for line, each in zip(lines, corrected, strict=True)]


def _mean_figures(results: Sequence[RowResult], decoding: str) -> dict[str, float]:
    each = [result.figures(decoding) for result in results]
    names = ("mre_mm", "sd_mm", "beyond_6mm", "confusion")
    return {name: float(np.mean([f[name] for f in each])) for name in names} | {
        radius: float(np.mean([f["sdr"][radius] for f in each])) for radius in _RADII
    }


_HEAD = ["method", "seeds", "MRE (SD) mm", *(f"{r} mm" for r in _RADII), "> 6 mm", "confusions"]
_SURE_HEAD = ["method", "MRE mm", "> 6 mm", "MRE, difference mm", "p", "> 6 mm, difference", "p"]
SURE_CAPTION = (
    "With 95 % bootstrap intervals over test scans. Differences are from the control (the baseline trained as long) on "
    "the same scans and seeds, those of shares in percentage points; p is that of a two-sided Wilcoxon signed-rank "
    "test over scans, corrected for the number of rows (Holm)."
)


def _cells(line: TableLine) -> list[str]:
    f = line.figures
    return [
        line.title,
        str(len(line.seeds)),
        f"{f['mre_mm']:.2f} ({f['sd_mm']:.2f})",
        *(f"{100 * f[radius]:.1f}" for radius in _RADII),
        f"{100 * f['beyond_6mm']:.1f} %",
        f"{100 * f['confusion']:.1f} %",
    ]


def _sure_cells(line: TableLine) -> list[str]:
    error, share = line.estimates["mre_mm"], line.estimates["beyond_6mm"]
    cells = [line.title, _with_interval(error, 1.0, "", 2), _with_interval(share, 100.0, " %", 1)]
    if not line.differences:
        return [*cells, "", "", "", ""]
    less, fewer = line.differences["mre_mm"], line.differences["beyond_6mm"]
    return [
        *cells,
        _with_interval(less, 1.0, "", 2, sign="+"),
        _p(less.p_holm),
        _with_interval(fewer, 100.0, " %", 1, sign="+"),
        _p(fewer.p_holm),
    ]


def _with_interval(
    figure: Estimate | PairedDifference, factor: float, unit: str, digits: int, *, sign: str = ""
) -> str:
    form = f"{sign}.{digits}f"
    value = f"{factor * figure.value:{form}}{unit}"
    if figure.interval is None:
        return value
    low, high = (f"{factor * end:{form}}" for end in figure.interval)
    return f"{value} ({low} to {high})"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def markdown(lines: Sequence[TableLine]) -> str:
    """The paper's table in Markdown, and below it how sure it is."""
    first = _markdown_rows([_HEAD, *map(_cells, lines)])
    return f"{first}\n{SURE_CAPTION}\n\n{_markdown_rows([_SURE_HEAD, *map(_sure_cells, lines)])}"


def _markdown_rows(rows: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in [rows[0], ["---"] * len(rows[0]), *rows[1:]])


def latex(lines: Sequence[TableLine]) -> str:
    """The same two tables as tabular environments for LaTeX."""
    first = _tabular([_HEAD, *map(_cells, lines)])
    return f"{first}\n% {SURE_CAPTION}\n{_tabular([_SURE_HEAD, *map(_sure_cells, lines)])}"


def _tabular(rows: Sequence[Sequence[str]]) -> str:
    def line(row: Sequence[str]) -> str:
        cells = [cell.replace("%", r"\%").replace(">", "$>$").replace("<", "$<$") for cell in row]
        return " & ".join(cells) + r" \\" + "\n"

    body = "".join(line(row) for row in rows[1:])
    columns = "l" + "r" * (len(rows[0]) - 1)
    return f"\\begin{{tabular}}{{{columns}}}\n\\hline\n{line(rows[0])}\\hline\n{body}\\hline\n\\end{{tabular}}\n"


def comma_separated(lines: Sequence[TableLine]) -> str:
    """Plain numbers, one line for a row; shares are 0 to 1."""
    stream = io.StringIO()
    names = ["mre_mm", "sd_mm", *_RADII, "beyond_6mm", "confusion"]
    ends = ["mre_mm", "beyond_6mm"]
    writer = csv.writer(stream, lineterminator="\n")
    intervals = [f"{name}_{end}" for name in ends for end in ("low", "high")]
    compared = [f"{name}_{what}" for name in ends for what in ("difference", "low_of_difference", "high_of_difference")]
    tests = [f"{name}_{what}" for name in ends for what in ("p", "p_holm")]
    writer.writerow(["method", "seeds", *names, *intervals, *compared, *tests])
    for line in lines:
        found = [line.differences.get(name) for name in ends]
        values: list[float | None] = [line.figures[name] for name in names]
        values += [end for name in ends for end in line.estimates[name].interval or (None, None)]
        for each in found:
            values += [None] * 3 if each is None else [each.value, *(each.interval or (None, None))]
        for each in found:
            values += [None] * 2 if each is None else [each.p, each.p_holm]
        cells = ["" if value is None else f"{value:.6g}" for value in values]
        writer.writerow([line.title, " ".join(map(str, line.seeds)), *cells])
    return stream.getvalue()
