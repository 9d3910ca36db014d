"""A result folder read back: what `cowlandmarks detect` and `cowlandmarks arteries` delivered.

Without torch and SimpleITK: 3D Slicer's own process uses this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..core.anatomy import Anatomy
from ..core.artery_map import ArteryMap
from ..core.detection import Detection
from ..core.errors import AnnotationError
from ..core.volume import Grid, Volume
from .arteries_files import read_label_crop
from .detection_files import read_detection_and_arteries
from .nrrd_file import read_plain_nrrd
from .result_folders import DETECTION_FILE, HEATMAP_FILE, SEGMENTATION_FILE, SURFACES_FILE


@dataclass(frozen=True)
class Delivered:
    """A detection and its arteries (None: not traced); `folder` is where they were read from.

    `heatmaps`, where they were asked for, are what the network saw round the uncertain landmarks, named by code, and
    `surfaces` the closed surfaces (vtkPolyData, RAS mm) by code of artery.
    """

    folder: Path
    detection: Detection
    arteries: ArteryMap | None
    heatmaps: tuple[Volume, ...] = ()
    surfaces: Mapping[str, Any] = field(default_factory=dict)


def read_delivered(folder: Path, grid: Grid, anatomy: Anatomy, scan: str | None = None) -> Delivered:
    """Read a result folder. `grid` is that of the scan, `scan` the name to call it by; raises AnnotationError."""
    detection, recorded = read_detection_and_arteries(folder / DETECTION_FILE)
    if tuple(estimate.code for estimate in detection.landmarks) != anatomy.codes:
        raise AnnotationError(f"'{folder}' does not hold the landmarks of '{anatomy.name}'; was another model used?")
    if scan is not None:
        detection = replace(detection, scan=scan)
    files = ((code, folder / HEATMAP_FILE.format(code=code)) for code in anatomy.codes)
    heatmaps = tuple(read_plain_nrrd(path, code) for code, path in files if path.is_file())
    if not recorded.traces:
        return Delivered(folder, detection, None, heatmaps)
    labels, start = read_label_crop(folder / SEGMENTATION_FILE)
    found = ArteryMap(
        recorded.traces, labels, start, grid, recorded.summary, detection.landmarks, recorded.anchors, recorded.declared
    )
    arteries = replace(found, probabilities=recorded.probabilities)
    surfaces: Mapping[str, Any] = {}
    if (folder / SURFACES_FILE).is_file():
        from .surfaces import read_surfaces  # optional

        surfaces = read_surfaces(folder / SURFACES_FILE)
    return Delivered(folder, detection, arteries, heatmaps, surfaces)
