"""Arteries in a MRML scene: one segmentation of named, coloured, coded segments, a table, and curves on request.

Works in Slicer and without it, as nodes.py does; no Qt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from ..core.anatomy import Anatomy
from ..core.artery_map import MEASURES, ArteryMap, ArteryTrace
from ..core.volume import Grid, apply_affine
from .nodes import ATTRIBUTE, VOLUME_ROLE, add_node, all_or_nothing

_TEXT_COLUMNS = ("code", "name", "state", "reason")


@dataclass(frozen=True)
class ArteryNodes:
    """What `add_arteries` put into the scene; `curves` only on request."""

    segmentation: Any
    table: Any
    curves: tuple[Any, ...]


def add_arteries(
    scene: Any,
    volume_node: Any,
    arteries: ArteryMap,
    anatomy: Anatomy,
    folder: int | None = None,
    *,
    surfaces: Mapping[str, Any] | None = None,
    curves: bool = False,
) -> ArteryNodes:
    """Add the arteries of a scan: all nodes in one batch, or none if anything fails.

    The segmentation has one segment for every artery of the anatomy, also for those without voxels, on the reference
    geometry of the volume. `folder` is the subject-hierarchy item to put the nodes in. `surfaces` are the
    closed surfaces by code (files/surfaces.py); `curves` makes a curve node for every traced artery.
    """
    name = volume_node.GetName()
    with all_or_nothing(scene) as undo:
        segmentation = add_node(scene, "vtkMRMLSegmentationNode", f"{name} arteries", undo)
        segmentation.CreateDefaultDisplayNodes()
        undo.callback(scene.RemoveNode, segmentation.GetDisplayNode())
        _fill_segmentation(segmentation, volume_node, arteries, anatomy, surfaces or {})
        segmentation.SetNodeReferenceID(VOLUME_ROLE, volume_node.GetID())
        segmentation.SetAttribute(ATTRIBUTE + "summary", arteries.summary)
        table = add_node(scene, "vtkMRMLTableNode", f"{name} arteries table", undo)
        _fill_table(table, arteries, anatomy)
        made = []
        for trace in arteries.arteries if curves else ():
            if trace.traced:
                node = add_node(scene, "vtkMRMLMarkupsCurveNode", f"{name} {trace.code}", undo)
                _fill_curve(node, trace, anatomy)
                made.append(node)
        if folder is not None:
            hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
            for node in (segmentation, table, *made):
                hierarchy.CreateItem(folder, node)
    return ArteryNodes(segmentation, table, tuple(made))


def replace_arteries(
    segmentation: Any,
    table: Any,
    volume_node: Any,
    arteries: ArteryMap,
    anatomy: Anatomy,
    *,
    surfaces: Mapping[str, Any] | None = None,
) -> None:
    """Put newly traced arteries into the nodes that `add_arteries` made, which keep their place and their display.

    Only what has changed is touched, without a batch: at its end all views would build everything anew.
    """
    modifying = segmentation.StartModify()
    try:
        if not _update_segmentation(segmentation, arteries, anatomy, surfaces or {}):
            segmentation.GetSegmentation().RemoveAllSegments()
            _fill_segmentation(segmentation, volume_node, arteries, anatomy, surfaces or {})
        segmentation.SetAttribute(ATTRIBUTE + "summary", arteries.summary)
    finally:
        segmentation.EndModify(modifying)
    modifying = table.StartModify()
    try:
        if not _update_table(table, arteries, anatomy):
            table.RemoveAllColumns()
            _fill_table(table, arteries, anatomy)
    finally:
        table.EndModify(modifying)


def _update_segmentation(node: Any, arteries: ArteryMap, anatomy: Anatomy, surfaces: Mapping[str, Any]) -> bool:
    """Bring the shared label map and the surfaces of changed arteries up to date.

    False, and nothing is done, where somebody has changed the segments since they were filled.
    """
    segmentation = node.GetSegmentation()
    segments = [segmentation.GetSegment(artery.code) for artery in anatomy.arteries]
    if None in segments or segmentation.GetNumberOfSegments() != len(segments):
        return False
    converter = slicer.vtkSegmentationConverter
    binary = converter.GetSegmentationBinaryLabelmapRepresentationName()
    closed = converter.GetSegmentationClosedSurfaceRepresentationName()
    image = segments[0].GetRepresentation(binary)
    values = [artery.label for artery in anatomy.arteries]
    if image is None or any(segment.GetRepresentation(binary) is not image for segment in segments):
        return False
    if [segment.GetLabelValue() for segment in segments] != values:
        return False
    fresh = oriented_image(arteries.labels, arteries.start, arteries.scan_grid)
    changed = _changed_labels(image, fresh)
    for artery, segment in zip(anatomy.arteries, segments, strict=True):
        segment.SetTag(ATTRIBUTE + "state", arteries.artery(artery.code).state.value)
    if not changed:
        return True
    kept = [segment.GetRepresentation(closed) for segment in segments]
    image.DeepCopy(fresh)  # whereupon the segmentation drops all surfaces
    for artery, segment, surface in zip(anatomy.arteries, segments, kept, strict=True):
        if artery.label in changed:
            surface = surfaces.get(artery.code)
        if surface is not None:
            segment.AddRepresentation(closed, surface)
    return True


def _changed_labels(before: Any, after: Any) -> set[int]:
    """Labels whose voxels differ between two images (vtkOrientedImageData on the same grid)."""
    extents = np.array([before.GetExtent(), after.GetExtent()]).reshape(2, 3, 2)
    low, high = extents[:, :, 0].min(axis=0), extents[:, :, 1].max(axis=0)
    laid = []
    for image, extent in zip((before, after), extents, strict=True):
        whole = np.zeros((high - low + 1)[::-1], np.uint8)
        (i, j, k), size = extent[:, 0] - low, extent[:, 1] - extent[:, 0] + 1
        part = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(size[::-1])
        whole[k : k + size[2], j : j + size[1], i : i + size[0]] = part
        laid.append(whole)
    differ = laid[0] != laid[1]
    return {int(label) for whole in laid for label in np.unique(whole[differ])} - {0}


def _fill_segmentation(
    node: Any, volume_node: Any, arteries: ArteryMap, anatomy: Anatomy, surfaces: Mapping[str, Any]
) -> None:
    """One binary label map, shared by all segments; surfaces where there are some."""
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
    segmentation = node.GetSegmentation()
    representation = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    segmentation.SetSourceRepresentationName(representation)
    closed_surface = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    image = oriented_image(arteries.labels, arteries.start, arteries.scan_grid)
    for artery in anatomy.arteries:
        segment = slicer.vtkSegment()
        segment.SetName(artery.code)
        segment.SetColor(*(value / 255.0 for value in artery.rgb))
        segment.SetTag(segment.GetTerminologyEntryTagName(), artery.terminology)
        segment.SetTag(ATTRIBUTE + "name", artery.name)
        segment.SetTag(ATTRIBUTE + "state", arteries.artery(artery.code).state.value)
        segment.SetLabelValue(artery.label)
        segment.AddRepresentation(representation, image)
        if artery.code in surfaces:
            segment.AddRepresentation(closed_surface, surfaces[artery.code])
        segmentation.AddSegment(segment, artery.code)


def oriented_image(labels: np.ndarray, start: tuple[int, int, int], grid: Grid) -> Any:
    """A crop [k, j, i] of a label map on `grid` that begins at voxel (i, j, k), as vtkOrientedImageData in RAS."""
    labels = labels if labels.size else np.zeros((1, 1, 1), np.uint8)
    image = slicer.vtkOrientedImageData()
    depth, height, width = labels.shape
    i, j, k = start
    # The extent keeps the place in the scan, so that segments stay on the scan's own voxels.
    image.SetExtent(i, i + width - 1, j, j + height - 1, k, k + depth - 1)
    image.GetPointData().SetScalars(numpy_to_vtk(labels.reshape(-1), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR))
    lay_on_grid(image, grid)
    return image


def lay_on_grid(image: Any, grid: Grid) -> None:
    """Give a vtkOrientedImageData the axes of a grid (RAS mm); its extent stays."""
    spacing = grid.spacing
    image.SetSpacing(*spacing)
    image.SetOrigin(*apply_affine(grid.ijk_to_ras, np.zeros(3)))
    directions = grid.ijk_to_ras[:3, :3] / spacing
    image.SetDirections([[float(value) for value in row] for row in directions])


def _columns(arteries: ArteryMap, anatomy: Anatomy) -> dict[str, Any]:
    columns: dict[str, Any] = {name: vtk.vtkStringArray() for name in _TEXT_COLUMNS}
    columns |= {name: vtk.vtkDoubleArray() for name in (*MEASURES, "confidence")}
    for name, column in columns.items():
        column.SetName(name)
    for trace in arteries.arteries:
        texts = (trace.code, anatomy.artery(trace.code).name, trace.state.value, trace.reason)
        for name, text in zip(_TEXT_COLUMNS, texts, strict=True):
            columns[name].InsertNextValue(text)
        measures = asdict(trace.measures) if trace.measures is not None else {}
        for name in MEASURES:
            value = measures.get(name)
            columns[name].InsertNextValue(float("nan") if value is None else value)
        columns["confidence"].InsertNextValue(trace.confidence)
    return columns


def _fill_table(node: Any, arteries: ArteryMap, anatomy: Anatomy) -> None:
    for column in _columns(arteries, anatomy).values():
        node.AddColumn(column)
    node.SetUseColumnTitleAsColumnHeader(True)
    node.SetLocked(True)


def _update_table(node: Any, arteries: ArteryMap, anatomy: Anatomy) -> bool:
    """Write the cells that have changed; False, and nothing is done, for a table of another form."""
    fresh, table = _columns(arteries, anatomy), node.GetTable()
    held = {name: table.GetColumnByName(name) for name in fresh}
    for name, column in fresh.items():
        if held[name] is None or held[name].GetNumberOfValues() != column.GetNumberOfValues():
            return False
        if held[name].GetClassName() != column.GetClassName():
            return False
    changed = False
    for name, column in fresh.items():
        for row in range(column.GetNumberOfValues()):
            if repr(held[name].GetValue(row)) != repr(column.GetValue(row)):  # as text NaN equals itself
                held[name].SetValue(row, column.GetValue(row))
                changed = True
    if changed:
        table.Modified()
        node.Modified()
    return True


def _fill_curve(node: Any, trace: ArteryTrace, anatomy: Anatomy) -> None:
    node.CreateDefaultDisplayNodes()
    points = vtk.vtkPoints()
    for point in trace.centerline:
        points.InsertNextPoint(*point)
    node.SetControlPointPositionsWorld(points)
    node.SetLocked(True)
    display = node.GetDisplayNode()
    display.SetSelectedColor(*(value / 255.0 for value in anatomy.artery(trace.code).rgb))
    display.SetPointLabelsVisibility(False)
    display.SetPropertiesLabelVisibility(False)
