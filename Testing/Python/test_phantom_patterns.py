"""Branch patterns of phantom version 4: landmarks by the written rules, measured anew on the vessels, for every one."""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
import pytest
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksTrainingLib.phantom.geometry import sample_phantom
from CoWLandmarksTrainingLib.phantom.patterns import ANATOMIES, DEVELOPMENT, HELD_OUT
from CoWLandmarksTrainingLib.phantom.variant_page import named_variants, phantom_with
from CoWLandmarksTrainingLib.phantom.variants import VariantRates, Variants, sample_variants, with_patterns
from CoWLandmarksTrainingLib.phantom.vessel import Phantom, Vessel

ANATOMY = default_anatomy()
SIGN = {"R": 1.0, "L": -1.0}
JUDGED_MM = 5.0
NEAR_MM = 0.05


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


@cache
def heads() -> tuple[Phantom, ...]:
    """500 heads: half at the rates of the literature, a quarter enriched, a quarter of the held-out anatomy."""
    ordinary = VariantRates()
    kinds = (ordinary, ordinary.enriched(4.0), ordinary, VariantRates(patterns=HELD_OUT))
    return tuple(sample_phantom(generator(seed), rates=kinds[seed % 4], version=4) for seed in range(500))


@cache
def drawn(name: str, count: int = 3000) -> tuple[Variants, ...]:
    rates = VariantRates(patterns=ANATOMIES[name], occlusion=0.0).of_version(4)
    return tuple(
        with_patterns(rng, sample_variants(rng, rates), rates.patterns) for rng in map(generator, range(count))
    )


def vessels(phantom: Phantom) -> dict[str, Vessel]:
    return {vessel.name: vessel for vessel in phantom.vessels}


def point(phantom: Phantom, code: str) -> np.ndarray:
    return phantom.landmarks[ANATOMY.index(code)]


def present(phantom: Phantom, code: str) -> bool:
    return bool(np.isfinite(point(phantom, code)).all())


def arc(points: np.ndarray) -> np.ndarray:
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])


def radius_at(vessel: Vessel, position: float) -> float:
    return float(np.interp(position, arc(vessel.points), vessel.radii))


def assert_middle_of_the_extremum(place: np.ndarray, trunk: np.ndarray, outward: np.ndarray) -> float:
    """`place` is the middle of where the trunk (n, 3) stays within 0.3 mm of its maximum `outward` (n,); returns the
    length of that stretch."""
    at = int(np.argmin(np.linalg.norm(trunk - place, axis=1)))
    assert np.linalg.norm(trunk[at] - place) < NEAR_MM
    flat = outward >= outward.max() - 0.3
    assert flat[at]
    first = last = int(np.argmax(outward))
    while first > 0 and flat[first - 1]:
        first -= 1
    while last < len(outward) - 1 and flat[last + 1]:
        last += 1
    along = arc(trunk)
    assert along[at] == pytest.approx(0.5 * (along[first] + along[last]), abs=0.6)
    return float(along[last] - along[first])


def narrowed(phantom: Phantom, *names: str) -> bool:
    """Whether a stenosis lies in one of these vessels."""
    return any(f"stenosis {name} " in phantom.variants["disease"] for name in names)


