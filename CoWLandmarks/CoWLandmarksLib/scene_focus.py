"""Slice views and 3-D views brought to a point. MRML, no Qt."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer

from .arteries_frame import mean_landmark
from .detection import Detection
from .volume import apply_affine


def expected_place(detection: Detection, code: str) -> tuple[float, float, float]:
    """Where a landmark without a position would be in most people (world RAS mm): where to look for it."""
    place = apply_affine(np.linalg.inv(detection.ras_to_reference), mean_landmark(code))
    return float(place[0]), float(place[1]), float(place[2])


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
