"""Geometry, resampling and validation of volumes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from CoWLandmarksLib.core.coordinates import swap_lps_ras, swap_lps_ras_matrix
from CoWLandmarksLib.core.errors import VolumeError
from CoWLandmarksLib.core.volume import Grid, Volume, apply_affine, axis_aligned_grid, validated
from CoWLandmarksLib.networks.resampling import resample
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

coordinate = st.floats(-3000.0, 3000.0)
points = st.lists(st.tuples(coordinate, coordinate, coordinate), min_size=1, max_size=5).map(np.array)
rotations = st.tuples(*[st.floats(-180.0, 180.0)] * 3).map(
    lambda angles: Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
)
spacings = st.tuples(*[st.floats(0.2, 3.0)] * 3).map(np.array)


@st.composite
def affines(draw: st.DrawFn) -> np.ndarray:
    """IJK-to-RAS matrices: rotation, spacing, perhaps a flip, offset of up to metres."""
    matrix = np.eye(4)
    flip = np.array(draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3)))
    matrix[:3, :3] = draw(rotations) * draw(spacings) * flip
    matrix[:3, 3] = draw(st.tuples(coordinate, coordinate, coordinate))
    return matrix


def field(ras: np.ndarray) -> np.ndarray:
    """A linear field, which trilinear interpolation reproduces exactly."""
    return ras @ np.array([2.0, -3.0, 5.0]) + 7.0


def field_on(grid: Grid) -> torch.Tensor:
    """The field at the voxels of a grid, [k, j, i]."""
    k, j, i = np.indices(grid.shape)
    return torch.from_numpy(field(apply_affine(grid.ijk_to_ras, np.stack([i, j, k], -1))).astype(np.float32))


def rotated(grid: Grid, degrees: tuple[float, float, float]) -> Grid:
    """The grid turned about its centre."""
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    turn[:3, 3] = grid.centre - turn[:3, :3] @ grid.centre
    return grid.transformed(turn)


class TestCoordinates:
    """LPS, RAS and IJK."""

    def test_lps_and_ras_differ_in_the_first_two_signs(self) -> None:
        np.testing.assert_array_equal(swap_lps_ras([[1.0, 2.0, 3.0], [-4.0, 0.0, 6.0]]), [[-1, -2, 3], [4, 0, 6]])

    @given(points)
    def test_swapping_twice_changes_nothing(self, some: np.ndarray) -> None:
        np.testing.assert_array_equal(swap_lps_ras(swap_lps_ras(some)), some)

    @given(affines(), points)
    def test_a_swapped_matrix_swaps_its_points(self, matrix: np.ndarray, some: np.ndarray) -> None:
        np.testing.assert_allclose(
            apply_affine(swap_lps_ras_matrix(matrix), some), swap_lps_ras(apply_affine(matrix, some)), atol=1e-9
        )

    @given(affines(), points)
    def test_ras_to_ijk_undoes_ijk_to_ras(self, matrix: np.ndarray, some: np.ndarray) -> None:
        grid = Grid((10, 11, 12), matrix)
        np.testing.assert_allclose(apply_affine(matrix, apply_affine(grid.ras_to_ijk, some)), some, atol=1e-6)

    @given(affines())
    def test_the_centre_lies_between_the_corners(self, matrix: np.ndarray) -> None:
        grid = Grid((10, 11, 12), matrix)
        np.testing.assert_allclose(grid.corners().mean(axis=0), grid.centre, atol=1e-6)
        far = grid.corners()[-1] - grid.corners()[0]
        np.testing.assert_allclose(np.linalg.norm(far), np.linalg.norm(grid.spacing * (12, 11, 10)), rtol=1e-9)

    def test_a_window_starts_where_it_says(self) -> None:
        grid = axis_aligned_grid(np.array([1.0, 2.0, 3.0]), np.array([0.5, 1.0, 2.0]), (5, 7, 9))
        np.testing.assert_allclose(apply_affine(grid.ijk_to_ras, np.zeros(3)), (-1, -1, -1))
        window = grid.window((2, 1, 3), (1, 2, 3))
        np.testing.assert_allclose(apply_affine(window.ijk_to_ras, np.zeros(3)), (0, 0, 5))
        assert window.shape == (1, 2, 3)


class TestResample:
    """Values move with their place, in every direction."""

    source = axis_aligned_grid(np.array([3.0, -2.0, 5.0]), np.array([0.6, 0.7, 0.9]), (20, 24, 28))

    def test_onto_its_own_grid_it_changes_nothing(self) -> None:
        voxels = torch.rand(self.source.shape, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(resample(voxels, self.source, self.source), voxels, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("degrees", [(0, 0, 0), (30, 0, 0), (-20, 40, 10), (90, 0, 180), (180, 45, 90)])
    @pytest.mark.parametrize("spacing", [(0.5, 0.5, 0.5), (0.3, 0.9, 0.6), (1.1, 0.4, 0.8)])
    def test_onto_rotated_anisotropic_grids(self, degrees: tuple[float, ...], spacing: tuple[float, ...]) -> None:
        target = rotated(axis_aligned_grid(self.source.centre, np.array(spacing), (9, 8, 7)), degrees)  # type: ignore[arg-type]
        torch.testing.assert_close(
            resample(field_on(self.source), self.source, target), field_on(target), atol=2e-3, rtol=0
        )

    @settings(max_examples=40, deadline=None)
    @given(affines())
    def test_a_scan_and_its_target_moved_together_give_the_same_values(self, move: np.ndarray) -> None:
        target = rotated(axis_aligned_grid(self.source.centre, np.full(3, 0.7), (6, 7, 8)), (10, 20, 30))
        voxels = torch.rand(self.source.shape, generator=torch.Generator().manual_seed(2))
        move[:3, :3] /= np.linalg.norm(move[:3, :3], axis=0)
        here = resample(voxels, self.source, target)
        there = resample(voxels, self.source.transformed(move), target.transformed(move))
        torch.testing.assert_close(here, there, atol=1e-3, rtol=0)

    @pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
    @pytest.mark.parametrize("flips", list(itertools.product((False, True), repeat=3)))
    def test_all_48_ways_to_store_a_scan_are_the_same_scan(
        self, axes: tuple[int, ...], flips: tuple[bool, ...]
    ) -> None:
        voxels = torch.rand(self.source.shape, generator=torch.Generator().manual_seed(3))
        oblique = rotated(self.source, (12, -7, 25))
        target = rotated(axis_aligned_grid(self.source.centre, np.array([0.5, 0.8, 0.6]), (7, 8, 9)), (5, 6, 7))
        # New axis n is old axis axes[n] (of i, j, k), perhaps backwards.
        matrix = np.eye(4)
        matrix[:3, :3] = oblique.ijk_to_ras[:3, list(axes)]
        matrix[:3, 3] = oblique.ijk_to_ras[:3, 3]
        for n, flipped in enumerate(flips):
            if flipped:
                matrix[:3, 3] += matrix[:3, n] * (oblique.size[axes[n]] - 1)
                matrix[:3, n] *= -1
        stored = voxels.numpy().transpose(2, 1, 0).transpose(axes).transpose(2, 1, 0)
        stored = np.flip(stored, [2 - n for n in range(3) if flips[n]]).copy()
        other = Grid(stored.shape, matrix)
        torch.testing.assert_close(
            resample(torch.from_numpy(stored), other, target), resample(voxels, oblique, target), atol=1e-4, rtol=0
        )

    def test_an_offset_of_metres_costs_nothing(self) -> None:
        target = axis_aligned_grid(self.source.centre, np.full(3, 0.7), (6, 7, 8))
        voxels = torch.rand(self.source.shape, generator=torch.Generator().manual_seed(4))
        away = np.eye(4)
        away[:3, 3] = (4000.0, -2500.0, 1000.0)
        there = resample(voxels, self.source.transformed(away), target.transformed(away))
        torch.testing.assert_close(there, resample(voxels, self.source, target), atol=1e-4, rtol=0)

    @pytest.mark.parametrize("fine", [0.2, 0.25, 0.3, 0.45])
    def test_averaging_over_blocks_keeps_sum_and_place(self, fine: float) -> None:
        count = int(32 / fine)
        source = axis_aligned_grid(np.zeros(3), np.full(3, fine), (count, count, count))
        place = np.array([1.3, -0.8, 2.1])
        along = [source.ijk_to_ras[n, 3] + fine * np.arange(count) - place[n] for n in range(3)]
        bells = [torch.from_numpy(np.exp(-(distance**2) / (2 * 1.5**2))).float() for distance in along]
        blob = bells[2][:, None, None] * bells[1][:, None] * bells[0]
        target = axis_aligned_grid(np.array([0.2, 0.1, -0.3]), np.full(3, 0.9), (30, 30, 30))
        coarse = resample(blob, source, target, padding=0.0).double()
        total = float(coarse.sum()) * 0.9**3
        # The integral of the Gaussian: (2 pi)^1.5 sigma^3 = 15.75 * 3.375. Blocks of 0.8 mm sampled linearly every
        # 0.9 mm alias by up to sinc(0.89)^2 * 0.42 = 0.6 % along each axis.
        assert total == pytest.approx(53.155, rel=0.02)
        k, j, i = np.indices(target.shape)
        ras = apply_affine(target.ijk_to_ras, np.stack([i, j, k], -1))
        centroid = (coarse.numpy()[..., None] * ras).sum((0, 1, 2)) / float(coarse.sum())
        np.testing.assert_allclose(centroid, place, atol=0.05)

    @pytest.mark.parametrize("count", [24, 25, 26])
    def test_a_last_block_that_is_not_full_lies_where_it_says(self, count: int) -> None:
        source = axis_aligned_grid(np.zeros(3), np.full(3, 0.3), (count, 24, count))
        voxels = torch.rand(source.shape, generator=torch.Generator().manual_seed(5))
        missing = -count % 3
        longer = Grid((count + missing, 24, count + missing), source.ijk_to_ras)
        repeated = torch.cat([voxels, voxels[-1:].expand(missing, -1, -1)])
        repeated = torch.cat([repeated, repeated[:, :, -1:].expand(-1, -1, missing)], dim=2)
        target = axis_aligned_grid(np.full(3, 0.2), np.full(3, 0.9), (7, 7, 7))
        torch.testing.assert_close(resample(voxels, source, target), resample(repeated, longer, target))

    def test_beyond_the_scan_lies_the_padding_or_the_nearest_voxel(self) -> None:
        target = axis_aligned_grid(self.source.centre + np.array([100.0, 0.0, 0.0]), np.ones(3), (3, 3, 3))
        voxels = field_on(self.source)
        assert (resample(voxels, self.source, target, padding=-42.0) == -42.0).all()
        edge = axis_aligned_grid(self.source.centre + np.array([8.1, 0.0, 0.0]), self.source.spacing, (1, 1, 1))
        far = axis_aligned_grid(self.source.centre + np.array([100.0, 0.0, 0.0]), self.source.spacing, (1, 1, 1))
        torch.testing.assert_close(resample(voxels, self.source, far), resample(voxels, self.source, edge))

    @pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.float64])
    def test_channels_and_types_pass_through(self, dtype: torch.dtype) -> None:
        voxels = torch.arange(2 * 4 * 5 * 6).reshape(2, 4, 5, 6).to(dtype)
        grid = axis_aligned_grid(np.zeros(3), np.ones(3), (4, 5, 6))
        result = resample(voxels, grid, grid, padding=-1000.0)
        assert result.shape == (2, 4, 5, 6)
        assert result.dtype == torch.float32
        torch.testing.assert_close(result, voxels.float(), atol=1e-3, rtol=0)


def sound(shape: tuple[int, ...] = (20, 20, 20), dtype: str = "int16", spacing: object = 1.0) -> Volume:
    """A volume with nothing wrong, of another shape, type or spacing."""
    voxels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    return Volume(voxels, np.diag([*np.broadcast_to(np.asarray(spacing, float), 3), 1.0]), "scan")


def with_values(value: float, count: int) -> Volume:
    """Of 8000 values, `count` are `value`; the others are 5, 6, 7 ..."""
    voxels = np.arange(5, 8005, dtype=np.float32).reshape(20, 20, 20)
    voxels.ravel()[100 : 100 + count] = value
    return Volume(voxels, np.eye(4), "scan")


def with_matrix(**places: object) -> Volume:
    """A volume whose ijk_to_ras has other values; keys like m02 for row 0, column 2."""
    matrix = np.eye(4)
    for place, value in places.items():
        matrix[int(place[1]), int(place[2])] = value  # type: ignore[call-overload]
    return Volume(sound().voxels, matrix, "scan")


class TestValidated:
    """What can be used and what is refused with one sentence."""

    @pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16", "int32", "float16", "float32", "float64"])
    def test_a_sound_volume_keeps_its_voxels(self, dtype: str) -> None:
        volume = sound((8, 9, 10), dtype)
        checked = validated(volume)
        assert checked.voxels is volume.voxels
        assert checked.warnings == ()

    def test_a_mask_of_truth_values_becomes_numbers(self) -> None:
        mask = Volume(np.indices((9, 9, 9)).sum(0) > 9, np.eye(4))
        assert validated(mask).voxels.dtype == np.uint8

    @pytest.mark.parametrize("shape", [(1, 20, 21, 22), (20, 21, 22, 1)])
    def test_a_single_time_point_is_squeezed(self, shape: tuple[int, ...]) -> None:
        assert validated(sound(shape)).voxels.shape == tuple(n for n in shape if n > 1)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("count", [1, 80])
    def test_a_few_values_that_are_no_numbers_become_the_minimum(self, value: float, count: int) -> None:
        volume = with_values(value, count)
        checked = validated(volume)
        assert (checked.voxels.ravel()[100 : 100 + count] == 5.0).all()
        assert checked.warnings == (
            f"{count} values were not numbers (NaN or infinite); they were replaced by the minimum.",
        )
        assert not np.isfinite(volume.voxels).all()

    def test_earlier_warnings_stay(self) -> None:
        volume = with_values(np.nan, 1)
        both = validated(Volume(volume.voxels, volume.ijk_to_ras, "scan", None, ("tilted",))).warnings
        assert both[0] == "tilted"
        assert len(both) == 2

    @pytest.mark.parametrize(
        ("volume", "sentence"),
        [
            (sound((20, 20)), "has 2 dimensions"),
            (sound((2, 2, 20, 20, 20)), "has 5 dimensions"),
            (sound((3, 20, 20, 20)), "holds 3 time points"),
            (sound((20, 20, 20, 3), "uint8"), "is a colour image"),
            (sound((0, 20, 20)), "holds no voxels"),
            (sound((7, 20, 20)), "only 7 voxels along one axis, at least 8"),
            (sound((1, 20, 20)), "only 1 voxels along one axis"),
            (sound(dtype="complex64"), "complex numbers"),
            (sound(dtype="object"), "instead of grey values"),
            (sound(dtype="U5"), "instead of grey values"),
            (Volume(np.zeros((9, 9, 9), "u1,u1,u1"), np.eye(4), "scan"), "instead of grey values"),
            (Volume(np.full((20, 20, 20), 7), np.eye(4), "scan"), "same value everywhere"),
            (with_values(np.nan, 81), "1.0 % of the values of 'scan' are not numbers"),
            (with_values(np.inf, 4000), "50.0 % of the values"),
            (Volume(np.full((20, 20, 20), np.nan), np.eye(4), "scan"), "100.0 % of the values"),
            (sound(spacing=0.0), "voxel size of zero"),
            (sound(spacing=0.04), "0.04 x 0.04 x 0.04 mm;"),
            (sound(spacing=0.0005), r"\(it looks like metres"),
            (sound(spacing=500.0), r"\(it looks like micrometres"),
            (sound(spacing=(1, 1, 11)), "1 x 1 x 11 mm"),
            (sound(spacing=(0.1, 1, 1)), "measures 2 x 20 x 20 mm"),
            (sound((400, 8, 8), spacing=9), "measures 72 x 72 x 3600 mm"),
            (with_matrix(m00=np.nan), "damaged axes"),
            (with_matrix(m03=np.inf), "damaged axes"),
            (with_matrix(m30=1.0), "damaged axes"),
            (Volume(sound().voxels, np.eye(3), "scan"), "damaged axes"),
            (with_matrix(m02=0.02), "sheared axes"),
            (with_matrix(m02=1.0, m22=0.0, m12=1e-3), "sheared axes"),
            (with_matrix(m13=-2e5), "lies 200 m from the origin"),
        ],
    )
    def test_what_cannot_be_used_is_refused_with_one_sentence(self, volume: Volume, sentence: str) -> None:
        with pytest.raises(VolumeError, match=sentence) as error:
            validated(volume)
        assert "'scan'" in str(error.value)
        assert str(error.value).endswith(".")
        assert "\n" not in str(error.value)

    def test_a_flipped_or_slightly_rounded_geometry_is_sound(self) -> None:
        validated(with_matrix(m22=-1.0, m02=0.005))
        validated(with_matrix(m03=4000.0))
