"""Which anatomical variants and diseases a phantom has, at published prevalences (Docs/model/phantom.md)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

SIDES = ("R", "L")


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
    """Probabilities of the variants; `pcoa` and `mca` per side, `a1` (one side affected) and the rest per person."""

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

    def enriched(self, factor: float) -> VariantRates:
        """The same with every uncommon variant (below 0.15) and disease `factor` times as likely."""

        def table(rates: dict[str, float]) -> dict[str, float]:
            raised = {name: rate * factor if rate < 0.15 else rate for name, rate in rates.items()}
            total = sum(raised.values())
            return {name: rate / total for name, rate in raised.items()}

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
        )


@dataclass(frozen=True)
class Variants:
    """The variants of one phantom; per-side values are keyed "R" and "L". `occlusion` is an artery code or ""."""

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

    def described(self) -> dict[str, str]:
        """What was drawn, as text, for records and evaluation by subgroup."""
        described: dict[str, str] = {"ACoA": self.acoa, "A2": self.a2}
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


def _choice(rng: np.random.Generator, rates: dict[str, float]) -> str:
    threshold = rng.random() * sum(rates.values())
    for name, rate in rates.items():
        threshold -= rate
        if threshold < 0:
            return name
    return next(iter(rates))


def sample_variants(rng: np.random.Generator, rates: VariantRates) -> Variants:
    """Draw the variants; impossible combinations (no A1 and no ACoA, say) fall back to the common form."""
    pcoa = {side: _choice(rng, rates.pcoa) for side in SIDES}
    affected = SIDES[int(rng.random() < 0.5)]
    a1 = dict.fromkeys(SIDES, "normal") | {affected: _choice(rng, rates.a1)}
    acoa, a2 = _choice(rng, rates.acoa), _choice(rng, rates.a2)
    mca = {side: _choice(rng, rates.mca) for side in SIDES}
    weaker = SIDES[int(rng.random() < 0.6)]
    va_form = _choice(rng, rates.va)
    va = dict.fromkeys(SIDES, "normal") | ({} if va_form == "balanced" else {weaker: va_form})
    ophthalmic = {side: bool(rng.random() < rates.ophthalmic_visible) for side in SIDES}
    terminus = {side: bool(rng.random() < rates.achoroidal_at_terminus) for side in SIDES}
    sca_double = {side: bool(rng.random() < rates.superior_cerebellar_double) for side in SIDES}
    occluded = rng.random() < rates.occlusion
    occlusion_side = SIDES[int(rng.random() < 0.5)]
    occlusion = _choice(rng, {"MCA-M1": 0.5, "ICA": 0.2, "PCA-P2A": 0.2, "ACA-A2": 0.1})
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
    if occluded and occlusion == "ACA-A2" and a2 == "azygos":
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
