"""Cases in three dimensions: truth red, prediction green, arrows for large errors (as Fig. 4 of Tan et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np
from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.pictures.canvas import Canvas, Colour, shortened, wrapped

from .chart import INK, PAPER
from .spheres import SpherePicture, View, row_of_spheres

ARROW_MM = 6.0
"""Errors beyond this have an arrow."""
_TRUTH: Colour = (214, 30, 40)
_FOUND: Colour = (20, 160, 60)
_ARROW: Colour = (40, 44, 52)
_ARTERY: Colour = (176, 190, 208)
_AZIMUTH, _ELEVATION = 18.0, 28.0
_WIDTH, _HEIGHT, _MARGIN_MM, _FINER = 420, 400, 5.0, 2
_GAP, _TOP, _COLUMN, _HEADER, _BOTTOM = 12, 78, 48, 52, 12


@dataclass(frozen=True)
class DrawnVessel:
    """An artery: `points` (n, 3) RAS mm of its centreline, `radii` (n,) mm."""

    points: np.ndarray
    radii: np.ndarray


@dataclass(frozen=True)
class CasePanel:
    """One scan read by one method: `truth`, `found` (n, 3) RAS mm, NaN for none (a point without truth is not drawn);
    `arteries` behind them (none: straight lines between true landmarks)."""

    truth: np.ndarray
    found: np.ndarray
    arteries: tuple[DrawnVessel, ...] = ()

    @property
    def errors(self) -> np.ndarray:
        """(n,) mm."""
        return np.asarray(np.linalg.norm(self.found - self.truth, axis=1))


def draw_cases(
    rows: Sequence[tuple[str, Sequence[CasePanel]]], methods: Sequence[str], anatomy: Anatomy, title: str
) -> Canvas:
    """One scan a row (its title, a panel for every method), one of `methods` a column; a row's panels share their view.

    Seen from the front, from above and a little from the patient's left; R is on the left of the picture.
    """
    width = _GAP + len(methods) * (_WIDTH + _GAP)
    canvas = Canvas(width, _TOP + _COLUMN + len(rows) * (_HEADER + _HEIGHT) + _BOTTOM, PAPER)
    canvas.text(_GAP, 26, shortened(title, 20, width - 2 * _GAP, bold=True), 20, INK, bold=True)
    _legend(canvas)
    for column, method in enumerate(methods):
        for number, line in enumerate(wrapped(method, 16, _WIDTH - 30)[:2]):
            x = _GAP + column * (_WIDTH + _GAP) + _WIDTH / 2
            canvas.text(x, _TOP + 12 + 20 * number, line, 16, INK, bold=True, align=0.5)
    for row, (name, panels) in enumerate(rows):
        view = _view(panels)
        for column, panel in enumerate(panels):
            x, y = _GAP + column * (_WIDTH + _GAP), _TOP + _COLUMN + row * (_HEADER + _HEIGHT)
            known = np.isfinite(panel.errors)
            far = int((panel.errors[known] > ARROW_MM).sum())
            figures = f"mean error {panel.errors[known].mean():.2f} mm, {far} of {known.sum()} beyond {ARROW_MM:g} mm"
            canvas.text(x + 4, y + 14, shortened(name, 15, _WIDTH - 8), 15, INK)
            canvas.text(x + 4, y + 35, figures, 15, INK)
            canvas.image(x, y + _HEADER, _picture(panel, anatomy, view))
            _name_far_points(canvas, (x, y + _HEADER), panel, anatomy, view)
    return canvas


def _legend(canvas: Canvas) -> None:
    x = _GAP + 6.0
    for colour, name, width in ((_TRUTH, "truth", 70), (_FOUND, "prediction", 108)):
        canvas.disc((x, 56), 6, colour)
        canvas.text(x + 14, 56, name, 14, INK)
        x += width
    canvas.text(x, 56, f"arrow: from the truth to a prediction more than {ARROW_MM:g} mm off", 14, INK)
    canvas.text(canvas.pixels.shape[1] - _GAP, 56, "patient's right is on the left", 14, INK, align=1.0)


def _view(panels: Sequence[CasePanel]) -> View:
    """All true and found points of the panels, as large as they fit."""
    known = [np.isfinite(panel.errors) for panel in panels]
    points = np.concatenate(
        [each[k] for panel, k in zip(panels, known, strict=True) for each in (panel.truth, panel.found)]
    )
    flat = View(np.zeros(3), _AZIMUTH, _ELEVATION, 1.0, 0, 0)
    low, high = (edge(flat.project(points)[:, :2], axis=0) for edge in (np.min, np.max))
    scale = float(np.min(np.array([_WIDTH, _HEIGHT]) / (high - low + 2.0 * _MARGIN_MM)))
    middle = (points.min(axis=0) + points.max(axis=0)) / 2.0
    off = (low + high) / 2.0 - flat.project(middle)[0, :2]
    # the middle of the box is moved to the middle of its picture, along the picture's own axes
    across = np.linalg.lstsq(flat.project(np.eye(3))[:, :2].T, off, rcond=None)[0]
    return View(middle + across, _AZIMUTH, _ELEVATION, scale, _WIDTH, _HEIGHT)


def _picture(panel: CasePanel, anatomy: Anatomy, view: View) -> np.ndarray:
    """[row, column, 3] 0..255; drawn larger and averaged, so that edges are smooth."""
    large = View(
        view.centre,
        view.azimuth_deg,
        view.elevation_deg,
        _FINER * view.pixels_per_mm,
        _FINER * view.width,
        _FINER * view.height,
    )
    behind, points = SpherePicture(large), SpherePicture(large)
    for tube in panel.arteries or _straight_lines(panel.truth, anatomy):
        behind.add(tube.points, tube.radii, _ARTERY)
    size = 7.0 / view.pixels_per_mm
    known = np.isfinite(panel.errors)
    for places, colour in ((panel.truth[known], _TRUTH), (panel.found[known], _FOUND)):
        points.add(places, np.full(len(places), size), colour)
    for start, end in _arrows(panel):
        shaft = row_of_spheres(start, end, 0.25)
        points.add(shaft, np.full(len(shaft), 0.22 * size), _ARROW)
        back = 3.2 * size * (end - start) / np.linalg.norm(end - start)
        head = row_of_spheres(end - 0.3 * back, end - back, 0.1)
        points.add(head, np.linspace(0.25, 0.8, len(head)) * size, _ARROW)
    paper = np.empty((large.height, large.width, 3))
    paper[:] = PAPER
    pixels = points.over(behind.over(paper, 0.75))
    return np.asarray(pixels.reshape(view.height, _FINER, view.width, _FINER, 3).mean(axis=(1, 3)))


def _straight_lines(truth: np.ndarray, anatomy: Anatomy) -> list[DrawnVessel]:
    tubes = []
    for artery in anatomy.arteries:
        if artery.start is None or artery.end is None:
            continue
        start, end = truth[anatomy.index(artery.start)], truth[anatomy.index(artery.end)]
        if np.isfinite(start + end).all():
            points = row_of_spheres(start, end, 0.4)
            tubes.append(DrawnVessel(points, np.full(len(points), 0.6)))
    return tubes


def _arrows(panel: CasePanel) -> list[tuple[np.ndarray, np.ndarray]]:
    far = panel.errors > ARROW_MM
    return list(zip(panel.truth[far], panel.found[far], strict=True))


def _name_far_points(canvas: Canvas, corner: tuple[int, int], panel: CasePanel, anatomy: Anatomy, view: View) -> None:
    for number in np.flatnonzero(panel.errors > ARROW_MM):
        ends = view.project(np.stack([panel.truth[number], panel.found[number]]))[:, :2]
        x, y = (ends[0] + ends[1]) / 2.0 + corner
        on_the_right = x > corner[0] + _WIDTH / 2
        canvas.text(
            x + (-12 if on_the_right else 12),
            y - 12,
            anatomy.codes[number],
            14,
            INK,
            bold=True,
            align=1.0 if on_the_right else 0.0,
        )


def write_cases(
    path: str | PathLike[str],
    rows: Sequence[tuple[str, Sequence[CasePanel]]],
    methods: Sequence[str],
    anatomy: Anatomy,
    title: str,
) -> None:
    """`draw_cases` as a PNG file, all at once; raises OutputError."""
    draw_cases(rows, methods, anatomy, title).write_png(path)
