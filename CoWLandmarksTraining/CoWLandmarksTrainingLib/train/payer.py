"""Payer et al. 2019 as a method: SpatialConfiguration-Net with targets whose widths are learnt as well.

Against the original: Adam instead of stochastic gradient descent, whose rate of 5e-8 fits the sum of all squares in
single samples and needs 40 000 steps; the widths move at SIGMA_RATE times the rate of the weights, as far in a step as
they do there; upsampling of the spatial heatmaps is trilinear. Loss and regularisation are the paper's, all divided by
the number of landmarks, which Adam does not feel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from CoWLandmarksLib.core.volume import Grid
from CoWLandmarksLib.networks.heatmap import decode_argmax, decode_parabola
from CoWLandmarksLib.networks.spatial_configuration import (
    SpatialConfigurationConfig,
    SpatialConfigurationNet,
    target_height,
)

from .batches import Batch
from .methods import RATE_FACTOR, Outputs, begun, voxel_targets

SIGMA_WEIGHT = 100.0
"""alpha of the paper: what wide targets cost."""
WEIGHT_DECAY = 5e-4
"""lambda of the paper: what long weights cost, beside the sum of all landmarks' losses."""
SIGMA_RATE = 20.0
"""Learning rate of the widths over that of the weights."""


@dataclass(frozen=True)
class SpatialConfigurationRegression:
    """Heatmaps of Gaussians of learnt widths, in sums of squares; `spacing` (3,) mm (R, A, S) of the whole crop."""

    config: SpatialConfigurationConfig
    spacing: tuple[float, float, float]

    @property
    def heatmaps(self) -> bool:
        """They come with their widths, and no discriminator knows what to do with these."""
        return False

    def network(self, seed: int, weights: Mapping[str, torch.Tensor] | None = None) -> SpatialConfigurationNet:
        """A SpatialConfiguration-Net in single precision."""
        torch.manual_seed(seed)
        network = SpatialConfigurationNet(self.config)
        begun(network, weights)
        return network

    def optimiser(self, network: torch.nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        """Adam; kernels decay, biases and widths do not."""
        named = dict(network.named_parameters())
        sigmas = named.pop("sigmas")
        kernels = [value for value in named.values() if value.ndim > 1]
        biases = [value for value in named.values() if value.ndim == 1]
        groups: list[dict[str, Any]] = [
            {"params": kernels, "weight_decay": WEIGHT_DECAY / self.config.out_channels},
            {"params": biases},
            {"params": [sigmas], RATE_FACTOR: SIGMA_RATE},
        ]
        return torch.optim.Adam(groups, lr=learning_rate)

    def inputs(self, batch: Batch) -> torch.Tensor:
        """The image."""
        return batch.image

    def training_inputs(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        """The image."""
        return (batch.image,)

    def targets(self, landmarks: torch.Tensor) -> torch.Tensor:
        """(B, n, 4) landmarks in voxels, and whether there is one; Gaussians need the widths that the network has."""
        return voxel_targets(landmarks, self.spacing)

    def errors(self, outputs: Outputs, targets: torch.Tensor, alpha: float) -> torch.Tensor:
        """Half the sum over the voxels of (h - g)^2, and SIGMA_WEIGHT / 2 sigma^2 of landmarks that are there.

        `outputs` are heatmaps h (B, n, K, J, I) and widths sigma (B, n); a landmark that is absent has an empty g.
        `alpha` belongs to another method.
        """
        heatmaps, sigmas = outputs
        there = targets[..., 3]
        wanted = gaussian_targets(targets, sigmas, heatmaps.shape[2:])
        squares = (heatmaps - wanted).square().sum(dim=(2, 3, 4))
        return 0.5 * squares + 0.5 * SIGMA_WEIGHT * (sigmas * there) ** 2

    def decode(
        self, outputs: torch.Tensor, grid: Grid, expected: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Parabolas through the maximum; scores are heights over that of the target. `expected` is not used."""
        voxels, peaks = decode_argmax(outputs, grid)
        return decode_parabola(outputs, grid, voxels), peaks


def gaussian_targets(targets: torch.Tensor, sigmas: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """(B, n, K, J, I): gamma / (sqrt(2 pi) sigma)^3 exp(-|x - x_i|^2 / (2 sigma^2)), zero for absent landmarks.

    `targets` (B, n, 4) x_i in voxels (i, j, k) and whether there is one; `sigmas` (B, n) in voxels; gradients flow into
    these.
    """
    profiles = []
    for axis, size in enumerate(tuple(shape)[::-1]):
        distance = torch.arange(size, device=targets.device) - targets[..., axis, None]
        profiles.append(torch.exp(-0.5 * (distance / sigmas[..., None]) ** 2))
    along_i, along_j, along_k = profiles
    high = (targets[..., 3] * target_height(sigmas))[..., None] * along_k
    return high[..., None, None] * along_j[..., None, :, None] * along_i[..., None, None, :]
