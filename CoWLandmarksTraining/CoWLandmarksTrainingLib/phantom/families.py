"""The four families of scans that phantom version 4 draws training cases from, each a coherent look of its own.

What belongs together comes together (contrast, kernel, voxels, processing), so that something fitted on three
families can be tried on the fourth. Contrasts: design notes on TOF and CTA (relative TOF signals; HU).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from CoWLandmarksLib.core.errors import ConfigurationError
from CoWLandmarksLib.core.volume import Modality

from ..config.settings import PHANTOM_VERSION
from .acquisition import Acquisition, Motion, Siphon, Slabs
from .appearance import Appearance, Family, Masking, Tissue, sample_masking, sample_of_version_3, sample_smallest

Range = tuple[float, float]

TRAINING_FAMILIES = (Family.THIN_SLICE, Family.ROUTINE, Family.EXPORTED, Family.EMERGENCY)
"""Those that the training family draws from, a quarter of the cases each."""

FROZEN_FAMILIES = (Family.TEST, Family.SITE)
"""Those that no shipped model is trained on."""
PUBLISHED_WINDOW_HU = (-160.0, 240.0)
"""The window of public sets that ship CTA with 8 bits."""
STORED_HU = (-1024.0, 3071.0)
"""What a CT stores at all."""
_JUNCTIONS = (2, 3, 4, 5, 6, 7, 8, 13, 14, 15, 16)
"""Landmarks at whose height a slab may begin: A1-A2, M1-M2, ICA-T, BA-T, C6-C7 and C5-C6."""


@dataclass(frozen=True)
class _Tof:
    """Ranges and chances of one family's TOF-MRA."""

    white: Range
    noise: Range
    correlation: Range
    blur: Range
    in_plane: Range
    slices: Range
    slab_chance: float
    slab_drop: Range
    slab_step: Range
    fat: Range
    sharpening: Range
    ghosting_chance: float
    motion_chance: float
    metal_chance: float
    void_chance: float
    ends_inside_chance: float
    saturation: Range | None


@dataclass(frozen=True)
class _Cta:
    """Ranges and chances of one family's CTA."""

    artery: Range
    vein: Range
    noise: Range
    correlation: Range
    blur: Range
    in_plane: Range
    slices: Range
    sharpening: Range
    plaque_chance: float
    shell_chance: float
    shell_deg: Range
    sinus_chance: float
    clip_chance: float
    motion_chance: float
    metal_chance: float
    ends_inside_chance: float
    turned_chance: float


_TOF = {
    # A research 3 T: thin slices, well suppressed tissue, little noise, a sharp filter.
    Family.THIN_SLICE: _Tof(
        white=(0.22, 0.36),
        noise=(0.01, 0.03),
        correlation=(0.0, 0.35),
        blur=(0.2, 0.4),
        in_plane=(0.3, 0.5),
        slices=(0.4, 0.7),
        slab_chance=0.5,
        slab_drop=(0.0, 0.08),
        slab_step=(0.0, 0.02),
        fat=(0.15, 0.5),
        sharpening=(0.3, 1.2),
        ghosting_chance=0.05,
        motion_chance=0.03,
        metal_chance=0.02,
        void_chance=0.3,
        ends_inside_chance=0.1,
        saturation=None,
    ),
    # A clinical 1.5 T: several slabs whose edges show, brighter tissue, soft images.
    Family.ROUTINE: _Tof(
        white=(0.34, 0.5),
        noise=(0.025, 0.05),
        correlation=(0.2, 0.6),
        blur=(0.4, 0.6),
        in_plane=(0.45, 0.75),
        slices=(0.6, 1.2),
        slab_chance=1.0,
        slab_drop=(0.06, 0.2),
        slab_step=(0.01, 0.05),
        fat=(0.4, 0.9),
        sharpening=(0.0, 0.3),
        ghosting_chance=0.1,
        motion_chance=0.05,
        metal_chance=0.03,
        void_chance=0.6,
        ends_inside_chance=0.25,
        saturation=None,
    ),
    # Pictures handed on: 8 bits, vessels and fat saturated, from JPEG slices, voxels of up to 1 mm.
    Family.EXPORTED: _Tof(
        white=(0.28, 0.48),
        noise=(0.015, 0.05),
        correlation=(0.0, 0.4),
        blur=(0.25, 0.5),
        in_plane=(0.5, 1.0),
        slices=(0.6, 1.1),
        slab_chance=0.9,
        slab_drop=(0.03, 0.2),
        slab_step=(0.01, 0.06),
        fat=(0.3, 0.95),
        sharpening=(0.0, 0.8),
        ghosting_chance=0.05,
        motion_chance=0.05,
        metal_chance=0.02,
        void_chance=0.4,
        ends_inside_chance=0.15,
        saturation=(0.5, 0.95),
    ),
    # Patients who could not lie still, in a hurry: noise, motion, thick slices, short slabs.
    Family.EMERGENCY: _Tof(
        white=(0.28, 0.48),
        noise=(0.04, 0.06),
        correlation=(0.3, 0.75),
        blur=(0.45, 0.62),
        in_plane=(0.55, 0.9),
        slices=(0.9, 1.6),
        slab_chance=0.8,
        slab_drop=(0.05, 0.2),
        slab_step=(0.02, 0.06),
        fat=(0.3, 1.1),
        sharpening=(0.0, 0.2),
        ghosting_chance=0.5,
        motion_chance=0.6,
        metal_chance=0.1,
        void_chance=0.6,
        ends_inside_chance=0.4,
        saturation=None,
    ),
}

