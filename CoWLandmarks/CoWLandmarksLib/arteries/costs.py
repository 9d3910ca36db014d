"""The cost map round the circle: where a path between landmarks is likely to run."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import numpy as np
import torch

from ..core.volume import Grid, apply_affine
from ..networks.resampling import resample
from .lumen import CrossSections
from .minimal_path import Corridor, Costs, cheapest_ways, window_of
from .region import Region
from .residual import without
from .vesselness import reach_voxels, tubularity

WORKING_MM = (0.45, 0.6)
"""Finest and coarsest spacing of the grid on which paths are looked for."""
BACKGROUND_COST = 40.0
"""Cost of a millimetre through the background; one along a clear vessel costs 1."""
SNAP_MM = (0.4, 1.5)
"""Landmarks are moved to the centre of the vessel within about half their expected error, at least and at most this."""
DIRECTION_MM = 2.2


class CostMap:
    """Tubularity and the cost of a millimetre, on an isotropic grid over a region.

    They are computed where paths are looked for: first in all the corridors given, later where `ways` needs more.
    `points` (n, 3) RAS mm are landmarks, whose median tubularity is that of a clear vessel.
    """

    def __init__(self, region: Region, points: np.ndarray, corridors: Sequence[Corridor], grid: Grid) -> None:
        self.region = region
        self.grid = grid
        self._image = resample(torch.from_numpy(region.boneless), region.grid, grid).numpy()
        self._known = np.zeros(grid.shape, bool)
        for corridor in corridors:
            self._known[window_of(corridor)] |= corridor.inside
        self.vesselness = tubularity(self._image, self.spacing_mm, self._known)
        levels = [float(self._block(point, 2.0 * SNAP_MM[0])[0].max()) for point in points]
        self._level = max(float(np.median(levels)) if levels else 0.0, 1e-6)
        self.cost = self._cost_of(self.vesselness)

    @property
    def spacing_mm(self) -> float:
        """Spacing of the grid."""
        return float(self.grid.spacing[0])

    def voxel(self, point: np.ndarray) -> np.ndarray:
        """(k, j, i) of a RAS point, not rounded."""
        return apply_affine(self.grid.ras_to_ijk, point)[::-1]

    def places(self, voxels: np.ndarray) -> np.ndarray:
        """RAS mm (n, 3) of voxels (n, 3) k, j, i."""
        return apply_affine(self.grid.ijk_to_ras, voxels[:, ::-1])

    def ways(
        self, corridor: Corridor, start: np.ndarray, end: np.ndarray | None = None, taken: Sequence[CrossSections] = ()
    ) -> Costs:
        """Cheapest ways from `start` (RAS mm) through a corridor.

        Away from `start` and `end` the lumens of `taken` cost as much as background.
        """
        self._compute(corridor)
        cost = self.cost if not taken or end is None else self._avoiding(taken, start, end)
        return cheapest_ways(cost, self.spacing_mm, corridor, self.voxel(start))

    def without(self, artery: CrossSections) -> CostMap:
        """The cost map of the same scan with one artery taken out; what is a clear vessel stays the same."""
        rest = copy(self)
        rest.region = without(self.region, artery)
        rest._image = resample(torch.from_numpy(rest.region.boneless), rest.region.grid, self.grid).numpy()
        rest._known = np.zeros_like(self._known)
        rest.vesselness = np.zeros_like(self.vesselness)
        rest.cost = rest._cost_of(rest.vesselness)
        return rest

    def snapped(self, point: np.ndarray, error_mm: float = 0.0) -> np.ndarray:
        """A landmark (RAS mm) moved across its vessel to where the centre is most likely; never along the vessel."""
        within_mm = float(np.clip(0.5 * error_mm, *SNAP_MM))
        block, places = self._round(point, 2.5 * within_mm)
        score = block * np.exp(-0.5 * (np.linalg.norm(places - point, axis=-1) / within_mm) ** 2)
        if score.max() <= 0.0:
            return point
        best = places[np.unravel_index(int(score.argmax()), score.shape)]
        weight = score * (np.linalg.norm(places - best, axis=-1) <= 1.8 * self.spacing_mm)
        centre = np.asarray((weight[..., None] * places).sum(axis=(0, 1, 2)) / weight.sum())
        direction = self._direction(centre)
        shift = centre - point
        return np.asarray(point + shift - (shift @ direction) * direction)

    def _direction(self, point: np.ndarray) -> np.ndarray:
        """Direction (3,) of the vessel at a place: the axis along which the tubularity round it extends most."""
        block, places = self._round(point, DIRECTION_MM)
        offset = (places - point).reshape(-1, 3)
        weight = block.reshape(-1) * (np.linalg.norm(offset, axis=1) <= DIRECTION_MM)
        spread = np.einsum("n,na,nb->ab", weight, offset, offset)
        return np.linalg.eigh(spread)[1][:, 2]

    def _round(self, point: np.ndarray, reach_mm: float) -> tuple[np.ndarray, np.ndarray]:
        """Tubularity and RAS mm of the voxels within reach of a place; zero beyond, be it known or not."""
        low, high = self._box(point, reach_mm)
        places = self._places(low, high)
        near: np.ndarray = np.less_equal(np.linalg.norm(places - point, axis=-1), reach_mm)
        self._compute(Corridor(near, (int(low[2]), int(low[1]), int(low[0]))))
        block, _ = self._block(point, reach_mm)
        return np.where(near, block, np.float32(0.0)), places

    def _block(self, point: np.ndarray, reach_mm: float) -> tuple[np.ndarray, np.ndarray]:
        """Tubularity as far as it is known and RAS mm of the voxels of a box round a place."""
        low, high = self._box(point, reach_mm)
        return self.vesselness[low[2] : high[2], low[1] : high[1], low[0] : high[0]], self._places(low, high)

    def _box(self, point: np.ndarray, reach_mm: float) -> tuple[np.ndarray, np.ndarray]:
        centre = self.voxel(point)[::-1]
        reach = reach_mm / self.spacing_mm
        low = np.clip(np.floor(centre - reach).astype(int), 0, self.grid.size - 1)
        return low, np.clip(np.ceil(centre + reach).astype(int) + 1, low + 1, self.grid.size)

    def _places(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        k, j, i = np.meshgrid(*(np.arange(low[a], high[a]) for a in (2, 1, 0)), indexing="ij")
        return apply_affine(self.grid.ijk_to_ras, np.stack([i, j, k], axis=-1))

    def _avoiding(self, taken: Sequence[CrossSections], first: np.ndarray, last: np.ndarray) -> np.ndarray:
        """Cost map in which the lumens of other arteries cost as much as background, away from `first` and `last`."""
        cost = self.cost.copy()
        for sections in taken:
            radius = 0.9 * sections.radius
            away = np.linalg.norm(sections.points - first, axis=1) > radius
            away &= np.linalg.norm(sections.points - last, axis=1) > radius
            for point, reach in zip(sections.points[away], radius[away], strict=True):
                _block_within(cost, self.voxel(point), reach / self.spacing_mm)
        return cost

    def _compute(self, corridor: Corridor) -> None:
        """Compute what a corridor needs and is not known yet; the order of such calls changes no value."""
        window = window_of(corridor)
        if not (corridor.inside & ~self._known[window]).any():
            return
        rim = reach_voxels(self.spacing_mm)
        box = tuple(slice(max(0, w.start - rim), w.stop + rim) for w in window)
        wanted = np.zeros(self.grid.shape, bool)
        wanted[window] = corridor.inside & ~self._known[window]
        found = tubularity(self._image[box], self.spacing_mm, wanted[box])
        new = wanted[box]
        self.vesselness[box][new] = found[new]
        self.cost[box][new] = self._cost_of(found[new])
        self._known[window] |= corridor.inside

    def _cost_of(self, vesselness: np.ndarray) -> np.ndarray:
        relative = np.clip(vesselness / self._level, 0.0, 1.0)
        return np.asarray(1.0 / (1.0 / BACKGROUND_COST + relative), np.float32)


def _block_within(cost: np.ndarray, voxel: np.ndarray, reach: float) -> None:
    """Set the cost within `reach` voxels of a place (k, j, i) to that of the background; in place."""
    low = np.maximum(np.ceil(voxel - reach).astype(int), 0)
    high = np.minimum(np.floor(voxel + reach).astype(int) + 1, cost.shape)
    if (high <= low).any():
        return
    ranges = [np.arange(a, b) - v for a, b, v in zip(low, high, voxel, strict=True)]
    inside = ranges[0][:, None, None] ** 2 + ranges[1][:, None] ** 2 + ranges[2] ** 2 <= reach**2
    block = cost[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    block[inside] = np.float32(BACKGROUND_COST)


def working_grid(region: Region) -> Grid:
    """The isotropic grid over a region on which paths are looked for, with the scan's axes."""
    grid = region.grid
    spacing = float(np.clip(grid.spacing.min(), *WORKING_MM))
    size = np.maximum(2, np.floor((grid.size - 1) * grid.spacing / spacing).astype(int) + 1)
    matrix = grid.ijk_to_ras.copy()
    matrix[:3, :3] = grid.ijk_to_ras[:3, :3] / grid.spacing * spacing
    return Grid((int(size[2]), int(size[1]), int(size[0])), matrix)
