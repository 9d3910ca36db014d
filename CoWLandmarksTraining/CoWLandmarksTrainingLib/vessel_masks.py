"""Vessel masks for aligning the MRA and the CTA of one patient: segmented by a person, or by a threshold."""

from __future__ import annotations

import numpy as np
from CoWLandmarksLib.errors import VolumeError
from CoWLandmarksLib.modality import Modality
from CoWLandmarksLib.volume import Grid, Volume, apply_affine
from scipy import ndimage

from .cohort import AnnotatedScan

REACH_MM = 55.0
"""Vessels farther than this from the middle of the landmarks do not count: scalp, sinuses and neck differ."""
MRA_LEVEL = 0.9
"""Network units; 1 is what the brightest 5 ml of the scan exceed."""
CTA_LEVELS = (0.4, 1.5)
"""Network units (400 HU): contrast-filled vessels lie between 160 and 600 HU."""
BONE_LEVEL = 1.75
BONE_RIM_MM = 3.0
_FEWEST_VOXELS = 200


def vessel_mask(scan: AnnotatedScan, network: Volume, middle: np.ndarray) -> Volume:
    """float32 mask (0, 1) near `middle` (RAS mm) of a scan, on its own grid or that of its segmentation.

    `network` is the scan in network units, used where the case has no segmentation. Raises VolumeError when nothing
    is left of the vessels, or the segmentation cannot be read.
    """
    if scan.vessel_mask is not None:
        given = scan.read_vessel_mask()
        mask, grid = np.asarray(given.voxels) > 0, given.grid
    else:
        mask, grid = by_threshold(network, scan.modality), network.grid
    mask = mask & _near(grid, middle)
    if np.count_nonzero(mask) < _FEWEST_VOXELS:
        raise VolumeError(f"No vessels are seen in '{scan.name}'; add a segmentation of them to the case.")
    return Volume(mask.astype(np.float32), grid.ijk_to_ras, scan.name)


def by_threshold(network: Volume, modality: Modality) -> np.ndarray:
    """bool mask [k, j, i] of what is as bright as vessels; in CTA without bone and its partly filled rim."""
    voxels = np.asarray(network.voxels)
    if modality is Modality.MRA:
        return voxels > MRA_LEVEL
    bone = voxels > BONE_LEVEL
    rim = np.maximum(1, np.rint(BONE_RIM_MM / network.grid.spacing[::-1])).astype(int)
    near_bone = ndimage.maximum_filter(bone, size=tuple(2 * int(n) + 1 for n in rim))
    mask: np.ndarray = (voxels > CTA_LEVELS[0]) & (voxels < CTA_LEVELS[1]) & ~near_bone
    return mask


def _near(grid: Grid, middle: np.ndarray) -> np.ndarray:
    k, j, i = np.ogrid[tuple(slice(0, n) for n in grid.shape)]
    centre = apply_affine(grid.ras_to_ijk, middle)
    scaled = [(axis - c) * mm for axis, c, mm in zip((i, j, k), centre, grid.spacing, strict=True)]
    near: np.ndarray = scaled[0] ** 2 + scaled[1] ** 2 + scaled[2] ** 2 <= REACH_MM**2
    return near
