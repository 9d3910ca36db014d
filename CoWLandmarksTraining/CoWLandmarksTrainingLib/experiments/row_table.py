"""Tables of the comparison, from the results of its rows: Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..records.improvement import Improvement, paired
from ..records.metrics import SUCCESS_RADII_MM
from .comparison_rows import CONTROL, ROWS
from .row_result import RowResult

_RADII = [f"{radius:g}" for radius in SUCCESS_RADII_MM]


@dataclass(frozen=True)
class TableLine:
    """One line: the figures of a row, averaged over its seeds, and the difference from the control."""

    title: str
    seeds: tuple[int, ...]
    figures: dict[str, float]
    against_control: Improvement | None

    @property
    def difference(self) -> str:
        """Mean difference of the error in mm from the control, with its 95 % interval over test scans."""
        found = self.against_control
        if found is None:
            return ""
        low, high = found.interval_mm or (float("nan"), float("nan"))
        return f"{found.difference_mm:+.2f} ({low:+.2f} to {high:+.2f})"


def table_lines(results: Sequence[RowResult], decoding: str) -> list[TableLine]:
    """Lines in the order of the rows; a method without heatmaps has no argmax and no line there."""
    lines = []
    for name, row in ROWS.items():
        own = sorted((r for r in results if r.row == name and decoding in r.errors), key=lambda r: r.seed)
        if not own:
            continue
        each = [result.figures(decoding) for result in own]
        figures = {
            key: float(np.mean([f[key] for f in each])) for key in ("mre_mm", "sd_mm", "beyond_6mm", "confusion")
        }
        figures |= {radius: float(np.mean([f["sdr"][radius] for f in each])) for radius in _RADII}
        lines.append(
            TableLine(row.title, tuple(r.seed for r in own), figures, _against_control(own, results, decoding))
        )
    return lines


def _against_control(own: Sequence[RowResult], results: Sequence[RowResult], decoding: str) -> Improvement | None:
    """Errors of the row against the control's with the same seeds, averaged over seeds for each point."""
    if own[0].row == CONTROL:
        return None
    controls = {r.seed: r for r in results if r.row == CONTROL and decoding in r.errors}
    both = [(controls[r.seed], r) for r in own if r.seed in controls and controls[r.seed].cases == r.cases]
    if not both:
        return None
    before = np.mean([control.errors[decoding] for control, _ in both], axis=0)
    after = np.mean([result.errors[decoding] for _, result in both], axis=0)
    return paired(before, after)


_HEAD = ["method", "seeds", "MRE (SD) mm", *(f"{r} mm" for r in _RADII), "> 6 mm", "confusions", "against the control"]


def _cells(line: TableLine) -> list[str]:
    f = line.figures
    return [
        line.title,
        str(len(line.seeds)),
        f"{f['mre_mm']:.2f} ({f['sd_mm']:.2f})",
        *(f"{100 * f[radius]:.1f}" for radius in _RADII),
        f"{100 * f['beyond_6mm']:.1f} %",
        f"{100 * f['confusion']:.1f} %",
        line.difference,
    ]


def markdown(lines: Sequence[TableLine]) -> str:
    """A table in Markdown."""
    rows = [_HEAD, ["---"] * len(_HEAD), *(_cells(line) for line in lines)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def latex(lines: Sequence[TableLine]) -> str:
    """A tabular environment for LaTeX."""

    def escaped(cell: str) -> str:
        return cell.replace("%", r"\%").replace(">", r"$>$")

    body = "".join(" & ".join(escaped(cell) for cell in row) + r" \\" + "\n" for row in map(_cells, lines))
    head = " & ".join(escaped(cell) for cell in _HEAD) + r" \\" + "\n"
    columns = "l" + "r" * (len(_HEAD) - 1)
    return f"\\begin{{tabular}}{{{columns}}}\n\\hline\n{head}\\hline\n{body}\\hline\n\\end{{tabular}}\n"


def comma_separated(lines: Sequence[TableLine]) -> str:
    """Plain numbers, one line for a row."""
    stream = io.StringIO()
    names = ["mre_mm", "sd_mm", *_RADII, "beyond_6mm", "confusion"]
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["method", "seeds", *names, "difference_mm", "low_mm", "high_mm"])
    for line in lines:
        found: Any = line.against_control
        difference = ["", "", ""] if found is None else [found.difference_mm, *(found.interval_mm or ("", ""))]
        writer.writerow(
            [line.title, " ".join(map(str, line.seeds)), *(round(line.figures[name], 5) for name in names), *difference]
        )
    return stream.getvalue()
