"""Basilar, posterior cerebral and posterior communicating arteries of phantom version 4."""

from __future__ import annotations

import numpy as np

from .artery_tree import PCA_RULE_MM, SIGN, ArteryBuilder
from .curves import (
    arc_length,
    clear_of,
    hung,
    hung_to_tortuosity,
    joined,
    length,
    nearest_vertex,
    resampled,
    smoothed,
    spline,
    tangents,
    unit,
    wavy,
    with_vertex,
)
from .drawn_patterns import PosteriorPattern
from .head_shape import point_index
from .skeleton import Offshoot

P2A_CHORD_MM = 21.3
FENESTRATION_APART_MM = 1.5
TURN_INWARDS_MM = 4.0
P2A_LEFT_MM = 8.0
"""What is left of the P2A at least where the posterior communicating artery enters late."""


def fenestrated_basilar(builder: ArteryBuilder, span_mm: float, label: int) -> None:
    """Split the lower basilar artery into two channels over some millimetres."""
    curves = builder.skeleton.curves
    along = arc_length(curves["BA"])
    first = builder.rng.uniform(1.0, 0.35 * along[-1])
    u = np.clip((along - first) / span_mm, 0.0, 1.0)
    across = unit(np.array([1.0, builder.rng.normal(0, 0.5), 0.0]))
    apart = FENESTRATION_APART_MM * (np.sin(np.pi * u) ** 0.7)[:, None] * across
    inside = np.flatnonzero((u > 0) & (u < 1))
    inside = np.arange(max(inside[0] - 1, 0), min(inside[-1] + 2, len(along)))
    second = resampled((curves["BA"] - apart)[inside])
    curves["BA"] = resampled(curves["BA"] + apart)
    builder.skeleton.offshoots["BA-2"] = Offshoot(
        second, "BA", float(along[inside[0]]), builder.rng.uniform(0.65, 0.9), (), 1.0, funnel=False, label=label
    )


def posterior_cerebral(builder: ArteryBuilder, side: str, pattern: PosteriorPattern) -> None:
    """P1 to P2P and the posterior communicating artery of one side."""
    form, skeleton, curves = builder.variants.pcoa[side], builder.skeleton, builder.skeleton.curves
    tip = skeleton.landmarks[point_index("BA-T")]
    joint, lateral = builder.anchor(f"{side}-P1-P2A"), builder.anchor(f"{side}-P2A-P2P")
    p2a = builder.shaped("PCA-P2A", side, 0.9)
    p2a = hung(p2a, joint, lateral, float(np.clip(np.linalg.norm(lateral - joint) / P2A_CHORD_MM, 0.6, 1.4)))
    if pattern.loop_mm:
        p2a = _looping(builder, side, p2a, pattern.loop_mm)
    p2p = builder.shaped("PCA-P2P", side, 0.7)
    p2p = p2p + (lateral - p2p[0])
    if pattern.flat_mm:
        p2p = _flattened(side, p2p, pattern)
    origin = skeleton.landmarks[point_index(f"{side}-C6-C7")]
    if form == "fetal-full":
        pcoa = hung_to_tortuosity(builder.shaped("PCoA", side, 0.7), origin, joint, builder.tortuosity(1.10))
        trunk = builder.finished(joined(pcoa, p2a, p2p), 0.8)
        meeting = nearest_vertex(trunk, tip, 8, nearest_vertex(trunk, lateral) - 10)
        curves[f"{side}-PCoA"] = trunk[: meeting + 1]
    else:
        usual = builder.tortuosity(1.15 if np.linalg.norm(joint) > 7.5 else 1.07)
        p1 = hung_to_tortuosity(builder.shaped("PCA-P1", side), tip, joint, pattern.p1_tortuosity or usual)
        # A loop may not turn within its own width.
        trunk = builder.finished(joined(p1, p2a, p2p), 1.3 if pattern.loop_mm or pattern.p1_tortuosity else 0.9)
        if form == "absent":
            trunk, meeting = with_vertex(trunk, PCA_RULE_MM)
        else:
            meeting = _entry(trunk, joint, lateral, pattern.pcoa_late_mm)
        curves[f"{side}-PCA-P1"] = trunk[: meeting + 1]
    widest = meeting + builder.extreme(trunk[meeting:], SIGN[side] * trunk[meeting:, 0])
    curves[f"{side}-PCA-P2A"] = trunk[meeting : widest + 1]
    curves[f"{side}-PCA-P2P"] = trunk[widest:]
    if form not in ("absent", "fetal-full"):
        pcoa = hung_to_tortuosity(builder.shaped("PCoA", side), origin, trunk[meeting], builder.tortuosity(1.20))
        curves[f"{side}-PCoA"] = builder.finished(pcoa, 0.5)
    skeleton.put(f"{side}-P1-P2A", trunk[meeting], form == "absent")
    skeleton.put(f"{side}-P2A-P2P", trunk[widest])
    if pattern.split_at:
        _early_split(builder, side, pattern)
    if form not in ("absent", "fetal-full"):
        _rule_place(builder, side)


