"""A picture drawn without a display: numpy for shapes, VTK's fonts for text; needs no OpenGL and no X.

Pillow's built-in font has neither bold nor accented letters (names of scans may have them), and its shapes are not
anti-aliased.
"""

from __future__ import annotations

from functools import lru_cache
from os import PathLike

import numpy as np

from ..core.atomic_files import atomic_path

Colour = tuple[int, int, int]


class Canvas:
    """RGB picture; x runs to the right and y down, in pixels, from the upper left corner.

    Shapes are anti-aliased and may reach beyond the picture; `opacity` lies in [0, 1].
    """

    def __init__(self, width: int, height: int, background: Colour) -> None:
        self.pixels = np.empty((height, width, 3), np.float32)
        self.pixels[:] = background

    def image(self, x: int, y: int, image: np.ndarray) -> None:
        """Put an RGB image [row, column, 3] (0..255) with its upper left corner at (x, y)."""
        self.pixels[y : y + image.shape[0], x : x + image.shape[1]] = image

    def rectangle(self, x: float, y: float, width: float, height: float, colour: Colour, opacity: float = 1.0) -> None:
        """Filled rectangle, to whole pixels."""
        mask = np.ones((max(0, round(y + height) - round(y)), max(0, round(x + width) - round(x))), np.float32)
        self._blend(round(x), round(y), mask * opacity, colour)

    def line(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        colour: Colour,
        width: float = 1.5,
        opacity: float = 1.0,
    ) -> None:
        """Straight line with round ends."""
        (x0, y0), (x1, y1) = start, end
        left, top, column, row = self._surroundings(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1), width)
        length2 = (x1 - x0) ** 2 + (y1 - y0) ** 2
        along = np.clip(((column - x0) * (x1 - x0) + (row - y0) * (y1 - y0)) / max(length2, 1e-9), 0.0, 1.0)
        distance = np.hypot(column - (x0 + along * (x1 - x0)), row - (y0 + along * (y1 - y0)))
        self._blend(left, top, opacity * np.clip(width / 2 + 0.5 - distance, 0.0, 1.0), colour)

    def disc(self, centre: tuple[float, float], radius: float, colour: Colour, opacity: float = 1.0) -> None:
        """Filled circle."""
        left, top, column, row = self._surroundings(*centre, *centre, 2 * radius)
        distance = np.hypot(column - centre[0], row - centre[1])
        self._blend(left, top, opacity * np.clip(radius + 0.5 - distance, 0.0, 1.0), colour)

    def ring(self, centre: tuple[float, float], radius: float, colour: Colour, width: float = 2.0) -> None:
        """Hollow circle; `radius` is that of the middle of the line."""
        left, top, column, row = self._surroundings(*centre, *centre, 2 * radius + width)
        distance = np.abs(np.hypot(column - centre[0], row - centre[1]) - radius)
        self._blend(left, top, np.clip(width / 2 + 0.5 - distance, 0.0, 1.0), colour)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: int,
        colour: Colour,
        bold: bool = False,
        align: float = 0.0,
        opacity: float = 1.0,
    ) -> None:
        """One line of text: `y` is the middle of its capitals, `x` its left (align 0), middle (0.5) or right (1)."""
        mask, below_baseline = _text_mask(text, size, bold)
        baseline = y + 0.36 * size
        self._blend(
            round(x - align * mask.shape[1]), round(baseline) + below_baseline - mask.shape[0], mask * opacity, colour
        )

    def write_png(self, path: str | PathLike[str]) -> None:
        """Write the picture as a PNG file, all at once; raises OutputError."""
        from vtkmodules.util.numpy_support import numpy_to_vtk  # optional
        from vtkmodules.vtkCommonDataModel import vtkImageData  # optional
        from vtkmodules.vtkIOImage import vtkPNGWriter  # optional

        height, width = self.pixels.shape[:2]
        rows = np.ascontiguousarray(np.clip(np.rint(self.pixels[::-1]), 0, 255).astype(np.uint8)).reshape(-1, 3)
        image = vtkImageData()
        image.SetDimensions(width, height, 1)
        image.GetPointData().SetScalars(numpy_to_vtk(rows, deep=True))
        writer = vtkPNGWriter()
        writer.SetInputData(image)
        writer.SetWriteToMemory(True)
        writer.Write()
        with atomic_path(path) as temporary:
            temporary.write_bytes(memoryview(writer.GetResult()))

    def _surroundings(
        self, x0: float, y0: float, x1: float, y1: float, width: float
    ) -> tuple[int, int, np.ndarray, np.ndarray]:
        """Corner (left, top) and pixel coordinates (columns, rows) of a box with a margin for `width`."""
        margin = width / 2 + 2
        left, top = int(np.floor(x0 - margin)), int(np.floor(y0 - margin))
        column = np.arange(left, int(np.ceil(x1 + margin)) + 1, dtype=np.float32)[None, :]
        row = np.arange(top, int(np.ceil(y1 + margin)) + 1, dtype=np.float32)[:, None]
        return left, top, column, row

    def _blend(self, left: int, top: int, mask: np.ndarray, colour: Colour) -> None:
        """Lay `colour` over the picture where `mask` [row, column] (0..1) says; parts outside are cut off."""
        height, width = self.pixels.shape[:2]
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + mask.shape[1], width), min(top + mask.shape[0], height)
        if x0 >= x1 or y0 >= y1:
            return
        part = mask[y0 - top : y1 - top, x0 - left : x1 - left, None]
        below = self.pixels[y0:y1, x0:x1]
        below += part * (np.array(colour, np.float32) - below)


