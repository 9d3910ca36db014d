"""A scan without one of its arteries: what is left where two vessels touch, so that the second one can be traced.

An artery is round, so that what most rays of a cross-section see is the artery itself, and what only some of them see
is a neighbour that touches it. The level at each distance from the axis that most rays reach is taken out.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from ..core.volume import apply_affine
from .label_map import candidates_near
from .lumen import RADIAL_STEP_MM, RAYS, CrossSections
from .region import Region

NEIGHBOURLESS = 0.35
"""Quantile over the rays: a neighbour of the same width takes up about a third of them."""
REACH_RADII, REACH_MM = 1.0, 2.0
"""The artery is taken out as far as this many of its radii and so much more (blur)."""


def without(region: Region, artery: CrossSections) -> Region:
    """The region with one artery taken out of image and boneless image (both boneless then)."""
    distance = np.arange(0.0, REACH_RADII * float(artery.radius.max()) + REACH_MM, RADIAL_STEP_MM)
    bare = replace(region, image=region.boneless)
    angles = 2.0 * np.pi * np.arange(RAYS) / RAYS
    across = np.cos(angles)[:, None] * artery.normals[:, None, 0] + np.sin(angles)[:, None] * artery.normals[:, None, 1]
    profiles = bare.sample(artery.points[:, None, None] + distance[:, None] * across[:, :, None])
    typical = np.quantile(profiles, NEIGHBOURLESS, axis=1)
    above = np.maximum(typical - np.minimum(artery.surroundings, typical.min(axis=1))[:, None], 0.0)
    above = ndimage.gaussian_filter1d(above, 1.0, axis=0, mode="nearest")
    above = np.minimum.accumulate(above, axis=1)
    grid = region.grid
    voxels = candidates_near(grid, artery.points, float(distance[-1]))
    ijk = np.stack(np.unravel_index(voxels, grid.shape)[::-1], axis=1)
    apart, nearest = cKDTree(artery.points).query(apply_affine(grid.ijk_to_ras, ijk))
    step = np.clip(apart / RADIAL_STEP_MM, 0.0, len(distance) - 1.001)
    low = step.astype(int)
    part = step - low
    model = (1.0 - part) * above[nearest, low] + part * above[nearest, low + 1]
    model[apart > distance[-1]] = 0.0
    image = region.boneless.copy()
    image.reshape(-1)[voxels] -= model.astype(np.float32)
    return replace(region, image=image, boneless=image)
