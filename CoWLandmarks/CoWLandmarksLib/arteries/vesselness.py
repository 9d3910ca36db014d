"""How much a place looks like the centre of a bright tube: curvature of the image over several scales.

The measure is the smaller of the two curvatures across the tube, Sato et al., Medical Image Analysis 1998, in
units of the image, so that it follows the local contrast and knows no absolute threshold.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

SCALES_MM = (0.5, 0.85, 1.3, 1.9)
TRUNCATE = 3.0


def reach_voxels(spacing_mm: float) -> int:
    """How far away the image matters to the tubularity of a voxel."""
    steps = np.sqrt(np.diff(np.square((0.0, *SCALES_MM)))) / spacing_mm
    return int(np.floor(TRUNCATE * steps + 0.5).sum()) + 1


def tubularity(image: np.ndarray, spacing_mm: float, where: np.ndarray) -> np.ndarray:
    """Tubularity float32 [k, j, i] of an isotropic image; zero beyond the mask `where` and on dark structures.

    Over the scales the largest of -sigma^2 lambda_2 is kept (lambda_2 the middle eigenvalue of the Hessian).
    """
    result = np.zeros(image.shape, np.float32)
    inner = where.copy()
    inner[[0, -1]] = False
    inner[:, [0, -1]] = False
    inner[:, :, [0, -1]] = False
    flat = np.flatnonzero(inner)
    if flat.size == 0:
        return result
    best = np.zeros(flat.size, np.float32)
    smooth, reached = image, 0.0
    for sigma in SCALES_MM:
        step = np.sqrt(sigma**2 - reached**2) / spacing_mm
        smooth, reached = ndimage.gaussian_filter(smooth, step, mode="nearest", truncate=TRUNCATE), sigma
        middle = _middle_eigenvalue(*_hessian(smooth, flat))
        np.maximum(best, -middle * np.float32((sigma / spacing_mm) ** 2), out=best)
    result.reshape(-1)[flat] = best
    return result


def _hessian(image: np.ndarray, flat: np.ndarray) -> tuple[np.ndarray, ...]:
    """Second differences (kk, jj, ii, kj, ki, ji) at flat indices, which do not touch the border."""
    values = image.reshape(-1)
    steps = (image.shape[1] * image.shape[2], image.shape[2], 1)
    centre = values[flat]
    pure = [values[flat + s] + values[flat - s] - 2.0 * centre for s in steps]
    mixed = [
        0.25 * (values[flat + a + b] + values[flat - a - b] - values[flat + a - b] - values[flat - a + b])
        for a, b in ((steps[0], steps[1]), (steps[0], steps[2]), (steps[1], steps[2]))
    ]
    return (*pure, *mixed)


def _middle_eigenvalue(
    xx: np.ndarray, yy: np.ndarray, zz: np.ndarray, xy: np.ndarray, xz: np.ndarray, yz: np.ndarray
) -> np.ndarray:
    """Middle eigenvalue of symmetric 3 x 3 matrices in closed form (trigonometric solution, Smith 1961)."""
    mean = (xx + yy + zz) / 3.0
    a, b, c = xx - mean, yy - mean, zz - mean
    p = np.sqrt((a * a + b * b + c * c + 2.0 * (xy * xy + xz * xz + yz * yz)) / 6.0)
    determinant = a * (b * c - yz * yz) - xy * (xy * c - yz * xz) + xz * (xy * yz - b * xz)
    ratio = np.clip(determinant / np.maximum(2.0 * p**3, 1e-20), -1.0, 1.0)
    angle = np.arccos(ratio) / 3.0
    return np.asarray(mean + 2.0 * p * np.cos(angle - 2.0 * np.pi / 3.0))
