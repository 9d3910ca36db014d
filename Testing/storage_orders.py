"""The 48 ways to store one scan: six orders of its axes, each of them forwards or backwards."""

from __future__ import annotations

import itertools

import numpy as np
from CoWLandmarksLib.core.volume import Volume

StorageOrder = tuple[tuple[int, ...], tuple[bool, ...]]
"""Which old axis (of i, j, k) becomes each new one, and which of the new ones run backwards."""

ALL_48: tuple[StorageOrder, ...] = tuple(
    itertools.product(itertools.permutations(range(3)), itertools.product((False, True), repeat=3))
)


def stored(volume: Volume, order: StorageOrder) -> Volume:
    """The same scan, stored in another order; its voxels are a view."""
    axes, flips = order
    matrix = np.eye(4)
    matrix[:3, :3] = volume.ijk_to_ras[:3, list(axes)]
    matrix[:3, 3] = volume.ijk_to_ras[:3, 3]
    voxels = volume.voxels.transpose(2, 1, 0).transpose(axes).transpose(2, 1, 0)
    for n, flipped in enumerate(flips):
        if flipped:
            matrix[:3, 3] += matrix[:3, n] * (volume.grid.size[axes[n]] - 1)
            matrix[:3, n] *= -1
            voxels = np.flip(voxels, 2 - n)
    return Volume(voxels, matrix, volume.name, volume.modality)
