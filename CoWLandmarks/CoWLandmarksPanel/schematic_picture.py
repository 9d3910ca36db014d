"""Draws the circle of Willis with the landmarks in their states, one of them highlighted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import qt
from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.core.detection import LandmarkEstimate, LandmarkState
from CoWLandmarksLib.core.schematic import schematic_lines, schematic_point
from slicer.i18n import tr as _

BACKGROUND, INK = "#ffffff", "#404040"
HIGHLIGHT = "#d6006c"
STATE_COLOURS = {
    LandmarkState.FOUND: "#26804a",
    LandmarkState.UNCERTAIN: "#e07b00",
    LandmarkState.ABSENT: "#ffffff",
    LandmarkState.OUTSIDE: "#ffffff",
}
_MARGIN = 12
_LINE, _POINT, _RING = 5, 7, 17


def schematicPixmap(
    anatomy: Anatomy,
    landmarks: Mapping[str, LandmarkEstimate],
    selected: str | None,
    width: int,
    height: int,
    scale: float = 1.0,
) -> Any:
    """A picture of `width` x `height` points, with `scale` pixels per point (screens of high resolution).

    Points without a position are hollow; those that are reviewed have a dark rim. Landmark sets that are not drawn
    give an empty picture.
    """
    pixmap = qt.QPixmap(round(width * scale), round(height * scale))
    pixmap.setDevicePixelRatio(scale)
    pixmap.fill(qt.QColor(BACKGROUND))
    painter = qt.QPainter(pixmap)
    painter.setRenderHint(qt.QPainter.Antialiasing)
    try:
        _draw(painter, anatomy, landmarks, selected, width, height)
    finally:
        painter.end()  # a pixmap that is still painted on must not go away
    return pixmap


def _draw(
    painter: Any,
    anatomy: Anatomy,
    landmarks: Mapping[str, LandmarkEstimate],
    selected: str | None,
    width: int,
    height: int,
) -> None:
    def place(x: float, y: float) -> tuple[int, int]:
        return round(_MARGIN + x * (width - 2 * _MARGIN)), round(_MARGIN + y * (height - 2 * _MARGIN))

    for line in schematic_lines(anatomy):
        touched = selected is not None and selected in (anatomy.artery(line.code).start, anatomy.artery(line.code).end)
        pen = qt.QPen(qt.QColor(*line.rgb))
        pen.setWidth(_LINE + 3 if touched else _LINE)
        pen.setCapStyle(qt.Qt.RoundCap)
        painter.setPen(pen)
        painter.drawLine(*place(*line.start), *place(*line.end))
    for code in anatomy.codes:
        point, estimate = schematic_point(code), landmarks.get(code)
        if point is None:
            continue
        state = LandmarkState.FOUND if estimate is None else estimate.state
        rim = qt.QPen(qt.QColor(INK))
        rim.setWidth(2 if estimate is not None and estimate.reviewed else 1)
        painter.setPen(rim)
        painter.setBrush(qt.QBrush(qt.QColor(STATE_COLOURS[state])))
        _circle(painter, place(*point), _POINT)
        if code == selected:
            ring = qt.QPen(qt.QColor(HIGHLIGHT))
            ring.setWidth(3)
            painter.setPen(ring)
            painter.setBrush(qt.QBrush(qt.Qt.NoBrush))
            _circle(painter, place(*point), _RING)
    painter.setPen(qt.QPen(qt.QColor(INK)))
    painter.drawText(4, 14, _("R"))
    painter.drawText(width - 14, 14, _("L"))


def _circle(painter: Any, centre: tuple[int, int], size: int) -> None:
    painter.drawEllipse(centre[0] - size // 2, centre[1] - size // 2, size, size)
