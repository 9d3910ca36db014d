"""A scan is the same scan however its axes are stored: in memory, and through every file format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from CoWLandmarksLib.core.volume import Volume, apply_affine
from CoWLandmarksLib.detect.orientation import (
    StorageAxes,
    nearest_axes,
    orientation_code,
    stored_along_ras,
    tilt_degrees,
)
from CoWLandmarksLib.io.volume_io import WRITABLE, read_volume, write_volume
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from storage_orders import ALL_48, StorageOrder, stored

offsets = st.tuples(*[st.floats(-5000.0, 5000.0)] * 3)
angles = st.tuples(*[st.sampled_from([0.0, 45.0, -90.0, 135.0]) | st.floats(-180.0, 180.0)] * 3)


def scan(
    turn: tuple[float, ...] = (0.0, 0.0, 0.0), offset: tuple[float, ...] = (0.0, 0.0, 0.0), even: bool = False
) -> Volume:
    """Random voxels of different counts and sizes along i, j, k, turned by Euler angles in degrees."""
    shape = (8, 10, 12) if even else (9, 11, 13)
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix() * (0.4, 0.7, 1.1)
    matrix[:3, 3] = offset
    return Volume(np.random.default_rng(3).integers(-1000, 3000, shape).astype(np.int16), matrix)


def value_at(volume: Volume, ras: np.ndarray) -> float:
    i, j, k = np.rint(apply_affine(volume.grid.ras_to_ijk, ras)).astype(int)
    return float(volume.voxels[k, j, i])


@pytest.mark.parametrize("turn", [(0, 0, 0), (20, -35, 10), (45, 0, 0), (45, 45, 45)])
@pytest.mark.parametrize("even", [False, True])
def test_all_48_ways_to_store_a_scan_come_out_as_one(turn: tuple[float, ...], even: bool) -> None:
    original = scan(turn, (70.3, -1200.0, 4000.0), even)
    first = stored_along_ras(original)
    for storage in ALL_48:
        same = stored_along_ras(stored(original, storage))
        np.testing.assert_array_equal(same.voxels, first.voxels)
        np.testing.assert_allclose(same.ijk_to_ras, first.ijk_to_ras, rtol=0, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(angles, offsets, st.sampled_from(ALL_48), st.integers(0, 2**31))
def test_every_value_stays_at_its_place(
    turn: tuple[float, ...], offset: tuple[float, ...], storage: StorageOrder, seed: int
) -> None:
    volume = stored(scan(turn, offset), storage)
    along = stored_along_ras(volume)
    ijk = np.random.default_rng(seed).integers(0, volume.grid.size)
    ras = apply_affine(volume.ijk_to_ras, ijk)
    assert value_at(along, ras) == value_at(volume, ras)
    np.testing.assert_allclose(sorted(along.grid.spacing), sorted(volume.grid.spacing))


@settings(max_examples=60, deadline=None)
@given(angles, st.sampled_from(ALL_48))
def test_each_axis_is_used_once_and_runs_forward(turn: tuple[float, ...], storage: StorageOrder) -> None:
    order, _ = nearest_axes(stored(scan(turn), storage).ijk_to_ras)
    assert sorted(order) == [0, 1, 2]
    # The nearest axis is at most 54.7 degrees off; the last one left may be far from its own.
    along = stored_along_ras(stored(scan(turn), storage))
    directions = along.ijk_to_ras[:3, :3] / along.grid.spacing
    assert np.diag(directions).max() > 0.57
    assert (np.diag(directions) > -1e-3).all()
    assert nearest_axes(along.ijk_to_ras) == ((0, 1, 2), (False, False, False))


def test_a_scan_that_runs_along_ras_is_not_copied() -> None:
    volume = scan((5, -8, 12))
    assert stored_along_ras(volume) is volume
    assert stored_along_ras(stored(volume, ((2, 0, 1), (True, False, False)))).voxels.flags.c_contiguous


@pytest.mark.parametrize("suffix", WRITABLE)
@pytest.mark.parametrize("turn", [(0.0, 0.0, 0.0), (12.0, -7.0, 25.0)])
def test_through_files_all_48_ways_are_one_scan_to_a_thousandth_of_a_millimetre(
    tmp_path: Path, suffix: str, turn: tuple[float, ...]
) -> None:
    original = scan(turn, (-71.25, 33.5, 1203.0))
    for number, storage in enumerate(ALL_48):
        path = tmp_path / f"{number}{suffix}"
        write_volume(stored(original, storage), path, compress=False)
        read = read_volume(path)
        assert read.warnings == ()
        along, first = stored_along_ras(read), stored_along_ras(original)
        np.testing.assert_array_equal(along.voxels, first.voxels)
        np.testing.assert_allclose(along.grid.corners(), first.grid.corners(), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("signs", "code"), [((1, 1, 1), "RAS"), ((-1, -1, 1), "LPS"), ((-1, 1, -1), "LAI"), ((1, -1, -1), "RPI")]
)
def test_the_letters_tell_where_the_axes_point(signs: tuple[int, ...], code: str) -> None:
    matrix = np.diag([*signs, 1.0])
    assert orientation_code(matrix) == code
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("x", 10, degrees=True).as_matrix()
    assert orientation_code(turned @ matrix) == code
    assert tilt_degrees(turned @ matrix) == pytest.approx(10.0)
    assert orientation_code(matrix[:, [2, 0, 1, 3]]) == code[2] + code[:2]


@pytest.mark.parametrize("storage", ALL_48[::5])
def test_a_crop_is_turned_with_its_scan_and_back(storage: StorageOrder) -> None:
    volume = stored(scan((10, -20, 5)), storage)
    axes = StorageAxes.of(volume.grid)
    start, shape = (2, 1, 3), (4, 5, 6)
    crop = volume.voxels[3:7, 1:6, 2:8]
    assert crop.shape == shape
    turned, first = axes.turned(crop, start)
    whole = stored_along_ras(volume).voxels
    i, j, k = first
    depth, height, width = turned.shape
    np.testing.assert_array_equal(turned, whole[k : k + depth, j : j + height, i : i + width])
    back, again = axes.turned_back(turned, first)
    np.testing.assert_array_equal(back, crop)
    assert again == start
    assert np.shares_memory(back, volume.voxels)
