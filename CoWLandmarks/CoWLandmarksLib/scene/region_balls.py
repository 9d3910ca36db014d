"""Balls in the colours of the regions round the landmarks of a detection, in a MRML scene. No Qt.

All points of a markups node share the two colours of its display node, and those show the state of the points
(found, to check). One point list per region would tear the 19 landmarks apart, so the colour of the region is drawn by
a model beside the point list: a ball on every placed point, with the colour the anatomy gives it. The model follows
the points by `update_region_balls`; it holds nothing that the point list does not say.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from ..core.anatomy import Anatomy
from .nodes import ATTRIBUTE, add_node, all_or_nothing

REGIONS_ROLE = ATTRIBUTE + "regions"
BALL_RADIUS_MM = 1.3
_COLOURS = "region colour"
_CODES, _CENTRES = "landmarks", "centres"
"""Field data of the balls: whose they are and where they were drawn (world RAS mm)."""


def add_region_balls(markups_node: Any, anatomy: Anatomy) -> Any:
    """Add the balls of a point list in its subject-hierarchy folder; returns the model node."""
    scene = markups_node.GetScene()
    with all_or_nothing(scene) as undo:
        model = add_node(scene, "vtkMRMLModelNode", f"{markups_node.GetName()} regions", undo)
        model.SetAndObservePolyData(_balls(*_placed(markups_node, anatomy), anatomy))
        model.CreateDefaultDisplayNodes()
        undo.callback(scene.RemoveNode, model.GetDisplayNode())
        display = model.GetDisplayNode()
        display.SetActiveScalar(_COLOURS, vtk.vtkAssignAttribute.POINT_DATA)
        display.SetScalarRangeFlag(slicer.vtkMRMLDisplayNode.UseDirectMapping)
        display.SetScalarVisibility(True)
        display.SetVisibility2D(True)
        display.SetSliceIntersectionThickness(2)
        markups_node.SetNodeReferenceID(REGIONS_ROLE, model.GetID())
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
        folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(markups_node))
        hierarchy.CreateItem(folder, model)
    return model


def update_region_balls(markups_node: Any, anatomy: Anatomy) -> None:
    """Move the balls whose points have moved; nothing where the model has left the scene, or nothing has moved."""
    model = markups_node.GetNodeReference(REGIONS_ROLE)
    if model is None:
        return
    codes, centres = _placed(markups_node, anatomy)
    data = model.GetPolyData()
    drawn = None if data is None else data.GetFieldData().GetArray(_CENTRES)
    held = None if data is None else data.GetFieldData().GetAbstractArray(_CODES)
    drawn_codes = [] if held is None else [held.GetValue(row) for row in range(held.GetNumberOfValues())]
    if drawn is None or not codes or drawn_codes != codes:
        model.SetAndObservePolyData(_balls(codes, centres, anatomy))
        return
    before = vtk_to_numpy(drawn).reshape(-1, 3)
    moved = np.flatnonzero((before != centres).any(axis=1))
    if len(moved) == 0:
        return
    points = vtk_to_numpy(data.GetPoints().GetData()).reshape(len(codes), -1, 3)  # ball after ball
    for number in moved:
        points[number] += centres[number] - before[number]
        before[number] = centres[number]
    data.GetPoints().Modified()
    data.Modified()


def _placed(markups_node: Any, anatomy: Anatomy) -> tuple[list[str], np.ndarray]:
    """Codes of the landmarks that have a place, and their places (n, 3), world RAS mm."""
    codes, centres = [], []
    for index in range(markups_node.GetNumberOfControlPoints()):
        code = markups_node.GetNthControlPointLabel(index)
        placed = markups_node.GetNthControlPointPositionStatus(index) == markups_node.PositionDefined
        if placed and code in anatomy.codes:
            codes.append(code)
            centres.append(tuple(markups_node.GetNthControlPointPositionWorld(index)))
    return codes, np.array(centres, float).reshape(-1, 3)


def _balls(codes: list[str], places: np.ndarray, anatomy: Anatomy) -> Any:
    centres = vtk.vtkPoints()
    colours = vtk.vtkUnsignedCharArray()
    colours.SetNumberOfComponents(3)
    colours.SetName(_COLOURS)
    for code, place in zip(codes, places, strict=True):
        centres.InsertNextPoint(place)
        colours.InsertNextTuple3(*anatomy.landmark(code).rgb)
    points = vtk.vtkPolyData()
    points.SetPoints(centres)
    points.GetPointData().SetScalars(colours)
    ball = vtk.vtkSphereSource()
    ball.SetRadius(BALL_RADIUS_MM)
    ball.SetThetaResolution(20)
    ball.SetPhiResolution(16)
    glyphs = vtk.vtkGlyph3D()
    glyphs.SetInputData(points)
    glyphs.SetSourceConnection(ball.GetOutputPort())
    glyphs.SetColorModeToColorByScalar()
    glyphs.SetScaleModeToDataScalingOff()
    glyphs.Update()
    result = vtk.vtkPolyData()
    result.DeepCopy(glyphs.GetOutput())
    if result.GetPointData().GetScalars() is not None:
        result.GetPointData().GetScalars().SetName(_COLOURS)
    names, drawn = vtk.vtkStringArray(), numpy_to_vtk(places, deep=True)
    names.SetName(_CODES)
    drawn.SetName(_CENTRES)
    for code in codes:
        names.InsertNextValue(code)
    result.GetFieldData().AddArray(names)
    result.GetFieldData().AddArray(drawn)
    return result
