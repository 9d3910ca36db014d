"""The way of an artery: between two landmarks, on to the edge of the scan, or down the basilar artery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from ..core.anatomy import Artery
from ..core.mean_landmarks import BASILAR_JUNCTION_MM, mean_landmark
from ..core.volume import Grid, apply_affine
from .costs import CostMap
from .ends import Ends, Way
from .lumen import CrossSections, arc_length, centred, evenly_spaced, smoothed
from .minimal_path import Corridor, Costs, corridor_between, corridor_box

BASILAR_BOX_MM = np.array([[-13.0, -18.0, -44.0], [13.0, 12.0, 4.0]])
"""Where the basilar and the ends of the vertebral arteries lie in the reference frame, low and high corner."""
VERTEBRAL_LEVEL_MM = 14.0
"""So far below the mean junction the two vertebral arteries are looked for."""
FUNNEL_MM, FUNNEL_SLOPE = 4.5, 0.4
"""The way down the basilar keeps within this of the axis at its tip, and that much more per millimetre below it."""
SHORTEST_BASILAR_MM, MEAN_BASILAR_MM, LONGEST_BASILAR_MM = 15.0, 28.0, 42.0
"""Length of the basilar artery: least and most accepted, and the mean (patients: 28 +- 7 mm)."""
BRIDGE_MM = (1.2, 8.0)
"""Least and greatest length of an ACoA whose one end has to be found."""
BEND_MM, ODD_WEIGHT = 0.8, 0.35
"""The path is smoothed by this before its elbow is looked for; weight of the distance to where it is to be expected."""
APART_MM = 2.0
LATERAL_MM = 1.5
EDGE_BELOW_MM = 4.0
EXIT_COST = 4.0
"""Cost of a millimetre between where a path leaves the scan and where it should: a clear vessel is followed rather than
left, and tissue is not crossed for it."""
WAYPOINT_ERROR_MM = 2.0
"""A waypoint is moved to the centre of its vessel as a landmark with this expected error is."""
FARTHER = (1.0, 1.7, 2.6)
"""Where no way leads to the edge, one is looked for this many times as far away as the landmark beyond is expected."""


class Router:
    """Finds the ways of arteries on a cost map; `to_scan` (4, 4) takes the reference frame to RAS mm of the scan."""

    def __init__(self, costs: CostMap, to_scan: np.ndarray) -> None:
        self._costs = costs
        self._to_scan = to_scan

    def path(
        self, ends: Ends, points: Mapping[str, np.ndarray], taken: Sequence[CrossSections] = ()
    ) -> np.ndarray | None:
        """Path (n, 3) RAS mm of an artery from start to end; None where none can be found.

        `points` are the landmarks by code; the lumens of `taken` are avoided away from the artery's own ends, unless a
        waypoint lies in them.
        """
        through = [self._costs.snapped(np.array(place), WAYPOINT_ERROR_MM) for place in ends.waypoints]
        taken = [sections for sections in taken if not any(_lies_in(place, sections) for place in through)]
        if ends.beyond is not None:
            known = str(ends.start or ends.end)
            stops = [points[known], *(through if ends.start else through[::-1])]
            path = _joined(self._along(stops, taken), self._to_edge(known, ends.beyond, stops[-1], taken))
            return path if path is None or ends.start else path[::-1]
        if ends.way in (Way.BETWEEN, Way.ACROSS):
            return self._along([points[str(ends.start)], *through, points[str(ends.end)]], taken)
        if ends.way is Way.BASILAR:
            stops = [*through, points[str(ends.end)]]
            return _joined(self._basilar(stops[0]), self._along(stops, taken))
        return None

    def _along(self, stops: Sequence[np.ndarray], taken: Sequence[CrossSections]) -> np.ndarray | None:
        """Path (n, 3) from stop to stop (RAS mm); None where one of its legs cannot be found."""
        path: np.ndarray | None = stops[0][None]
        for first, last in pairwise(stops):
            costs = self._costs.ways(corridor_between(self._costs.grid, first, last), first, last, taken)
            leg = self._to_points(costs, costs.node_near(self._costs.voxel(last)), first, last)
            path = _joined(path, leg)
        return path

    def beside(self, ends: Ends, points: Mapping[str, np.ndarray], first: CrossSections) -> CrossSections | None:
        """An artery traced in the scan without the artery `first` that it touches; None where no path is found."""
        rest = self._costs.without(first)
        path = Router(rest, self._to_scan).path(ends, points)
        return None if path is None else centred(rest.region, path)

    def across(
        self, fed: Artery, ends: Ends, points: Mapping[str, np.ndarray], taken: Sequence[CrossSections]
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Paths (n, 3) of the midline artery and of the artery `fed` by it, parted at the elbow between them.

        Both begin on the side of the other junction. `taken` are the lumens to keep out of.
        """
        path = self.path(ends, points, taken)
        if path is None:
            return None
        path = smoothed(evenly_spaced(path), BEND_MM)
        along = arc_length(path)
        near = (along >= BRIDGE_MM[0]) & (along <= min(BRIDGE_MM[1], 0.5 * along[-1]))
        if not near.any():
            return None
        # The elbow between the two: the midline artery runs across, the other one forwards and up.
        reach = int(np.searchsorted(along, min(2.0 * BRIDGE_MM[1], along[-1])).clip(2, len(path) - 1))
        chord = (path[reach] - path[0]) / max(float(np.linalg.norm(path[reach] - path[0])), 1e-6)
        offset = path - path[0]
        bend = np.linalg.norm(offset - np.outer(offset @ chord, chord), axis=1)
        shift = self._expected(str(fed.start)) - self._expected(str(ends.start))
        odd = np.linalg.norm(offset - shift, axis=1)
        parting = int(np.where(near, bend - ODD_WEIGHT * odd, -np.inf).argmax())
        return path[: parting + 1], path[parting:]

    def _to_points(self, costs: Costs, node: int, first: np.ndarray, last: np.ndarray | None) -> np.ndarray | None:
        voxels = costs.path_to(node)
        if len(voxels) == 0:
            return None
        places = self._costs.places(voxels)
        return np.concatenate([first[None], places[1:-1], (places[-1] if last is None else last)[None]])

    def _to_edge(self, known: str, beyond: str, start: np.ndarray, taken: Sequence[CrossSections]) -> np.ndarray | None:
        """From `start`, a known landmark or beyond it, towards where one outside is expected, to the edge of the scan
        or of its signal."""
        offset = self._expected(beyond) - self._expected(known)
        for farther in FARTHER:
            towards = start + farther * offset
            costs = self._costs.ways(corridor_between(self._costs.grid, start, towards), start, start, taken)
            places = self._costs.places(costs.voxels)
            at_edge = np.flatnonzero(self._costs.region.at_edge(places) & np.isfinite(costs.total))
            if len(at_edge):
                away = np.linalg.norm(places[at_edge] - (start + offset), axis=1)
                exit_ = int(at_edge[np.argmin(costs.total[at_edge] + EXIT_COST * away)])
                return self._to_points(costs, exit_, start, None)
        return None

    def _expected(self, code: str) -> np.ndarray:
        """(3,) RAS mm of a mean landmark."""
        return apply_affine(self._to_scan, mean_landmark(code))

    def _basilar(self, tip: np.ndarray) -> np.ndarray | None:
        """From the vertebrobasilar junction, or the edge of the scan, up to the tip.

        The cheapest way down is the basilar and one vertebral artery; where the cheapest way to the other side leaves
        it is the junction. Where none is seen the artery ends at its mean length.
        """
        to_box = _to_box(self._to_scan, tip)
        costs = self._costs.ways(funnel(self._costs.grid, self._to_scan, tip), tip)
        if len(costs.voxels) == 0:
            return None
        box = apply_affine(to_box, self._costs.places(costs.voxels))
        at_edge = self._costs.region.at_edge(self._costs.places(costs.voxels))
        level = BASILAR_JUNCTION_MM[2] - VERTEBRAL_LEVEL_MM
        below = np.flatnonzero((at_edge & (box[:, 2] < -EDGE_BELOW_MM)) | (box[:, 2] < level))
        if len(below) == 0:
            return None
        rating = costs.total + EXIT_COST * np.maximum(box[:, 2] - level, 0.0)
        main = int(below[np.argmin(rating[below])])
        way = self._to_points(costs, main, tip, None)
        if way is None:
            return None
        side = np.sign(box[main, 0]) or 1.0
        others = below[-side * box[below, 0] > LATERAL_MM]
        length = arc_length(way)
        end = length[-1] if at_edge[main] and length[-1] < LONGEST_BASILAR_MM else MEAN_BASILAR_MM
        if len(others):
            other = self._to_points(costs, int(others[np.argmin(rating[others])]), tip, None)
            parted = _parting(way, other) if other is not None else None
            if parted is not None and length[parted] > SHORTEST_BASILAR_MM:
                end = min(float(length[parted]), LONGEST_BASILAR_MM)
        return way[: max(int(np.searchsorted(length, end, side="right")), 2)][::-1]


