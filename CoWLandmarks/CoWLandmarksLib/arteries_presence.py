"""Whether there is a vessel along the best path of an artery, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from .arteries_lumen import CrossSections

WEAK_SHARE = 0.2
"""The contrast that all but this share of an artery's own part exceed decides."""


@dataclass(frozen=True)
class Evidence:
    """What speaks for a vessel along a path.

    `own` bool (n,) marks the cross-sections outside the lumens of other arteries, `own_mm` their length;
    `contrast` is the contrast at the weak places of the own part, as a share of that of the arteries it joins;
    `closed` the share of rays that meet a wall there; `signal_to_noise` contrast over noise; `tortuosity` length/chord.
    """

    own: np.ndarray
    own_mm: float
    contrast: float
    closed: float
    signal_to_noise: float
    tortuosity: float


def own_part(sections: CrossSections, others: Iterable[CrossSections]) -> np.ndarray:
    """bool (n,): cross-sections whose centre lies outside the lumens of other arteries."""
    own = np.ones(len(sections.points), bool)
    for other in others:
        distance, nearest = cKDTree(other.points).query(sections.points)
        own &= distance > other.radius[nearest]
    return own


def shared_part(sections: CrossSections, other: CrossSections) -> float:
    """Share of a path that runs in the middle of another artery's lumen."""
    distance, nearest = cKDTree(other.points).query(sections.points)
    return float((distance < 0.6 * other.radius[nearest]).mean())


def evidence(
    sections: CrossSections, joined: Iterable[CrossSections], others: Iterable[CrossSections], noise: float
) -> Evidence:
    """Evidence along the own part of a path; `joined` are the arteries that it joins, `others` all other arteries."""
    own = own_part(sections, others)
    step = np.linalg.norm(np.diff(sections.points, axis=0), axis=1)
    length = float(step.sum())
    chord = max(float(np.linalg.norm(sections.points[-1] - sections.points[0])), 1e-6)
    contrast = np.maximum(sections.lumen - sections.surroundings, 0.0)
    references = [float(np.median(other.lumen - other.surroundings)) for other in joined]
    reference = max(min(references) if references else float(np.max(contrast)), 1e-6)
    chosen = own if own.any() else np.ones(len(own), bool)
    weak = float(np.quantile(contrast[chosen], WEAK_SHARE))
    return Evidence(
        own,
        float(own.sum()) * length / max(len(own) - 1, 1),
        weak / reference,
        float(np.quantile(sections.closed[chosen], WEAK_SHARE)),
        weak / noise,
        length / chord,
    )


@dataclass(frozen=True)
class Judgement:
    """Whether a vessel is there, how sure that is ([0, 1]), and in words why."""

    present: bool
    confidence: float
    reason: str


LEAST_CONTRAST = 0.3
LEAST_CLOSED = 0.8
LEAST_SIGNAL_TO_NOISE = 2.0
MOST_TORTUOUS = 2.2
_SHARPNESS = 6.0


def judge(found: Evidence, optional: bool) -> Judgement:
    """Present where contrast, closed wall and signal all reach their limits and the path is no detour.

    An artery that is hardly ever absent (not `optional`) only has to stand out from what lies round it.
    """
    if optional:
        margins = {
            "no vessel stands out along its best path": found.contrast / LEAST_CONTRAST,
            "its best path is not enclosed by a wall": found.closed / LEAST_CLOSED,
            "its best path does not rise above the noise": found.signal_to_noise / LEAST_SIGNAL_TO_NOISE,
            "its best path is a detour through other vessels": MOST_TORTUOUS / found.tortuosity,
        }
    else:
        margins = {
            "no vessel stands out along its best path": 3.0 * found.contrast / LEAST_CONTRAST,
            "its best path does not rise above the noise": found.signal_to_noise / LEAST_SIGNAL_TO_NOISE,
        }
    reason, margin = min(margins.items(), key=lambda item: item[1])
    probability = float(1.0 / (1.0 + np.exp(-_SHARPNESS * (np.clip(margin, 0.0, 2.0) - 1.0))))
    present = margin >= 1.0
    return Judgement(present, probability if present else 1.0 - probability, "" if present else reason)
