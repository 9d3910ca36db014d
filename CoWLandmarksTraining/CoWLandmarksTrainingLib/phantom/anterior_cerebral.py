"""The anterior cerebral arteries of phantom version 4: trunks, and branches that run as far forward as they."""

from __future__ import annotations

import numpy as np

from .artery_tree import SIGN, TURN_ARM_MM, TURN_REACH_MM, ArteryBuilder
from .curves import (
    arc_length,
    at_arc,
    beside,
    clear_of,
    hung,
    hung_to_tortuosity,
    joined,
    length,
    nearest_vertex,
    resampled,
    sharpest_turn,
    slow_noise,
    smoothed,
    spline,
    tangents,
    unit,
    wavy,
)
from .drawn_patterns import AnteriorPattern, Callosomarginal, FrontalBranch
from .head_shape import point_index
from .patterns import SIDES
from .skeleton import Offshoot

A2_CHORD_MM = 29.0
GENU_MEAN_MM = np.array([0.8, 41.6, 23.0])
GENU_NEAR_MM = 7.0
"""The genu is looked for this far from where it was drawn; loops before it stay behind it."""
SECOND_CONTACT_MM = (3.2, 5.0)
X_SHAPED_MM = 1.3
AZYGOS_WIDER = 1.15
AZYGOS_SPLIT_MM = (3.0, 22.0)
PERICALLOSAL_APART_MM = 2.3
_FRONTAL = {
    "frontopolar": ((5.5, 61.0, 20.0), (0.25, 1.0, 0.1)),
    "orbitofrontal": ((5.5, 55.0, 1.0), (0.25, 0.7, -0.75)),
}
"""Where the frontal branches end, right side, and how they leave the A2."""


def anterior_cerebral(builder: ArteryBuilder, pattern: AnteriorPattern) -> None:
    """A1 to A3 of both sides, the anterior communicating artery, and the branches to the frontal lobe."""
    variants, skeleton = builder.variants, builder.skeleton
    azygos, double = variants.a2 == "azygos", variants.a2 == "bihemispheric"
    anchors = {side: (builder.anchor(f"{side}-A1-A2"), builder.anchor(f"{side}-A2-A3")) for side in SIDES}
    if azygos:
        middle = tuple(np.mean([anchors[side][k] for side in SIDES], axis=0) for k in (0, 1))
        anchors = dict.fromkeys(SIDES, (middle[0], middle[1]))
    elif variants.acoa == "X-shaped":
        _draw_together(anchors)
    trunks, joints = _trunks(builder, pattern, anchors)
    stronger = "L" if pattern.weaker == "R" else "R"
    for side in SIDES:
        if double and side == pattern.weaker:
            skeleton.curves[f"{side}-ACA-A1"] = trunks[side][: joints[side] + 1]
            skeleton.put(f"{side}-A1-A2", trunks[side][joints[side]])
        else:
            builder.split_anterior(side, trunks[side], joints[side], azygos)
    if double:
        _bihemispheric(builder, pattern, trunks, joints, stronger)
    elif azygos:
        _azygos_split(builder, trunks["R"])
    elif pattern.a2_ratio < 1.0:
        for part in ("ACA-A2", "ACA-A3"):
            skeleton.factors[f"{pattern.weaker}-{part}"] = pattern.a2_ratio**0.6
            skeleton.factors[f"{stronger}-{part}"] = pattern.a2_ratio**-0.4
    _communicating(builder, joints, trunks)
    for side in SIDES:
        _branches(builder, side, pattern)
    if not azygos and not double:
        for side, other in (("R", "L"), ("L", "R")):
            genu = skeleton.landmarks[point_index(f"{other}-A2-A3")]
            skeleton.suggest(f"{side}-A2-A3", f"{other}-ACA-A2", genu, "genu of the other A2")


