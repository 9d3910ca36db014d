"""The circle step: the whole circle at 1 mm in the reference frame, read at once by one network.

It stands between the coarse step, which knows the field of view, and the fine one, which sees single windows: which of
two divisions is the first, and which of two vessels is which, shows only in the whole.
"""

from __future__ import annotations

import numpy as np

from ..core.alignment import CIRCLE_SHAPE, CIRCLE_SPACING_MM, REFERENCE_CENTRE_MM
from ..core.volume import Grid, apply_affine, axis_aligned_grid
from ..networks.generator import HeatmapReader
from ..networks.heatmap import decode_subvoxel
from ..networks.network_image import NetworkImage
from .coarse import RoughLandmarks, pool_for_localizer


def circle_grid(centre: np.ndarray = REFERENCE_CENTRE_MM) -> Grid:
    """Voxels that the circle network reads: 96 x 80 x 80 (R, A, S) of 1 mm about `centre` (3,) mm."""
    return axis_aligned_grid(np.asarray(centre, float), np.full(3, CIRCLE_SPACING_MM), CIRCLE_SHAPE)


def halved(grid: Grid) -> Grid:
    """The grid over the same voxels with half their sides, which `pool_for_localizer` takes back to `grid`."""
    k, j, i = grid.shape
    return axis_aligned_grid(grid.centre, grid.spacing / 2.0, (2 * k, 2 * j, 2 * i))


def read_circle(
    read: HeatmapReader, image: NetworkImage, ras_to_reference: np.ndarray, centre: np.ndarray, sigma_mm: float
) -> RoughLandmarks:
    """Landmarks of a scan that is aligned by `ras_to_reference` (4, 4); `centre` (3,) mm of the reference grid."""
    grid = circle_grid(centre)
    fine = halved(grid)
    to_scan = np.linalg.inv(ras_to_reference)
    pooled, _ = pool_for_localizer(image.sampled(fine.transformed(to_scan)), fine)
    positions, peaks = decode_subvoxel(read(pooled[None])[0], grid, sigma_mm)
    return RoughLandmarks(apply_affine(to_scan, positions), peaks)
