"""Runners-up: places that could be taken for a landmark, and why."""

from __future__ import annotations

import numpy as np
from CoWLandmarksLib.core.anatomy import default_anatomy

from .branches import Tree
from .patterns import SIDES
from .skeleton import Candidate, Skeleton
from .vessel import Alternative

APART_MM = 3.0
MOST = 2
_BRANCHES = {
    "C6-C7": (("AChA", "origin of the anterior choroidal artery"),),
    "P2A-P2P": (("PostTemporal", "origin of the posterior temporal artery"),),
}


def alternatives_of(tree: Tree, skeleton: Skeleton) -> dict[str, tuple[Alternative, ...]]:
    """Up to two for each landmark that is there, on a vessel, 3 mm or more from the truth and from each other."""
    found = {}
    for code, truth in zip(default_anatomy().codes, skeleton.landmarks, strict=True):
        if not np.isfinite(truth).all():
            continue
        kept: list[Alternative] = []
        for candidate in skeleton.candidates.get(code, []) + _of_branches(tree, code):
            places = [truth, *(np.array(other.position) for other in kept)]
            if len(kept) < MOST and candidate.vessel in tree.vessels and _apart(candidate.position, places):
                x, y, z = (float(value) for value in candidate.position)
                kept.append(Alternative((x, y, z), candidate.reason))
        if kept:
            found[code] = tuple(kept)
    return found


def _apart(position: np.ndarray, places: list[np.ndarray]) -> bool:
    return all(float(np.linalg.norm(position - place)) >= APART_MM for place in places)


def _of_branches(tree: Tree, code: str) -> list[Candidate]:
    """Origins of side branches near a landmark."""
    if code == "BA-T":
        names = [(f"{side}-SCA", "origin of the superior cerebellar artery") for side in SIDES]
    else:
        names = [(f"{code[0]}-{name}", reason) for name, reason in _BRANCHES.get(code[2:], ())]
    vessels = [(tree.vessels[name], reason) for name, reason in names if name in tree.vessels]
    return [Candidate(vessel.name, vessel.points[0], reason) for vessel, reason in vessels]
