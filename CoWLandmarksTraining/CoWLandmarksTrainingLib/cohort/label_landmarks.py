"""Landmarks of the circle from a label map of its arteries: contacts of classes, and rules on centrelines.

Where a landmark joins arteries of two or three classes, it lies where these touch; where the branch is missing, the
rule of its definition is applied to the centreline. Landmarks inside one class (C5-C6, M1-M2, A2-A3 and the like) are
not in such a map: they stay not annotated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.core.detection import LandmarkEstimate, LandmarkState
from CoWLandmarksLib.core.label_scheme import LabelScheme
from CoWLandmarksLib.core.volume import EDGE_MM, Volume
from scipy.spatial import cKDTree

from ..phantom.artery_tree import ICA_RULE_MM, PCA_RULE_MM, TURN_ARM_MM, TURN_REACH_MM
from ..phantom.curves import arc_length, at_arc, joined, length, nearest_vertex, sharpest_turn
from .labelled_vessels import LabelledVessels, smoothed_line

APPROACH_MM = 25.0
"""Without an ACoA, the two ACA come closest within this length of their beginning."""
CLOSE_MM = 1.0
FUSED_MM = 3.0
"""An ACA that ends this close to the other one has joined it (azygos)."""
REACH_MM = 6.0
"""An ACA that does not come this close to the ICA's terminus has no A1; one that does not come this close to the other
ACA is broken off before it."""
BROKEN_MM = 4.0
"""A contact this far from the axis of its parent is not on that part of the parent."""
DEEPEST_SHARE, COMMON_SHARE = 0.3, 0.3
"""Shares of a contact: those nearest to the axis of the parent, or to the other contacts."""


@dataclass(frozen=True)
class _Place:
    """Where a landmark is, and what that rests on; no position: the landmark is absent."""

    position: np.ndarray | None
    basis: str
    by_rule: bool = False


def landmarks_from_labels(labels: Volume, scheme: LabelScheme, anatomy: Anatomy) -> tuple[LandmarkEstimate, ...]:
    """The landmarks that a label map tells, in the anatomy's order; their notes say what each rests on.

    Landmarks that cannot be derived are left out. One within 2 mm of the edge of the scan counts as outside. Raises
    ConfigurationError where the scheme names an artery that the anatomy lacks.
    """
    scheme.lookup(anatomy)
    places = _Rules(LabelledVessels(labels), scheme).places()
    estimates = []
    for code in anatomy.codes:
        place = places.get(code)
        if place is None:
            continue
        state, position = LandmarkState.ABSENT, None
        if place.position is not None:
            inside = labels.grid.depth_mm(place.position[None])[0] >= EDGE_MM
            state = LandmarkState.FOUND if inside else LandmarkState.OUTSIDE
            position = (float(place.position[0]), float(place.position[1]), float(place.position[2]))
        position = position if state is LandmarkState.FOUND else None
        estimates.append(LandmarkEstimate(code, position, state, 1.0, 0.0, by_rule=place.by_rule, note=place.basis))
    return tuple(estimates)


class _Rules:
    """The definitions, applied to the vessels of one label map."""

    def __init__(self, vessels: LabelledVessels, scheme: LabelScheme) -> None:
        self._vessels = vessels
        self._label = {code: one.label for one in scheme.classes for code in one.arteries}
        self._name = {one.label: one.name for one in scheme.classes}

    def places(self) -> dict[str, _Place]:
        """All landmarks that can be derived, by code."""
        found: dict[str, _Place | None] = {"BA-T": self._basilar_tip()}
        for side in ("R", "L"):
            found[f"{side}-ICA-T"] = self._carotid_terminus(side)
            found[f"{side}-C6-C7"] = self._communicating_origin(side, found[f"{side}-ICA-T"])
            found[f"{side}-P1-P2A"] = self._posterior_junction(side, found["BA-T"])
        found |= self._anterior_junctions({side: found[f"{side}-ICA-T"] for side in ("R", "L")})
        return {code: place for code, place in found.items() if place is not None}

    def _contact(self, first: str, second: str) -> np.ndarray:
        """Places (n, 3) where the classes of two arteries touch."""
        return self._vessels.contact(self._label[first], self._label[second])

    def _names(self, *arteries: str) -> str:
        return " and ".join(self._name[self._label[code]] for code in arteries)

    def _line(self, artery: str, start: np.ndarray, end: np.ndarray | None = None) -> np.ndarray:
        return self._vessels.centerline((self._label[artery],), start, end)

    def _basilar_tip(self) -> _Place | None:
        touching = {f"{side}-PCA-P1": self._contact("BA", f"{side}-PCA-P1") for side in ("R", "L")}
        contacts = {code: places for code, places in touching.items() if len(places)}
        if len(contacts) == 2:
            return _Place(_common_place(list(contacts.values())), f"contacts of BA with {self._names(*contacts)}")
        if not self._vessels.has(self._label["BA"]):
            return None
        if contacts:
            (code, places), *_ = contacts.items()
            line = self._line("BA", places.mean(axis=0))
            return _place_on_line(line, places, f"contact of BA with {self._names(code)}")
        up = self._line("BA", np.array([0.0, 0.0, -1e4]))
        return _Place(up[-1], "top of BA, which touches no PCA", True) if len(up) else None

    def _carotid_terminus(self, side: str) -> _Place | None:
        carotid, middle, anterior = f"{side}-ICA-C7", f"{side}-MCA-M1", f"{side}-ACA-A1"
        to_middle, to_anterior = self._contact(carotid, middle), self._contact(carotid, anterior)
        known = [places for places in (to_middle, to_anterior, self._contact(middle, anterior)) if len(places)]
        if len(known) >= 2:
            return _Place(_common_place(known), f"contacts between {self._names(carotid, middle, anterior)}")
        if not len(to_middle):
            return None
        before = self._line(carotid, to_middle.mean(axis=0))[::-1]
        after = self._line(middle, to_middle.mean(axis=0))
        if not len(before) or not len(after):
            return None
        whole = smoothed_line(joined(before, after))
        turn = sharpest_turn(whole, length(before), TURN_REACH_MM, TURN_ARM_MM)
        return _Place(whole[turn], f"turn of {self._names(carotid)} into {self._names(middle)}, no A1", True)

    def _communicating_origin(self, side: str, terminus: _Place | None) -> _Place | None:
        carotid, branch = f"{side}-ICA-C7", f"{side}-PCoA"
        if terminus is None or terminus.position is None:
            return None
        down = self._line(carotid, terminus.position)
        if not len(down):
            return None
        contact = self._contact(carotid, branch)
        if len(contact):
            return _place_on_line(down, contact, f"contact of {self._names(carotid, branch)}")
        if self._vessels.has(self._label[branch]) or length(down) <= ICA_RULE_MM:
            return None
        basis = f"{ICA_RULE_MM:g} mm down {self._names(carotid)} from ICA-T, no PCoA"
        return _Place(_along(down, terminus.position, ICA_RULE_MM), basis, True)

    def _posterior_junction(self, side: str, tip: _Place | None) -> _Place | None:
        artery, branch = f"{side}-PCA-P1", f"{side}-PCoA"
        origin, contact = self._contact("BA", artery), self._contact(artery, branch)
        if tip is None or tip.position is None:
            return None
        if not len(origin):
            return self._fetal_junction(side, contact, tip.position)
        own = self._line(artery, origin.mean(axis=0))
        if len(contact):
            return _place_on_line(own, contact, f"contact of {self._names(artery, branch)}")
        if self._vessels.has(self._label[branch]):
            return None
        both = self._label["BA"], self._label[artery]
        whole = self._vessels.centerline(both, tip.position, own[-1]) if len(own) else own
        if not len(whole) or length(whole) <= PCA_RULE_MM:
            return None
        basis = f"{PCA_RULE_MM:g} mm along {self._names(artery)} from BA-T, no PCoA"
        return _Place(_along(whole, tip.position, PCA_RULE_MM), basis, True)

    def _fetal_junction(self, side: str, contact: np.ndarray, tip: np.ndarray) -> _Place | None:
        """On the curve of PCoA and PCA, nearest to the basilar tip."""
        artery, branch = f"{side}-PCA-P1", f"{side}-PCoA"
        if not len(contact):
            return None
        middle = contact.mean(axis=0)
        parts = [part for part in (self._line(branch, middle)[::-1], self._line(artery, middle)) if len(part)]
        if not parts:
            return None
        curve = smoothed_line(joined(*parts))
        basis = f"place on {self._names(branch, artery)} nearest to BA-T, no P1"
        return _Place(curve[nearest_vertex(curve, tip)], basis)

    def _anterior_junctions(self, termini: dict[str, _Place | None]) -> dict[str, _Place | None]:
        found: dict[str, _Place | None] = {}
        lines: dict[str, np.ndarray] = {}
        for side, terminus in termini.items():
            artery = f"{side}-ACA-A1"
            if terminus is None or terminus.position is None:
                continue
            origin = self._vessels.nearest(self._label[artery], terminus.position)
            if origin is None or np.linalg.norm(origin - terminus.position) > REACH_MM:
                basis = f"{self._names(artery)} does not reach the ICA: no A1"
                found[f"{side}-A1-A2"] = _Place(None, basis)
                continue
            lines[side] = self._line(artery, origin)
            contact = self._contact(artery, "ACoA")
            if len(contact):
                basis = f"contact of {self._names(artery, 'ACoA')}"
                found[f"{side}-A1-A2"] = _place_on_line(lines[side], contact, basis)
        if not self._vessels.has(self._label["ACoA"]) and sum(len(line) > 0 for line in lines.values()) == 2:
            found |= self._without_communicating(lines)
        return found

    def _without_communicating(self, lines: dict[str, np.ndarray]) -> dict[str, _Place | None]:
        """Without an ACoA: the fusion of both ACA, or the turn of each where they come closest."""
        fusion = self._contact("R-ACA-A1", "L-ACA-A1")
        if len(fusion):
            gaps = [np.linalg.norm(fusion - line[-1], axis=1).min() for line in lines.values()]
            if min(gaps) <= FUSED_MM:
                place = _Place(fusion.mean(axis=0), "fusion of both ACA, no ACoA")
                return {"R-A1-A2": place, "L-A1-A2": place}
        return {f"{side}-A1-A2": self._turn(lines[side], lines[other]) for side, other in (("R", "L"), ("L", "R"))}

    def _turn(self, line: np.ndarray, other: np.ndarray) -> _Place | None:
        """Where an ACA turns, near the first place that is about as close to the other one as it comes."""
        along = arc_length(line)
        gaps = np.linalg.norm(line[:, None] - other[None], axis=-1).min(axis=1)[along <= APPROACH_MM]
        if gaps.min() > REACH_MM:
            return None
        first = float(along[np.flatnonzero(gaps <= gaps.min() + CLOSE_MM)[0]])
        turn = sharpest_turn(line, first, TURN_REACH_MM, TURN_ARM_MM)
        return _Place(line[turn], "turn of the ACA where it comes close to the other one, no ACoA", True)


def _place_on_line(line: np.ndarray, contact: np.ndarray, basis: str) -> _Place | None:
    """The vertex of a parent's centreline where a branch leaves: nearest to the deepest part of their contact (n, 3).

    None where the centreline does not come there, because the vessel is broken off before it.
    """
    if not len(line):
        return None
    away = cKDTree(line).query(contact)[0]
    deepest = contact[away <= np.quantile(away, DEEPEST_SHARE)].mean(axis=0)
    vertex = line[nearest_vertex(line, deepest)]
    return _Place(vertex, basis) if np.linalg.norm(vertex - deepest) <= BROKEN_MM else None


def _common_place(contacts: list[np.ndarray]) -> np.ndarray:
    """The middle of those parts of two or three contacts (n, 3) that are nearest to the others."""
    parts = []
    for number, places in enumerate(contacts):
        others = [other for index, other in enumerate(contacts) if index != number]
        away = np.max([cKDTree(other).query(places)[0] for other in others], axis=0)
        parts.append(places[away <= np.quantile(away, COMMON_SHARE)].mean(axis=0))
    return np.asarray(np.mean(parts, axis=0))


def _along(line: np.ndarray, start: np.ndarray, way_mm: float) -> np.ndarray:
    """The point of a centreline `way_mm` after the place nearest to `start`."""
    first = float(arc_length(line)[nearest_vertex(line, start)])
    return at_arc(line, first + way_mm)
