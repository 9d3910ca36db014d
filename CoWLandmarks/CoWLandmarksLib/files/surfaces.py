"""Closed surfaces of the arteries: made as Slicer makes them, written beside a result, read back. VTK, no MRML, no Qt.

Slicer makes the surfaces of all segments in one go when they are shown, which takes up to a second. The child process
makes them here, so that the application only loads them; of a result without them it makes one after the other.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from os import PathLike
from typing import Any

import numpy as np
from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
from vtkmodules.vtkCommonCore import VTK_UNSIGNED_CHAR, vtkPoints
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkImageData, vtkPolyData
from vtkmodules.vtkFiltersCore import vtkPolyDataNormals, vtkWindowedSincPolyDataFilter
from vtkmodules.vtkFiltersGeneral import vtkDiscreteFlyingEdges3D

from ..core.anatomy import Anatomy
from ..core.artery_map import ArteryMap, cropped_labels
from ..core.atomic_files import atomic_path
from ..core.errors import AnnotationError
from ..core.volume import apply_affine

SMOOTHING_ITERATIONS, SMOOTHING_PASS_BAND = 40, 0.01
"""What Slicer's default smoothing factor of 0.5 stands for: 20 + 40 * 0.5 iterations, 10^(-4 * 0.5)."""
_PARTS = ("points", "normals", "triangles")


def artery_surfaces(arteries: ArteryMap, anatomy: Anatomy) -> Iterator[tuple[str, Any]]:
    """Code and surface (vtkPolyData, RAS mm) of every artery, smoothed as Slicer does by default; empty without voxels.

    Each step takes a few milliseconds.
    """
    for artery in anatomy.arteries:
        part, offset = cropped_labels(np.where(arteries.labels == artery.label, arteries.labels, 0))
        yield artery.code, _surface(part > 0, np.add(arteries.start, offset), arteries.scan_grid.ijk_to_ras)


def write_surfaces(path: str | PathLike[str], arteries: ArteryMap, anatomy: Anatomy) -> None:
    """Write the surfaces of all arteries into one file (NumPy's .npz). Raises OutputError."""
    arrays = {}
    for code, surface in artery_surfaces(arteries, anatomy):
        for part, values in zip(_PARTS, _arrays_of(surface), strict=True):
            arrays[f"{code}/{part}"] = values
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def read_surfaces(path: str | PathLike[str]) -> dict[str, Any]:
    """Surfaces (vtkPolyData, RAS mm) by code of artery. Raises AnnotationError."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            codes = dict.fromkeys(key.rpartition("/")[0] for key in stored.files)
            return {code: _poly_data(*(stored[f"{code}/{part}"] for part in _PARTS)) for code in codes}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise AnnotationError(f"'{path}' cannot be read as surfaces of arteries; run the detection again.") from error


def _surface(mask: np.ndarray, start: np.ndarray, ijk_to_ras: np.ndarray) -> Any:
    """Surface of a mask [k, j, i] that begins at voxel `start` (i, j, k)."""
    if mask.size == 0:
        return vtkPolyData()
    padded = np.pad(mask, 1).astype(np.uint8)
    image = vtkImageData()
    image.SetDimensions(*padded.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(padded.reshape(-1), deep=True, array_type=VTK_UNSIGNED_CHAR))
    edges = vtkDiscreteFlyingEdges3D()
    edges.SetInputData(image)
    edges.SetValue(0, 1)
    edges.ComputeNormalsOff()
    edges.ComputeGradientsOff()
    edges.ComputeScalarsOff()
    smooth = vtkWindowedSincPolyDataFilter()
    smooth.SetInputConnection(edges.GetOutputPort())
    smooth.SetNumberOfIterations(SMOOTHING_ITERATIONS)
    smooth.SetPassBand(SMOOTHING_PASS_BAND)
    smooth.BoundarySmoothingOff()
    smooth.FeatureEdgeSmoothingOff()
    smooth.NonManifoldSmoothingOn()
    smooth.NormalizeCoordinatesOn()
    smooth.Update()
    points, _, triangles = _arrays_of(smooth.GetOutput())
    placed = apply_affine(ijk_to_ras, points.astype(float) + start - 1)
    if np.linalg.det(ijk_to_ras[:3, :3]) < 0:
        triangles = triangles[:, ::-1]  # a mirror turns the surface inside out
    normals = vtkPolyDataNormals()
    normals.SetInputData(_poly_data(placed, None, triangles))
    normals.SplittingOff()
    normals.ConsistencyOn()
    normals.Update()
    return normals.GetOutput()


def _arrays_of(surface: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points and normals (n, 3) float32, triangles (m, 3) int32; the normals are empty where there are none."""
    if surface.GetNumberOfPoints() == 0:
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)
    normals = surface.GetPointData().GetNormals()
    return (
        vtk_to_numpy(surface.GetPoints().GetData()).astype(np.float32),
        np.zeros((0, 3), np.float32) if normals is None else vtk_to_numpy(normals).astype(np.float32),
        vtk_to_numpy(surface.GetPolys().GetConnectivityArray()).reshape(-1, 3).astype(np.int32),
    )


def _poly_data(points: np.ndarray, normals: np.ndarray | None, triangles: np.ndarray) -> Any:
    surface = vtkPolyData()
    if len(points) == 0:
        return surface
    placed = vtkPoints()
    placed.SetData(numpy_to_vtk(np.ascontiguousarray(points, np.float32), deep=True))
    surface.SetPoints(placed)
    cells = vtkCellArray()
    connectivity = np.ascontiguousarray(triangles, np.int64).reshape(-1)
    offsets = np.arange(0, len(connectivity) + 1, 3, dtype=np.int64)
    cells.SetData(numpy_to_vtk(offsets, deep=True), numpy_to_vtk(connectivity, deep=True))
    surface.SetPolys(cells)
    if normals is not None:
        array = numpy_to_vtk(np.ascontiguousarray(normals, np.float32), deep=True)
        array.SetName("Normals")
        surface.GetPointData().SetNormals(array)
    return surface
