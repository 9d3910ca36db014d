"""Which scan the slice views of a scene show, and the results that belong to it. MRML only, no Qt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import slicer

from ..core.detection import Detection
from ..core.mean_landmarks import mean_landmark
from ..core.volume import apply_affine
from .nodes import ATTRIBUTE, detection_nodes, volume_node_of
from .results import scans_of, set_shown

CHECK = ATTRIBUTE + "check"
"""Attribute of a detection that was made only to check others."""


def scan_in_views(scene: Any) -> Any | None:
    """The scan that lies behind everything in all slice views of the layout.

    None where they show different volumes, or what is no scan: a label map, a heatmap, nothing.
    """
    shown = {composite.GetBackgroundVolumeID() for composite in _composites_in_layout(scene)}
    if len(shown) != 1:
        return None
    node = scene.GetNodeByID(shown.pop() or "")
    return node if node in scans_of(scene) else None


def show_scan(scene: Any, volume_node: Any) -> None:
    """Show a scan in all slice views; where they look, and what lies over it, stays."""
    for composite in _nodes(scene, "vtkMRMLSliceCompositeNode"):
        if composite.GetBackgroundVolumeID() != volume_node.GetID():
            composite.SetBackgroundVolumeID(volume_node.GetID())


def latest_result(volume_node: Any) -> Any | None:
    """The newest detection of a scan that is in the scene; None without one.

    A detection that was made only to check given landmarks counts where there is nothing else.
    """
    found = [node for node in detection_nodes(volume_node.GetScene()) if volume_node_of(node) is volume_node]
    own = [node for node in found if node.GetAttribute(CHECK) is None]
    return (own or found or [None])[-1]


def mark_as_check(markups_node: Any) -> None:
    """Note that a detection was made only to check landmarks from a file."""
    markups_node.SetAttribute(CHECK, "1")


def composites_of(scene: Any) -> list[Any]:
    """The nodes that say what each slice view shows."""
    return list(_nodes(scene, "vtkMRMLSliceCompositeNode"))


def _composites_in_layout(scene: Any) -> list[Any]:
    """Those of the views that the layout shows; all, where it shows none."""
    composites = composites_of(scene)
    names = {view.GetLayoutName() for view in _nodes(scene, "vtkMRMLSliceNode") if view.IsMappedInLayout()}
    return [composite for composite in composites if composite.GetLayoutName() in names] or composites


def _nodes(scene: Any, class_name: str) -> Iterator[Any]:
    for index in range(scene.GetNumberOfNodesByClass(class_name)):
        yield scene.GetNthNodeByClass(index, class_name)


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


def show_only_result(scene: Any, markups_node: Any) -> None:
    """Draw this result (points, balls of the regions, arteries) in all views, and hide every other detection."""
    for node in detection_nodes(scene):
        set_shown(node, node is markups_node)
