"""Everything that makes landmarks look alike: side branches, distal trees, veins and arteries outside the brain."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .atlas import Atlas, Template
from .calibre import radius_profile
from .curves import arc_length, length, spline, warp
from .patterns import SIDES
from .variants import Variants
from .vessel import Vessel, VesselKind

BRAIN_CENTRE_MM = np.array([0.0, -2.0, 25.0])
BRAIN_RADII_MM = np.array([61.0, 77.0, 64.0])
VENOUS_PATH_MM = 400.0
TWIG_STEP_MM = 0.7


@dataclass
class Tree:
    """The vessels of a head while it grows."""

    vessels: dict[str, Vessel] = field(default_factory=dict)

    def add(
        self, name: str, points: np.ndarray, radii: np.ndarray, kind: VesselKind, path_start: float, label: int = 0
    ) -> None:
        """Add a vessel whose blood has come `path_start` mm."""
        path = path_start + (0.0 if kind is VesselKind.VEIN else 1.0) * arc_length(points)
        self.vessels[name] = Vessel(name, points, radii, kind, label, path)


_DRAWN = ("AntTemporal", "Callosomarginal", "Frontopolar", "Orbitofrontal")
"""Branches that version 4 draws by its patterns."""


def add_side_branches(
    tree: Tree, rng: np.random.Generator, atlas: Atlas, anchors: np.ndarray, variants: Variants, waviness_mm: float
) -> None:
    """Named branches of the atlas, carried along with the landmarks and pinned to their parent's centreline."""
    mean = atlas.shape_models["young"].mean
    for side in SIDES:
        for name, template in atlas.branches.items():
            if name == "M2b" or (name == "OphA" and not variants.ophthalmic[side]):
                continue
            if name.startswith("LSA") or (variants.patterns is not None and name in _DRAWN):
                continue
            copies = 2 if name == "SCA" and variants.sca_double[side] else 1
            if name in (
                "LPChA",
                "MPChA",
                "AntTempPCA",
                "Orbitofrontal",
                "Frontopolar",
                "Heubner",
                "ThalPerf",
                "M2b_br",
            ):
                copies = int(rng.random() < 0.75)
            for copy in range(copies):
                parent, place = _origin(tree, rng, name, side, template, variants, copy)
                if parent is None:
                    continue
                label = f"{side}-{name}" + ("" if copy == 0 else f"-{copy + 1}")
                _attach(tree, rng, label, side, template, parent, place, mean, anchors, waviness_mm)
        thickest = 0.62 if variants.patterns is None else 0.28
        _lenticulostriates(tree, rng, atlas, side, mean, anchors, waviness_mm, thickest)


def _lenticulostriates(
    tree: Tree,
    rng: np.random.Generator,
    atlas: Atlas,
    side: str,
    mean: np.ndarray,
    anchors: np.ndarray,
    waviness_mm: float,
    thickest: float,
) -> None:
    parent = tree.vessels.get(f"{side}-MCA-M1")
    if parent is None:
        return
    kinds = [template for name, template in atlas.branches.items() if name.startswith("LSA")]
    for number in range(int(rng.integers(3, 9))):
        place = int(rng.uniform(0.15, 0.9) * (len(parent.points) - 1))
        template = kinds[int(rng.integers(len(kinds)))]
        name = f"{side}-LSA{number + 1}"
        _attach(tree, rng, name, side, template, parent, place, mean, anchors, waviness_mm, thickest)


def _origin(
    tree: Tree, rng: np.random.Generator, name: str, side: str, template: Template, variants: Variants, copy: int
) -> tuple[Vessel | None, int]:
    """Parent vessel and the vertex of its centreline where the branch leaves."""
    parent_name = {"MCA-M2": "MCA-M2a", "M2b": "MCA-M2b", "VA": "VA", "BA": "BA"}.get(template.parent, template.parent)
    parent = tree.vessels.get(parent_name if parent_name == "BA" else f"{side}-{parent_name}")
    if parent is None:
        return None, 0
    along = arc_length(parent.points)
    if name == "SCA" and variants.patterns and variants.patterns.posterior[side].sca_from_p1 and copy == 0:
        parent = tree.vessels.get(f"{side}-PCA-P1", parent)
        along = arc_length(parent.points)
        position = rng.uniform(1.0, 3.5) if parent.name != "BA" else along[-1] - 2.5
    elif name == "SCA":
        position = along[-1] - rng.uniform(2.0, 3.2) - copy * rng.uniform(1.0, 1.8)
    elif name == "AICA":
        position = rng.uniform(0.15, 0.5) * along[-1]
    elif name == "PICA":
        position = rng.uniform(0.55, 0.85) * along[-1]
    elif name == "AChA":
        position = along[-1] if variants.achoroidal_at_terminus[side] else rng.uniform(0.4, 0.8) * along[-1]
    elif template.at_fraction is None:
        position = along[-1] if name in ("P3", "ParietoOcc", "M3a") else rng.uniform(0.05, 0.2) * along[-1]
    elif name == "OphA":
        position = 0.0
    else:
        position = np.clip(template.at_fraction + rng.normal(0, 0.08), 0.04, 0.96) * along[-1]
    return parent, int(np.argmin(np.abs(along - position)))


