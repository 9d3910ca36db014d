"""Landmark coordinates to heatmaps and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from CoWLandmarksLib.core.volume import Grid, apply_affine, axis_aligned_grid
from CoWLandmarksLib.networks.heatmap import decode_argmax, decode_subvoxel, encode
from scipy.spatial.transform import Rotation

GRIDS = {
    "reference": axis_aligned_grid(np.array([0.0, 14.0, 2.5]), np.array([0.513, 0.513, 0.8]), (40, 48, 56)),
    "anisotropic": axis_aligned_grid(np.array([3.0, -2.0, 5.0]), np.array([0.5, 0.9, 1.3]), (26, 36, 50)),
    "coarse": axis_aligned_grid(np.zeros(3), np.full(3, 2.0), (24, 26, 28)),
}


def oblique(grid: Grid) -> Grid:
    """The grid turned about its centre, its first axis reversed."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", (20, -35, 70), degrees=True).as_matrix() @ np.diag((-1, 1, 1))
    matrix[:3, 3] = grid.centre - matrix[:3, :3] @ grid.centre
    return grid.transformed(matrix)


GRIDS["oblique"] = oblique(GRIDS["anisotropic"])
SIGMA = {"reference": 1.5, "anisotropic": 1.5, "coarse": 4.0, "oblique": 1.5}


def points_inside(grid: Grid, count: int = 25) -> np.ndarray:
    """Random places, none near a voxel centre on purpose, in the inner third of the grid."""
    share = np.random.default_rng(11).uniform(1 / 3, 2 / 3, (count, 3))
    return apply_affine(grid.ijk_to_ras, share * (grid.size - 1))


def test_values_are_those_of_the_formula() -> None:
    grid = axis_aligned_grid(np.zeros(3), np.array([1.0, 2.0, 3.0]), (3, 3, 3))
    heatmap = encode(np.array([[0.0, 0.0, 0.0]]), grid, 2.0)[0]
    assert heatmap.shape == (3, 3, 3)
    assert float(heatmap[1, 1, 1]) == 1.0
    # exp(-d^2 / 8) one step along i (1 mm), j (2 mm), k (3 mm) and to a corner (14 mm^2)
    assert float(heatmap[1, 1, 2]) == pytest.approx(np.exp(-1 / 8))
    assert float(heatmap[1, 2, 1]) == pytest.approx(np.exp(-4 / 8))
    assert float(heatmap[0, 1, 1]) == pytest.approx(np.exp(-9 / 8))
    assert float(heatmap[2, 0, 0]) == pytest.approx(np.exp(-14 / 8))


def test_each_landmark_may_have_its_own_width() -> None:
    grid = axis_aligned_grid(np.zeros(3), np.ones(3), (1, 1, 3))
    heatmaps = encode(np.zeros((2, 3)), grid, np.array([1.0, 2.0]))
    assert heatmaps[:, 0, 0, 2].tolist() == pytest.approx([np.exp(-1 / 2), np.exp(-1 / 8)])


@pytest.mark.parametrize("missing", [(np.nan, np.nan, np.nan), (np.nan, 0.0, 0.0), (0.0, 0.0, np.nan)])
def test_an_absent_landmark_has_an_empty_heatmap(missing: tuple[float, float, float]) -> None:
    heatmaps = encode(np.array([[0.0, 0.0, 0.0], missing]), GRIDS["coarse"], 4.0)
    assert float(heatmaps[1].abs().max()) == 0.0
    assert float(heatmaps[0].max()) > 0.5


@pytest.mark.parametrize("name", GRIDS)
def test_subvoxel_decoding_undoes_encoding_to_a_hundredth_of_a_millimetre(name: str) -> None:
    grid = GRIDS[name]
    places = points_inside(grid)
    positions, peaks = decode_subvoxel(encode(places, grid, SIGMA[name]), grid, SIGMA[name])
    assert np.abs(positions - places).max() < 0.01
    assert (peaks > 0.6).all()


@pytest.mark.parametrize("name", GRIDS)
def test_argmax_decoding_is_within_half_a_voxel_along_every_axis(name: str) -> None:
    grid = GRIDS[name]
    places = points_inside(grid)
    positions, peaks = decode_argmax(encode(places, grid, SIGMA[name]), grid)
    ijk = apply_affine(grid.ras_to_ijk, positions)
    np.testing.assert_allclose(ijk, np.rint(ijk), atol=1e-6)
    assert np.abs(ijk - apply_affine(grid.ras_to_ijk, places)).max() <= 0.5 + 1e-6
    distance = np.linalg.norm(positions - places, axis=1)
    np.testing.assert_allclose(peaks, np.exp(-(distance**2) / (2 * SIGMA[name] ** 2)), rtol=1e-4)


def test_axes_are_read_in_their_order() -> None:
    grid = axis_aligned_grid(np.zeros(3), np.ones(3), (3, 5, 7))
    heatmap = torch.zeros(1, 3, 5, 7)
    heatmap[0, 0, 1, 6] = 2.0
    positions, peaks = decode_argmax(heatmap, grid)
    np.testing.assert_allclose(positions, [[3.0, -1.0, -1.0]])
    assert peaks.tolist() == [2.0]


@pytest.mark.parametrize("value", [0.0, -0.3])
def test_a_flat_map_keeps_the_voxel_of_its_maximum(value: float) -> None:
    grid = GRIDS["coarse"]
    heatmap = torch.full((1, *grid.shape), value)
    np.testing.assert_array_equal(decode_subvoxel(heatmap, grid, 4.0)[0], decode_argmax(heatmap, grid)[0])


def test_a_landmark_at_the_very_edge_stays_inside_the_neighbourhood_of_its_voxel() -> None:
    grid = GRIDS["coarse"]
    corner = apply_affine(grid.ijk_to_ras, np.array([0.0, 0.0, grid.size[2] - 1]))[None]
    position, _ = decode_subvoxel(encode(corner, grid, 4.0), grid, 4.0)
    assert np.abs(position - corner).max() <= 1.5 * 2.0 + 1e-6


def test_decoding_does_not_depend_on_other_peaks_far_away() -> None:
    grid = GRIDS["reference"]
    place = points_inside(grid, 1)
    heatmap = encode(place, grid, 1.5) + 0.9 * encode(place + np.array([9.0, 0.0, 0.0]), grid, 1.5)
    assert np.linalg.norm(decode_subvoxel(heatmap, grid, 1.5)[0] - place) < 0.01


def test_a_given_start_reads_the_smaller_of_two_peaks() -> None:
    grid = GRIDS["reference"]
    place = points_inside(grid, 1)
    higher = place + np.array([0.0, 6.0, 0.0])
    heatmap = 0.6 * encode(place, grid, 1.0) + encode(higher, grid, 1.0)
    assert np.linalg.norm(decode_subvoxel(heatmap, grid, 1.0)[0] - higher) < 0.05
    assert np.linalg.norm(decode_subvoxel(heatmap, grid, 1.0, start=place + 0.3)[0] - place) < 0.05


def test_half_precision_costs_less_than_a_twentieth_of_a_millimetre() -> None:
    grid = GRIDS["reference"]
    places = points_inside(grid)
    heatmaps = encode(places, grid, 1.5).to(torch.float16)
    positions, peaks = decode_subvoxel(heatmaps, grid, 1.5)
    assert np.abs(positions - places).max() < 0.05
    assert peaks.dtype == np.float32