@pytest.mark.slow
def test_the_first_division_counts_and_no_branch_before_it_does() -> None:
    ratios: dict[str, list[float]] = {"true": [], "false": []}
    for phantom in heads():
        named = vessels(phantom)
        for side in "RL":
            m1 = named.get(f"{side}-MCA-M1")
            if m1 is None or narrowed(phantom, m1.name):
                continue
            along = arc(m1.points)
            trunks = [named[name] for part in "abc" if (name := f"{side}-MCA-M2{part}") in named]
            at_end = [v for v in trunks if np.allclose(v.points[0], m1.points[-1], atol=1e-6)]
            sizes = sorted((radius_at(vessel, JUDGED_MM) for vessel in at_end), reverse=True)
            if phantom.variants[f"{side}-MCA"] == "single":
                assert len(sizes) == 1
            else:
                assert len(sizes) >= 2
                ratios["true"].append(sizes[1] / sizes[0])
            larger = max(at_end, key=lambda vessel: radius_at(vessel, JUDGED_MM))
            for vessel in phantom.vessels:
                distance = np.linalg.norm(m1.points - vessel.points[0], axis=1)
                place = int(np.argmin(distance))
                if not vessel.name.startswith(f"{side}-") or distance[place] > NEAR_MM or vessel in (m1, *at_end):
                    continue
                if "aneurysm" in vessel.name or place == 0 or arc(vessel.points)[-1] < JUDGED_MM:
                    continue
                beyond = along[place] + JUDGED_MM
                onward = radius_at(m1, beyond) if beyond <= along[-1] else radius_at(larger, beyond - along[-1])
                ratios["false"].append(radius_at(vessel, JUDGED_MM) / onward)
                assert ratios["false"][-1] < 0.5, vessel.name
    true, false = np.array(ratios["true"]), np.array(ratios["false"])
    assert true.min() >= 0.5
    assert true.max() <= 1.05
    near = ((true < 0.53).sum() + (false > 0.47).sum()) / (len(true) + (false > 0.25).sum())
    assert (true < 0.65).sum() > 100
    assert (false > 0.35).sum() > 100
    assert 0.01 < near < 0.12


@pytest.mark.slow
def test_three_trunks_part_within_three_millimetres() -> None:
    found = 0
    for phantom in heads():
        named = vessels(phantom)
        for side in "RL":
            third = named.get(f"{side}-MCA-M2c")
            if third is not None:
                found += 1
                assert np.linalg.norm(third.points[0] - point(phantom, f"{side}-M1-M2")) < 3.0
    assert found > 50


def wall_gap(one: Vessel, other: Vessel, position: float) -> float:
    """Distance in mm between the walls of two vessels at an arc length of the first."""
    point = [np.interp(position, arc(one.points), one.points[:, axis]) for axis in range(3)]
    distance = np.linalg.norm(other.points - point, axis=1)
    return float((distance - other.radii).min() - radius_at(one, position))


@pytest.mark.slow
def test_parallel_trunks_run_side_by_side_with_a_gap_and_then_part() -> None:
    gaps: dict[str, list[list[float]]] = {"parallel": [], "plain": []}
    for phantom in heads():
        named = vessels(phantom)
        for side in "RL":
            lower, upper = (named.get(f"{side}-MCA-M2{part}") for part in "ab")
            if lower and upper and min(arc(lower.points)[-1], arc(upper.points)[-1]) > 21.0:
                gaps[phantom.variants[f"{side}-trunks"]].append([wall_gap(lower, upper, mm) for mm in (5.0, 20.0)])
    parallel, plain = np.array(gaps["parallel"]), np.array(gaps["plain"])
    assert min(len(parallel), len(plain)) > 100
    assert 0.2 < np.median(parallel[:, 0]) < 1.0 < np.median(plain[:, 0])
    assert (parallel[:, 0] < 0.0).mean() < 0.12, "a division that nobody can see"
    assert np.median(parallel[:, 1]) > 3.0


@pytest.mark.slow
def test_early_branches_are_long_enough_to_look_like_trunks() -> None:
    lengths = [
        arc(vessel.points)[-1] for phantom in heads() for vessel in phantom.vessels if "MCA-early" in vessel.name
    ]
    assert len(lengths) > 500
    assert min(lengths) > 12.0
    assert np.median(lengths) > 22.0


