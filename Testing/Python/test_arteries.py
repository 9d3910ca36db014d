"""Arteries traced on a circle of straight tubes: what is where, how wide it is, and what is said of what is missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from CoWLandmarksLib.arteries.lumen import RAYS, CrossSections, smoothed
from CoWLandmarksLib.arteries.presence import HIDDEN_RADIUS_MM, PathEvidence, log_odds, own_radius, why_absent
from CoWLandmarksLib.arteries.tracer import ArteryTracer
from CoWLandmarksLib.core.artery_map import ArteryMap, ArteryState
from CoWLandmarksLib.core.detection import LandmarkState
from CoWLandmarksLib.core.volume import Modality
from CoWLandmarksTrainingLib.phantom.phantom_cohort import make_case
from storage_orders import stored
from tube_circle import ANATOMY, diameter, landmarks, position, tube_scan


@pytest.fixture(scope="module")
def whole() -> ArteryMap:
    return ArteryTracer(tube_scan(), Modality.MRA, ANATOMY).trace(landmarks())


@pytest.mark.slow
def test_all_arteries_of_a_complete_circle_are_found(whole: ArteryMap) -> None:
    assert {trace.code: trace.state for trace in whole.arteries} == {
        artery.code: ArteryState.PRESENT for artery in ANATOMY.arteries
    }
    assert whole.summary.startswith("The circle is complete")


def test_the_centreline_runs_along_the_tube_from_landmark_to_landmark(whole: ArteryMap) -> None:
    for artery in ANATOMY.arteries:
        if artery.start is None:
            continue
        start, end = position(artery.start), position(str(artery.end))
        line = whole.artery(artery.code).centerline
        along = (end - start) / np.linalg.norm(end - start)
        offset = line - start
        across = np.linalg.norm(offset - np.outer(offset @ along, along), axis=1)
        assert np.median(across) < 0.35, artery.code
        assert np.linalg.norm(line[0] - start) < 1.0, artery.code
        assert np.linalg.norm(line[-1] - end) < 1.0, artery.code


def test_the_mean_diameter_is_that_of_the_tube(whole: ArteryMap) -> None:
    for trace in whole.arteries:
        assert trace.measures is not None
        assert trace.measures.diameter_mean_mm == pytest.approx(diameter(trace.code), rel=0.15, abs=0.15), trace.code


def test_every_label_lies_on_its_own_side(whole: ArteryMap) -> None:
    for artery in ANATOMY.arteries:
        k, j, i = np.nonzero(whole.labels == artery.label)
        assert len(i) > 0, artery.code
        ijk = np.stack([i, j, k], axis=1) + np.array(whole.start)
        right = (ijk @ whole.scan_grid.ijk_to_ras[:3, :3].T + whole.scan_grid.ijk_to_ras[:3, 3])[:, 0]
        if artery.side != "midline":
            sign = 1.0 if artery.side == "right" else -1.0
            assert np.mean(sign * right > 0) > 0.9, artery.code


@pytest.mark.slow
def test_an_artery_that_is_not_there_is_absent_with_a_reason() -> None:
    missing = ("R-PCoA", "L-PCA-P1")
    traced = ArteryTracer(tube_scan(left_out=missing), Modality.MRA, ANATOMY).trace(landmarks())
    for code in missing:
        trace = traced.artery(code)
        assert trace.state is ArteryState.ABSENT
        assert trace.reason
        assert not (traced.labels == ANATOMY.artery(code).label).any()
    assert "right PCoA absent" in traced.summary
    assert sum(trace.traced for trace in traced.arteries) == 18


@pytest.mark.slow
def test_the_path_of_an_absent_artery_takes_nothing_from_the_one_it_runs_in() -> None:
    case = make_case(
        7700, 200_016, Modality.CTA, version=3
    )  # without a PCoA, whose cheapest path leads through the right P1
    traced = ArteryTracer(case.volume, Modality.CTA, ANATOMY).trace([replace(e, by_rule=False) for e in case.truth])
    assert traced.artery("R-PCoA").state is ArteryState.ABSENT
    assert traced.artery("R-PCA-P1").state is ArteryState.PRESENT
    found = traced.label_volume("found").voxels == ANATOMY.artery("R-PCA-P1").label
    truth = case.labels.voxels == ANATOMY.artery("R-PCA-P1").label
    assert 2.0 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.8


@pytest.mark.slow
def test_however_the_scan_is_stored_the_arteries_are_the_same(whole: ArteryMap) -> None:
    storage = ((2, 0, 1), (True, False, True))
    scan = stored(tube_scan(), storage)
    tracer = ArteryTracer(scan, Modality.MRA, ANATOMY)
    other = tracer.trace(landmarks())
    for one, same in zip(whole.arteries, other.arteries, strict=True):
        assert one.state is same.state
        np.testing.assert_allclose(same.centerline, one.centerline, atol=1e-6)
    there = stored(whole.label_volume("a"), storage)
    here = other.label_volume("b")
    np.testing.assert_array_equal(here.voxels, there.voxels)
    np.testing.assert_allclose(here.ijk_to_ras, scan.ijk_to_ras)
    again = ArteryTracer(scan, Modality.MRA, ANATOMY, other).trace(landmarks())
    np.testing.assert_array_equal(again.label_volume("c").voxels, here.voxels)


@pytest.mark.slow
@pytest.mark.parametrize("side", ["R", "L"])
def test_without_an_a1_its_a2_and_the_anterior_communicating_artery_are_traced_from_the_other_side(side: str) -> None:
    scan = tube_scan(left_out=(f"{side}-ACA-A1",))
    points = landmarks(**{f"{side}_A1_A2": LandmarkState.ABSENT})
    tracer = ArteryTracer(scan, Modality.MRA, ANATOMY)
    traced = tracer.trace(points)
    assert traced.artery(f"{side}-ACA-A1").state is ArteryState.ABSENT
    junction, far = position(f"{side}-A1-A2"), position(f"{side}-A2-A3")
    a2, acoa = traced.artery(f"{side}-ACA-A2"), traced.artery("ACoA")
    for trace, expected in ((a2, diameter("R-ACA-A2")), (acoa, diameter("ACoA"))):
        assert trace.state is ArteryState.PRESENT
        assert trace.measures is not None
        assert trace.measures.diameter_mean_mm == pytest.approx(expected, abs=0.4)
    assert np.linalg.norm(a2.centerline[0] - junction) < 2.0
    assert np.linalg.norm(a2.centerline[-1] - far) < 1.0
    ends = acoa.centerline[[0, -1]]
    assert np.linalg.norm(ends[0] - position("R-A1-A2")) < 2.0
    assert np.linalg.norm(ends[1] - position("L-A1-A2")) < 2.0
    other = "L" if side == "R" else "R"
    moved = [
        replace(p, position=tuple(np.array(p.position) + 0.5)) if p.code == f"{other}-A1-A2" else p for p in points
    ]
    again = tracer.trace(moved)
    changed = {t.code for t, b in zip(again.arteries, traced.arteries, strict=True) if t is not b}
    assert f"{side}-ACA-A2" in changed
    assert again.artery(f"{side}-ACA-A2").state is ArteryState.PRESENT


@pytest.mark.slow
def test_without_a1_and_without_an_a2_of_its_own_nothing_is_made_up() -> None:
    scan = tube_scan(left_out=("L-ACA-A1", "L-ACA-A2", "ACoA"))
    traced = ArteryTracer(scan, Modality.MRA, ANATOMY).trace(landmarks(L_A1_A2=LandmarkState.ABSENT))
    assert not traced.artery("L-ACA-A2").traced
    assert not traced.artery("ACoA").traced
    assert traced.artery("R-ACA-A2").state is ArteryState.PRESENT


@pytest.mark.parametrize(
    ("gap_mm", "contrast", "present"), [(1.1, 0.40, False), (1.1, 0.80, True), (2.1, 0.20, False), (2.1, 0.40, True)]
)
def test_what_blur_leaves_of_a_gap_between_close_arteries_is_no_artery_and_a_wide_gap_is_filled_less(
    gap_mm: float, contrast: float, present: bool
) -> None:
    found = PathEvidence(np.ones(3, bool), gap_mm, 0.6, contrast, 0.75, 0.83, 10.0, 1.0)
    assert (log_odds(found, "ACoA") > 0.0) is present
    assert ("blur" in why_absent(found, "ACoA")) is not present


@pytest.mark.parametrize("apart_mm", [0.0, 1e-10, 1e-4])
def test_two_landmarks_at_one_place_need_no_memory(apart_mm: float) -> None:
    points = np.linspace([0.0, 0.0, 0.0], [apart_mm, 0.0, 0.0], 3)
    np.testing.assert_array_equal(smoothed(points, 1.0), points)


def test_a_faint_pcoa_is_taken_for_one_rather_than_another_faint_artery() -> None:
    faint = PathEvidence(np.ones(9, bool), 6.0, 0.38, 0.38, 0.75, 0.85, 3.0, 1.2)
    present = {code: log_odds(faint, code) > 0.0 for code in ("R-PCoA", "L-PCA-P1", "ACoA")}
    assert present == {"R-PCoA": True, "L-PCA-P1": False, "ACoA": False}


def test_an_artery_hidden_in_those_it_joins_does_not_count_as_wide_as_they_are() -> None:
    points = np.stack([0.4 * np.arange(6), np.zeros(6), np.zeros(6)], axis=1)
    flat = np.ones(6)
    tangents, normals = np.tile([1.0, 0.0, 0.0], (6, 1)), np.tile(np.eye(3)[1:], (6, 1, 1))
    sections = CrossSections(points, tangents, normals, np.full((6, RAYS), 1.3), flat, 0.0 * flat, flat)
    hidden, seen = np.zeros(6, bool), np.ones(6, bool)
    assert own_radius(sections, hidden, bridge=True) == HIDDEN_RADIUS_MM
    assert own_radius(sections, hidden, bridge=False) == pytest.approx(1.3)
    assert own_radius(sections, seen, bridge=True) == pytest.approx(1.3)


@pytest.mark.slow
def test_a_short_communicating_artery_between_close_arteries_is_distinguished_from_a_gap() -> None:
    wide = {f"{side}-ACA-{part}": 4.6 for side in "RL" for part in ("A1", "A2")}
    for left_out, state in (((), ArteryState.PRESENT), (("ACoA",), ArteryState.ABSENT)):
        scan = tube_scan(left_out=left_out, diameters={**wide, "ACoA": 2.4})
        assert ArteryTracer(scan, Modality.MRA, ANATOMY).trace(landmarks()).artery("ACoA").state is state
