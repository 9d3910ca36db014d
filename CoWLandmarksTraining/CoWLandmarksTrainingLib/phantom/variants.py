"""Which anatomical variants and diseases a phantom has, at published prevalences (Docs/model/phantom.md)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from .drawn_patterns import Patterns, choice, sample_patterns
from .patterns import DEVELOPMENT, PatternRates, enriched_table
from .patterns import SIDES as SIDES


def _pcoa() -> dict[str, float]:
    return {"normal": 0.20, "hypoplastic": 0.20, "absent": 0.48, "fetal-partial": 0.07, "fetal-full": 0.05}


def _a1() -> dict[str, float]:
    return {"normal": 0.86, "hypoplastic": 0.12, "absent": 0.02}


def _acoa() -> dict[str, float]:
    return {"single": 0.80, "absent": 0.15, "double": 0.05}


def _a2() -> dict[str, float]:
    return {"paired": 0.94, "three": 0.05, "azygos": 0.01}


def _mca() -> dict[str, float]:
    return {"bifurcation": 0.78, "trifurcation": 0.12, "early": 0.07, "single": 0.03}


def _va() -> dict[str, float]:
    return {"balanced": 0.72, "asymmetric": 0.20, "hypoplastic": 0.06, "absent": 0.02}


@dataclass(frozen=True)
class VariantRates:
    """Probabilities of the variants; `pcoa` and `mca` per side, `a1` (one side affected) and the rest per person.

    From version 4 on `patterns` has tables of its own for `acoa`, `a2` and `mca`, and everything that version 3 lacks.
    """

    pcoa: dict[str, float] = field(default_factory=_pcoa)
    a1: dict[str, float] = field(default_factory=_a1)
    acoa: dict[str, float] = field(default_factory=_acoa)
    a2: dict[str, float] = field(default_factory=_a2)
    mca: dict[str, float] = field(default_factory=_mca)
    va: dict[str, float] = field(default_factory=_va)
    ophthalmic_visible: float = 0.85
    achoroidal_at_terminus: float = 0.15
    superior_cerebellar_double: float = 0.14
    stenosis: float = 0.10
    occlusion: float = 0.03
    aneurysm: float = 0.06
    external_carotid: float = 0.5
    patterns: PatternRates = DEVELOPMENT

    def enriched(self, factor: float) -> VariantRates:
        """The same with every uncommon variant (below 0.15) and disease `factor` times as likely."""

        def table(rates: dict[str, float]) -> dict[str, float]:
            return enriched_table(rates, factor)

        def chance(rate: float) -> float:
            return min(rate * factor, 0.5)

        return replace(
            self,
            pcoa=table(self.pcoa),
            a1=table(self.a1),
            acoa=table(self.acoa),
            a2=table(self.a2),
            mca=table(self.mca),
            va=table(self.va),
            stenosis=chance(self.stenosis),
            occlusion=chance(self.occlusion),
            aneurysm=chance(self.aneurysm),
            patterns=self.patterns.enriched(factor),
        )

    def of_version(self, version: int) -> VariantRates:
        """The rates that a phantom version draws from."""
        if version < 4:
            return self
        return replace(self, acoa=self.patterns.acoa, a2=self.patterns.a2, mca=self.patterns.mca)


@dataclass(frozen=True)
class Variants:
    """The variants of one phantom; per-side values are keyed "R" and "L". `occlusion` is an artery code or "".

    `patterns` are those of version 4; None in version 3.
    """

    pcoa: dict[str, str]
    a1: dict[str, str]
    acoa: str
    a2: str
    mca: dict[str, str]
    va: dict[str, str]
    ophthalmic: dict[str, bool]
    achoroidal_at_terminus: dict[str, bool]
    sca_double: dict[str, bool]
    occlusion: str
    stenosis: bool
    aneurysm: bool
    external_carotid: bool
    patterns: Patterns | None = None

    def described(self) -> dict[str, str]:
        """What was drawn, as text, for records and evaluation by subgroup."""
        described: dict[str, str] = {"ACoA": self.acoa, "A2": self.a2}
        if self.patterns is not None:
            described |= self.patterns.described()
        for side in SIDES:
            described[f"{side}-PCoA"] = self.pcoa[side]
            described[f"{side}-A1"] = self.a1[side]
            described[f"{side}-P1"] = {"fetal-full": "absent", "fetal-partial": "hypoplastic"}.get(
                self.pcoa[side], "normal"
            )
            described[f"{side}-MCA"] = self.mca[side]
            described[f"{side}-VA"] = self.va[side]
            described[f"{side}-OphA"] = "visible" if self.ophthalmic[side] else "not visible"
        return described


def sample_variants(rng: np.random.Generator, rates: VariantRates) -> Variants:
    """Draw the variants; impossible combinations (no A1 and no ACoA, say) fall back to the common form."""
    pcoa = {side: choice(rng, rates.pcoa) for side in SIDES}
    affected = SIDES[int(rng.random() < 0.5)]
    a1 = dict.fromkeys(SIDES, "normal") | {affected: choice(rng, rates.a1)}
    acoa, a2 = choice(rng, rates.acoa), choice(rng, rates.a2)
    mca = {side: choice(rng, rates.mca) for side in SIDES}
    weaker = SIDES[int(rng.random() < 0.6)]
    va_form = choice(rng, rates.va)
    va = dict.fromkeys(SIDES, "normal") | ({} if va_form == "balanced" else {weaker: va_form})
    ophthalmic = {side: bool(rng.random() < rates.ophthalmic_visible) for side in SIDES}
    terminus = {side: bool(rng.random() < rates.achoroidal_at_terminus) for side in SIDES}
    sca_double = {side: bool(rng.random() < rates.superior_cerebellar_double) for side in SIDES}
    occluded = rng.random() < rates.occlusion
    occlusion_side = SIDES[int(rng.random() < 0.5)]
    occlusion = choice(rng, {"MCA-M1": 0.5, "ICA": 0.2, "PCA-P2A": 0.2, "ACA-A2": 0.1})
    stenosis = bool(rng.random() < rates.stenosis)
    aneurysm = bool(rng.random() < rates.aneurysm)
    external = bool(rng.random() < rates.external_carotid)

    if a2 == "azygos":
        a1 = dict.fromkeys(SIDES, "normal")
        acoa = "absent" if rng.random() < 0.7 else "single"
    if a2 == "three" or a1[affected] == "absent":
        acoa = "single"
    if a1[affected] == "absent":
        a2 = "paired"
    if occluded and occlusion == "ICA":
        # The middle cerebral artery is then fed by the anterior communicating artery.
        pcoa[occlusion_side] = "absent"
        a1 = dict.fromkeys(SIDES, "normal")
        acoa, a2 = "single", "paired"
    if occluded and occlusion == "ACA-A2" and a2 in ("azygos", "bihemispheric"):
        occlusion = "MCA-M1"
    return Variants(
        pcoa=pcoa,
        a1=a1,
        acoa=acoa,
        a2=a2,
        mca=mca,
        va=va,
        ophthalmic=ophthalmic,
        achoroidal_at_terminus=terminus,
        sca_double=sca_double,
        occlusion=f"{occlusion_side}-{occlusion}" if occluded else "",
        stenosis=stenosis,
        aneurysm=aneurysm,
        external_carotid=external,
    )


def with_patterns(rng: np.random.Generator, variants: Variants, rates: PatternRates) -> Variants:
    """The same variants with the branch patterns of version 4."""
    if variants.a2 == "azygos":
        variants = replace(variants, acoa="absent")
    if variants.a2 == "bihemispheric" and variants.acoa == "absent":
        variants = replace(variants, acoa="single")
    patterns = sample_patterns(rng, rates, variants.mca, variants.a2, variants.pcoa)
    return replace(variants, patterns=patterns)
