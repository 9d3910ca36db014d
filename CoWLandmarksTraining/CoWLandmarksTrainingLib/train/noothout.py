"""Noothout et al. 2020 as a method: blocks that hold a landmark or point to it, in the whole crop and near each one.

Against the original: both are trained at once, on the whole crop instead of random parts of it, with the same schedule
of rates (theirs has warm restarts for the local networks, whose weights and gradients have nothing to do with the
global one's). Images are averaged over whole voxels to come near their resolution instead of resampled to it. Absent
landmarks are not part of the method: here they count in no term, and the largest weight of a block of the whole
crop says how present a landmark is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from CoWLandmarksLib.core.volume import Grid
from CoWLandmarksLib.networks.global_to_local import (
    GLOBAL_BLOCK,
    LOCAL_BLOCK,
    SUB_IMAGE,
    BlockMaps,
    GlobalToLocalConfig,
    GlobalToLocalNetwork,
    block_centres,
    decode_points,
    log_displacement,
    pooled_places,
)
from torch.nn import functional

from .batches import Batch
from .methods import Outputs, begun, voxel_targets

GLOBAL_SPACING_MM, LOCAL_SPACING_MM = 1.5, 1.0
"""Voxel sizes that pooled images come near to; the former is the paper's."""


def pooling(spacing: tuple[float, float, float], spacing_mm: float) -> tuple[int, int, int]:
    """Voxels (K, J, I) of size `spacing` (R, A, S) mm to average, for about `spacing_mm`; never none."""
    r, a, s = (max(1, round(spacing_mm / size)) for size in spacing)
    return s, a, r


@dataclass(frozen=True)
class BlockRegression:
    """Classes and displacements of blocks, learnt by cross-entropy and absolute errors of logarithms.

    `shape` (K, J, I) and `spacing` (3,) mm (R, A, S) of the whole crop.
    """

    config: GlobalToLocalConfig
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]

    @property
    def heatmaps(self) -> bool:
        """There are none."""
        return False

    def network(self, seed: int, weights: Mapping[str, torch.Tensor] | None = None) -> GlobalToLocalNetwork:
        """A global network and a local one for each landmark, in single precision."""
        torch.manual_seed(seed)
        network = GlobalToLocalNetwork(self.config)
        begun(network, weights)
        return network

    def optimiser(self, network: torch.nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        """Adam with the largest second moments so far (AMSGrad), as in the paper."""
        return torch.optim.Adam(network.parameters(), lr=learning_rate, amsgrad=True)

    def inputs(self, batch: Batch) -> torch.Tensor:
        """The image."""
        return batch.image

    def training_inputs(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        """The image, and first voxels (B, n, 3) of sub-images that hold the landmarks, at random."""
        targets = self.targets(batch.landmarks)
        middle = 0.5 * (torch.tensor(self.shape[::-1], device=targets.device) - 1.0)
        places = torch.where(targets[..., 3:] > 0, targets[..., :3], middle)
        before = torch.randint(SUB_IMAGE, places.shape).to(places.device)
        return batch.image, pooled_places(places, self.config.local_pool).round().long() - before

    def targets(self, landmarks: torch.Tensor) -> torch.Tensor:
        """(B, n, 4) landmarks in voxels, and whether there is one."""
        return voxel_targets(landmarks, self.spacing)

    def errors(self, outputs: Outputs, targets: torch.Tensor, alpha: float) -> torch.Tensor:
        """Errors of the whole image, its classes weighted by the number of landmarks, and of the sub-images.

        Zero for absent landmarks; `alpha` belongs to another method.
        """
        maps = BlockMaps(*outputs)
        places = targets[..., :3]
        whole = pooled_places(places, self.config.global_pool)
        near = pooled_places(places, self.config.local_pool) - maps.starts
        weight = float(self.config.out_channels)
        errors = block_errors(maps.classes, maps.displacements, whole, GLOBAL_BLOCK, weight)
        errors = errors + block_errors(maps.local_classes, maps.local_displacements, near, LOCAL_BLOCK, 1.0)
        return errors * targets[..., 3]

    def decode(
        self, outputs: torch.Tensor, grid: Grid, expected: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """What the network says, with the largest weight of a block as score; `expected` is not used."""
        return decode_points(outputs, grid)


def block_errors(
    classes: torch.Tensor, displacements: torch.Tensor, places: torch.Tensor, side: int, class_weight: float
) -> torch.Tensor:
    """(B, n): absolute errors of displacements, and cross-entropy of classes times `class_weight`, means over blocks.

    `classes` (B, n, k, j, i) logits and `displacements` (B, n, 3, k, j, i) of blocks of `side`^3 voxels; `places`
    (B, n, 3) true landmarks in voxels (i, j, k). The class of the block that holds one is 1.
    """
    away = places[..., None, None, None] - block_centres(classes.shape[2:], side, classes.device)
    holds = ((away >= -side / 2.0) & (away < side / 2.0)).all(dim=2).to(classes.dtype)
    distances = (displacements - log_displacement(away)).abs().mean(dim=(2, 3, 4, 5))
    entropy = functional.binary_cross_entropy_with_logits(classes, holds, reduction="none").mean(dim=(2, 3, 4))
    return distances + class_weight * entropy
