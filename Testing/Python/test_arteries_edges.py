"""Arteries at the edge of a scan, or of what a mask left of it: traced to there, wherever it cuts the circle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from CoWLandmarksLib.arteries.tracer import ArteryTracer
from CoWLandmarksLib.core.artery_map import ArteryMap, ArteryState
from CoWLandmarksLib.core.detection import LandmarkEstimate, LandmarkState
from CoWLandmarksLib.core.mean_landmarks import BASILAR_JUNCTION_MM
from CoWLandmarksLib.core.volume import EDGE_MM, Modality, Volume, apply_affine
from tube_circle import ANATOMY, cut, landmarks, position, tube, tube_scan

FILL = 0.0
PLANES = {
    "right": (0, 1.0, 24.0, ("R-MCA-M1",)),
    "left": (0, -1.0, -24.0, ("L-MCA-M1",)),
    "front": (1, 1.0, 31.0, ("R-ACA-A2", "L-ACA-A2")),
    "back": (1, -1.0, -7.0, ("R-PCA-P2A", "L-PCA-P2A")),
    "top": (2, 1.0, 14.0, ("R-ACA-A2", "L-ACA-A2")),
    "bottom": (2, -1.0, -8.5, ("BA",)),
    "bottom, through the siphon": (2, -1.0, -4.0, ("R-ICA-C6", "L-ICA-C6")),
}
"""Axis, side, RAS mm of a plane, and arteries that it cuts."""


@pytest.fixture(scope="module")
def scan() -> Volume:
    return tube_scan(spacing=(0.8, 0.8, 0.8))


def beyond_plane(places: np.ndarray, plane: str) -> np.ndarray:
    axis, side, at, _ = PLANES[plane]
    return np.asarray(side * (places[..., axis] - at) > 0.0)


def ended(scan: Volume, plane: str, how: str) -> Volume:
    """The scan without what lies beyond a plane: cut off, or filled with a constant."""
    axis, side, at, _ = PLANES[plane]
    grid = scan.grid
    if how == "masked":
        k, j, i = np.indices(grid.shape)
        places = apply_affine(grid.ijk_to_ras, np.stack([i, j, k], axis=-1))
        return replace(scan, voxels=np.where(beyond_plane(places, plane), np.float32(FILL), scan.voxels))
    index = round(float((at - grid.ijk_to_ras[axis, 3]) / grid.spacing[axis]))
    low, high = [0, 0, 0], [int(n) for n in grid.size]
    (high if side > 0 else low)[axis] = index
    return cut(scan, (low[0], low[1], low[2]), (high[0], high[1], high[2]))


def points_before(plane: str) -> list[LandmarkEstimate]:
    """All landmarks; those beyond the plane or just before it are outside."""
    axis, side, at, _ = PLANES[plane]
    return [
        LandmarkEstimate(point.code, None, LandmarkState.OUTSIDE, 1.0, 0.0)
        if side * (position(point.code)[axis] - at) > -EDGE_MM
        else point
        for point in landmarks()
    ]


def trace(scan: Volume, points: list[LandmarkEstimate], modality: Modality = Modality.MRA) -> ArteryMap:
    return ArteryTracer(scan, modality, ANATOMY).trace(points)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["cut", "masked"])
@pytest.mark.parametrize("plane", list(PLANES))
def test_an_artery_is_followed_to_where_the_scan_or_its_signal_ends(scan: Volume, plane: str, how: str) -> None:
    axis, _, at, codes = PLANES[plane]
    traced = trace(ended(scan, plane, how), points_before(plane))
    for code in codes:
        found, artery = traced.artery(code), ANATOMY.artery(code)
        assert found.state is ArteryState.PRESENT, f"{code}: {found.reason}"
        start = np.array(BASILAR_JUNCTION_MM) if artery.start is None else position(artery.start)
        end = position(str(artery.end))
        along = (end - start) / np.linalg.norm(end - start)
        offset = found.centerline - start
        across = np.linalg.norm(offset - np.outer(offset @ along, along), axis=1)
        assert np.median(across) < 0.5, code
        assert across.max() < 1.6, code
        nearest = np.abs(found.centerline[:, axis] - at).min()
        assert nearest < 2.0, f"{code} ends {nearest:.1f} mm before the edge"


def test_an_artery_that_ends_in_tissue_before_the_edge_is_absent() -> None:
    start, end = position("R-ICA-T"), position("R-M1-M2")
    stump = tube(start, start + 0.25 * (end - start), 2.8, 400.0)
    occluded = tube_scan(("R-MCA-M1",), extra=(stump,), spacing=(0.8, 0.8, 0.8))
    traced = trace(ended(occluded, "right", "cut"), points_before("right"))
    assert traced.artery("R-MCA-M1").state is ArteryState.ABSENT
    assert "no vessel stands out" in traced.artery("R-MCA-M1").reason


@pytest.mark.slow
def test_without_a1_the_other_side_feeds_an_a2_that_leaves_the_scan(scan: Volume) -> None:
    points = [
        LandmarkEstimate(point.code, None, LandmarkState.ABSENT, 1.0, 0.0) if point.code == "R-A1-A2" else point
        for point in points_before("top")
    ]
    without = tube_scan(("R-ACA-A1",), spacing=(0.8, 0.8, 0.8))
    traced = trace(ended(without, "top", "cut"), points)
    assert traced.artery("R-ACA-A1").state is ArteryState.ABSENT
    for code in ("ACoA", "R-ACA-A2", "L-ACA-A2"):
        assert traced.artery(code).traced, f"{code}: {traced.artery(code).reason}"
    a2 = traced.artery("R-ACA-A2").centerline
    assert (a2[len(a2) // 2 :, 0] > 0.0).all()


def test_what_both_ends_lie_beyond_is_outside(scan: Volume) -> None:
    traced = trace(ended(scan, "front", "cut"), points_before("front"))
    far = {"R-A1-A2", "R-A2-A3"}
    points = [
        LandmarkEstimate(point.code, None, LandmarkState.OUTSIDE, 1.0, 0.0) if point.code in far else point
        for point in landmarks()
    ]
    assert traced.artery("R-ACA-A2").traced
    assert trace(scan, points).artery("R-ACA-A2").state is ArteryState.OUTSIDE
