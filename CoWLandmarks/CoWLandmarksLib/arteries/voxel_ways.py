"""Shortest ways through a set of voxels, 26 neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

EVERY_STEP = tuple(step for step in product((-1, 0, 1), repeat=3) if step > (0, 0, 0))
FLAT_STEPS = tuple(step for step in EVERY_STEP if 0 in step)
"""To 26 neighbours, and to the 18 that share a face or an edge."""


@dataclass(frozen=True)
class VoxelWays:
    """Shortest ways from some of n voxels to all: `total` (n,), infinite where there is none, and `previous` (n,).

    `previous` is the index of the voxel before on the way, negative at its start.
    """

    total: np.ndarray
    previous: np.ndarray

    def to(self, voxel: int) -> np.ndarray:
        """Indices of the voxels on the way to one of them, from its start."""
        way = [voxel]
        while self.previous[way[-1]] >= 0:
            way.append(int(self.previous[way[-1]]))
        return np.array(way[::-1])


def voxel_ways(
    voxels: np.ndarray,
    spacing_mm: np.ndarray,
    starts: np.ndarray,
    costs: np.ndarray | None = None,
    steps: Sequence[tuple[int, ...]] = EVERY_STEP,
) -> VoxelWays:
    """Ways through `voxels` (n, 3) from those with the indices `starts`, in mm times the mean cost of both voxels.

    `spacing_mm` (3,) along the same axes as the voxels; `costs` (n,) of a millimetre, by default 1; `steps` to
    neighbours, each standing for its opposite as well.
    """
    low = voxels.min(axis=0) - 1
    shape = voxels.max(axis=0) - low + 2
    numbers = np.full(shape, -1, np.int32)
    numbers[tuple((voxels - low).T)] = np.arange(len(voxels), dtype=np.int32)
    rows, columns, weights = [], [], []
    for step in steps:
        neighbour = numbers[tuple((voxels - low + step).T)]
        here = np.flatnonzero(neighbour >= 0).astype(np.int32)
        there = neighbour[here]
        length = float(np.linalg.norm(np.array(step) * spacing_mm))
        way = np.full(len(here), length) if costs is None else 0.5 * length * (costs[here] + costs[there])
        rows += [here, there]
        columns += [there, here]
        weights += [way, way]
    graph = csr_matrix((np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), (len(voxels),) * 2)
    total, previous, _ = dijkstra(graph, directed=True, indices=starts, min_only=True, return_predecessors=True)
    return VoxelWays(total, np.where(previous < 0, -1, previous))
