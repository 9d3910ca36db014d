"""What a scene holds of one annotation, gathered for export; and what is known of the patient, which is not. No Qt."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ..core.anatomy import Anatomy
from ..core.artery_map import MEASURES, ArteryMap, ArteryMeasures, ArteryState, ArteryTrace, cropped_labels
from ..core.declaration import Declarations
from ..core.errors import AnnotationError, VolumeError
from ..core.volume import Grid, Volume
from ..files.annotation_files import Annotation
from ..files.case_description import CaseDescription
from ..files.case_folder import check_pseudonym, writing_case
from .artery_nodes import lay_on_grid
from .declared_arteries import declared_in
from .nodes import ATTRIBUTE, VOLUME_ROLE, volume_from_node, volume_node_of
from .results import result_of
from .review import ANNOTATOR, TIME, Review

_IDENTIFYING = ("DICOM.PatientName", "DICOM.PatientID", "DICOM.PatientBirthDate")


def annotation_of(markups_node: Any, anatomy: Anatomy) -> Annotation:
    """A detection with its review and its arteries, as they are in the scene now.

    Raises AnnotationError for a point list that is no detection, VolumeError for a segmentation that cannot be read.
    """
    review = Review(markups_node, anatomy)
    review.record_moves()
    rows = review.rows()
    declared = declared_in(markups_node, anatomy)
    return Annotation(
        detection=review.detection(),
        reviews={row.code: (row.reviewer, row.reviewed_at) for row in rows},
        review={
            "annotator": markups_node.GetAttribute(ANNOTATOR) or "",
            "reviewed_at": markups_node.GetAttribute(TIME) or "",
        },
        arteries=_arteries(markups_node, anatomy, declared),
        declared=declared,
    )


def scan_of(markups_node: Any) -> Volume:
    """The scan of an annotation, not copied; raises VolumeError where it has left the scene or cannot be used."""
    node = volume_node_of(markups_node)
    if node is None:
        raise VolumeError(f"The scan of '{markups_node.GetName()}' is not in the scene; load it and choose it again.")
    return volume_from_node(node, copy=False)


def adding_to_cohort(
    markups_node: Any, anatomy: Anatomy, cohort: Path, case: str, patient: str = "", initials: str = ""
) -> Iterator[float]:
    """Add an annotation to a training cohort as `cohort/<case>`, a little at each step; yields the part that is done.

    Everything is taken from the scene while the part done is 0; later it may change. `patient` is the pseudonym
    that training splits go by (default: `case`), `initials` stand in where the review has none. Raises AnnotationError,
    ConfigurationError, OutputError and VolumeError.
    """
    known = identifying_texts(volume_node_of(markups_node))
    for pseudonym in (case, patient or case):
        check_pseudonym(pseudonym, known)
    annotation = annotation_of(markups_node, anatomy)
    yield 0.0
    if all(estimate.position is None for estimate in annotation.detection.landmarks):
        raise AnnotationError(f"'{markups_node.GetName()}' has no placed landmark; place some of them first.")
    scan = scan_of(markups_node)
    scan = Volume(np.array(scan.voxels), scan.ijk_to_ras, case)
    yield 0.0
    description = CaseDescription(
        case=case,
        patient=patient or case,
        modality=annotation.detection.modality,
        annotator=annotation.review["annotator"] or initials,
        reviewed=annotation.reviewed,
        reviewed_at=annotation.review["reviewed_at"],
    )
    mask = None
    if annotation.arteries is not None and annotation.arteries.labels.any():
        mask = annotation.arteries.label_volume("vessels")
    landmarks, declared = annotation.detection.landmarks, annotation.declared
    yield from writing_case(cohort, description, scan, landmarks, anatomy, mask, declared=declared)


def identifying_texts(volume_node: Any | None) -> list[str]:
    """Names, IDs and birth dates of the patient that the subject hierarchy knows of a volume."""
    if volume_node is None or volume_node.GetScene() is None:
        return []
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(volume_node.GetScene())
    item = hierarchy.GetItemByDataNode(volume_node)
    texts = []
    while item not in (hierarchy.GetInvalidItemID(), hierarchy.GetSceneItemID()):
        texts += [hierarchy.GetItemAttribute(item, name) for name in _IDENTIFYING]
        if hierarchy.GetItemLevel(item) == "Patient":
            texts.append(hierarchy.GetItemName(item))
        item = hierarchy.GetItemParent(item)
    return [text for text in texts if text]


def _arteries(markups_node: Any, anatomy: Anatomy, declared: Declarations) -> ArteryMap | None:
    segmentation, table = _artery_nodes(markups_node)
    volume_node = volume_node_of(markups_node)
    if segmentation is None or volume_node is None:
        return None
    scan = volume_from_node(volume_node, copy=False)
    labels, start = _labels(segmentation, scan.grid, anatomy)
    traces = _traces(table, anatomy)
    summary = segmentation.GetAttribute(ATTRIBUTE + "summary") or ""
    return ArteryMap(traces, labels, start, scan.grid, summary, declared=declared)


def _artery_nodes(markups_node: Any) -> tuple[Any | None, Any | None]:
    """Segmentation and table of arteries: those the point list refers to, else those in its folder."""
    nodes = result_of(markups_node)
    if nodes.segmentation is not None:
        return nodes.segmentation, nodes.table
    scene = markups_node.GetScene()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(markups_node))
    items = vtk.vtkIdList()
    if folder not in (hierarchy.GetInvalidItemID(), hierarchy.GetSceneItemID()):
        hierarchy.GetItemChildren(folder, items, False)
    beside = [hierarchy.GetItemDataNode(items.GetId(index)) for index in range(items.GetNumberOfIds())]
    volume = markups_node.GetNodeReference(VOLUME_ROLE)
    segmentations = [
        node
        for node in beside
        if node is not None
        and node.IsA("vtkMRMLSegmentationNode")
        and node.GetNodeReference(VOLUME_ROLE) in (None, volume)
    ]
    tables = [
        node
        for node in beside
        if node is not None and node.IsA("vtkMRMLTableNode") and node.GetTable().GetColumnByName("length_mm")
    ]
    return next(iter(segmentations), None), next(iter(tables), None)


def _labels(segmentation: Any, grid: Grid, anatomy: Anatomy) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Label map of the segments that are arteries, cropped, on the grid of the scan (see ArteryMap)."""
    known = {segmentation.GetSegmentation().GetNthSegmentID(n) for n in range(_count(segmentation))}
    codes, values = vtk.vtkStringArray(), vtk.vtkIntArray()
    for artery in anatomy.arteries:
        if artery.code in known:
            codes.InsertNextValue(artery.code)
            values.InsertNextValue(artery.label)
    if codes.GetNumberOfValues() == 0:
        return np.zeros((0, 0, 0), np.uint8), (0, 0, 0)
    shared = _shared_labels(segmentation, grid, anatomy)
    if shared is not None:
        return shared
    merged = slicer.vtkOrientedImageData()
    geometry = slicer.vtkOrientedImageData()
    lay_on_grid(geometry, _grid_below_transform(segmentation, grid))
    depth, height, width = grid.shape
    geometry.SetExtent(0, width - 1, 0, height - 1, 0, depth - 1)
    made = segmentation.GenerateMergedLabelmapForAllSegments(
        merged, slicer.vtkSegmentation.EXTENT_UNION_OF_EFFECTIVE_SEGMENTS, geometry, codes, values
    )
    if not made or merged.GetPointData().GetScalars() is None:
        return np.zeros((0, 0, 0), np.uint8), (0, 0, 0)
    return _labels_within(merged, grid)


