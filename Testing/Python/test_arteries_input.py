"""Arteries from landmarks and scans as they come: points missing, swapped, outside; scans clipped, masked, empty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from CoWLandmarksLib.arteries.tracer import ArteryTracer
from CoWLandmarksLib.core.artery_map import ArteryMap, ArteryState
from CoWLandmarksLib.core.detection import LandmarkEstimate, LandmarkState
from CoWLandmarksLib.core.mean_landmarks import BASILAR_JUNCTION_MM
from CoWLandmarksLib.core.volume import Modality, Volume
from tube_circle import ANATOMY, cut, diameter, landmarks, position, tube, tube_scan

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scan() -> Volume:
    return tube_scan(spacing=(0.8, 0.8, 0.9))


def trace(volume: Volume, points: Sequence[LandmarkEstimate], modality: Modality = Modality.MRA) -> ArteryMap:
    return ArteryTracer(volume, modality, ANATOMY).trace(points)


def check_whole(traced: ArteryMap) -> None:
    """Every artery has a state; every one that is not traced has a reason and no voxels."""
    assert [found.code for found in traced.arteries] == [artery.code for artery in ANATOMY.arteries]
    for found in traced.arteries:
        has_voxels = bool((traced.labels == ANATOMY.artery(found.code).label).any())
        assert 0.0 <= found.confidence <= 1.0
        assert found.traced == (found.measures is not None) == (len(found.centerline) > 0)
        if not found.traced:
            assert found.reason, found.code
            assert not has_voxels, found.code
    assert traced.summary.endswith(".")


def test_without_any_landmark_nothing_is_traced(scan: Volume) -> None:
    traced = trace(scan, [])
    check_whole(traced)
    assert {found.state for found in traced.arteries} == {ArteryState.UNKNOWN}


def test_two_landmarks_give_the_artery_between_them_and_reasons_for_the_rest(scan: Volume) -> None:
    traced = trace(scan, [point for point in landmarks() if point.code in ("R-ICA-T", "R-M1-M2")])
    check_whole(traced)
    assert [found.code for found in traced.arteries if found.traced] == ["R-MCA-M1"]
    assert traced.artery("R-ACA-A1").reason == "its end R-A1-A2 is not placed"


def test_the_arteries_of_an_absent_landmark_are_absent_and_both_ends_outside_means_outside(scan: Volume) -> None:
    states = {"L_M1_M2": LandmarkState.ABSENT, "R_C4_C5": LandmarkState.OUTSIDE, "R_C5_C6": LandmarkState.OUTSIDE}
    traced = trace(scan, landmarks(**states))
    check_whole(traced)
    assert traced.artery("L-MCA-M1").state is ArteryState.ABSENT
    assert traced.artery("L-MCA-M1").reason == "its end L-M1-M2 is absent"
    assert traced.artery("R-ICA-C5").state is ArteryState.OUTSIDE


def test_an_artery_with_one_end_beyond_the_scan_runs_on_to_its_edge(scan: Volume) -> None:
    clipped = cut(scan, (0, 0, 0), (int(scan.grid.size[0]) - 20, int(scan.grid.size[1]), int(scan.grid.size[2])))
    edge = float(clipped.grid.corners()[:, 0].max())
    assert position("R-ICA-T")[0] < edge < position("R-M1-M2")[0]
    points = [
        replace(point, position=None, state=LandmarkState.OUTSIDE) if point.code == "R-M1-M2" else point
        for point in landmarks()
    ]
    traced = trace(clipped, points)
    check_whole(traced)
    line = traced.artery("R-MCA-M1").centerline
    assert np.linalg.norm(line[0] - position("R-ICA-T")) < 1.5
    assert edge - 2.5 < line[-1][0] <= edge


def test_the_basilar_artery_ends_where_the_vertebral_arteries_part_or_the_scan_ends() -> None:
    junction = np.array([0.0, -2.0, -25.5])
    vertebral = tuple(tube(junction, junction + np.array([side * 9.0, -4.0, -16.0]), 2.8, 400.0) for side in (1, -1))
    scan = tube_scan(spacing=(0.8, 0.8, 0.8), extra=vertebral, extent=(84.0, 84.0, 84.0))
    parted = trace(scan, landmarks()).artery("BA")
    assert np.linalg.norm(parted.centerline[0] - junction) < 4.0
    bottom = 40
    clipped = cut(scan, (0, 0, bottom), (int(scan.grid.size[0]), int(scan.grid.size[1]), int(scan.grid.size[2])))
    edge = float(clipped.grid.corners()[:, 2].min())
    assert -25.5 < edge < -5.0
    assert trace(clipped, landmarks()).artery("BA").centerline[0][2] == pytest.approx(edge, abs=2.0)


@pytest.mark.parametrize("codes", [("R-A1-A2", "L-A1-A2"), ("R-ICA-T", "R-M1-M2")])
def test_two_points_at_one_place_give_a_state_and_a_reason(scan: Volume, codes: tuple[str, str]) -> None:
    there = landmarks()[ANATOMY.index(codes[0])].position
    points = [replace(point, position=there) if point.code == codes[1] else point for point in landmarks()]
    traced = trace(scan, points)
    check_whole(traced)
    between = next(a.code for a in ANATOMY.arteries if {a.start, a.end} == set(codes))
    expected = ArteryState.ABSENT if between == "ACoA" else ArteryState.UNKNOWN
    assert traced.artery(between).state is expected
    assert "at the same place" in traced.artery(between).reason


def test_swapped_sides_and_points_outside_the_scan_do_not_stop_the_rest(scan: Volume) -> None:
    swap = {"R-M1-M2": "L-M1-M2", "L-M1-M2": "R-M1-M2"}
    places = {point.code: point.position for point in landmarks()}
    points = [replace(point, position=places[swap.get(point.code, point.code)]) for point in landmarks()]
    points = [replace(p, position=(500.0, 0.0, 0.0)) if p.code == "L-P2A-P2P" else p for p in points]
    traced = trace(scan, points)
    check_whole(traced)
    assert traced.artery("R-ACA-A2").state is ArteryState.PRESENT
    assert not traced.artery("L-PCA-P2A").traced or len(traced.artery("L-PCA-P2A").centerline) > 0


@pytest.mark.parametrize("modality", list(Modality))
def test_noise_alone_has_no_arteries_that_can_be_absent(scan: Volume, modality: Modality) -> None:
    noise = np.random.default_rng(5).normal(100.0, 30.0, scan.voxels.shape).astype(np.float32)
    traced = trace(replace(scan, voxels=noise, modality=modality), landmarks(), modality)
    check_whole(traced)
    optional = [found for found in traced.arteries if ANATOMY.artery(found.code).optional]
    assert sum(found.traced for found in optional) <= 2


@pytest.mark.parametrize("kind", ["binary", "background zeroed", "eight bit"])
def test_processed_scans_are_traced_as_well(scan: Volume, kind: str) -> None:
    voxels = scan.voxels
    changed = {
        "binary": (voxels > 250.0).astype(np.uint8),
        "background zeroed": np.where(voxels > 180.0, voxels, 0.0).astype(np.float32),
        "eight bit": np.clip(voxels / 2.0, 0, 255).astype(np.uint8),
    }[kind]
    traced = trace(replace(scan, voxels=changed), landmarks())
    check_whole(traced)
    assert sum(found.traced for found in traced.arteries) >= 19


def test_bone_beside_the_carotid_is_not_taken_for_its_lumen() -> None:
    beside = tuple(
        tube(position(f"{side}-C4-C5") + shift, position(f"{side}-C6-C7") + shift, 5.0, 1100.0)
        for side, sign in (("R", 1.0), ("L", -1.0))
        for shift in (np.array([sign * 4.6, 0.0, 0.0]),)
    )
    scan = tube_scan(modality=Modality.CTA, extra=beside)
    traced = trace(scan, landmarks(), Modality.CTA)
    check_whole(traced)
    for code in ("R-ICA-C6", "L-ICA-C6"):
        measures = traced.artery(code).measures
        assert measures is not None
        assert measures.diameter_mean_mm == pytest.approx(3.6, abs=0.5)
        k, j, i = np.nonzero(traced.labels == ANATOMY.artery(code).label)
        values = scan.voxels[k + traced.start[2], j + traced.start[1], i + traced.start[0]]
        assert np.mean(values > 700.0) < 0.03


def test_carotid_arteries_that_are_brighter_than_the_others_are_no_bone() -> None:
    carotid = tuple(artery for artery in ANATOMY.arteries if "ICA" in artery.code)
    bright = tuple(tube(position(str(a.start)), position(str(a.end)), diameter(a.code), 600.0) for a in carotid)
    scan = tube_scan(left_out=tuple(a.code for a in carotid), modality=Modality.CTA, extra=bright)
    traced = trace(scan, landmarks(), Modality.CTA)
    for artery in carotid:
        measures = traced.artery(artery.code).measures
        assert measures is not None, artery.code
        assert measures.diameter_mean_mm == pytest.approx(3.6, abs=0.5), artery.code


def test_where_a_window_cuts_off_bone_the_basilar_artery_stays_out_of_the_clivus() -> None:
    axis = np.array([position("BA-T"), BASILAR_JUNCTION_MM]) + np.array([0.0, 10.0, -6.0])
    clivus = tube(axis[0], axis[1] + [0.0, 0.0, -15.0], 16.0, 1100.0)
    scan = tube_scan(modality=Modality.CTA, extra=(clivus,))
    windowed = np.rint(255.0 * np.clip((scan.voxels + 160.0) / 400.0, 0.0, 1.0)).astype(np.uint8)
    traced = trace(replace(scan, voxels=windowed), landmarks(), Modality.CTA)
    basilar = traced.artery("BA")
    assert basilar.measures is not None
    assert basilar.measures.diameter_mean_mm == pytest.approx(3.2, abs=0.6)
    k, j, i = np.nonzero(traced.labels == ANATOMY.artery("BA").label)
    values = scan.voxels[k + traced.start[2], j + traced.start[1], i + traced.start[0]]
    assert np.mean(values > 700.0) < 0.05
