"""How landmarks are learnt: the small interface of a method, and the one that ships, heatmaps of a residual U-Net.

Methods to compare it with: `payer.py` and `noothout.py`.

A method is everything about a stage that is not its data: network, targets, loss and decoder. The trainer, the samples
and the checkpoints know no more of it than `Method`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from CoWLandmarksLib.core.volume import Grid
from CoWLandmarksLib.detect.fine import DECODING_SLACK_MM
from CoWLandmarksLib.networks.generator import Generator, GeneratorConfig
from CoWLandmarksLib.networks.heatmap import decode_argmax, decode_subvoxel, encode

from .batches import Batch
from .losses import weighted_errors

Outputs = torch.Tensor | tuple[torch.Tensor, ...]
"""What a network gives in training; the first axis of every tensor is that of the samples."""
RATE_FACTOR = "rate_factor"
"""In a parameter group: its learning rate over that of the trainer."""


class Method(Protocol):
    """One way to learn landmarks on the grid of a stage; all tensors are on the device of the batch."""

    @property
    def heatmaps(self) -> bool:
        """Whether the output is a stack of heatmaps, one channel a landmark, which a discriminator can judge."""

    def network(self, seed: int, weights: Mapping[str, torch.Tensor] | None = None) -> torch.nn.Module:
        """The network with the weights given, or with random ones that depend on the seed alone."""

    def optimiser(self, network: torch.nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        """What a trainer, which sets the rate at every step, moves the network's weights with."""

    def inputs(self, batch: Batch) -> torch.Tensor:
        """(B, C, K, J, I): what the network reads."""

    def training_inputs(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        """What the network reads in training: `inputs`, and what else follows from landmarks that are known.

        What is random in it, as in the network, is drawn from torch's own stream, which the trainer sets for each step.
        """

    def targets(self, landmarks: torch.Tensor) -> torch.Tensor:
        """What the network should give for landmarks (B, n, 3) mm from the first voxel, NaN where there is none."""

    def errors(self, outputs: Outputs, targets: torch.Tensor, alpha: float) -> torch.Tensor:
        """(B, n): the loss of every landmark, not yet masked; `alpha` is the base of the weight of Eq. 2."""

    def decode(
        self, outputs: torch.Tensor, grid: Grid, expected: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Positions (n, 3) RAS mm on `grid` and scores (n,) of one sample of what the network in evaluation gives.

        `expected` (n, 3) RAS mm: where the stages before expect the landmarks, if that is known.
        """


def method_loss(
    method: Method,
    outputs: Outputs,
    targets: torch.Tensor,
    alpha: float,
    mask: torch.Tensor,
    channels: torch.Tensor | float,
) -> torch.Tensor:
    """Mean over samples and landmarks of a method's errors; `mask` (B, n), `channels` is the number to divide by."""
    masked = method.errors(outputs, targets, alpha) * mask
    return masked.sum() / torch.as_tensor(channels).clamp_min(1.0)


def begun(network: torch.nn.Module, weights: Mapping[str, torch.Tensor] | None) -> None:
    """Give a network the weights that it begins with, in single precision; None leaves it as it is."""
    if weights is not None:
        network.load_state_dict({name: value.to(torch.float32) for name, value in weights.items()})


def voxel_targets(landmarks: torch.Tensor, spacing: tuple[float, float, float]) -> torch.Tensor:
    """(B, n, 4): landmarks (B, n, 3) mm from the first voxel in voxels (i, j, k), and 1 where there is one, else 0."""
    there = landmarks.isfinite().all(dim=-1, keepdim=True)
    voxels = landmarks / torch.tensor(spacing, dtype=landmarks.dtype, device=landmarks.device)
    return torch.cat([torch.where(there, voxels, 0.0), there.to(voxels.dtype)], dim=-1)


def as_float(outputs: Outputs) -> Outputs:
    """Outputs in single precision."""
    return outputs.float() if isinstance(outputs, torch.Tensor) else tuple(value.float() for value in outputs)


def detached(outputs: Outputs) -> Outputs:
    """Outputs without their gradients."""
    return outputs.detach() if isinstance(outputs, torch.Tensor) else tuple(value.detach() for value in outputs)


@dataclass(frozen=True)
class HeatmapRegression:
    """Tan et al. 2023: targets exp(-|x - x_i|^2 / (2 sigma^2)), the weighted L2 of Eq. 2, the maximum as position.

    `shape` (K, J, I) and `spacing` (3,) mm (R, A, S) of the grid; `prior_sigma_mm` None: it does not read
    where the landmarks are expected. `subvoxel` False: targets are centred on voxels, and so is the decoding.
    """

    config: GeneratorConfig
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    sigma_mm: float
    prior_sigma_mm: float | None = None
    subvoxel: bool = True

    @property
    def heatmaps(self) -> bool:
        """They are."""
        return True

    def network(self, seed: int, weights: Mapping[str, torch.Tensor] | None = None) -> Generator:
        """A residual U-Net in single precision."""
        torch.manual_seed(seed)
        generator = Generator(self.config)
        begun(generator, weights)
        return generator

    def optimiser(self, network: torch.nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        """Adam, as in the paper."""
        return torch.optim.Adam(network.parameters(), lr=learning_rate)

    def inputs(self, batch: Batch) -> torch.Tensor:
        """The image, and prior heatmaps where there are some."""
        if self.prior_sigma_mm is None or batch.expected is None:
            return batch.image
        return torch.cat([batch.image, self.gaussians(batch.expected, self.prior_sigma_mm)], dim=1)

    def training_inputs(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        """The same in training."""
        return (self.inputs(batch),)

    def targets(self, landmarks: torch.Tensor) -> torch.Tensor:
        """(B, n, K, J, I) in [0, 1]; empty where there is no landmark."""
        if not self.subvoxel:
            spacing = torch.tensor(self.spacing, dtype=landmarks.dtype, device=landmarks.device)
            landmarks = (landmarks / spacing).round() * spacing
        return self.gaussians(landmarks, self.sigma_mm)

    def gaussians(self, points: torch.Tensor, sigma_mm: float) -> torch.Tensor:
        """(B, n, K, J, I) Gaussians of width `sigma_mm` at points (B, n, 3) mm from the first voxel; NaN: empty."""
        known = torch.nan_to_num(points, nan=1e6)
        profiles = []
        for axis, size in enumerate(self.shape[::-1]):
            position = torch.arange(size, dtype=torch.float64, device=points.device) * self.spacing[axis]
            distance = (position - known[..., axis, None].double()) / sigma_mm
            profiles.append(torch.exp(-0.5 * (distance * distance).clamp_max(1e4)).float())
        along_i, along_j, along_k = profiles
        return along_k[..., :, None, None] * along_j[..., None, :, None] * along_i[..., None, None, :]

    def errors(self, outputs: Outputs, targets: torch.Tensor, alpha: float) -> torch.Tensor:
        """alpha^H (H - G)^2 averaged over the voxels (Eq. 2)."""
        assert isinstance(outputs, torch.Tensor)
        return weighted_errors(outputs, targets, alpha)

    def decode(
        self, outputs: torch.Tensor, grid: Grid, expected: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Between voxels where the targets are, else the voxel of the maximum, as in the paper.

        A maximum far from where a landmark is expected counts less.
        """
        guided = outputs
        if expected is not None:
            guided = outputs * encode(expected, grid, DECODING_SLACK_MM, outputs.device)
        voxels, peaks = decode_argmax(guided, grid)
        return decode_subvoxel(outputs, grid, self.sigma_mm, voxels)[0] if self.subvoxel else voxels, peaks
