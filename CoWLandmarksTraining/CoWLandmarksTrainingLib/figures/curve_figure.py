"""Curves of a figure of merit against the share of the training scans, with intervals."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike

from CoWLandmarksLib.pictures.canvas import Canvas, shortened

from .chart import FAINT, INK, PAPER, SERIES, even_step, legend, legend_height

_WIDTH, _HEIGHT, _LEFT, _GAP, _TOP = 440, 320, 80, 90, 60


@dataclass(frozen=True)
class CurvePoint:
    """A value at a place of the axis, and its interval where it has one."""

    at: float
    value: float
    interval: tuple[float, float] | None


def draw_curves(
    panels: Mapping[str, Mapping[str, Sequence[CurvePoint]]], axis: str, title: str, *, begins_at: float = 0.0
) -> Canvas:
    """One square for each panel (name of its upright axis -> curves by name, the same in all); values from 0 up, places
    from `begins_at` to the largest. Points of several curves at one place stand a little beside each other."""
    names = list(next(iter(panels.values())))
    top = _TOP + legend_height(names, _WIDTH * len(panels)) + 40
    canvas = Canvas(_LEFT + len(panels) * (_WIDTH + _GAP) - _GAP + 30, round(top) + _HEIGHT + 70, PAPER)
    canvas.text(20, 28, shortened(title, 20, canvas.pixels.shape[1] - 40, bold=True), 20, INK, bold=True)
    legend(canvas, 20, _TOP - 6, names, _WIDTH * len(panels))
    for number, (measure, curves) in enumerate(panels.items()):
        _draw_panel(canvas, _LEFT + number * (_WIDTH + _GAP), top, (measure, axis), curves, begins_at)
    return canvas


def _draw_panel(
    canvas: Canvas,
    left: float,
    top: float,
    axes: tuple[str, str],
    curves: Mapping[str, Sequence[CurvePoint]],
    begins_at: float,
) -> None:
    points = [point for curve in curves.values() for point in curve]
    places = sorted({point.at for point in points})
    highest = max(max(point.value, *(point.interval or (0.0,))) for point in points) or 1.0
    step = even_step(highest, 6)
    top_value = step * -(-highest // step)
    bottom = top + _HEIGHT

    def height(value: float) -> float:
        return bottom - _HEIGHT * value / top_value

    for n in range(round(top_value / step) + 1):
        canvas.line((left, height(n * step)), (left + _WIDTH, height(n * step)), FAINT, 1.0)
        canvas.text(left - 10, height(n * step), f"{n * step:g}", 13, INK, align=1.0)
    canvas.text(left - 40, top - 22, axes[0], 14, INK)
    widest = 1.06 * (places[-1] - begins_at)
    for place in places:
        x = left + _WIDTH * (place - begins_at) / widest
        canvas.line((x, top), (x, bottom), FAINT, 1.0)
        canvas.text(x, bottom + 16, f"{place:g}", 13, INK, align=0.5)
    canvas.text(left + _WIDTH / 2, bottom + 42, axes[1], 14, INK, align=0.5)
    for number, curve in enumerate(curves.values()):
        beside = 7.0 * (number - (len(curves) - 1) / 2.0)
        marks = [(left + _WIDTH * (p.at - begins_at) / widest + beside, height(p.value), p) for p in curve]
        for start, end in itertools.pairwise(marks):
            canvas.line(start[:2], end[:2], SERIES[number], 2.0)
        for x, y, point in marks:
            if point.interval is not None:
                low, high = (height(each) for each in point.interval)
                canvas.line((x, low), (x, high), SERIES[number], 1.5)
                for cap in (low, high):
                    canvas.line((x - 5, cap), (x + 5, cap), SERIES[number], 1.5)
            canvas.disc((x, y), 4.5, SERIES[number])


def write_curves(
    path: str | PathLike[str],
    panels: Mapping[str, Mapping[str, Sequence[CurvePoint]]],
    axis: str,
    title: str,
    *,
    begins_at: float = 0.0,
) -> None:
    """`draw_curves` as a PNG file, all at once; raises OutputError."""
    draw_curves(panels, axis, title, begins_at=begins_at).write_png(path)