@pytest.mark.slow
def test_a_single_trunk_has_its_point_at_the_sharpest_turn_near_the_knee() -> None:
    found = 0
    for phantom in heads():
        named = vessels(phantom)
        for side in "RL":
            if phantom.variants[f"{side}-MCA"] != "single" or not present(phantom, f"{side}-M1-M2"):
                continue
            found += 1
            m1, m2 = (named[f"{side}-MCA-{part}"].points for part in ("M1", "M2a"))
            whole, end = np.concatenate([m1, m2[1:]]), arc(m1)[-1]
            along = arc(whole)

            def turn(at: float, whole: np.ndarray = whole, along: np.ndarray = along) -> float:
                a, b, c = (
                    np.array([np.interp(at + mm, along, whole[:, axis]) for axis in range(3)]) for mm in (-5, 0, 5)
                )
                one, two = (b - a) / np.linalg.norm(b - a), (c - b) / np.linalg.norm(c - b)
                return float(one @ two)

            assert turn(end) <= min(turn(end + mm) for mm in np.arange(-2.5, 3.0, 0.5)) + 0.1
            assert end > 9.0
            assert phantom.by_rule[ANATOMY.index(f"{side}-M1-M2")]
    assert found > 15


def pericallosal(phantom: Phantom, side: str) -> np.ndarray:
    """The main trunk from A1-A2 to beyond the genu that supplies this side."""
    named = vessels(phantom)
    if f"{side}-ACA-A2" in named:
        return np.concatenate([named[f"{side}-ACA-A2"].points, named[f"{side}-ACA-A3"].points])
    other = "L" if side == "R" else "R"
    common = pericallosal(phantom, other)
    own = named[f"{side}-ACA-A3"].points
    leaves = int(np.argmin(np.linalg.norm(common - own[0], axis=1)))
    return np.concatenate([common[: leaves + 1], own])


@pytest.mark.slow
def test_the_genu_is_the_most_anterior_point_of_the_trunk_that_supplies_the_side() -> None:
    kinds = Counter[str]()
    for phantom in heads():
        for side in "RL":
            if present(phantom, f"{side}-A2-A3"):
                trunk = pericallosal(phantom, side)
                assert_middle_of_the_extremum(point(phantom, f"{side}-A2-A3"), trunk, trunk[:, 1])
                kinds[phantom.variants["A2"]] += 1
    assert set(kinds) == {"paired", "three", "bihemispheric", "azygos"}
    assert min(kinds.values()) > 10


@pytest.mark.slow
def test_an_azygos_trunk_has_one_genu_and_a_bihemispheric_one_one_or_two() -> None:
    apart = []
    for phantom in heads():
        right, left = (point(phantom, f"{side}-A2-A3") for side in "RL")
        if phantom.variants["A2"] == "azygos":
            assert np.array_equal(right, left)
        if phantom.variants["A2"] == "bihemispheric":
            apart.append(float(np.linalg.norm(right - left)))
            assert sum(phantom.artery_present[f"{side}-ACA-A2"] for side in "RL") == 1
    assert min(apart) == 0.0 < max(apart) < 4.0


@pytest.mark.slow
@pytest.mark.parametrize("side", ["R", "L"])
def test_the_posterior_cerebral_trunk_is_widest_at_p2a_p2p_and_the_siphon_foremost_at_its_genu(side: str) -> None:
    flat: dict[str, list[float]] = {"flat": [], "plain": []}
    for phantom in heads():
        named = vessels(phantom)
        if present(phantom, f"{side}-P2A-P2P"):
            trunk = np.concatenate([named[f"{side}-PCA-{part}"].points for part in ("P2A", "P2P")])
            widest = assert_middle_of_the_extremum(point(phantom, f"{side}-P2A-P2P"), trunk, SIGN[side] * trunk[:, 0])
            flat[phantom.variants[f"{side}-P2 lateral course"]].append(widest)
        if present(phantom, f"{side}-C4-C5"):
            parts = [named[f"{side}-ICA-C4"].points[-20:]]
            parts += [named[f"{side}-ICA-{part}"].points for part in ("C5", "C6")]
            siphon = np.concatenate(parts)
            assert_middle_of_the_extremum(point(phantom, f"{side}-C4-C5"), siphon, siphon[:, 1])
    assert np.median(flat["flat"]) > np.median(flat["plain"]) + 1.5


