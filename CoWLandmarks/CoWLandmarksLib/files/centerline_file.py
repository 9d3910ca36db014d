"""Centrelines with radii as `arteries.vtp`, for VMTK and 3D Slicer. VTK, no MRML."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np
from vtkmodules.util.numpy_support import numpy_to_vtk
from vtkmodules.vtkCommonCore import vtkPoints, vtkStringArray
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
from vtkmodules.vtkIOXML import vtkXMLPolyDataWriter

from ..core.anatomy import Anatomy
from ..core.artery_map import ArteryMap, ArteryTrace
from ..core.atomic_files import atomic_path
from ..core.coordinates import swap_lps_ras
from ..core.errors import OutputError

RADIUS_ARRAYS = ("Radius", "MaximumInscribedSphereRadius")
"""The radius in mm under the names that 3D Slicer and VMTK use."""


def write_centerlines(path: str | PathLike[str], arteries: ArteryMap, anatomy: Anatomy) -> None:
    """Write one polyline per traced artery; raises OutputError.

    Points are LPS mm, as 3D Slicer takes them to be (and as the field SPACE says). Cells carry the artery's code, its
    label, length and tortuosity, and the arrays of VMTK's branches: every artery is a centreline and a group of its
    own.
    """
    content = _poly_data([trace for trace in arteries.arteries if trace.traced], anatomy)
    with atomic_path(path) as temporary:
        writer = vtkXMLPolyDataWriter()
        writer.SetFileName(str(temporary))
        writer.SetInputData(content)
        if not writer.Write():
            raise OutputError(f"'{path}' cannot be written; choose another folder or make room there.")


def _poly_data(traces: list[ArteryTrace], anatomy: Anatomy) -> Any:
    counts = [len(trace.centerline) for trace in traces]
    points = np.concatenate([trace.centerline for trace in traces] or [np.zeros((0, 3))])
    radii = np.concatenate([trace.radii for trace in traces] or [np.zeros(0)])
    placed = vtkPoints()
    placed.SetDataTypeToDouble()
    placed.SetData(numpy_to_vtk(np.ascontiguousarray(swap_lps_ras(points), float), deep=True))
    lines = vtkCellArray()
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    lines.SetData(numpy_to_vtk(offsets, deep=True), numpy_to_vtk(np.arange(len(points), dtype=np.int64), deep=True))
    content = vtkPolyData()
    content.SetPoints(placed)
    content.SetLines(lines)
    for name in RADIUS_ARRAYS:
        _add(content.GetPointData(), name, radii.astype(float))
    measures = [trace.measures for trace in traces]
    cells = content.GetCellData()
    cells.AddArray(_texts("ArteryCode", [trace.code for trace in traces]))
    _add(cells, "Label", np.array([anatomy.artery(trace.code).label for trace in traces], np.int32))
    _add(cells, "Length", np.array([np.nan if one is None else one.length_mm for one in measures], float))
    _add(cells, "Tortuosity", np.array([np.nan if one is None else one.tortuosity for one in measures], float))
    numbers = np.arange(len(traces), dtype=np.int32)
    for name, values in (("CenterlineIds", numbers), ("GroupIds", numbers), ("TractIds", 0 * numbers)):
        _add(cells, name, values)
    _add(cells, "Blanking", 0 * numbers)
    content.GetFieldData().AddArray(_texts("SPACE", ["LPS"]))
    return content


def _add(data: Any, name: str, values: np.ndarray) -> None:
    array = numpy_to_vtk(np.ascontiguousarray(values), deep=True)
    array.SetName(name)
    data.AddArray(array)


def _texts(name: str, values: list[str]) -> Any:
    array = vtkStringArray()
    array.SetName(name)
    for value in values:
        array.InsertNextValue(value)
    return array
