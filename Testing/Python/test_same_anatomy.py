"""One anatomy in scans of every geometry: the same points, whatever the voxels, directions and offsets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from beads import bead_model, bead_places, bead_scan
from CoWLandmarksLib.core.detection import Detection, LandmarkState
from CoWLandmarksLib.core.volume import Grid, Volume, apply_affine, axis_aligned_grid
from CoWLandmarksLib.detect.detector import Detector
from CoWLandmarksLib.io.volume_io import read_volume, write_volume
from CoWLandmarksTrainingLib.phantom.pose import pose_matrix
from storage_orders import ALL_48, stored

POSE = pose_matrix(11, -7, 6, 1.04, np.array([3.0, -4.0, 2.0]))
CENTRE = apply_affine(POSE, np.array([0.0, 14.0, 2.5]))
EXTENT_MM = np.array([86.0, 82.0, 80.0])


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(bead_model(), "cpu", mirror=False)


def points(detection: Detection) -> np.ndarray:
    """(19, 3) RAS mm; every landmark has to be found."""
    assert {estimate.state for estimate in detection.landmarks} == {LandmarkState.FOUND}
    return np.array([estimate.position for estimate in detection.landmarks])


def through_a_file(volume: Volume, path: Path) -> Volume:
    write_volume(volume, path, compress=False)
    return read_volume(path)


def field(spacing: tuple[float, float, float]) -> Grid:
    size = np.ceil(EXTENT_MM / spacing).astype(int)
    return axis_aligned_grid(CENTRE, np.array(spacing), (int(size[2]), int(size[1]), int(size[0])))


def turned(grid: Grid, angles: tuple[float, float, float]) -> Grid:
    """The grid turned about its centre by pitch, roll and yaw in degrees."""
    turn = pose_matrix(*angles, 1.0, np.zeros(3))
    turn[:3, 3] = grid.centre - turn[:3, :3] @ grid.centre
    return grid.transformed(turn)


# 187 voxels of 0.46 mm are averaged two by two, and one is left over at one end or the other.
@pytest.mark.slow
@pytest.mark.parametrize("spacing", [(1.7, 1.9, 2.1), (0.46, 1.9, 2.0)])
def test_reordered_axes_move_no_point(detector: Detector, tmp_path: Path, spacing: tuple[float, float, float]) -> None:
    scan = bead_scan(turned(field(spacing), (4, -9, 15)), apply_affine(POSE, bead_places()))
    expected = points(detector.detect(through_a_file(scan, tmp_path / "first.nrrd")))
    np.testing.assert_allclose(expected, apply_affine(POSE, bead_places()), atol=0.1)
    for number in (5, 19, 26, 47):
        read = through_a_file(stored(scan, ALL_48[number]), tmp_path / f"{number}.nii")
        distance = np.linalg.norm(points(detector.detect(read)) - expected, axis=1)
        assert distance.max() < 0.001  # the contract says 0.05; only the rounding of headers is left


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spacing", "angles", "offset"),
    [
        ((0.25, 1.3, 1.3), (0, 0, 0), (0, 0, 0)),
        ((1.3, 0.25, 1.2), (25, -14, 40), (0, 0, 0)),
        ((0.6, 0.9, 1.3), (-12, 33, 8), (4000, -2500, 1700)),
        ((1.3, 1.3, 1.3), (0, 0, 90), (-60, 3000, 20)),
    ],
)
def test_resampled_scans_move_no_point_by_half_a_millimetre(
    detector: Detector,
    tmp_path: Path,
    spacing: tuple[float, float, float],
    angles: tuple[float, float, float],
    offset: tuple[float, float, float],
) -> None:
    away = np.eye(4)
    away[:3, 3] = offset
    places = apply_affine(away @ POSE, bead_places())
    scan = bead_scan(turned(field(spacing).transformed(away), angles), places)
    found = points(detector.detect(through_a_file(scan, tmp_path / "scan.nii.gz")))
    assert np.linalg.norm(found - places, axis=1).max() < 0.5
