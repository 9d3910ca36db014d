"""Slices with a position each made into one volume on an even, orthogonal grid, or refused."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.errors import VolumeError
from ..core.volume import Grid

EVEN_MM = 0.05
"""Slices this close to even places are even; a sideways drift of twice this over the whole stack is none."""
SAME_PLACE_MM = 0.02
SAME_ORIENTATION = 0.005
SIDEWAYS_MM = 0.5
STEEPEST_TILT = 45.0
MILD_GAP = 3.1
"""A gap of up to two lost slices ..."""
MILD_GAP_MM = 3.0
"""... and no more than this is bridged; the vessels that matter are 1-4 mm wide."""
SLIGHT_GAP = 1.5
"""A gap of up to this many ordinary gaps is bridged however thick the slices are."""
MOST_LOST = 0.1


@dataclass(frozen=True)
class SliceStack:
    """How slices lie: `order` sorts them along their normal; all vectors in RAS mm.

    `distances` (n,) along the normal from the first slice; `step` (3,) from one slice to the next, on average
    and including a sideways drift; `row`, `column` unit vectors along i and j; `spacing` in mm along i, j.
    """

    order: np.ndarray
    distances: np.ndarray
    origin: np.ndarray
    row: np.ndarray
    column: np.ndarray
    spacing: tuple[float, float]
    drift: np.ndarray

    @property
    def normal(self) -> np.ndarray:
        """(3,) unit vector across the slices."""
        return np.cross(self.row, self.column)

    @property
    def tilt_degrees(self) -> float:
        """Angle between the slices' normal and the way they are stacked (gantry tilt)."""
        return float(np.degrees(np.arctan(np.linalg.norm(self.drift))))

    @property
    def tilted(self) -> bool:
        """Whether the drift is large enough to matter."""
        return float(np.linalg.norm(self.drift) * self.distances[-1]) > 2 * EVEN_MM

    @property
    def gap(self) -> float:
        """Ordinary distance between neighbouring slices in mm."""
        return float(np.median(np.diff(self.distances)))

    @property
    def even(self) -> bool:
        """Whether the slices lie at even distances."""
        places = np.linspace(0.0, self.distances[-1], len(self.distances))
        return bool(np.abs(self.distances - places).max() <= EVEN_MM)

    def ijk_to_ras(self, count: int) -> np.ndarray:
        """(4, 4) of `count` even slices over the whole stack, sheared if the stack is tilted."""
        along = self.normal + self.drift if self.tilted else self.normal
        matrix = np.eye(4)
        matrix[:3, 0] = self.row * self.spacing[0]
        matrix[:3, 1] = self.column * self.spacing[1]
        matrix[:3, 2] = along * (self.distances[-1] / (count - 1))
        # An ignored drift is shared between both ends of the stack.
        matrix[:3, 3] = self.origin if self.tilted else self.origin + self.drift * self.distances[-1] / 2.0
        return matrix


