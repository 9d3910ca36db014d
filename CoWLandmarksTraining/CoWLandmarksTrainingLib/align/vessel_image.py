"""What is bright and thin in a scan, also in one that was masked, as an aid to registration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from CoWLandmarksLib.core.volume import Volume, apply_affine
from scipy import ndimage

_SPACING_MM = 1.2
_WIDE_MM = 5.0
_BRIGHTEST, _MOST = 1.2, 0.5
_MASKED_FROM, _VESSELS_ONLY_FROM = 0.4, 0.9
"""Share of one single value from which a scan was masked, and from which nothing but vessels can be left of it."""


def blank_of(voxels: np.ndarray) -> tuple[float, float]:
    """The most frequent value of a scan and its share; masking, thresholding and zeroing make that share large."""
    values, counts = np.unique(np.asarray(voxels)[::2, ::2, ::2], return_counts=True)
    most = int(counts.argmax())
    return float(values[most]), float(counts[most] / counts.sum())


def vessel_image(network: Volume) -> Volume:
    """How much brighter than their wider surroundings (5 mm) voxels are, 0 to 0.5, at about 1.2 mm.

    `network` in network units. The rim of a mask is no brightness: what was masked away does not count among the
    surroundings, unless hardly anything else is left.
    """
    blank, share = blank_of(network.voxels)
    small = block_averaged(network, _SPACING_MM)
    sigma = _WIDE_MM / small.grid.spacing[::-1]
    image = np.clip(small.voxels, 0.0, _BRIGHTEST)
    if _MASKED_FROM < share < _VESSELS_ONLY_FROM:
        kept = block_averaged(replace(network, voxels=(network.voxels != blank).astype(np.float32)), _SPACING_MM).voxels
        around = ndimage.gaussian_filter(image * kept, sigma) / np.maximum(ndimage.gaussian_filter(kept, sigma), 0.05)
        brighter = kept * (image - around)
    else:
        brighter = image - ndimage.gaussian_filter(image, sigma)
    return replace(small, voxels=np.clip(brighter, 0.0, _MOST).astype(np.float32))


def block_averaged(volume: Volume, spacing_mm: float) -> Volume:
    """float32 means over whole blocks of about `spacing_mm`; voxels that fill no block at the end are left out."""
    factors = np.maximum(1, np.rint(spacing_mm / volume.grid.spacing)).astype(int)
    factors = np.minimum(factors, volume.grid.size)
    i, j, k = (int(factor) for factor in factors)
    size = volume.grid.size // factors
    whole = np.asarray(volume.voxels, np.float32)[: size[2] * k, : size[1] * j, : size[0] * i]
    voxels = whole.reshape(size[2], k, size[1], j, size[0], i).mean(axis=(1, 3, 5))
    matrix = volume.ijk_to_ras.copy()
    matrix[:3, 3] = apply_affine(matrix, (factors - 1) / 2.0)
    matrix[:3, :3] = matrix[:3, :3] * factors
    return replace(volume, voxels=voxels, ijk_to_ras=matrix)
