"""The middle cerebral artery of phantom version 4: divisions that count, and branches that do not."""

from __future__ import annotations

import numpy as np

from .artery_tree import GENU_REACH_MM, SIGN, TURN_ARM_MM, ArteryBuilder
from .curves import (
    STEP_MM,
    arc_length,
    at_arc,
    beside,
    clear_of,
    joined,
    length,
    nearest_vertex,
    resampled,
    sharpest_turn,
    smoothed,
    spline,
    tangents,
    unit,
    wavy,
)
from .drawn_patterns import THICK_EARLY, EarlyBranch, MiddlePattern
from .skeleton import Candidate, Offshoot

DIVISION_MEAN_MM = np.array([30.0, 19.4, 2.3])
LIMEN_MM = (17.0, 23.0)
"""The knee of a single trunk is looked for where M1 ends, but between these distances from the carotid terminus."""
LOOP_FROM_MM, LOOP_SPAN_MM = 5.0, 17.0
SECOND_FROM_MM = 7.0
"""The smaller trunk divides at this distance at least, or its calibre could not be judged 5 mm beyond the first."""
TRUNK_GAP_MM, BRANCH_GAP_MM = 2.6, 2.8
NEXT_SPAN_MM = (22.0, 42.0)
TRUNK_RADIUS_MM = 1.3
TRUNKS_TOGETHER_FROM_MM, TRUNKS_PART_OVER_MM = 3.0, 6.0
"""Trunks that run side by side are as far apart as they stay after the first, and part over the second."""

_TARGETS_MM: dict[str, tuple[float, float, float]] = {
    "temporal pole": (40.0, 25.0, -18.0),
    "temporal, along M1": (47.0, 8.0, -10.0),
    "frontal": (34.0, 44.0, 8.0),
    "recurrent": (37.0, 25.0, -19.0),
}
_HEADINGS: dict[str, tuple[float, float, float]] = {
    "temporal pole": (0.1, 0.5, -0.85),
    "temporal, along M1": (0.2, 0.2, -0.95),
    "frontal": (0.1, 0.75, 0.65),
    "opercular": (0.0, 0.8, 0.6),
    "recurrent": (-0.7, 0.6, -0.5),
}
"""Where early branches go and how they leave M1, right side."""


def middle_cerebral(builder: ArteryBuilder, side: str, m1: np.ndarray, pattern: MiddlePattern) -> None:
    """M1, its trunks with their next divisions, and the early branches of one side."""
    form, skeleton = builder.variants.mca[side], builder.skeleton
    rest = m1[-1:]
    if form == "early":
        cut = nearest_vertex(m1, at_arc(m1, pattern.division_mm))
        m1, rest = m1[: cut + 1], m1[cut:]
    lower = builder.trunk(side, "MCA-M2", builder.template("MCA-M2").median_points, m1, rest, -1.0, form)
    trunks = {"MCA-M2a": lower}
    if form == "single":
        whole = joined(m1, lower)
        turn = _knee(whole, float(np.clip(length(m1), *LIMEN_MM)))
        m1, trunks["MCA-M2a"] = whole[: turn + 1], whole[turn:]
    else:
        upper_points = builder.atlas.branches["M2b"].points
        trunks["MCA-M2b"] = builder.trunk(side, "", upper_points, m1, rest, 1.0, form)
    if pattern.parallel_mm:
        trunks = _parallel(trunks, pattern)
    if pattern.lower_loop_mm:
        trunks["MCA-M2a"] = _looping(builder, side, trunks["MCA-M2a"], pattern.lower_loop_mm)
    skeleton.curves[f"{side}-MCA-M1"] = m1
    skeleton.put(f"{side}-M1-M2", m1[-1], form == "single")
    _trunks(builder, side, m1, trunks, pattern)
    _early_branches(builder, side, m1, trunks, pattern)


def _parallel(trunks: dict[str, np.ndarray], pattern: MiddlePattern) -> dict[str, np.ndarray]:
    """Both trunks drawn together, so that they run side by side before they part."""
    lower, upper = trunks["MCA-M2a"], trunks["MCA-M2b"]
    positions = np.arange(0.0, min(length(lower), length(upper)), STEP_MM)
    a, b = at_arc(lower, positions), at_arc(upper, positions)
    apart = np.linalg.norm(b - a, axis=1)
    wanted = TRUNK_RADIUS_MM * (1.0 + pattern.trunk_ratio) + pattern.gap_mm
    near = np.minimum(apart, wanted * np.clip(positions / TRUNKS_TOGETHER_FROM_MM, 0.0, 1.0))
    parting = np.clip((positions - pattern.parallel_mm) / TRUNKS_PART_OVER_MM, 0.0, 1.0)
    inward = (0.5 * (apart - near) * (1.0 - parting) / np.maximum(apart, 0.1))[:, None] * (b - a)
    drawn = {}
    for name, points, moved in (("MCA-M2a", lower, a + inward), ("MCA-M2b", upper, b - inward)):
        rest = points[arc_length(points) > positions[-1] + 0.5 * STEP_MM]
        drawn[name] = resampled(smoothed(resampled(np.concatenate([moved, rest])), 0.8))
    return drawn