@pytest.mark.slow
@pytest.mark.parametrize("side", ["R", "L"])
def test_branches_meet_their_parents_at_the_landmarks(side: str) -> None:
    for phantom in heads():
        named = vessels(phantom)
        for name, first, last in (
            (f"{side}-PCoA", f"{side}-C6-C7", f"{side}-P1-P2A"),
            (f"{side}-PCA-P1", "BA-T", f"{side}-P1-P2A"),
            (f"{side}-ACA-A1", f"{side}-ICA-T", f"{side}-A1-A2"),
            (f"{side}-MCA-M1", f"{side}-ICA-T", f"{side}-M1-M2"),
        ):
            if name in named:
                for code, place in ((first, named[name].points[0]), (last, named[name].points[-1])):
                    if present(phantom, code):
                        assert np.linalg.norm(point(phantom, code) - place) < 1e-6, (name, code)


@pytest.mark.slow
def test_left_and_right_are_never_exchanged() -> None:
    for phantom in heads():
        for name, least in (("ICA-T", 8.0), ("M1-M2", 15.0), ("P2A-P2P", 8.0), ("P1-P2A", 0.5), ("C4-C5", 4.0)):
            right, left = (point(phantom, f"{side}-{name}")[0] for side in "RL")
            if np.isfinite(right + left):
                assert right - left > least, name
        right, left = (point(phantom, f"{side}-A1-A2")[0] for side in "RL")
        if np.isfinite(right + left) and phantom.variants["A2"] != "azygos":
            assert right > left


@pytest.mark.slow
def test_runners_up_lie_on_a_vessel_away_from_the_truth_and_from_each_other() -> None:
    counts = Counter[str]()
    for phantom in heads():
        cloud = np.concatenate([vessel.points for vessel in phantom.vessels])
        for code, alternatives in phantom.alternatives.items():
            assert 1 <= len(alternatives) <= 2
            assert present(phantom, code)
            places = [point(phantom, code), *(np.array(a.position) for a in alternatives)]
            for number, alternative in enumerate(alternatives, 1):
                assert np.linalg.norm(cloud - places[number], axis=1).min() < NEAR_MM, alternative.reason
                assert alternative.reason
            for first in range(len(places)):
                for second in range(first):
                    assert np.linalg.norm(places[first] - places[second]) >= 3.0
            counts[code[2:]] += 1
    assert min(counts[name] for name in ("M1-M2", "A2-A3")) > 500
    assert {"A1-A2", "P1-P2A", "P2A-P2P", "C4-C5", "C6-C7", "-T"} <= set(counts)


def test_version_3_has_neither_patterns_nor_runners_up() -> None:
    phantom = sample_phantom(generator(3), version=3)
    assert phantom.alternatives == {}
    assert "R-early branches" not in phantom.variants


@pytest.mark.slow
@pytest.mark.parametrize("name", ANATOMIES)
def test_patterns_are_drawn_at_their_rates(name: str) -> None:
    rates, many = ANATOMIES[name], drawn(name)
    forms = Counter(variants.a2 for variants in many)
    for form, rate in rates.a2.items():
        assert forms[form] / len(many) == pytest.approx(rate, abs=0.03), form
    both = [(variants.patterns, side) for variants in many for side in "RL"]
    mca = Counter(variants.mca[side] for variants in many for side in "RL")
    for form, rate in rates.mca.items():
        assert mca[form] / len(both) == pytest.approx(rate, abs=0.02), form
    for form, rate in rates.siphon.items():
        share = np.mean([p.siphon[side].form == form for p, side in both if p is not None])
        assert share == pytest.approx(rate, abs=0.03), form
    for pattern, rate, of in (
        ("looped A2", rates.a2_loop, lambda p, s: p.anterior.loop_mm[s] > 0),
        ("early split", rates.p2_early_split, lambda p, s: p.posterior[s].split_at > 0),
        ("looped P2A", rates.p2a_loop, lambda p, s: p.posterior[s].loop_mm > 0),
        ("flat P2", rates.p2_flat, lambda p, s: p.posterior[s].flat_mm > 0),
        ("kink", rates.carotid_kinked, lambda p, s: p.siphon[s].kink_mm > 0),
        ("ophthalmic", rates.ophthalmic_near_clinoid, lambda p, s: p.siphon[s].ophthalmic_part > 0),
        ("loop", rates.lower_loop * (1 - rates.mca["single"]), lambda p, s: p.middle[s].lower_loop_mm > 0),
        ("parallel", rates.trunks_parallel * (1 - rates.mca["single"]), lambda p, s: p.middle[s].parallel_mm > 0),
    ):
        assert np.mean([of(p, side) for p, side in both]) == pytest.approx(rate, abs=0.03), pattern
    early = [len(p.middle[side].early) for p, side in both if p is not None]
    assert np.mean([count == 0 for count in early]) == pytest.approx(
        rates.early_count["none"] + rates.mca["early"] * (1 - rates.early_count["none"]), abs=0.03
    )


