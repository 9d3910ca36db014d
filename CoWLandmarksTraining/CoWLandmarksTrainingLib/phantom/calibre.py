"""Lumen radii: published diameters with variation between heads, sides and places."""

from __future__ import annotations

import numpy as np

from .curves import arc_length
from .patterns import SIDES
from .variants import Variants

DIAMETERS_MM: dict[str, tuple[float, float]] = {
    "ICA-C4": (5.0, 4.7),
    "ICA-C5": (4.7, 4.4),
    "ICA-C6": (4.4, 3.9),
    "ICA-C7": (3.9, 3.5),
    "MCA-M1": (3.2, 2.9),
    "MCA-M2a": (2.4, 1.6),
    "MCA-M2b": (2.3, 1.5),
    "MCA-M2c": (1.9, 1.3),
    "ACA-A1": (2.25, 2.15),
    "ACA-A2": (2.15, 1.95),
    "ACA-A3": (1.9, 1.4),
    "ACA-A2-median": (1.3, 1.0),
    "ACoA": (1.5, 1.5),
    "ACoA-2": (1.1, 1.1),
    "PCoA": (1.35, 1.25),
    "BA": (3.5, 3.1),
    "VA": (3.4, 2.8),
    "PCA-P1": (2.2, 2.2),
    "PCA-P2A": (2.3, 2.1),
    "PCA-P2P": (2.0, 1.7),
}
"""Mean lumen diameter at the two ends, without the side; sources in the atlas resource (`diameters_mm`)."""

PAIR_SHARE = 0.5
"""Part of the variance of a calibre that both sides have in common."""

_SYSTEM = {"ICA-C4": "ICA", "ICA-C5": "ICA", "ICA-C6": "ICA", "ICA-C7": "ICA", "PCA-P2P": "PCA-P2A", "ACA-A3": "ACA-A2"}
_SPREAD = {"ICA": 0.11, "BA": 0.14, "VA": 0.17, "ACoA": 0.28, "PCoA": 0.20, "PCA-P1": 0.16}


def sample_calibres(rng: np.random.Generator, variants: Variants) -> dict[str, tuple[float, float]]:
    """Radii in mm at both ends of every artery that could be there, by name with side."""
    person = float(np.clip(rng.normal(1.0, 0.05), 0.85, 1.15))
    factors: dict[str, float] = {}
    calibres: dict[str, tuple[float, float]] = {}
    for name, (first, last) in DIAMETERS_MM.items():
        system = _SYSTEM.get(name, name)
        spread = _SPREAD.get(system, 0.12)
        for side in SIDES:
            key = f"{side}-{system}"
            if key not in factors:
                common = factors.setdefault(f"both-{system}", float(np.clip(rng.normal(), -2.2, 2.2)))
                own = float(np.clip(rng.normal(), -2.2, 2.2))
                mixed = PAIR_SHARE**0.5 * common + (1 - PAIR_SHARE) ** 0.5 * own
                factors[key] = max(1.0 + spread * mixed, 0.45)
            scale = 0.5 * person * factors[key] * _variant_factor(name, side, variants)
            calibres[f"{side}-{name}"] = (first * scale, last * scale)
    for name in ("BA", "ACoA", "ACoA-2", "ACA-A2-median"):
        calibres[name] = calibres[f"R-{name}"]
    thin = {"hypoplastic": (0.55, 0.85), "fetal-partial": (1.5, 2.1), "fetal-full": (1.9, 2.4)}
    for side in SIDES:
        if variants.pcoa[side] in thin:
            radius = 0.5 * rng.uniform(*thin[variants.pcoa[side]])
            calibres[f"{side}-PCoA"] = (1.03 * radius, 0.97 * radius)
        if variants.pcoa[side] == "fetal-partial":
            radius = 0.5 * rng.uniform(0.7, 1.2)
            calibres[f"{side}-PCA-P1"] = (radius, radius)
        if variants.a1[side] == "hypoplastic":
            radius = 0.5 * rng.uniform(0.6, 1.1)
            calibres[f"{side}-ACA-A1"] = (radius, radius)
    return calibres


def _variant_factor(name: str, side: str, variants: Variants) -> float:
    other = "L" if side == "R" else "R"
    if name == "ACA-A1" and variants.a1[other] != "normal":
        return 1.12
    if name == "VA":
        own, opposite = variants.va[side], variants.va[other]
        if own != "normal":
            return {"asymmetric": 0.72, "hypoplastic": 0.45}.get(own, 1.0)
        return 1.0 if opposite == "normal" else 1.12
    if name == "MCA-M2a" and variants.mca[side] == "single":
        return 1.12
    if name in ("MCA-M2a", "MCA-M2b") and variants.mca[side] == "trifurcation":
        return 0.9
    if name in ("MCA-M1", "ACA-A2") and variants.occlusion == f"{side}-ICA":
        return 0.85
    if name in ("ACoA", "PCoA") and "absent" in variants.a1.values() and name == "ACoA":
        return 1.35
    return 1.0


def radius_profile(
    points: np.ndarray,
    ends: tuple[float, float],
    parent_radius: float,
    rng: np.random.Generator,
    roughness: float = 0.04,
) -> np.ndarray:
    """Radii (n,): linear taper, slow irregularity, and a funnel where the vessel leaves its parent."""
    along = arc_length(points)
    u = along / max(along[-1], 1e-6)
    radii = ends[0] + (ends[1] - ends[0]) * u
    knots = max(int(along[-1] / 4.0), 1) + 2
    noise = np.interp(u, np.linspace(0, 1, knots), np.clip(rng.normal(0.0, 1.0, knots), -2, 2))
    radii = radii * (1.0 + roughness * noise)
    if parent_radius > radii[0]:
        radii = radii + (0.8 * parent_radius - radii[0]).clip(0) * np.exp(-((along / parent_radius) ** 2))
    return radii
