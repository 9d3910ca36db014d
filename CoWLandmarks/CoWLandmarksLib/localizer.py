"""The coarse step: find all landmarks roughly in any field of view, and from them the reference frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from .generator import HeatmapReader
from .heatmap import decode_subvoxel
from .volume import Grid, apply_affine, axis_aligned_grid, resample

SAMPLING_SPACING_MM = 1.0
POOLED_SPACING_MM = 2.0
WINDOW = (48, 64, 64)
_STRIDE = (32, 40, 40)


@dataclass(frozen=True)
class CoarseLandmarks:
    """`positions` (n, 3) RAS mm of the scan; `peaks` (n,) height of the heatmap's maximum."""

    positions: np.ndarray
    peaks: np.ndarray


def pool_for_localizer(image: torch.Tensor, grid: Grid) -> tuple[torch.Tensor, Grid]:
    """Mean and maximum over blocks of 2 x 2 x 2 voxels: [k, j, i] -> [2, k/2, j/2, i/2] and its grid.

    The maximum keeps thin vessels that the mean loses. Odd sides lose their last voxel.
    """
    mean = functional.avg_pool3d(image[None, None], 2)[0]
    maximum = functional.max_pool3d(image[None, None], 2)[0]
    matrix = grid.ijk_to_ras.copy()
    matrix[:3, 3] = apply_affine(matrix, np.full(3, 0.5))
    matrix[:3, :3] *= 2.0
    shape = mean.shape[1:]
    return torch.cat([mean, maximum]), Grid((int(shape[0]), int(shape[1]), int(shape[2])), matrix)


def field_of_view_grid(grid: Grid) -> Grid:
    """1 mm grid along R, A, S that covers a scan, its sides even."""
    corners = grid.corners()
    low, high = corners.min(axis=0), corners.max(axis=0)
    size = 2 * np.ceil((high - low) / (2.0 * SAMPLING_SPACING_MM)).astype(int)
    return axis_aligned_grid(
        (low + high) / 2.0, np.full(3, SAMPLING_SPACING_MM), (int(size[2]), int(size[1]), int(size[0]))
    )


def crop_or_pad(image: torch.Tensor, start: np.ndarray, shape: tuple[int, int, int], fill: float) -> torch.Tensor:
    """Window [c, *shape] of `image` [c, k, j, i] whose first voxel is (k, j, i) = `start`, filled outside."""
    out = image.new_full((image.shape[0], *shape), fill)
    source, target = [], []
    for axis in range(3):
        first, last = max(0, int(start[axis])), min(image.shape[axis + 1], int(start[axis]) + shape[axis])
        if last <= first:
            return out
        source.append(slice(first, last))
        target.append(slice(first - int(start[axis]), last - int(start[axis])))
    out[:, target[0], target[1], target[2]] = image[:, source[0], source[1], source[2]]
    return out


def localise(
    read: HeatmapReader, voxels: torch.Tensor, grid: Grid, sigma_mm: float, fill: float = 0.0
) -> CoarseLandmarks:
    """Rough landmarks of a scan.

    `voxels` [k, j, i] in network units on `grid`. Windows over the whole field of view are searched first;
    then one window is centred on the circle found and read again.
    """
    fov = field_of_view_grid(grid)
    pooled, pooled_grid = pool_for_localizer(resample(voxels, grid, fov, padding=fill), fov)
    starts = _tile_starts(pooled_grid.shape)
    best: CoarseLandmarks | None = None
    for start in starts:
        found = _read_window(read, pooled, pooled_grid, start, sigma_mm, fill)
        if best is None or found.peaks.sum() > best.peaks.sum():
            best = found
    assert best is not None
    if len(starts) > 1:
        for _ in range(2):
            best = _recentred(read, pooled, pooled_grid, best, sigma_mm, fill)
    return best


def _recentred(
    read: HeatmapReader, pooled: torch.Tensor, grid: Grid, found: CoarseLandmarks, sigma_mm: float, fill: float
) -> CoarseLandmarks:
    """Read the window centred on the (weighted median of the) landmarks found so far."""
    order = np.argsort(found.peaks)[::-1][: max(3, len(found.peaks) * 2 // 3)]
    centre = apply_affine(grid.ras_to_ijk, np.median(found.positions[order], axis=0))[::-1]
    start = np.rint(centre).astype(int) - np.array(WINDOW) // 2
    again = _read_window(read, pooled, grid, start, sigma_mm, fill)
    return again if again.peaks.sum() > 0.9 * found.peaks.sum() else found


def _read_window(
    read: HeatmapReader, pooled: torch.Tensor, grid: Grid, start: np.ndarray, sigma_mm: float, fill: float
) -> CoarseLandmarks:
    window = crop_or_pad(pooled, start, WINDOW, fill)
    heatmaps = read(window[None])[0]
    positions, peaks = decode_subvoxel(
        heatmaps, grid.window((int(start[2]), int(start[1]), int(start[0])), WINDOW), sigma_mm
    )
    return CoarseLandmarks(positions, peaks)


def _tile_starts(shape: tuple[int, int, int]) -> list[np.ndarray]:
    """First voxels (k, j, i) of overlapping windows that cover the field; a small field has one, centred."""
    axes = []
    for side, window, stride in zip(shape, WINDOW, _STRIDE, strict=True):
        if side <= window:
            axes.append([(side - window) // 2])
        else:
            count = int(np.ceil((side - window) / stride)) + 1
            axes.append([int(v) for v in np.rint(np.linspace(0, side - window, count))])
    return [np.array([k, j, i]) for k in axes[0] for j in axes[1] for i in axes[2]]