def _shared_labels(segmentation: Any, grid: Grid, anatomy: Anatomy) -> tuple[np.ndarray, tuple[int, int, int]] | None:
    """The label map that all segments share, as `add_arteries` makes it: quick. None where a person made another."""
    segments = segmentation.GetSegmentation()
    representation = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    parts = [segments.GetSegment(artery.code) for artery in anatomy.arteries]
    if segmentation.GetParentTransformNode() is not None or _count(segmentation) != len(parts) or None in parts:
        return None
    image = parts[0].GetRepresentation(representation)
    if image is None or image.GetPointData().GetScalars() is None:
        return None
    if any(part.GetRepresentation(representation) is not image for part in parts):
        return None
    if any(part.GetLabelValue() != a.label for part, a in zip(parts, anatomy.arteries, strict=True)):
        return None
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    tolerance = 1e-4 * float(grid.spacing.min())
    if not np.allclose(slicer.util.arrayFromVTKMatrix(matrix), grid.ijk_to_ras, rtol=0.0, atol=tolerance):
        return None
    return _labels_within(image, grid)


def _labels_within(image: Any, grid: Grid) -> tuple[np.ndarray, tuple[int, int, int]]:
    """The labels of an image on the grid of the scan that lie in the scan, cropped (a copy), and their first voxel."""
    i0, i1, j0, j1, k0, k1 = image.GetExtent()
    voxels = vtk_to_numpy(image.GetPointData().GetScalars())
    voxels = voxels.reshape(k1 - k0 + 1, j1 - j0 + 1, i1 - i0 + 1)
    # A segment may have been painted beyond the scan.
    low, high = np.maximum((i0, j0, k0), 0), np.minimum((i1 + 1, j1 + 1, k1 + 1), grid.size)
    inside = tuple(slice(a - s, max(b, a) - s) for a, b, s in zip(low, high, (i0, j0, k0), strict=True))[::-1]
    labels, start = cropped_labels(voxels[inside])
    return np.array(labels), (int(start[0] + low[0]), int(start[1] + low[1]), int(start[2] + low[2]))


