"""Branch patterns of phantom version 4: how often they are drawn, and in which forms.

`DEVELOPMENT` has the rates of the literature where this project is sure of them, `HELD_OUT` other rates and other
forms, for tests alone. Sources: azygos 0.3 to 4 %, bihemispheric 2 to 7 % and up to 12 % (Baptista 1963; LeMay &
Gooding 1966; Perlmutter & Rhoton 1978), median artery of the corpus callosum 3 to 13 % (the same; Cilliers & Page
2016), callosomarginal artery in about four of five hemispheres (Perlmutter & Rhoton 1978; 82 % of 90 in CTA, Minca et
al. 2022); middle cerebral artery 48 to 98 % bifurcation, 1 to 29 % trifurcation, 0.5 to 24 % early division, 0.2 to
21 % single trunk (review: Anat Cell Biol 2024;57:481), trunks nearly parallel up to the knee (Osborn, Diagnostic
Cerebral Angiography), early branches of M1 in most hemispheres, more of them temporal than frontal (Gibo et al. 1981;
Tanriover et al. 2003); basilar fenestration 0.6 to 1.3 % of angiograms; superior cerebellar artery from P1 about 4 %
(Zeal & Rhoton 1978 for the region). Everything else is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

SIDES = ("R", "L")
Span = tuple[float, float]
UNCOMMON = 0.15
"""Rates below this one grow where variants are enriched."""


def enriched_table(rates: dict[str, float], factor: float) -> dict[str, float]:
    """The same table with every uncommon form `factor` times as likely."""
    raised = {name: rate * factor if rate < UNCOMMON else rate for name, rate in rates.items()}
    total = sum(raised.values())
    return {name: rate / total for name, rate in raised.items()}


def _a2() -> dict[str, float]:
    return {"paired": 0.73, "three": 0.11, "bihemispheric": 0.12, "azygos": 0.04}


def _acoa() -> dict[str, float]:
    return {"single": 0.65, "absent": 0.14, "fenestrated": 0.09, "double": 0.06, "X-shaped": 0.06}


def _mca() -> dict[str, float]:
    return {"bifurcation": 0.62, "trifurcation": 0.14, "early": 0.12, "single": 0.12}


def _callosomarginal() -> dict[str, float]:
    return {"beyond the genu": 0.28, "at the genu": 0.22, "below the genu": 0.32, "none": 0.18}


def _early_courses() -> dict[str, float]:
    return {"temporal pole": 0.36, "temporal, along M1": 0.26, "frontal": 0.22, "opercular": 0.16}


def _siphon() -> dict[str, float]:
    return {"U": 0.37, "V": 0.25, "C": 0.20, "S": 0.18}


@dataclass(frozen=True)
class PatternRates:
    """Probabilities (per person for `a2`, `acoa`, `basilar_*`, else per side) and ranges of the forms.

    Ratios are those of diameters 5 mm beyond an origin; lengths in mm, `_at` as a part of the parent's length.
    """

    name: str = "development"
    a2: dict[str, float] = field(default_factory=_a2)
    acoa: dict[str, float] = field(default_factory=_acoa)
    mca: dict[str, float] = field(default_factory=_mca)

    a2_unequal: float = 0.14
    a2_unequal_ratio: Span = (0.5, 0.8)
    a2_loop: float = 0.20
    a2_loop_mm: Span = (2.0, 4.5)
    a2_loop_waves: Span = (0.9, 1.6)
    bihemispheric_ratio: Span = (0.3, 0.65)
    bihemispheric_split_mm: Span = (-8.0, 16.0)
    callosomarginal: dict[str, float] = field(default_factory=_callosomarginal)
    callosomarginal_thick: float = 0.7
    callosomarginal_thick_ratio: Span = (0.7, 1.25)
    callosomarginal_thin_ratio: Span = (0.4, 0.7)
    callosomarginal_height_mm: Span = (6.0, 13.0)
    callosomarginal_slope: Span = (0.8, 2.2)
    callosomarginal_span_mm: Span = (22.0, 50.0)
    frontal_branch: float = 0.80
    frontal_thick: float = 0.30
    frontal_thick_ratio: Span = (0.4, 0.8)
    frontal_thin_ratio: Span = (0.22, 0.4)
    frontopolar_at: Span = (0.35, 0.92)
    orbitofrontal_at: Span = (0.06, 0.35)
    frontal_wave_mm: Span = (0.4, 2.2)

    early_count: dict[str, float] = field(default_factory=lambda: {"none": 0.22, "one": 0.53, "two": 0.25})
    early_courses: dict[str, float] = field(default_factory=_early_courses)
    early_thin: float = 0.25
    early_thin_ratio: Span = (0.18, 0.3)
    early_ratio: Span = (0.3, 0.47)
    early_near_limit: float = 0.07
    early_at: Span = (0.12, 0.92)
    early_span_mm: Span = (20.0, 50.0)
    early_angle: Span = (25.0, 75.0)
    early_wave_mm: Span = (0.3, 1.6)
    trunk_ratio: Span = (0.53, 1.0)
    trunk_near_limit: float = 0.05
    early_division_mm: Span = (3.5, 8.0)
    early_division_again: float = 0.75
    early_division_ratio: Span = (0.53, 0.8)
    next_division: float = 0.45
    next_division_mm: Span = (3.2, 15.0)
    next_ratio: Span = (0.4, 1.0)
    single_runs_mm: Span = (6.0, 22.0)
    lower_loop: float = 0.22
    lower_loop_mm: Span = (2.5, 6.0)
    trunks_parallel: float = 0.5
    trunks_parallel_mm: Span = (5.0, 12.0)
    trunks_gap_mm: Span = (0.3, 1.0)

    p2_early_split: float = 0.25
    p2_split_at: Span = (0.25, 1.0)
    p2_split_ratio: Span = (0.5, 0.95)
    p2a_loop: float = 0.14
    p2a_loop_mm: Span = (1.5, 3.5)
    p2_flat: float = 0.40
    p2_flat_mm: Span = (4.0, 10.0)
    p2_flat_sag_mm: Span = (0.0, 0.4)
    pcoa_late: float = 0.18
    pcoa_late_mm: Span = (11.0, 16.0)
    p1_tortuous: float = 0.14
    p1_tortuosity: Span = (1.2, 1.6)
    basilar_wide: float = 0.05
    basilar_wide_factor: Span = (1.3, 1.8)
    basilar_bow_mm: Span = (4.5, 10.0)
    basilar_fenestrated: float = 0.012
    basilar_fenestration_mm: Span = (4.0, 9.0)
    sca_from_p1: float = 0.04
    siphon: dict[str, float] = field(default_factory=_siphon)
    siphon_strength: Span = (0.6, 1.2)
    carotid_kinked: float = 0.14
    carotid_kink_mm: Span = (3.0, 7.0)
    ophthalmic_near_clinoid: float = 0.08
    ophthalmic_part: Span = (0.05, 0.16)

    def enriched(self, factor: float) -> PatternRates:
        """The same with every uncommon pattern (below 0.15) `factor` times as likely, at most one in two."""
        changed: dict[str, Any] = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, dict):
                changed[entry.name] = enriched_table(value, factor)
            elif isinstance(value, float) and value < UNCOMMON and entry.name not in _NEAR_LIMIT:
                changed[entry.name] = min(value * factor, 0.5)
        return replace(self, **changed)


_NEAR_LIMIT = ("early_near_limit", "trunk_near_limit")
"""Shares of ratios beside the limit of one half: never enriched, nobody could judge them."""

DEVELOPMENT = PatternRates()

HELD_OUT = PatternRates(
    name="held-out",
    a2={"paired": 0.69, "three": 0.05, "bihemispheric": 0.18, "azygos": 0.08},
    acoa={"single": 0.55, "absent": 0.20, "fenestrated": 0.06, "double": 0.12, "X-shaped": 0.07},
    mca={"bifurcation": 0.50, "trifurcation": 0.16, "early": 0.18, "single": 0.16},
    a2_unequal=0.25,
    a2_unequal_ratio=(0.45, 0.7),
    a2_loop=0.35,
    a2_loop_mm=(1.5, 3.5),
    a2_loop_waves=(1.8, 2.6),
    bihemispheric_ratio=(0.35, 0.75),
    bihemispheric_split_mm=(-12.0, 24.0),
    callosomarginal={"beyond the genu": 0.20, "at the genu": 0.32, "below the genu": 0.36, "none": 0.12},
    callosomarginal_thick=0.8,
    callosomarginal_height_mm=(4.0, 9.0),
    callosomarginal_slope=(1.8, 3.0),
    callosomarginal_span_mm=(30.0, 58.0),
    frontal_thick=0.45,
    frontopolar_at=(0.2, 0.7),
    orbitofrontal_at=(0.1, 0.5),
    frontal_wave_mm=(2.0, 3.2),
    early_count={"none": 0.12, "one": 0.50, "two": 0.38},
    early_courses={
        "temporal pole": 0.10,
        "temporal, along M1": 0.15,
        "frontal": 0.15,
        "opercular": 0.15,
        "recurrent": 0.45,
    },
    early_thin=0.15,
    early_at=(0.08, 0.96),
    early_span_mm=(28.0, 60.0),
    early_angle=(50.0, 105.0),
    early_wave_mm=(1.4, 2.6),
    early_division_mm=(5.5, 8.0),
    early_division_ratio=(0.6, 0.95),
    next_division=0.6,
    next_division_mm=(3.2, 11.0),
    next_ratio=(0.5, 1.0),
    lower_loop=0.4,
    lower_loop_mm=(4.5, 8.0),
    trunks_parallel=0.65,
    trunks_parallel_mm=(8.0, 15.0),
    trunks_gap_mm=(0.5, 1.5),
    p2_early_split=0.4,
    p2_split_at=(0.1, 0.6),
    p2a_loop=0.3,
    p2a_loop_mm=(2.5, 4.5),
    p2_flat=0.55,
    p2_flat_mm=(7.0, 11.0),
    pcoa_late=0.26,
    pcoa_late_mm=(9.5, 13.0),
    p1_tortuous=0.3,
    basilar_wide=0.1,
    basilar_bow_mm=(8.0, 12.5),
    basilar_fenestrated=0.03,
    basilar_fenestration_mm=(6.0, 12.0),
    sca_from_p1=0.1,
    siphon={"U": 0.15, "V": 0.20, "C": 0.25, "S": 0.40},
    siphon_strength=(1.0, 1.6),
    carotid_kinked=0.3,
    carotid_kink_mm=(5.0, 9.0),
    ophthalmic_near_clinoid=0.15,
)

ANATOMIES = {"development": DEVELOPMENT, "held-out": HELD_OUT}
"""Which patterns a cohort is drawn from, by name."""
