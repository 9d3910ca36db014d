"""The circle of Willis as a drawing: seen from above, the patient's right on the left."""

from __future__ import annotations

from dataclasses import dataclass

from .anatomy import Anatomy

_PLACES: dict[str, tuple[float, float]] = {
    "A2-A3": (0.075, 0.04),
    "A1-A2": (0.075, 0.27),
    "ICA-T": (0.25, 0.37),
    "M1-M2": (0.45, 0.31),
    "C6-C7": (0.235, 0.50),
    "C5-C6": (0.31, 0.60),
    "C4-C5": (0.40, 0.66),
    "BA-T": (0.0, 0.68),
    "P1-P2A": (0.14, 0.70),
    "P2A-P2P": (0.30, 0.86),
}
"""Distance from the midline and from the top, in parts of the picture's width and height; drawn, not measured."""
_EDGE_END = {"BA": (0.5, 0.97)}
"""Where arteries that begin at the edge of the scan come from."""


@dataclass(frozen=True)
class SchematicLine:
    """An artery from (x, y) to (x, y), parts of width and height from the upper left corner."""

    code: str
    start: tuple[float, float]
    end: tuple[float, float]
    rgb: tuple[int, int, int]


def schematic_point(code: str) -> tuple[float, float] | None:
    """(x, y) of a landmark, parts of width and height from the upper left corner; None for one that is not drawn."""
    side, _, name = code.partition("-")
    if code in _PLACES:
        return 0.5, _PLACES[code][1]
    if side not in ("R", "L") or name not in _PLACES:
        return None
    out, down = _PLACES[name]
    return 0.5 + (out if side == "L" else -out), down


def schematic_lines(anatomy: Anatomy) -> tuple[SchematicLine, ...]:
    """The arteries whose ends are drawn, in the anatomy's order and colours."""
    lines = []
    for artery in anatomy.arteries:
        start = _EDGE_END.get(artery.code) if artery.start is None else schematic_point(artery.start)
        end = None if artery.end is None else schematic_point(artery.end)
        if start is not None and end is not None:
            lines.append(SchematicLine(artery.code, start, end, artery.rgb))
    return tuple(lines)