def text_width(text: str, size: int, bold: bool = False) -> int:
    """Width of a line of text in pixels."""
    return int(_text_mask(text, size, bold)[0].shape[1])


def wrapped(text: str, size: int, width: float) -> list[str]:
    """The text as lines no wider than `width` pixels, broken at spaces (a longer word stands alone)."""
    lines: list[str] = []
    for token in text.split():
        if lines and text_width(f"{lines[-1]} {token}", size) <= width:
            lines[-1] += f" {token}"
        else:
            lines.append(token)
    return lines


def shortened(text: str, size: int, width: float, bold: bool = False) -> str:
    """The text, cut with an ellipsis where it is wider than `width` pixels."""
    if text_width(text, size, bold) <= width:
        return text
    while text and text_width(text + "…", size, bold) > width:
        text = text[:-1]
    return text + "…"


@lru_cache(maxsize=1024)
def _text_mask(text: str, size: int, bold: bool) -> tuple[np.ndarray, int]:
    """Coverage [row, column] (0..1) of a line of text, and the number of its rows below the baseline."""
    from vtkmodules.util.numpy_support import vtk_to_numpy  # optional
    from vtkmodules.vtkCommonDataModel import vtkImageData  # optional
    from vtkmodules.vtkRenderingCore import vtkTextProperty  # optional
    from vtkmodules.vtkRenderingFreeType import vtkFreeTypeTools  # optional

    line = " ".join(text.split())
    if not line:
        return np.zeros((1, 1), np.float32), 0
    font = vtkTextProperty()
    font.SetFontFamilyToArial()
    font.SetFontSize(size)
    font.SetBold(bold)
    font.SetColor(1.0, 1.0, 1.0)
    image = vtkImageData()
    used = [0, 0]
    if not vtkFreeTypeTools.GetInstance().RenderString(font, line, 72, image, used):
        return np.zeros((1, 1), np.float32), 0
    columns, rows = image.GetDimensions()[:2]
    alpha = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, -1)[: used[1], : used[0], 3]
    # VTK leaves the same number of rows below the baseline for every text of one font and size.
    return alpha[::-1].astype(np.float32) / 255.0, round(0.21 * size)
