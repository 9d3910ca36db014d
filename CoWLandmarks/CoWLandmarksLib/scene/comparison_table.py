"""Two annotations of a scene compared, and the comparison as a table node. No Qt."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

from ..core.anatomy import Anatomy
from ..core.comparison import COLUMNS, Comparison, column_title, compare
from ..core.errors import AnnotationError
from .nodes import add_node, all_or_nothing, detection_nodes, landmarks_from_node, volume_node_of, with_table_states


def annotation_nodes(scene: Any, anatomy: Anatomy) -> list[Any]:
    """Point lists that can be compared: detections, and lists with points labelled as landmarks."""
    nodes = detection_nodes(scene)
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLMarkupsFiducialNode")
        labels = (node.GetNthControlPointLabel(n).strip() for n in range(node.GetNumberOfControlPoints()))
        if node not in nodes and any(label in anatomy.codes for label in labels):
            nodes.append(node)
    return nodes


def compare_nodes(first: Any, second: Any, anatomy: Anatomy) -> Comparison:
    """Compare two point lists in world coordinates; raises AnnotationError.

    Two detections of different volumes are refused: their points are not about the same scan.
    """
    if first is second:
        raise AnnotationError("An annotation cannot be compared with itself; choose two.")
    one, other = volume_node_of(first), volume_node_of(second)
    if one is not None and other is not None and one is not other:
        raise AnnotationError(
            f"'{first.GetName()}' belongs to the scan '{one.GetName()}' and '{second.GetName()}' to "
            f"'{other.GetName()}'; choose two annotations of one scan."
        )
    return compare(
        with_table_states(first, landmarks_from_node(first, anatomy)),
        with_table_states(second, landmarks_from_node(second, anatomy)),
        anatomy,
        (first.GetName(), second.GetName()),
    )


def add_comparison(scene: Any, comparison: Comparison, beside: Any | None = None) -> Any:
    """Add a comparison as a table node, in the subject-hierarchy folder of the node `beside`; returns it."""
    with all_or_nothing(scene) as undo:
        node = add_node(scene, "vtkMRMLTableNode", f"{comparison.first} vs {comparison.second}", undo)
        for number, name in enumerate(COLUMNS):
            column = vtk.vtkStringArray()
            column.SetName(column_title(name, comparison))
            for row in comparison.table():
                column.InsertNextValue(row[number])
            node.AddColumn(column)
        node.SetUseColumnTitleAsColumnHeader(True)
        node.SetLocked(True)
        if beside is not None:
            hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
            item = hierarchy.GetItemByDataNode(beside)
            if item != hierarchy.GetInvalidItemID():
                hierarchy.CreateItem(hierarchy.GetItemParent(item), node)
    return node
