"""The coarse step: find all landmarks roughly in any field of view, and from them the reference frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from ..core.volume import Grid, apply_affine, axis_aligned_grid
from ..networks.generator import HeatmapReader
from ..networks.heatmap import decode_subvoxel
from ..networks.network_image import NetworkImage

SAMPLING_SPACING_MM = 1.0
POOLED_SPACING_MM = 2.0
WINDOW = (48, 64, 64)
_STRIDE = (32, 40, 40)
_SLAB = 32
_CANDIDATES = 3
_SAME_PLACE_MM = 15.0
_VESSEL_LEVEL = 0.3
_FEWEST_BRIGHT = 60


@dataclass(frozen=True)
class RoughLandmarks:
    """What the networks before the last find: `positions` (n, 3) RAS mm of the scan; `peaks` (n,) height of the
    heatmap's maximum."""

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


def localise(search: HeatmapReader, read: HeatmapReader, image: NetworkImage, sigma_mm: float) -> RoughLandmarks:
    """Rough landmarks of a scan.

    Windows over the whole field of view are looked through with `search`; the most promising places are then read
    with `read`, each window centred on the circle found there, and the best reading is kept. A field of a single
    window is read at once.
    """
    pooled, grid = pooled_field_of_view(image)
    fill = image.padding
    starts = _tile_starts(grid.shape)
    if len(starts) == 1:
        return _read_window(read, pooled, grid, starts[0], sigma_mm, fill)
    found = [
        _read_window(search, pooled, grid, start, sigma_mm, fill) for start in starts if _shows_something(pooled, start)
    ] or [_read_window(search, pooled, grid, starts[0], sigma_mm, fill)]
    found.sort(key=lambda reading: -reading.peaks.sum())
    best: RoughLandmarks | None = None
    seen: list[np.ndarray] = []
    for candidate in found:
        if len(seen) == _CANDIDATES:
            break
        centre = _centre_of(candidate)
        if any(np.linalg.norm(centre - other) < _SAME_PLACE_MM for other in seen):
            continue
        seen.append(centre)
        again = _centred(read, pooled, grid, _centred(search, pooled, grid, candidate, sigma_mm, fill), sigma_mm, fill)
        if best is None or again.peaks.sum() > best.peaks.sum():
            best = again
    assert best is not None
    return best


def read_aligned(
    read: HeatmapReader, image: NetworkImage, ras_to_reference: np.ndarray, centre: np.ndarray, sigma_mm: float
) -> RoughLandmarks:
    """Read one window with the head turned as in the reference frame and the circle's `centre` (3,) mm in the middle.

    `ras_to_reference` (4, 4) similarity, whose scale is left out: the network knows heads of all sizes. Positions
    come back in RAS mm of the scan.
    """
    to_scan = np.linalg.inv(ras_to_reference)
    middle = apply_affine(to_scan, centre)
    to_scan[:3, :3] /= np.cbrt(np.linalg.det(to_scan[:3, :3]))
    to_scan[:3, 3] = middle
    shape = (2 * WINDOW[0], 2 * WINDOW[1], 2 * WINDOW[2])
    upright = axis_aligned_grid(np.zeros(3), np.full(3, SAMPLING_SPACING_MM), shape)
    pooled, grid = pool_for_localizer(image.sampled(upright.transformed(to_scan)), upright)
    found = _read_window(read, pooled, grid, np.zeros(3, int), sigma_mm, image.padding)
    return RoughLandmarks(apply_affine(to_scan, found.positions), found.peaks)


def pooled_field_of_view(image: NetworkImage) -> tuple[torch.Tensor, Grid]:
    """Mean and maximum over 2 mm blocks of the whole scan, made slab by slab, and their grid."""
    fov = field_of_view_grid(image.grid)
    slabs = []
    for first in range(0, fov.shape[0], _SLAB):
        rows = min(_SLAB, fov.shape[0] - first)
        slab = fov.window((0, 0, first), (rows, *fov.shape[1:]))
        slabs.append(pool_for_localizer(image.sampled(slab), slab))
    pooled = slabs[0][0] if len(slabs) == 1 else torch.cat([part for part, _ in slabs], dim=1)
    shape = pooled.shape[1:]
    return pooled, Grid((int(shape[0]), int(shape[1]), int(shape[2])), slabs[0][1].ijk_to_ras)


def _shows_something(pooled: torch.Tensor, start: np.ndarray) -> bool:
    """Whether a window holds enough that is as bright as vessels; air and empty background do not."""
    bright = crop_or_pad(pooled[1:], start, WINDOW, 0.0) > _VESSEL_LEVEL
    return int(bright.sum()) >= _FEWEST_BRIGHT


def _centre_of(found: RoughLandmarks) -> np.ndarray:
    """(3,) RAS mm: median of the two thirds of the landmarks with the highest peaks."""
    order = np.argsort(-found.peaks, kind="stable")[: max(3, len(found.peaks) * 2 // 3)]
    return np.median(found.positions[order], axis=0)


def _centred(
    read: HeatmapReader, pooled: torch.Tensor, grid: Grid, found: RoughLandmarks, sigma_mm: float, fill: float
) -> RoughLandmarks:
    """Read the window centred on the landmarks found so far."""
    centre = apply_affine(grid.ras_to_ijk, _centre_of(found))[::-1]
    start = np.rint(centre).astype(int) - np.array(WINDOW) // 2
    again = _read_window(read, pooled, grid, start, sigma_mm, fill)
    return again if again.peaks.sum() > 0.9 * found.peaks.sum() else found


def _read_window(
    read: HeatmapReader, pooled: torch.Tensor, grid: Grid, start: np.ndarray, sigma_mm: float, fill: float
) -> RoughLandmarks:
    window = crop_or_pad(pooled, start, WINDOW, fill)
    heatmaps = read(window[None])[0]
    positions, peaks = decode_subvoxel(
        heatmaps, grid.window((int(start[2]), int(start[1]), int(start[0])), WINDOW), sigma_mm
    )
    return RoughLandmarks(positions, peaks)


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
