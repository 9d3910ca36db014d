"""Closed surfaces of the arteries, made one after the other so that nobody has to wait. MRML only, no Qt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import slicer
import vtk

from .anatomy import Anatomy
from .arteries import ArteryMap, cropped_labels
from .scene_arteries import oriented_image


def artery_surfaces(arteries: ArteryMap, anatomy: Anatomy) -> Iterator[tuple[str, Any]]:
    """Code and surface (vtkPolyData, RAS mm) of every artery, smoothed as Slicer does by default; empty without voxels.

    Slicer makes the surfaces of all segments in one go, which takes a second where a scan is fine; each of these steps
    takes a few milliseconds.
    """
    for artery in anatomy.arteries:
        part, offset = cropped_labels(np.where(arteries.labels == artery.label, arteries.labels, 0))
        start = tuple(a + b for a, b in zip(arteries.start, offset, strict=True))
        yield artery.code, _surface((part > 0).astype(np.uint8), (start[0], start[1], start[2]), arteries)


def _surface(mask: np.ndarray, start: tuple[int, int, int], arteries: ArteryMap) -> Any:
    if mask.size == 0:
        return vtk.vtkPolyData()
    converter = slicer.vtkSegmentationConverter
    binary = converter.GetSegmentationBinaryLabelmapRepresentationName()
    closed = converter.GetSegmentationClosedSurfaceRepresentationName()
    segment = slicer.vtkSegment()
    segment.AddRepresentation(binary, oriented_image(mask, start, arteries.scan_grid))
    segmentation = slicer.vtkSegmentation()
    segmentation.SetSourceRepresentationName(binary)
    segmentation.AddSegment(segment, "artery")
    segmentation.CreateRepresentation(closed)
    return segmentation.GetSegment("artery").GetRepresentation(closed)
