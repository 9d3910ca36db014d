"""MRA or CTA by what shines beside the arteries: on CT bone is as bright as they are, on TOF-MRA hardly anything is."""

from __future__ import annotations

import numpy as np

from .volume import Modality, Volume, apply_affine

REACH_MM = 25.0
"""Farther out the fat of the orbits counts, which may be as bright as arteries in a TOF-MRA."""
LEAST_BONE_ML = 5.0
"""Between the arteries of a TOF-MRA (at most 2.6 ml on development phantoms of version 4, seeds 22501 to 22504) and the
skull base of a CTA (11 ml and more)."""
_LUMEN_MM = 2.5
_LUMEN_MM3 = 10.0
_COARSE_MM = 0.8


def bright_millilitres(volume: Volume, places: np.ndarray) -> float:
    """How much (ml) near the circle is at least as bright as its arteries; 0 where none of the places is in the scan.

    `places` (m, 3) RAS mm lie on arteries or up to some 2 mm beside them. The brightness of the arteries is the median
    over the places of what the brightest 10 mm3 in a box of 2.5 mm to each side exceed; voxels count within 25 mm of
    the middle of the places along each axis of the scan.
    """
    grid = volume.grid
    inside = places[grid.depth_mm(places) > 0.0]
    if len(inside) == 0:
        return 0.0
    voxel_mm3 = float(np.prod(grid.spacing))
    levels = []
    for place in inside:
        near = _box(volume, place, _LUMEN_MM).reshape(-1)
        rank = min(max(1, round(_LUMEN_MM3 / voxel_mm3)), max(1, near.size // 2))
        levels.append(float(np.partition(near, near.size - rank)[near.size - rank]))
    steps = np.maximum(1, np.floor(_COARSE_MM / grid.spacing)).astype(int)
    around = _box(volume, np.median(inside, axis=0), REACH_MM)[:: steps[2], :: steps[1], :: steps[0]]
    return float((around >= np.median(levels)).sum() * voxel_mm3 * np.prod(steps) / 1000.0)


def modality_by_bone(millilitres: float) -> Modality:
    """CTA where so much beside the arteries is as bright as they are (`bright_millilitres`), else MRA."""
    return Modality.CTA if millilitres >= LEAST_BONE_ML else Modality.MRA


def _box(volume: Volume, centre: np.ndarray, half_mm: float) -> np.ndarray:
    """Voxels [k, j, i] of a box along the axes of the scan, cut where it ends; at least one voxel."""
    grid = volume.grid
    middle, reach = apply_affine(grid.ras_to_ijk, centre), half_mm / grid.spacing
    low = np.clip(np.floor(middle - reach), 0, grid.size - 1).astype(int)
    high = np.clip(np.ceil(middle + reach) + 1, low + 1, grid.size).astype(int)
    return volume.voxels[low[2] : high[2], low[1] : high[1], low[0] : high[0]]
