"""A scan as voxels and geometry, and a sampling grid. Without torch: 3D Slicer's own process imports this."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property

import numpy as np

from .errors import VolumeError

FEWEST_VOXELS, MOST_VOXELS = 8, 2**31
"""Along each axis, and in all."""
FINEST_MM, COARSEST_MM = 0.05, 10.0
MOST_SHEAR = 0.01
"""Largest cosine between two axes (0.6 degrees off a right angle)."""
LARGEST_FIELD_MM3 = 1e9
NO_ORIENTATION = "The file records no orientation; left and right cannot be distinguished."
SMALLEST_EXTENT_MM, LARGEST_EXTENT_MM = 8.0, 2500.0
FARTHEST_MM = 1e5
MOST_NOT_A_NUMBER_PERCENT = 1.0


EDGE_MM = 2.0
"""A landmark less deep than this inside a scan counts as outside."""


class Modality(str, Enum):
    """MRA: time-of-flight MR angiography; CTA: CT angiography."""

    MRA = "mra"
    CTA = "cta"


@dataclass(frozen=True)
class Grid:
    """A regular sampling grid: `shape` is (K, J, I); `ijk_to_ras` (4, 4) takes (i, j, k) to (R, A, S) in mm."""

    shape: tuple[int, int, int]
    ijk_to_ras: np.ndarray

    @cached_property
    def ras_to_ijk(self) -> np.ndarray:
        """(4, 4) matrix from RAS mm to (i, j, k)."""
        return np.linalg.inv(self.ijk_to_ras)

    @property
    def spacing(self) -> np.ndarray:
        """(3,) voxel size along i, j, k in mm."""
        return np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0)

    @property
    def size(self) -> np.ndarray:
        """(3,) number of voxels along i, j, k."""
        return np.array(self.shape[::-1])

    @property
    def centre(self) -> np.ndarray:
        """(3,) RAS mm of the centre of the grid."""
        return apply_affine(self.ijk_to_ras, (self.size - 1) / 2.0)

    def corners(self) -> np.ndarray:
        """(8, 3) RAS mm of the outer corners (voxel edges, not centres)."""
        last = self.size - 0.5
        ijk = np.array([[x, y, z] for x in (-0.5, last[0]) for y in (-0.5, last[1]) for z in (-0.5, last[2])])
        return apply_affine(self.ijk_to_ras, ijk)

    def depth_mm(self, points: np.ndarray) -> np.ndarray:
        """(n,) depth in mm of RAS points (n, 3) inside the box of the voxels; negative beyond it."""
        ijk = apply_affine(self.ras_to_ijk, points)
        low = (ijk + 0.5) * self.spacing
        high = (self.size - 0.5 - ijk) * self.spacing
        return np.minimum(low, high).min(axis=1)

    def window(self, start: tuple[int, int, int], shape: tuple[int, int, int]) -> Grid:
        """Sub-grid of `shape` (K, J, I) whose first voxel is (i, j, k) = `start` of this grid."""
        matrix = self.ijk_to_ras.copy()
        matrix[:3, 3] = apply_affine(self.ijk_to_ras, np.asarray(start, float))
        return Grid(shape, matrix)

    def transformed(self, transform: np.ndarray) -> Grid:
        """The same grid carried along by a (4, 4) RAS-to-RAS transform."""
        return Grid(self.shape, transform @ self.ijk_to_ras)


def axis_aligned_grid(centre: np.ndarray, spacing: np.ndarray, shape: tuple[int, int, int]) -> Grid:
    """Grid with i, j, k along R, A, S, centred at `centre` (RAS mm), `spacing` (3,) in mm, `shape` (K, J, I)."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag(spacing)
    matrix[:3, 3] = np.asarray(centre, float) - np.asarray(spacing, float) * (np.array(shape[::-1]) - 1) / 2.0
    return Grid(shape, matrix)


class Sides(str, Enum):
    """What a file says of left and right: RECORDED, nothing (UNRECORDED), or two things that mirror each other."""

    RECORDED = "recorded"
    UNRECORDED = "unrecorded"
    CONTRADICTORY = "contradictory"


@dataclass(frozen=True)
class Volume:
    """A scan: `voxels` [k, j, i] and `ijk_to_ras` (4, 4, RAS mm); `name` never holds patient data."""

    voxels: np.ndarray
    ijk_to_ras: np.ndarray
    name: str = "scan"
    modality: Modality | None = None
    warnings: tuple[str, ...] = ()
    sides: Sides = Sides.RECORDED

    @cached_property
    def grid(self) -> Grid:
        """Geometry of the voxels."""
        return Grid((self.voxels.shape[0], self.voxels.shape[1], self.voxels.shape[2]), self.ijk_to_ras)


