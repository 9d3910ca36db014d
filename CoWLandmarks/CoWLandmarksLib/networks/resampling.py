"""Sampling a scan on another grid."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from ..core.volume import Grid, apply_affine


def resample(voxels: torch.Tensor, source: Grid, target: Grid, padding: float | None = None) -> torch.Tensor:
    """Sample `voxels` [k, j, i] (or [c, k, j, i]) of grid `source` at the voxels of `target`, trilinearly.

    Where the source is at least twice as fine as the target it is first averaged over whole blocks, so that
    thin vessels are not skipped. Beyond the source the value is `padding` (None: the nearest voxel's value).
    Returns a float32 tensor of the shape of `target` on the device of `voxels`.
    """
    image = voxels if voxels.ndim == 4 else voxels[None]
    factors = averaging_factors(source, target)
    image, source = _cropped(image, source, target, factors)
    image, matrix = _averaged_down(image, source, factors)
    # Positions need float64, which Apple's GPU lacks.
    device = torch.device("cpu") if image.device.type == "mps" else image.device
    to_source = torch.from_numpy(np.linalg.inv(matrix) @ target.ijk_to_ras).to(device, torch.float64)
    size = torch.tensor(image.shape[:0:-1], dtype=torch.float64, device=device)
    sampled = torch.empty((image.shape[0], *target.shape), dtype=torch.float32, device=image.device)
    fill = 0.0 if padding is None else padding
    image = image.to(torch.float32)
    shifted = (image - fill if fill else image)[None]
    # A position is a sum of one part for each axis; adding three vectors is far cheaper than a product of matrices.
    scaled = 2.0 * to_source[:3] / size[:, None]
    offset = scaled[:, 3] + 1.0 / size - 1.0
    k, j, i = (torch.arange(n, dtype=torch.float64, device=device) for n in target.shape)
    along_i, along_j = scaled[:, 0, None] * i, scaled[:, 1, None] * j
    step = max(1, 2_000_000 // (target.shape[1] * target.shape[2]))
    for first in range(0, target.shape[0], step):
        rows = k[first : first + step]
        start = (scaled[:, 2, None] * rows + offset[:, None])[:, :, None] + along_j[:, None]
        position = torch.empty((len(rows), *target.shape[1:], 3), dtype=torch.float32, device=device)
        for axis in range(3):
            position[..., axis] = start[axis, ..., None] + along_i[axis]
        block = functional.grid_sample(
            shifted,
            position[None].to(image.device),
            mode="bilinear",
            padding_mode="border" if padding is None else "zeros",
            align_corners=False,
        )
        sampled[:, first : first + len(rows)] = block[0] + fill
    return sampled if voxels.ndim == 4 else sampled[0]


def averaging_factors(source: Grid, target: Grid) -> np.ndarray:
    """(3,) source voxels along i, j, k that are averaged before `target` is sampled; 1 where they are coarse enough."""
    factors = np.maximum(1, np.floor(float(target.spacing.min()) / source.spacing + 1e-6)).astype(int)
    return np.minimum(factors, source.size)


def needed_part(source: Grid, target: Grid, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and end voxel (i, j, k) of the part of `source` that sampling `target` needs, in whole averaging blocks."""
    ijk = apply_affine(source.ras_to_ijk, target.corners())
    blocks = -(-source.size // factors)
    first = np.clip(np.floor(ijk.min(axis=0) / factors).astype(int) - 2, 0, blocks - 1)
    last = np.clip(np.ceil(ijk.max(axis=0) / factors).astype(int) + 3, first + 1, blocks)
    return first * factors, np.minimum(last * factors, source.size)


def _cropped(image: torch.Tensor, source: Grid, target: Grid, factors: np.ndarray) -> tuple[torch.Tensor, Grid]:
    """The part of `image` [c, k, j, i] that `target` needs, cut at whole averaging blocks, and its grid."""
    low, high = needed_part(source, target, factors)
    part = source.window(
        (int(low[0]), int(low[1]), int(low[2])),
        (int(high[2] - low[2]), int(high[1] - low[1]), int(high[0] - low[0])),
    )
    return image[:, low[2] : high[2], low[1] : high[1], low[0] : high[0]], part


def _averaged_down(image: torch.Tensor, source: Grid, factors: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
    """Average over blocks of `factors` (i, j, k) voxels; returns the image and its ijk_to_ras.

    The last voxel is repeated until whole blocks fit, so that every block lies where it says.
    """
    matrix = source.ijk_to_ras.copy()
    if (factors > 1).any():
        kernel = [int(f) for f in factors[::-1]]
        image = image.to(torch.float32)[None]
        missing = [int(n) for n in -source.size % factors]
        if any(missing):
            image = functional.pad(image, (0, missing[0], 0, missing[1], 0, missing[2]), mode="replicate")
        image = functional.avg_pool3d(image, kernel)[0]
        matrix[:3, 3] = apply_affine(source.ijk_to_ras, (factors - 1) / 2.0)
        matrix[:3, :3] = source.ijk_to_ras[:3, :3] * factors
    return image, matrix
