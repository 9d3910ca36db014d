"""The reliability curves of confidence and expected error as a figure."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from CoWLandmarksLib.pictures.canvas import Canvas, Colour, shortened

_SIDE, _GAP, _LEFT, _TOP = 380, 110, 90, 90
_PAPER: Colour = (255, 255, 255)
_INK: Colour = (30, 34, 40)
_FAINT: Colour = (205, 210, 216)
_CURVE: Colour = (20, 110, 190)


def draw_reliability(table: Mapping[str, Any], title: str) -> Canvas:
    """Two squares side by side (said along x, measured along y, perfect on the diagonal) of a `reliability` table."""
    canvas = Canvas(_LEFT + 2 * _SIDE + _GAP + 40, _TOP + _SIDE + 80, _PAPER)
    canvas.text(20, 28, shortened(title, 20, canvas.pixels.shape[1] - 40, bold=True), 20, _INK, bold=True)
    gap = f"mean gap {100 * table['calibration_error']:.1f} %"
    _curve(canvas, _LEFT, table["confidence"], 1.0, 0.2, f"confidence, against share within 3 mm; {gap}")
    longest = max([2.0, *(max(row["said"], row["measured"]) for row in table["error"])])
    step = 1.0 if longest <= 6 else 2.0
    error_axis = "expected error in mm, against mean error"
    _curve(canvas, _LEFT + _SIDE + _GAP, table["error"], step * -(-longest // step), step, error_axis)
    return canvas


def _curve(
    canvas: Canvas, left: float, rows: Sequence[Mapping[str, float]], longest: float, step: float, name: str
) -> None:
    scale = _SIDE / longest
    bottom = _TOP + _SIDE
    canvas.text(left + _SIDE / 2, _TOP - 22, name, 14, _INK, align=0.5)
    for n in range(round(longest / step) + 1):
        at = n * step * scale
        canvas.line((left + at, _TOP), (left + at, bottom), _FAINT, 1.0)
        canvas.line((left, bottom - at), (left + _SIDE, bottom - at), _FAINT, 1.0)
        canvas.text(left + at, bottom + 16, f"{n * step:g}", 14, _INK, align=0.5)
        canvas.text(left - 8, bottom - at, f"{n * step:g}", 14, _INK, align=1.0)
    canvas.line((left, bottom), (left + _SIDE, _TOP), _INK, 1.0)
    canvas.text(left + _SIDE / 2, bottom + 42, "said (along), measured (up)", 13, _INK, align=0.5)
    most = max(row["n"] for row in rows)
    places = [(left + row["said"] * scale, bottom - row["measured"] * scale) for row in rows]
    for start, end in itertools.pairwise(places):
        canvas.line(start, end, _CURVE, 2.0)
    for place, row in zip(places, rows, strict=True):
        canvas.disc(place, 4.0 + 3.0 * row["n"] / most, _CURVE)


def write_reliability(path: str | PathLike[str], table: Mapping[str, Any], title: str) -> None:
    """`draw_reliability` as a PNG file, all at once; raises OutputError."""
    draw_reliability(table, title).write_png(path)