def _count(segmentation: Any) -> int:
    return int(segmentation.GetSegmentation().GetNumberOfSegments())


def _grid_below_transform(segmentation: Any, grid: Grid) -> Grid:
    """The grid of the scan (world) in the coordinates of a segmentation that may be under a transform."""
    parent = segmentation.GetParentTransformNode()
    if parent is None:
        return grid
    if not parent.IsTransformToWorldLinear():
        raise VolumeError(
            f"The segmentation '{segmentation.GetName()}' is under a non-linear transform; harden it first."
        )
    matrix = vtk.vtkMatrix4x4()
    parent.GetMatrixTransformToWorld(matrix)
    return Grid(grid.shape, np.linalg.inv(slicer.util.arrayFromVTKMatrix(matrix)) @ grid.ijk_to_ras)


def _traces(table: Any | None, anatomy: Anatomy) -> tuple[ArteryTrace, ...]:
    """The rows of the table of arteries; an artery without one is unknown."""
    rows: dict[str, dict[str, Any]] = {}
    if table is not None:
        columns = {table.GetTable().GetColumnName(n): table.GetTable().GetColumn(n) for n in range(_columns(table))}
        for row in range(table.GetNumberOfRows()):
            cells = {name: column.GetValue(row) for name, column in columns.items()}
            rows[cells.get("code", "")] = cells
    return tuple(_trace(artery.code, rows.get(artery.code)) for artery in anatomy.arteries)


def _columns(table: Any) -> int:
    return int(table.GetTable().GetNumberOfColumns())


def _trace(code: str, cells: dict[str, Any] | None) -> ArteryTrace:
    if cells is None:
        return ArteryTrace(code, ArteryState.UNKNOWN, "not in the table", 0.0)
    try:
        numbers = {name: float(cells[name]) for name in MEASURES}
        measures = None
        if not math.isnan(numbers["length_mm"]):
            ratio = numbers.pop("side_ratio")
            measures = ArteryMeasures(**numbers, side_ratio=None if math.isnan(ratio) else ratio)
        state = ArteryState(cells["state"])
        return ArteryTrace(code, state, cells["reason"], float(cells["confidence"]), measures=measures)
    except (KeyError, TypeError, ValueError) as error:
        raise AnnotationError(
            f"The table of arteries is damaged in the row of {code} ({error!r}); run the detection again."
        ) from error
