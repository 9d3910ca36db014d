"""Landmarks that were annotated before, from a file or a point list of the scene, made a detection to review. No Qt."""

from __future__ import annotations

from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from ..core.anatomy import Anatomy
from ..core.detection import LandmarkEstimate
from ..core.errors import AnnotationError
from ..core.given_landmarks import given_arteries, given_detection
from ..files.dicom_reading import read_dicom_segmentation, segmentation_beside
from ..files.markups import read_annotation, read_declared, read_review
from .declared_arteries import keep_declared
from .nodes import DetectionNodes, add_detection, landmarks_from_node, volume_from_node
from .region_balls import add_region_balls
from .results import refresh_summary, update_arteries
from .review import ANNOTATOR, TIME


def add_given_file(
    scene: Any, volume_node: Any, path: str | PathLike[str], anatomy: Anatomy, warnings: list[str] | None = None
) -> DetectionNodes:
    """Add the landmarks of a `.mrk.json`, `.fcsv` or `.sr.dcm` file beside the scan they belong to, as a detection.

    The arteries of a `.sr.dcm` file come along where their segmentation lies beside it. `warnings` takes a sentence for
    every point that is no landmark, and for arteries that cannot be read. Raises AnnotationError for a file that holds
    no landmark or whose points all lie outside the scan, VolumeError for a volume that is no scan.
    """
    path = Path(path)
    messages: list[str] = [] if warnings is None else warnings
    landmarks = read_annotation(path, anatomy, messages)
    if not landmarks:
        raise AnnotationError(
            f"'{path}' holds no landmark of '{anatomy.name}'; label its points {anatomy.codes[0]}, {anatomy.codes[1]} "
            "and so on."
        )
    declared = read_declared(path, anatomy) or {}
    nodes = _add(scene, volume_node, landmarks, anatomy, f"'{path.name}'")
    keep_declared(nodes.markups, declared)
    _name_after(nodes, volume_node.GetName(), path.name)
    review = read_review(path)
    nodes.markups.SetAttribute(ANNOTATOR, review["annotator"])
    nodes.markups.SetAttribute(TIME, review["reviewed_at"])
    segmentation = segmentation_beside(path)
    if segmentation is not None:
        _add_arteries(nodes, volume_node, segmentation, anatomy, messages)
    return nodes


def _add_arteries(
    nodes: DetectionNodes, volume_node: Any, segmentation: Path, anatomy: Anatomy, warnings: list[str]
) -> None:
    try:
        grid = volume_from_node(volume_node, copy=False).grid
        labels = read_dicom_segmentation(segmentation, grid, anatomy)
    except AnnotationError as error:
        warnings.append(f"The arteries were left out: {error}")
        return
    update_arteries(nodes.markups, given_arteries(labels, grid, anatomy), anatomy)


def add_given_points(scene: Any, volume_node: Any, markups_node: Any, anatomy: Anatomy) -> DetectionNodes:
    """Add the landmarks of a point list that is no detection yet, as a detection to review; the list stays.

    Raises AnnotationError and VolumeError as `add_given_file` does.
    """
    landmarks = landmarks_from_node(markups_node, anatomy)
    name = markups_node.GetName()
    if not landmarks:
        raise AnnotationError(
            f"The point list '{name}' holds no landmark of '{anatomy.name}'; label its points {anatomy.codes[0]}, "
            f"{anatomy.codes[1]} and so on."
        )
    return _add(scene, volume_node, landmarks, anatomy, f"the point list '{name}'")


def _name_after(nodes: DetectionNodes, scan: str, file: str) -> None:
    """Tell the lists of several files apart by their names."""
    scene = nodes.markups.GetScene()
    for node, what in ((nodes.markups, "landmarks"), (nodes.states, "states")):
        name = f"{scan} {what} (from {file})"
        node.SetName(name if scene.GetFirstNodeByName(name) is None else scene.GenerateUniqueName(name))
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    hierarchy.SetItemName(nodes.folder, nodes.markups.GetName())


def _add(
    scene: Any, volume_node: Any, landmarks: tuple[LandmarkEstimate, ...], anatomy: Anatomy, source: str
) -> DetectionNodes:
    scan = volume_from_node(volume_node, copy=False)
    placed = np.array([estimate.position for estimate in landmarks if estimate.position is not None], float)
    if len(placed) and float(scan.grid.depth_mm(placed).max()) < 0:
        raise AnnotationError(
            f"All points of {source} lie outside the scan '{scan.name}'; were they placed on another scan?"
        )
    detection = given_detection(scan, landmarks, anatomy, scan.modality)
    nodes = add_detection(scene, volume_node, replace(detection, warnings=()), anatomy)
    add_region_balls(nodes.markups, anatomy)
    refresh_summary(nodes.markups, anatomy)
    return nodes
