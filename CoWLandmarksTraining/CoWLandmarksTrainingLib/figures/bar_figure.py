"""The mean error of every landmark as a bar figure (as Fig. 3 of Tan et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.pictures.canvas import Canvas, Colour, shortened, text_width

_WIDTH, _ROW, _TOP, _BOTTOM, _LABEL = 980, 30, 64, 48, 120
_PAPER: Colour = (255, 255, 255)
_INK: Colour = (30, 34, 40)
_FAINT: Colour = (205, 210, 216)
_STEPS_MM = (0.5, 1.0, 2.0, 5.0, 10.0)


def draw_bars(per_landmark: Mapping[str, Mapping[str, Any]], anatomy: Anatomy, title: str) -> Canvas:
    """One bar for every landmark's mean error, a black tick at its median; the number of points at the right."""
    codes = [code for code in anatomy.codes if code in per_landmark]
    longest = max([float(per_landmark[code]["mre_mm"]) for code in codes] + [1.0])
    step = next((s for s in _STEPS_MM if longest / s <= 8), 20.0)
    scale = (_WIDTH - _LABEL - 130) / longest
    canvas = Canvas(_WIDTH, _TOP + _ROW * len(codes) + _BOTTOM, _PAPER)
    canvas.text(20, 26, shortened(title, 20, _WIDTH - 40, bold=True), 20, _INK, bold=True)
    bottom = _TOP + _ROW * len(codes)
    for n in range(int(longest / step) + 1):
        x = _LABEL + n * step * scale
        canvas.line((x, _TOP - 6), (x, bottom), _FAINT, 1.0)
        canvas.text(x, bottom + 14, f"{n * step:g}", 14, _INK, align=0.5)
    canvas.text(_WIDTH - 20, bottom + 34, "mean error in mm; tick: median", 14, _INK, align=1.0)
    for row, code in enumerate(codes):
        entry = per_landmark[code]
        y = _TOP + row * _ROW
        length = float(entry["mre_mm"]) * scale
        canvas.text(_LABEL - 10, y + _ROW / 2, code, 15, _INK, align=1.0)
        canvas.rectangle(_LABEL, y + 5, length, _ROW - 10, anatomy.landmark(code).rgb, opacity=0.85)
        x = _LABEL + float(entry["median_mm"]) * scale
        canvas.line((x, y + 5), (x, y + _ROW - 5), _INK, 2.0)
        value = f"{entry['mre_mm']:.2f}"
        canvas.text(_LABEL + max(length, x - _LABEL) + 8, y + _ROW / 2, value, 14, _INK)
        count = f"n = {entry['n']}"
        canvas.text(_WIDTH - 20 - text_width(count, 13), y + _ROW / 2, count, 13, _INK)
    return canvas


def write_bars(
    path: str | PathLike[str], per_landmark: Mapping[str, Mapping[str, Any]], anatomy: Anatomy, title: str
) -> None:
    """`draw_bars` as a PNG file, all at once; raises OutputError."""
    draw_bars(per_landmark, anatomy, title).write_png(path)