_CTA = {
    # Thin slices of an arterial phase with a sharp kernel that overshoots.
    Family.THIN_SLICE: _Cta(
        artery=(300, 520),
        vein=(0.05, 0.5),
        noise=(8, 20),
        correlation=(0.4, 0.65),
        blur=(0.35, 0.6),
        in_plane=(0.4, 0.5),
        slices=(0.4, 0.7),
        sharpening=(0.6, 1.8),
        plaque_chance=0.4,
        shell_chance=0.5,
        shell_deg=(60, 200),
        sinus_chance=0.3,
        clip_chance=0.1,
        motion_chance=0.03,
        metal_chance=0.03,
        ends_inside_chance=0.1,
        turned_chance=0.1,
    ),
    # Standard reconstructions: soft kernel, slices of 0.8 to 2 mm, often stored in a bounded range of HU.
    Family.ROUTINE: _Cta(
        artery=(250, 450),
        vein=(0.3, 0.85),
        noise=(5, 15),
        correlation=(0.8, 1.08),
        blur=(0.65, 0.93),
        in_plane=(0.42, 0.7),
        slices=(0.8, 2.0),
        sharpening=(0.0, 0.15),
        plaque_chance=0.6,
        shell_chance=0.7,
        shell_deg=(60, 240),
        sinus_chance=0.5,
        clip_chance=0.6,
        motion_chance=0.05,
        metal_chance=0.03,
        ends_inside_chance=0.15,
        turned_chance=0.15,
    ),
    # As public sets ship it: a soft-tissue window as 0 to 255, voxels about 1 mm; lumen, bone and veins saturate alike.
    Family.EXPORTED: _Cta(
        artery=(180, 370),
        vein=(0.5, 1.1),
        noise=(9, 27),
        correlation=(0.4, 0.9),
        blur=(0.75, 1.2),
        in_plane=(0.7, 1.2),
        slices=(0.8, 1.8),
        sharpening=(0.0, 0.8),
        plaque_chance=0.5,
        shell_chance=0.95,
        shell_deg=(150, 340),
        sinus_chance=0.95,
        clip_chance=1.0,
        motion_chance=0.05,
        metal_chance=0.03,
        ends_inside_chance=0.15,
        turned_chance=0.15,
    ),
    # Stroke and trauma: late phase with full veins, noise, motion, metal, the head turned.
    Family.EMERGENCY: _Cta(
        artery=(230, 380),
        vein=(0.75, 1.05),
        noise=(18, 29),
        correlation=(0.5, 0.95),
        blur=(0.5, 0.85),
        in_plane=(0.45, 0.9),
        slices=(0.6, 1.5),
        sharpening=(0.0, 0.9),
        plaque_chance=0.7,
        shell_chance=0.7,
        shell_deg=(60, 240),
        sinus_chance=0.9,
        clip_chance=0.3,
        motion_chance=0.4,
        metal_chance=0.12,
        ends_inside_chance=0.25,
        turned_chance=0.5,
    ),
}


