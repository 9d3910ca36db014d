"""How a phantom looks: contrast, background, resolution, noise and artefacts, drawn at random per case.

Ranges: design notes on TOF and CTA appearance (relative TOF signals; HU). The frozen test family has its
own ranges, which training never draws from.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np
from CoWLandmarksLib.core.volume import Modality

from .acquisition import Acquisition


class Tissue(int, Enum):
    """Tissue classes of the head model."""

    AIR = 0
    CSF = 1
    GREY = 2
    WHITE = 3
    CORTICAL_BONE = 4
    MARROW = 5
    FAT = 6
    MUSCLE = 7


class Masking(str, Enum):
    """What was done to the scan after acquisition."""

    NONE = "none"
    THRESHOLDED = "thresholded"
    SKULL_STRIPPED = "skull-stripped"
    VESSELS_ONLY = "vessels only"
    BINARY = "binary"
    ENHANCED = "vessel-enhanced"


class Family(str, Enum):
    """TRAINING: what the default model is trained on, from version 4 on one of the four that follow (`families.py`);
    TEST: the frozen appearance family that nothing is ever trained on; SITE: one scanner with a look of its own, to try
    what training on a site's own scans brings."""

    TRAINING = "training"
    THIN_SLICE = "thin-slice"
    ROUTINE = "routine"
    EXPORTED = "exported"
    EMERGENCY = "emergency"
    TEST = "test"
    SITE = "site"


@dataclass(frozen=True)
class Appearance:
    """All random choices of one case's image; TOF values relative to fresh arterial blood, CTA in HU.

    Side branches whose radius stays under `smallest_mm` are not rendered. `acquisition` is what version 4 adds; the
    frozen families and version 3 have none.
    """

    modality: Modality
    family: Family
    tissue: dict[Tissue, float]
    artery: float
    inflow_length_mm: float
    inflow_floor: float
    small_vessel_fade: float
    vein: float
    flow_void: float
    texture: float
    texture_mm: float
    cistern_mm: float
    bias: float
    slab_mm: float
    slab_drop: float
    noise: float
    noise_correlation_voxels: float
    blur_voxels: float
    ghosting: float
    masking: Masking
    masking_level: float
    eight_bit: bool
    metal: bool
    plaque: float
    smallest_mm: float
    seed: int = field(repr=False, default=0)
    acquisition: Acquisition | None = None


def sample_of_version_3(rng: np.random.Generator, modality: Modality, family: Family) -> Appearance:
    """Draw the appearance of a case of version 3, or of a frozen family, which looks the same in every version."""
    draw = _sample_tof if modality is Modality.MRA else _sample_cta
    drawn = draw(rng, family)
    return _at_site(drawn, rng) if family is Family.SITE else drawn


def _at_site(drawn: Appearance, rng: np.random.Generator) -> Appearance:
    """The look of one old scanner, whose contrast, resolution and grain lie outside what the training family draws;
    nothing was processed.

    TOF: bright tissue beside faint arteries, a surface coil, soft images with coarse noise and pulsation ghosts;
    CTA: much contrast medium, full veins, a soft kernel.
    """
    u = rng.uniform
    plain = replace(drawn, masking=Masking.NONE, eight_bit=False, metal=False)
    if drawn.modality is Modality.CTA:
        artery = u(540, 620)
        return replace(
            plain,
            artery=artery,
            vein=artery * u(0.82, 0.95),
            noise=u(29, 34),
            noise_correlation_voxels=u(1.1, 1.4),
            blur_voxels=u(0.95, 1.15),
        )
    white = u(0.52, 0.58)
    tissue = {
        **drawn.tissue,
        Tissue.CSF: u(0.24, 0.30),
        Tissue.GREY: white * u(0.92, 1.02),
        Tissue.WHITE: white,
        Tissue.MUSCLE: u(0.45, 0.55),
    }
    return replace(
        plain,
        tissue=tissue,
        inflow_length_mm=u(70, 85),
        inflow_floor=u(0.58, 0.68),
        texture=u(0.06, 0.1),
        bias=u(0.32, 0.42),
        slab_drop=u(0.21, 0.28),
        noise=u(0.035, 0.05),
        noise_correlation_voxels=u(0.8, 1.1),
        blur_voxels=u(0.65, 0.8),
        ghosting=u(0.02, 0.05),
    )


