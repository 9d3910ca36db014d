"""The highest peaks of each heatmap: candidates for the position of a landmark that has look-alikes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..core.volume import Grid, apply_affine
from .heatmap import MOST_VOXELS, subvoxel_position


@dataclass(frozen=True)
class HeatmapPeaks:
    """Candidates for n landmarks, up to `count` each, the highest first.

    `positions` (n, count, 3) RAS mm in the world of the grid, NaN where a heatmap has fewer peaks; `heights` (n, count)
    values at the voxels of the maxima, 0 where there is none.
    """

    positions: np.ndarray
    heights: np.ndarray


def heatmap_peaks(
    heatmaps: torch.Tensor,
    grid: Grid,
    sigma_mm: float,
    *,
    count: int = 6,
    apart_mm: float = 4.0,
    unweighted: torch.Tensor | None = None,
) -> HeatmapPeaks:
    """The `count` highest local maxima of each heatmap, their sub-voxel positions at least `apart_mm` from each other.

    A local maximum is a positive voxel that none of its 26 neighbours exceeds. `heatmaps` (n, K, J, I) on `grid`;
    `sigma_mm` is the width of the target heatmaps, as for `decode_subvoxel`, which gives the same position for the
    highest one. Of two peaks that are too close the higher one is kept. `unweighted` (n, K, J, I): the heatmaps before
    they were weighted by a prior, in which the sub-voxel positions are then read.
    """
    values = heatmaps.detach().float()
    read = heatmaps if unweighted is None else unweighted
    maximum = local_maxima(values)
    reach = float(np.linalg.norm(MOST_VOXELS * grid.spacing))
    positions, heights = np.full((len(values), count, 3), np.nan), np.zeros((len(values), count))
    for channel in range(len(values)):
        voxels = torch.nonzero(maximum[channel])
        height = values[channel][tuple(voxels.T)]
        order = torch.sort(height, descending=True, stable=True).indices
        left, tops = voxels[order].flip(1).cpu().numpy().astype(float), height[order].cpu().numpy()
        places, found = apply_affine(grid.ijk_to_ras, left), 0
        while len(left) and found < count:
            position = apply_affine(grid.ijk_to_ras, subvoxel_position(read[channel], grid, sigma_mm, left[0]))
            free = np.ones(len(left), bool)
            free[0] = False
            if (np.linalg.norm(positions[channel, :found] - position, axis=1) >= apart_mm).all():
                positions[channel, found], heights[channel, found] = position, tops[0]
                found += 1
                free &= np.linalg.norm(places - position, axis=1) >= apart_mm - reach  # wherever in its voxel it lies
            left, tops, places = left[free], tops[free], places[free]
    return HeatmapPeaks(positions, heights)


def local_maxima(values: torch.Tensor) -> torch.Tensor:
    """(..., K, J, I) booleans: positive voxels that none of their 26 neighbours exceeds."""
    highest = values
    for dim in (-3, -2, -1):  # ten times faster than torch's max_pool3d on a CPU
        last = values.shape[dim] - 1
        around = highest.clone()
        if last > 0:
            before, after = highest.narrow(dim, 0, last), highest.narrow(dim, 1, last)
            around.narrow(dim, 0, last).copy_(torch.maximum(around.narrow(dim, 0, last), after))
            around.narrow(dim, 1, last).copy_(torch.maximum(around.narrow(dim, 1, last), before))
        highest = around
    return (highest == values) & (values > 0.0)
