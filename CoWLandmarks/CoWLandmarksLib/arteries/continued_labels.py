"""The arteries in the classes of another data set, continued beyond our landmarks to the edge of its region.

Where our last artery of a class ends inside the region, its lumen is followed in the scan: bright voxels that are
connected to its end, in shells of one millimetre of way, and round them those at least half as bright as the lumen.
A part of a shell that is much wider than the end of the artery is a leak, into bone or another vessel, and is not
followed further.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from ..core.anatomy import Anatomy
from ..core.artery_map import ArteryMap, ArteryState, ArteryTrace
from ..core.label_scheme import LabelClass, LabelScheme
from ..core.volume import Grid, Modality, Volume, apply_affine
from .voxel_ways import voxel_ways

SHELL_MM = 1.0
SHARED_SHELL = 1.7
"""A whole shell, of several branches, may be this many times as large as one part of it."""
LEAST_RADIUS_MM = 0.8
END_MM = 3.0
"""The lumen is measured over this length before the end."""
RIM_MM = 3.0
"""Up to this far beyond the wall are the surroundings of the lumen."""
SAME_PLACE_MM = 0.05
WALL_RADII, WALL_MM = 1.15, 0.3
"""Voxels as near as this to the axis of a traced artery belong to its wall, not to a continuation."""


def label_volume(
    volume: Volume, modality: Modality, arteries: ArteryMap, scheme: LabelScheme, anatomy: Anatomy
) -> Volume:
    """The classes of `scheme` on the grid of the scan, uint8 [k, j, i], 0 outside its region.

    Raises AnnotationError where no landmark of the region is placed, ConfigurationError where the scheme names an
    artery that `anatomy` lacks.
    """
    positions = {one.code: one.position for one in arteries.landmarks if one.position is not None}
    start, shape = scheme.region_of(volume.grid, positions)
    every = [artery.label for artery in anatomy.arteries]
    classes = scheme.lookup(anatomy)[arteries.labels_on(start, shape, every)]
    window = tuple(slice(first, first + n) for first, n in zip(start[::-1], shape, strict=True))
    region = Volume(np.asarray(volume.voxels[window], np.float32), volume.grid.window(start, shape).ijk_to_ras)
    for one, end in _open_ends(arteries, scheme):
        _continue(classes, one, end, region, modality, arteries)
    voxels = np.zeros(volume.voxels.shape, np.uint8)
    voxels[window] = classes
    return Volume(voxels, volume.ijk_to_ras, scheme.name)


@dataclass(frozen=True)
class _Limits:
    """What is followed: voxels from `level` to `brightest`, 0 being the surroundings and 1 the lumen at the end.

    The cross-section of a part of a shell is at most `widest` times that of the end, and the root mean square distance
    of its voxels from its centre `spread` times the radius of the end (that of a disc is 0.7 radii).
    """

    level: float
    brightest: float
    widest: float
    spread: float


_LIMITS = {
    Modality.MRA: _Limits(level=0.65, brightest=np.inf, widest=1.8, spread=1.2),
    # Next to bone and the cavernous sinus only the bright core is safe to follow.
    Modality.CTA: _Limits(level=0.8, brightest=1.3, widest=1.4, spread=0.85),
}
HALF = 0.5


@dataclass(frozen=True)
class _End:
    """Where an artery ends: its last centreline points (n, 3) RAS mm and radii (n,) mm, the end first."""

    points: np.ndarray
    radii: np.ndarray

    @property
    def radius_mm(self) -> float:
        """A typical radius, not too small for voxels."""
        return max(float(np.median(self.radii)), LEAST_RADIUS_MM)


def _open_ends(arteries: ArteryMap, scheme: LabelScheme) -> Iterator[tuple[LabelClass, _End]]:
    """The classes that go on, each with the outward end of its outermost traced artery; not where one is absent."""
    by_code = {trace.code: trace for trace in arteries.arteries}
    for one in scheme.classes:
        traces = [by_code[code] for code in one.arteries]
        traced = [trace for trace in traces if trace.traced and len(trace.centerline) > 2]
        ends_before = any(trace.state is ArteryState.ABSENT for trace in traces)
        if one.continues is not None and traced and not ends_before:
            yield one, _end_of(traced[-1], one.continues == "start")


def _end_of(trace: ArteryTrace, at_start: bool) -> _End:
    points, radii = (values[:: 1 if at_start else -1] for values in (trace.centerline, trace.radii))
    near = np.linalg.norm(points - points[0], axis=1) <= END_MM
    return _End(points[near], radii[near])


def _continue(
    classes: np.ndarray, one: LabelClass, end: _End, region: Volume, modality: Modality, arteries: ArteryMap
) -> None:
    """Add the continuation of a class to the map `classes` [k, j, i], in place."""
    grid = region.grid
    if min(grid.shape) == 0 or grid.depth_mm(end.points[:1])[0] <= 0.0:
        return
    limits = _LIMITS[modality]
    brightness = _relative_brightness(classes, end, region)
    if brightness is None:
        return
    lumen = (brightness >= HALF) & (brightness <= limits.brightest) & (classes == 0)
    own = np.argwhere(lumen)
    own = own[~_in_walls(apply_affine(grid.ijk_to_ras, own[:, ::-1]), end, arteries)]
    free = own[brightness[tuple(own.T)] >= limits.level]
    places = apply_affine(grid.ijk_to_ras, free[:, ::-1])
    near = np.linalg.norm(places - end.points[0], axis=1) <= end.radius_mm + float(grid.spacing.max())
    if not near.any():
        return
    ways = voxel_ways(free, grid.spacing[::-1], np.flatnonzero(near))
    kept = np.zeros(grid.shape, bool)
    kept[tuple(free[_followed(free, ways.total, grid, end.radius_mm, limits)].T)] = True
    rim = np.zeros(grid.shape, bool)
    rim[tuple(own.T)] = True
    classes[ndimage.binary_dilation(kept, mask=rim)] = one.label


def _relative_brightness(classes: np.ndarray, end: _End, region: Volume) -> np.ndarray | None:
    """The region [k, j, i], 0 for the surroundings of the end's lumen and 1 for the lumen; None without contrast."""
    grid = region.grid
    places = apply_affine(grid.ijk_to_ras, np.argwhere(np.ones(grid.shape, bool))[:, ::-1])
    away, nearest = cKDTree(end.points).query(places, distance_upper_bound=float(end.radii.max()) + RIM_MM + 1.0)
    away, nearest = away.reshape(grid.shape), np.minimum(nearest, len(end.radii) - 1).reshape(grid.shape)
    radius = end.radii[nearest]
    inside = region.voxels[away <= 0.6 * radius]
    around = region.voxels[(away > 1.5 * radius) & (away <= radius + RIM_MM) & (classes == 0)]
    if inside.size == 0 or around.size == 0:
        return None
    lumen, background = float(np.median(inside)), float(np.quantile(around, 0.4))
    return (region.voxels - background) / (lumen - background) if lumen > background else None


