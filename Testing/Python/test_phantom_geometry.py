"""The phantom's geometry: reproducible, true to the definitions of the landmarks, and in the range of real anatomy."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksTrainingLib.phantom.artery_tree import ICA_RULE_MM, OPHTHALMIC_RULE, PCA_RULE_MM
from CoWLandmarksTrainingLib.phantom.atlas import default_atlas
from CoWLandmarksTrainingLib.phantom.geometry import sample_phantom
from CoWLandmarksTrainingLib.phantom.head_shape import mirrored
from CoWLandmarksTrainingLib.phantom.pose import sample_pose
from CoWLandmarksTrainingLib.phantom.variants import VariantRates, Variants, sample_variants
from CoWLandmarksTrainingLib.phantom.vessel import Phantom, VesselKind

ANATOMY = default_anatomy()
VERSIONS = (3, 4)
"""Version 5 draws the heads of version 4."""
COUNT = 120
SIGN = {"R": 1.0, "L": -1.0}


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


@cache
def cohort(version: int) -> tuple[Phantom, ...]:
    return tuple(sample_phantom(generator(seed), version=version) for seed in range(COUNT))


@cache
def enriched_cohort(version: int) -> tuple[Phantom, ...]:
    rates = VariantRates().enriched(5.0)
    return tuple(sample_phantom(generator(1000 + seed), rates=rates, version=version) for seed in range(40))


def everybody() -> tuple[Phantom, ...]:
    """Heads of both versions."""
    return tuple(phantom for version in VERSIONS for phantom in cohort(version) + enriched_cohort(version))


def common_variants(**changes: object) -> Variants:
    """The commonest form of everything, with these changes."""
    both = {"R": "normal", "L": "normal"}
    base = replace(
        sample_variants(generator(0), VariantRates(occlusion=0, stenosis=0, aneurysm=0)),
        pcoa=both,
        a1=both,
        acoa="single",
        a2="paired",
        mca={"R": "bifurcation", "L": "bifurcation"},
        va=both,
        ophthalmic={"R": True, "L": True},
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def phantom_with(version: int, **changes: object) -> Phantom:
    return sample_phantom(generator(7), variants=common_variants(**changes), version=version)


def curve(phantom: Phantom, name: str) -> np.ndarray:
    return next(vessel.points for vessel in phantom.vessels if vessel.name == name)


def point(phantom: Phantom, code: str) -> np.ndarray:
    return phantom.landmarks[ANATOMY.index(code)]


def by_rule(phantom: Phantom, code: str) -> bool:
    return bool(phantom.by_rule[ANATOMY.index(code)])


def present(phantom: Phantom, code: str) -> bool:
    return bool(np.isfinite(point(phantom, code)).all())


def run_length(points: np.ndarray) -> float:
    return float(np.linalg.norm(points[1:] - points[:-1], axis=1).sum())


@pytest.mark.parametrize("version", VERSIONS)
def test_the_same_seed_gives_the_same_head_and_another_seed_another(version: int) -> None:
    first, again, other = (sample_phantom(generator(seed), version=version) for seed in (11, 11, 12))
    assert [vessel.name for vessel in first.vessels] == [vessel.name for vessel in again.vessels]
    for one, two in zip(first.vessels, again.vessels, strict=True):
        assert np.array_equal(one.points, two.points)
        assert np.array_equal(one.radii, two.radii)
    assert np.array_equal(first.landmarks, again.landmarks, equal_nan=True)
    assert not np.array_equal(first.landmarks, other.landmarks, equal_nan=True)


@pytest.mark.slow
def test_geometry_needs_neither_slicer_nor_simpleitk_nor_torch() -> None:
    code = (
        "import sys\n"
        "for name in ('SimpleITK', 'vtk', 'slicer', 'torch'): sys.modules[name] = None\n"
        "from CoWLandmarksTrainingLib.phantom import geometry\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


@pytest.mark.slow
def test_every_vessel_is_a_finite_evenly_spaced_tube() -> None:
    for phantom in everybody():
        assert len({vessel.name for vessel in phantom.vessels}) == len(phantom.vessels)
        for vessel in phantom.vessels:
            assert len(vessel.points) == len(vessel.radii) == len(vessel.path_mm) >= 2
            assert np.isfinite(vessel.points).all()
            assert np.isfinite(vessel.path_mm).all()
            assert 0.05 < vessel.radii.min() <= vessel.radii.max() < 9.0
            assert np.linalg.norm(np.diff(vessel.points, axis=0), axis=1).max() < 1.0


@pytest.mark.slow
def test_labels_are_those_of_the_anatomy_and_only_on_present_arteries() -> None:
    codes = {artery.label: artery.code for artery in ANATOMY.arteries}
    for phantom in everybody():
        labelled = {codes[vessel.label] for vessel in phantom.vessels if vessel.label}
        assert labelled == {code for code, there in phantom.artery_present.items() if there}
        for vessel in phantom.vessels:
            assert (vessel.label > 0) == (vessel.kind is VesselKind.ARTERY)
            if vessel.label:
                assert vessel.name in (codes[vessel.label], "ACoA-2", "BA-2")


@pytest.mark.slow
def test_every_present_artery_begins_and_ends_at_its_landmarks() -> None:
    for phantom in everybody():
        for artery in ANATOMY.arteries:
            if not phantom.artery_present[artery.code]:
                continue
            points = curve(phantom, artery.code)
            for code, end in ((artery.start, points[0]), (artery.end, points[-1])):
                if code is not None and present(phantom, code):
                    assert np.allclose(end, point(phantom, code), atol=1e-6), (artery.code, code)


@pytest.mark.slow
def test_an_end_of_a_present_artery_is_without_landmark_only_where_a1_is_absent() -> None:
    for phantom in everybody():
        for artery in ANATOMY.arteries:
            if phantom.artery_present[artery.code]:
                for code in (artery.start, artery.end):
                    if code is not None and not present(phantom, code):
                        assert code.endswith("A1-A2")
                        assert phantom.variants[f"{code[0]}-A1"] == "absent"


def flat_mm(phantom: Phantom) -> float:
    """How far from the extremum its landmark may lie: version 4 takes the middle of a flat one."""
    return 0.0 if phantom.version == 3 else 0.3


@pytest.mark.slow
@pytest.mark.parametrize("side", ["R", "L"])
def test_the_genu_of_the_anterior_cerebral_artery_is_its_most_anterior_point(side: str) -> None:
    for phantom in everybody():
        # A thin A2 beside a bihemispheric one has no genu of its own (test_phantom_patterns.py).
        if present(phantom, f"{side}-A2-A3") and phantom.artery_present[f"{side}-ACA-A2"]:
            trunk = np.concatenate([curve(phantom, f"{side}-ACA-A2"), curve(phantom, f"{side}-ACA-A3")])
            assert point(phantom, f"{side}-A2-A3")[1] >= trunk[:, 1].max() - flat_mm(phantom)


@pytest.mark.slow
@pytest.mark.parametrize("side", ["R", "L"])
def test_the_posterior_cerebral_artery_is_widest_at_p2a_p2p(side: str) -> None:
    for phantom in everybody():
        if present(phantom, f"{side}-P2A-P2P"):
            distal = curve(phantom, f"{side}-PCA-P2P")
            trunk = np.concatenate([curve(phantom, f"{side}-PCA-P2A"), distal])
            outward = SIGN[side] * trunk[:, 0]
            assert SIGN[side] * point(phantom, f"{side}-P2A-P2P")[0] >= outward.max() - flat_mm(phantom)
            assert run_length(distal) > 3.0


@pytest.mark.slow
@pytest.mark.parametrize("side", ["R", "L"])
def test_the_genu_of_the_siphon_is_its_most_anterior_point(side: str) -> None:
    for phantom in everybody():
        if present(phantom, f"{side}-C4-C5"):
            cavernous = curve(phantom, f"{side}-ICA-C4")[-20:]
            after = [curve(phantom, f"{side}-ICA-{part}") for part in ("C5", "C6")]
            siphon = np.concatenate([cavernous, *after])
            assert point(phantom, f"{side}-C4-C5")[1] >= siphon[:, 1].max() - flat_mm(phantom)


@pytest.mark.slow
@pytest.mark.parametrize("side", ["R", "L"])
def test_points_without_a_branch_lie_where_the_rule_puts_them(side: str) -> None:
    ruled = Counter[str]()
    for phantom in everybody():
        parts = {part: f"{side}-ICA-{part}" for part in ("C5", "C6", "C7")}
        if by_rule(phantom, f"{side}-C6-C7"):
            ruled["C6-C7"] += 1
            assert phantom.variants[f"{side}-PCoA"] == "absent"
            assert run_length(curve(phantom, parts["C7"])) == pytest.approx(ICA_RULE_MM, abs=1e-6)
        if by_rule(phantom, f"{side}-P1-P2A"):
            ruled["P1-P2A"] += 1
            assert run_length(curve(phantom, f"{side}-PCA-P1")) == pytest.approx(PCA_RULE_MM, abs=1e-6)
        if by_rule(phantom, f"{side}-C5-C6"):
            ruled["C5-C6"] += 1
            first, second = run_length(curve(phantom, parts["C5"])), run_length(curve(phantom, parts["C6"]))
            assert first / (first + second) == pytest.approx(OPHTHALMIC_RULE, abs=1e-6)
    assert min(ruled[name] for name in ("C6-C7", "P1-P2A", "C5-C6")) > 10


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_side_branches_begin_where_the_definitions_say(version: int) -> None:
    for phantom in cohort(version)[:60]:
        for vessel in phantom.vessels:
            side, name = vessel.name[:1], vessel.name[2:]
            if name == "OphA":
                assert np.allclose(vessel.points[0], point(phantom, f"{side}-C5-C6"))
            if name == "SCA" and phantom.variants.get(f"{side}-SCA") != "from P1":
                below = run_length(curve(phantom, "BA")[nearest(curve(phantom, "BA"), vessel.points[0]) :])
                assert 1.5 < below < 4.0


def nearest(points: np.ndarray, target: np.ndarray) -> int:
    return int(np.argmin(np.linalg.norm(points - target, axis=1)))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("side", ["R", "L"])
def test_an_absent_pcoa_leaves_its_points_found_by_rule(side: str, version: int) -> None:
    phantom = phantom_with(version, pcoa={"R": "absent", "L": "absent"})
    assert not phantom.artery_present[f"{side}-PCoA"]
    for code in ("C6-C7", "P1-P2A"):
        assert present(phantom, f"{side}-{code}") and by_rule(phantom, f"{side}-{code}")


@pytest.mark.parametrize("version", VERSIONS)
def test_an_absent_a1_takes_its_joint_with_the_a2_and_turns_the_carotid_into_m1(version: int) -> None:
    phantom = phantom_with(version, a1={"R": "absent", "L": "normal"})
    assert not phantom.artery_present["R-ACA-A1"]
    assert not present(phantom, "R-A1-A2")
    assert by_rule(phantom, "R-ICA-T") and not by_rule(phantom, "L-ICA-T")
    assert present(phantom, "R-A2-A3") and phantom.artery_present["R-ACA-A2"]
    assert np.array_equal(curve(phantom, "ACoA")[0], curve(phantom, "R-ACA-A2")[0])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_full_fetal_pca_has_no_p1_but_all_its_points(version: int) -> None:
    phantom = phantom_with(version, pcoa={"R": "fetal-full", "L": "normal"})
    assert not phantom.artery_present["R-PCA-P1"]
    assert phantom.artery_present["R-PCoA"]
    for code in ("R-P1-P2A", "BA-T", "R-C6-C7"):
        assert present(phantom, code) and not by_rule(phantom, code)
    trunk = np.concatenate([curve(phantom, "R-PCoA"), curve(phantom, "R-PCA-P2A")])
    distances = np.linalg.norm(trunk - point(phantom, "BA-T"), axis=1)
    assert np.linalg.norm(point(phantom, "R-P1-P2A") - point(phantom, "BA-T")) == pytest.approx(distances.min())


@pytest.mark.parametrize("version", VERSIONS)
def test_in_an_azygos_artery_the_points_of_both_sides_coincide(version: int) -> None:
    phantom = phantom_with(version, a2="azygos", acoa="absent")
    assert np.array_equal(point(phantom, "R-A2-A3"), point(phantom, "L-A2-A3"))
    assert np.array_equal(point(phantom, "R-A1-A2"), point(phantom, "L-A1-A2"))
    assert not phantom.artery_present["ACoA"]


@pytest.mark.parametrize("version", VERSIONS)
def test_without_acoa_both_joints_are_found_by_rule(version: int) -> None:
    phantom = phantom_with(version, acoa="absent")
    assert not phantom.artery_present["ACoA"]
    assert by_rule(phantom, "R-A1-A2") and by_rule(phantom, "L-A1-A2")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_single_middle_cerebral_trunk_has_its_point_at_the_genu(version: int) -> None:
    phantom = phantom_with(version, mca={"R": "single", "L": "trifurcation"})
    names = {vessel.name for vessel in phantom.vessels}
    assert by_rule(phantom, "R-M1-M2") and not by_rule(phantom, "L-M1-M2")
    assert "R-MCA-M2b" not in names and {"L-MCA-M2a", "L-MCA-M2b", "L-MCA-M2c"} <= names


@pytest.mark.parametrize("version", VERSIONS)
def test_an_early_division_lies_within_eight_millimetres(version: int) -> None:
    phantom = phantom_with(version, mca={"R": "early", "L": "bifurcation"})
    assert 3.0 < run_length(curve(phantom, "R-MCA-M1")) <= 8.5


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("occlusion", "lost", "gone"),
    [
        ("R-MCA-M1", {"R-M1-M2"}, {"R-MCA-M1"}),
        ("L-PCA-P2A", {"L-P2A-P2P"}, {"L-PCA-P2A"}),
        ("R-ACA-A2", {"R-A2-A3"}, {"R-ACA-A2"}),
        ("L-ICA", {"L-C4-C5", "L-C5-C6", "L-C6-C7"}, {"L-ICA-C5", "L-ICA-C6", "L-ICA-C7", "L-PCoA", "R-PCoA"}),
    ],
)
def test_beyond_an_occlusion_points_are_absent(occlusion: str, lost: set[str], gone: set[str], version: int) -> None:
    changes: dict[str, object] = {"occlusion": occlusion}
    if occlusion == "L-ICA":
        changes["pcoa"] = {"R": "absent", "L": "absent"}
    phantom = phantom_with(version, **changes)
    assert {code for code in ANATOMY.codes if not present(phantom, code)} == lost
    assert {code for code, there in phantom.artery_present.items() if not there} == gone
    assert occlusion in phantom.variants["disease"]
    assert any("stump" in vessel.name and vessel.label == 0 for vessel in phantom.vessels)


EXPECTED_MM = {
    # Between patients (3 of 4) and young volunteers (1 of 4), stats.md section 1.
    ("R-ICA-T", "L-ICA-T"): 29.3,
    ("R-M1-M2", "L-M1-M2"): 58.3,
    ("R-ICA-T", "R-M1-M2"): 16.6,
    ("R-ICA-T", "R-A1-A2"): 15.5,
    ("R-A1-A2", "L-A1-A2"): 4.65,
    ("R-C6-C7", "R-ICA-T"): 6.0,
    ("R-C5-C6", "R-C6-C7"): 9.1,
    ("R-C5-C6", "R-ICA-T"): 12.9,
    ("R-C5-C6", "L-C5-C6"): 19.2,
    ("R-C6-C7", "L-C6-C7"): 21.5,
    ("R-C6-C7", "R-P1-P2A"): 12.3,
    ("BA-T", "R-P1-P2A"): 7.4,
    ("BA-T", "R-ICA-T"): 19.7,
    ("BA-T", "R-A1-A2"): 20.1,
}


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("pair", EXPECTED_MM)
def test_mean_distances_are_those_of_real_heads(pair: tuple[str, str], version: int) -> None:
    distances = [np.linalg.norm(point(phantom, pair[0]) - point(phantom, pair[1])) for phantom in cohort(version)]
    assert float(np.nanmean(distances)) == pytest.approx(EXPECTED_MM[pair], rel=0.2)


EXPECTED_LENGTH_MM = {
    "R-ICA-C5": 4.0,
    "R-ICA-C6": 10.0,
    "R-ICA-C7": 6.5,
    "R-MCA-M1": 18.4,
    "R-ACA-A1": 19.0,
    "R-ACA-A2": 32.0,
    "R-PCoA": 15.5,
    "R-PCA-P1": 8.0,
    "R-PCA-P2A": 25.2,
    "BA": 28.0,
}


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("code", EXPECTED_LENGTH_MM)
def test_mean_lengths_are_those_of_real_heads(code: str, version: int) -> None:
    lengths = [run_length(curve(phantom, code)) for phantom in cohort(version) if phantom.artery_present[code]]
    assert float(np.mean(lengths)) == pytest.approx(EXPECTED_LENGTH_MM[code], rel=0.2)


EXPECTED_DIAMETER_MM = {
    "R-ICA-C7": (3.6, 0.15),
    "R-MCA-M1": (3.1, 0.15),
    "R-ACA-A1": (2.2, 0.15),
    "R-ACA-A2": (2.1, 0.15),
    "R-PCA-P2A": (2.3, 0.15),
    "BA": (3.3, 0.15),
    "R-PCoA": (1.2, 0.3),
}


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("code", EXPECTED_DIAMETER_MM)
def test_mean_diameters_are_the_published_ones(code: str, version: int) -> None:
    expected, tolerance = EXPECTED_DIAMETER_MM[code]
    diameters = [
        2 * float(np.median(vessel.radii))
        for phantom in cohort(version)
        for vessel in phantom.vessels
        if vessel.name == code
    ]
    assert float(np.mean(diameters)) == pytest.approx(expected, rel=tolerance)


def test_variants_have_their_prevalence() -> None:
    drawn = [sample_variants(generator(seed), VariantRates()) for seed in range(4000)]
    pcoa = Counter(variants.pcoa[side] for variants in drawn for side in "RL")
    a1 = Counter(form for variants in drawn for form in variants.a1.values())
    mca = Counter(variants.mca[side] for variants in drawn for side in "RL")
    acoa = Counter(variants.acoa for variants in drawn)
    for counts, total, name, rate in (
        (pcoa, 8000, "absent", 0.48),
        (pcoa, 8000, "hypoplastic", 0.20),
        (pcoa, 8000, "fetal-partial", 0.07),
        (pcoa, 8000, "fetal-full", 0.05),
        (a1, 4000, "hypoplastic", 0.12),
        (a1, 4000, "absent", 0.02),
        (mca, 8000, "bifurcation", 0.78),
        (mca, 8000, "trifurcation", 0.12),
        (mca, 8000, "early", 0.07),
        (acoa, 4000, "absent", 0.15),
        (acoa, 4000, "double", 0.05),
    ):
        assert counts[name] / total == pytest.approx(rate, abs=0.02), name
    assert sum(bool(variants.occlusion) for variants in drawn) / 4000 == pytest.approx(0.03, abs=0.01)


def test_enriched_rates_make_rare_variants_common_enough_to_measure() -> None:
    rates = VariantRates().enriched(5.0)
    assert rates.a1["absent"] > 0.05
    assert sum(rates.pcoa.values()) == pytest.approx(1.0)
    assert rates.pcoa["fetal-full"] > 3 * VariantRates().pcoa["fetal-full"] / 2


def test_the_mirrored_configuration_is_a_mirror_image() -> None:
    mean = default_atlas().shape_models["patients"].mean
    assert np.allclose(mirrored(mirrored(mean)), mean)
    assert np.allclose(mirrored(mean), mean, atol=0.02)


def test_poses_keep_to_their_ranges() -> None:
    for distribution, size in (("training", 0.10), ("clinical", 0.08)):
        for seed in range(100):
            pose = sample_pose(generator(seed), distribution)  # type: ignore[arg-type]
            scale = np.cbrt(np.linalg.det(pose[:3, :3]))
            assert abs(scale - 1) <= size + 1e-9
            assert np.allclose(pose[:3, :3] @ pose[:3, :3].T, scale**2 * np.eye(3))
            pitch = np.degrees(np.arctan2(pose[2, 1], pose[2, 2]))
            assert abs(pitch) <= 40 + 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_there_is_enough_to_confuse_landmarks_with(version: int) -> None:
    for phantom in cohort(version)[:50]:
        kinds = Counter(vessel.kind for vessel in phantom.vessels)
        twigs = sum("twig" in vessel.name for vessel in phantom.vessels)
        assert kinds[VesselKind.VEIN] >= 12
        assert 30 <= twigs <= 100
        assert sum("LSA" in vessel.name for vessel in phantom.vessels) >= 3
