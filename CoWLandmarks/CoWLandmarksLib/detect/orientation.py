"""Along which anatomical axes a scan is stored, and the same scan stored along R, A and S."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from ..core.volume import Grid, Volume

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
    turned = seen_along_ras(volume)
    return turned if turned is volume else replace(turned, voxels=np.ascontiguousarray(turned.voxels))


def seen_along_ras(volume: Volume) -> Volume:
    """As `stored_along_ras`, but the voxels are a view of those of `volume`."""
    order = StorageAxes.of(volume.grid)
    if order.along_ras:
        return volume
    voxels, _ = order.turned(volume.voxels, (0, 0, 0))
    matrix = volume.ijk_to_ras.copy()
    matrix[:3, :3] = volume.ijk_to_ras[:3, list(order.axes)]
    for axis, flipped in enumerate(order.backwards):
        if flipped:
            matrix[:3, 3] += matrix[:3, axis] * (volume.grid.size[order.axes[axis]] - 1)
            matrix[:3, axis] *= -1.0
    return replace(volume, voxels=voxels, ijk_to_ras=matrix)


@dataclass(frozen=True)
class StorageAxes:
    """How a scan is stored: for R, A and S each the voxel axis (0: i, 1: j, 2: k) and whether it runs backwards.

    `size` (3,) voxels of the stored scan along i, j, k.
    """

    axes: tuple[int, int, int]
    backwards: tuple[bool, bool, bool]
    size: tuple[int, int, int]

    @classmethod
    def of(cls, grid: Grid) -> StorageAxes:
        """Of the scan with this grid."""
        axes, backwards = nearest_axes(grid.ijk_to_ras)
        return cls(axes, backwards, (int(grid.size[0]), int(grid.size[1]), int(grid.size[2])))

    @property
    def along_ras(self) -> bool:
        """Whether the scan is stored along R, A, S already."""
        return self.axes == (0, 1, 2) and not any(self.backwards)

    def turned(self, part: np.ndarray, start: tuple[int, int, int]) -> tuple[np.ndarray, tuple[int, int, int]]:
        """A crop [k, j, i] of the stored scan and its first voxel (i, j, k), in the scan turned along R, A, S."""
        shape = part.shape[::-1]
        first = [0, 0, 0]
        for axis, (stored, flipped) in enumerate(zip(self.axes, self.backwards, strict=True)):
            first[axis] = self.size[stored] - start[stored] - shape[stored] if flipped else start[stored]
        voxels = part.transpose([2 - axis for axis in reversed(self.axes)])
        return self._flipped(voxels), (first[0], first[1], first[2])

    def turned_back(self, part: np.ndarray, start: tuple[int, int, int]) -> tuple[np.ndarray, tuple[int, int, int]]:
        """Inverse of `turned`."""
        shape = part.shape[::-1]
        first = [0, 0, 0]
        for axis, (stored, flipped) in enumerate(zip(self.axes, self.backwards, strict=True)):
            first[stored] = self.size[stored] - start[axis] - shape[axis] if flipped else start[axis]
        order = np.argsort([2 - axis for axis in reversed(self.axes)])
        return self._flipped(part).transpose(order), (first[0], first[1], first[2])

    def _flipped(self, turned: np.ndarray) -> np.ndarray:
        for axis, flipped in enumerate(self.backwards):
            if flipped:
                turned = np.flip(turned, 2 - axis)
        return turned
