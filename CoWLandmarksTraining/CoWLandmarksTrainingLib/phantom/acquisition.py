"""What scanners, kernels and export do to an image: the effects that came with phantom version 4.

Every effect is a function of an image [k, j, i] (slices are k) and of plain numbers; `Acquisition` holds the numbers
that were drawn for one case.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from .fields import gaussian_blur

_BLOCK = 8
_LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""The quantisation table of the JPEG standard (ITU-T T.81, annex K.1) for quality 50."""
_SLABS = 64


@dataclass(frozen=True)
class Slabs:
    """The slabs of a TOF, one upon the other: `spacing_mm` from one to the next; one begins at the height of landmark
    number `junction`; `drop` share of the signal lost along a slab; `step` SD of the brightness from slab to slab."""

    spacing_mm: float
    junction: int
    drop: float
    step: float


@dataclass(frozen=True)
class Motion:
    """The head lay in two places: `share` of the signal comes from the second, `shift_mm` (along j, i) away, in the
    slices from `low_mm` to `high_mm` above the middle of the circle."""

    shift_mm: tuple[float, float]
    share: float
    low_mm: float
    high_mm: float


@dataclass(frozen=True)
class Siphon:
    """What lies round the carotid siphon on CT.

    `shell_hu` thin bone against the wall (0: none), `shell_mm` its thickness, `shell_gap_mm` from the lumen,
    `shell_deg` the part of the circumference it covers; `sinus_filling` share of the arteries' signal in a cavernous
    sinus `sinus_mm` wide round the artery (0: none), and in the sphenoparietal sinus that enters it.
    """

    shell_hu: float
    shell_mm: float
    shell_gap_mm: float
    shell_deg: float
    sinus_filling: float
    sinus_mm: float


@dataclass(frozen=True)
class Acquisition:
    """How a version 4 case was scanned and stored.

    `voxel_mm` (in plane, between slices). `window` (low, high): what lies beyond is clipped; TOF: shares of fresh
    blood's signal, CTA: HU. `eight_bit`: the window is stored as 0 to 255. `jpeg_quality` 0: not compressed.
    `sharpening` share of the detail below `sharpening_mm` that the kernel adds. `siphon_void`, `division_void`: signal
    lost by turbulent flow. `ends_inside`: the field of view ends within the circle.
    """

    voxel_mm: tuple[float, float]
    window: tuple[float, float] | None = None
    eight_bit: bool = False
    jpeg_quality: int = 0
    sharpening: float = 0.0
    sharpening_mm: float = 1.0
    slabs: Slabs | None = None
    motion: Motion | None = None
    siphon: Siphon | None = None
    siphon_void: float = 0.0
    division_void: float = 0.0
    ends_inside: bool = False
    turned: bool = False


def clipped(image: torch.Tensor, window: tuple[float, float]) -> torch.Tensor:
    """The image with all values brought into the window."""
    return image.clamp(*window)


def as_bytes(image: torch.Tensor, window: tuple[float, float]) -> torch.Tensor:
    """The window as whole numbers from 0 to 255 (still float32)."""
    low, high = window
    return ((image.clamp(low, high) - low) * (255.0 / (high - low))).round()


def compressed(image: torch.Tensor, quality: int) -> torch.Tensor:
    """Slices of 8 bits as they come back from JPEG of a quality from 1 to 100: whole numbers with faint blocks."""
    scale = 5000.0 / quality if quality < 50 else 200.0 - 2.0 * quality
    steps = torch.tensor(_LUMINANCE, dtype=torch.float32, device=image.device)
    steps = ((steps * scale + 50.0) / 100.0).floor().clamp(1.0, 255.0)
    layers, rows, columns = image.shape
    below, beside = -rows % _BLOCK, -columns % _BLOCK
    padded = functional.pad(image[None], (0, beside, 0, below), mode="replicate")[0] - 128.0
    blocks = padded.reshape(layers, padded.shape[1] // _BLOCK, _BLOCK, padded.shape[2] // _BLOCK, _BLOCK)
    basis = _cosines().to(image.device)
    spectrum = torch.einsum("ua,kracb,vb->krucv", basis, blocks, basis)
    kept = (spectrum / steps[:, None, :]).round() * steps[:, None, :]
    restored = torch.einsum("ua,krucv,vb->kracb", basis, kept, basis).reshape(padded.shape)
    return (restored[:, :rows, :columns] + 128.0).round().clamp(0.0, 255.0)


def _cosines() -> torch.Tensor:
    """The orthonormal cosine transform of eight values: row u is the frequency."""
    u, x = np.meshgrid(np.arange(_BLOCK), np.arange(_BLOCK), indexing="ij")
    basis = np.cos((2 * x + 1) * u * np.pi / (2 * _BLOCK)) * np.sqrt(2.0 / _BLOCK)
    basis[0] /= np.sqrt(2.0)
    return torch.from_numpy(basis.astype(np.float32))


def sharpened(image: torch.Tensor, amount: float, sigma_voxels: tuple[float, float, float]) -> torch.Tensor:
    """A sharp kernel: `amount` of the detail below `sigma_voxels` (k, j, i) is added, so that edges overshoot."""
    return image + amount * (image - gaussian_blur(image, sigma_voxels))


def slab_gain(heights_mm: np.ndarray, slabs: Slabs, begin_mm: float, seed: int) -> np.ndarray:
    """Factor of the signal at heights (n,) when a slab begins at `begin_mm`."""
    along = (heights_mm - begin_mm) / slabs.spacing_mm
    number = np.floor(along)
    levels = 1.0 + slabs.step * np.random.Generator(np.random.Philox(seed)).uniform(-1.0, 1.0, _SLABS) * 3.0**0.5
    return levels[number.astype(int) % _SLABS] * (1.0 - slabs.drop * (along - number) ** 2)


def doubled(image: torch.Tensor, share: float, shift_voxels: tuple[float, float], where: torch.Tensor) -> torch.Tensor:
    """Two images in one, `shift_voxels` (j, i) apart, in the slices of which `where` (k,) is 1; the centre stays."""
    shift = np.array(shift_voxels)
    both = (1.0 - share) * _moved(image, -share * shift) + share * _moved(image, (1.0 - share) * shift)
    return torch.lerp(image, both, where[:, None, None].expand_as(image))


def _moved(image: torch.Tensor, shift: np.ndarray) -> torch.Tensor:
    """The image moved by a part of a voxel or more along j and i; the border goes on."""
    for axis, distance in ((1, float(shift[0])), (2, float(shift[1]))):
        whole = int(np.floor(distance))
        positions = torch.arange(image.shape[axis], device=image.device) - whole
        near = image.index_select(axis, positions.clamp(0, image.shape[axis] - 1))
        far = image.index_select(axis, (positions - 1).clamp(0, image.shape[axis] - 1))
        image = torch.lerp(near, far, distance - whole)
    return image


def stored(image: torch.Tensor, acquisition: Acquisition) -> torch.Tensor:
    """Values as the file holds them: clipped, and where it has 8 bits whole numbers from 0 to 255."""
    if acquisition.window is None:
        return image
    if not acquisition.eight_bit:
        return clipped(image, acquisition.window)
    image = as_bytes(image, acquisition.window)
    return compressed(image, acquisition.jpeg_quality) if acquisition.jpeg_quality else image
