"""The SpatialConfiguration-Net: local heatmaps times heatmaps of where they lie to each other (Payer et al. 2019).

C. Payer, D. Stern, H. Bischof, M. Urschler: Integrating spatial configuration into heatmap regression based CNNs for
landmark localization, Medical Image Analysis 54. Written from the paper's description. It differs in one layer: the
spatial heatmaps are upsampled trilinearly, where the original does so cubically.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional

from ..core.errors import ModelError
from .generator import sound_autocast

GAMMA = 1000.0
"""Height of the target heatmaps of a standard deviation of 1 / sqrt(2 pi) voxels."""
FIRST_SIGMA = 4.0
"""Standard deviation of the target heatmaps in voxels, before it is learnt."""
_SLOPE, _DROPOUT, _HEAD_SD = 0.1, 0.5, 0.001
_TRUNCATED_SD = 0.87962566103423978
"""Standard deviation of a standard normal distribution that is cut off at two."""


@dataclass(frozen=True)
class SpatialConfigurationConfig:
    """Size of a SpatialConfiguration-Net; the defaults are the paper's, 5.0 million weights for 19 landmarks.

    `width` is the number of channels of every level; `pool` how much coarser the spatial heatmaps are.
    """

    method: ClassVar[str] = "payer"
    in_channels: int = 1
    out_channels: int = 19
    width: int = 64
    levels: int = 4
    pool: int = 4

    @property
    def multiple(self) -> int:
        """Every side of the input must be a multiple of this."""
        return math.lcm(2 ** (self.levels - 1), self.pool)

    @property
    def largest_width(self) -> int:
        """Most channels of a layer."""
        return self.width

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as stored in a model file."""
        return asdict(self)

    def build(self) -> SpatialConfigurationNet:
        """The network, with random weights."""
        return SpatialConfigurationNet(self)


class SpatialConfigurationNet(nn.Module):
    """(B, in, K, J, I) -> heatmaps (B, n, K, J, I); K, J and I must be multiples of `config.multiple`.

    In training it gives (heatmaps, `sigmas` as (B, n)), the heatmaps as in the paper: GAMMA / (sqrt(2 pi) sigma)^3 high
    where a landmark is sure. In evaluation it gives heatmaps over that height, so that 1 is sure for every landmark.
    `sigmas` (n,) are the widths of the targets in voxels, learnt like weights.
    """

    def __init__(self, config: SpatialConfigurationConfig) -> None:
        super().__init__()
        self.config = config
        width, landmarks = config.width, config.out_channels
        self.stem = _convolution(config.in_channels, width)
        self.contracting = nn.ModuleList(
            nn.Sequential(_convolution(width, width), nn.Dropout(_DROPOUT), _convolution(width, width))
            for _ in range(config.levels)
        )
        self.skips = nn.ModuleList(_convolution(width, width) for _ in range(config.levels))
        self.local_head = nn.Conv3d(width, landmarks, 3, padding=1)
        self.spatial = nn.Sequential(
            _convolution(landmarks, width, 7), _convolution(width, width, 7), _convolution(width, width, 7)
        )
        self.spatial_head = nn.Conv3d(width, landmarks, 7, padding=3)
        self.sigmas = nn.Parameter(torch.full((landmarks,), FIRST_SIGMA))
        for head in (self.local_head, self.spatial_head):
            _draw_truncated(head, _HEAD_SD)

    @property
    def multiple(self) -> int:
        """Every side of the input must be a multiple of this."""
        return self.config.multiple

    def forward(self, image: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Heatmaps, and in training the widths of their targets. Raises ModelError for sides that do not fit."""
        local, spatial = self.parts(image)
        heatmaps = local * spatial
        if self.training:
            return heatmaps, self.sigmas.expand(len(image), -1)
        return heatmaps / target_height(self.sigmas)[:, None, None, None]

    def parts(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Local and spatial heatmaps, each (B, n, K, J, I); their product is the output."""
        if any(side % self.multiple for side in image.shape[2:]):
            raise ModelError(f"The network needs sides that are multiples of {self.multiple}, not {image.shape[2:]}.")
        with sound_autocast(image.device, max(2, image.shape[2] // 2 ** (self.config.levels - 1))):
            features = self._appearance(image)
            local = _read(self.local_head, features)
            coarse = self.spatial(functional.avg_pool3d(local, self.config.pool))
            spatial = torch.tanh(_read(self.spatial_head, coarse))
        upsampled = functional.interpolate(spatial, scale_factor=float(self.config.pool), mode="trilinear")
        return local, upsampled

    def _appearance(self, image: torch.Tensor) -> torch.Tensor:
        """Features (B, width, K, J, I) of the local appearance."""
        x = self.stem(image)
        skips = []
        for level, (contract, skip) in enumerate(zip(self.contracting, self.skips, strict=True)):
            x = contract(x if level == 0 else functional.avg_pool3d(x, 2))
            skips.append(skip(x))
        x = skips.pop()
        while skips:
            x = functional.interpolate(x, scale_factor=2.0, mode="trilinear") + skips.pop()
        return x


def target_height(sigmas: torch.Tensor) -> torch.Tensor:
    """GAMMA / (sqrt(2 pi) sigma)^3, the height of target heatmaps of widths (...) in voxels."""
    return GAMMA / (math.sqrt(2.0 * math.pi) * sigmas) ** 3


def _convolution(in_channels: int, out_channels: int, side: int = 3) -> nn.Sequential:
    """A convolution with weights as of He et al. 2015, truncated, and its LeakyReLU."""
    layer = nn.Conv3d(in_channels, out_channels, side, padding=side // 2)
    _draw_truncated(layer, math.sqrt(2.0 / (in_channels * side**3)) / _TRUNCATED_SD)
    return nn.Sequential(layer, nn.LeakyReLU(_SLOPE, inplace=True))


def _draw_truncated(layer: nn.Conv3d, sd: float) -> None:
    nn.init.trunc_normal_(layer.weight, std=sd, a=-2.0 * sd, b=2.0 * sd)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)


def _read(head: nn.Module, features: torch.Tensor) -> torch.Tensor:
    with torch.autocast(features.device.type, enabled=False):  # bf16 would let neighbouring peaks tie
        read: torch.Tensor = head(features.float())
    return read
