"""Which scan the slice views of a scene show, and the results that belong to it. MRML only, no Qt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .scene import ATTRIBUTE, detection_nodes, volume_node_of
from .scene_results import scans_of

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
