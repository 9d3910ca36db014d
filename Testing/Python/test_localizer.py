"""The coarse step: pooling, windows over the field of view, and the place of what is found."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from beads import SIGMA_MM, UNITS, CoarseBeadReader, bead_places, bead_scan
from CoWLandmarksLib.core.intensity import IntensityRule
from CoWLandmarksLib.core.volume import Grid, Volume, apply_affine, axis_aligned_grid
from CoWLandmarksLib.detect import coarse as localizer
from CoWLandmarksLib.detect.coarse import (
    WINDOW,
    crop_or_pad,
    field_of_view_grid,
    localise,
    pool_for_localizer,
    pooled_field_of_view,
    read_aligned,
)
from CoWLandmarksLib.networks.network_image import NetworkImage
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation


class TestPooling:
    """Mean and maximum over blocks, and the grid of the blocks."""

    def test_the_channels_are_mean_and_maximum_of_eight_voxels(self) -> None:
        image = torch.arange(64, dtype=torch.float32).reshape(4, 4, 4)
        pooled, grid = pool_for_localizer(image, axis_aligned_grid(np.zeros(3), np.ones(3), (4, 4, 4)))
        block = image[2:4, 0:2, 2:4]
        assert pooled.shape == (2, 2, 2, 2)
        assert float(pooled[0, 1, 0, 1]) == float(block.mean())
        assert float(pooled[1, 1, 0, 1]) == float(block.max())
        assert grid.shape == (2, 2, 2)

    @pytest.mark.parametrize("voxel", [(0, 0, 0), (3, 6, 1), (7, 2, 5)])
    def test_a_bright_voxel_stays_at_its_place_to_half_a_block(self, voxel: tuple[int, int, int]) -> None:
        matrix = np.eye(4)
        matrix[:3, :3] = Rotation.from_euler("z", 25, degrees=True).as_matrix() @ np.diag((-1.0, 0.7, 1.5))
        matrix[:3, 3] = (40.0, -20.0, 7.0)
        source = Grid((8, 8, 8), matrix)
        image = torch.zeros(8, 8, 8)
        image[voxel[2], voxel[1], voxel[0]] = 1.0
        pooled, grid = pool_for_localizer(image, source)
        k, j, i = np.unravel_index(int(pooled[1].argmax()), grid.shape)
        np.testing.assert_allclose(grid.spacing, 2.0 * source.spacing)
        # The block's centre lies half a voxel from each of its voxels' centres along every axis.
        gap = apply_affine(source.ras_to_ijk, apply_affine(grid.ijk_to_ras, np.array([i, j, k]))) - voxel
        np.testing.assert_allclose(np.abs(gap), 0.5, atol=1e-9)

    def test_the_centre_of_an_even_grid_does_not_move(self) -> None:
        source = axis_aligned_grid(np.array([1.0, 2.0, 3.0]), np.array([0.5, 1.0, 2.0]), (4, 6, 8))
        _, grid = pool_for_localizer(torch.zeros(4, 6, 8), source)
        np.testing.assert_allclose(grid.centre, source.centre)
        np.testing.assert_allclose(grid.corners(), source.corners())


class TestFieldOfView:
    """The 1 mm grid over a scan."""

    @pytest.mark.parametrize("angles", [(0, 0, 0), (30, 0, 0), (10, -20, 75)])
    def test_it_covers_every_corner_with_even_sides(self, angles: tuple[float, ...]) -> None:
        source = axis_aligned_grid(np.array([5.0, -7.0, 9.0]), np.array([0.6, 0.7, 1.1]), (31, 45, 52))
        turn = np.eye(4)
        turn[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
        source = source.transformed(turn)
        grid = field_of_view_grid(source)
        ijk = apply_affine(grid.ras_to_ijk, source.corners())
        assert (ijk >= -0.5 - 1e-9).all()
        assert (ijk <= grid.size - 0.5 + 1e-9).all()
        assert all(side % 2 == 0 for side in grid.shape)
        np.testing.assert_allclose(grid.ijk_to_ras[:3, :3], np.eye(3))
        # and is not larger than needed
        spare = grid.size - (ijk.max(axis=0) - ijk.min(axis=0))
        assert (spare < 2.0 + 1e-9).all()


class TestCrop:
    """Windows that may reach beyond the image."""

    image = torch.arange(2 * 5 * 6 * 7, dtype=torch.float32).reshape(2, 5, 6, 7)

    def test_a_window_inside_is_a_slice(self) -> None:
        window = crop_or_pad(self.image, np.array([1, 2, 3]), (2, 3, 4), -1.0)
        torch.testing.assert_close(window, self.image[:, 1:3, 2:5, 3:7])

    @given(st.tuples(*[st.integers(-9, 9)] * 3), st.tuples(*[st.integers(1, 8)] * 3))
    def test_every_voxel_is_the_image_or_the_filling(
        self, start: tuple[int, int, int], shape: tuple[int, int, int]
    ) -> None:
        window = crop_or_pad(self.image, np.array(start), shape, -1.0)
        assert window.shape == (2, *shape)
        k, j, i = np.indices(shape)
        kji = np.stack([k, j, i], axis=-1) + start
        inside = ((kji >= 0) & (kji < (5, 6, 7))).all(axis=-1)
        expected = np.full((2, *shape), -1.0, np.float32)
        expected[:, inside] = self.image.numpy()[:, kji[inside][:, 0], kji[inside][:, 1], kji[inside][:, 2]]
        np.testing.assert_array_equal(window.numpy(), expected)

    def test_the_image_is_not_shared(self) -> None:
        window = crop_or_pad(self.image, np.zeros(3, int), (5, 6, 7), 0.0)
        window += 1.0
        assert float(self.image[0, 0, 0, 0]) == 0.0


class TestTiles:
    """Windows over a large field of view."""

    @given(st.tuples(*[st.integers(4, 260)] * 3))
    def test_windows_cover_every_voxel_and_overlap(self, shape: tuple[int, int, int]) -> None:
        starts = np.array(localizer._tile_starts(shape))
        for axis, (side, window) in enumerate(zip(shape, WINDOW, strict=True)):
            firsts = np.unique(starts[:, axis])
            assert firsts[0] <= 0
            assert firsts[-1] + window >= side
            if side > window:
                assert firsts[0] == 0
                assert firsts[-1] + window == side
                assert np.diff(firsts).max() <= window - 16
            else:
                assert len(firsts) == 1
        sides = [len(np.unique(starts[:, axis])) for axis in range(3)]
        assert len(starts) == np.prod(sides)

    def test_a_small_field_has_one_centred_window(self) -> None:
        assert [start.tolist() for start in localizer._tile_starts((48, 60, 30))] == [[0, -2, -17]]


def bead_image(scan: Volume) -> NetworkImage:
    rule = IntensityRule("fixed", -0.5, 2.5, fixed_scale=UNITS)
    return NetworkImage(scan.voxels, scan.grid, torch.device("cpu"), rule, UNITS)


class TestLocalise:
    """With a network that reads beads by calculation."""

    @pytest.mark.parametrize(
        ("shape", "centre"),
        [
            ((44, 48, 52), (0.0, 0.0, 0.0)),
            ((70, 90, 100), (55.0, -45.0, 38.0)),
            ((110, 60, 60), (0.0, 10.0, -75.0)),
        ],
        ids=["one window", "in a corner of a large field", "at the lower end of a tall field"],
    )
    def test_beads_are_found_where_they_are(
        self, shape: tuple[int, int, int], centre: tuple[float, float, float]
    ) -> None:
        grid = axis_aligned_grid(np.array([3.3, -8.2, 100.1]), np.array([2.0, 2.2, 2.1]), shape)
        places = bead_places() - bead_places().mean(axis=0) + grid.centre + centre
        scan = bead_scan(grid, places)
        found = localise(CoarseBeadReader(), CoarseBeadReader(), bead_image(scan), SIGMA_MM)
        assert np.linalg.norm(found.positions - places, axis=1).max() < 0.15
        assert (found.peaks > 0.6).all()

    def test_a_missing_bead_has_no_peak(self) -> None:
        grid = axis_aligned_grid(np.zeros(3), np.full(3, 2.0), (44, 48, 52))
        places = bead_places() - bead_places().mean(axis=0)
        places[7] = np.nan
        scan = bead_scan(grid, places)
        found = localise(CoarseBeadReader(), CoarseBeadReader(), bead_image(scan), SIGMA_MM)
        assert np.flatnonzero(found.peaks < 0.1).tolist() == [7]

    def test_the_nearest_of_several_circles_is_not_chosen_but_the_one_that_is_read_best(self) -> None:
        grid = axis_aligned_grid(np.zeros(3), np.full(3, 2.0), (60, 60, 150))
        places = bead_places() - bead_places().mean(axis=0) + (90.0, 0.0, 0.0)
        faint = np.where(np.arange(len(places))[:, None] < 8, places - (180.0, 0.0, 0.0), np.nan)
        both = bead_scan(grid, places).voxels + bead_scan(grid, faint).voxels
        scan = Volume(both, grid.ijk_to_ras)
        found = localise(CoarseBeadReader(), CoarseBeadReader(), bead_image(scan), SIGMA_MM)
        assert np.linalg.norm(found.positions - places, axis=1).max() < 0.15

    def test_a_tilted_circle_is_read_upright_once_its_frame_is_known(self) -> None:
        grid = axis_aligned_grid(np.zeros(3), np.full(3, 2.0), (60, 60, 60))
        pose = np.eye(4)
        pose[:3, :3] = 1.05 * Rotation.from_euler("xyz", (60, 10, -15), degrees=True).as_matrix()
        pose[:3, 3] = (3.0, -8.0, 2.0)
        centre = bead_places().mean(axis=0)
        scan = bead_scan(grid, apply_affine(pose, bead_places() - centre))
        upright: list[torch.Tensor] = []

        def read(window: torch.Tensor) -> torch.Tensor:
            upright.append(window)
            return CoarseBeadReader()(window)

        frame = np.linalg.inv(pose)
        frame[:3, 3] += centre
        found = read_aligned(read, bead_image(scan), frame, centre, SIGMA_MM)
        assert np.linalg.norm(found.positions - apply_affine(pose, bead_places() - centre), axis=1).max() < 0.3
        assert upright[0].shape == (1, 2, *WINDOW)


def test_a_tall_field_is_pooled_slab_by_slab_as_if_at_once() -> None:
    grid = axis_aligned_grid(np.array([3.0, -2.0, 1.0]), np.array([1.4, 1.3, 1.6]), (64, 14, 12))
    voxels = np.random.default_rng(0).normal(size=grid.shape).astype(np.float32) * UNITS
    image = bead_image(Volume(voxels, grid.ijk_to_ras))
    pooled, pooled_grid = pooled_field_of_view(image)
    fov = field_of_view_grid(grid)
    at_once, at_once_grid = pool_for_localizer(image.sampled(fov), fov)
    assert fov.shape[0] > 2 * localizer._SLAB
    torch.testing.assert_close(pooled, at_once, atol=1e-4, rtol=0)
    np.testing.assert_allclose(pooled_grid.ijk_to_ras, at_once_grid.ijk_to_ras)
    assert pooled_grid.shape == at_once_grid.shape


def test_windows_of_air_are_passed_over() -> None:
    grid = axis_aligned_grid(np.zeros(3), np.full(3, 2.0), (60, 60, 150))
    places = bead_places() - bead_places().mean(axis=0) + (90.0, 0.0, 0.0)
    read: list[int] = []

    def search(window: torch.Tensor) -> torch.Tensor:
        read.append(1)
        return CoarseBeadReader()(window)

    localise(search, CoarseBeadReader(), bead_image(bead_scan(grid, places)), SIGMA_MM)
    assert 0 < len(read) < len(localizer._tile_starts((60, 60, 150)))
