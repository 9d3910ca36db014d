"""The arteries of one scan: what is known of each, their measures and their label map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum

import numpy as np

from .declaration import Declarations
from .detection import LandmarkEstimate
from .volume import Grid, Volume


class ArteryState(str, Enum):
    """What is known of an artery (Docs/use/arteries.md)."""

    PRESENT = "present"
    HYPOPLASTIC = "hypoplastic"
    ABSENT = "absent"
    OUTSIDE = "outside"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class ArteryMeasures:
    """Measures of one artery: lengths and diameters in mm, volume in mm^3; `side_ratio` is own / other side's diameter.

    `tortuosity` is length / chord. `side_ratio` is None without a counterpart.
    """

    length_mm: float
    tortuosity: float
    diameter_mean_mm: float
    diameter_min_mm: float
    diameter_max_mm: float
    volume_mm3: float
    side_ratio: float | None = None


MEASURES = tuple(measure.name for measure in fields(ArteryMeasures))
"""Names of the measures, as columns of tables."""


@dataclass(frozen=True)
class ArteryTrace:
    """One artery of one scan.

    `centerline` (n, 3) RAS mm from its start to its end landmark, `radii` (n,) mm; both empty unless the state is
    PRESENT or HYPOPLASTIC. `reason` is a phrase that says why the state is what it is; `confidence` in [0, 1].
    """

    code: str
    state: ArteryState
    reason: str
    confidence: float
    centerline: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    radii: np.ndarray = field(default_factory=lambda: np.zeros(0))
    measures: ArteryMeasures | None = None

    @property
    def traced(self) -> bool:
        """Whether there is a vessel."""
        return self.state in (ArteryState.PRESENT, ArteryState.HYPOPLASTIC)


@dataclass(frozen=True)
class ArteryMap:
    """All arteries of a scan in the order of the anatomy.

    `labels` uint8 [k, j, i] is a crop of the scan's own grid that begins at voxel `start` (i, j, k); beyond it there is
    no label. `summary` is the variant of the circle as text, `landmarks` are those it was traced between.
    `anchors` (RAS mm by code) are those that crop and cost map were made for (arteries/surroundings.py). `declared` is
    what a person said of arteries. `probabilities` are those of the variants of the halves, "anterior" and "posterior",
    where they were estimated. `renewed`: a correction spoke for another variant, so that all arteries were traced anew.
    """

    arteries: tuple[ArteryTrace, ...]
    labels: np.ndarray
    start: tuple[int, int, int]
    scan_grid: Grid
    summary: str
    landmarks: tuple[LandmarkEstimate, ...] = ()
    anchors: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    declared: Declarations = field(default_factory=dict)
    probabilities: Mapping[str, float] = field(default_factory=dict)
    renewed: bool = False

    @property
    def absent(self) -> tuple[str, ...]:
        """Codes of the arteries that are not there."""
        return tuple(trace.code for trace in self.arteries if trace.state is ArteryState.ABSENT)

    def artery(self, code: str) -> ArteryTrace:
        """Trace with this code; raises KeyError."""
        for trace in self.arteries:
            if trace.code == code:
                return trace
        raise KeyError(code)

    def labels_on(self, start: tuple[int, int, int], shape: tuple[int, int, int], kept: Sequence[int]) -> np.ndarray:
        """Labels [k, j, i] of another crop of the scan (first voxel i, j, k and shape), only those in `kept`."""
        found = np.zeros(shape, np.uint8)
        low = np.maximum(start, self.start)
        high = np.minimum(np.add(start, shape[::-1]), np.add(self.start, self.labels.shape[::-1]))
        if (high > low).all():
            here = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))[::-1]
            there = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, self.start, strict=True))[::-1]
            part = self.labels[there]
            found[here] = np.where(np.isin(part, kept), part, 0)
        return found

    def label_volume(self, name: str) -> Volume:
        """The label map on the whole grid of the scan."""
        voxels = np.zeros(self.scan_grid.shape, np.uint8)
        i, j, k = self.start
        depth, height, width = self.labels.shape
        voxels[k : k + depth, j : j + height, i : i + width] = self.labels
        return Volume(voxels, self.scan_grid.ijk_to_ras, name)


def cropped_labels(voxels: np.ndarray) -> tuple[np.ndarray, tuple[int, int, int]]:
    """The part of a label map [k, j, i] that holds labels, as uint8, and its first voxel (i, j, k)."""
    found = [np.flatnonzero(voxels.any(axis=axes)) for axes in ((0, 1), (0, 2), (1, 2))]
    if any(axis.size == 0 for axis in found):
        return np.zeros((0, 0, 0), np.uint8), (0, 0, 0)
    i, j, k = (slice(int(axis[0]), int(axis[-1]) + 1) for axis in found)
    return np.ascontiguousarray(voxels[k, j, i], np.uint8), (i.start, j.start, k.start)
