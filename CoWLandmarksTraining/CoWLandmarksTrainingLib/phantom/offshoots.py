"""Lumens of the vessels of phantom version 4 whose calibre is a ratio to what runs on beside them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .branches import Tree
from .calibre import radius_profile
from .curves import arc_length
from .skeleton import Offshoot, Skeleton
from .vessel import Vessel, VesselKind

JUDGED_MM = 5.0
"""Calibres are compared this far beyond a division."""
ROUGHNESS = 0.04
THINNEST_MM = 0.2


def add_offshoots(tree: Tree, skeleton: Skeleton, rng: np.random.Generator) -> None:
    """Add them in their order; those whose parent is occluded before their origin are left out."""
    for name, shoot in skeleton.offshoots.items():
        parent = _parent(tree, shoot)
        if parent is None:
            continue
        along = arc_length(parent.points)
        place = int(np.argmin(np.abs(along - shoot.at_mm)))
        if shoot.narrows:
            parent = _narrowed(parent, along, shoot)
            tree.vessels[parent.name] = parent
        radii = radius_profile(shoot.points, (1.0, shoot.taper), 0.0, rng, ROUGHNESS)
        own = arc_length(shoot.points)
        wanted = shoot.ratio * _radius_beyond(tree, parent, shoot)
        radii *= wanted / float(np.interp(JUDGED_MM, own, radii))
        radii = np.maximum(radii, THINNEST_MM)
        width = float(parent.radii[place])
        if shoot.funnel and width > radii[0]:
            radii = radii + (0.8 * width - radii[0]).clip(0) * np.exp(-((own / width) ** 2))
        kind = VesselKind.ARTERY if shoot.label else VesselKind.BRANCH
        tree.add(name, shoot.points, radii, kind, float(parent.path_mm[place]), shoot.label)


def _parent(tree: Tree, shoot: Offshoot) -> Vessel | None:
    """The vessel it leaves, also where that is only a stump, if it reaches as far."""
    vessel = tree.vessels.get(shoot.parent) or tree.vessels.get(f"{shoot.parent}-stump")
    if vessel is None or arc_length(vessel.points)[-1] < shoot.at_mm - 1e-6:
        return None
    return vessel


def _radius_beyond(tree: Tree, parent: Vessel, shoot: Offshoot) -> float:
    """Radius of what runs on, 5 mm beyond the origin."""
    position = shoot.at_mm + JUDGED_MM
    vessel = parent
    for name in shoot.continuing:
        end = float(arc_length(vessel.points)[-1])
        onward = tree.vessels.get(name)
        if position <= end or onward is None:
            break
        position, vessel = position - end, onward
    return float(np.interp(position, arc_length(vessel.points), vessel.radii))


def _narrowed(parent: Vessel, along: np.ndarray, shoot: Offshoot) -> Vessel:
    """The parent as thin beyond the division as the two trunks of that ratio carry its blood."""
    factor = (1.0 + min(shoot.ratio, 1.0) ** 3) ** (-1.0 / 3.0)
    step = np.clip((along - shoot.at_mm + 1.0) / 3.0, 0.0, 1.0)
    return replace(parent, radii=parent.radii * (1.0 - (1.0 - factor) * step))
