"""The branch patterns of one head of phantom version 4, drawn from `PatternRates`."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from .patterns import SIDES, PatternRates, Span

RATIO_LIMIT = 0.5
"""A division counts when the smaller trunk has at least this part of the larger one's diameter (anatomy.json)."""
THICK_EARLY = 0.3


@dataclass(frozen=True)
class EarlyBranch:
    """A branch of M1 that does not count: thinner than half of what goes on. `at`: part of the length of M1."""

    course: str
    ratio: float
    at: float
    span_mm: float
    angle: float
    wave_mm: float


@dataclass(frozen=True)
class MiddlePattern:
    """One middle cerebral artery. `next_mm`: where the larger trunk, then the smaller, divides again (0: nowhere).
    `parallel_mm`: how far the trunks run side by side with `gap_mm` between their walls before they part (0: they part
    at once)."""

    trunk_ratio: float
    third_ratio: float
    third_mm: float
    lower_is_larger: bool
    division_mm: float
    next_mm: tuple[float, float]
    next_ratio: tuple[float, float]
    lower_loop_mm: float
    parallel_mm: float
    gap_mm: float
    early: tuple[EarlyBranch, ...]


@dataclass(frozen=True)
class FrontalBranch:
    """Frontopolar or orbitofrontal artery: diameter as a part of the A2, where on the A2, waviness."""

    ratio: float
    at: float
    wave_mm: float


@dataclass(frozen=True)
class Callosomarginal:
    """Its `ratio` to the pericallosal trunk, where it leaves (`at_mm` beyond the genu, negative: below), its
    distance from that trunk (`height_mm`) and the `slope` at which it gets there."""

    form: str
    ratio: float
    at_mm: float
    height_mm: float
    slope: float
    span_mm: float


@dataclass(frozen=True)
class AnteriorPattern:
    """Both anterior cerebral arteries. `weaker`: side of the thinner (or hypoplastic) A2, `a2_ratio` to the other."""

    weaker: str
    a2_ratio: float
    split_mm: float
    loop_mm: dict[str, float]
    loop_waves: float
    callosomarginal: dict[str, Callosomarginal | None]
    frontopolar: dict[str, FrontalBranch | None]
    orbitofrontal: dict[str, FrontalBranch | None]


@dataclass(frozen=True)
class PosteriorPattern:
    """One posterior cerebral artery; 0 where a pattern is not there. Over `flat_mm` its lateral course is flat, but for
    a sag of `flat_sag_mm`."""

    split_at: float
    split_ratio: float
    loop_mm: float
    flat_mm: float
    flat_sag_mm: float
    pcoa_late_mm: float
    p1_tortuosity: float
    sca_from_p1: bool


@dataclass(frozen=True)
class SiphonPattern:
    """One internal carotid artery; 0 where a pattern is not there."""

    form: str
    strength: float
    kink_mm: float
    ophthalmic_part: float


@dataclass(frozen=True)
class Patterns:
    """What was drawn for one head; per-side values are keyed "R" and "L"."""

    anatomy: str
    anterior: AnteriorPattern
    middle: dict[str, MiddlePattern]
    posterior: dict[str, PosteriorPattern]
    siphon: dict[str, SiphonPattern]
    basilar_factor: float
    basilar_bow_mm: float
    fenestration_mm: float

    def described(self) -> dict[str, str]:
        """What was drawn, as text of few values, to group errors by."""
        front = self.anterior
        described = {
            "anatomy": self.anatomy,
            "A2 calibres": "unequal" if front.a2_ratio < 1 else "equal",
            "BA": "dolichoectatic" if self.basilar_bow_mm else "fenestrated" if self.fenestration_mm else "plain",
        }
        for side in SIDES:
            described |= {f"{side}-{name}": value for name, value in self._of_side(side).items()}
        return described

    def _of_side(self, side: str) -> dict[str, str]:
        front, middle = self.anterior, self.middle[side]
        back, siphon = self.posterior[side], self.siphon[side]
        callosomarginal = front.callosomarginal[side]
        frontal = [b for b in (front.frontopolar[side], front.orbitofrontal[side]) if b]
        thick = [branch for branch in middle.early if branch.ratio >= THICK_EARLY]
        return {
            "A2 course": "looped" if front.loop_mm[side] else "plain",
            "callosomarginal": "none"
            if callosomarginal is None
            else f"{'thick' if callosomarginal.ratio >= 0.7 else 'thin'}, {callosomarginal.form}",
            "frontal branches": "thick" if any(b.ratio >= 0.4 for b in frontal) else "thin",
            "early branches": ("none", "one", "two")[len(thick)],
            "early courses": ", ".join(sorted({b.course for b in thick})) or "none",
            "trunk ratio": _band(middle.trunk_ratio, (0.5, 0.6, 0.75, 1.0)),
            "next division": _band(min((mm for mm in middle.next_mm if mm), default=0.0), (3, 6, 10, 22), " mm"),
            "lower trunk": "looping" if middle.lower_loop_mm else "plain",
            "trunks": "parallel" if middle.parallel_mm else "plain",
            "P2": "early split" if back.split_at else "plain",
            "P2A course": "looped" if back.loop_mm else "plain",
            "P2 lateral course": "flat" if back.flat_mm else "plain",
            "PCoA entry": "late" if back.pcoa_late_mm else "usual",
            "P1 course": "tortuous" if back.p1_tortuosity else "plain",
            "SCA": "from P1" if back.sca_from_p1 else "from the basilar artery",
            "siphon": siphon.form,
            "carotid entry": "kinked" if siphon.kink_mm else "plain",
            "OphA origin": "near the clinoid" if siphon.ophthalmic_part else "usual",
        }


