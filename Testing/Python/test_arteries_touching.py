"""Two arteries side by side without a gap: each keeps the vessel, and the voxels, that are nearer to its own axis."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from CoWLandmarksLib.arteries.lumen import evenly_spaced
from CoWLandmarksLib.arteries.tracer import ArteryTracer
from CoWLandmarksLib.core.artery_map import ArteryMap, ArteryState
from CoWLandmarksLib.core.volume import Modality, apply_affine
from CoWLandmarksTrainingLib.phantom.tubes import Capsules
from tube_circle import ANATOMY, landmarks, position, tube, tube_scan

pytestmark = pytest.mark.slow

APART_MM = 1.6


def beside_the_right_a2() -> np.ndarray:
    """Corners (4, 3) RAS mm of a left A2 that runs along the right one, axes 1.6 mm apart."""
    start, end = position("R-A1-A2"), position("R-A2-A3")
    shift = np.array([-APART_MM, 0.0, 0.0])
    return np.array(
        [
            position("L-A1-A2"),
            start + 0.25 * (end - start) + shift,
            start + 0.8 * (end - start) + shift,
            position("L-A2-A3"),
        ]
    )


def left_a2(width: float, level: float) -> tuple[Capsules, ...]:
    corners = beside_the_right_a2()
    return tuple(tube(a, b, width, level) for a, b in pairwise(corners))


@pytest.fixture(scope="module", params=[(1.4, 300.0), (1.8, 400.0)], ids=["thin and faint", "as wide"])
def touching(request: pytest.FixtureRequest) -> ArteryMap:
    scan = tube_scan(("L-ACA-A2",), extra=left_a2(*request.param))
    return ArteryTracer(scan, Modality.MRA, ANATOMY).trace(landmarks())


def distance_to(line: np.ndarray, points: np.ndarray) -> np.ndarray:
    fine = evenly_spaced(line, 0.1)
    return np.linalg.norm(points[:, None] - fine[None], axis=-1).min(axis=1)


def test_both_arteries_are_found_on_their_own_vessel(touching: ArteryMap) -> None:
    right = np.array([position("R-A1-A2"), position("R-A2-A3")])
    for code, line in (("R-ACA-A2", right), ("L-ACA-A2", beside_the_right_a2())):
        trace = touching.artery(code)
        assert trace.state is ArteryState.PRESENT, trace.reason
        assert np.median(distance_to(line, trace.centerline)) < 0.35
        assert distance_to(line, trace.centerline).max() < 1.2


def test_each_keeps_the_voxels_nearer_to_its_axis(touching: ArteryMap) -> None:
    right = np.array([position("R-A1-A2"), position("R-A2-A3")])
    lines = {"R-ACA-A2": right, "L-ACA-A2": beside_the_right_a2()}
    for code, other in (("R-ACA-A2", "L-ACA-A2"), ("L-ACA-A2", "R-ACA-A2")):
        voxels = np.argwhere(touching.labels == ANATOMY.artery(code).label)[:, ::-1] + touching.start
        places = apply_affine(touching.scan_grid.ijk_to_ras, voxels)
        assert len(places) > 100
        nearer = distance_to(lines[code], places) < distance_to(lines[other], places) + 0.3
        assert nearer.mean() > 0.9, code


def test_one_vessel_is_not_taken_for_two() -> None:
    scan = tube_scan(("L-ACA-A2",))
    traced = ArteryTracer(scan, Modality.MRA, ANATOMY).trace(landmarks())
    assert traced.artery("R-ACA-A2").state is ArteryState.PRESENT
    assert not traced.artery("L-ACA-A2").traced
