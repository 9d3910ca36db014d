"""Errors of every landmark with several methods side by side (as Fig. 3 of Tan et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.pictures.canvas import Canvas, shortened

from .chart import FAINT, INK, PAPER, SERIES, even_step, legend, legend_height

MOST_METHODS = len(SERIES)
_WIDTH, _LEFT, _PANEL, _GAP, _TOP, _BOTTOM = 1240, 110, 700, 50, 60, 56
_BAR, _BETWEEN = 6, 12
_Table = Mapping[str, Mapping[str, Any]]


def draw_landmark_errors(methods: Sequence[tuple[str, _Table]], anatomy: Anatomy, title: str) -> Canvas:
    """One bar for every method (title, figures by landmark; eight at most) below each landmark's code: the mean error
    on the left, the share beyond 6 mm on the right."""
    methods = methods[:MOST_METHODS]
    codes = [code for code in anatomy.codes if any(code in table for _, table in methods)]
    names = [name for name, _ in methods]
    band = _BAR * len(methods) + _BETWEEN
    top = _TOP + legend_height(names, _WIDTH - 40) + 34
    canvas = Canvas(_WIDTH, round(top + band * len(codes)) + _BOTTOM, PAPER)
    canvas.text(20, 28, shortened(title, 20, _WIDTH - 40, bold=True), 20, INK, bold=True)
    legend(canvas, 20, _TOP - 6, names, _WIDTH - 40)
    for row, code in enumerate(codes):
        y = top + row * band
        canvas.line((20, y), (_WIDTH - 20, y), FAINT, 1.0)
        canvas.text(_LEFT - 10, y + band / 2, code, 15, INK, align=1.0)
    right = _LEFT + _PANEL + _GAP
    panels = [
        (_LEFT, _PANEL, "mre_mm", 1.0, "mean error, mm"),
        (right, _WIDTH - 40 - right, "beyond_6mm", 100.0, "share beyond 6 mm, %"),
    ]
    for left, width, key, factor, axis in panels:
        values = [[factor * table[code][key] if code in table else 0.0 for code in codes] for _, table in methods]
        _draw_panel(canvas, values, (left, top, width, band), axis)
    return canvas


def _draw_panel(
    canvas: Canvas, values: Sequence[Sequence[float]], place: tuple[float, float, float, float], axis: str
) -> None:
    """`values` by method and landmark; `place`: left, top and width of the panel, height of a landmark's band."""
    left, top, width, band = place
    longest = max(1.0, *(value for row in values for value in row))
    step = even_step(longest)
    scale = width / longest
    bottom = top + band * len(values[0])
    for n in range(int(longest / step + 1e-9) + 1):
        x = left + n * step * scale
        canvas.line((x, top), (x, bottom), FAINT, 1.0)
        for y in (top - 12, bottom + 14):
            canvas.text(x, y, f"{n * step:g}", 13, INK, align=0.5)
    canvas.text(left, bottom + 36, axis, 14, INK)
    for method, row in enumerate(values):
        for landmark, value in enumerate(row):
            y = top + landmark * band + _BETWEEN / 2 + method * _BAR
            canvas.rectangle(left, y, value * scale, _BAR - 1, SERIES[method])


def write_landmark_errors(
    path: str | PathLike[str], methods: Sequence[tuple[str, _Table]], anatomy: Anatomy, title: str
) -> None:
    """`draw_landmark_errors` as a PNG file, all at once; raises OutputError."""
    draw_landmark_errors(methods, anatomy, title).write_png(path)
