"""Minimal paths through a cost map, by the voxels of a corridor."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from ..core.volume import Grid, apply_affine
from .voxel_ways import FLAT_STEPS, VoxelWays, voxel_ways

DETOUR_RATIO, DETOUR_MM = 1.25, 6.0
"""A path may be this many times as long as the chord, and this much longer on top."""


@dataclass(frozen=True)
class Corridor:
    """The voxels that a path may use: `inside` bool [k, j, i] of the window that begins at (k, j, i) = `first`."""

    inside: np.ndarray
    first: tuple[int, int, int]


@dataclass(frozen=True)
class Costs(VoxelWays):
    """Cheapest ways from one voxel to the nodes at `voxels` (n, 3) k, j, i; `total` is their cost."""

    voxels: np.ndarray

    def path_to(self, node: int) -> np.ndarray:
        """Voxels (m, 3) k, j, i from the start to `node`; empty if it cannot be reached."""
        return self.voxels[self.to(node)] if np.isfinite(self.total[node]) else np.zeros((0, 3), int)

    def node_near(self, voxel: np.ndarray) -> int:
        """Node nearest to a voxel (k, j, i)."""
        return int(np.argmin(((self.voxels - np.asarray(voxel)) ** 2).sum(axis=1)))


def window_of(corridor: Corridor) -> tuple[slice, slice, slice]:
    """The part of an image [k, j, i] that a corridor covers."""
    k, j, i = (slice(f, f + n) for f, n in zip(corridor.first, corridor.inside.shape, strict=True))
    return k, j, i


def corridor_between(grid: Grid, first: np.ndarray, second: np.ndarray, slack_mm: float = 0.0) -> Corridor:
    """Ellipsoid of all points through which the way between two points (RAS mm) is not too long.

    `slack_mm` makes the longest way longer, for end points that are not known exactly yet.
    """
    chord = float(np.linalg.norm(second - first))
    longest = DETOUR_RATIO * chord + DETOUR_MM + slack_mm
    middle = (first + second) / 2.0
    low, high = _window(grid, middle - longest / 2.0, middle + longest / 2.0)
    places = _places(grid, low, high)
    way: np.ndarray = np.linalg.norm(places - first, axis=-1) + np.linalg.norm(places - second, axis=-1)
    inside: np.ndarray = np.less_equal(way, longest)
    return Corridor(inside, (int(low[2]), int(low[1]), int(low[0])))


def corridor_box(grid: Grid, to_box: np.ndarray, low_mm: np.ndarray, high_mm: np.ndarray) -> Corridor:
    """All voxels whose position, taken by `to_box` (4, 4), lies between `low_mm` and `high_mm` (3,)."""
    corners = np.array(list(product(*zip(low_mm, high_mm, strict=True))), float)
    corners = apply_affine(np.linalg.inv(to_box), corners)
    low, high = _window(grid, corners.min(axis=0), corners.max(axis=0))
    places = apply_affine(to_box, _places(grid, low, high))
    inside: np.ndarray = np.all((places >= low_mm) & (places <= high_mm), axis=-1)
    return Corridor(inside, (int(low[2]), int(low[1]), int(low[0])))


def cheapest_ways(cost: np.ndarray, spacing_mm: float, corridor: Corridor, start: np.ndarray) -> Costs:
    """Cheapest ways from the corridor's voxel nearest to `start` (k, j, i) to all others.

    `cost` [k, j, i] is the cost of a millimetre; a step costs its length times the mean of its two ends.
    """
    voxels = np.argwhere(corridor.inside)
    if len(voxels) == 0:
        return Costs(np.zeros(0), np.zeros(0, int), voxels)
    in_scan = voxels + np.array(corridor.first)
    source = np.argmin(((in_scan - start) ** 2).sum(axis=1))
    local = cost[window_of(corridor)][corridor.inside]
    ways = voxel_ways(voxels, np.full(3, spacing_mm), np.array([source]), local, FLAT_STEPS)
    return Costs(ways.total, ways.previous, in_scan)


def _window(grid: Grid, low_mm: np.ndarray, high_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last-plus-one voxel (i, j, k) of the part of `grid` that holds the box between two RAS points."""
    corners = apply_affine(grid.ras_to_ijk, np.array(list(product(*zip(low_mm, high_mm, strict=True)))))
    low = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, grid.size - 1)
    high = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 1, low + 1, grid.size)
    return low, high


def _places(grid: Grid, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """RAS mm [k, j, i, 3] of the voxels between `low` and `high` (i, j, k)."""
    k, j, i = np.meshgrid(*(np.arange(low[a], high[a]) for a in (2, 1, 0)), indexing="ij")
    return apply_affine(grid.ijk_to_ras, np.stack([i, j, k], axis=-1))