def _attach(
    tree: Tree,
    rng: np.random.Generator,
    name: str,
    side: str,
    template: Template,
    parent: Vessel,
    place: int,
    mean: np.ndarray,
    anchors: np.ndarray,
    waviness_mm: float,
    thickest: float = 0.62,
) -> None:
    sign = np.array([1.0 if side == "R" else -1.0, 1.0, 1.0])
    control = warp(template.points * sign, mean, anchors)
    along = arc_length(control)
    # The origin moves onto the parent; the far end follows only in part, it lies in tissue that stayed in place.
    fade = 0.4 + 0.6 * np.exp(-along / 15.0)
    fade[0] = 1.0
    control = control + fade[:, None] * (parent.points[place] - control[0])
    free = np.clip(along / max(along[-1], 1.0), 0, 1)[:, None]
    control[1:] += (rng.normal(0, 1.0, control.shape) * (0.8 + 1.6 * free))[1:]
    points = spline(control)
    scale = float(np.clip(rng.normal(1.0, 0.18), 0.6, 1.5))
    limit = thickest * parent.radii[place]
    first = min(template.radius_mm[0] * scale, max(limit, 0.2))
    last = min(template.radius_mm[1] * scale, first)
    radii = radius_profile(points, (first, last), 0.0, rng, 0.06)
    tree.add(name, points, radii, VesselKind.BRANCH, float(parent.path_mm[place]))


# Distal trees


def add_distal_twigs(tree: Tree, rng: np.random.Generator) -> None:
    """Random cortical branches that continue the trunks: 15 to 40 a side, tapering, held inside the brain."""
    starts: list[np.ndarray] = []
    headings: list[np.ndarray] = []
    courses: list[np.ndarray] = []
    radii: list[float] = []
    paths: list[float] = []
    names: list[str] = []
    medial: list[float] = []
    for side in SIDES:
        sign = 1.0 if side == "R" else -1.0
        for parents, count, span, course, limit in _TERRITORIES:
            found = [vessel for parent in parents if (vessel := tree.vessels.get(f"{side}-{parent}")) is not None]
            if not found:
                continue
            for number in range(int(rng.integers(count[0], count[1] + 1))):
                parent = found[int(rng.integers(len(found)))] if number >= len(found) else found[number]
                last = len(parent.points) - 1
                place = last if number < len(found) else int(rng.uniform(span, 1.0) * last)
                ahead = parent.points[place] - parent.points[max(place - 6, 0)]
                starts.append(parent.points[place])
                headings.append(
                    ahead / max(float(np.linalg.norm(ahead)), 1e-6) + rng.normal(0, 0.25 if place == last else 0.7, 3)
                )
                courses.append((np.asarray(course) + rng.normal(0, 0.8, 3)) * (sign, 1.0, 1.0))
                radii.append(
                    float(min(parent.radii[place] * (0.95 if place == last else 0.75), 0.9) * rng.uniform(0.75, 1.0))
                )
                paths.append(float(parent.path_mm[place]))
                names.append(f"{side}-twig-{len(names) + 1}")
                medial.append(limit)
    if not names:
        return
    spans = rng.uniform(10.0, 50.0, len(names))
    walks = _walks(rng, np.array(starts), np.array(headings), np.array(courses), np.array(medial), float(spans.max()))
    for row, name in enumerate(names):
        points = walks[row, : int(spans[row] / TWIG_STEP_MM) + 1].copy()
        end = max(0.25, radii[row] * rng.uniform(0.4, 0.8))
        tree.add(name, points, np.linspace(radii[row], end, len(points)), VesselKind.BRANCH, paths[row])


_INSULAR = ("MCA-M2a", "MCA-M2b", "MCA-M2c", "MCA-M2d", "MCA-M2e", "M3a", "M2a_br", "M2b_br")
_MEDIAL = ("ACA-A3", "Callosomarginal", "Frontopolar", "Orbitofrontal", "A2-hypoplastic")
_TERRITORIES: tuple[tuple[tuple[str, ...], tuple[int, int], float, tuple[float, float, float], float], ...] = (
    (_INSULAR, (9, 20), 0.35, (0.7, -0.3, 0.5), 38.0),
    (("AntTemporal", "MCA-early-1", "MCA-early-2"), (1, 3), 0.4, (0.4, -0.3, -0.3), 25.0),
    (_MEDIAL, (4, 8), 0.3, (0.1, 0.0, 0.8), 1.5),
    (("P3", "ParietoOcc", "PostTemporal", "PCA-P2P", "PCA-temporal"), (4, 8), 0.4, (0.2, -0.9, 0.1), 2.0),
    (("SCA", "AICA", "PICA"), (2, 5), 0.5, (0.2, -0.8, -0.2), 2.0),
)
"""Parents, number of twigs, from which part of the parent on, where they tend to go (right side), and how near to
the midline they come in mm: over the insula nothing goes medially into the brain."""


