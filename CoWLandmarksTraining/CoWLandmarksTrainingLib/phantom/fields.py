"""Smooth random fields and separable blurs in torch, reproducible from a generator."""

from __future__ import annotations

import numpy as np
import torch
from CoWLandmarksLib.core.volume import Grid
from torch.nn import functional


def smooth_noise(grid: Grid, scale_mm: float, generator: torch.Generator) -> torch.Tensor:
    """Smooth field [k, j, i] of about unit variance whose details are `scale_mm` wide."""
    extent = grid.size * grid.spacing
    nodes = [max(2, int(np.ceil(length / scale_mm)) + 1) for length in extent[::-1]]
    noise = torch.randn((1, 1, *nodes), generator=generator, device=generator.device)
    field = functional.interpolate(noise, size=grid.shape, mode="trilinear", align_corners=True)[0, 0]
    return field * 1.6


def gaussian_blur(image: torch.Tensor, sigma_voxels: float | tuple[float, float, float]) -> torch.Tensor:
    """Gaussian blur of an image [k, j, i]; `sigma_voxels` one number or (k, j, i); borders are replicated."""
    sigmas = (sigma_voxels,) * 3 if isinstance(sigma_voxels, (int, float)) else sigma_voxels
    for axis, sigma in enumerate(sigmas):
        if sigma < 0.05:
            continue
        radius = max(1, int(np.ceil(2.5 * sigma)))
        weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
        weights /= weights.sum()
        length = image.shape[axis]
        before = image.narrow(axis, 0, 1).expand(*(radius if a == axis else -1 for a in range(3)))
        after = image.narrow(axis, length - 1, 1).expand(*(radius if a == axis else -1 for a in range(3)))
        padded = torch.cat([before, image, after], dim=axis)
        blurred = padded.narrow(axis, 0, length) * float(weights[0])
        for tap in range(1, 2 * radius + 1):
            blurred.add_(padded.narrow(axis, tap, length), alpha=float(weights[tap]))
        image = blurred
    return image
