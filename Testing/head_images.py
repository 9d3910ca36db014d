"""Images of one simple head in any pose, for registration: tissue with large structures, and beads as vessels."""

from __future__ import annotations

import numpy as np
from CoWLandmarksLib.core.volume import Grid, Modality, Volume, apply_affine, axis_aligned_grid

HEAD_GRID = axis_aligned_grid(np.array([0.0, 10.0, 5.0]), np.array([2.2, 2.2, 2.4]), (40, 62, 56))
"""About 123 x 136 x 96 mm."""
_BEAD_MM = 3.0


def head_image(
    points: np.ndarray, pose: np.ndarray, modality: Modality, grid: Grid = HEAD_GRID, seed: int = 0
) -> Volume:
    """int16 scan of a head in `pose` (4, 4, head -> scan RAS) with beads at `points` (n, 3), mm of the head.

    Lumps of tissue differ between the modalities in brightness, not in place.
    """
    k, j, i = np.indices(grid.shape)
    ras = apply_affine(grid.ijk_to_ras, np.stack([i, j, k], axis=-1))
    head = apply_affine(np.linalg.inv(pose), ras)
    mra = modality is Modality.MRA
    inside = 1.0 / (1.0 + np.exp((np.linalg.norm((head - (0, -5, 15)) / (58, 72, 52), axis=-1) - 1.0) * 30.0))
    lumps = np.random.default_rng(11)
    tissue = np.zeros(grid.shape)
    for _ in range(14):
        centre, width = lumps.uniform(-1, 1, 3) * (45, 55, 35) + (0, -5, 12), lumps.uniform(8, 16)
        level = lumps.uniform(-1, 1, 2)[0 if mra else 1]
        tissue += level * np.exp(-((head - centre) ** 2).sum(axis=-1) / (2 * width**2))
    brain = 120.0 + 60.0 * tissue if mra else 40.0 + 25.0 * tissue
    air = 5.0 if mra else -1000.0
    image = air + (brain - air) * inside
    for point in points[np.isfinite(points).all(axis=1)]:
        bead = np.exp(-((head - point) ** 2).sum(axis=-1) / (2.0 * _BEAD_MM**2))
        image = image * (1 - bead) + (500.0 if mra else 400.0) * bead
    image += np.random.default_rng(seed).normal(0, 6.0, grid.shape)
    return Volume(np.rint(image).astype(np.int16), grid.ijk_to_ras, "head")