def _walks(
    rng: np.random.Generator,
    starts: np.ndarray,
    headings: np.ndarray,
    courses: np.ndarray,
    medial: np.ndarray,
    span: float,
) -> np.ndarray:
    """Smooth random walks (n, steps, 3) that stay inside the brain and further from the midline than `medial` (n,)."""
    count = int(span / TWIG_STEP_MM) + 2
    walks = np.empty((len(starts), count, 3))
    walks[:, 0] = starts
    heading = headings / np.linalg.norm(headings, axis=1, keepdims=True)
    bend = np.zeros_like(heading)
    side = np.sign(starts[:, 0])
    turns = rng.normal(0, 0.07, (count - 1, *bend.shape))
    tendency = 0.03 * courses
    falx = np.zeros_like(heading)
    for step in range(1, count):
        bend = 0.85 * bend + turns[step - 1]
        position = walks[:, step - 1]
        outside = (position - BRAIN_CENTRE_MM) / BRAIN_RADII_MM
        depth = (outside**2).sum(axis=1, keepdims=True)
        inward = -outside / BRAIN_RADII_MM * 40.0 * (depth - 0.85).clip(0.0, 0.5)
        falx[:, 0] = side * (medial - side * position[:, 0]).clip(0.0, 2.0) * 0.08
        heading = heading + bend + tendency + 0.35 * inward + falx
        heading /= np.sqrt((heading * heading).sum(axis=1, keepdims=True))
        walks[:, step] = position + TWIG_STEP_MM * heading
    return walks


# Veins and arteries outside the brain


def add_veins(tree: Tree, rng: np.random.Generator, atlas: Atlas, anchors: np.ndarray) -> None:
    """Deep and cortical veins and the sinuses, with one variation for the whole head and one for each vein."""
    mean = atlas.shape_models["young"].mean
    shift = rng.normal(0, (0.8, 2.0, 2.0))
    for name, template in atlas.veins.items():
        for side in SIDES if template.bilateral else ("",):
            cavernous = name == "CavernousSinus"
            if not cavernous and template.bilateral and rng.random() < 0.12:
                continue
            control = template.points * (-1.0 if side == "L" else 1.0, 1.0, 1.0)
            control = warp(control, mean, anchors)
            if not cavernous:
                control = (
                    control + shift + rng.normal(0, 1.0, control.shape) * (1.0 if template.bilateral else 0.4, 1.2, 1.2)
                )
            scale = float(np.clip(rng.normal(1.0, 0.2), 0.5, 1.6))
            points = spline(control, 0.8)
            ends = (template.radius_mm[0] * scale, template.radius_mm[1] * scale)
            radii = radius_profile(points, ends, 0.0, rng, 0.08)
            tree.add(f"{side}-{name}" if side else name, points, radii, VesselKind.VEIN, VENOUS_PATH_MM)
    _cortical_veins(tree, rng)


def _cortical_veins(tree: Tree, rng: np.random.Generator) -> None:
    count = int(rng.integers(6, 17))
    side = np.where(rng.random(count) < 0.5, -1.0, 1.0)
    direction = rng.normal(0, 1, (count, 3))
    direction[:, 0] = side * (0.15 + np.abs(direction[:, 0]))
    direction[:, 2] = np.abs(direction[:, 2])
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    starts = BRAIN_CENTRE_MM + 0.94 * BRAIN_RADII_MM * direction
    courses = rng.normal(0, 0.5, (count, 3)) + np.array([0.0, 0.0, -1.0])
    headings = np.cross(direction, rng.normal(0, 1, (count, 3)))
    walks = _walks(rng, starts, headings, courses, np.full(count, 2.0), 60.0)
    for row in range(count):
        points = walks[row, : int(rng.uniform(25, 60) / TWIG_STEP_MM)].copy()
        first = rng.uniform(0.7, 1.5)
        radii = np.linspace(first, first * rng.uniform(0.3, 0.6), len(points))
        tree.add(f"cortical-vein-{row + 1}", points, radii, VesselKind.VEIN, VENOUS_PATH_MM)


def add_external_carotid(tree: Tree, rng: np.random.Generator, atlas: Atlas) -> None:
    """Scalp, dural and facial arteries, which look like brain arteries but are not."""
    for side in SIDES:
        for name, template in atlas.external_carotid.items():
            if rng.random() < 0.3:
                continue
            control = template.points * (-1.0 if side == "L" else 1.0, 1.0, 1.0)
            control = control + rng.normal(0, 1.5, 3) + rng.normal(0, 1.2, control.shape)
            points = spline(control)
            scale = float(np.clip(rng.normal(1.0, 0.2), 0.5, 1.6))
            ends = (template.radius_mm[0] * scale, template.radius_mm[1] * scale)
            tree.add(
                f"{side}-{name}",
                points,
                radius_profile(points, ends, 0.0, rng, 0.06),
                VesselKind.BRANCH,
                length(points),
            )
