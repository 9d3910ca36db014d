"""Where the views of a scene look and how the vessels of a scan are drawn after a detection. MRML only, no Qt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import vtk

from .scene import ATTRIBUTE, volume_from_node
from .volume import apply_affine

SLICE_VIEW_MM = 120.0
"""Height of what a slice view shows: the circle and some way round it."""
CAMERA_MM = 185.0
CROP_MARGIN_MM = 14.0
VESSEL_PROPERTY = "CoW vessels"
_OPACITIES = ((0.0, 0.0), (0.5, 0.0), (0.7, 0.05), (0.9, 0.16), (1.1, 0.28))
"""Brightness, as part of that of the vessels, and opacity."""
_FROM_THE_FRONT_AND_ABOVE = np.array([0.12, 0.90, 0.42])


def landmark_positions(markups_node: Any) -> np.ndarray:
    """(n, 3) world RAS mm of the placed points of a point list."""
    points = []
    for index in range(markups_node.GetNumberOfControlPoints()):
        if markups_node.GetNthControlPointPositionStatus(index) == markups_node.PositionDefined:
            world = [0.0, 0.0, 0.0]
            markups_node.GetNthControlPointPositionWorld(index, world)
            points.append(world)
    return np.array(points, float).reshape(-1, 3)


def look_at_circle(scene: Any, volume_node: Any, markups_node: Any) -> None:
    """Show the volume in all slice views, all views centred on the middle of the points; nothing without points."""
    points = landmark_positions(markups_node)
    for composite in _nodes(scene, "vtkMRMLSliceCompositeNode"):
        composite.SetBackgroundVolumeID(volume_node.GetID())
    if len(points) == 0:
        return
    middle = (points.min(axis=0) + points.max(axis=0)) / 2.0
    for view in _nodes(scene, "vtkMRMLSliceNode"):
        width, height, _ = view.GetDimensions()
        if width > 0 and height > 0:
            depth = view.GetFieldOfView()[2]
            view.SetFieldOfView(SLICE_VIEW_MM * width / height, SLICE_VIEW_MM, depth)
        view.JumpSliceByCentering(*middle)
    for camera in _nodes(scene, "vtkMRMLCameraNode"):
        direction = _FROM_THE_FRONT_AND_ABOVE / np.linalg.norm(_FROM_THE_FRONT_AND_ABOVE)
        camera.SetFocalPoint(*middle)
        camera.SetPosition(*(middle + CAMERA_MM * direction))
        camera.SetViewUp(0.0, 0.0, 1.0)
        camera.ResetClippingRange()


def show_vessels(rendering_logic: Any, volume_node: Any, markups_node: Any) -> Any | None:
    """Draw the vessels round the points by volume rendering; returns the display node, None without points.

    `rendering_logic` is that of Slicer's Volume Rendering module. Opacity follows the brightness that the scan has at
    the landmarks, so one preset fits TOF-MRA in any units as well as CTA; a box round the circle is drawn, which
    keeps the skull of a CTA out. What the scan has of volume rendering is used and changed.
    """
    points = landmark_positions(markups_node)
    if len(points) == 0:
        return None
    display = rendering_logic.GetFirstVolumeRenderingDisplayNode(volume_node)
    if display is None:
        display = rendering_logic.CreateDefaultVolumeRenderingNodes(volume_node)
    level = vessel_level(volume_node, points)
    is_cta = markups_node.GetAttribute(ATTRIBUTE + "modality") == "cta"
    fill_vessel_property(display.GetVolumePropertyNode(), level, is_cta)
    region = display.GetROINode()
    if region is None:
        rendering_logic.CreateROINode(display)
        region = display.GetROINode()
    low, high = points.min(axis=0) - CROP_MARGIN_MM, points.max(axis=0) + CROP_MARGIN_MM
    region.SetAndObserveTransformNodeID(None)
    region.SetCenterWorld(*((low + high) / 2.0))
    region.SetSizeWorld(*(high - low))
    region.SetDisplayVisibility(False)
    display.SetCroppingEnabled(True)
    display.SetVisibility(True)
    return display


def vessel_level(volume_node: Any, points: np.ndarray) -> float:
    """Brightness of the vessels: median over the voxels at the points (n, 3), world RAS mm, that lie in the scan."""
    volume = volume_from_node(volume_node, copy=False)
    ijk = np.rint(apply_affine(volume.grid.ras_to_ijk, points)).astype(int)
    inside = ijk[((ijk >= 0) & (ijk < volume.grid.size)).all(axis=1)]
    if len(inside) == 0:
        return float(volume.voxels.max())
    return float(np.median(volume.voxels[inside[:, 2], inside[:, 1], inside[:, 0]]))


def fill_vessel_property(property_node: Any, level: float, is_cta: bool) -> None:
    """Set opacity and colour of a volume property node for vessels of brightness `level`: dark to bright red.

    They are thin enough for the surfaces of the arteries to show.

    What is much brighter than blood in a CTA is bone or metal and drawn pale and thin.
    """
    property_node.SetName(VESSEL_PROPERTY)
    opacity, colour = vtk.vtkPiecewiseFunction(), vtk.vtkColorTransferFunction()
    for part, alpha in _OPACITIES:
        opacity.AddPoint(part * level, alpha)
    for part, rgb in ((0.5, (0.35, 0.05, 0.03)), (0.8, (0.75, 0.22, 0.12)), (1.1, (0.98, 0.66, 0.48))):
        colour.AddRGBPoint(part * level, *rgb)
    if is_cta:
        opacity.AddPoint(1.5 * level, 0.2)
        opacity.AddPoint(2.2 * level, 0.04)
        colour.AddRGBPoint(1.7 * level, 0.93, 0.90, 0.82)
    else:
        opacity.AddPoint(2.0 * level, 0.32)
        colour.AddRGBPoint(2.0 * level, 1.0, 0.95, 0.85)
    gradient = vtk.vtkPiecewiseFunction()
    gradient.AddPoint(0.0, 1.0)
    property_node.SetScalarOpacity(opacity)
    property_node.SetColor(colour)
    property_node.SetGradientOpacity(gradient)
    shading = property_node.GetVolumeProperty()
    shading.SetInterpolationTypeToLinear()
    shading.ShadeOn()
    shading.SetAmbient(0.25)
    shading.SetDiffuse(0.75)
    shading.SetSpecular(0.25)
    shading.SetSpecularPower(15.0)


def _nodes(scene: Any, class_name: str) -> Iterator[Any]:
    for index in range(scene.GetNumberOfNodesByClass(class_name)):
        yield scene.GetNthNodeByClass(index, class_name)
