"""A result folder read back: what `cowlandmarks detect` and `cowlandmarks arteries` delivered.

Without torch and SimpleITK: 3D Slicer's own process uses this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .anatomy import Anatomy
from .arteries import ArteryMap, ArteryState, ArteryTrace
from .arteries_files import read_label_crop, read_summary, read_traces
from .arteries_summary import spoken_name
from .delivery import DETECTION_FILE, SEGMENTATION_FILE
from .detection import Detection, LandmarkState
from .errors import AnnotationError
from .report import read_detection_json
from .volume import Grid


@dataclass(frozen=True)
class Delivered:
    """A detection and its arteries (None: not traced); `folder` is where they were read from."""

    folder: Path
    detection: Detection
    arteries: ArteryMap | None


def read_delivered(folder: Path, grid: Grid, anatomy: Anatomy, scan: str | None = None) -> Delivered:
    """Read a result folder. `grid` is that of the scan, `scan` the name to call it by; raises AnnotationError."""
    detection = read_detection_json(folder / DETECTION_FILE)
    if tuple(estimate.code for estimate in detection.landmarks) != anatomy.codes:
        raise AnnotationError(f"'{folder}' does not hold the landmarks of '{anatomy.name}'; was another model used?")
    if scan is not None:
        detection = replace(detection, scan=scan)
    traces = read_traces(folder / DETECTION_FILE)
    if not traces:
        return Delivered(folder, detection, None)
    labels, start = read_label_crop(folder / SEGMENTATION_FILE)
    summary = read_summary(folder / DETECTION_FILE)
    return Delivered(folder, detection, ArteryMap(traces, labels, start, grid, summary, detection.landmarks))


def one_line(detection: Detection, traces: Sequence[ArteryTrace] = ()) -> str:
    """One line for people: '19 found; right PCoA absent; 2 to check'."""
    placed = detection.count(LandmarkState.FOUND) + detection.count(LandmarkState.UNCERTAIN)
    parts = [f"{placed} found"]
    for state in (LandmarkState.ABSENT, LandmarkState.OUTSIDE):
        codes = [estimate.code for estimate in detection.landmarks if estimate.state is state]
        if codes:
            where = "outside the scan" if state is LandmarkState.OUTSIDE else state.value
            parts.append(f"{', '.join(codes)} {where}")
    absent = [spoken_name(trace.code) for trace in traces if trace.state is ArteryState.ABSENT]
    if absent:
        parts.append(f"{', '.join(absent)} absent")
    doubtful = detection.count(LandmarkState.UNCERTAIN)
    if doubtful:
        parts.append(f"{doubtful} to check")
    return "; ".join(parts)
