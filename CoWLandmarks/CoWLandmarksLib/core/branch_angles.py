"""Angles between the arteries that meet at a landmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from .anatomy import Anatomy
from .artery_map import ArteryTrace

CHORD_MM = 3.0
"""A direction is that of the chord over this length, or up to the end of a shorter artery."""


@dataclass(frozen=True)
class BranchAngle:
    """Angle in degrees (0 to 180) between two arteries (codes), both seen as leaving the landmark `node`."""

    node: str
    arteries: tuple[str, str]
    degrees: float


def branch_angles(traces: Sequence[ArteryTrace], anatomy: Anatomy) -> tuple[BranchAngle, ...]:
    """Angles at every landmark where three or more traced arteries meet, in the order of the anatomy.

    A direction begins where the artery leaves the largest sphere in the lumen of the arteries that meet there, as in
    Antiga and Steinman, IEEE Transactions on Medical Imaging 23:704-713, 2004.
    """
    by_code = {trace.code: trace for trace in traces if trace.traced and len(trace.centerline) > 1}
    found: list[BranchAngle] = []
    for node in anatomy.codes:
        leaving = {
            artery.code: _leaving(by_code[artery.code], artery.start == node)
            for artery in anatomy.arteries
            if artery.code in by_code and node in (artery.start, artery.end)
        }
        if len(leaving) < 3:
            continue
        sphere = max(float(radii[0]) for _, radii in leaving.values())
        directions = {code: _direction(points, sphere) for code, (points, _) in leaving.items()}
        for first, second in combinations(directions, 2):
            cosine = float(np.clip(directions[first] @ directions[second], -1.0, 1.0))
            found.append(BranchAngle(node, (first, second), float(np.degrees(np.arccos(cosine)))))
    return tuple(found)


def _leaving(trace: ArteryTrace, at_start: bool) -> tuple[np.ndarray, np.ndarray]:
    """Centreline (n, 3) and radii (n,) from the landmark on."""
    step = 1 if at_start else -1
    return trace.centerline[::step], trace.radii[::step]


def _direction(points: np.ndarray, sphere_mm: float) -> np.ndarray:
    """Unit vector of the chord after the sphere; of the whole artery where it hardly leaves the sphere."""
    away = np.linalg.norm(points - points[0], axis=1)
    outside = np.flatnonzero(away >= sphere_mm)
    first = int(outside[0]) if len(outside) and outside[0] < len(points) - 2 else 0
    along = np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(points[first:], axis=0), axis=1))))
    chord = points[first + int(np.searchsorted(along, min(CHORD_MM, along[-1])))] - points[first]
    return chord / max(float(np.linalg.norm(chord)), 1e-9)
