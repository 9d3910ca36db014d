"""Positions read from heatmaps so that a gradient flows back into them."""

from __future__ import annotations

import torch


def soft_argmax(heatmaps: torch.Tensor, sharpness: float) -> torch.Tensor:
    """(B, n, 3) fractional (i, j, k) of landmarks from heatmaps (B, n, K, J, I); differentiable.

    The centroid of the heatmap's positive part raised to `sharpness`, so that a faint floor over many voxels does not
    outweigh the peak. A heatmap without a positive value gives the first voxel, without gradient.
    """
    precision = torch.promote_types(heatmaps.dtype, torch.float32)
    weight = heatmaps.to(precision).clamp_min(0.0) ** sharpness
    total = weight.sum(dim=(2, 3, 4)).clamp_min(1e-12)
    centres = []
    for dim in (4, 3, 2):
        others = [d for d in (2, 3, 4) if d != dim]
        position = torch.arange(heatmaps.shape[dim], device=heatmaps.device, dtype=precision)
        centres.append((weight.sum(dim=others) * position).sum(dim=2) / total)
    return torch.stack(centres, dim=2)
