"""The part of a scan round the circle, made ready for tracing: cropped, levels measured, bone taken out.

Nothing here depends on the size of the scan but the crop's place in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..core.intensity import hounsfield_offset
from ..core.volume import Grid, Modality, Volume, apply_affine

MARGIN_MM = 14.0
LEVEL_RADIUS_MM = 1.5
WIDE_SHARE = 0.8
"""Quantile of the levels at the landmarks that stands for wide arteries, which blur does not make fainter."""
SOFT_TISSUE_HU = (0.0, 100.0)
TYPICAL_VESSEL_HU = 350.0
BELOW_TISSUE_HU = 60.0
BONE_RATIO, BONE_NOISES = 1.35, 4.0
BONE_MM3 = 120.0
"""Smaller dense components are taken for calcified plaque, which belongs to the vessel."""
BULKY_MM, LANDMARK_MM = 4.0, 4.5
"""Where a window cuts off what is denser than arteries, bone is what holds balls of the first radius, no nearer to a
landmark than the second."""
CUT_OFF_SHARE, BULK_VOXEL_MM = 0.002, 0.8
FILL_MM3 = 300.0
"""At least so much of a crop holds the constant value with which a scan is masked."""
BULK_MM, BULK_SHARE = 4.0, 0.4
"""At least this share of what a mask has left lies deeper in it than so much."""
EDGE_LAYER_MM = 1.0


@dataclass(frozen=True)
class Region:
    """A crop of the scan ready for tracing.

    `image` float32 [k, j, i] on `grid`, in CTA without plaque and air; `boneless` the same without bone and with all
    vessels equally bright; `start` (i, j, k) of the first voxel in the scan; `vessel` typical value of arteries,
    `background` of what lies round them, `noise` standard deviation, `bone_limit` the value above which there is bone.
    `beside_fill` bool [k, j, i] marks the voxels in and beside what a mask left of the scan.
    """

    image: np.ndarray
    boneless: np.ndarray
    grid: Grid
    start: tuple[int, int, int]
    scan_shape: tuple[int, int, int]
    vessel: float
    background: float
    noise: float
    bone_limit: float
    beside_fill: np.ndarray

    def sample(self, points: np.ndarray) -> np.ndarray:
        """Trilinear values (...) at RAS points (..., 3); beyond the crop the nearest voxel's."""
        ijk = apply_affine(self.grid.ras_to_ijk, points)
        kji = np.moveaxis(ijk[..., ::-1], -1, 0)
        return np.asarray(ndimage.map_coordinates(self.image, kji, order=1, mode="nearest", prefilter=False))

    def depth_mm(self, points: np.ndarray) -> np.ndarray:
        """Depth (n,) of RAS points (n, 3) inside the scan (not the crop) in mm; negative beyond it."""
        return self.scan_grid().depth_mm(points)

    def at_edge(self, points: np.ndarray) -> np.ndarray:
        """(n,) whether RAS points (n, 3) lie at the edge of the scan, or of its signal where it is masked."""
        ijk = np.rint(apply_affine(self.grid.ras_to_ijk, points)).astype(int)
        i, j, k = np.clip(ijk, 0, self.grid.size - 1).T
        return np.asarray((self.depth_mm(points) < EDGE_LAYER_MM) | self.beside_fill[k, j, i])

    def scan_grid(self) -> Grid:
        """Grid of the whole scan."""
        matrix = self.grid.ijk_to_ras.copy()
        matrix[:3, 3] = apply_affine(self.grid.ijk_to_ras, -np.asarray(self.start, float))
        return Grid(self.scan_shape, matrix)


def crop_round(grid: Grid, places: np.ndarray) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """First voxel (i, j, k) and shape (k, j, i) of the part of a grid with a margin round `places` (n, 3) RAS mm."""
    ijk = apply_affine(grid.ras_to_ijk, places)
    margin = MARGIN_MM / grid.spacing
    low = np.clip(np.floor(ijk.min(axis=0) - margin), 0, grid.size - 1).astype(int)
    high = np.clip(np.ceil(ijk.max(axis=0) + margin) + 1, low + 1, grid.size).astype(int)
    start = (int(low[0]), int(low[1]), int(low[2]))
    return start, (int(high[2] - low[2]), int(high[1] - low[1]), int(high[0] - low[0]))


def region_round(volume: Volume, modality: Modality, places: np.ndarray, landmarks: np.ndarray) -> Region:
    """Crop of `volume` with a margin round `places` (n, 3); levels are measured at `landmarks` (m, 3), RAS mm."""
    grid = volume.grid
    start, shape = crop_round(grid, places)
    k, j, i = (slice(first, first + size) for first, size in zip(start[::-1], shape, strict=True))
    part = volume.voxels[k, j, i]
    image = part.astype(np.float32)
    crop = grid.window(start, shape)
    noise = _noise(image)
    hounsfield = hounsfield_offset(volume.voxels) if modality is Modality.CTA else 0.0
    if modality is Modality.CTA:
        image -= np.float32(hounsfield)
        levels = _levels_at(image, crop, landmarks)
        vessel = float(np.median(levels)) if len(levels) else TYPICAL_VESSEL_HU
        widest = float(np.quantile(levels, WIDE_SHARE)) if len(levels) else vessel
        background = _soft_tissue(image, vessel)
        np.maximum(image, background - BELOW_TISSUE_HU, out=image)
        limit = _bone_limit(widest, background, noise)
        bone, plaque = _bone(image, crop, limit)
        if not bone.any() and (image >= image.max()).mean() > CUT_OFF_SHARE:
            bone = _bulk(image > 0.5 * (widest + background), crop, landmarks)
            image[bone] = limit + 0.5 * (limit - background)
        image[plaque] = vessel
        boneless = np.where(bone, np.float32(background), np.minimum(image, np.float32(vessel)))
    else:
        levels = _levels_at(image, crop, landmarks)
        vessel = float(np.median(levels)) if len(levels) else float(np.quantile(image, 0.99))
        background = float(np.median(image[::2, ::2, ::2]))
        boneless, limit = image, float("inf")
    beside = _beside_fill(part, background + hounsfield, crop)
    return Region(image, boneless, crop, start, grid.shape, vessel, background, noise, limit, beside)


