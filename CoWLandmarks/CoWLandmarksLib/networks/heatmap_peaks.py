"""The highest peaks of each heatmap: candidates for the position of a landmark that has look-alikes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from ..core.volume import Grid, apply_affine
from .heatmap import subvoxel_position


@dataclass(frozen=True)
class HeatmapPeaks:
    """Candidates for n landmarks, up to `count` each, the highest first.

    `positions` (n, count, 3) RAS mm in the world of the grid, NaN where a heatmap has fewer peaks; `heights` (n, count)
    values at the voxels of the maxima, 0 where there is none.
    """

    positions: np.ndarray
    heights: np.ndarray


def heatmap_peaks(
    heatmaps: torch.Tensor, grid: Grid, sigma_mm: float, *, count: int = 6, apart_mm: float = 4.0
) -> HeatmapPeaks:
    """The `count` highest local maxima of each heatmap, their sub-voxel positions at least `apart_mm` from each other.

    A local maximum is a positive voxel that none of its 26 neighbours exceeds. `heatmaps` (n, K, J, I) on `grid`;
    `sigma_mm` is the width of the target heatmaps, as for `decode_subvoxel`, which gives the same position for the
    highest one. Of two peaks that are too close the higher one is kept.
    """
    values = heatmaps.detach().float()
    maximum = (functional.max_pool3d(values[None], 3, stride=1, padding=1)[0] == values) & (values > 0.0)
    positions, heights = np.full((len(values), count, 3), np.nan), np.zeros((len(values), count))
    for channel in range(len(values)):
        voxels = torch.nonzero(maximum[channel])
        height = values[channel][tuple(voxels.T)]
        order = torch.sort(height, descending=True, stable=True).indices
        voxels, height = voxels[order].flip(1).cpu(), height[order].cpu()
        found = 0
        for voxel, value in zip(voxels.numpy().astype(float), height.tolist(), strict=True):
            position = apply_affine(grid.ijk_to_ras, subvoxel_position(heatmaps[channel], grid, sigma_mm, voxel))
            if (np.linalg.norm(positions[channel, :found] - position, axis=1) >= apart_mm).all():
                positions[channel, found], heights[channel, found] = position, value
                found += 1
            if found == count:
                break
    return HeatmapPeaks(positions, heights)
