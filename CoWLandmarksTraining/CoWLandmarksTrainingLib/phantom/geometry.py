"""Random heads: vessels as tubes round centrelines, with exact landmarks (interface of the phantom's geometry).

The geometry depends only on (state of the generator, options, PHANTOM_VERSION); use
`np.random.Generator(np.random.Philox(key))`, whose stream is the same on every platform.
"""

from __future__ import annotations

import numpy as np
from CoWLandmarksLib.core.anatomy import default_anatomy

from ..config.settings import PHANTOM_VERSION
from .alternatives import alternatives_of
from .artery_tree import ArteryBuilder
from .atlas import default_atlas
from .branches import Tree, add_distal_twigs, add_external_carotid, add_side_branches, add_veins
from .calibre import radius_profile, sample_calibres
from .disease import bulge, narrow, occlude
from .head_shape import sample_anchors
from .offshoots import add_offshoots
from .patterned_tree import PatternedBuilder
from .pose import sample_pose
from .skeleton import Skeleton
from .variants import VariantRates, Variants, sample_variants, with_patterns
from .vessel import Phantom, Vessel, VesselKind

__all__ = [
    "PHANTOM_VERSION",
    "Phantom",
    "VariantRates",
    "Vessel",
    "VesselKind",
    "sample_phantom",
    "sample_pose",
]

YOUNG_SHARE = 0.25

_FEEDERS: dict[str, tuple[str, ...]] = {
    "ICA-C4": (),
    "ICA-C5": ("ICA-C4",),
    "ICA-C6": ("ICA-C5",),
    "ICA-C7": ("ICA-C6",),
    "MCA-M1": ("ICA-C7",),
    "MCA-M2a": ("MCA-M1",),
    "MCA-M2b": ("MCA-M1",),
    "MCA-M2c": ("MCA-M1",),
    "ACA-A1": ("ICA-C7",),
    "ACoA": ("ACA-A1",),
    "ACA-A2": ("ACA-A1", "ACoA"),
    "ACA-A3": ("ACA-A2",),
    "VA": (),
    "BA": ("VA",),
    "PCoA": ("ICA-C6",),
    "PCA-P1": ("BA",),
    "PCA-P2A": ("PCA-P1", "PCoA"),
    "PCA-P2P": ("PCA-P2A",),
    "ACoA-2": ("ACA-A1",),
    "ACA-A2-median": ("ACoA",),
}
"""From which artery of the same side the blood comes, first choice first; also the order of building."""

_FUNNEL = {"MCA-M1", "MCA-M2a", "MCA-M2b", "MCA-M2c", "ACA-A1", "PCoA", "PCA-P1"}
_MIDLINE = {"ACoA", "ACoA-2", "ACA-A2-median", "BA"}
UNKNOWN_PATH_MM = 150.0


def sample_phantom(
    rng: np.random.Generator,
    *,
    rates: VariantRates | None = None,
    population: str | None = None,
    variants: Variants | None = None,
    version: int = PHANTOM_VERSION,
) -> Phantom:
    """Draw one head.

    Args:
        rng: source of all randomness.
        rates: how common variants and diseases are; `VariantRates().enriched(4)` for test cohorts,
            `VariantRates(patterns=HELD_OUT)` for the held-out anatomy.
        population: "patients" or "young"; None draws three patients to one young person.
        variants: fixed variants instead of drawn ones (for tests and teaching).
        version: one of PHANTOM_VERSIONS.
    """
    atlas = default_atlas()
    rates = (rates or VariantRates()).of_version(version)
    drawn = sample_variants(rng, rates)
    variants = variants or drawn
    patterned = version >= 4
    if patterned and variants.patterns is None:
        variants = with_patterns(rng, variants, rates.patterns)
    young = rng.random() < YOUNG_SHARE
    population = population or ("young" if young else "patients")
    mirror = bool(rng.random() < 0.5)
    anchors = sample_anchors(rng, atlas, population, mirror)
    waviness = float(rng.uniform(0.03, 0.12) if population == "young" else rng.uniform(0.05, 0.28))
    builder = PatternedBuilder if patterned else ArteryBuilder
    skeleton = builder(rng, atlas, anchors, variants, waviness, Skeleton()).build()
    diseases = [occlude(skeleton, rng, variants.occlusion)] if variants.occlusion else []

    tree = Tree()
    _add_arteries(tree, skeleton, rng, variants)
    add_offshoots(tree, skeleton, rng)
    landmarks = skeleton.landmarks
    placed = np.where(np.isfinite(landmarks), landmarks, anchors)
    add_side_branches(tree, rng, atlas, placed, variants, waviness)
    add_distal_twigs(tree, rng)
    add_veins(tree, rng, atlas, placed)
    if variants.external_carotid:
        add_external_carotid(tree, rng, atlas)
    if variants.stenosis:
        diseases.append(narrow(tree, rng))
    if variants.aneurysm:
        diseases.append(bulge(tree, rng, landmarks))

    described = variants.described() | {
        "population": population,
        "disease": "; ".join(filter(None, diseases)) or "none",
    }
    return Phantom(
        vessels=tuple(tree.vessels.values()),
        landmarks=landmarks,
        by_rule=skeleton.by_rule,
        variants=described,
        artery_present={artery.code: artery.code in skeleton.curves for artery in default_anatomy().arteries},
        population=population,
        mirrored=mirror,
        anchors=placed,
        version=version,
        alternatives=alternatives_of(tree, skeleton) if patterned else {},
    )


def _add_arteries(tree: Tree, skeleton: Skeleton, rng: np.random.Generator, variants: Variants) -> None:
    """Turn the centrelines into vessels with radii, labels and the way of the blood."""
    labels = {artery.code: artery.label for artery in default_anatomy().arteries}
    calibres = sample_calibres(rng, variants)
    for kind, feeders in _FEEDERS.items():
        for side in ("",) if kind in _MIDLINE else ("R-", "L-"):
            name = f"{side}{kind}"
            curve, stump = skeleton.curves.get(name), skeleton.curves.get(f"{name}-stump")
            points = curve if curve is not None else stump
            if points is None:
                continue
            parent = _feeder(tree, side, feeders)
            factor = skeleton.factors.get(name, 1.0)
            first, last = calibres[name]
            calibre = (first * factor, last * factor)
            funnel = float(parent.radii[-1]) if parent is not None and kind in _FUNNEL else 0.0
            if kind == "PCoA" and parent is not None:
                funnel = min(funnel, 1.6 * calibre[0])
            radii = radius_profile(points, calibre, funnel, rng)
            label = labels.get(name.replace("ACoA-2", "ACoA"), 0) if curve is not None else 0
            tree.add(
                name if curve is not None else f"{name}-stump",
                points,
                radii,
                VesselKind.ARTERY if label else VesselKind.BRANCH,
                _path_start(parent, kind),
                label,
            )


def _feeder(tree: Tree, side: str, feeders: tuple[str, ...]) -> Vessel | None:
    for feeder in feeders:
        for prefix in (side, "") if feeder in _MIDLINE else ((side,) if side else ("R-", "L-")):
            vessel = tree.vessels.get(f"{prefix}{feeder}")
            if vessel is not None:
                return vessel
    return None


def _path_start(parent: Vessel | None, kind: str) -> float:
    if parent is not None:
        return float(parent.path_mm[-1])
    return 0.0 if kind in ("ICA-C4", "VA") else UNKNOWN_PATH_MM
