"""The lumen round a centreline: cross-sections by half maximum against the local background, sub-voxel.

In the plane across the vessel rays leave the centre; on each the wall lies where the profile has fallen half way from
the level of the lumen to that of the surroundings. Rays that run on into a branch, a kissing vessel or an unremoved
neighbour are pulled back to what their neighbours along and round the vessel say.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .region import Region

RAYS = 24
RADIAL_STEP_MM = 0.125
STEP_MM = 0.4
"""Distance of the points of a centreline."""
LARGEST_RADIUS_MM = 4.5
WIDEST_RAY, ROUND_RAY = 1.25, 1.1
"""A ray is cut at this many times a typical one of its cross-section, for the wall and for finding the centre."""
RIM_MM = 1.4
BONE_EDGE_MM = 0.75
THIN_VOXELS, WIDE_VOXELS = 1.5, 2.2
"""Up to the first radius a faint vessel is taken to be thin, from the second on to be faint only."""
SHORTEST_STEP_MM = 1e-3
SMOOTHING_MM = 0.8
CENTRING_PASSES = 3
FIXED_END_MM = 1.0


@dataclass(frozen=True)
class CrossSections:
    """Cross-sections along a centreline.

    `points` (n, 3) RAS mm, `tangents` (n, 3), `normals` (n, 2, 3) two directions across, `radii` (n, RAYS) mm to the
    wall, `lumen` (n,) level inside, `surroundings` (n,) outside, `closed` (n,) share of the rays that meet a wall.
    """

    points: np.ndarray
    tangents: np.ndarray
    normals: np.ndarray
    radii: np.ndarray
    lumen: np.ndarray
    surroundings: np.ndarray
    closed: np.ndarray

    @property
    def radius(self) -> np.ndarray:
        """(n,) radius in mm of the circle of the same area."""
        return np.sqrt((self.radii**2).mean(axis=1))


def arc_length(points: np.ndarray) -> np.ndarray:
    """(n,) mm along a polyline (n, 3)."""
    return np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))))


def evenly_spaced(points: np.ndarray, step_mm: float = STEP_MM) -> np.ndarray:
    """The polyline with points about `step_mm` apart, at least three; both ends stay."""
    along = arc_length(points)
    count = max(2, round(float(along[-1]) / step_mm)) + 1
    new = np.linspace(0.0, along[-1], count)
    return np.stack([np.interp(new, along, points[:, axis]) for axis in range(3)], axis=1)


def smoothed(points: np.ndarray, sigma_mm: float) -> np.ndarray:
    """Gaussian smoothing of an evenly spaced polyline; both ends stay (reflection through the end points).

    One that is hardly longer than a point stays as it is.
    """
    step = float(arc_length(points)[-1]) / max(len(points) - 1, 1)
    if len(points) < 2 or step < SHORTEST_STEP_MM:
        return points
    reach = min(int(4.0 * sigma_mm / step) + 1, len(points) - 1)
    head, tail = 2 * points[0] - points[reach:0:-1], 2 * points[-1] - points[-2 : -reach - 2 : -1]
    padded = np.concatenate((head, points, tail))
    return np.asarray(ndimage.gaussian_filter1d(padded, sigma_mm / step, axis=0)[reach : reach + len(points)])


def cross_sections(region: Region, points: np.ndarray, largest_mm: float = LARGEST_RADIUS_MM) -> CrossSections:
    """Cross-sections at the points (n, 3) RAS mm of an evenly spaced centreline."""
    tangents, normals = _frames(points)
    angles = 2.0 * np.pi * np.arange(RAYS) / RAYS
    across = np.cos(angles)[:, None] * normals[:, None, 0] + np.sin(angles)[:, None] * normals[:, None, 1]
    distance = np.arange(0.0, largest_mm + RIM_MM + RADIAL_STEP_MM, RADIAL_STEP_MM)
    profiles = region.sample(points[:, None, None] + distance[:, None] * across[:, :, None])
    filled = np.minimum(profiles, region.bone_limit)
    near = round(0.5 / RADIAL_STEP_MM) + 1
    lumen = _along(filled[:, :, :near].mean(axis=(1, 2)))
    # First the surroundings as a whole, then each ray's own; bone counts as surroundings.
    boneless = np.where(profiles > region.bone_limit, region.background, profiles)
    surroundings = _along(np.quantile(boneless[:, :, 2 * near :], 0.2, axis=(1, 2)))
    rough = _regular(_wall(profiles, 0.5 * (lumen + surroundings)[:, None], lumen, region.bone_limit), largest_mm)
    inside = distance < 0.6 * np.median(rough, axis=1)[:, None, None]
    within = np.where(inside, filled, 0.0).sum(axis=(1, 2)) / np.maximum(inside.sum(axis=(1, 2)) * RAYS, 1)
    lumen = _along(np.maximum(within, lumen))
    rim = (distance >= rough[:, :, None]) & (distance <= rough[:, :, None] + RIM_MM)
    outside = np.where(rim, boneless, np.inf).min(axis=2)
    outside = np.where(np.isfinite(outside), outside, surroundings[:, None])
    outside = np.minimum(_median_round(outside, (3, 5)), lumen[:, None])
    radii = _wall(profiles, 0.5 * (lumen[:, None] + outside), lumen, region.bone_limit)
    closed = (radii <= np.minimum(largest_mm, 1.6 * np.median(radii, axis=1, keepdims=True))).mean(axis=1)
    surroundings = np.median(outside, axis=1)
    radii = _regular(radii, largest_mm)
    filled_share = (lumen - surroundings) / max(region.vessel - region.background, 1e-6)
    thinner = partial_volume_factor(np.sqrt((radii**2).mean(axis=1)), filled_share, float(region.grid.spacing.mean()))
    return CrossSections(points, tangents, normals, radii * thinner[:, None], lumen, surroundings, closed)


def partial_volume_factor(radius: np.ndarray, contrast: np.ndarray, voxel_mm: float) -> np.ndarray:
    """(n,) factor by which the half-maximum radius of a vessel that does not fill its voxels is too large.

    A tube of radius r, blurred by a Gaussian of width s > r, has the half-maximum radius 1.18 s and the share
    r^2 / (2 s^2) of the full contrast, so that r = 1.2 R sqrt(contrast). `contrast` (n,) is that share; the factor
    fades out for vessels that are wide enough to be faint for another reason.
    """
    faint = np.minimum(1.2 * np.sqrt(np.clip(contrast, 0.05, 1.0)), 1.0)
    thin = np.clip((WIDE_VOXELS - radius / voxel_mm) / (WIDE_VOXELS - THIN_VOXELS), 0.0, 1.0)
    return np.asarray(1.0 - thin * (1.0 - _along(faint)))


def centred(region: Region, path: np.ndarray, largest_mm: float = LARGEST_RADIUS_MM) -> CrossSections:
    """Cross-sections of the path (n, 3) RAS mm moved to the centre of the lumen; its ends stay where they are."""
    points = evenly_spaced(smoothed(evenly_spaced(path), SMOOTHING_MM))
    for _ in range(CENTRING_PASSES):
        sections = cross_sections(region, points, largest_mm)
        along = arc_length(points)
        free = np.clip(np.minimum(along, along[-1] - along) / FIXED_END_MM, 0.0, 1.0)
        shift = np.einsum("na,nad->nd", _centre(sections.radii), sections.normals)
        points = evenly_spaced(smoothed(points + free[:, None] * shift, 0.5 * SMOOTHING_MM))
    return cross_sections(region, points, largest_mm)


def _frames(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tangents (n, 3) and two directions across (n, 2, 3) that turn as little as possible along the curve."""
    tangents = np.gradient(smoothed(points, SMOOTHING_MM), axis=0)
    tangents /= np.maximum(np.linalg.norm(tangents, axis=1, keepdims=True), 1e-9)
    first = np.empty_like(tangents)
    direction = np.eye(3)[int(np.argmin(np.abs(tangents[0])))]
    for index, tangent in enumerate(tangents):
        direction = direction - (direction @ tangent) * tangent
        direction = direction / max(float(np.linalg.norm(direction)), 1e-9)
        first[index] = direction
    return tangents, np.stack([first, np.cross(tangents, first)], axis=1)