def _band(value: float, limits: tuple[float, ...], unit: str = "") -> str:
    for low, high in itertools.pairwise(limits):
        if low <= value <= high:
            return f"{low:g} to {high:g}{unit}"
    return "none"


def choice(rng: np.random.Generator, rates: dict[str, float]) -> str:
    """One key of a table of probabilities."""
    threshold = rng.random() * sum(rates.values())
    for name, rate in rates.items():
        threshold -= rate
        if threshold < 0:
            return name
    return next(iter(rates))


def sample_patterns(
    rng: np.random.Generator, rates: PatternRates, mca: dict[str, str], a2: str, pcoa: dict[str, str]
) -> Patterns:
    """Draw the patterns of a head whose main forms are known."""

    def span(limits: Span) -> float:
        return float(rng.uniform(*limits))

    def there(rate: float, limits: Span) -> float:
        drawn, value = rng.random() < rate, span(limits)
        return value if drawn else 0.0

    wide = rng.random() < rates.basilar_wide
    fenestrated = rng.random() < rates.basilar_fenestrated
    posterior = {
        side: PosteriorPattern(
            split_at=there(rates.p2_early_split, rates.p2_split_at),
            split_ratio=span(rates.p2_split_ratio),
            loop_mm=there(rates.p2a_loop, rates.p2a_loop_mm),
            flat_mm=there(rates.p2_flat, rates.p2_flat_mm),
            flat_sag_mm=span(rates.p2_flat_sag_mm),
            pcoa_late_mm=there(rates.pcoa_late, rates.pcoa_late_mm) * (pcoa[side] not in ("absent", "fetal-full")),
            p1_tortuosity=there(rates.p1_tortuous, rates.p1_tortuosity) * (pcoa[side] != "fetal-full"),
            sca_from_p1=bool(rng.random() < rates.sca_from_p1) and pcoa[side] != "fetal-full",
        )
        for side in SIDES
    }
    siphon = {
        side: SiphonPattern(
            form=choice(rng, rates.siphon),
            strength=span(rates.siphon_strength),
            kink_mm=there(rates.carotid_kinked, rates.carotid_kink_mm),
            ophthalmic_part=there(rates.ophthalmic_near_clinoid, rates.ophthalmic_part),
        )
        for side in SIDES
    }
    return Patterns(
        anatomy=rates.name,
        anterior=_anterior(rng, rates, a2),
        middle={side: _middle(rng, rates, mca[side]) for side in SIDES},
        posterior=posterior,
        siphon=siphon,
        basilar_factor=span(rates.basilar_wide_factor) if wide else 1.0,
        basilar_bow_mm=span(rates.basilar_bow_mm) if wide else 0.0,
        fenestration_mm=span(rates.basilar_fenestration_mm) if fenestrated and not wide else 0.0,
    )


def _ratio(rng: np.random.Generator, limits: Span, near: Span, near_share: float) -> float:
    """Evenly in `limits`, now and then in `near`, the strip beside the limit of one half."""
    return float(rng.uniform(*(near if rng.random() < near_share else limits)))


def _early(rng: np.random.Generator, rates: PatternRates, at: float) -> EarlyBranch:
    thin = rng.random() < rates.early_thin
    limits = rates.early_thin_ratio if thin else rates.early_ratio
    return EarlyBranch(
        course=choice(rng, rates.early_courses),
        ratio=_ratio(rng, limits, (rates.early_ratio[1], RATIO_LIMIT - 0.005), 0.0 if thin else rates.early_near_limit),
        at=at,
        span_mm=float(rng.uniform(*rates.early_span_mm)),
        angle=float(rng.uniform(*rates.early_angle)),
        wave_mm=float(rng.uniform(*rates.early_wave_mm)),
    )


