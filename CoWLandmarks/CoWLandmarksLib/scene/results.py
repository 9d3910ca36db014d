"""A delivered result in a MRML scene: landmarks, arteries and tables together, found again, and brought up to date.

Works in Slicer and without it, as nodes.py does; no Qt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import slicer

from ..core.anatomy import Anatomy
from ..core.artery_map import ArteryMap, ArteryState
from ..core.circle_variant import summary_line
from ..core.detection import Verdict, read_verdict, verdict_headline, verdict_label
from ..files.delivered import Delivered
from .artery_nodes import add_arteries, replace_arteries
from .declared_arteries import keep_declared
from .nodes import (
    ATTRIBUTE,
    STATES_ROLE,
    add_detection,
    add_volume,
    all_or_nothing,
    landmarks_from_node,
    volume_node_of,
    with_table_states,
)
from .region_balls import REGIONS_ROLE, add_region_balls

SEGMENTATION_ROLE = ATTRIBUTE + "segmentation"
TABLE_ROLE = ATTRIBUTE + "arteriesTable"
SUMMARY = ATTRIBUTE + "summary"
HEATMAP = ATTRIBUTE + "heatmap"
"""Attribute of volumes that are heatmaps, and no scans."""


@dataclass(frozen=True)
class ResultNodes:
    """The nodes of one result; `segmentation` and `table` are None where arteries were not traced.

    `regions` is the model that shows the points in the colours of their regions.
    """

    markups: Any
    states: Any
    segmentation: Any | None
    table: Any | None
    regions: Any | None = None


def add_result(
    scene: Any, volume_node: Any, delivered: Delivered, anatomy: Anatomy, surfaces: Mapping[str, Any] | None = None
) -> ResultNodes:
    """Add a result beside its volume, in one folder and one batch: everything or nothing.

    `surfaces` are those of the arteries, as `surfaces.artery_surfaces` makes them, by code.
    """
    with all_or_nothing(scene) as undo:
        nodes = add_detection(scene, volume_node, delivered.detection, anatomy)
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
        undo.callback(hierarchy.RemoveItem, nodes.folder)
        for node in (nodes.markups, nodes.markups.GetDisplayNode(), nodes.states):
            undo.callback(scene.RemoveNode, node)
        regions = add_region_balls(nodes.markups, anatomy)
        undo.callback(scene.RemoveNode, regions)
        undo.callback(scene.RemoveNode, regions.GetDisplayNode())
        for heatmap in delivered.heatmaps:
            named = replace(heatmap, name=f"{delivered.detection.scan} heatmap {heatmap.name}")
            node = add_volume(scene, named)
            undo.callback(scene.RemoveNode, node)
            undo.callback(scene.RemoveNode, node.GetDisplayNode())
            node.SetAttribute(HEATMAP, heatmap.name)
            hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), nodes.folder)
        arteries = delivered.arteries
        if arteries is None:
            refresh_summary(nodes.markups, anatomy)
            return ResultNodes(nodes.markups, nodes.states, None, None, regions)
        made = add_arteries(scene, volume_node, arteries, anatomy, nodes.folder, surfaces=surfaces)
        keep_declared(nodes.markups, arteries.declared)
        nodes.markups.SetNodeReferenceID(SEGMENTATION_ROLE, made.segmentation.GetID())
        nodes.markups.SetNodeReferenceID(TABLE_ROLE, made.table.GetID())
        refresh_summary(nodes.markups, anatomy)
    return ResultNodes(nodes.markups, nodes.states, made.segmentation, made.table, regions)


def result_of(markups_node: Any) -> ResultNodes:
    """The nodes that belong to the point list of a result; those that have left the scene are None."""
    return ResultNodes(
        markups_node,
        markups_node.GetNodeReference(STATES_ROLE),
        markups_node.GetNodeReference(SEGMENTATION_ROLE),
        markups_node.GetNodeReference(TABLE_ROLE),
        markups_node.GetNodeReference(REGIONS_ROLE),
    )


@dataclass(frozen=True)
class ResultTexts:
    """What is shown of a result before anything else; the verdict is None where there is none.

    `judged` is False where the landmarks come from a file and nothing judged them, None where the point list has lost
    its verdict.
    """

    scan: str
    verdict: Verdict | None
    judged: bool | None
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    summary: str

    @property
    def verdict_label(self) -> str:
        """The verdict as tables show it; empty where it is lost."""
        return "" if self.judged is None else verdict_label(self.verdict)

    @property
    def headline(self) -> str:
        """The verdict as a sentence, for people; empty where it is lost."""
        return "" if self.judged is None else verdict_headline(self.verdict)


def result_texts(markups_node: Any) -> ResultTexts:
    """The texts of a result, as its point list keeps them."""

    def kept(key: str, otherwise: Any) -> Any:
        try:
            value = json.loads(text(ATTRIBUTE + key))
        except ValueError:
            return otherwise
        return value if isinstance(value, type(otherwise)) else otherwise

    def listed(key: str) -> tuple[str, ...]:
        return tuple(str(entry) for entry in kept(key, []))

    def text(key: str) -> str:
        return markups_node.GetAttribute(key) or ""

    verdict, judged = None, None
    with suppress(ValueError):
        entry = text(ATTRIBUTE + "verdict")
        verdict = read_verdict(None if entry == "null" else entry, kept("provenance", {}))
        judged = verdict is not None
    return ResultTexts(
        text(ATTRIBUTE + "scan") or markups_node.GetName(),
        verdict,
        judged,
        listed("reasons"),
        listed("warnings"),
        text(SUMMARY),
    )


def refresh_summary(markups_node: Any, anatomy: Anatomy) -> str:
    """Write the one-line summary anew from the points and the arteries as they are now; returns it."""
    landmarks = with_table_states(markups_node, landmarks_from_node(markups_node, anatomy))
    table = result_of(markups_node).table
    absent = []
    if table is not None:
        codes, states = (table.GetTable().GetColumnByName(name) for name in ("code", "state"))
        if codes is not None and states is not None:
            rows = range(codes.GetNumberOfValues())
            absent = [codes.GetValue(row) for row in rows if states.GetValue(row) == ArteryState.ABSENT.value]
    summary = summary_line(landmarks, absent)
    markups_node.SetAttribute(SUMMARY, summary)
    return summary


def set_shown(markups_node: Any, shown: bool) -> None:
    """Draw a result in all views, or hide it."""
    nodes = result_of(markups_node)
    for node in (nodes.markups, nodes.segmentation, nodes.regions):
        if node is not None:
            node.SetDisplayVisibility(shown)


def update_arteries(
    markups_node: Any, arteries: ArteryMap, anatomy: Anatomy, surfaces: Mapping[str, Any] | None = None
) -> None:
    """Replace the arteries of a result in place; nodes that are gone are made again in the same folder."""
    nodes = result_of(markups_node)
    volume_node = volume_node_of(markups_node)
    if nodes.segmentation is not None and nodes.table is not None:
        replace_arteries(nodes.segmentation, nodes.table, volume_node, arteries, anatomy, surfaces=surfaces)
        refresh_summary(markups_node, anatomy)
        return
    scene = markups_node.GetScene()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(markups_node))
    with all_or_nothing(scene):
        for node in (nodes.segmentation, nodes.table):
            if node is not None:
                scene.RemoveNode(node)
        made = add_arteries(scene, volume_node, arteries, anatomy, folder, surfaces=surfaces)
    markups_node.SetNodeReferenceID(SEGMENTATION_ROLE, made.segmentation.GetID())
    markups_node.SetNodeReferenceID(TABLE_ROLE, made.table.GetID())
    refresh_summary(markups_node, anatomy)


def scans_of(scene: Any) -> list[Any]:
    """Volume nodes of the scene that may be scans: scalar volumes, no label maps, no heatmaps, nothing hidden."""
    name = "vtkMRMLScalarVolumeNode"
    nodes = [scene.GetNthNodeByClass(index, name) for index in range(scene.GetNumberOfNodesByClass(name))]
    return [
        node
        for node in nodes
        if node.GetClassName() == name and node.GetAttribute(HEATMAP) is None and not node.GetHideFromEditors()
    ]