def _knee(whole: np.ndarray, position: float) -> int:
    """The vertex of the sharpest turn near an arc length; one at the edge of the search is no knee, that lies on."""
    along = arc_length(whole)
    for _ in range(4):
        turn = sharpest_turn(whole, position, GENU_REACH_MM, TURN_ARM_MM)
        if abs(along[turn] - position) < GENU_REACH_MM - 2.5:
            break
        position += 3.5
    return turn


def _looping(builder: ArteryBuilder, side: str, trunk: np.ndarray, amplitude: float) -> np.ndarray:
    """The trunk with a loop below its course, in which it runs back a little."""
    u = np.clip((arc_length(trunk) - LOOP_FROM_MM) / LOOP_SPAN_MM, 0.0, 1.0)[:, None]
    down = unit(np.array([0.35 * SIGN[side], -0.3, -1.0]) + builder.rng.normal(0, 0.3, 3))
    back = tangents(trunk)
    curve = trunk + amplitude * (np.sin(np.pi * u) ** 2 * down + 0.35 * np.sin(2 * np.pi * u) * back)
    return resampled(smoothed(resampled(curve), 1.2))


def _trunks(
    builder: ArteryBuilder, side: str, m1: np.ndarray, trunks: dict[str, np.ndarray], pattern: MiddlePattern
) -> None:
    """Give the trunks their calibres, and let them divide again."""
    rng, form, shoots = builder.rng, builder.variants.mca[side], builder.skeleton.offshoots
    parent, end = f"{side}-MCA-M1", length(m1)
    order = ["MCA-M2a", "MCA-M2b"] if pattern.lower_is_larger else ["MCA-M2b", "MCA-M2a"]
    order = [name for name in order if name in trunks]
    ratio, third = pattern.trunk_ratio, pattern.third_ratio if form == "trifurcation" else 0.0
    flow = 1.0 + third**3 + (ratio**3 if form != "single" else 0.0)
    larger = f"{side}-{order[0]}"
    share = float(np.clip(flow ** (-1 / 3) * rng.normal(1.0, 0.04), 0.7, 1.0))
    shoots[larger] = Offshoot(trunks[order[0]], parent, end, share, taper=0.68)
    _next_division(builder, side, trunks, order[0], "MCA-M2d", pattern.next_mm[0], pattern.next_ratio[0])
    if form != "single":
        shoots[f"{side}-{order[1]}"] = Offshoot(trunks[order[1]], parent, end, ratio, (larger,), taper=0.68)
        again = max(pattern.next_mm[1], SECOND_FROM_MM) if pattern.next_mm[1] else 0.0
        _next_division(builder, side, trunks, order[1], "MCA-M2e", again, pattern.next_ratio[1])
    if form == "trifurcation":
        first = int(np.searchsorted(arc_length(trunks[order[0]]), pattern.third_mm))
        turn = SIGN[side] * rng.choice([-1.0, 1.0]) * np.array([0.9, 0.25, 0.0]) + rng.normal(0, 0.25, 3)
        middle = _dividing(builder, trunks, order[0], first, turn)
        at_mm = float(arc_length(trunks[order[0]])[first])
        shoots[f"{side}-MCA-M2c"] = Offshoot(middle, larger, at_mm, third, (), taper=0.7)


def _next_division(
    builder: ArteryBuilder,
    side: str,
    trunks: dict[str, np.ndarray],
    trunk: str,
    name: str,
    at_mm: float,
    ratio: float,
) -> None:
    if not at_mm:
        return
    points, skeleton = trunks[trunk], builder.skeleton
    first = min(int(np.searchsorted(arc_length(points), at_mm)), len(points) - 12)
    direction = tangents(points)[first]
    turn = np.cross(direction, [1.0, 0.0, 0.0]) * builder.rng.choice([-1.0, 1.0]) + builder.rng.normal(0, 0.25, 3)
    at_mm = float(arc_length(points)[first])
    branch = _dividing(builder, trunks, trunk, first, turn)
    skeleton.offshoots[f"{side}-{name}"] = Offshoot(branch, f"{side}-{trunk}", at_mm, ratio, narrows=True)
    form = builder.variants.mca[side]
    where = {"MCA-M2a": "lower", "MCA-M2b": "upper"}[trunk]
    reason = (
        f"first division of the single trunk, {at_mm:.0f} mm beyond its knee"
        if form == "single"
        else f"next division, {at_mm:.0f} mm further along the {where} trunk"
    )
    skeleton.suggest(f"{side}-M1-M2", f"{side}-{trunk}", points[first], reason)