def arrange_slices(positions: np.ndarray, orientations: np.ndarray, spacings: np.ndarray, name: str) -> SliceStack:
    """Sort slices and check that they make one volume.

    `positions` (n, 3) RAS mm of the first voxel of each slice, `orientations` (n, 6) RAS unit vectors along i
    and j, `spacings` (n, 2) mm along i and j. Raises VolumeError with a sentence about `name`.
    """
    if len(positions) < 2:
        raise VolumeError(f"{name} is a single slice; a 3-D scan is needed.")
    if np.abs(orientations - orientations[0]).max() > SAME_ORIENTATION:
        raise VolumeError(f"{name} mixes slices of different orientations; export one orientation as its own series.")
    if np.abs(spacings / spacings[0] - 1.0).max() > 0.001:
        raise VolumeError(f"{name} mixes slices of different voxel sizes; export one of them as its own series.")
    row, column = orientations[0, :3], orientations[0, 3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if min(lengths) < 0.99 or max(lengths) > 1.01 or abs(row @ column) > 0.01:
        raise VolumeError(f"{name} records impossible slice directions; export it again.")
    row = row / lengths[0]
    column = column - row * (row @ column)
    column = column / np.linalg.norm(column)
    normal = np.cross(row, column)
    order = np.argsort(positions @ normal, kind="stable")
    positions = positions[order]
    distances = (positions - positions[0]) @ normal
    _refuse_repeats(distances, name)
    _refuse_gaps(np.diff(distances), name)
    sideways = positions - positions[0] - distances[:, None] * normal
    drift = (distances @ sideways) / (distances @ distances)
    if np.abs(sideways - distances[:, None] * drift).max() > SIDEWAYS_MM:
        raise VolumeError(f"{name} has slices displaced sideways against each other; export it again or another one.")
    stack = SliceStack(order, distances, positions[0], row, column, (spacings[0, 0], spacings[0, 1]), drift)
    if stack.tilt_degrees > STEEPEST_TILT:
        raise VolumeError(f"{name} has slices stacked {stack.tilt_degrees:.0f} degrees aslant; export it again.")
    return stack


def _refuse_repeats(distances: np.ndarray, name: str) -> None:
    starts = np.flatnonzero(np.diff(distances, prepend=-np.inf) > SAME_PLACE_MM)
    counts = np.diff(np.append(starts, len(distances)))
    if counts.max() == 1:
        return
    if len(starts) > 1 and counts.min() == counts.max():
        raise VolumeError(
            f"{name} holds {counts[0]} images at each position (several time points, echoes or repeats); "
            "export one of them as its own series."
        )
    raise VolumeError(
        f"{name} holds more than one image at {np.count_nonzero(counts > 1)} of {len(starts)} positions; "
        "export a single acquisition as its own series."
    )


def _refuse_gaps(gaps: np.ndarray, name: str) -> None:
    ordinary, widest = float(np.median(gaps)), float(gaps.max())
    lost = int(np.maximum(np.rint(gaps / ordinary) - 1, 0).sum())
    mild = widest <= MILD_GAP * ordinary and widest <= MILD_GAP_MM and lost <= MOST_LOST * len(gaps)
    if not (mild or widest <= SLIGHT_GAP * ordinary):
        raise VolumeError(
            f"{name} has slices missing: a gap of {widest:.1f} mm where {ordinary:.1f} mm is usual; "
            "export the complete series."
        )


def straightened(voxels: np.ndarray, stack: SliceStack) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Sorted slices [k, j, i] of `stack` on an even, orthogonal grid.

    Returns voxels (same dtype), ijk_to_ras (4, 4) and a sentence for each resampling that was needed.
    """
    warnings = []
    count = len(voxels)
    if not stack.even:
        count = round(stack.distances[-1] / stack.gap) + 1
        voxels = _evened(voxels, stack.distances, count)
        warnings.append(f"Slices lay unevenly or were missing; they were interpolated to {count} even slices.")
    matrix = stack.ijk_to_ras(count)
    if stack.tilted:
        source = Grid((voxels.shape[0], voxels.shape[1], voxels.shape[2]), matrix)
        target = _orthogonal_grid(source, stack)
        import torch  # start-up time

        from ..networks.resampling import resample  # start-up time

        straight = resample(torch.from_numpy(voxels), source, target, padding=float(voxels.min()))
        voxels, matrix = _as_type(straight.numpy(), voxels.dtype), target.ijk_to_ras
        warnings.append(
            f"The slices were stacked aslant (gantry tilt of {stack.tilt_degrees:.1f} degrees); "
            "the scan was resampled onto an orthogonal grid."
        )
    return voxels, matrix, tuple(warnings)


def _evened(voxels: np.ndarray, distances: np.ndarray, count: int) -> np.ndarray:
    even = np.empty((count, *voxels.shape[1:]), voxels.dtype)
    for k, place in enumerate(np.linspace(0.0, distances[-1], count)):
        above = int(np.clip(np.searchsorted(distances, place), 1, len(distances) - 1))
        share = (place - distances[above - 1]) / (distances[above] - distances[above - 1])
        even[k] = _as_type((1.0 - share) * voxels[above - 1] + share * voxels[above], voxels.dtype)
    return even


def _orthogonal_grid(source: Grid, stack: SliceStack) -> Grid:
    """The smallest grid with the source's in-plane voxels and slice planes that holds every slice."""
    last = source.shape[0] - 1
    shift = stack.drift * stack.distances[-1]
    pixels = np.array([shift @ stack.row / stack.spacing[0], shift @ stack.column / stack.spacing[1]])
    before, after = np.floor(np.minimum(pixels, 0.0)).astype(int), np.ceil(np.maximum(pixels, 0.0)).astype(int)
    grown = after - before
    matrix = source.ijk_to_ras.copy()
    matrix[:3, 2] = stack.normal * (stack.distances[-1] / last)
    matrix[:3, 3] += matrix[:3, 0] * before[0] + matrix[:3, 1] * before[1]
    return Grid((last + 1, source.shape[1] + int(grown[1]), source.shape[2] + int(grown[0])), matrix)


def _as_type(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if dtype.kind in "iu":
        bounds = np.iinfo(dtype)
        values = np.clip(np.rint(values), bounds.min, bounds.max)
    return values.astype(dtype)