def _joined(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
    """One path (n, 3) of two, the second of which begins where the first one ends; None where one is missing."""
    return None if first is None or second is None else np.concatenate([first, second[1:]])


def _lies_in(place: np.ndarray, sections: CrossSections) -> bool:
    away = np.linalg.norm(sections.points - place, axis=1)
    nearest = int(away.argmin())
    return bool(away[nearest] < sections.radius[nearest])


def _to_box(to_scan: np.ndarray, tip: np.ndarray) -> np.ndarray:
    """(4, 4) from RAS mm to the axes of the reference frame with the basilar tip at the origin."""
    to_box = np.linalg.inv(to_scan)
    to_box[:3, 3] -= apply_affine(to_box, tip)
    return to_box


def funnel(grid: Grid, to_scan: np.ndarray, tip: np.ndarray) -> Corridor:
    """The region below the basilar tip (RAS mm) that widens downwards.

    It is narrow above, where the superior cerebellar arteries leave, and below holds the ends of both vertebral
    arteries. `to_scan` (4, 4) takes the reference frame to RAS mm of the scan.
    """
    to_box = _to_box(to_scan, tip)
    corridor = corridor_box(grid, to_box, *BASILAR_BOX_MM)
    k, j, i = np.nonzero(corridor.inside)
    ijk = np.stack([i, j, k], axis=1) + np.array(corridor.first[::-1])
    box = apply_affine(to_box, apply_affine(grid.ijk_to_ras, ijk))
    radius = FUNNEL_MM + FUNNEL_SLOPE * np.maximum(-box[:, 2], 0.0)
    inside = corridor.inside.copy()
    inside[k, j, i] = np.linalg.norm(box[:, :2], axis=1) <= radius
    return Corridor(inside, corridor.first)


def _parting(way: np.ndarray, other: np.ndarray) -> int | None:
    """Index of the last point of `way` (n, 3) that it has in common with `other` from the same start."""
    apart = np.array([float(np.linalg.norm(other - point, axis=1).min()) for point in way])
    parted = np.flatnonzero(apart > APART_MM)
    if len(parted) == 0:
        return None
    shared = np.flatnonzero(apart[: parted[0]] < 0.5 * APART_MM)
    return int(shared[-1]) if len(shared) else 0
