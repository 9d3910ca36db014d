"""Whether there is a vessel along the best path of an artery, and how sure that is.

A path can always be found; along a vessel it stands out from its surroundings, a wall encloses it all round, it rises
above the noise and is no detour. The weights come from a logistic regression on phantoms (Docs/use/arteries.md),
rounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from ..core.anatomy import without_side
from .lumen import CrossSections, arc_length

WEAK_SHARE = 0.2
"""The value that all but this share of an artery's own part exceed decides."""
SHORT_MM = 2.2
"""With less outside the lumens that it joins, an artery cannot be enclosed by a wall of its own."""
SHORT_GAPS_MM, SHORT_CONTRASTS, SHORT_WEIGHT = (1.2, SHORT_MM), (0.67, 0.42), 4.0
"""Contrasts needed for these gaps: blur fills a gap between arteries in part, the less the wider it is."""
HIDDEN_MM, HIDDEN_RADIUS_MM = 1.0, 0.75
"""With less outside the lumens that it joins, a width cannot be seen; half the typical width of an ACoA (1.5 mm)."""
SHORT_OWN_MM = 4.0
"""With less outside the lumens that it joins, an artery is measured where it is narrowest."""
MOST_CONTRAST, MOST_JOINED_CONTRAST, MOST_SIGNAL_TO_NOISE = 0.8, 1.2, 6.0
"""More does not make a vessel more likely."""
WEIGHTS = {"contrast": 3.7, "closed": 3.5, "closed_mean": 7.5, "tortuosity": -2.5, "signal_to_noise": 0.2}
OFFSETS = {"contrast": 0.0, "closed": 0.8, "closed_mean": 0.88, "tortuosity": 1.2, "signal_to_noise": 0.0}
BIAS = {"PCoA": -1.5, "PCA-P1": -2.9, "ACA-A1": -1.0, "ACoA": -1.7}
SHORT_BIAS = {"PCA-P1": -0.3, "ACoA": 0.3}
"""Variants of the circle are taken to be about as likely as the ordinary form: none is missed because it is rare.

That of A1 is chosen: no phantom has both landmarks of an A1 that is absent."""
UNSEEN_PENALTY = -2.5
FAINT = "no vessel stands out along its best path"
SHARED = 0.25
"""Two arteries whose paths have more than this in common are taken to have found the same vessel."""
NEEDED_CONTRAST, NEEDED_SIGNAL_TO_NOISE = 0.1, 1.0
"""What an artery needs that is hardly ever absent."""


@dataclass(frozen=True)
class PathEvidence:
    """Evidence of a vessel along a path.

    `own` bool (n,) marks the cross-sections outside the lumens of other arteries, `own_mm` their length. At the weak
    places: `contrast` as a share of that of a typical artery of the scan, `joined_contrast` of the arteries that it
    joins, `closed` the share of rays that meet a wall (`closed_mean` over the whole own part), `signal_to_noise`.
    `tortuosity` is length / chord.
    """

    own: np.ndarray
    own_mm: float
    contrast: float
    joined_contrast: float
    closed: float
    closed_mean: float
    signal_to_noise: float
    tortuosity: float


@dataclass(frozen=True)
class Judgement:
    """Whether a vessel is there, how sure that is ([0, 1]), and, where it is not, why (a phrase)."""

    present: bool
    confidence: float
    reason: str


def own_part(sections: CrossSections, others: Iterable[CrossSections]) -> np.ndarray:
    """bool (n,): cross-sections whose centre lies outside the lumens of other arteries."""
    own = np.ones(len(sections.points), bool)
    for other in others:
        distance, nearest = cKDTree(other.points).query(sections.points)
        own &= distance > other.radius[nearest]
    return own


def own_radius(sections: CrossSections, own: np.ndarray, *, bridge: bool) -> float:
    """Typical radius in mm of an artery outside the arteries that it joins; its narrowest where that is too little.

    `bridge`: it joins two arteries side by side (ACoA). What is seen where it is hidden in both is their width.
    """
    step = float(arc_length(sections.points)[-1]) / max(len(sections.points) - 1, 1)
    if bridge and own.sum() * step < HIDDEN_MM:
        return min(float(sections.radius.min()), HIDDEN_RADIUS_MM)
    if own.sum() * step < SHORT_OWN_MM:
        return float(sections.radius.min())
    return float(np.median(sections.radius[own]))


