"""MRA or CTA where neither the file nor its values settle it: the scan is read as both, and what is seen decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..core.bone import bright_millilitres, modality_by_bone
from ..core.volume import Modality, Volume
from .coarse import RoughLandmarks

CLEARLY_BETTER = 0.05
"""Difference of the mean peak heights of the coarse network from which on the better reading is taken."""
SEEN_AT_ONCE = 0.62
"""Mean peak height from which on the circle counts as found, so that the other reading looks for it there alone."""


def other_modality(modality: Modality) -> Modality:
    """CTA for MRA, MRA for CTA."""
    return Modality.CTA if modality is Modality.MRA else Modality.MRA


@dataclass(frozen=True)
class Decision:
    """What a scan that was read as both is taken for (`modality`), the reading to go on with, and why."""

    modality: Modality
    reading: Modality
    sentence: str


def decided(volume: Volume, seen: Mapping[Modality, RoughLandmarks]) -> Decision:
    """`seen` is what the coarse network saw in each reading.

    The reading with the higher peaks is gone on with. Where both are alike, how much is as bright as the arteries near
    them tells the modality (`core.bone`); both readings are as good then (development phantoms: mean errors of 8-bit
    CTA 1.9 mm in the better, 2.0 mm in that of the true modality).
    """
    heights = {kind: float(landmarks.peaks.mean()) for kind, landmarks in seen.items()}
    better, worse = sorted(heights, key=lambda kind: -heights[kind])
    said = f"{heights[better]:.2f} as {better.value.upper()}, {heights[worse]:.2f} as {worse.value.upper()}"
    if heights[better] - heights[worse] >= CLEARLY_BETTER:
        return Decision(better, better, _sentence(better, f"recognised better ({said})"))
    positions, peaks = seen[better].positions, seen[better].peaks
    surest = np.argsort(-peaks, kind="stable")[: max(3, len(peaks) * 2 // 3)]
    millilitres = bright_millilitres(volume, positions[surest])
    kind = modality_by_bone(millilitres)
    shine = f"recognised alike ({said}); {millilitres:.0f} ml near the arteries shine as they do"
    return Decision(kind, better, _sentence(kind, shine))


def _sentence(kind: Modality, seen: str) -> str:
    guessed = f"The modality was guessed ({kind.value.upper()})"
    return f"{guessed}: the scan was read as MRA and as CTA, and {seen}; give it with --modality if that is wrong."
