"""Slice views and 3-D views brought to a point. MRML, no Qt."""

from __future__ import annotations

from typing import Any

import slicer


def jump_to(scene: Any, position: tuple[float, float, float]) -> None:
    """Move all slice views through `position` (world RAS mm), and the focus of all 3-D views onto it.

    Slice views keep their orientation and zoom, 3-D views their direction and distance.
    """
    slicer.vtkMRMLSliceNode.JumpAllSlices(scene, *position, slicer.vtkMRMLSliceNode.CenteredJumpSlice)
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLCameraNode")):
        camera = scene.GetNthNodeByClass(index, "vtkMRMLCameraNode")
        shift = [new - old for new, old in zip(position, camera.GetFocalPoint(), strict=True)]
        camera.SetPosition(*(old + by for old, by in zip(camera.GetPosition(), shift, strict=True)))
        camera.SetFocalPoint(*position)
        camera.ResetClippingRange()