def _middle(rng: np.random.Generator, rates: PatternRates, form: str) -> MiddlePattern:
    count = {"none": 0, "one": 1, "two": 2}[choice(rng, rates.early_count)]
    if form == "early":
        count = 0  # M1 is too short for both
    low, high = rates.early_at
    places = rng.uniform(low, high, count)
    if count == 2 and abs(places[0] - places[1]) < 0.2:
        places[1] = low + (places[0] - low + 0.45 * (high - low)) % (high - low)
    near = (RATIO_LIMIT + 0.005, rates.trunk_ratio[0])
    again = [float(rng.uniform(*rates.next_division_mm)) if rng.random() < rates.next_division else 0.0 for _ in "12"]
    ratios = rng.uniform(*rates.next_ratio, 2)
    run = float(rng.uniform(*rates.single_runs_mm))
    loop = float(rng.uniform(*rates.lower_loop_mm)) if rng.random() < rates.lower_loop else 0.0
    parallel = float(rng.uniform(*rates.trunks_parallel_mm)) if rng.random() < rates.trunks_parallel else 0.0
    if form == "single":
        loop = parallel = 0.0
        again, ratios[0] = [run, 0.0], max(float(ratios[0]), 0.55)
    limits = rates.trunk_ratio
    if form == "early":
        # The larger trunk often divides where M1 usually does, more evenly than it did before.
        limits = rates.early_division_ratio
        if rng.random() < rates.early_division_again:
            again[0], ratios[0] = float(rng.uniform(5.0, 15.0)), float(rng.uniform(0.65, 1.0))
    return MiddlePattern(
        trunk_ratio=_ratio(rng, limits, near, rates.trunk_near_limit),
        third_ratio=float(rng.uniform(*rates.trunk_ratio)),
        third_mm=float(rng.choice([0.0, rng.uniform(0.6, 2.8)])),
        lower_is_larger=bool(rng.random() < 0.55),
        division_mm=float(rng.uniform(*rates.early_division_mm)),
        next_mm=(again[0], again[1]),
        next_ratio=(float(ratios[0]), float(ratios[1])),
        lower_loop_mm=loop,
        parallel_mm=parallel,
        gap_mm=float(rng.uniform(*rates.trunks_gap_mm)),
        early=tuple(_early(rng, rates, float(at)) for at in sorted(places)),
    )


def _anterior(rng: np.random.Generator, rates: PatternRates, a2: str) -> AnteriorPattern:
    weaker = SIDES[int(rng.random() < 0.5)]
    ratio = float(rng.uniform(*rates.a2_unequal_ratio)) if rng.random() < rates.a2_unequal else 1.0
    if a2 == "bihemispheric":
        ratio = float(rng.uniform(*rates.bihemispheric_ratio))
    if a2 == "azygos":
        ratio = 1.0
    loops = {side: float(rng.uniform(*rates.a2_loop_mm)) if rng.random() < rates.a2_loop else 0.0 for side in SIDES}
    if a2 == "azygos":
        loops["L"] = loops["R"]
    frontal: list[dict[str, FrontalBranch | None]] = [
        {side: _frontal(rng, rates, limits) for side in SIDES}
        for limits in (rates.frontopolar_at, rates.orbitofrontal_at)
    ]
    marginal = {side: _callosomarginal(rng, rates) for side in SIDES}
    if a2 == "bihemispheric":
        marginal[weaker] = None  # the hypoplastic A2 itself ends as one
    return AnteriorPattern(
        weaker=weaker,
        a2_ratio=ratio,
        split_mm=float(rng.uniform(*rates.bihemispheric_split_mm)),
        loop_mm=loops,
        loop_waves=float(rng.uniform(*rates.a2_loop_waves)),
        callosomarginal=marginal,
        frontopolar=frontal[0],
        orbitofrontal=frontal[1],
    )


def _frontal(rng: np.random.Generator, rates: PatternRates, at: Span) -> FrontalBranch | None:
    there = rng.random() < rates.frontal_branch
    limits = rates.frontal_thick_ratio if rng.random() < rates.frontal_thick else rates.frontal_thin_ratio
    branch = FrontalBranch(
        float(rng.uniform(*limits)), float(rng.uniform(*at)), float(rng.uniform(*rates.frontal_wave_mm))
    )
    return branch if there else None


_LEAVES_MM = {"below the genu": (-12.0, -3.5), "at the genu": (-3.0, 1.5), "beyond the genu": (3.0, 18.0)}


def _callosomarginal(rng: np.random.Generator, rates: PatternRates) -> Callosomarginal | None:
    form = choice(rng, rates.callosomarginal)
    thick = rng.random() < rates.callosomarginal_thick
    limits = rates.callosomarginal_thick_ratio if thick else rates.callosomarginal_thin_ratio
    drawn = Callosomarginal(
        form,
        float(rng.uniform(*limits)),
        float(rng.uniform(*_LEAVES_MM.get(form, (0.0, 1.0)))),
        float(rng.uniform(*rates.callosomarginal_height_mm)),
        float(rng.uniform(*rates.callosomarginal_slope)),
        float(rng.uniform(*rates.callosomarginal_span_mm)),
    )
    return None if form == "none" else drawn
