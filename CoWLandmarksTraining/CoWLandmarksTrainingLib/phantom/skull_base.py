"""Bones of the skull base round the carotid siphon, carried along with the arteries of each head.

Mean places (`_FAR`, `_NEAR`) are set by hand from general anatomy; the clinoid processes, the optic strut
and the walls of the carotid groove follow the landmarks, the petrous bone follows the carotid canal itself.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
from CoWLandmarksLib.core.volume import apply_affine

from .atlas import default_atlas
from .curves import warp
from .tubes import Capsules, joined
from .vessel import Phantom

_CANAL_TOP_MM = -18.0
_CANAL_BOTTOM_MM = -40.0
_CANAL_STEP = 6

# Right-sided paths (RAS mm, reference frame), radii (half thickness, mm); both sides are made of each.
_FAR: list[tuple[list[list[float]], list[float]]] = [
    ([[0, 5, -12], [0, -4, -42]], [5.0, 6.5]),
    ([[5, 4, -12], [5, -4, -40]], [4.5, 6.0]),
    ([[13, 22, -5], [30, 28, -3], [47, 27, 1]], [2.4, 2.0, 2.4]),
    ([[0, 24, -6.5], [0, 48, -5.5]], [1.5, 1.5]),
    ([[8, 24, -6], [9, 48, -5]], [1.5, 1.8]),
    ([[25, -8, -21], [44, -24, -20]], [6.5, 9.0]),
    ([[14, 8, -24], [24, 0, -27], [34, 4, -29]], [2.5, 3.0, 3.5]),
]
_CLIVUS: list[tuple[list[list[float]], list[float]]] = [
    ([[0, 6, -11], [0, 1, -25], [0, -6, -42], [0, -10, -52]], [3.2, 4.8, 5.5, 5.0]),
    ([[5, 4, -14], [6, 0, -26], [6, -6, -42]], [3.0, 4.5, 5.0]),
]
"""From the dorsum sellae down to the foramen magnum (from version 4 on)."""
_FURTHER: list[tuple[list[list[float]], list[float]]] = [
    # lesser wing, thin in the middle, up to the pterion; petrous bone from its apex at the clivus
    ([[12, 22, -5], [17, 25, -4.8], [24, 27, -4], [31, 27, -2], [38, 25, 0.5], [45, 21, 4], [51, 15, 9]],
     [1.9, 1.5, 1.3, 1.2, 1.3, 1.7, 2.6]),
    ([[12, 0, -23], [18, -4, -22], [25, -8, -21], [44, -24, -20]], [3.2, 4.6, 6.3, 9.0]),
    _FAR[6],
]  # fmt: skip
"""Other far bones of version 4: bent and tapered, where version 3 has straight rods."""
_PLANUM: list[tuple[list[list[float]], list[float]]] = [
    ([[x, 23.5, -6 + 0.02 * x], [1.1 * x, 48, -5.5 + 0.05 * x]], [1.3, 1.4])
    for x in (0.0, 1.7, 3.4, 5.1, 6.8, 8.5, 10.2)
]
"""The planum as a plate of rods side by side (version 4)."""
_NEAR: list[tuple[list[list[float]], list[float]]] = [
    # dorsum sellae with the posterior clinoid process, floor of the sella
    ([[-7, 7, -9], [7, 7, -9]], [1.6, 1.6]),
    ([[-7, 14, -17.5], [7, 14, -17.5]], [1.3, 1.3]),
    ([[6, 7, -11], [8, 7.5, -7.5]], [1.4, 1.6]),
    # anterior clinoid process, optic strut, medial wall of the carotid groove
    ([[14, 24, -4.5], [14.5, 19.5, -4], [14.2, 15.5, -4.5]], [2.6, 2.4, 1.4]),
    ([[14, 25, -6], [7, 26, -9.5]], [1.5, 1.5]),
    ([[4.2, 6, -14], [5.5, 14, -14], [7, 22, -12]], [1.2, 1.0, 1.2]),
]


_CISTERN_MM = (0.5, 3.0)
"""The basilar and the vertebral arteries lie so far behind the clivus, at least (from version 5 on)."""
_LEVEL_MM = 5.0
_INTRADURAL_MM = -46.0


@dataclass(frozen=True)
class SkullBase:
    """Random build of one skull base: `thickness` and `clinoid` factors of the radii, `shift_mm` (3,), and
    `canal_wall_mm`, the bone round the petrous carotid canal."""

    thickness: float
    clinoid: float
    shift_mm: tuple[float, float, float]
    canal_wall_mm: float


def sample_skull_base(rng: np.random.Generator) -> SkullBase:
    """Draw the build of a skull base."""
    x, y, z = rng.normal(0, (0.3, 1.0, 1.0))
    return SkullBase(rng.uniform(0.75, 1.25), rng.uniform(0.5, 1.5), (0.3 * x, y, z), rng.uniform(1.5, 5.0))


def bone_capsules() -> Capsules:
    """Bones of the mean skull base, the same on both sides, as capsules in the reference frame."""
    return _mirrored_pairs(_FAR + _NEAR)


def bones_of(phantom: Phantom, build: SkullBase, pose: np.ndarray, *, near: bool = True) -> Capsules:
    """Skull-base bones of one head in scan RAS; `pose` (4, 4) reference frame -> scan RAS.

    `near` False (version 4) leaves out those by the siphon; the far ones are bent, and the planum is a plate. The
    carotid canal is cut out where the artery runs (by the renderer).
    """
    scale = float(np.cbrt(np.linalg.det(pose[:3, :3])))
    clivus = _far(_FAR[:2] if near else _CLIVUS, build, phantom)
    if phantom.version >= 5:
        clivus = _before_arteries(clivus, build, phantom)
    others = _far(_FAR[2:] if near else _FURTHER + _PLANUM, build, phantom)
    by_siphon = [near_bones(phantom, build)] if near else []
    whole = joined([_canal_walls(phantom, build.canal_wall_mm), clivus, others, *by_siphon])
    return replace(
        whole,
        start=apply_affine(pose, whole.start),
        end=apply_affine(pose, whole.end),
        start_radius=whole.start_radius * scale,
        end_radius=whole.end_radius * scale,
    )


def near_bones(phantom: Phantom, build: SkullBase) -> Capsules:
    """Clinoid processes, optic strut, sella and carotid groove of one head, in the reference frame."""
    return _carried(_mirrored_pairs(_NEAR), build, build.clinoid, phantom)


def _far(paths: list[tuple[list[list[float]], list[float]]], build: SkullBase, phantom: Phantom) -> Capsules:
    return _carried(_mirrored_pairs(paths), build, build.thickness, phantom)


def _behind_clivus(phantom: Phantom) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 3) and radii (n,) of the basilar artery and of the vertebral arteries above the foramen magnum."""
    behind = [vessel for vessel in phantom.vessels if vessel.name in ("BA", "R-VA", "L-VA")]
    points = np.concatenate([vessel.points for vessel in behind])
    radii = np.concatenate([vessel.radii for vessel in behind])
    intradural = points[:, 2] > _INTRADURAL_MM
    return points[intradural], radii[intradural]


