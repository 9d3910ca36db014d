"""Landmarks by blocks that point to them, first in the whole image, then near each landmark (Noothout et al. 2020).

J. M. H. Noothout et al.: Deep learning-based regression and classification for automatic landmark localization in
medical images, IEEE Transactions on Medical Imaging 39. Written from the paper's description. Every block of voxels
says whether it holds a landmark, and how far away that lies; the landmark is the mean of what all blocks say, weighted
by the former. Absent landmarks are not part of the method; the largest weight of a block serves as their sign.

Points are (i, j, k) in voxels; positions within an image have whole numbers at the centres of voxels.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..core.errors import ModelError
from ..core.volume import Grid, apply_affine
from .generator import sound_autocast

GLOBAL_BLOCK, LOCAL_BLOCK = 8, 2
"""Voxels along a side of a block."""
SUB_IMAGE = 16
"""Voxels along a side of what a local network reads."""
_LARGEST_LOG = 4.0
"""Displacements are never longer than 10^4 voxels; networks without training would give infinite ones."""


@dataclass(frozen=True)
class GlobalToLocalConfig:
    """Size of the networks; the defaults are the paper's, 16.1 million weights and 0.27 million for each landmark.

    `base_width` channels are doubled with each of the four stages of `blocks` residual blocks; `global_pool` and
    `local_pool` (K, J, I) voxels are averaged before the global network and the local ones read an image.
    """

    method: ClassVar[str] = "noothout"
    in_channels: int = 1
    out_channels: int = 19
    base_width: int = 16
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    global_pool: tuple[int, int, int] = (1, 1, 1)
    local_pool: tuple[int, int, int] = (1, 1, 1)

    @property
    def levels(self) -> int:
        """Levels of resolution, each with half the sides of the one before."""
        return 4

    @property
    def multiple(self) -> int:
        """Sides of the input are free: what is missing to whole blocks is zero."""
        return 1

    @property
    def largest_width(self) -> int:
        """Most channels of a layer, or blocks of a stage, or voxels that are averaged."""
        return max(self.base_width * 2**4, *self.blocks, *self.global_pool, *self.local_pool)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as stored in a model file."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def build(self) -> GlobalToLocalNetwork:
        """The networks, with random weights."""
        return GlobalToLocalNetwork(self)


class BlockMaps(NamedTuple):
    """What the networks say in training: of the whole image, and of a sub-image for each landmark.

    `classes` (B, n, k, j, i) logits of the blocks that hold a landmark; `displacements` (B, n, 3, k, j, i) from the
    centre of a block to the landmark along i, j, k, as `log_displacement` has them, in voxels of the pooled image;
    `local_classes` and `local_displacements` the same for the sub-images, which begin at the voxels `starts` (B, n, 3)
    of the image as pooled for them.
    """

    classes: torch.Tensor
    displacements: torch.Tensor
    local_classes: torch.Tensor
    local_displacements: torch.Tensor
    starts: torch.Tensor


class GlobalToLocalNetwork(nn.Module):
    """(B, in, K, J, I) -> (B, n, 4): landmarks in voxels of the image, and the largest weight of a block, in [0, 1].

    That is in evaluation. In training it takes `starts` as well, and gives BlockMaps.
    """

    def __init__(self, config: GlobalToLocalConfig) -> None:
        super().__init__()
        self.config = config
        landmarks = config.out_channels
        self.whole = GlobalBlockNetwork(config.in_channels, landmarks, config.base_width, config.blocks)
        self.near = nn.ModuleList(
            LocalBlockNetwork(config.in_channels, 2 * config.base_width) for _ in range(landmarks)
        )

    @property
    def multiple(self) -> int:
        """Sides of the input are free."""
        return self.config.multiple

    def forward(self, image: torch.Tensor, starts: torch.Tensor | None = None) -> torch.Tensor | BlockMaps:
        """BlockMaps in training, else landmarks. Raises ModelError where `starts` are missing in training."""
        if not self.training:
            return self.landmarks(image)
        if starts is None:
            raise ModelError("In training the network needs to know where sub-images begin.")
        classes, displacements = self.read_whole(image)
        return BlockMaps(classes, displacements, *self.read_near(image, starts), starts)

    def landmarks(self, image: torch.Tensor) -> torch.Tensor:
        """(B, n, 4): places in voxels (i, j, k) of `image`, and the largest weight of a block of the whole image."""
        classes, displacements = self.read_whole(image)
        weights = torch.sigmoid(classes)
        centres = block_centres(weights.shape[2:], GLOBAL_BLOCK, image.device)
        rough = _unpooled(weighted_average(weights, displacements, centres), self.config.global_pool)
        starts = self.centred_starts(rough, image.shape[2:])
        local_classes, local_displacements = self.read_near(image, starts)
        local_weights = torch.sigmoid(local_classes)
        local_centres = block_centres(local_weights.shape[2:], LOCAL_BLOCK, image.device)
        within = weighted_average(local_weights, local_displacements, local_centres)
        places = _unpooled(within + starts, self.config.local_pool)
        return torch.cat([places, weights.flatten(2).amax(dim=2)[..., None]], dim=2)

    def centred_starts(self, places: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        """(B, n, 3) first voxels of the sub-images about `places` (B, n, 3), in voxels of an image of `shape`."""
        last = torch.tensor(tuple(shape)[::-1], dtype=places.dtype, device=places.device) - 1.0
        inside = torch.minimum(places.clamp_min(0.0), last)
        return (pooled_places(inside, self.config.local_pool) - (SUB_IMAGE - 1) / 2.0).round().long()

    def read_whole(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Classes (B, n, k, j, i) and displacements (B, n, 3, k, j, i) of the blocks of a whole image."""
        pooled = _pooled(image, self.config.global_pool, GLOBAL_BLOCK)
        with sound_autocast(image.device, max(2, pooled.shape[2] // GLOBAL_BLOCK)):
            classes, displacements = self.whole(pooled)
        return classes, displacements.unflatten(1, (-1, 3))

    def read_near(self, image: torch.Tensor, starts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Classes (B, n, 8, 8, 8) and displacements (B, n, 3, 8, 8, 8) of the sub-images at `starts` (B, n, 3)."""
        parts = sub_images(_pooled(image, self.config.local_pool, 1), starts)
        read = [network(parts[:, n]) for n, network in enumerate(self.near)]
        return torch.cat([classes for classes, _ in read], dim=1), torch.stack([d for _, d in read], dim=1)


class GlobalBlockNetwork(nn.Module):
    """(B, in, K, J, I), sides multiples of 8 -> class logits (B, n, k, j, i), displacements (B, 3 n, k, j, i)."""

    def __init__(self, in_channels: int, landmarks: int, base_width: int, blocks: tuple[int, int, int, int]) -> None:
        super().__init__()
        width = base_width
        layers: list[nn.Module] = [*_normalised(nn.Conv3d(in_channels, width, 7, stride=2, padding=3, bias=False))]
        for stage, count in enumerate(blocks):
            if stage < 2:
                layers += [nn.AvgPool3d(2), nn.BatchNorm3d(width), nn.ReLU(inplace=True)]
            for _ in range(count):
                layers.append(ShortcutBlock(width, base_width * 2 ** (stage + 1)))
                width = base_width * 2 ** (stage + 1)
        self.features = nn.Sequential(*layers)
        self.classes, self.displacements = _head(width, landmarks), _head(width, 3 * landmarks)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Classes and displacements of every block of 8 x 8 x 8 voxels, float32."""
        return _read(self, self.features(image))


class LocalBlockNetwork(nn.Module):
    """(B, in, K, J, I), sides even -> class logits (B, 1, k, j, i), displacements (B, 3, k, j, i) of one landmark."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before in (in_channels, width, width, width):
            layers += _normalised(nn.Conv3d(before, width, 3, padding=1, bias=False))
        layers.append(nn.AvgPool3d(2))
        for before in (width, 2 * width):
            layers += _normalised(nn.Conv3d(before, 2 * width, 3, padding=1, bias=False))
        self.features = nn.Sequential(*layers)
        self.classes, self.displacements = _head(2 * width, 1), _head(2 * width, 3)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Classes and displacements of every block of 2 x 2 x 2 voxels, float32."""
        return _read(self, self.features(image))


class ShortcutBlock(nn.Module):
    """Two normalised convolutions, each with its ReLU, and a shortcut; nothing after the sum."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_normalised(nn.Conv3d(in_channels, out_channels, 3, padding=1, bias=False)),
            *_normalised(nn.Conv3d(out_channels, out_channels, 3, padding=1, bias=False)),
        )
        self.shortcut = nn.Identity() if in_channels == out_channels else nn.Conv3d(in_channels, out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in, K, J, I) -> (B, out, K, J, I)."""
        summed: torch.Tensor = self.layers(x) + self.shortcut(x)
        return summed


def log_displacement(voxels: torch.Tensor) -> torch.Tensor:
    """sign(d) log10(|d| + 1) of displacements d in voxels, which the networks learn."""
    return torch.sign(voxels) * torch.log10(voxels.abs() + 1.0)


def displacement(logarithms: torch.Tensor) -> torch.Tensor:
    """Inverse of `log_displacement`, in voxels."""
    return torch.sign(logarithms) * (10.0 ** logarithms.abs().clamp_max(_LARGEST_LOG) - 1.0)


def block_centres(shape: torch.Size, side: int, device: torch.device) -> torch.Tensor:
    """(3, k, j, i): centres (i, j, k) in voxels of the blocks of `side`^3 voxels in an image of `shape` blocks."""
    axes = [side * torch.arange(count, device=device) + (side - 1) / 2.0 for count in shape]
    along_k, along_j, along_i = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([along_i, along_j, along_k])


def weighted_average(weights: torch.Tensor, displacements: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    """(B, n, 3): sum_b c_b (centre_b + d_b) / sum_b c_b over all blocks b, in voxels.

    `weights` c (B, n, k, j, i) in [0, 1]; `displacements` (B, n, 3, k, j, i) as the networks give them, `centres`
    (3, k, j, i).
    """
    pointed = (centres + displacement(displacements)).flatten(3)
    shares = weights.flatten(2)[:, :, None].clamp_min(1e-12)  # none at all: all blocks alike
    return (shares * pointed).sum(dim=3) / shares.sum(dim=3)


def pooled_places(places: torch.Tensor, pool: tuple[int, int, int]) -> torch.Tensor:
    """Places (..., 3) (i, j, k) in voxels of an image, in those of the image averaged over `pool` (K, J, I) voxels."""
    sides = torch.tensor(pool[::-1], dtype=places.dtype, device=places.device)
    return (places - (sides - 1.0) / 2.0) / sides


def sub_images(image: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
    """Cubes of SUB_IMAGE voxels of `image` (B, C, K, J, I) from voxels `starts` (B, n, 3) on: (B, n, C, 16, 16, 16).

    Beyond the image they are zero.
    """
    padded = functional.pad(image, (SUB_IMAGE,) * 6)
    sizes = torch.tensor(tuple(image.shape[2:])[::-1], device=starts.device)
    first = torch.minimum(starts.clamp_min(-SUB_IMAGE), sizes) + SUB_IMAGE
    i, j, k = (first[..., axis, None] + torch.arange(SUB_IMAGE, device=starts.device) for axis in range(3))
    sample = torch.arange(len(image), device=starts.device)[:, None, None, None, None]
    cubes = padded.movedim(1, -1)[sample, k[..., None, None], j[..., None, :, None], i[..., None, None, :]]
    return cubes.movedim(-1, 2)


def decode_points(points: torch.Tensor, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """RAS mm (n, 3) and weights (n,) of `points` (n, 4): voxels (i, j, k) of `grid` and the largest weight."""
    values = points.detach().cpu().to(torch.float64).numpy()
    return apply_affine(grid.ijk_to_ras, values[:, :3]), values[:, 3]


def _unpooled(places: torch.Tensor, pool: tuple[int, int, int]) -> torch.Tensor:
    """Inverse of `pooled_places`."""
    sides = torch.tensor(pool[::-1], dtype=places.dtype, device=places.device)
    return places * sides + (sides - 1.0) / 2.0


def _pooled(image: torch.Tensor, pool: tuple[int, int, int], block: int) -> torch.Tensor:
    """The image averaged over `pool` voxels, with zeros behind it until its sides are multiples of `block`."""
    missing = [-side % (block * factor) for side, factor in zip(image.shape[2:], pool, strict=True)]
    if any(missing):
        image = functional.pad(image, (0, missing[2], 0, missing[1], 0, missing[0]))
    return image if pool == (1, 1, 1) else functional.avg_pool3d(image, pool)


def _normalised(convolution: nn.Conv3d) -> list[nn.Module]:
    """A convolution with its batch normalisation and ReLU."""
    return [convolution, nn.BatchNorm3d(convolution.out_channels), nn.ReLU(inplace=True)]


def _head(width: int, outputs: int) -> nn.Sequential:
    """Three convolutions of a single voxel, as a fully connected network for every block."""
    hidden = [layer for _ in range(2) for layer in (nn.Conv3d(width, width, 1), nn.ReLU(inplace=True))]
    return nn.Sequential(*hidden, nn.Conv3d(width, outputs, 1))


def _read(network: GlobalBlockNetwork | LocalBlockNetwork, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.autocast(features.device.type, enabled=False):  # bf16 has 8 bits, too few for places
        exact = features.float()
        return network.classes(exact), network.displacements(exact)