def sample_masking(rng: np.random.Generator, share: float) -> Masking:
    """What was done to a scan; to a `share` of them something was."""
    if rng.random() >= share:
        return Masking.NONE
    return list(Masking)[1:][int(rng.choice(5, p=[0.3, 0.15, 0.2, 0.1, 0.25]))]


def sample_smallest(rng: np.random.Generator) -> float:
    """Radius in mm under which a side branch does not show at all: half the scans show only the larger ones."""
    return float(rng.uniform(0.35, 0.85)) if rng.random() < 0.5 else 0.0


def _sample_tof(rng: np.random.Generator, family: Family) -> Appearance:
    u = rng.uniform
    test = family is Family.TEST
    white = u(0.30, 0.34) if test else u(0.25, 0.5)
    return Appearance(
        modality=Modality.MRA,
        family=family,
        tissue={
            Tissue.AIR: u(0.0, 0.03),
            Tissue.CSF: u(0.22, 0.28) if test else u(0.06, 0.22),
            Tissue.GREY: white * u(0.75, 1.05),
            Tissue.WHITE: white,
            Tissue.CORTICAL_BONE: u(0.0, 0.06),
            Tissue.MARROW: u(0.2, 0.7),
            Tissue.FAT: u(0.2, 1.1),
            Tissue.MUSCLE: u(0.22, 0.42),
        },
        artery=1.0,
        inflow_length_mm=float(np.exp(u(np.log(70), np.log(90)) if test else u(np.log(90), np.log(500)))),
        inflow_floor=u(0.3, 0.55),
        small_vessel_fade=u(0.0, 0.6),
        vein=u(0.05, 0.55),
        flow_void=u(0.0, 0.4) if rng.random() < 0.4 else 0.0,
        texture=u(0.22, 0.30) if test else u(0.02, 0.2),
        texture_mm=u(9.0, 12.0) if test else u(1.5, 8.0),
        cistern_mm=u(2.0, 5.0),
        bias=u(0.35, 0.45) if test else u(0.0, 0.3),
        slab_mm=u(14.0, 26.0),
        slab_drop=u(0.2, 0.3) if test else u(0.0, 0.2) * (rng.random() < 0.6),
        noise=u(0.06, 0.08) if test else u(0.01, 0.06),
        noise_correlation_voxels=u(0.5, 0.8) if test else u(0.0, 0.5),
        blur_voxels=u(0.25, 0.6),
        ghosting=u(0.02, 0.1) if rng.random() < 0.15 else 0.0,
        masking=sample_masking(rng, 0.4),
        masking_level=u(0.0, 1.0),
        eight_bit=rng.random() < 0.2,
        metal=rng.random() < 0.03,
        plaque=0.0,
        smallest_mm=sample_smallest(rng),
        seed=int(rng.integers(2**62)),
    )


def _sample_cta(rng: np.random.Generator, family: Family) -> Appearance:
    u = rng.uniform
    test = family is Family.TEST
    artery = u(200, 240) if test else u(230, 520)
    return Appearance(
        modality=Modality.CTA,
        family=family,
        tissue={
            Tissue.AIR: u(-1020, -980),
            Tissue.CSF: u(0, 15),
            Tissue.GREY: u(34, 48),
            Tissue.WHITE: u(24, 36),
            Tissue.CORTICAL_BONE: u(900, 2000),
            Tissue.MARROW: u(250, 700),
            Tissue.FAT: u(-120, -70),
            Tissue.MUSCLE: u(40, 70),
        },
        artery=artery,
        inflow_length_mm=u(400, 3000),
        inflow_floor=0.5,
        small_vessel_fade=u(0.0, 0.3),
        vein=artery * (u(0.8, 0.95) if test else u(0.05, 0.8)),
        flow_void=0.0,
        texture=u(0.1, 0.4),
        texture_mm=u(1.5, 8.0),
        cistern_mm=u(2.0, 5.0),
        bias=0.0,
        slab_mm=1e6,
        slab_drop=0.0,
        noise=u(30, 38) if test else u(5, 28),
        noise_correlation_voxels=u(1.0, 1.3) if test else u(0.4, 1.0),
        blur_voxels=u(0.4, 0.9),
        ghosting=0.0,
        masking=sample_masking(rng, 0.3),
        masking_level=u(0.0, 1.0),
        eight_bit=rng.random() < 0.1,
        metal=rng.random() < 0.03,
        plaque=u(0.2, 1.0) if rng.random() < 0.5 else 0.0,
        smallest_mm=sample_smallest(rng),
        seed=int(rng.integers(2**62)),
    )
