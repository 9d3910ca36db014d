"""Balls in the colours of the regions round the landmarks of a detection, in a MRML scene. No Qt.

All points of a markups node share the two colours of its display node, and those show the state of the points
(found, to check). One point list per region would tear the 19 landmarks apart, so the colour of the region is drawn by
a model beside the point list: a ball on every placed point, with the colour the anatomy gives it. The model follows
the points by `update_region_balls`; it holds nothing that the point list does not say.
"""

from __future__ import annotations

from typing import Any

import slicer
import vtk

from .anatomy import Anatomy
from .scene import ATTRIBUTE, add_node, all_or_nothing

REGIONS_ROLE = ATTRIBUTE + "regions"
BALL_RADIUS_MM = 1.3
_COLOURS = "region colour"


def add_region_balls(markups_node: Any, anatomy: Anatomy) -> Any:
    """Add the balls of a point list in its subject-hierarchy folder; returns the model node."""
    scene = markups_node.GetScene()
    with all_or_nothing(scene) as undo:
        model = add_node(scene, "vtkMRMLModelNode", f"{markups_node.GetName()} regions", undo)
        model.SetAndObservePolyData(_balls(markups_node, anatomy))
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
    """Move the balls to where the points are now; nothing where the model has left the scene."""
    model = markups_node.GetNodeReference(REGIONS_ROLE)
    if model is not None:
        model.SetAndObservePolyData(_balls(markups_node, anatomy))


def _balls(markups_node: Any, anatomy: Anatomy) -> Any:
    centres = vtk.vtkPoints()
    colours = vtk.vtkUnsignedCharArray()
    colours.SetNumberOfComponents(3)
    colours.SetName(_COLOURS)
    for index in range(markups_node.GetNumberOfControlPoints()):
        code = markups_node.GetNthControlPointLabel(index)
        placed = markups_node.GetNthControlPointPositionStatus(index) == markups_node.PositionDefined
        if placed and code in anatomy.codes:
            world = [0.0, 0.0, 0.0]
            markups_node.GetNthControlPointPositionWorld(index, world)
            centres.InsertNextPoint(world)
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
    return result
