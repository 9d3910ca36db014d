"""The cost map round the circle: where a path between landmarks is likely to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from .anatomy import Artery
from .arteries_ends import Ends, Way
from .arteries_frame import BASILAR_JUNCTION_MM, mean_landmark
from .arteries_lumen import CrossSections
from .arteries_path import Corridor, Costs, cheapest_ways, corridor_between, corridor_box
from .arteries_region import Region
from .arteries_vesselness import tubularity
from .volume import Grid, apply_affine, resample

WORKING_MM = (0.45, 0.6)
"""Finest and coarsest spacing of the grid on which paths are looked for."""
BACKGROUND_COST = 40.0
"""Cost of a millimetre through the background; one along a clear vessel costs 1."""
SNAP_MM = 0.8
"""Landmarks are moved to the vessel's centre within about this distance."""
BASILAR_BOX_MM = np.array([[-13.0, -18.0, -44.0], [13.0, 12.0, 4.0]])
"""Where the basilar and the ends of the vertebral arteries lie in the reference frame, low and high corner."""
VERTEBRAL_LEVEL_MM = 14.0
"""So far below the mean junction the two vertebral arteries are looked for."""
APART_MM = 2.0
LATERAL_MM = 1.5
EDGE_LAYER_MM = 1.0


@dataclass(frozen=True)
class CostMap:
    """Cost of a millimetre on an isotropic grid; `to_scan` (4, 4) takes the reference frame to RAS mm of the scan."""

    region: Region
    grid: Grid
    vesselness: np.ndarray
    cost: np.ndarray
    to_scan: np.ndarray

    @property
    def spacing_mm(self) -> float:
        """Spacing of the grid."""
        return float(self.grid.spacing[0])

    def snapped(self, point: np.ndarray, within_mm: float = SNAP_MM) -> np.ndarray:
        """The place near a landmark (RAS mm) where the centre of a vessel is most likely."""
        reach = 2.5 * within_mm / self.spacing_mm
        centre = self._voxel(point)[::-1]
        low = np.clip(np.floor(centre - reach).astype(int), 0, self.grid.size - 1)
        high = np.clip(np.ceil(centre + reach).astype(int) + 1, low + 1, self.grid.size)
        block = self.vesselness[low[2] : high[2], low[1] : high[1], low[0] : high[0]]
        k, j, i = np.meshgrid(*(np.arange(low[a], high[a]) for a in (2, 1, 0)), indexing="ij")
        places = apply_affine(self.grid.ijk_to_ras, np.stack([i, j, k], axis=-1))
        score = block * np.exp(-0.5 * (np.linalg.norm(places - point, axis=-1) / within_mm) ** 2)
        if score.max() <= 0.0:
            return point
        best = places[np.unravel_index(int(score.argmax()), score.shape)]
        weight = score * (np.linalg.norm(places - best, axis=-1) <= 1.8 * self.spacing_mm)
        return np.asarray((weight[..., None] * places).sum(axis=(0, 1, 2)) / weight.sum())

    def path(
        self, artery: Artery, ends: Ends, points: Mapping[str, np.ndarray], taken: Sequence[CrossSections] = ()
    ) -> np.ndarray | None:
        """Path (n, 3) RAS mm of an artery from start to end; None where none can be found.

        `points` are the landmarks by code; the lumens of `taken` are avoided away from the artery's own ends.
        """
        if ends.way is Way.BETWEEN:
            first, last = points[str(ends.start)], points[str(ends.end)]
            costs = self._ways(corridor_between(self.grid, first, last), first, self._avoiding(taken, first, last))
            return self._to_points(costs, costs.node_near(self._voxel(last)), first, last)
        if ends.way is Way.TO_EDGE:
            return self._path_to_edge(artery, ends, points)
        if ends.way is Way.BASILAR:
            return self._basilar(points[str(ends.end)])
        return None

    def _voxel(self, point: np.ndarray) -> np.ndarray:
        """(k, j, i) of a RAS point, not rounded."""
        return apply_affine(self.grid.ras_to_ijk, point)[::-1]

    def _ways(self, corridor: Corridor, start: np.ndarray, cost: np.ndarray | None = None) -> Costs:
        return cheapest_ways(self.cost if cost is None else cost, self.spacing_mm, corridor, self._voxel(start))

    def _to_points(self, costs: Costs, node: int, first: np.ndarray, last: np.ndarray | None) -> np.ndarray | None:
        voxels = costs.path_to(node)
        if len(voxels) == 0:
            return None
        places = apply_affine(self.grid.ijk_to_ras, voxels[:, ::-1])
        middle = places[1:-1]
        return np.concatenate([first[None], middle, (places[-1] if last is None else last)[None]])

    def _avoiding(self, taken: Sequence[CrossSections], first: np.ndarray, last: np.ndarray) -> np.ndarray | None:
        """Cost map in which the lumens of other arteries cost as much as background, away from `first` and `last`."""
        if not taken:
            return None
        cost = self.cost.copy()
        for sections in taken:
            radius = 0.9 * sections.radius
            away = np.linalg.norm(sections.points - first, axis=1) > radius
            away &= np.linalg.norm(sections.points - last, axis=1) > radius
            for point, reach in zip(sections.points[away], radius[away], strict=True):
                _block_within(cost, self._voxel(point), reach / self.spacing_mm)
        return cost

    def _path_to_edge(self, artery: Artery, ends: Ends, points: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """From the one known end towards where the other is expected, until the vessel leaves the scan."""
        known = str(ends.start or ends.end)
        other = str(artery.end if ends.start else artery.start)
        start = points[known]
        towards = (
            start + apply_affine(self.to_scan, mean_landmark(other)) - apply_affine(self.to_scan, mean_landmark(known))
        )
        costs = self._ways(corridor_between(self.grid, start, towards), start)
        places = apply_affine(self.grid.ijk_to_ras, costs.voxels[:, ::-1])
        at_edge = np.flatnonzero(self.region.depth_mm(places) < EDGE_LAYER_MM)
        if len(at_edge) == 0:
            return None
        path = self._to_points(costs, int(at_edge[np.argmin(costs.total[at_edge])]), start, None)
        return path if path is None or ends.start else path[::-1]

    def _basilar(self, tip: np.ndarray) -> np.ndarray | None:
        """From the vertebrobasilar junction, or the edge of the scan, up to the tip.

        The cheapest ways to a right and a left place below, where the vertebral arteries lie, part at the junction.
        """
        to_reference = np.linalg.inv(self.to_scan)
        to_box = to_reference.copy()
        to_box[:3, 3] -= apply_affine(to_reference, tip)
        costs = self._ways(corridor_box(self.grid, to_box, *BASILAR_BOX_MM), tip)
        if len(costs.voxels) == 0:
            return None
        places = apply_affine(self.grid.ijk_to_ras, costs.voxels[:, ::-1])
        box = apply_affine(to_box, places)
        at_edge = (self.region.depth_mm(places) < EDGE_LAYER_MM) & (box[:, 2] < -4.0)
        below = np.flatnonzero(at_edge | (box[:, 2] < BASILAR_JUNCTION_MM[2] - VERTEBRAL_LEVEL_MM))
        ways = []
        for side in (1.0, -1.0):
            lateral = below[side * box[below, 0] > LATERAL_MM]
            if len(lateral):
                path = self._to_points(costs, int(lateral[np.argmin(costs.total[lateral])]), tip, None)
                if path is not None:
                    ways.append(path)
        if not ways:
            return None
        return _common_part(ways)[::-1]


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


def _common_part(ways: Sequence[np.ndarray]) -> np.ndarray:
    """The part that two ways (n, 3) from the same start have in common; the shorter way where there is but one."""
    if len(ways) == 1:
        return ways[0]
    first, second = ways
    apart = np.array([float(np.linalg.norm(second - point, axis=1).min()) for point in first])
    parted = np.flatnonzero(apart > APART_MM)
    if len(parted) == 0:
        return first
    last = int(parted[0])
    shared = np.flatnonzero(apart[:last] < 0.5 * APART_MM)
    return first[: max(int(shared[-1]) + 1 if len(shared) else last, 2)]


def cost_map(
    region: Region, to_scan: np.ndarray, points: np.ndarray, where: Sequence[tuple[np.ndarray, np.ndarray]]
) -> CostMap:
    """Cost map of a region; vessels are looked for between the pairs of places `where` and below the basilar tip."""
    spacing = float(np.clip(region.grid.spacing.min(), *WORKING_MM))
    grid = _isotropic(region.grid, spacing)
    image = resample(torch.from_numpy(region.image), region.grid, grid).numpy()
    mask = np.zeros(grid.shape, bool)
    corridors = [corridor_between(grid, first, second) for first, second in where]
    corridors.append(corridor_box(grid, np.linalg.inv(to_scan), *BASILAR_BOX_MM))
    for corridor in corridors:
        window = tuple(slice(f, f + n) for f, n in zip(corridor.first, corridor.inside.shape, strict=True))
        mask[window] |= corridor.inside
    vesselness = tubularity(image, spacing, mask)
    flat = CostMap(region, grid, vesselness, vesselness, to_scan)
    voxels = [
        np.clip(np.rint(flat._voxel(flat.snapped(point))).astype(int), 0, np.array(grid.shape) - 1) for point in points
    ]
    levels = [float(vesselness[tuple(voxel)]) for voxel in voxels]
    level = max(float(np.median(levels)) if levels else 0.0, 1e-6)
    relative = np.clip(vesselness / level, 0.0, 1.0)
    return replace(flat, cost=(1.0 / (1.0 / BACKGROUND_COST + relative)).astype(np.float32))


def _isotropic(grid: Grid, spacing: float) -> Grid:
    """Grid over the same box, with the same axes, and this spacing (mm) along all of them."""
    size = np.maximum(2, np.floor((grid.size - 1) * grid.spacing / spacing).astype(int) + 1)
    matrix = grid.ijk_to_ras.copy()
    matrix[:3, :3] = grid.ijk_to_ras[:3, :3] / grid.spacing * spacing
    return Grid((int(size[2]), int(size[1]), int(size[0])), matrix)