def _beside_fill(part: np.ndarray, background: float, grid: Grid) -> np.ndarray:
    """bool [k, j, i]: in and beside the constant value of a masked scan, no brighter than the `background`.

    Tissue has noise: what has the same value as all its neighbours over a large volume was filled in. Where that leaves
    no bulk of tissue, but only what is near it, vessels were enhanced or thresholded, and it is no edge.
    """
    values, counts = np.unique(part[::2, ::2, ::2], return_counts=True)
    fill = values[int(counts.argmax())]
    same = part == fill
    voxel_mm3 = float(np.prod(grid.spacing))
    if float(fill) > background or same.sum() * voxel_mm3 < FILL_MM3:
        return np.zeros(part.shape, bool)
    inner = ndimage.minimum_filter(same, 3, mode="nearest")
    if inner.sum() * voxel_mm3 < FILL_MM3:
        return np.zeros(part.shape, bool)
    thinned = ~inner[::2, ::2, ::2]
    deep = ndimage.distance_transform_edt(thinned, 2.0 * grid.spacing[::-1]) > BULK_MM
    if deep.sum() < BULK_SHARE * thinned.sum():
        return np.zeros(part.shape, bool)
    # Once back to where it was and once more to the voxels beside it.
    return np.asarray(ndimage.maximum_filter(inner, 5, mode="nearest"))


def _levels_at(image: np.ndarray, grid: Grid, landmarks: np.ndarray) -> np.ndarray:
    """(m,) bright part of what lies within 1.5 mm of each landmark inside the crop."""
    values = []
    for point in apply_affine(grid.ras_to_ijk, landmarks).reshape(-1, 3):
        reach = LEVEL_RADIUS_MM / grid.spacing
        low = np.maximum(np.ceil(point - reach), 0).astype(int)
        high = np.minimum(np.floor(point + reach) + 1, grid.size).astype(int)
        if (high > low).all():
            block = image[low[2] : high[2], low[1] : high[1], low[0] : high[0]]
            values.append(float(np.quantile(block, 0.75)))
    return np.array(values)


def _soft_tissue(image: np.ndarray, vessel: float) -> float:
    """Median of the soft tissue in HU; 0 where the scan holds none (masked)."""
    values = image[::2, ::2, ::2]
    soft = values[(values > SOFT_TISSUE_HU[0]) & (values < min(SOFT_TISSUE_HU[1], 0.5 * vessel))]
    return float(np.median(soft)) if soft.size > 0.02 * values.size else 0.0


def _bone_limit(vessel: float, background: float, noise: float) -> float:
    """Value above which there is bone or plaque rather than contrast-filled lumen."""
    return vessel + max((BONE_RATIO - 1.0) * (vessel - background), BONE_NOISES * noise)


def _bone(image: np.ndarray, grid: Grid, limit: float) -> tuple[np.ndarray, np.ndarray]:
    """Masks of large dense components (bone) and of small ones (calcified plaque)."""
    labels, _ = ndimage.label(image > limit)
    large = np.bincount(labels.reshape(-1)) * float(np.prod(grid.spacing)) >= BONE_MM3
    large[0] = False
    bone = large[labels]
    return bone, (labels > 0) & ~bone


def _bulk(dense: np.ndarray, grid: Grid, landmarks: np.ndarray) -> np.ndarray:
    """Mask of what is too thick for an artery: where balls of BULKY_MM fit into `dense`, away from landmarks."""
    steps = np.maximum(1, np.rint(BULK_VOXEL_MM / grid.spacing[::-1])).astype(int)
    spacing = steps * grid.spacing[::-1]
    some = dense[:: steps[0], :: steps[1], :: steps[2]]
    core = ndimage.distance_transform_edt(np.pad(some, 1), spacing)[1:-1, 1:-1, 1:-1] > BULKY_MM
    if not core.any():
        return np.zeros_like(dense)
    ijk = np.rint(apply_affine(grid.ras_to_ijk, landmarks)).astype(int) // steps[::-1]
    i, j, k = np.clip(ijk, 0, np.array(some.shape[::-1]) - 1).T
    placed = np.ones(some.shape, bool)
    placed[k, j, i] = False
    bulk = ndimage.distance_transform_edt(~core, spacing) < BULKY_MM
    bulk &= ndimage.distance_transform_edt(placed, spacing) > LANDMARK_MM
    for axis, step in enumerate(steps):
        bulk = np.repeat(bulk, step, axis=axis)
    size = dense.shape
    return np.asarray(bulk[: size[0], : size[1], : size[2]] & dense)


def _noise(image: np.ndarray) -> float:
    """Standard deviation of the noise: median absolute difference of neighbours along i, masked background left out.

    Robust against edges; at least a hundredth of the range, so that a noiseless or binary scan has some as well.
    """
    part = image[::2, ::2]
    lowest = part.min()
    steps = np.abs(np.diff(part, axis=2))[(part[:, :, 1:] > lowest) & (part[:, :, :-1] > lowest)]
    low, high = np.quantile(part[::2, :, ::4], (0.02, 0.995))
    least = 0.01 * float(high - low)
    return max(float(np.median(steps)) / (0.6745 * np.sqrt(2.0)) if steps.size else 0.0, least, 1e-6)
