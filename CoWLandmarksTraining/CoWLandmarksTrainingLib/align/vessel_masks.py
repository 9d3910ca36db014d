"""Vessel masks for aligning the MRA and the CTA of one patient: segmented by a person, or by a threshold."""

from __future__ import annotations

import numpy as np
from CoWLandmarksLib.core.errors import VolumeError
from CoWLandmarksLib.core.volume import Grid, Modality, Volume, apply_affine
from scipy import ndimage

from ..cohort.annotated_cases import AnnotatedScan

SEGMENTED_REACH_MM, BRIGHT_REACH_MM = 40.0, 15.0
"""How near to a landmark vessels count: segmented ones, and those that are only bright (so are fat and sinuses)."""
MRA_SHARE = 0.7
"""Vessels are at least this share as bright as the middle landmark."""
CTA_SHARES = (0.55, 1.6)
BONE_SHARE = 2.0
"""In CTA also at most so bright; what is brighter still is bone."""
BONE_RIM_MM = 3.0
_FEWEST_VOXELS = 200
_TOUCH_MM = 2.5


def vessel_mask(scan: AnnotatedScan, network: Volume, landmarks: np.ndarray) -> Volume:
    """float32 mask (0, 1) of the vessels near the `landmarks` (n, 3) RAS mm of a scan, NaN where not placed.

    On the grid of the scan or of its segmentation. `network` is the scan in network units; where the case has no
    segmentation the mask is what is as bright as vessels and connected with a landmark. Raises VolumeError when
    nothing is left of the vessels, or the segmentation cannot be read.
    """
    known = landmarks[np.isfinite(landmarks).all(axis=1)]
    if scan.vessel_mask is not None:
        given = scan.read_vessel_mask()
        grid = given.grid
        mask = (np.asarray(given.voxels) > 0) & near_points(grid, known, SEGMENTED_REACH_MM)
    else:
        grid = network.grid
        mask = by_threshold(network, scan.modality, brightness_at(network, known))
        mask = connected_with(mask & near_points(grid, known, BRIGHT_REACH_MM), grid, known)
    if np.count_nonzero(mask) < _FEWEST_VOXELS:
        raise VolumeError(f"No vessels are seen in '{scan.name}'; add a segmentation of them to the case.")
    return Volume(mask.astype(np.float32), grid.ijk_to_ras, scan.name)


def brightness_at(network: Volume, points: np.ndarray) -> float:
    """Median over points (n, 3) RAS mm of the brightest value within 2.5 mm; raises VolumeError if all lie outside."""
    values = []
    reach = np.ceil(_TOUCH_MM / network.grid.spacing).astype(int)
    for centre in np.rint(apply_affine(network.grid.ras_to_ijk, points)).astype(int):
        low, high = np.maximum(centre - reach, 0), np.maximum(centre + reach + 1, 0)
        part = network.voxels[low[2] : high[2], low[1] : high[1], low[0] : high[0]]
        values += [float(part.max())] if part.size else []
    if not values:
        raise VolumeError(f"All landmarks of '{network.name}' lie outside the scan; no vessels can be found.")
    return float(np.median(values))


def by_threshold(network: Volume, modality: Modality, brightness: float) -> np.ndarray:
    """bool mask [k, j, i] of what is as bright as vessels of `brightness`; in CTA without bone and its rim.

    `network` in network units, in which soft tissue is near 0 in CTA (HU / 400).
    """
    voxels = np.asarray(network.voxels)
    if modality is Modality.MRA:
        bright: np.ndarray = voxels > MRA_SHARE * brightness
        return bright
    bone = voxels > BONE_SHARE * brightness
    rim = np.maximum(1, np.rint(BONE_RIM_MM / network.grid.spacing[::-1])).astype(int)
    near_bone = ndimage.maximum_filter(bone, size=tuple(2 * int(n) + 1 for n in rim))
    low, high = CTA_SHARES[0] * brightness, CTA_SHARES[1] * brightness
    vessels: np.ndarray = (voxels > low) & (voxels < high) & ~near_bone
    return vessels


def connected_with(mask: np.ndarray, grid: Grid, points: np.ndarray) -> np.ndarray:
    """The connected parts of a mask [k, j, i] that come within 2.5 mm of one of the points (n, 3) RAS mm."""
    labels, _ = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    kept: set[int] = set()
    reach = np.ceil(_TOUCH_MM / grid.spacing).astype(int)
    for centre in np.rint(apply_affine(grid.ras_to_ijk, points)).astype(int):
        low, high = np.maximum(centre - reach, 0), np.maximum(centre + reach + 1, 0)
        kept |= set(np.unique(labels[low[2] : high[2], low[1] : high[1], low[0] : high[0]]).tolist())
    found: np.ndarray = np.isin(labels, sorted(kept - {0}))
    return found


def near_points(grid: Grid, points: np.ndarray, reach_mm: float) -> np.ndarray:
    """bool [k, j, i]: voxels of a grid within `reach_mm` of one of the points (n, 3) RAS mm."""
    near = np.zeros(grid.shape, bool)
    for centre in apply_affine(grid.ras_to_ijk, points):
        low = np.clip(np.floor(centre - reach_mm / grid.spacing), 0, grid.size).astype(int)
        high = np.clip(np.ceil(centre + reach_mm / grid.spacing) + 1, 0, grid.size).astype(int)
        i, j, k = ((np.arange(low[axis], high[axis]) - centre[axis]) * grid.spacing[axis] for axis in range(3))
        squared = k[:, None, None] ** 2 + j[:, None] ** 2 + i**2
        near[low[2] : high[2], low[1] : high[1], low[0] : high[0]] |= squared <= reach_mm**2
    return near