def _wall(profiles: np.ndarray, level: np.ndarray, lumen: np.ndarray, bone_limit: float) -> np.ndarray:
    """(n, RAYS) mm to the wall: where a profile falls below its level, or has risen half way to bone that it meets."""
    fall = _first_below(profiles, level)
    dense = profiles > bone_limit
    if not dense.any():
        return fall
    reach = round(BONE_EDGE_MM / RADIAL_STEP_MM)
    peak = ndimage.maximum_filter1d(profiles, 2 * reach + 1, axis=2, mode="nearest")
    first = dense.argmax(axis=2)
    bone = np.take_along_axis(peak, np.minimum(first + reach, peak.shape[2] - 1)[:, :, None], 2)[:, :, 0]
    rise = _first_below(-profiles, -np.where(dense.any(axis=2), 0.5 * (lumen[:, None] + bone), np.inf))
    return np.minimum(fall, rise)


def _first_below(profiles: np.ndarray, level: np.ndarray) -> np.ndarray:
    """(n, RAYS) mm at which each profile first falls below its level, linearly interpolated; else the last distance."""
    below = profiles < level[:, :, None]
    below[:, :, 0] = False
    index = below.argmax(axis=2)
    found = below.any(axis=2)
    index = np.where(found, index, profiles.shape[2] - 1)
    here = np.take_along_axis(profiles, index[:, :, None], 2)[:, :, 0]
    before = np.take_along_axis(profiles, index[:, :, None] - 1, 2)[:, :, 0]
    part = np.clip((before - level) / np.maximum(before - here, 1e-6), 0.0, 1.0)
    return np.where(found, (index - 1 + part) * RADIAL_STEP_MM, index * RADIAL_STEP_MM)


