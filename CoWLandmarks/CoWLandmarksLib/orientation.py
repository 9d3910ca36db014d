"""Along which anatomical axes a scan is stored, and the same scan stored along R, A and S."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from .volume import Volume

_AXES = (("R", "L"), ("A", "P"), ("S", "I"))
# Turned by a trifle of no special direction, scans at exactly 45 degrees have a nearest axis too, and always the same.
_TRIFLE = Rotation.from_euler("xyz", [0.011, 0.017, 0.023], degrees=True).as_matrix()


def nearest_axes(ijk_to_ras: np.ndarray) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """For R, A and S each: which of i, j, k lies nearest to it, and whether that one runs backwards.

    `ijk_to_ras` is (4, 4); every voxel axis is used once. What is found depends on where the axes of a scan point
    to, never on the order in which they are stored.
    """
    directions = _TRIFLE @ (ijk_to_ras[:3, :3] / np.linalg.norm(ijk_to_ras[:3, :3], axis=0))
    strength = np.abs(directions)
    chosen = [0, 0, 0]
    for _ in range(3):
        axis, column = np.unravel_index(np.argmax(strength), strength.shape)
        chosen[axis] = int(column)
        strength[axis, :] = strength[:, column] = -1.0
    backwards = [bool(directions[axis, chosen[axis]] < 0) for axis in range(3)]
    return (chosen[0], chosen[1], chosen[2]), (backwards[0], backwards[1], backwards[2])


def orientation_code(ijk_to_ras: np.ndarray) -> str:
    """Where i, j and k point to, as three letters such as 'LPS'; an oblique scan gets those of the nearest axes."""
    letters = ["", "", ""]
    for axis, (column, backwards) in enumerate(zip(*nearest_axes(ijk_to_ras), strict=True)):
        letters[column] = _AXES[axis][backwards]
    return "".join(letters)


def tilt_degrees(ijk_to_ras: np.ndarray) -> float:
    """Largest angle in degrees between a voxel axis and its nearest anatomical axis; 0 for an axis-aligned scan."""
    directions = ijk_to_ras[:3, :3] / np.linalg.norm(ijk_to_ras[:3, :3], axis=0)
    return float(np.degrees(np.arccos(np.clip(np.abs(directions).max(axis=0), 0.0, 1.0)).max()))


def stored_along_ras(volume: Volume) -> Volume:
    """The same scan with i, j, k along R, A, S (or the axes nearest to them), in one block of memory.

    No value is changed. Whatever depends on the order of voxels (blocks that are averaged, samples that are drawn,
    sums) then comes out alike for all 48 ways to store a scan.
    """
    order, backwards = nearest_axes(volume.ijk_to_ras)
    if order == (0, 1, 2) and not any(backwards):
        return volume
    size = volume.grid.size
    voxels = volume.voxels.transpose([2 - axis for axis in reversed(order)])
    matrix = volume.ijk_to_ras.copy()
    matrix[:3, :3] = volume.ijk_to_ras[:3, list(order)]
    for axis, flipped in enumerate(backwards):
        if flipped:
            matrix[:3, 3] += matrix[:3, axis] * (size[order[axis]] - 1)
            matrix[:3, axis] *= -1.0
            voxels = np.flip(voxels, 2 - axis)
    return replace(volume, voxels=np.ascontiguousarray(voxels), ijk_to_ras=matrix)
