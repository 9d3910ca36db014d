"""What a label map of vessels says of their course: where two classes meet, and the centreline of a class."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from CoWLandmarksLib.arteries.voxel_ways import voxel_ways
from CoWLandmarksLib.core.artery_map import cropped_labels
from CoWLandmarksLib.core.volume import Volume, apply_affine
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from ..phantom.curves import resampled, smoothed

STEP_MM, SMOOTHING_MM = 0.25, 1.0
_CENTRING = 3.0
"""The cost of a voxel falls with this power of its distance from the wall."""
_SAME_CONTACT_MM = 2.0
"""Places of contact this close to each other are one."""


class LabelledVessels:
    """The vessels of one label map (uint8 [k, j, i], 0 for none); points are RAS mm."""

    def __init__(self, labels: Volume) -> None:
        part, start = cropped_labels(labels.voxels)
        self._labels = np.pad(part, 1)
        first = (start[0] - 1, start[1] - 1, start[2] - 1)
        self._grid = labels.grid.window(first, (self._labels.shape[0], self._labels.shape[1], self._labels.shape[2]))
        self._voxels: dict[int, np.ndarray] = {}

    @cached_property
    def _depth(self) -> np.ndarray:
        """Distance in mm of every voxel from the nearest one without a label."""
        return np.asarray(ndimage.distance_transform_edt(self._labels > 0, self._grid.spacing[::-1]), float)

    def has(self, label: int) -> bool:
        """Whether there is a voxel of this class."""
        return len(self._of(label)) > 0

    def contact(self, first: int, second: int) -> np.ndarray:
        """Places (n, 3) where voxels of two classes touch (26 neighbours), of the largest place of contact; n may be 0.

        Each lies midway between two voxels.
        """
        here, there = self._of(first), self._of(second)
        if not len(here) or not len(there):
            return np.zeros((0, 3))
        pairs = cKDTree(here).query_ball_tree(cKDTree(there), np.sqrt(3.0) + 1e-6)
        middles = [(here[one] + there[other]) / 2.0 for one, near in enumerate(pairs) for other in near]
        if not middles:
            return np.zeros((0, 3))
        places = self._to_ras(np.unique(np.array(middles), axis=0))
        groups = _groups(places)
        return places[groups == np.bincount(groups).argmax()]

    def nearest(self, label: int, point: np.ndarray) -> np.ndarray | None:
        """(3,) the voxel of a class nearest to a point; None where there is none."""
        voxels = self._of(label)
        if not len(voxels):
            return None
        places = self._to_ras(voxels)
        return np.asarray(places[np.argmin(((places - point) ** 2).sum(axis=1))])

    def centerline(self, labels: tuple[int, ...], start: np.ndarray, end: np.ndarray | None = None) -> np.ndarray:
        """Centreline (n, 3) through voxels of these classes, from `start` to `end`, or to the farthest voxel.

        Empty where there is no way. It is smooth, its vertices are 0.25 mm apart, and its ends are not moved onto
        `start` and `end`.
        """
        voxels = np.concatenate([self._of(label) for label in labels])
        if not len(voxels):
            return np.zeros((0, 3))
        places = self._to_ras(voxels)
        seed = np.array([np.argmin(((places - start) ** 2).sum(axis=1))])
        spacing = self._grid.spacing[::-1]
        if end is None:
            ways = voxel_ways(voxels, spacing, seed).total
            target = int(np.argmax(np.where(np.isfinite(ways), ways, -1.0)))
        else:
            target = int(np.argmin(((places - end) ** 2).sum(axis=1)))
        cost = (self._depth[tuple(voxels.T)] / float(spacing.min())) ** -_CENTRING + 0.01
        found = voxel_ways(voxels, spacing, seed, cost)
        way = found.to(target) if np.isfinite(found.total[target]) else np.zeros(0, int)
        if len(way) < 3:
            return np.zeros((0, 3))
        return smoothed_line(places[way])

    def _of(self, label: int) -> np.ndarray:
        """Voxels (n, 3) k, j, i of a class."""
        if label not in self._voxels:
            self._voxels[label] = np.argwhere(self._labels == label)
        return self._voxels[label]

    def _to_ras(self, kji: np.ndarray) -> np.ndarray:
        return apply_affine(self._grid.ijk_to_ras, kji[:, ::-1])


def smoothed_line(points: np.ndarray) -> np.ndarray:
    """A polyline (n, 3) mm without the corners of voxels, its vertices 0.25 mm apart."""
    even = resampled(points, 1.0)
    return np.asarray(resampled(smoothed(even, SMOOTHING_MM), STEP_MM)) if len(even) > 2 else even


def _groups(places: np.ndarray) -> np.ndarray:
    """Number of the group of every place (n, 3): those linked by steps of 2 mm or less."""
    near = cKDTree(places).query_pairs(_SAME_CONTACT_MM, output_type="ndarray")
    links = coo_matrix((np.ones(len(near)), (near[:, 0], near[:, 1])), (len(places),) * 2)
    return np.asarray(connected_components(links, directed=False)[1])
