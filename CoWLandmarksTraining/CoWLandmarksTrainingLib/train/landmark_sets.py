"""Changes of annotated landmark sets before a discriminator sees them."""

from __future__ import annotations

import numpy as np
import torch

NEIGHBOUR_MM = 15.0
"""Landmarks closer than this are taken for each other."""
EXCHANGED_SHARE = 0.5


def jittered_sets(landmarks: torch.Tensor, residuals: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
    """Landmark sets (B, n, 3) mm, each point moved by a random one of its `residuals` (m, n, 3) mm.

    NaN among the residuals are left out; a landmark without any stays where it is.
    """
    moved = landmarks.clone()
    for column in range(landmarks.shape[1]):
        own = residuals[np.isfinite(residuals[:, column]).all(axis=1), column]
        drawn = rng.random(len(landmarks))
        if len(own):
            chosen = own[(drawn * len(own)).astype(int)]
            moved[:, column] += torch.from_numpy(chosen).to(landmarks)
    return moved


def corrupted_sets(landmarks: torch.Tensor, keep: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Landmark sets (B, n, 3) mm in each of which two neighbours are exchanged, or one lies where the other does.

    Only landmarks with `keep` (B, n) are touched. A set without neighbours stays as it is.
    """
    changed = landmarks.clone()
    for number, (points, counts) in enumerate(zip(landmarks.cpu().numpy(), keep.cpu().numpy(), strict=True)):
        there = np.flatnonzero((counts > 0) & np.isfinite(points).all(axis=1))
        apart = np.linalg.norm(points[there, None] - points[None, there], axis=2)
        one, other = np.nonzero((apart < NEIGHBOUR_MM) & (apart > 0.0))
        draw, exchanged = rng.random(), rng.random() < EXCHANGED_SHARE
        if len(one) == 0:
            continue
        pair = int(draw * len(one))
        first, second = int(there[one[pair]]), int(there[other[pair]])
        changed[number, first] = landmarks[number, second]
        if exchanged:
            changed[number, second] = landmarks[number, first]
    return changed
