"""Where the views of a scene look after a detection. MRML only, no Qt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

SLICE_VIEW_MM = 120.0
"""Height of what a slice view shows: the circle and some way round it."""
CAMERA_MM = 185.0
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


def _nodes(scene: Any, class_name: str) -> Iterator[Any]:
    for index in range(scene.GetNumberOfNodesByClass(class_name)):
        yield scene.GetNthNodeByClass(index, class_name)
