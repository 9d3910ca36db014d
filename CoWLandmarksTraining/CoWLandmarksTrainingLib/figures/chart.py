"""What the charts share: paper, ink, colours that the colour-blind tell apart, legends and axes."""

from __future__ import annotations

from collections.abc import Sequence

from CoWLandmarksLib.pictures.canvas import Canvas, Colour, text_width

PAPER: Colour = (255, 255, 255)
INK: Colour = (30, 34, 40)
FAINT: Colour = (205, 210, 216)
SERIES: tuple[Colour, ...] = (
    (90, 96, 104),
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (213, 94, 0),
    (86, 180, 233),
    (204, 121, 167),
    (120, 86, 40),
)
"""After Okabe and Ito 2008; grey and brown in place of their black and yellow."""
_LINE = 24


def even_step(longest: float, most: int = 8) -> float:
    """Distance of the ticks of an axis from 0 to `longest`: 1, 2 or 5 times a power of ten, at most `most` of them."""
    step = 0.01
    while longest / step > most:
        step *= 2.5 if f"{step:.0e}"[0] == "2" else 2.0
    return step


def legend(canvas: Canvas, left: float, top: float, names: Sequence[str], width: float) -> None:
    """Names beside a square in their colours, in as many columns as fit."""
    columns = legend_columns(names, width)
    for number, (name, colour) in enumerate(zip(names, SERIES, strict=False)):
        row, column = divmod(number, columns)
        x, y = left + column * width / columns, top + row * _LINE
        canvas.rectangle(x, y + 4, 14, 14, colour)
        canvas.text(x + 22, y + 11, name, 14, INK)


def legend_columns(names: Sequence[str], width: float) -> int:
    """How many names stand side by side."""
    widest = max(text_width(name, 14) for name in names) + 44
    return max(1, min(len(names), int(width // widest)))


def legend_height(names: Sequence[str], width: float) -> float:
    """Height of a legend in pixels."""
    return float(_LINE * -(-len(names) // legend_columns(names, width)))