def sample_appearance(
    rng: np.random.Generator,
    modality: Modality,
    family: Family = Family.TRAINING,
    version: int = PHANTOM_VERSION,
) -> Appearance:
    """Draw the appearance of one case, as phantoms of `version` look; TRAINING draws one of the four families first.

    The frozen families look the same in every version. Raises ConfigurationError where version 3 lacks the family.
    """
    if family in FROZEN_FAMILIES or (version == 3 and family is Family.TRAINING):
        return sample_of_version_3(rng, modality, family)
    if version == 3:
        raise ConfigurationError(f"Phantom version 3 has no family '{family.value}'; use version 4.")
    if family is Family.TRAINING:
        family = TRAINING_FAMILIES[int(rng.integers(len(TRAINING_FAMILIES)))]
    return _tof(rng, family) if modality is Modality.MRA else _cta(rng, family)


def _tof(rng: np.random.Generator, family: Family) -> Appearance:
    u, look = rng.uniform, _TOF[family]
    white = u(*look.white)
    fat = u(*look.fat)
    masking = sample_masking(rng, 0.25)
    window = None
    if look.saturation:
        # Tissue keeps at least a fourth of the range below the vessels.
        window = (0.0, max(u(*look.saturation), 1.35 * white))
    slabs = None
    if rng.random() < look.slab_chance:
        junction = _JUNCTIONS[int(rng.integers(len(_JUNCTIONS)))]
        slabs = Slabs(u(14.0, 30.0), junction, u(*look.slab_drop), u(*look.slab_step))
    voids = [u(0.2, 0.8) if rng.random() < look.void_chance else 0.0 for _ in range(2)]
    return Appearance(
        modality=Modality.MRA,
        family=family,
        tissue={
            Tissue.AIR: u(0.0, 0.03),
            Tissue.CSF: white * u(0.5, 0.95),
            Tissue.GREY: white * u(0.85, 1.08),
            Tissue.WHITE: white,
            Tissue.CORTICAL_BONE: u(0.0, 0.06),
            Tissue.MARROW: fat * u(0.3, 0.8),
            Tissue.FAT: fat,
            Tissue.MUSCLE: white * u(0.6, 0.95),
        },
        artery=1.0,
        inflow_length_mm=float(np.exp(u(np.log(90), np.log(500)))),
        inflow_floor=u(0.3, 0.55),
        small_vessel_fade=u(0.0, 0.6),
        vein=u(0.05, 0.55),
        flow_void=0.0,
        texture=u(0.01, 0.12),
        texture_mm=u(3.0, 9.0),
        cistern_mm=u(2.0, 5.0),
        bias=u(0.0, 0.3),
        slab_mm=1e6,
        slab_drop=0.0,
        noise=u(*look.noise),
        noise_correlation_voxels=u(*look.correlation),
        blur_voxels=u(*look.blur),
        ghosting=u(0.02, 0.1) if rng.random() < look.ghosting_chance else 0.0,
        masking=masking,
        masking_level=u(0.0, 1.0),
        eight_bit=False,
        metal=rng.random() < look.metal_chance,
        plaque=0.0,
        smallest_mm=sample_smallest(rng),
        seed=int(rng.integers(2**62)),
        acquisition=Acquisition(
            voxel_mm=(u(*look.in_plane), u(*look.slices)),
            window=window,
            eight_bit=window is not None,
            jpeg_quality=_quality(rng, 0.8) if window else 0,
            sharpening=u(*look.sharpening),
            sharpening_mm=u(0.5, 0.9),
            slabs=slabs,
            motion=_motion(rng, look.motion_chance),
            siphon_void=voids[0],
            division_void=voids[1],
            ends_inside=rng.random() < look.ends_inside_chance,
            turned=rng.random() < 0.05,
        ),
    )


