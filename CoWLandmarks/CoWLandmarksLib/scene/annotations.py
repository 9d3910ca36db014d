"""Annotated cases in a MRML scene: point lists with landmarks, and the volume and segmentation of each. No Qt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk

from ..core.anatomy import Anatomy
from ..core.errors import AnnotationError, VolumeError
from ..core.volume import Volume
from ..files.markups import LabelledPoint
from .nodes import ATTRIBUTE, points_from_node, volume_from_node, volume_node_of
from .scene_files import load_scene

CASE_KEYS = ("case", "patient", "modality", "role", "transform", "annotator", "reviewed", "anatomy")


@dataclass(frozen=True)
class SceneAnnotation:
    """A point list with landmarks: `attributes` its case keys, `volume` and `segmentation` nodes or None."""

    markups: Any
    points: list[LabelledPoint]
    attributes: dict[str, str]
    volume: Any | None
    segmentation: Any | None
    doubts: tuple[str, ...] = field(default=())


def annotations_in_scene(scene: Any, anatomy: Anatomy) -> list[SceneAnnotation]:
    """Every point list with landmarks of this anatomy, or (if none has any) every point list with points.

    Its volume is the one it refers to, else the only one in the scene, else the one whose name its own begins with;
    `doubts` says where that is not clear.
    """
    lists = [(node, points_from_node(node)) for node in _nodes(scene, "vtkMRMLMarkupsFiducialNode")]
    lists = [(node, points) for node, points in lists if points]
    known = [(node, points) for node, points in lists if any(point.label in anatomy.codes for point in points)]
    return [_annotation(scene, node, points) for node, points in known or lists]


def volume_in_scene(scene: Any, node_id: str) -> Volume:
    """The volume of a node: voxels of a scalar volume, or the union of all segments of a segmentation (uint8).

    Raises VolumeError or AnnotationError.
    """
    node = scene.GetNodeByID(node_id)
    if node is None:
        raise AnnotationError(f"The scene has lost its node '{node_id}'; read the cohort again.")
    return mask_from_segmentation(scene, node) if node.IsA("vtkMRMLSegmentationNode") else volume_from_node(node)


def mask_from_segmentation(scene: Any, node: Any) -> Volume:
    """All segments of a segmentation node as one mask (uint8) in world coordinates; raises VolumeError."""
    labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    try:
        parent = node.GetParentTransformNode()
        if parent is not None and not parent.IsTransformToWorldLinear():
            raise VolumeError(f"The segmentation '{node.GetName()}' is under a non-linear transform; harden it first.")
        exported = slicer.vtkSlicerSegmentationsModuleLogic.ExportAllSegmentsToLabelmapNode(node, labels)
        if not exported or labels.GetImageData() is None or labels.GetImageData().GetNumberOfPoints() == 0:
            raise VolumeError(f"The segmentation '{node.GetName()}' is empty; delete it or segment the vessels.")
        matrix = vtk.vtkMatrix4x4()
        labels.GetIJKToRASMatrix(matrix)
        ijk_to_ras = slicer.util.arrayFromVTKMatrix(matrix)
        if parent is not None and labels.GetParentTransformNode() is not None:
            parent.GetMatrixTransformToWorld(matrix)
            ijk_to_ras = slicer.util.arrayFromVTKMatrix(matrix) @ ijk_to_ras
        mask = (slicer.util.arrayFromVolume(labels) > 0).astype(np.uint8)
        return Volume(mask, ijk_to_ras, node.GetName())
    finally:
        scene.RemoveNode(labels)


def data_files(scene: Any) -> list[Path]:
    """Files that the nodes of a loaded .mrml scene were read from."""
    names = {node.GetFullNameFromFileName() for node in _nodes(scene, "vtkMRMLStorageNode")}
    return sorted(Path(name) for name in names if name and Path(name).is_file())


def _annotation(scene: Any, node: Any, points: list[LabelledPoint]) -> SceneAnnotation:
    attributes = {key: node.GetAttribute(ATTRIBUTE + key) for key in CASE_KEYS}
    volume, doubts = _volume_of(scene, node)
    return SceneAnnotation(
        node,
        points,
        {key: value for key, value in attributes.items() if value},
        volume,
        _segmentation_of(scene, volume),
        doubts,
    )


def _volume_of(scene: Any, node: Any) -> tuple[Any | None, tuple[str, ...]]:
    referred = volume_node_of(node)
    if referred is not None:
        return referred, ()
    volumes = [volume for volume in _nodes(scene, "vtkMRMLScalarVolumeNode") if _is_scan(volume)]
    if len(volumes) <= 1:
        return (volumes[0] if volumes else None), ()
    named = [volume for volume in volumes if volume.GetName() and node.GetName().startswith(volume.GetName())]
    if len(named) == 1:
        return named[0], ()
    names = ", ".join(f"'{volume.GetName()}'" for volume in volumes)
    return None, (
        f"the point list '{node.GetName()}' could belong to any of the volumes {names}; keep one volume in the scene, "
        "or let the name of the point list begin with the name of its volume.",
    )


def _segmentation_of(scene: Any, volume: Any | None) -> Any | None:
    """The segmentation made on this volume, else the only one beside an only volume."""
    if volume is None:
        return None
    segmentations = _nodes(scene, "vtkMRMLSegmentationNode")
    for node in segmentations:
        if node.GetNodeReference(slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()) is volume:
            return node
    scans = [other for other in _nodes(scene, "vtkMRMLScalarVolumeNode") if _is_scan(other)]
    return segmentations[0] if len(segmentations) == 1 and len(scans) == 1 else None


def _is_scan(node: Any) -> bool:
    return not node.IsA("vtkMRMLLabelMapVolumeNode")


def _nodes(scene: Any, kind: str) -> list[Any]:
    return list(_iterate(scene, kind))


def _iterate(scene: Any, kind: str) -> Iterator[Any]:
    for index in range(scene.GetNumberOfNodesByClass(kind)):
        yield scene.GetNthNodeByClass(index, kind)


def read_volume_in_scene(path: Path, node: str) -> Volume:
    """A volume, or the union of the segments of a segmentation, from a scene file; raises CoWLandmarksError."""
    return volume_in_scene(load_scene(path), node)