def _looping(builder: ArteryBuilder, side: str, p2a: np.ndarray, amplitude: float) -> np.ndarray:
    """The P2A with a loop up or down in the crural cistern, and a little inwards."""
    u = np.linspace(0.0, 1.0, len(p2a))[:, None]
    turn = builder.rng.choice([-1.0, 1.0]) * np.array([-0.3 * SIGN[side], 0.0, 1.0])
    shape = np.sin(builder.rng.uniform(1.5, 2.2) * np.pi * u) * np.sin(np.pi * np.clip(u / 0.85, 0, 1))
    return p2a + amplitude * shape * turn


def _flattened(side: str, p2p: np.ndarray, pattern: PosteriorPattern) -> np.ndarray:
    """The P2P kept as lateral as it begins, but for a slight sag, before it turns inwards."""
    dense = spline(p2p)
    along = arc_length(dense)
    sag = pattern.flat_sag_mm * np.clip(along / pattern.flat_mm, 0.0, 1.0) ** 2
    missing = np.clip(SIGN[side] * (p2p[0, 0] - dense[:, 0]) - sag, 0.0, None)
    held = 1.0 - np.clip((along - pattern.flat_mm) / TURN_INWARDS_MM, 0.0, 1.0)
    dense[:, 0] += SIGN[side] * held * missing
    return dense


def _entry(trunk: np.ndarray, joint: np.ndarray, lateral: np.ndarray, late_mm: float) -> int:
    """The vertex where the posterior communicating artery enters."""
    usual = nearest_vertex(trunk, joint, 4)
    along = arc_length(trunk)
    last = along[nearest_vertex(trunk, lateral)] - P2A_LEFT_MM
    if late_mm and late_mm < last:
        return max(usual, int(np.searchsorted(along, late_mm)))
    return usual


def _early_split(builder: ArteryBuilder, side: str, pattern: PosteriorPattern) -> None:
    """A temporal trunk that leaves the P2A and runs on below the temporal lobe."""
    skeleton, rng, sign = builder.skeleton, builder.rng, np.array([SIGN[side], 1.0, 1.0])
    p2a = skeleton.curves[f"{side}-PCA-P2A"]
    along = arc_length(p2a)
    vertex = int(np.argmin(np.abs(along - pattern.split_at * along[-1])))
    vertex = min(max(vertex, 2), len(p2a) - 3)
    origin, ahead = p2a[vertex], tangents(p2a)[vertex]
    leaving = unit(0.9 * ahead + np.array([0.5, -0.2, -0.5]) * sign + rng.normal(0, 0.2, 3))
    offset = p2a[-1] - np.array([19.9, -15.0, 6.9]) * sign
    middle = np.array([25.0, -15.0, 0.0]) * sign + offset + rng.normal(0, (1.5, 3.0, 2.0))
    end = np.array([29.0, -40.0, 3.0]) * sign + 0.5 * offset + rng.normal(0, (4.0, 4.0, 3.0))
    points = spline(np.stack([origin, origin + 4.0 * leaving, middle, end]))
    points = resampled(wavy(points, rng, 0.5, 10.0))
    points = clear_of(points, np.concatenate([p2a, skeleton.curves[f"{side}-PCA-P2P"]]), 2.4, 5.0)
    skeleton.offshoots[f"{side}-PCA-temporal"] = Offshoot(
        resampled(smoothed(points, 0.8)),
        f"{side}-PCA-P2A",
        float(along[vertex]),
        pattern.split_ratio,
        (f"{side}-PCA-P2P",),
        0.6,
    )
    skeleton.factors[f"{side}-PCA-P2P"] = 0.9
    before = along[-1] - along[vertex]
    reason = f"early split of the P2, {before:.0f} mm before"
    skeleton.suggest(f"{side}-P2A-P2P", f"{side}-PCA-P2A", origin, reason)
    skeleton.suggest(f"{side}-P1-P2A", f"{side}-PCA-P2A", origin, "early split of the P2")


def _rule_place(builder: ArteryBuilder, side: str) -> None:
    """Where the landmark would be put if nobody saw the posterior communicating artery."""
    curves = builder.skeleton.curves
    p1, p2a = curves[f"{side}-PCA-P1"], curves[f"{side}-PCA-P2A"]
    first = length(p1)
    name, part, position = (
        (f"{side}-PCA-P1", p1, PCA_RULE_MM) if first > PCA_RULE_MM else (f"{side}-PCA-P2A", p2a, PCA_RULE_MM - first)
    )
    vertex = int(np.argmin(np.abs(arc_length(part) - position)))
    reason = "7 mm along, where it would be without a posterior communicating artery"
    builder.skeleton.suggest(f"{side}-P1-P2A", name, part[vertex], reason)