@pytest.mark.slow
def test_both_sides_are_drawn_alike() -> None:
    def share(side: str) -> dict[str, float]:
        described = [variants.described() for variants in drawn("development")]
        names = (
            "early branches",
            "next division",
            "lower trunk",
            "trunks",
            "P2",
            "siphon",
            "A2 course",
            "callosomarginal",
        )
        counts = Counter(f"{name}: {one[f'{side}-{name}']}" for one in described for name in names)
        return {name: count / len(described) for name, count in counts.items()}

    right, left = share("R"), share("L")
    for name in right.keys() | left.keys():
        assert right.get(name, 0.0) == pytest.approx(left.get(name, 0.0), abs=0.04), name


@pytest.mark.slow
def test_the_held_out_anatomy_has_other_rates_and_other_forms() -> None:
    assert HELD_OUT.a2 != DEVELOPMENT.a2
    assert HELD_OUT.early_span_mm != DEVELOPMENT.early_span_mm
    courses = {
        branch.course for v in drawn("held-out") if v.patterns for s in "RL" for branch in v.patterns.middle[s].early
    }
    assert "recurrent" in courses
    assert "recurrent" not in DEVELOPMENT.early_courses


def test_enriched_patterns_are_likelier_but_the_strip_beside_the_limit_is_not() -> None:
    enriched = DEVELOPMENT.enriched(4.0)
    assert enriched.a2["azygos"] > 2 * DEVELOPMENT.a2["azygos"]
    assert enriched.basilar_wide == pytest.approx(4 * DEVELOPMENT.basilar_wide)
    assert enriched.early_near_limit == DEVELOPMENT.early_near_limit
    assert sum(enriched.mca.values()) == pytest.approx(1.0)
    assert VariantRates().enriched(4.0).patterns == enriched


@pytest.mark.slow
def test_every_pattern_is_reported_by_name() -> None:
    reported = {f"{key.removeprefix('R-').removeprefix('L-')}: {v}" for p in heads() for key, v in p.variants.items()}
    for expected in (
        "A2: azygos",
        "A2: bihemispheric",
        "A2: three",
        "A2 calibres: unequal",
        "A2 course: looped",
        "ACoA: fenestrated",
        "ACoA: X-shaped",
        "BA: dolichoectatic",
        "BA: fenestrated",
        "callosomarginal: thick, below the genu",
        "callosomarginal: thick, beyond the genu",
        "early branches: one",
        "early branches: two",
        "frontal branches: thick",
        "lower trunk: looping",
        "next division: 3 to 6 mm",
        "OphA origin: near the clinoid",
        "P1 course: tortuous",
        "P2: early split",
        "P2A course: looped",
        "P2 lateral course: flat",
        "PCoA entry: late",
        "SCA: from P1",
        "siphon: S",
        "carotid entry: kinked",
        "trunk ratio: 0.5 to 0.6",
        "trunks: parallel",
        "anatomy: held-out",
    ):
        assert expected in reported


def test_the_page_of_variants_finds_a_healthy_head_for_every_one() -> None:
    for rates in ANATOMIES.values():
        named = named_variants(rates)
        assert {"azygos", "fenestrated", "dolichoectatic", "from P1", "single"} <= {variant.value for variant in named}
        for variant in (named[0], named[-1]):
            phantom = phantom_with(variant, rates)
            assert phantom.variants[variant.trait] == variant.value
            assert phantom.variants["disease"] == "none"
