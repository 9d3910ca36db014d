"""A result folder read back: what `cowlandmarks detect` and `cowlandmarks arteries` delivered.

Without torch and SimpleITK: 3D Slicer's own process uses this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..core.anatomy import Anatomy
from ..core.artery_map import ArteryMap, ArteryState
from ..core.circle_variant import spoken_name
from ..core.detection import Detection, LandmarkEstimate, LandmarkState
from ..core.errors import AnnotationError
from ..core.volume import Grid, Volume
from .arteries_files import read_label_crop, read_summary, read_traces
from .detection_files import read_detection_json
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
    detection = read_detection_json(folder / DETECTION_FILE)
    if tuple(estimate.code for estimate in detection.landmarks) != anatomy.codes:
        raise AnnotationError(f"'{folder}' does not hold the landmarks of '{anatomy.name}'; was another model used?")
    if scan is not None:
        detection = replace(detection, scan=scan)
    files = ((code, folder / HEATMAP_FILE.format(code=code)) for code in anatomy.codes)
    heatmaps = tuple(read_plain_nrrd(path, code) for code, path in files if path.is_file())
    traces = read_traces(folder / DETECTION_FILE)
    if not traces:
        return Delivered(folder, detection, None, heatmaps)
    labels, start = read_label_crop(folder / SEGMENTATION_FILE)
    summary = read_summary(folder / DETECTION_FILE)
    arteries = ArteryMap(traces, labels, start, grid, summary, detection.landmarks)
    surfaces: Mapping[str, Any] = {}
    if (folder / SURFACES_FILE).is_file():
        from .surfaces import read_surfaces  # needs VTK

        surfaces = read_surfaces(folder / SURFACES_FILE)
    return Delivered(folder, detection, arteries, heatmaps, surfaces)


def summary_of(folder: Path) -> str:
    """The one-line summary of a result folder; raises AnnotationError."""
    traces = read_traces(folder / DETECTION_FILE)
    absent = [trace.code for trace in traces if trace.state is ArteryState.ABSENT]
    return one_line(read_detection_json(folder / DETECTION_FILE).landmarks, absent)


def one_line(landmarks: Sequence[LandmarkEstimate], absent_arteries: Sequence[str] = ()) -> str:
    """One line for people: '19 found; right PCoA absent; 2 to check'."""

    def codes(state: LandmarkState) -> list[str]:
        return [estimate.code for estimate in landmarks if estimate.state is state]

    doubtful = len(codes(LandmarkState.UNCERTAIN))
    parts = [f"{len(codes(LandmarkState.FOUND)) + doubtful} found"]
    for state, words in ((LandmarkState.ABSENT, "absent"), (LandmarkState.OUTSIDE, "outside the scan")):
        if codes(state):
            parts.append(f"{', '.join(codes(state))} {words}")
    if absent_arteries:
        parts.append(f"{', '.join(spoken_name(code) for code in absent_arteries)} absent")
    if doubtful:
        parts.append(f"{doubtful} to check")
    return "; ".join(parts)