def _cta(rng: np.random.Generator, family: Family) -> Appearance:
    u, look = rng.uniform, _CTA[family]
    artery = u(*look.artery)
    masking = sample_masking(rng, 0.15)
    window = STORED_HU
    eight_bit = family is Family.EXPORTED and masking not in (Masking.BINARY, Masking.ENHANCED)
    if rng.random() < look.clip_chance and masking not in (Masking.BINARY, Masking.ENHANCED):
        if eight_bit:
            window = PUBLISHED_WINDOW_HU if rng.random() < 0.6 else (u(-200, 0), u(200, 600))
        else:
            window = (u(-1024, -100), u(200, 600))
    shell = rng.random() < look.shell_chance
    sinus = rng.random() < look.sinus_chance
    vein = artery * u(*look.vein)
    return Appearance(
        modality=Modality.CTA,
        family=family,
        tissue={
            Tissue.AIR: u(-1020, -980),
            Tissue.CSF: u(0, 15),
            Tissue.GREY: u(34, 48),
            Tissue.WHITE: u(24, 36),
            Tissue.CORTICAL_BONE: u(500, 2000) if rng.random() < 0.7 else u(350, 600),
            Tissue.MARROW: u(200, 600),
            Tissue.FAT: u(-120, -70),
            Tissue.MUSCLE: u(40, 70),
        },
        artery=artery,
        inflow_length_mm=u(400, 3000),
        inflow_floor=0.5,
        small_vessel_fade=u(0.0, 0.3),
        vein=vein,
        flow_void=0.0,
        texture=u(0.1, 0.4),
        texture_mm=u(3.0, 9.0),
        cistern_mm=u(2.0, 5.0),
        bias=0.0,
        slab_mm=1e6,
        slab_drop=0.0,
        noise=u(*look.noise),
        noise_correlation_voxels=u(*look.correlation),
        blur_voxels=u(*look.blur),
        ghosting=0.0,
        masking=masking,
        masking_level=u(0.0, 1.0),
        eight_bit=False,
        metal=rng.random() < look.metal_chance,
        plaque=u(0.3, 2.0) if rng.random() < look.plaque_chance else 0.0,
        smallest_mm=sample_smallest(rng),
        seed=int(rng.integers(2**62)),
        acquisition=Acquisition(
            voxel_mm=(u(*look.in_plane), u(*look.slices)),
            window=window,
            eight_bit=eight_bit,
            jpeg_quality=_quality(rng, 0.35) if eight_bit else 0,
            sharpening=u(*look.sharpening),
            sharpening_mm=u(0.5, 0.9),
            motion=_motion(rng, look.motion_chance),
            siphon=Siphon(
                shell_hu=u(350, 600) if shell else 0.0,
                shell_mm=u(0.7, 1.6),
                shell_gap_mm=u(0.0, 0.7),
                shell_deg=u(*look.shell_deg),
                sinus_filling=min(u(0.4, 1.05), 1.0) if sinus else 0.0,
                sinus_mm=u(1.0, 3.0),
            ),
            ends_inside=rng.random() < look.ends_inside_chance,
            turned=rng.random() < look.turned_chance,
        ),
    )


def _quality(rng: np.random.Generator, chance: float) -> int:
    """Quality of JPEG, 0 where the slices were not compressed."""
    return int(rng.integers(50, 96)) if rng.random() < chance else 0


def _motion(rng: np.random.Generator, chance: float) -> Motion | None:
    if rng.random() >= chance:
        return None
    u = rng.uniform
    angle, distance, middle, width = u(0, 2 * np.pi), u(0.8, 3.0), u(-20, 20), u(8, 60)
    shift = (float(distance * np.cos(angle)), float(distance * np.sin(angle)))
    return Motion(shift, u(0.2, 0.5), middle - width / 2, middle + width / 2)