def _draw_together(anchors: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Let the two A2 touch where they begin: an X with hardly any communicating artery."""
    middle = 0.5 * (anchors["R"][0] + anchors["L"][0])
    for side in SIDES:
        beside_it = middle + np.array([0.5 * X_SHAPED_MM * SIGN[side], 0.0, 0.0])
        anchors[side] = (beside_it, anchors[side][1])


def _trunks(
    builder: ArteryBuilder, pattern: AnteriorPattern, anchors: dict[str, tuple[np.ndarray, np.ndarray]]
) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Curves from the carotid terminus (azygos: from the joint) to beyond the genu, and the vertex of the joint."""
    rng, skeleton = builder.rng, builder.skeleton
    azygos = builder.variants.a2 == "azygos"
    shared = np.clip(rng.normal(size=5), -2, 2)
    phase = rng.uniform(0.0, 1.0)
    trunks: dict[str, np.ndarray] = {}
    for side in SIDES:
        joint, front = anchors[side]
        terminus = skeleton.landmarks[point_index(f"{side}-ICA-T")]
        a1 = hung_to_tortuosity(builder.shaped("ACA-A1", side), terminus, joint, builder.tortuosity(1.23))
        if azygos:
            skeleton.curves[f"{side}-ACA-A1"] = builder.finished(a1, 0.6)
            if side == "L":
                trunks[side] = trunks["R"]
                continue
        a2 = builder.shaped("ACA-A2", side, 0.9, shared) * ((0.5 if azygos else 1.0), 1.0, 1.0)
        a2 = hung(a2, joint, front, float(np.clip(np.linalg.norm(front - joint) / A2_CHORD_MM, 0.6, 1.4)))
        a3 = builder.template("ACA-A3").points * (SIGN[side], 1.0, 1.0)
        a3 = hung(a3, front, a3[-1] + (front - a3[0]) * 0.7 + rng.normal(0, (0.5, 3.0, 3.0)))
        trunk = builder.finished(joined(a2, a3) if azygos else joined(a1, a2, a3), 0.8)
        first = 0 if azygos else nearest_vertex(trunk, joint, 8)
        if pattern.loop_mm[side]:
            trunk = _undulating(trunk, first, front, pattern.loop_mm[side], pattern.loop_waves, phase)
        trunks[side] = trunk
    joints = dict.fromkeys(SIDES, 0)
    if not azygos:
        joints = {side: nearest_vertex(trunks[side], anchors[side][0], 8) for side in SIDES}
        builder.keep_apart(trunks, joints)
    for side in SIDES:
        if builder.variants.acoa == "absent" and not azygos:
            position = arc_length(trunks[side])[joints[side]]
            joints[side] = sharpest_turn(trunks[side], position, TURN_REACH_MM, TURN_ARM_MM)
    return trunks, joints


def _undulating(
    trunk: np.ndarray, joint: int, front: np.ndarray, amplitude: float, waves: float, phase: float
) -> np.ndarray:
    """The trunk with an A2 that winds forward and back; the genu stays its most anterior point."""
    genu = nearest_vertex(trunk, front, joint + 4)
    along = arc_length(trunk)
    u = np.clip((along - along[joint]) / (along[genu] - along[joint]), 0.0, 1.0)
    outward = _outward(trunk)
    shape = np.sin(2 * np.pi * (waves * u + phase)) * np.clip(u / 0.15, 0, 1) * np.clip((0.85 - u) / 0.2, 0, 1)
    for _ in range(6):
        wound = trunk + amplitude * shape[:, None] * outward
        most = joint + int(np.argmax(wound[joint:, 1]))
        if abs(along[most] - along[genu]) <= GENU_NEAR_MM:
            break
        amplitude *= 0.6
    else:
        wound = trunk
    return resampled(smoothed(resampled(wound), 0.6))


def _outward(trunk: np.ndarray) -> np.ndarray:
    """Unit vectors (n, 3) across the trunk in the sagittal plane: away from the corpus callosum."""
    along = tangents(trunk, 8)
    across = np.stack([0.0 * along[:, 0], along[:, 2], -along[:, 1]], axis=1)
    return across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 0.3)


