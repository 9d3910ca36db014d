"""What lies against the carotid siphon and in its lumen at the scale of a voxel: thin bone, full veins, flow voids.

Version 4 renders these as tubes of their own, so that a wall of one millimetre keeps its width and brightness; the
tissue grid of the head is too coarse for them. Places: general anatomy, hand-placed, carried along with the landmarks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from CoWLandmarksLib.core.volume import Modality, apply_affine

from .appearance import Appearance, Tissue
from .atlas import default_atlas
from .curves import warp
from .head_shape import point_index
from .skull_base import SkullBase, near_bones
from .tubes import Capsules, capsules_of_polyline, joined
from .vessel import Phantom, Vessel

_MARROW_BELOW_MM = 0.8
"""Thickness of the cortex of the clinoids and the sella."""
_STEP = 3
"""Every third point of a centreline, 1.5 mm, is enough for bone and sinus."""
_PETROUS_BELOW_MM = -26.0
_CAVERNOUS_ABOVE_MM = -24.0
_SPHENOPARIETAL = np.array([[46, 24, 1], [36, 28, -2.5], [26, 27, -5], [18, 22, -8], [13, 17, -12]], float)
_SHARE_OF_DIVISIONS = 0.5
_DIVISIONS = ("ICA-T", "M1-M2", "BA-T", "A1-A2")


@dataclass(frozen=True)
class SiphonSurroundings:
    """Capsules in scan RAS: `cortex` and `marrow` of thin bones, `sinuses` (veins), and `voids`, whose signal is the
    share of the lumen's that is lost."""

    cortex: Capsules
    marrow: Capsules
    sinuses: Capsules
    voids: Capsules


def surroundings(phantom: Phantom, build: SkullBase, appearance: Appearance, pose: np.ndarray) -> SiphonSurroundings:
    """The surroundings of one head, drawn from the appearance's seed."""
    rng = np.random.Generator(np.random.Philox(key=[appearance.seed, 1]))
    acquisition = appearance.acquisition
    assert acquisition is not None
    bones = near_bones(phantom, build)
    inner = np.minimum(bones.start_radius, bones.end_radius) > _MARROW_BELOW_MM + 0.3
    cortex = [_with_signal(bones, appearance.tissue[Tissue.CORTICAL_BONE])]
    marrow = _with_signal(_part(bones, inner), appearance.tissue[Tissue.MARROW], -_MARROW_BELOW_MM)
    sinuses: list[Capsules] = []
    siphon = acquisition.siphon
    carotids = [v for v in phantom.vessels if v.name.endswith(("ICA-C4", "ICA-C5", "ICA-C6"))]
    if siphon is not None:
        if siphon.shell_hu:
            for vessel in carotids:
                cortex += _shell(vessel, siphon.shell_hu, siphon.shell_mm, siphon.shell_gap_mm, siphon.shell_deg, rng)
        if siphon.sinus_filling:
            signal = siphon.sinus_filling * appearance.artery
            sinuses += [_sinus(vessel, siphon.sinus_mm, signal, rng) for vessel in carotids if "C6" not in vessel.name]
            sinuses += _sphenoparietal(phantom, signal, rng)
    voids: list[Capsules] = []
    if appearance.modality is Modality.MRA:
        voids += _siphon_voids(carotids, acquisition.siphon_void, rng) if acquisition.siphon_void else []
        voids += _division_voids(phantom, acquisition.division_void, rng) if acquisition.division_void else []
    placed = [_placed(joined([none(), *parts]), pose) for parts in (cortex, [marrow], sinuses, voids)]
    return SiphonSurroundings(*placed)


def none() -> Capsules:
    """No capsule at all."""
    empty = np.zeros(0)
    return Capsules(np.zeros((0, 3)), np.zeros((0, 3)), empty, empty, empty, np.zeros(0, dtype=np.int64))


def _part(capsules: Capsules, which: np.ndarray) -> Capsules:
    return Capsules(
        capsules.start[which],
        capsules.end[which],
        capsules.start_radius[which],
        capsules.end_radius[which],
        capsules.signal[which],
        capsules.label[which],
    )


def _with_signal(capsules: Capsules, signal: float, growth_mm: float = 0.0) -> Capsules:
    """The capsules with one brightness, each thicker by `growth_mm`."""
    count = len(capsules.start)
    return Capsules(
        capsules.start,
        capsules.end,
        capsules.start_radius + growth_mm,
        capsules.end_radius + growth_mm,
        np.full(count, signal),
        np.zeros(count, dtype=np.int64),
    )


def _placed(capsules: Capsules, pose: np.ndarray) -> Capsules:
    scale = float(np.cbrt(np.linalg.det(pose[:3, :3])))
    return Capsules(
        apply_affine(pose, capsules.start),
        apply_affine(pose, capsules.end),
        capsules.start_radius * scale,
        capsules.end_radius * scale,
        capsules.signal,
        capsules.label,
    )


