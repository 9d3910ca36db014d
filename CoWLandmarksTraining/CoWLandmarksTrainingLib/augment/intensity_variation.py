"""Random changes of how an image looks, beyond what the phantom draws: brightness, tone, sharpness, texture, noise.

What a network has seen rendered in one way only it may not know in another; phantoms are rendered in one way. The
changes are wider than scanners differ (domain randomisation: Tobin et al., IROS 2017; Billot et al., MedIA 2023).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from CoWLandmarksLib.core.volume import Modality
from torch.nn import functional

_KNOTS = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
_SHARE = 0.4
"""How often each change happens."""


def varied(image: torch.Tensor, rng: np.random.Generator, modality: Modality) -> torch.Tensor:
    """`image` (C, K, J, I) in network units (an artery is about 1) with random changes of its appearance.

    Landmarks stay where they are, and the same change is made to all channels. Voxels that are exactly 0 (masked, or
    beyond the scan) stay so in half the cases.
    """
    keep_zero = rng.random() < 0.5
    empty = image == 0
    quantitative = 0.4 if modality is Modality.CTA else 1.0  # Hounsfield units mean something
    changes: tuple[Callable[[], torch.Tensor], ...] = (
        lambda: _toned(image, rng, 0.45 * quantitative),
        lambda: _suppressed(image, rng) if modality is Modality.MRA else image,
        lambda: image * torch.exp(_smooth(image, rng, 3) * float(rng.uniform(0, 0.35)) * quantitative),
        lambda: image + _smooth(image, rng, int(rng.integers(6, 20))) * float(rng.uniform(0, 0.12)),
        lambda: _blurred(image, float(rng.uniform(0.2, 0.7))),
        lambda: image + _noise(image, rng) * float(rng.uniform(0, 0.12)),
    )
    for change in changes:
        if rng.random() < _SHARE:
            image = change()
    return torch.where(empty, 0.0, image) if keep_zero else image


def _toned(image: torch.Tensor, rng: np.random.Generator, spread: float) -> torch.Tensor:
    """A rising curve through random slopes between 0 and 1; what lies outside keeps the slope 1."""
    steps = np.exp(rng.normal(0, spread, len(_KNOTS) - 1)) * np.diff(_KNOTS)
    places = np.concatenate([[0.0], np.cumsum(steps)])
    places *= 1.0 + (1.0 / places[-1] - 1.0) * rng.uniform(0.5, 1.0)
    out = image.clamp_max(0.0) + (image - 1.0).clamp_min(0.0)
    for low, high, start, end in zip(_KNOTS[:-1], _KNOTS[1:], places[:-1], places[1:], strict=True):
        out = out + (image.clamp(float(low), float(high)) - float(low)) * float((end - start) / (high - low))
    return out


def _suppressed(image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Background lowered, as scanners' post-processing does."""
    floor = float(rng.uniform(0.0, 0.35))
    return (image - floor).clamp_min(0.0) / (1.0 - floor)


def _blurred(image: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur, SD in voxels."""
    offsets = torch.arange(-2, 3, device=image.device, dtype=image.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    out = image[:, None]
    for axis in range(3):
        shape = [1, 1, 1, 1, 1]
        shape[2 + axis] = 5
        padding = [0] * 6
        padding[2 * (2 - axis)] = padding[2 * (2 - axis) + 1] = 2
        out = functional.conv3d(functional.pad(out, padding, mode="replicate"), kernel.reshape(shape))
    return out[:, 0]


def _noise(image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Noise of SD 1, correlated over about a voxel, different in every channel."""
    generator = torch.Generator(image.device).manual_seed(int(rng.integers(2**62)))
    noise = torch.randn(image.shape, generator=generator, device=image.device)
    sigma = float(rng.uniform(0.0, 0.9))
    if sigma > 0.25:
        noise = _blurred(noise, sigma)
        noise = noise / noise.std().clamp_min(1e-6)
    return noise


def _smooth(image: torch.Tensor, rng: np.random.Generator, nodes: int) -> torch.Tensor:
    """(1, K, J, I) smooth random field, SD about 1 at its `nodes`^3 nodes."""
    generator = torch.Generator(image.device).manual_seed(int(rng.integers(2**62)))
    lattice = torch.randn((1, 1, nodes, nodes, nodes), generator=generator, device=image.device)
    field = functional.interpolate(lattice, size=tuple(image.shape[1:]), mode="trilinear", align_corners=True)
    return field[0]