def _in_walls(places: np.ndarray, end: _End, arteries: ArteryMap) -> np.ndarray:
    """Whether places (n, 3) RAS mm belong to the wall of a traced artery and do not lie beyond the end."""
    traced = [trace for trace in arteries.arteries if trace.traced]
    axis, radii = (np.concatenate([getattr(t, name) for t in traced]) for name in ("centerline", "radii"))
    away, nearest = cKDTree(axis).query(places)
    at_end = np.linalg.norm(axis[nearest] - end.points[0], axis=1) < SAME_PLACE_MM
    return (away <= WALL_RADII * radii[nearest] + WALL_MM) & ~at_end


def _followed(voxels: np.ndarray, way_mm: np.ndarray, grid: Grid, radius_mm: float, limits: _Limits) -> np.ndarray:
    """Which of the voxels (n, 3) k, j, i to keep: those at the end, then shell by shell of their `way_mm` (n,)."""
    low = voxels.min(axis=0) - 1
    before = np.zeros(voxels.max(axis=0) - low + 2, bool)
    kept = way_mm == 0.0
    before[tuple((voxels[kept] - low).T)] = True
    every_way = np.ones((3, 3, 3), bool)
    limit = limits.widest * np.pi * radius_mm**2 * SHELL_MM / float(np.prod(grid.spacing))
    reached = np.isfinite(way_mm)
    for shell in range(int(np.ceil(way_mm[reached].max() / SHELL_MM))):
        members = np.flatnonzero((way_mm > shell * SHELL_MM) & (way_mm <= (shell + 1) * SHELL_MM))
        places = tuple((voxels[members] - low).T)
        image = np.zeros_like(before)
        image[places] = True
        parts, count = ndimage.label(image, every_way)
        joined = np.unique(parts[ndimage.binary_dilation(before, every_way)])
        sizes = np.bincount(parts.reshape(-1), minlength=count + 1)
        good = np.zeros(count + 1, bool)
        good[joined] = sizes[joined] <= limit
        good[0] = False
        for part in np.flatnonzero(good):
            points = voxels[members][parts[places] == part] * grid.spacing[::-1]
            spread = np.sqrt(((points - points.mean(axis=0)) ** 2).sum(axis=1).mean())
            good[part] = spread <= limits.spread * radius_mm
        if not good.any() or sizes[good].sum() > SHARED_SHELL * limit:
            break
        before = good[parts]
        kept[members] = before[places]
    return kept
