"""Arteries of the two sides that have to do with each other: fed from the other side, or found in one vessel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..core.anatomy import Anatomy, Artery
from .declared import joined
from .ends import Ends, Way
from .lumen import CrossSections, centred
from .measures import counterpart_codes
from .presence import SHARED, shared_part
from .region import Region
from .residual import without
from .routes import Router

INSIDE = 0.4
"""A second path that runs inside the first one's lumen for more than this has found no vessel of its own."""
SECOND_VESSEL = 0.35
"""Least contrast of a second vessel beside the first one, as a share of the first one's."""

SIDE_BY_SIDE_MM = 10.0
"""Arteries whose ends lie closer than this run side by side; those that part (P1) leave each other soon."""
GAP_SHARE, SIDE_BY_SIDE_GAP_SHARE = 0.2, 0.05
"""Of two ways to share two vessels the better one has no gap: its second path stands out but for this share of it."""


class ArteryPairs:
    """Settles what concerns both sides; `points` are the landmarks (RAS mm) that the arteries' `ends` name."""

    def __init__(
        self,
        anatomy: Anatomy,
        region: Region,
        router: Router,
        ends: Mapping[str, Ends],
        points: Mapping[str, np.ndarray],
    ) -> None:
        self._anatomy = anatomy
        self._region = region
        self._router = router
        self._ends = ends
        self._points = points

    def trace_across(self, hanging: Sequence[Artery], sections: dict[str, CrossSections]) -> None:
        """Add the arteries that the other side feeds, together with the midline artery that feeds them."""
        ends = self._ends
        bridges = [a for a in hanging if a.side == "midline" and ends[a.code].way is Way.ACROSS]
        for bridge in bridges:
            fed = next(a for a in hanging if a is not bridge and ends[a.code] == ends[bridge.code])
            other = sections.get(counterpart_codes(self._anatomy).get(fed.code, ""))
            both = replace(ends[fed.code], declared=joined(ends[bridge.code].declared, ends[fed.code].declared))
            paths = self._router.across(fed, both, self._points, [] if other is None else [other])
            if paths is None:
                continue
            traced = centred(self._region, paths[1])
            if other is None or self._apart(traced, other):
                backwards = bridge.start != ends[bridge.code].start
                sections[bridge.code] = centred(self._region, paths[0][::-1] if backwards else paths[0])
                sections[fed.code] = traced

    def part(self, sections: dict[str, CrossSections], kept: Iterable[str]) -> dict[str, str]:
        """Where an artery took the vessel of its counterpart, let one of the two keep out of it if it finds another.

        Where it finds none the fainter one is taken out of `sections`, but for those that are `kept` or that a person
        says are there; returns which was taken out, with its counterpart.
        """
        ends, merged = self._ends, {}
        for code, other in counterpart_codes(self._anatomy).items():
            if code > other or code not in sections or other not in sections or {code, other} <= set(kept):
                continue
            if max(shared_part(sections[code], sections[other]), shared_part(sections[other], sections[code])) < SHARED:
                continue
            side_by_side = self._side_by_side(code, other, sections)
            options = []
            for first, second in ((code, other), (other, code)):
                if second in kept or ends[second].way is Way.ACROSS or ends[second].waypoints:
                    continue
                gap_share = GAP_SHARE
                if side_by_side:
                    traced = self._router.beside(ends[second], self._points, sections[first])
                    gap_share = SIDE_BY_SIDE_GAP_SHARE
                else:
                    path = self._router.path(ends[second], self._points, [sections[first]])
                    traced = None if path is None else centred(self._region, path)
                if traced is not None:
                    options.append((float(np.quantile(_contrast(traced), gap_share)), second, traced))
            apart = [o for o in options if self._apart(o[2], sections[other if o[1] == code else code])]
            if apart:
                _, second, traced = max(apart, key=lambda option: option[0])
                sections[second] = traced
                first = other if second == code else code
                if first not in kept and side_by_side:
                    sections[first] = centred(without(self._region, traced), sections[first].points)
                continue
            # One vessel for both: an azygos artery, or a second one too near or too thin to be separated from it.
            doubtful = [c for c in (code, other) if c not in kept and not ends[c].surely_present]
            if not doubtful:
                continue
            fainter = min(doubtful, key=lambda c: float(_contrast(sections[c]).mean()))
            del sections[fainter]
            merged[fainter] = other if fainter == code else code
        return merged

    def _side_by_side(self, code: str, other: str, sections: Mapping[str, CrossSections]) -> bool:
        """Whether two arteries begin and end close to each other but not in one point (both A2)."""
        for one, two in (
            (self._ends[code].start, self._ends[other].start),
            (self._ends[code].end, self._ends[other].end),
        ):
            if one is None or two is None or one == two:
                return False
        # Where they end their paths tell: landmarks of an artery that is kept were not looked at this time.
        apart = np.linalg.norm(sections[code].points[[0, -1]] - sections[other].points[[0, -1]], axis=1)
        return bool((apart <= SIDE_BY_SIDE_MM).all())

    def _apart(self, traced: CrossSections, first: CrossSections) -> bool:
        """Whether a second path found a vessel of its own beside the first one."""
        clear = float(np.quantile(_contrast(traced), 0.2)) > SECOND_VESSEL * float(np.median(_contrast(first)))
        return clear and shared_part(traced, first, 1.0) < INSIDE


def _contrast(sections: CrossSections) -> np.ndarray:
    """(n,) how far the lumen stands out from its surroundings along a path."""
    return sections.lumen - sections.surroundings
