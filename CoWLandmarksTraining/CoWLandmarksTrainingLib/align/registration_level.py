"""How well two images cover each other at one resolution: the measure that registration makes as large as it can."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from CoWLandmarksLib.core.volume import Volume, apply_affine
from scipy import ndimage
from scipy.spatial import cKDTree

from .vessel_image import block_averaged

SMALLEST_SHARE = 0.25
"""Share of the fixed image that has to lie inside the moving one."""
_BINS = 24
_TISSUE_SAMPLES, _VESSEL_SAMPLES = 15_000, 8_000
_FOCUS_MM = 30.0
_BLUR = 1.6
"""Vessels are blurred by this many voxels of the level, so that they attract each other from afar."""
_VESSEL_WEIGHT, _VESSEL_FLOOR = 0.5, 0.15
"""Found on phantoms (Docs/use/training.md). The floor keeps scans without a common vessel comparable."""


@dataclass(frozen=True)
class Measure:
    """`share` of the fixed image inside the moving one; `information` mutual information in nats times that share;
    `vessels` correlation of the two vessel images near the focus, from -1 to 1."""

    share: float
    information: float
    vessels: float


class RegistrationLevel:
    """Both images (and their vessel images) at one resolution, the fixed one as samples at fixed places.

    `focus` (n, 3) RAS mm of the fixed image; None: all of it. With `masks`, the vessel images are all that counts.
    """

    def __init__(
        self,
        fixed: Volume,
        moving: Volume,
        fixed_vessels: Volume,
        moving_vessels: Volume,
        spacing_mm: float,
        focus: np.ndarray | None,
        masks: bool,
    ) -> None:
        rng = np.random.Generator(np.random.Philox(0))
        self._masks = masks
        fixed, self._moving = block_averaged(fixed, spacing_mm), block_averaged(moving, spacing_mm)
        self.fixed_centre, self.moving_centre = fixed.grid.centre, self._moving.grid.centre
        self._places, values = _samples(fixed, rng, _TISSUE_SAMPLES, None)
        low, high = _range(values)
        self._bins = np.rint(_in_bins(values, low, high)).astype(int)
        self._low, self._high = _range(self._moving.voxels)
        self._moving_vessels = _blurred(block_averaged(moving_vessels, spacing_mm / 2.0), _BLUR * spacing_mm)
        blurred = _blurred(block_averaged(fixed_vessels, spacing_mm / 2.0), _BLUR * spacing_mm)
        if masks and focus is None:
            focus = _samples(blurred, rng, _VESSEL_SAMPLES, None, np.asarray(blurred.voxels) > 0.1)[0]
        self._vessel_places, vessels = _samples(blurred, rng, _VESSEL_SAMPLES, focus)
        self._vessels = vessels - vessels.mean()

    def measure(self, fixed_to_moving: np.ndarray) -> Measure:
        """How well the images cover each other under a transform (4, 4) RAS mm."""
        values, inside = _at(self._moving, apply_affine(fixed_to_moving, self._places))
        share = float(inside.mean())
        if share < SMALLEST_SHARE:
            return Measure(share, 0.0, 0.0)
        information = 0.0 if self._masks else self._information(values, self._bins[inside])
        vessels = np.zeros(len(self._vessel_places))
        found, inside = _at(self._moving_vessels, apply_affine(fixed_to_moving, self._vessel_places))
        vessels[inside] = found
        spread = float(np.linalg.norm(vessels - vessels.mean()) * np.linalg.norm(self._vessels))
        correlation = float(vessels @ self._vessels) / spread if spread > 1e-6 else 0.0
        return Measure(share, share * information, correlation)

    def cost(self, fixed_to_moving: np.ndarray) -> float:
        """Lower is better; infinite where too little is covered."""
        measure = self.measure(fixed_to_moving)
        if measure.share < SMALLEST_SHARE:
            return np.inf
        if self._masks:
            return -10.0 * measure.vessels
        vessels = np.log(max(measure.vessels, 0.0) + _VESSEL_FLOOR)
        return -float(np.log(max(measure.information, 1e-4)) + _VESSEL_WEIGHT * vessels)

    def _information(self, values: np.ndarray, fixed_bins: np.ndarray) -> float:
        """Mutual information in nats; each moving value is shared by its two nearest bins."""
        place = _in_bins(values, self._low, self._high)
        lower = place.astype(int)
        upper_share = place - lower
        cells = fixed_bins * _BINS + lower
        joint = np.bincount(cells, 1.0 - upper_share, _BINS**2) + np.bincount(cells + 1, upper_share, _BINS**2)
        joint = joint.reshape(_BINS, _BINS) / joint.sum()
        apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
        known = joint > 0
        return float((joint[known] * np.log(joint[known] / apart[known])).sum())


def _samples(
    volume: Volume, rng: np.random.Generator, count: int, focus: np.ndarray | None, where: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Places (n, 3) RAS mm and values (n,) of up to `count` voxels near the focus, drawn at random."""
    voxels = np.asarray(volume.voxels)
    chosen = np.arange(voxels.size) if where is None else np.nonzero(where.ravel())[0]
    if focus is not None:
        chosen = rng.permutation(chosen)[: 15 * count]  # enough of them lie near the focus
    k, j, i = np.unravel_index(chosen, voxels.shape)
    places = apply_affine(volume.ijk_to_ras, np.stack([i, j, k], axis=1).astype(float))
    if focus is not None and len(focus):
        near = cKDTree(focus).query(places, distance_upper_bound=_FOCUS_MM)[0] < np.inf
        chosen, places = (chosen[near], places[near]) if near.any() else (chosen, places)
    kept = rng.permutation(len(chosen))[:count]
    return places[kept], voxels.ravel()[chosen[kept]]


def _at(volume: Volume, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values at places (n, 3) RAS mm that lie inside, and which do (n,)."""
    ijk = apply_affine(volume.grid.ras_to_ijk, places)
    inside: np.ndarray = np.all((ijk >= -0.5) & (ijk <= volume.grid.size - 0.5), axis=1)
    values = ndimage.map_coordinates(volume.voxels, ijk[inside][:, ::-1].T, order=1, mode="nearest")
    return values, inside


def _range(values: np.ndarray) -> tuple[float, float]:
    low, high = (float(value) for value in np.percentile(values, [1.0, 99.5]))
    return low, high if high - low > 1e-3 else max(float(values.max()), low + 1e-3)


def _in_bins(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.clip((values - low) / (high - low) * (_BINS - 1), 0.0, _BINS - 1.001)


def _blurred(volume: Volume, sigma_mm: float) -> Volume:
    return replace(volume, voxels=ndimage.gaussian_filter(volume.voxels, sigma_mm / volume.grid.spacing[::-1]))