def _before_arteries(clivus: Capsules, build: SkullBase, phantom: Phantom) -> Capsules:
    """The clivus moved forwards where a basilar or vertebral artery would lie in it: between them there is a cistern.

    A thin skull base has a wide one.
    """
    points, radii = _behind_clivus(phantom)
    gap = float(np.interp(build.thickness, (0.75, 1.25), _CISTERN_MM[::-1]))

    def moved(ends: np.ndarray, thickness: np.ndarray) -> np.ndarray:
        moved = ends.copy()
        for end, radius in zip(moved, thickness, strict=True):
            apart = np.abs(points - end)
            beside = (apart[:, 2] < _LEVEL_MM) & (apart[:, 0] < radius + radii + gap)
            if beside.any():
                end[1] = max(end[1], float((points[:, 1] + radii)[beside].max()) + gap + radius)
        return moved

    return replace(clivus, start=moved(clivus.start, clivus.start_radius), end=moved(clivus.end, clivus.end_radius))


def _carried(bones: Capsules, build: SkullBase, factor: float, phantom: Phantom) -> Capsules:
    """Bones of the mean head, `factor` times as thick, where they lie in this head."""
    mean = default_atlas().shape_models["young"].mean
    start, end = (warp(ends, mean, phantom.anchors) + build.shift_mm for ends in (bones.start, bones.end))
    return replace(
        bones,
        start=start,
        end=end,
        start_radius=bones.start_radius * factor,
        end_radius=bones.end_radius * factor,
    )


def _canal_walls(phantom: Phantom, wall_mm: float) -> Capsules:
    """Petrous bone round the carotid where it comes up through the skull base."""
    segments = []
    behind = _behind_clivus(phantom) if phantom.version >= 5 else None
    for vessel in phantom.vessels:
        if not vessel.name.endswith(("ICA-C4", "ICA-C4-stump")):
            continue
        inside = (vessel.points[:, 2] < _CANAL_TOP_MM) & (vessel.points[:, 2] > _CANAL_BOTTOM_MM)
        index = np.flatnonzero(inside)[::_CANAL_STEP]
        # The apex is thin where the artery leaves it for the cavernous sinus.
        wall = wall_mm * np.clip((_CANAL_TOP_MM - vessel.points[index, 2]) / 4.0, 0.1, 1.0)
        radius = vessel.radii[index] + wall
        if behind is not None:
            points, radii = behind
            free = (np.linalg.norm(vessel.points[index][:, None] - points, axis=-1) - radii).min(axis=1)
            radius = np.minimum(radius, np.maximum(free - _CISTERN_MM[0], vessel.radii[index]))
        segments += [
            (vessel.points[a], vessel.points[b], radius[n], radius[n + 1])
            for n, (a, b) in enumerate(itertools.pairwise(index))
        ]
    return _capsules(segments)


def _mirrored_pairs(paths: list[tuple[list[list[float]], list[float]]]) -> Capsules:
    segments: list[tuple[np.ndarray, np.ndarray, float, float]] = []
    for points, radii in paths:
        for mirror in (1.0, -1.0):
            line = np.array(points, float) * np.array([mirror, 1.0, 1.0])
            segments += [(line[n], line[n + 1], radii[n], radii[n + 1]) for n in range(len(line) - 1)]
    return _capsules(segments)


def _capsules(segments: list[tuple[np.ndarray, np.ndarray, float, float]]) -> Capsules:
    start = np.array([p[0] for p in segments], float).reshape(-1, 3)
    end = np.array([p[1] for p in segments], float).reshape(-1, 3)
    ones = np.ones(len(segments))
    return Capsules(
        start,
        end,
        np.array([p[2] for p in segments], float),
        np.array([p[3] for p in segments], float),
        ones,
        ones.astype(np.int64),
    )