def _shell(
    vessel: Vessel, hu: float, thickness: float, gap: float, degrees: float, rng: np.random.Generator
) -> list[Capsules]:
    """Rods of bone along the medial and lower wall of an artery, each over a stretch of it."""
    kept = vessel.points[:, 2] > _PETROUS_BELOW_MM
    points, radii = vessel.points[kept][::_STEP], vessel.radii[kept][::_STEP]
    if len(points) < 3:
        return []
    tangent = np.gradient(points, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    toward = np.array([-np.sign(points[:, 0].mean()), 0.0, -0.7]) + rng.normal(0, 0.3, 3)
    across = toward - (tangent @ toward)[:, None] * tangent
    across /= np.linalg.norm(across, axis=1, keepdims=True).clip(1e-6)
    beside = np.cross(tangent, across)
    distance = radii + gap + thickness / 2
    count = max(2, int(np.ceil(np.radians(degrees) * distance.mean() / 1.0)))
    rods = []
    for angle in np.radians(np.linspace(-degrees / 2, degrees / 2, count)):
        first, last = sorted(rng.uniform(-0.2, 1.2, 2).clip(0, 1) * (len(points) - 1))
        rows = slice(int(first), int(last) + 2)
        line = (points + distance[:, None] * (np.cos(angle) * across + np.sin(angle) * beside))[rows]
        if len(line) > 1:
            rods.append(capsules_of_polyline(line, np.full(len(line), thickness / 2), np.full(len(line), hu), 0))
    return rods


def _sinus(vessel: Vessel, width_mm: float, signal: float, rng: np.random.Generator) -> Capsules:
    """The cavernous sinus: blood round the artery, more of it on the outer side."""
    kept = vessel.points[:, 2] > _CAVERNOUS_ABOVE_MM
    points, radii = vessel.points[kept][::_STEP], vessel.radii[kept][::_STEP]
    if len(points) < 2:
        return none()
    outward = np.array([np.sign(points[:, 0].mean()), 0.0, -0.3])
    shift = outward * width_mm * rng.uniform(0.2, 0.8) + rng.normal(0, 0.3, points.shape)
    width = radii + width_mm * rng.uniform(0.4, 1.0, len(points))
    return capsules_of_polyline(points + shift, width, np.full(len(points), signal), 0)


def _sphenoparietal(phantom: Phantom, signal: float, rng: np.random.Generator) -> list[Capsules]:
    """The sinus below the lesser wing, from the Sylvian fissure to the cavernous sinus; it may lack on a side."""
    mean = default_atlas().shape_models["young"].mean
    parts = []
    for side in (1.0, -1.0):
        if rng.random() < 0.3:
            continue
        control = _SPHENOPARIETAL * (side, 1.0, 1.0) + rng.normal(0, 0.8, _SPHENOPARIETAL.shape)
        points = warp(control, mean, phantom.anchors)
        radii = np.linspace(0.8, 1.0, len(points)) * rng.uniform(0.8, 1.8)
        parts.append(capsules_of_polyline(points, radii, np.full(len(points), signal), 0))
    return parts


def _siphon_voids(carotids: list[Vessel], depth: float, rng: np.random.Generator) -> list[Capsules]:
    """Turbulence in the bends: a core of the lumen, off its middle, over some millimetres."""
    voids = []
    for vessel in carotids:
        if rng.random() < 0.4:
            continue
        low = int(np.argmax(vessel.points[:, 2] > _CAVERNOUS_ABOVE_MM))
        first = int(rng.integers(low, max(low + 1, len(vessel.points) - 6)))
        rows = slice(first, first + int(rng.integers(6, 18)))
        points, radii = vessel.points[rows], vessel.radii[rows]
        if len(points) > 1:
            shift = rng.normal(0, 0.25, 3) * radii.mean()
            lost = np.full(len(points), depth)
            voids.append(capsules_of_polyline(points + shift, radii * rng.uniform(0.4, 0.9), lost, 0))
    return voids


def _division_voids(phantom: Phantom, depth: float, rng: np.random.Generator) -> list[Capsules]:
    """Turbulence where arteries divide widely."""
    voids = []
    labelled = [v for v in phantom.vessels if v.label]
    for name in _DIVISIONS:
        for code in (name,) if name == "BA-T" else (f"R-{name}", f"L-{name}"):
            place = phantom.landmarks[point_index(code)]
            if rng.random() > _SHARE_OF_DIVISIONS or not np.isfinite(place).all():
                continue
            nearest = min(labelled, key=lambda v: float(np.linalg.norm(v.points - place, axis=1).min()))
            lumen = float(nearest.radii[np.argmin(np.linalg.norm(nearest.points - place, axis=1))])
            ends = np.stack([place, place + rng.normal(0, 0.4, 3) * lumen])
            voids.append(capsules_of_polyline(ends, np.full(2, lumen * rng.uniform(0.5, 0.9)), np.full(2, depth), 0))
    return voids
