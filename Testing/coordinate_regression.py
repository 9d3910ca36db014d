"""A method without heatmaps: a small network that gives coordinates, to show that the trainer can hold one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from CoWLandmarksLib.core.volume import Grid
from CoWLandmarksTrainingLib.train.batches import Batch
from CoWLandmarksTrainingLib.train.methods import Outputs
from torch import nn


class CoordinateNetwork(nn.Module):
    """(B, C, K, J, I) -> (B, n, 3)."""

    def __init__(self, channels: int, landmarks: int, width: int = 8) -> None:
        super().__init__()
        self.landmarks = landmarks
        self.features = nn.Sequential(
            nn.Conv3d(channels, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv3d(width, width, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Linear(width * 27, 3 * landmarks)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Coordinates in mm from the first voxel."""
        pooled = nn.functional.adaptive_avg_pool3d(self.features(image), 3).flatten(1)
        return self.head(pooled).reshape(len(image), self.landmarks, 3)


@dataclass(frozen=True)
class CoordinateRegression:
    """Coordinates in mm from the first voxel, learnt by their squared errors."""

    channels: int
    landmarks: int

    @property
    def heatmaps(self) -> bool:
        """There are none."""
        return False

    def network(self, seed: int, weights: Mapping[str, torch.Tensor] | None = None) -> CoordinateNetwork:
        """A small convolutional network."""
        torch.manual_seed(seed)
        network = CoordinateNetwork(self.channels, self.landmarks)
        if weights is not None:
            network.load_state_dict(dict(weights))
        return network

    def optimiser(self, network: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(network.parameters(), lr=learning_rate)

    def inputs(self, batch: Batch) -> torch.Tensor:
        """The image alone."""
        return batch.image

    def training_inputs(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        """The image alone."""
        return (batch.image,)

    def targets(self, landmarks: torch.Tensor) -> torch.Tensor:
        """The landmarks themselves, and whether there is one in a fourth number."""
        there = landmarks.isfinite().all(dim=-1, keepdim=True)
        return torch.cat([torch.nan_to_num(landmarks), there.to(landmarks.dtype)], dim=-1)

    def errors(self, outputs: Outputs, targets: torch.Tensor, alpha: float) -> torch.Tensor:
        """Squared distances in mm^2 of the landmarks that are there; `alpha` belongs to heatmaps."""
        assert isinstance(outputs, torch.Tensor)
        return ((outputs - targets[..., :3]) ** 2).sum(dim=-1) * targets[..., 3]

    def decode(
        self, outputs: torch.Tensor, grid: Grid, expected: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """What the network says; it knows of no doubt."""
        return outputs.cpu().numpy().astype(float) + grid.ijk_to_ras[:3, 3], np.ones(len(outputs))
