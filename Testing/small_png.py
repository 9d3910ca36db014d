"""Pictures as small PNG files: 256 colours at most, chosen for each picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import vtk
from PySide6 import QtGui
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

MOST_BYTES = 290_000
"""With fewer colours a picture is smaller; as many are kept as stay below this."""


def save_small(image: QtGui.QImage, path: Path) -> None:
    """Save a picture with 256 colours, or fewer; raises OSError where it cannot be written."""
    for colours in (256, 128, 64):
        _save(image, path, colours)
        if path.stat().st_size <= MOST_BYTES:
            return


def _save(image: QtGui.QImage, path: Path, colours: int) -> None:
    rgb = image.convertToFormat(QtGui.QImage.Format.Format_RGB888)
    width, height = rgb.width(), rgb.height()
    rows = np.frombuffer(rgb.constBits(), np.uint8).reshape(height, rgb.bytesPerLine())[:, : 3 * width]
    source = vtk.vtkImageData()
    source.SetDimensions(width, height, 1)
    source.GetPointData().SetScalars(numpy_to_vtk(rows.reshape(-1, 3).copy(), deep=True))
    quantised = vtk.vtkImageQuantizeRGBToIndex()
    quantised.SetInputData(source)
    quantised.SetNumberOfColors(colours)
    quantised.Update()
    table = quantised.GetLookupTable()
    indices = vtk_to_numpy(quantised.GetOutput().GetPointData().GetScalars()).astype(np.uint8).reshape(height, width)
    padded = np.zeros((height, -(-width // 4) * 4), np.uint8)
    padded[:, :width] = indices
    small = QtGui.QImage(padded.tobytes(), width, height, padded.shape[1], QtGui.QImage.Format.Format_Indexed8)
    small.setColorTable(
        [
            QtGui.qRgb(*(round(255 * part) for part in table.GetTableValue(number)[:3]))
            for number in range(table.GetNumberOfTableValues())
        ]
    )
    writer = QtGui.QImageWriter(str(path), b"png")
    writer.setCompression(100)
    if not writer.write(small):
        raise OSError(f"'{path}' cannot be written: {writer.errorString()}")


def from_vtk(image: vtk.vtkImageData) -> QtGui.QImage:
    """A rendered view as a picture of Qt."""
    width, height, _ = image.GetDimensions()
    rows = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[::-1, :, :3].copy()
    return QtGui.QImage(rows.tobytes(), width, height, 3 * width, QtGui.QImage.Format.Format_RGB888).copy()
