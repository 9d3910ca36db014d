"""The arteries of phantom version 4: those of version 3 with the branch patterns that were drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from CoWLandmarksLib.core.anatomy import default_anatomy

from .anterior_cerebral import anterior_cerebral
from .artery_tree import ArteryBuilder
from .curves import arc_length, resampled, sharpest_turn, smoothed, unit
from .drawn_patterns import Patterns, SiphonPattern
from .middle_cerebral import middle_cerebral
from .posterior_circulation import fenestrated_basilar, posterior_cerebral

FLAT_MM = 0.3
"""An extremum is flat where a vessel stays within this distance of it; that is less than a voxel."""
_KINK_AT_MM = (32.0, 52.0)
"""How far below the anterior genu a kink of the cervical or petrous carotid artery lies."""


@dataclass
class PatternedBuilder(ArteryBuilder):
    """Draws the arteries of one head with its branch patterns."""

    @property
    def patterns(self) -> Patterns:
        assert self.variants.patterns is not None
        return self.variants.patterns

    def extreme(self, points: np.ndarray, outward: np.ndarray) -> int:
        """The middle of a flat extremum, as the definitions of the landmarks have it."""
        highest = int(np.argmax(outward))
        below = np.flatnonzero(outward < outward[highest] - FLAT_MM)
        first = int(below[below < highest].max(initial=-1)) + 1
        last = int(below[below > highest].min(initial=len(outward))) - 1
        along = arc_length(points)
        return first + int(np.argmin(np.abs(along[first : last + 1] - 0.5 * (along[first] + along[last]))))

    def cavernous(self, side: str, c4: np.ndarray) -> np.ndarray:
        return shaped_siphon(self.rng, c4, self.patterns.siphon[side])

    def ophthalmic_part(self, side: str, drawn: float) -> float:
        return self.patterns.siphon[side].ophthalmic_part or super().ophthalmic_part(side, drawn)

    def split_carotid(self, side: str, carotid: np.ndarray) -> None:
        super().split_carotid(side, carotid)
        c4 = self.skeleton.curves[f"{side}-ICA-C4"]
        bend = sharpest_turn(c4, arc_length(c4)[-1] - 13.0, 7.0, 5.0)
        self.skeleton.suggest(f"{side}-C4-C5", f"{side}-ICA-C4", c4[bend], "posterior bend of the siphon")

    def middle_cerebral(self, side: str, m1: np.ndarray) -> None:
        middle_cerebral(self, side, m1, self.patterns.middle[side])

    def anterior_cerebral(self) -> None:
        anterior_cerebral(self, self.patterns.anterior)

    def basilar_and_vertebral(self) -> None:
        super().basilar_and_vertebral()
        curves, patterns = self.skeleton.curves, self.patterns
        if patterns.basilar_bow_mm:
            u = np.linspace(0.0, 1.0, len(curves["BA"]))[:, None]
            bow = unit(self.rng.normal(0, (1.0, 0.5, 0.0))) * patterns.basilar_bow_mm
            bent = curves["BA"] + np.sin(np.pi * u) ** 1.2 * bow
            curves["BA"] = resampled(smoothed(resampled(bent), 1.0))
            for name in ("BA", "R-VA", "L-VA"):
                self.skeleton.factors[name] = patterns.basilar_factor if name == "BA" else patterns.basilar_factor**0.5
        if patterns.fenestration_mm:
            fenestrated_basilar(self, patterns.fenestration_mm, default_anatomy().artery("BA").label)

    def posterior_cerebral(self, side: str) -> None:
        posterior_cerebral(self, side, self.patterns.posterior[side])


def shaped_siphon(rng: np.random.Generator, c4: np.ndarray, pattern: SiphonPattern) -> np.ndarray:
    """Control points of the petrous and cavernous carotid artery, bent to the drawn shape of the siphon.

    U: the cavernous limb runs level, well below the ophthalmic one; V: it closes towards it; C: it comes up from below
    without a posterior bend; S: it rises behind and dips before the genu.
    """
    before = arc_length(c4)[-1] - arc_length(c4)
    strength, curve = pattern.strength, c4.copy()
    near, behind = (before / 6.0) * np.exp(1.0 - before / 6.0), np.exp(-(((before - 12.0) / 5.0) ** 2))
    low = 1.0 / (1.0 + np.exp(-(before - 10.0) / 2.0))
    if pattern.form == "U":
        curve[:, 2] -= 3.5 * strength * near
        curve[:, 1] -= 1.5 * strength * behind
    elif pattern.form == "V":
        curve[:, 2] += rng.uniform(0.0, 0.8) * strength * near
        curve[:, 2] -= 2.5 * strength * low
        curve[:, 1] += 1.0 * strength * behind
    elif pattern.form == "C":
        curve[:, 2] -= 1.6 * strength * near + 5.0 * strength * low
        curve[:, 1] += 3.0 * strength * behind
    else:
        curve[:, 2] += 3.0 * strength * behind - 2.5 * strength * np.exp(-(((before - 3.5) / 3.5) ** 2)) * (before > 0)
        curve[:, 1] -= 2.0 * strength * behind
    if pattern.kink_mm:
        at = rng.uniform(*_KINK_AT_MM)
        kink = pattern.kink_mm * np.exp(-(((before - at) / 6.0) ** 2))
        curve += kink[:, None] * unit(rng.normal(0, (1.0, 1.0, 0.4)))
    curve[-1] = c4[-1]
    return curve