def _bihemispheric(
    builder: ArteryBuilder,
    pattern: AnteriorPattern,
    trunks: dict[str, np.ndarray],
    joints: dict[str, int],
    stronger: str,
) -> None:
    """One A2 feeds both pericallosal arteries; the other is thin and ends as a frontal trunk."""
    rng, skeleton, weaker = builder.rng, builder.skeleton, pattern.weaker
    distal = trunks[weaker][joints[weaker] :]
    total = float(length(distal))
    first = int(np.searchsorted(arc_length(distal), rng.uniform(0.18, 0.34) * total))
    directions = _outward(distal) + np.array([0.3 * SIGN[weaker], 0.0, 0.0])
    course = beside(distal, first, rng.uniform(16.0, 38.0), directions, rng.uniform(0.4, 0.9), rng.uniform(6.0, 12.0))
    thin = resampled(smoothed(resampled(joined(distal[: first + 1], wavy(resampled(course), rng, 0.5, 9.0))), 0.8))
    a2, a3 = (skeleton.curves[f"{stronger}-{part}"] for part in ("ACA-A2", "ACA-A3"))
    skeleton.offshoots[f"{weaker}-A2-hypoplastic"] = Offshoot(
        thin, f"{stronger}-ACA-A2", 0.0, pattern.a2_ratio, (f"{stronger}-ACA-A3",), 0.75, funnel=False
    )
    whole, front = joined(a2, a3), length(a2)
    at = int(np.argmin(np.abs(arc_length(whole) - max(front + pattern.split_mm, 0.4 * front))))
    across = np.tile([SIGN[weaker], 0.0, 0.0], (len(whole), 1))
    other = resampled(beside(whole, at, rng.uniform(26.0, 44.0), across, 0.6, PERICALLOSAL_APART_MM))
    parent, at_mm = _on(skeleton.curves, stronger, whole, at)
    skeleton.offshoots[f"{weaker}-ACA-A3"] = Offshoot(
        other, parent, at_mm, rng.uniform(0.6, 0.98), (f"{stronger}-ACA-A3",), 0.75
    )
    most = builder.extreme(other, other[:, 1])
    own = at < len(a2) - 1 and most > 0
    skeleton.put(f"{weaker}-A2-A3", other[most] if own else a2[-1])
    skeleton.factors[f"{stronger}-ACA-A2"] = 1.1
    for side in SIDES:
        turn = int(np.argmax(thin[:, 1]))
        skeleton.suggest(
            f"{side}-A2-A3",
            f"{weaker}-A2-hypoplastic",
            thin[turn],
            "front of the thin A2, a frontal trunk",
        )


def _on(curves: dict[str, np.ndarray], side: str, whole: np.ndarray, vertex: int) -> tuple[str, float]:
    """Name of the part (A2 or A3) that holds a vertex of both, and the arc length on it."""
    a2 = curves[f"{side}-ACA-A2"]
    position = float(arc_length(whole)[vertex])
    if vertex < len(a2):
        return f"{side}-ACA-A2", position
    return f"{side}-ACA-A3", position - float(length(a2))


def _azygos_split(builder: ArteryBuilder, trunk: np.ndarray) -> None:
    """The common trunk parts into two pericallosal arteries beyond the genu."""
    curves = builder.skeleton.curves
    for side in SIDES:
        builder.skeleton.factors[f"{side}-ACA-A2"] = AZYGOS_WIDER
    a3 = curves["R-ACA-A3"]
    at = int(np.searchsorted(arc_length(a3), builder.rng.uniform(*AZYGOS_SPLIT_MM)))
    if at < len(a3) - 10:
        across = np.tile([-1.0, 0.0, 0.0], (len(a3), 1))
        curves["L-ACA-A3"] = resampled(joined(a3[: at + 1], beside(a3, at, 99.0, across, 0.6, PERICALLOSAL_APART_MM)))


