"""Occlusion, stenosis and aneurysm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .branches import Tree
from .curves import arc_length, joined, length, sharpest_turn
from .head_shape import point_index
from .skeleton import Skeleton
from .vessel import VesselKind

STENOSIS_SITES = ("ICA-C5", "ICA-C6", "ICA-C7", "MCA-M1", "MCA-M1", "ACA-A1", "ACA-A2", "PCA-P1", "PCA-P2A", "BA")
ANEURYSM_SITES = {
    "ACoA": 0.30,
    "C6-C7": 0.25,
    "M1-M2": 0.20,
    "C5-C6": 0.08,
    "ICA-T": 0.07,
    "BA-T": 0.10,
}
"""Where aneurysms sit, and how often (general anatomy, unverified)."""

_BEYOND = {
    "MCA-M1": (("MCA-M2a", "MCA-M2b", "MCA-M2c"), "M1-M2"),
    "PCA-P2A": (("PCA-P2P",), "P2A-P2P"),
    "ACA-A2": (("ACA-A3",), "A2-A3"),
}


def occlude(skeleton: Skeleton, rng: np.random.Generator, artery: str) -> str:
    """End an artery ("R-MCA-M1", "L-ICA", ...) on its way; landmarks beyond become absent. Returns what was done."""
    side, name = artery.split("-", 1)
    if name == "ICA":
        _occlude_carotid(skeleton, rng, side)
        return f"occlusion {artery}"
    curve = skeleton.curves.pop(artery)
    keep = max(int(rng.uniform(0.15, 0.75) * len(curve)), 4)
    skeleton.curves[f"{artery}-stump"] = curve[:keep]
    beyond, landmark = _BEYOND[name]
    for distal in beyond:
        skeleton.curves.pop(f"{side}-{distal}", None)
        skeleton.offshoots.pop(f"{side}-{distal}", None)
    skeleton.lose(f"{side}-{landmark}")
    return f"occlusion {artery}"


def _occlude_carotid(skeleton: Skeleton, rng: np.random.Generator, side: str) -> None:
    """The carotid ends below the siphon; A1 feeds M1 from the other side and 7/8 is the turn between them."""
    curves = skeleton.curves
    cavernous = curves.pop(f"{side}-ICA-C4")
    curves[f"{side}-ICA-C4-stump"] = cavernous[: int(rng.uniform(0.2, 0.6) * len(cavernous))]
    for part in ("ICA-C5", "ICA-C6", "ICA-C7"):
        del curves[f"{side}-{part}"]
    for landmark in ("C4-C5", "C5-C6", "C6-C7"):
        skeleton.lose(f"{side}-{landmark}")
    a1, m1 = curves[f"{side}-ACA-A1"], curves[f"{side}-MCA-M1"]
    whole = joined(a1[::-1], m1)
    turn = sharpest_turn(whole, length(a1), 4.0, 5.0)
    curves[f"{side}-ACA-A1"], curves[f"{side}-MCA-M1"] = whole[: turn + 1][::-1], whole[turn:]
    skeleton.put(f"{side}-ICA-T", whole[turn], True)


def narrow(tree: Tree, rng: np.random.Generator) -> str:
    """Stenosis of 30 to 80 % over 2 to 6 mm somewhere in a large artery; returns what was done or ""."""
    sites = [name for name in tree.vessels if name.split("-", 1)[-1] in STENOSIS_SITES or name == "BA"]
    if not sites:
        return ""
    vessel = tree.vessels[sites[int(rng.integers(len(sites)))]]
    along = arc_length(vessel.points)
    centre, span = rng.uniform(0.15, 0.85) * along[-1], rng.uniform(2.0, 6.0)
    degree = rng.uniform(0.3, 0.8)
    distance = np.clip(np.abs(along - centre) / (0.5 * span), 0.0, 1.0)
    radii = vessel.radii * (1.0 - degree * 0.5 * (1.0 + np.cos(np.pi * distance)))
    tree.vessels[vessel.name] = replace(vessel, radii=radii)
    return f"stenosis {vessel.name} {100 * degree:.0f}%"


def bulge(tree: Tree, rng: np.random.Generator, landmarks: np.ndarray) -> str:
    """Aneurysm of 3 to 10 mm at a landmark, pointing away from its vessels; returns what was done or ""."""
    places: dict[str, np.ndarray] = {}
    for site in ANEURYSM_SITES:
        if site == "ACoA":
            if "ACoA" in tree.vessels:
                acoa = tree.vessels["ACoA"].points
                places["ACoA"] = acoa[len(acoa) // 2]
            continue
        for code in ["BA-T"] if site == "BA-T" else [f"R-{site}", f"L-{site}"]:
            point = landmarks[point_index(code)]
            if np.isfinite(point).all():
                places[code] = point
    names = list(places)
    weights = np.array([ANEURYSM_SITES[name if name in ANEURYSM_SITES else name.split("-", 1)[1]] for name in names])
    name = names[int(np.searchsorted(np.cumsum(weights) / weights.sum(), rng.random()))]
    origin = places[name]
    radius = 0.5 * float(np.clip(rng.lognormal(np.log(5.0), 0.35), 3.0, 10.0))
    nearby = [v.points[np.linalg.norm(v.points - origin, axis=1) < 6.0] for v in tree.vessels.values() if v.label]
    away = origin - np.concatenate(nearby).mean(axis=0) + rng.normal(0, 0.6, 3)
    away /= max(float(np.linalg.norm(away)), 1e-6)
    lumen = min(
        float(v.radii[np.argmin(np.linalg.norm(v.points - origin, axis=1))])
        for v in tree.vessels.values()
        if v.label and np.linalg.norm(v.points - origin, axis=1).min() < 1.0
    )
    centre = origin + (0.8 * radius + 0.6 * lumen) * away
    points = np.stack([centre - 0.15 * away, centre, centre + 0.15 * away])
    near = min(tree.vessels.values(), key=lambda v: float(np.linalg.norm(v.points - origin, axis=1).min()))
    tree.add(f"aneurysm {name}", points, np.full(3, radius), VesselKind.BRANCH, float(near.path_mm.mean()))
    return f"aneurysm {name} {2 * radius:.1f} mm"
