"""Landmark coordinates <-> Gaussian heatmaps; everything in millimetres, centres between voxels allowed."""

from __future__ import annotations

import numpy as np
import torch

from ..core.volume import Grid, apply_affine

MOST_VOXELS = 1.5
"""So far from the voxel of the maximum, at most, lies the peak along each axis."""
WINDOW_SHARE = 0.5
"""Width of the window of sub-voxel decoding over that of the target heatmaps (chosen on phantoms of seed 7200)."""


def encode(
    points: np.ndarray, grid: Grid, sigma_mm: float | np.ndarray, device: torch.device | None = None
) -> torch.Tensor:
    """Heatmaps exp(-|x - x_i|^2 / (2 sigma^2)) of landmarks on a grid (Tan et al. 2023, section 2.1).

    `points` (n, 3) RAS mm in the world of `grid`; NaN rows (absent landmarks) give an empty heatmap.
    `sigma_mm` is one number or one per landmark. Returns float32 (n, K, J, I) with values in [0, 1]; the
    axes of the grid must be orthogonal.
    """
    points = np.asarray(points, float)
    sigma = np.broadcast_to(np.asarray(sigma_mm, float), (len(points),))
    centre = apply_affine(grid.ras_to_ijk, np.nan_to_num(points, nan=1e6))
    profiles = []
    for axis in range(3):
        position = np.arange(grid.size[axis])[None, :]
        distance = (position - centre[:, axis, None]) * grid.spacing[axis] / sigma[:, None]
        profiles.append(torch.from_numpy(np.exp(-0.5 * np.minimum(distance * distance, 1e4))).to(device, torch.float32))
    along_i, along_j, along_k = profiles
    return along_k[:, :, None, None] * along_j[:, None, :, None] * along_i[:, None, None, :]


def decode_argmax(heatmaps: torch.Tensor, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Position of the voxel of the maximum, as in the paper.

    `heatmaps` (n, K, J, I). Returns RAS mm (n, 3) and the peak values (n,).
    """
    ijk, peak = highest_voxels(heatmaps)
    return apply_affine(grid.ijk_to_ras, ijk), peak


def decode_subvoxel(
    heatmaps: torch.Tensor, grid: Grid, sigma_mm: float, start: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Sub-voxel position: Gaussian-weighted centroid round the maximum, iterated until it rests.

    The window is half as wide as the target heatmaps (`sigma_mm`), but no less than a voxel: predicted peaks are often
    skewed, and a wider one follows their flanks. For a noise-free Gaussian the estimate is unbiased. `heatmaps`
    (n, K, J, I). `start` (n, 3) RAS mm are voxels to start from (inside the grid) instead of the maxima.
    Returns RAS mm (n, 3) and the peak values (n,). A map that is flat or negative there keeps the start.
    """
    voxel, peak = highest_voxels(heatmaps)
    if start is not None:
        voxel = np.rint(apply_affine(grid.ras_to_ijk, start))
    ijk = np.array(
        [subvoxel_position(heatmap, grid, sigma_mm, first) for heatmap, first in zip(heatmaps, voxel, strict=True)]
    )
    return apply_affine(grid.ijk_to_ras, ijk.reshape(-1, 3)), peak


def subvoxel_position(heatmap: torch.Tensor, grid: Grid, sigma_mm: float, voxel: np.ndarray) -> np.ndarray:
    """(3,) fractional (i, j, k) of the peak at a `voxel` (3,) of a heatmap (K, J, I); see `decode_subvoxel`."""
    window_mm = np.maximum(WINDOW_SHARE * sigma_mm, grid.spacing)
    reach = np.maximum(1, np.ceil(3.0 * window_mm / grid.spacing) + 1).astype(int)
    first = np.maximum(0, voxel.astype(int) - reach)
    last = np.minimum(grid.size, voxel.astype(int) + reach + 1)
    patch = heatmap[first[2] : last[2], first[1] : last[1], first[0] : last[0]]
    values = patch.detach().cpu().to(torch.float64).clamp_min(0.0).numpy()
    if values.max() <= 0.0:
        return voxel
    axes = [np.arange(first[axis], last[axis]) for axis in range(3)]
    return _windowed_centroid(values, axes, voxel, grid.spacing, window_mm)


def decode_parabola(heatmaps: torch.Tensor, grid: Grid, start: np.ndarray) -> np.ndarray:
    """Sub-voxel positions by a parabola through the voxel and its neighbours along every axis (Payer et al. 2019).

    With the values p_a, p_b, p_c along an axis the maximum lies 0.5 (p_a - p_c) / (p_a - 2 p_b + p_c) voxels from b.
    `heatmaps` (n, K, J, I); `start` (n, 3) RAS mm are the voxels b, inside the grid. Returns RAS mm (n, 3); an axis
    along which b is no maximum, or has one neighbour only, keeps it.
    """
    voxels = np.rint(apply_affine(grid.ras_to_ijk, start)).astype(int)
    ijk = voxels.astype(float)
    for channel, voxel in enumerate(voxels):
        for axis in range(3):
            if not 0 < voxel[axis] < grid.size[axis] - 1:
                continue
            line = [voxel + step * np.eye(3, dtype=int)[axis] for step in (-1, 0, 1)]
            before, here, after = (float(heatmaps[channel, k, j, i]) for i, j, k in line)
            bend = before - 2.0 * here + after
            if bend < 0.0 and here >= max(before, after):
                ijk[channel, axis] += 0.5 * (before - after) / bend
    return apply_affine(grid.ijk_to_ras, ijk)


def _windowed_centroid(
    values: np.ndarray, axes: list[np.ndarray], start: np.ndarray, spacing: np.ndarray, window_mm: np.ndarray
) -> np.ndarray:
    """Mean-shift with a Gaussian window; steps are doubled, since the window holds each one back."""
    centre = start.copy()
    for _ in range(40):
        windows = [np.exp(-0.5 * ((axes[a] - centre[a]) * spacing[a] / window_mm[a]) ** 2) for a in range(3)]
        weights = values * windows[2][:, None, None] * windows[1][None, :, None] * windows[0][None, None, :]
        total = weights.sum()
        if total <= 0.0:
            return start
        mean = np.array(
            [
                (weights.sum(axis=(0, 1)) * axes[0]).sum(),
                (weights.sum(axis=(0, 2)) * axes[1]).sum(),
                (weights.sum(axis=(1, 2)) * axes[2]).sum(),
            ]
        )
        step = 2.0 * (mean / total - centre)
        before, centre = centre, np.clip(centre + step, start - MOST_VOXELS, start + MOST_VOXELS)
        if np.abs(step).max() < 1e-3 or (centre == before).all():
            break
    return centre


def highest_voxels(heatmaps: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Index (n, 3) as (i, j, k) floats and value (n,) of the maximum of every channel of (n, K, J, I)."""
    shape = heatmaps.shape[1:]
    peak, flat = heatmaps.flatten(1).max(dim=1)
    index = flat.cpu().numpy()
    k, j, i = np.unravel_index(index, (shape[0], shape[1], shape[2]))
    return np.stack([i, j, k], axis=1).astype(float), peak.detach().float().cpu().numpy()