def shared_part(sections: CrossSections, other: CrossSections, within: float = 0.6) -> float:
    """Share of a path that runs in another artery's lumen, within this part of its radius."""
    distance, nearest = cKDTree(other.points).query(sections.points)
    return float((distance < within * other.radius[nearest]).mean())


def evidence(
    sections: CrossSections,
    others: Iterable[CrossSections],
    typical_contrast: float,
    joined_contrast: float,
    noise: float,
    *,
    whole: bool = False,
) -> PathEvidence:
    """Evidence along the own part of a path (along all of it: `whole`); `others` are all other arteries.

    `typical_contrast` is that of an artery of the scan, `joined_contrast` that of those which this one joins.
    """
    own = own_part(sections, others)
    length = float(arc_length(sections.points)[-1])
    chord = max(float(np.linalg.norm(sections.points[-1] - sections.points[0])), 1e-6)
    chosen = own if own.any() and not whole else np.ones(len(own), bool)
    weak = float(np.quantile(np.maximum(sections.lumen - sections.surroundings, 0.0)[chosen], WEAK_SHARE))
    return PathEvidence(
        own=own,
        own_mm=float(own.sum()) * length / max(len(own) - 1, 1),
        contrast=weak / max(typical_contrast, 1e-6),
        joined_contrast=weak / max(joined_contrast, 1e-6),
        closed=float(np.quantile(sections.closed[chosen], WEAK_SHARE)),
        closed_mean=float(sections.closed[chosen].mean()),
        signal_to_noise=weak / noise,
        tortuosity=length / chord,
    )


def log_odds(found: PathEvidence, code: str, *, unseen: bool = False) -> float:
    """Logarithm of the odds that the artery `code` is there, which may be absent, from what is seen along its path.

    `unseen` says that an annotation has both its ends by rule, because whoever placed them did not see the artery.
    """
    kind = without_side(code)
    if found.own_mm < SHORT_MM:
        needed = float(np.interp(found.own_mm, SHORT_GAPS_MM, SHORT_CONTRASTS))
        score = SHORT_WEIGHT * (min(found.joined_contrast, MOST_JOINED_CONTRAST) - needed) + SHORT_BIAS.get(kind, 0.0)
    else:
        score = BIAS[kind] + sum(WEIGHTS[name] * (value - OFFSETS[name]) for name, value in _values(found).items())
    return score + UNSEEN_PENALTY * unseen


def judge(found: PathEvidence) -> Judgement:
    """Whether an artery that is hardly ever absent is there: it only has to stand out from what lies round it."""
    margin = min(found.contrast / NEEDED_CONTRAST, found.signal_to_noise / NEEDED_SIGNAL_TO_NOISE)
    score = 3.0 * (min(margin, 2.0) - 1.0)
    probability = float(1.0 / (1.0 + np.exp(-score)))
    return Judgement(score >= 0.0, max(probability, 1.0 - probability), "" if score >= 0.0 else FAINT)


def why_absent(found: PathEvidence, code: str, *, unseen: bool = False) -> str:
    """A phrase for what speaks most against a vessel along the path of an artery that is taken to be absent."""
    if unseen:
        return "no clear vessel along its best path, and both its ends were placed by rule"
    if log_odds(found, code) > 0.0:
        return "the other arteries explain the vessels better without it"
    if found.own_mm < SHORT_MM:
        return "no more than blur fills the gap between the arteries that it would join"
    values = _values(found)
    shortfall = {
        FAINT: 0.4 - values["contrast"],
        "no wall encloses its best path": 2.0 * (0.9 - values["closed_mean"]),
        "its best path does not rise above the noise": (2.0 - values["signal_to_noise"]) / 5.0,
        "its best path is a detour": 0.5 * (values["tortuosity"] - 1.5),
    }
    return max(shortfall, key=lambda text: shortfall[text])


def _values(found: PathEvidence) -> dict[str, float]:
    return {
        "contrast": min(found.contrast, MOST_CONTRAST),
        "closed": found.closed,
        "closed_mean": found.closed_mean,
        "tortuosity": found.tortuosity,
        "signal_to_noise": min(found.signal_to_noise, MOST_SIGNAL_TO_NOISE),
    }