def apply_affine(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply a (4, 4) affine matrix to points (..., 3)."""
    return np.asarray(points, float) @ matrix[:3, :3].T + matrix[:3, 3]


def validated(volume: Volume) -> Volume:
    """Check that a volume can be used: 3-D, real, finite, neither empty nor constant, with a sane geometry.

    A fourth axis of length one is dropped and up to 1 % of values that are not numbers are replaced by the
    minimum, with a sentence in the returned volume's `warnings`; the given volume is not changed.
    Raises VolumeError with one sentence otherwise.
    """
    voxels = _single_grey_image(np.asarray(volume.voxels), volume.name)
    matrix = np.asarray(volume.ijk_to_ras, float)
    _check_geometry(matrix, voxels.shape, volume.name)
    voxels, warnings = _finite(voxels, volume.name)
    if voxels.min() == voxels.max():
        raise VolumeError(f"'{volume.name}' has the same value everywhere; give a scan with an image in it.")
    return replace(volume, voxels=voxels, ijk_to_ras=matrix, warnings=(*volume.warnings, *warnings))


def _single_grey_image(voxels: np.ndarray, name: str) -> np.ndarray:
    if voxels.dtype.kind == "c":
        raise VolumeError(f"'{name}' holds complex numbers; export the magnitude image.")
    if voxels.dtype.kind not in "biuf":
        raise VolumeError(f"'{name}' holds {voxels.dtype} values instead of grey values; give a single grey scan.")
    if voxels.ndim == 4 and voxels.shape[-1] in (3, 4) and voxels.dtype == np.uint8 and voxels.shape[0] > 1:
        raise VolumeError(f"'{name}' is a colour image; give a single grey scan.")
    if voxels.ndim == 4 and 1 in (voxels.shape[0], voxels.shape[-1]):
        voxels = voxels[0] if voxels.shape[0] == 1 else voxels[..., 0]
    if voxels.ndim == 4:
        raise VolumeError(f"'{name}' holds {voxels.shape[0]} time points; export one of them as a 3-D scan.")
    if voxels.ndim != 3:
        raise VolumeError(f"'{name}' has {voxels.ndim} dimensions; give a single 3-D scan.")
    if voxels.size == 0:
        raise VolumeError(f"'{name}' holds no voxels; export the scan again.")
    if min(voxels.shape) < FEWEST_VOXELS:
        raise VolumeError(
            f"'{name}' has only {min(voxels.shape)} voxels along one axis, at least {FEWEST_VOXELS} are needed; "
            "give a 3-D scan, not a single slice."
        )
    return voxels.astype(np.uint8) if voxels.dtype.kind == "b" else voxels


def _check_geometry(matrix: np.ndarray, shape: tuple[int, ...], name: str) -> None:
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or not np.allclose(matrix[3], (0, 0, 0, 1)):
        raise VolumeError(f"'{name}' has damaged axes (not a finite 4 x 4 matrix); export the scan again.")
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    if (spacing == 0).any():
        raise VolumeError(f"'{name}' has a voxel size of zero; export the scan again from the original images.")
    if spacing.min() < FINEST_MM or spacing.max() > COARSEST_MM:
        hint = ""
        for factor, unit in ((1000.0, "metres"), (0.001, "micrometres")):
            if spacing.min() * factor >= FINEST_MM and spacing.max() * factor <= COARSEST_MM:
                hint = f" (it looks like {unit} instead of millimetres)"
        sizes = " x ".join(f"{size:g}" for size in spacing)
        raise VolumeError(
            f"'{name}' has voxels of {sizes} mm{hint}; between {FINEST_MM:g} and {COARSEST_MM:g} mm are allowed, "
            "so correct the voxel size and try again."
        )
    axes = matrix[:3, :3] / spacing
    if abs(np.linalg.det(axes)) < 0.5 or np.abs(axes.T @ axes - np.eye(3)).max() > MOST_SHEAR:
        raise VolumeError(f"'{name}' has sheared axes; resample it onto a grid with right angles first.")
    extent = spacing * np.array(shape[::-1])
    if extent.min() < SMALLEST_EXTENT_MM or extent.max() > LARGEST_EXTENT_MM:
        sizes = " x ".join(f"{size:.0f}" for size in extent)
        raise VolumeError(
            f"'{name}' measures {sizes} mm; a scan of the head of {SMALLEST_EXTENT_MM:g} to {LARGEST_EXTENT_MM:g} mm "
            "along every axis is needed, so check the voxel size or crop the scan."
        )
    if extent.prod() > LARGEST_FIELD_MM3:
        litres = extent.prod() / 1e6
        raise VolumeError(
            f"'{name}' covers {litres:.0f} litres; check the voxel size, or crop the scan around the head."
        )
    away = np.abs(matrix[:3, 3]).max()
    if away > FARTHEST_MM:
        raise VolumeError(f"'{name}' lies {away / 1e3:.0f} m from the origin; correct its origin.")


def _finite(voxels: np.ndarray, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Voxels with the few values that are NaN or infinite replaced by the minimum."""
    if voxels.dtype.kind != "f":
        return voxels, ()
    finite = np.isfinite(voxels)
    bad = voxels.size - int(np.count_nonzero(finite))
    if bad == 0:
        return voxels, ()
    share = 100.0 * bad / voxels.size
    if share > MOST_NOT_A_NUMBER_PERCENT:
        raise VolumeError(
            f"{share:.1f} % of the values of '{name}' are not numbers (NaN or infinite); "
            "replace them by the background value and try again."
        )
    warning = f"{bad} values were not numbers (NaN or infinite); they were replaced by the minimum."
    return np.where(finite, voxels, voxels[finite].min()), (warning,)