def _regular(radii: np.ndarray, largest_mm: float) -> np.ndarray:
    """Radii (n, RAYS) without the outliers that run into neighbours, lightly smoothed round and along the vessel."""
    typical = _along(np.quantile(radii, 0.4, axis=1))
    limited = np.minimum(radii, np.minimum(WIDEST_RAY * typical, largest_mm)[:, None])
    limited = _median_round(limited, (3, 3))
    return np.maximum(ndimage.gaussian_filter(limited, (0.7, 0.7), mode=("nearest", "wrap")), 0.5 * RADIAL_STEP_MM)


def _median_round(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Median filter over (n, RAYS) values that closes round the vessel."""
    reach = size[1] // 2
    padded = np.pad(values, ((0, 0), (reach, reach)), mode="wrap")
    return np.asarray(ndimage.median_filter(padded, size, mode="nearest")[:, reach:-reach])


def _along(values: np.ndarray, width: int = 5) -> np.ndarray:
    """Running median along the vessel."""
    return np.asarray(ndimage.median_filter(values, width, mode="nearest"))


def _centre(radii: np.ndarray) -> np.ndarray:
    """(n, 2) centre of each cross-section, in mm along the two directions across.

    It is the centroid of what is left when long rays are cut, so that a neighbour without a gap pulls but little.
    """
    radii = np.minimum(radii, ROUND_RAY * np.quantile(radii, 0.4, axis=1, keepdims=True))
    angles = 2.0 * np.pi * np.arange(RAYS) / RAYS
    area = (radii**2).sum(axis=1) / 2.0
    x, y = (radii**3 * np.cos(angles)).sum(axis=1) / 3.0, (radii**3 * np.sin(angles)).sum(axis=1) / 3.0
    return np.stack([x, y], axis=1) / np.maximum(area, 1e-9)[:, None]