def _dividing(
    builder: ArteryBuilder, trunks: dict[str, np.ndarray], trunk: str, first: int, turn: np.ndarray
) -> np.ndarray:
    """A trunk that leaves another one at a vertex towards `turn` and runs on beside it."""
    rng, points = builder.rng, trunks[trunk]
    along = tangents(points, 8)
    across = turn - along * (along @ turn)[:, None]
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 0.2)
    slope = np.tan(np.radians(rng.uniform(30, 65)))
    branch = beside(points, first, rng.uniform(*NEXT_SPAN_MM), across, slope, rng.uniform(5.0, 10.0))
    branch = wavy(resampled(branch), rng, 0.6, 12.0)
    others = np.concatenate([curve for name, curve in trunks.items() if name != trunk] or [points[:1] + 99.0])
    branch = clear_of(resampled(branch), others, TRUNK_GAP_MM, 5.0)
    return resampled(smoothed(branch, 1.1))


def _early_branches(
    builder: ArteryBuilder, side: str, m1: np.ndarray, trunks: dict[str, np.ndarray], pattern: MiddlePattern
) -> None:
    skeleton, total = builder.skeleton, length(m1)
    continuing = f"{side}-{'MCA-M2a' if pattern.lower_is_larger or 'MCA-M2b' not in trunks else 'MCA-M2b'}"
    along = arc_length(m1)
    thick: list[tuple[float, Candidate]] = []
    for number, branch in enumerate(pattern.early, 1):
        place = float(np.clip(branch.at * total, min(2.0, 0.4 * total), max(total - 2.2, 0.6 * total)))
        vertex = int(np.argmin(np.abs(along - place)))
        points = _early_course(builder, side, m1, vertex, trunks, branch)
        name = f"{side}-MCA-early-{number}"
        skeleton.offshoots[name] = Offshoot(
            points, f"{side}-MCA-M1", float(along[vertex]), branch.ratio, (continuing,), 0.6
        )
        if branch.ratio >= THICK_EARLY:
            before = total - along[vertex]
            reason = (
                f"origin of an early {branch.course.split(',')[0]} branch of {branch.ratio:.2f}, {before:.0f} mm before"
            )
            thick.append((branch.ratio, Candidate(f"{side}-MCA-M1", m1[vertex], reason)))
    # The thickest branch is the likeliest mistake, then the next divisions.
    origins = [candidate for _, candidate in sorted(thick, key=lambda entry: -entry[0])]
    divisions = skeleton.candidates.get(f"{side}-M1-M2", [])
    skeleton.candidates[f"{side}-M1-M2"] = [*origins[:1], *divisions, *origins[1:]]


def _early_course(
    builder: ArteryBuilder,
    side: str,
    m1: np.ndarray,
    vertex: int,
    trunks: dict[str, np.ndarray],
    branch: EarlyBranch,
) -> np.ndarray:
    rng, sign = builder.rng, np.array([SIGN[side], 1.0, 1.0])
    origin, ahead = m1[vertex], tangents(m1, 6)[vertex]
    heading = np.array(_HEADINGS[branch.course]) * sign + rng.normal(0, 0.2, 3)
    across = unit(heading - ahead * (heading @ ahead))
    angle = np.radians(branch.angle)
    leaving = np.cos(angle) * ahead + np.sin(angle) * across
    if branch.course == "opercular":
        onward = trunks.get("MCA-M2b", trunks["MCA-M2a"])
        trunk = resampled(joined(m1, onward))
        first = nearest_vertex(trunk, origin)
        directions = tangents(trunk, 8)
        directions = across - directions * (directions @ across)[:, None]
        points = beside(trunk, first, branch.span_mm, directions, float(np.tan(min(angle, 1.2))), rng.uniform(3.5, 7.0))
        points[0] = origin
    else:
        moved = 0.5 * (m1[-1] - DIVISION_MEAN_MM * sign)
        target = np.array(_TARGETS_MM[branch.course]) * sign + moved + rng.normal(0, (3.0, 4.0, 3.0))
        via = [origin, origin + 3.0 * leaving]
        if branch.course == "temporal, along M1":
            for mm in (6.0, 12.0):
                via.append(at_arc(m1, arc_length(m1)[vertex] + mm) + across * rng.uniform(3.2, 5.5))
            if np.linalg.norm(via[3] - via[2]) < 3.0:
                del via[3]
        else:
            via.append(origin + 8.0 * unit(leaving + 0.8 * unit(target - origin)))
            via.append(0.45 * via[-1] + 0.55 * target + rng.normal(0, 2.0, 3))
        points = spline(np.array([*via, target]))
    points = resampled(wavy(points, rng, branch.wave_mm, 11.0))
    points = clear_of(points, np.concatenate([m1, *trunks.values()]), BRANCH_GAP_MM, 4.0)
    points = smoothed(points, 1.1)
    stop = int(np.searchsorted(arc_length(points), branch.span_mm))
    return resampled(points[: max(stop, 8)])
