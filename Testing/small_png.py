"""Pictures that Qt or VTK have drawn, as small PNG files."""

from __future__ import annotations

from pathlib import Path

import vtk
from optimise_pictures import optimise
from PySide6 import QtGui
from vtk.util.numpy_support import vtk_to_numpy


def save_small(image: QtGui.QImage, path: Path) -> None:
    """Save a picture with a palette; raises OSError where it cannot be written."""
    writer = QtGui.QImageWriter(str(path), b"png")
    if not writer.write(image.convertToFormat(QtGui.QImage.Format.Format_RGB888)):
        raise OSError(f"'{path}' cannot be written: {writer.errorString()}")
    optimise(path)


def from_vtk(image: vtk.vtkImageData) -> QtGui.QImage:
    """A rendered view as a picture of Qt."""
    width, height, _ = image.GetDimensions()
    rows = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[::-1, :, :3].copy()
    return QtGui.QImage(rows.tobytes(), width, height, 3 * width, QtGui.QImage.Format.Format_RGB888).copy()
