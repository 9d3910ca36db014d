"""The highest peaks of heatmaps: exact on rendered Gaussians, apart, and complete."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from CoWLandmarksLib.core.volume import Grid, apply_affine, axis_aligned_grid
from CoWLandmarksLib.networks.heatmap import decode_subvoxel, encode
from CoWLandmarksLib.networks.heatmap_peaks import heatmap_peaks

GRID = axis_aligned_grid(np.array([3.0, -2.0, 5.0]), np.array([0.8, 0.9, 1.3]), (30, 40, 48))
SIGMA = 1.5


def rendered(points: np.ndarray, heights: list[float], grid: Grid = GRID) -> torch.Tensor:
    """One heatmap (K, J, I) with a Gaussian at each of the points (m, 3)."""
    return (encode(points, grid, SIGMA) * torch.tensor(heights)[:, None, None, None]).sum(dim=0)


FAR = np.array([[-6.3, -11.2, 1.1], [9.4, 7.7, 8.2], [2.05, -2.6, -4.4]])


def test_peaks_far_from_each_other_are_exact_and_the_highest_is_first() -> None:
    peaks = heatmap_peaks(rendered(FAR, [0.5, 0.9, 0.7])[None], GRID, SIGMA)
    np.testing.assert_allclose(peaks.positions[0, :3], FAR[[1, 2, 0]], atol=0.01)
    assert np.isnan(peaks.positions[0, 3:]).all()
    assert peaks.heights[0, 3:].tolist() == [0.0, 0.0, 0.0]
    voxels = np.rint(apply_affine(GRID.ras_to_ijk, FAR))
    off = apply_affine(GRID.ijk_to_ras, voxels) - FAR
    expected = np.array([0.5, 0.9, 0.7]) * np.exp(-(off**2).sum(axis=1) / (2 * SIGMA**2))
    np.testing.assert_allclose(peaks.heights[0, :3], expected[[1, 2, 0]], rtol=1e-4)


def test_no_more_than_the_count_and_each_heatmap_for_itself() -> None:
    heatmaps = torch.stack([rendered(FAR, [0.5, 0.9, 0.7]), rendered(FAR[:1], [0.3]), torch.zeros(GRID.shape)])
    peaks = heatmap_peaks(heatmaps, GRID, SIGMA, count=2)
    assert peaks.positions.shape == (3, 2, 3)
    assert peaks.heights.shape == (3, 2)
    np.testing.assert_allclose(peaks.positions[0], FAR[1:], atol=0.01)
    np.testing.assert_allclose(peaks.positions[1, 0], FAR[0], atol=0.01)
    assert np.isnan(peaks.positions[1, 1]).all()
    assert np.isnan(peaks.positions[2]).all()


@pytest.mark.parametrize(("apart_mm", "second"), [(5.9, [6.0, 0.0, 5.0]), (6.1, [-9.0, 0.0, 5.0])])
def test_of_two_peaks_too_close_the_higher_is_kept(apart_mm: float, second: list[float]) -> None:
    points = np.array([[0.0, 0.0, 5.0], [6.0, 0.0, 5.0], [-9.0, 0.0, 5.0]])
    peaks = heatmap_peaks(rendered(points, [0.9, 0.8, 0.4])[None], GRID, 1.5, count=2, apart_mm=apart_mm)
    # their flanks overlap a little
    np.testing.assert_allclose(peaks.positions[0], [points[0], second], atol=0.1)


def test_in_noise_all_are_apart_and_no_higher_maximum_is_left_out() -> None:
    noise = torch.rand((3, *GRID.shape), generator=torch.Generator().manual_seed(3))
    peaks = heatmap_peaks(noise, GRID, SIGMA, count=8, apart_mm=6.0)
    for positions, heights, heatmap in zip(peaks.positions, peaks.heights, noise, strict=True):
        distances = np.linalg.norm(positions[:, None] - positions, axis=2)[~np.eye(8, dtype=bool)]
        assert distances.min() >= 6.0
        assert (np.diff(heights) <= 0).all()
        # every voxel above the lowest peak lies near one of the peaks: half a cell of 26 neighbours, and the drift of
        # the sub-voxel position
        higher = torch.nonzero(heatmap > float(heights[-1])).flip(1).numpy()
        gaps = np.linalg.norm(apply_affine(GRID.ijk_to_ras, higher)[:, None] - positions, axis=2).min(axis=1)
        assert gaps.max() < 6.0 + 2 * np.linalg.norm(1.5 * GRID.spacing) + np.linalg.norm(GRID.spacing)


def test_the_highest_is_the_position_of_the_subvoxel_decoder() -> None:
    heatmaps = encode(FAR, GRID, SIGMA) + 0.05 * torch.rand(
        (3, *GRID.shape), generator=torch.Generator().manual_seed(4)
    )
    positions, heights = decode_subvoxel(heatmaps, GRID, SIGMA)
    peaks = heatmap_peaks(heatmaps, GRID, SIGMA)
    np.testing.assert_array_equal(peaks.positions[:, 0], positions)
    np.testing.assert_array_equal(peaks.heights[:, 0], heights)


def test_a_peak_at_the_edge_of_the_grid_counts() -> None:
    heatmap = torch.zeros(1, *GRID.shape)
    heatmap[0, 0, 0, 0], heatmap[0, 15, 20, 47] = 0.5, 0.4
    peaks = heatmap_peaks(heatmap, GRID, SIGMA)
    assert peaks.heights[0, :3].tolist() == [pytest.approx(0.5), pytest.approx(0.4), 0.0]


def test_what_is_nowhere_positive_has_no_peak() -> None:
    heatmap = -rendered(FAR, [0.5, 0.9, 0.7])[None] - 0.1
    assert np.isnan(heatmap_peaks(heatmap, GRID, SIGMA).positions).all()