def _communicating(builder: ArteryBuilder, joints: dict[str, int], trunks: dict[str, np.ndarray]) -> None:
    """The anterior communicating artery in its form, and a median artery."""
    rng, skeleton, form = builder.rng, builder.skeleton, builder.variants.acoa
    curves = skeleton.curves
    right, left = (skeleton.landmarks[point_index(f"{side}-A1-A2")] for side in SIDES)
    middle = 0.5 * (right + left)
    if form != "absent":
        bow = np.array([0.0, rng.uniform(-0.3, 1.5), rng.normal(0, 0.7)])
        if form == "fenestrated":
            split = np.array([0.0, rng.uniform(1.0, 1.8), rng.uniform(-0.6, 0.6)])
            curves["ACoA-2"] = spline(np.stack([right, middle + bow - split, left]), 0.3)
            bow = bow + split
        curves["ACoA"] = spline(np.stack([right, middle + bow, left]), 0.3)
        if form == "X-shaped":
            skeleton.factors["ACoA"] = 1.35
        if form == "double":
            away = rng.uniform(*SECOND_CONTACT_MM)
            ends = {}
            for side in SIDES:
                distal = trunks[side][joints[side] :]
                ends[side] = distal[int(np.searchsorted(arc_length(distal), away))]
            second = 0.5 * (ends["R"] + ends["L"]) + (0.0, rng.uniform(0.0, 1.0), rng.normal(0, 0.3))
            curves["ACoA-2"] = spline(np.stack([ends["R"], second, ends["L"]]), 0.3)
            for side in SIDES:
                reason = f"second contact of a double anterior communicating artery, {away:.0f} mm up the A2"
                skeleton.suggest(f"{side}-A1-A2", "ACoA-2", ends[side], reason)
    if builder.variants.a2 == "three":
        start = curves["ACoA"][len(curves["ACoA"]) // 2]
        sides = [joined(curves[f"{side}-ACA-A2"], curves[f"{side}-ACA-A3"]) for side in SIDES]
        parts = np.linspace(0.12, rng.uniform(0.45, 0.95), 9)[:, None]
        course = np.mean([at_arc(curve, parts[:, 0] * length(curve)) for curve in sides], axis=0)
        apart = slow_noise(rng, len(course), 0.6) + np.array([rng.normal(0, 0.5), -1.8, 1.2]) * rng.choice([-1.2, 1.0])
        skeleton.offshoots["ACA-A2-median"] = Offshoot(
            builder.finished(np.concatenate([start[None], course + apart]), 0.6),
            "R-ACA-A2",
            0.0,
            rng.uniform(0.45, 1.0),
            ("R-ACA-A3",),
            0.8,
            funnel=False,
        )
        points = skeleton.offshoots["ACA-A2-median"].points
        turn = int(np.argmax(points[:, 1]))
        for side in SIDES:
            skeleton.suggest(f"{side}-A2-A3", "ACA-A2-median", points[turn], "front of the median A2")
    for side in SIDES:
        if builder.variants.a1[side] == "absent":
            del curves[f"{side}-ACA-A1"]
            skeleton.lose(f"{side}-A1-A2")


def _branches(builder: ArteryBuilder, side: str, pattern: AnteriorPattern) -> None:
    """Callosomarginal, frontopolar and orbitofrontal artery of one side."""
    skeleton, curves = builder.skeleton, builder.skeleton.curves
    hypoplastic = f"{side}-A2-hypoplastic"
    if f"{side}-ACA-A2" in curves:
        a2, a3 = curves[f"{side}-ACA-A2"], curves[f"{side}-ACA-A3"]
        parent = f"{side}-ACA-A2"
        callosomarginal = pattern.callosomarginal[side]
        if callosomarginal is not None:
            _callosomarginal(builder, side, a2, a3, callosomarginal)
    else:
        a2, parent = skeleton.offshoots[hypoplastic].points, hypoplastic
    trunks = [curve for name, curve in curves.items() if "ACA-A" in name]
    trunks += [shoot.points for name, shoot in skeleton.offshoots.items() if "allosomarginal" in name]
    for name, branch in (("Frontopolar", pattern.frontopolar[side]), ("Orbitofrontal", pattern.orbitofrontal[side])):
        if branch is not None:
            points, at_mm = _frontal_course(builder, side, name.lower(), a2, branch, trunks)
            skeleton.offshoots[f"{side}-{name}"] = Offshoot(
                points, parent, at_mm, branch.ratio, (f"{side}-ACA-A3",), 0.65
            )
            if branch.ratio >= 0.4:
                reason = f"origin of a thick {name.lower()} artery"
                skeleton.suggest(f"{side}-A2-A3", parent, points[0], reason)


def _callosomarginal(builder: ArteryBuilder, side: str, a2: np.ndarray, a3: np.ndarray, drawn: Callosomarginal) -> None:
    """A trunk in the cingulate sulcus, outside the pericallosal artery."""
    rng, skeleton = builder.rng, builder.skeleton
    whole, front = joined(a2, a3), length(a2)
    position = float(np.clip(front + drawn.at_mm, 0.35 * front, front + 0.6 * length(a3)))
    vertex = int(np.argmin(np.abs(arc_length(whole) - position)))
    directions = _outward(whole) + np.array([SIGN[side] * rng.uniform(0.1, 0.35), 0.0, 0.0])
    points = beside(whole, vertex, drawn.span_mm, directions, drawn.slope, drawn.height_mm)
    points = resampled(smoothed(resampled(wavy(resampled(points), rng, 0.5, 11.0)), 0.8))
    parent, at_mm = _on(skeleton.curves, side, whole, vertex)
    skeleton.offshoots[f"{side}-Callosomarginal"] = Offshoot(
        points, parent, at_mm, drawn.ratio, (f"{side}-ACA-A3",), 0.7, narrows=drawn.ratio >= 0.6 and drawn.at_mm > 3.0
    )
    most = int(np.argmax(points[:, 1]))
    reason = "genu of the callosomarginal artery" if most > 0 else "origin of the callosomarginal artery"
    skeleton.suggest(f"{side}-A2-A3", f"{side}-Callosomarginal", points[most], reason)


def _frontal_course(
    builder: ArteryBuilder, side: str, name: str, a2: np.ndarray, branch: FrontalBranch, trunks: list[np.ndarray]
) -> tuple[np.ndarray, float]:
    """Course of a branch towards the frontal pole or along the gyrus rectus, and where on the A2 it leaves."""
    rng, sign = builder.rng, np.array([SIGN[side], 1.0, 1.0])
    along = arc_length(a2)
    vertex = int(np.argmin(np.abs(along - branch.at * along[-1])))
    vertex = min(max(vertex, 3), len(a2) - 4)
    end, heading = (np.array(part) * sign for part in _FRONTAL[name])
    genu = builder.anchor(f"{side}-A2-A3")
    end = end + 0.7 * (genu - GENU_MEAN_MM * sign) + rng.normal(0, (1.2, 4.0, 4.0))
    origin = a2[vertex]
    leaving = unit(heading + 0.5 * tangents(a2)[vertex] + rng.normal(0, 0.2, 3))
    first = origin + 5.0 * leaving
    middle = 0.5 * (first + end) + rng.normal(0, (0.8, 2.0, 2.5))
    points = resampled(wavy(spline(np.stack([origin, first, middle, end])), rng, branch.wave_mm, 12.0))
    points = clear_of(points, np.concatenate(trunks), 2.2, 4.0)
    points = resampled(smoothed(points, 1.1))
    return points, float(along[vertex])
