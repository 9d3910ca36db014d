"""The discriminator: does a set of heatmaps look like annotated anatomy? It never sees the image
(Tan et al. 2023, section 2.2)."""

from __future__ import annotations

import torch
from CoWLandmarksLib.detect.model import GridSpec
from torch import nn
from torch.nn import functional

from ..config.settings import DiscriminatorSettings, DiscriminatorView
from .soft_argmax import soft_argmax

_SUMMARY = (3, 4, 4)
_DISPLACEMENT_MM = 20.0
"""Displacements are shown in units of this."""


def discriminator_for(landmarks: int, config: DiscriminatorSettings) -> nn.Module:
    """A discriminator of what `discriminator_input` shows in the configured view, with random weights."""
    displacements = config.view is DiscriminatorView.DISPLACEMENTS
    network: nn.Module = (LayoutDiscriminator if displacements else Discriminator)(landmarks, config)
    if config.spectral_norm:
        for module in network.modules():
            if isinstance(module, nn.Conv3d | nn.Linear):
                nn.utils.parametrizations.spectral_norm(module)
    return network


class Discriminator(nn.Module):
    """CNN classifier: (B, n + extra, K, J, I) -> one logit per sample (B,); high means judged real.

    Convolutions of stride 2, then a mean over 3 x 4 x 4 regions, so that the layout survives in any size.
    """

    def __init__(self, landmarks: int, config: DiscriminatorSettings) -> None:
        super().__init__()
        self.config = config
        width, channels = config.base_width, landmarks + config.extra_channels
        layers: list[nn.Module] = []
        for level in range(config.layers):
            out = min(width * 2**level, width * 8)
            layers += [nn.Conv3d(channels, out, 3, stride=2, padding=1), nn.LeakyReLU(0.2)]
            channels = out
        self.features = nn.Sequential(*layers)
        cells = _SUMMARY[0] * _SUMMARY[1] * _SUMMARY[2]
        self.head = nn.Sequential(nn.Linear(channels * cells, 4 * width), nn.LeakyReLU(0.2), nn.Linear(4 * width, 1))

    def forward(self, judged: torch.Tensor) -> torch.Tensor:
        """Logits (B,) of `discriminator_input`."""
        features = self.features(judged)
        return self.head(functional.adaptive_avg_pool3d(features, _SUMMARY).flatten(1))[:, 0].float()


class LayoutDiscriminator(nn.Module):
    """Perceptron on displacements: (B, 3 n (n - 1) / 2 + n) -> one logit per sample (B,); it knows no place."""

    def __init__(self, landmarks: int, config: DiscriminatorSettings) -> None:
        super().__init__()
        width = 8 * config.base_width
        inputs = 3 * landmarks * (landmarks - 1) // 2 + landmarks
        self.layers = nn.Sequential(
            nn.Linear(inputs, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, 1),
        )

    def forward(self, judged: torch.Tensor) -> torch.Tensor:
        """Logits (B,) of `discriminator_input`."""
        return self.layers(judged)[:, 0].float()


def discriminator_input(
    heatmaps: torch.Tensor,
    keep: torch.Tensor,
    grid: GridSpec,
    config: DiscriminatorSettings,
    sigma_mm: float,
    origin_mm: torch.Tensor | None = None,
) -> torch.Tensor:
    """What the discriminator is shown of `heatmaps` (B, n, K, J, I): they themselves in the chosen view, then the
    coordinate channels in R, A, S order, then the distance channel.

    In the view "displacements" it is (B, 3 n (n - 1) / 2 + n) instead: see `displacements`.
    Channels with `keep` (B, n) = 0 are empty. `origin_mm` (B, 3) is the place of the first voxel in the reference
    frame (None: that of `grid`), the voxels being those of `grid`; the heatmaps may be a window of it.
    """
    view = config.view
    if view is DiscriminatorView.DISPLACEMENTS:
        return displacements(soft_argmax(heatmaps, config.sharpness), keep, grid.spacing)
    if view is DiscriminatorView.SQUARED:
        heatmaps = heatmaps * heatmaps
    elif view is DiscriminatorView.RENDERED:
        heatmaps = rendered_again(heatmaps, grid.spacing, sigma_mm, config.sharpness)
    shown = [heatmaps * keep[:, :, None, None, None]]
    if config.extra_channels:
        shown.append(layout_channels(heatmaps, grid, config, origin_mm))
    return torch.cat(shown, dim=1)


def displacements(ijk: torch.Tensor, keep: torch.Tensor, spacing: tuple[float, float, float]) -> torch.Tensor:
    """(B, 3 n (n - 1) / 2 + n) displacements between all pairs of points (B, n, 3) in voxels, in units of 20 mm along
    R, A, S, then `keep` (B, n): 0 for a point that is missing, whose displacements are 0."""
    points = ijk * torch.tensor(spacing, dtype=ijk.dtype, device=ijk.device) / _DISPLACEMENT_MM
    first, second = torch.triu_indices(points.shape[1], points.shape[1], 1, device=points.device)
    both = (keep[:, first] * keep[:, second])[..., None].to(points.dtype)
    return torch.cat([((points[:, second] - points[:, first]) * both).flatten(1), keep.to(points.dtype)], dim=1)


def layout_channels(
    like: torch.Tensor, grid: GridSpec, config: DiscriminatorSettings, origin_mm: torch.Tensor | None = None
) -> torch.Tensor:
    """(B, extra, K, J, I): coordinates in [-1, 1] over the grid (R, A, S) and the distance to its centre.

    The distance is in units of half the grid's diagonal, from voxel centre to voxel centre.
    """
    batch, (k, j, i) = like.shape[0], like.shape[2:]
    spacing = torch.tensor(grid.spacing, dtype=torch.float32, device=like.device)
    centre = torch.tensor(grid.centre, dtype=torch.float32, device=like.device)
    half = spacing * (torch.tensor(grid.shape[::-1], device=like.device) - 1) / 2.0
    if origin_mm is None:
        origin_mm = (centre - half).expand(batch, 3)
    offset = origin_mm.to(like.device, torch.float32) - centre
    axes = [
        offset[:, axis, None] + spacing[axis] * torch.arange(n, device=like.device) for axis, n in enumerate((i, j, k))
    ]
    r = axes[0][:, None, None, :].expand(batch, k, j, i)
    a = axes[1][:, None, :, None].expand(batch, k, j, i)
    s = axes[2][:, :, None, None].expand(batch, k, j, i)
    channels = []
    if config.coordinates:
        channels += [axis / length for axis, length in zip((r, a, s), half.clamp_min(1e-6), strict=True)]
    if config.distance:
        channels.append((r * r + a * a + s * s).sqrt() / half.norm())
    return torch.stack(channels, dim=1).to(like.dtype)


def rendered_again(
    heatmaps: torch.Tensor, spacing: tuple[float, float, float], sigma_mm: float, sharpness: float
) -> torch.Tensor:
    """Gaussians of `sigma_mm` at the soft-argmax coordinates of `heatmaps` (B, n, K, J, I); differentiable.

    `sharpness` as for `soft_argmax`.
    """
    centres = soft_argmax(heatmaps, sharpness)
    profiles = []
    for axis, (dim, step) in enumerate(zip((4, 3, 2), spacing, strict=True)):
        position = torch.arange(heatmaps.shape[dim], device=heatmaps.device, dtype=centres.dtype)
        profiles.append(torch.exp(-0.5 * ((position - centres[..., axis, None]) * (step / sigma_mm)) ** 2))
    along_i, along_j, along_k = profiles
    return along_k[..., :, None, None] * along_j[..., None, :, None] * along_i[..., None, None, :]
