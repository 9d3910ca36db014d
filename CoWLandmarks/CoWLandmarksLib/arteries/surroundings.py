"""What is made ready in a scan before arteries are traced: the crop round the circle, its cost map, the router."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..core.anatomy import Anatomy
from ..core.mean_landmarks import mean_landmark, reference_to_scan
from ..core.volume import Modality, Volume, apply_affine
from .costs import CostMap, working_grid
from .minimal_path import Corridor, corridor_between
from .region import Region, crop_round, region_round
from .routes import BASILAR_BOX_MM, Router, funnel

Anchors = Mapping[str, tuple[float, float, float]]
"""RAS mm by code of the landmarks that crop and cost map were made for, rounded as in `detection.json`."""

SLACK_MM = 3.0
"""The cost map reaches so much farther than the first paths need, for landmarks that are moved a little."""
REGION_RIM_MM = 6.0
"""Where a landmark comes nearer than this to the edge of the crop, a new crop is made."""
ANCHOR_DECIMALS = 4


@dataclass(frozen=True)
class Surroundings:
    """Crop, cost map and router for the landmarks `anchors` of one scan.

    They depend on nothing else, so that they are the same whether they were kept or made again.
    """

    anchors: Anchors
    modality: Modality
    anatomy: Anatomy
    region: Region
    costs: CostMap
    router: Router

    def are_for(self, anchors: Anchors, modality: Modality, anatomy: Anatomy) -> bool:
        """Whether these are the ones that `surroundings_of` would make in the same scan."""
        return dict(self.anchors) == dict(anchors) and self.modality is modality and self.anatomy == anatomy


def anchors_at(positions: Mapping[str, np.ndarray]) -> Anchors:
    """Anchors at these landmarks (RAS mm)."""
    rounded = {code: [round(float(v), ANCHOR_DECIMALS) + 0.0 for v in point] for code, point in positions.items()}
    return {code: (r, a, s) for code, (r, a, s) in rounded.items()}


def holds(anchors: Anchors, volume: Volume, anatomy: Anatomy, positions: Mapping[str, np.ndarray]) -> bool:
    """Whether the crop made for `anchors` has room round landmarks at `positions` (RAS mm) as well."""
    if not anchors:
        return False
    _, places = _pairs_and_places(anchors, anatomy)
    start, shape = crop_round(volume.grid, places)
    placed = np.array(list(positions.values()))
    inside = volume.grid.window(start, shape).depth_mm(placed)
    return bool((inside >= np.minimum(REGION_RIM_MM, volume.grid.depth_mm(placed) - 1e-6)).all())


def surroundings_of(volume: Volume, modality: Modality, anatomy: Anatomy, anchors: Anchors) -> Surroundings:
    """Crop, cost map and router for the landmarks `anchors`; `volume` has its voxels along R, A, S."""
    points = {code: np.array(point) for code, point in anchors.items()}
    pairs, places = _pairs_and_places(anchors, anatomy)
    to_scan = reference_to_scan(points)
    placed = np.array(list(points.values()))
    region = region_round(volume, modality, places, placed)
    grid = working_grid(region)
    corridors: list[Corridor] = [corridor_between(grid, first, last, SLACK_MM) for first, last in pairs]
    corridors += [funnel(grid, to_scan, points[tip]) for tip in _basilar_tips(points, anatomy)]
    costs = CostMap(region, placed, corridors, grid)
    return Surroundings(anchors, modality, anatomy, region, costs, Router(costs, to_scan))


def _pairs_and_places(anchors: Anchors, anatomy: Anatomy) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Ends of all arteries with a known end (RAS mm; the other where it is to be expected), and all places (n, 3)."""
    points = {code: np.array(point) for code, point in anchors.items()}
    to_scan = reference_to_scan(points)
    pairs = []
    for artery in anatomy.arteries:
        ends = (artery.start, artery.end)
        if None not in ends and any(code in points for code in ends):
            first, last = (points.get(str(code), apply_affine(to_scan, mean_landmark(str(code)))) for code in ends)
            pairs.append((first, last))
    places = [np.array(list(points.values())), *(np.array(pair) for pair in pairs)]
    drop = to_scan[:3, :3] @ np.array([0.0, 0.5 * BASILAR_BOX_MM[0, 1], BASILAR_BOX_MM[0, 2]])
    places += [(points[tip] + drop)[None] for tip in _basilar_tips(points, anatomy)]
    return pairs, np.concatenate(places)


def _basilar_tips(points: Mapping[str, np.ndarray], anatomy: Anatomy) -> list[str]:
    return [str(a.end) for a in anatomy.arteries if a.start is None and a.end in points]
