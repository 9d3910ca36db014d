"""Centrelines with their cross-sections -> label map: every voxel of a lumen to the relatively nearest artery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from ..core.volume import Grid, apply_affine
from .lumen import RAYS, CrossSections

THINNEST_VOXELS = 0.45
"""Least radius in voxels, so that a thin artery has no gaps."""


@dataclass(frozen=True)
class Tube:
    """An artery to be labelled.

    `open_start`, `open_end`: no other artery goes on there, so a plane cuts it off. Its lumen counts as at most
    `widest_mm` (radius) wide, because where it leaves a wider artery that one's wall is seen. With `claims` it has its
    lumen even where all of that is nearer to the axes of others.
    """

    label: int
    sections: CrossSections
    open_start: bool
    open_end: bool
    widest_mm: float
    claims: bool = False


def label_map(grid: Grid, tubes: Sequence[Tube]) -> np.ndarray:
    """uint8 [k, j, i] on `grid`; where lumens overlap the axis wins that is nearest in parts of its radius."""
    labels = np.zeros(int(np.prod(grid.shape)), np.uint8)
    depth = np.full(labels.size, np.inf, np.float32)
    for tube in tubes:
        voxels, nearness = _voxels_of(grid, tube)
        closer = nearness < depth[voxels]
        depth[voxels[closer]] = nearness[closer]
        labels[voxels[closer]] = tube.label
    for tube in tubes:
        if tube.claims and not (labels == tube.label).any():
            labels[_voxels_of(grid, tube)[0]] = tube.label
    return labels.reshape(grid.shape)


def _voxels_of(grid: Grid, tube: Tube) -> tuple[np.ndarray, np.ndarray]:
    """Flat indices of the voxels of a tube, and their distance to the axis in parts of the radius there."""
    sections = tube.sections
    candidates = candidates_near(grid, sections.points, float(sections.radii.max()))
    ijk = np.stack(np.unravel_index(candidates, grid.shape)[::-1], axis=1)
    places = apply_affine(grid.ijk_to_ras, ijk)
    _, nearest = cKDTree(sections.points).query(places)
    offset = places - sections.points[nearest]
    along = np.einsum("nd,nd->n", offset, sections.tangents[nearest])
    across = np.einsum("nd,nad->na", offset, sections.normals[nearest])
    distance = np.linalg.norm(across, axis=1)
    turn = np.mod(np.arctan2(across[:, 1], across[:, 0]) * RAYS / (2.0 * np.pi), RAYS)
    first = turn.astype(int) % RAYS
    part = turn - np.floor(turn)
    radii = np.minimum(sections.radii, tube.widest_mm)
    radius = (1.0 - part) * radii[nearest, first] + part * radii[nearest, (first + 1) % RAYS]
    radius = np.maximum(radius, THINNEST_VOXELS * float(np.prod(grid.spacing)) ** (1.0 / 3.0))
    last = len(sections.points) - 1
    before, after = (nearest == 0) & (along < 0), (nearest == last) & (along > 0)
    # Beyond its ends a tube is round, unless a plane cuts it off.
    distance = np.where(before | after, np.linalg.norm(offset, axis=1), distance)
    inside = (distance < radius) & ~(before & tube.open_start) & ~(after & tube.open_end)
    return candidates[inside], (distance / radius)[inside].astype(np.float32)


def candidates_near(grid: Grid, points: np.ndarray, reach_mm: float) -> np.ndarray:
    """Flat indices of all voxels that may lie within reach of the points (n, 3) RAS mm of a centreline."""
    reach = reach_mm + float(grid.spacing.max())
    half = np.ceil(reach / grid.spacing).astype(int)
    offsets = np.stack(np.meshgrid(*(np.arange(-h, h + 1) for h in half), indexing="ij"), axis=-1).reshape(-1, 3)
    near = np.linalg.norm(offsets @ grid.ijk_to_ras[:3, :3].T, axis=1) <= reach
    centres = np.unique(np.rint(apply_affine(grid.ras_to_ijk, points)).astype(int), axis=0)
    voxels = (centres[:, None] + offsets[near]).reshape(-1, 3)
    voxels = voxels[((voxels >= 0) & (voxels < grid.size)).all(axis=1)]
    flat = (voxels[:, 2] * grid.shape[1] + voxels[:, 1]) * grid.shape[2] + voxels[:, 0]
    return np.unique(flat)
