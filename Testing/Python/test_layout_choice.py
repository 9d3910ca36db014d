"""The choice of peaks by a layout model: by hand, and against the enumeration of all choices."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from CoWLandmarksLib.core.alignment import ShapeModel
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.layout_model import LayoutModel, layout_model_of_shape
from CoWLandmarksLib.core.volume import axis_aligned_grid
from CoWLandmarksLib.detect.layout_choice import LEFT_OUT, ChosenLayout, chosen_layout
from CoWLandmarksLib.networks.heatmap import decode_subvoxel, encode
from CoWLandmarksLib.networks.heatmap_peaks import HeatmapPeaks, heatmap_peaks
from CoWLandmarksTrainingLib.phantom.atlas import default_atlas

NAN = np.nan


def pair() -> LayoutModel:
    """Landmarks at 0 and 10 along R: variances 4 and 9, covariance 3; A and S are independent with variance 1."""
    covariance = np.eye(6)
    covariance[0, 0], covariance[3, 3] = 4.0, 9.0
    covariance[0, 3] = covariance[3, 0] = 3.0
    return LayoutModel(np.ones(1), np.array([[[0.0, 0.0, 0.0], [10.0, 0.0, 0.0]]]), covariance[None])


def along_r(first: list[tuple[float, float]], second: list[tuple[float, float]]) -> HeatmapPeaks:
    """Peaks on the R axis as (position, height)."""
    count = max(len(first), len(second), 1)
    positions, heights = np.full((2, count, 3), NAN), np.zeros((2, count))
    for index, found in enumerate((first, second)):
        for number, (r, height) in enumerate(found):
            positions[index, number], heights[index, number] = (r, 0.0, 0.0), height
    return HeatmapPeaks(positions, heights)


class TestByHand:
    """Two landmarks in one dimension."""

    # the second 18 mm off, the first at its mean: half the squared distance is 18^2 x 4 / 54 = 24; of 3 mm: 2 / 3
    peaks = along_r([(0.0, 1.0)], [(28.0, 0.8), (13.0, 0.4)])

    @pytest.mark.parametrize(("weight", "chosen", "energy"), [(8.0, 1, 2 / 3), (33.0, 1, 2 / 3), (34.0, 0, 24.0)])
    def test_a_lower_peak_is_chosen_where_the_layout_says_so(self, weight: float, chosen: int, energy: float) -> None:
        choice = chosen_layout(self.peaks, pair(), weight)
        assert choice.candidates.tolist() == [0, chosen]
        np.testing.assert_array_equal(choice.positions[:, 0], [0.0, (28.0, 13.0)[chosen]])
        assert choice.cost == pytest.approx(energy - weight * np.log((0.8, 0.4)[chosen]))

    def test_distances_are_those_from_the_conditional_mean(self) -> None:
        choice = chosen_layout(along_r([(2.0, 0.9)], [(13.0, 0.9)]), pair(), 8.0)
        # given the second, the first is expected at 3 / 9 x 3 = 1 with variance 3; given the first, the second at 11.5
        np.testing.assert_allclose(choice.distances, [1.0 / np.sqrt(3.0), 1.5 / np.sqrt(6.75)])
        np.testing.assert_allclose(choice.sd_mm, np.sqrt([(3.0 + 2.0) / 3.0, (6.75 + 2.0) / 3.0]))

    def test_a_landmark_without_peaks_is_put_where_the_others_expect_it(self) -> None:
        choice = chosen_layout(along_r([(2.0, 0.9)], []), pair(), 8.0)
        assert choice.candidates.tolist() == [0, LEFT_OUT]
        np.testing.assert_allclose(choice.positions, [[2.0, 0.0, 0.0], [11.5, 0.0, 0.0]], atol=1e-12)
        assert choice.distances[0] == pytest.approx(1.0)
        assert np.isnan(choice.distances[1])
        assert choice.cost == pytest.approx(0.5 - 8.0 * np.log(0.9))

    def test_without_any_peak_there_is_the_mean(self) -> None:
        choice = chosen_layout(along_r([], []), pair(), 8.0)
        np.testing.assert_allclose(choice.positions[:, 0], [0.0, 10.0], atol=1e-12)
        assert choice.cost == 0.0

    @pytest.mark.parametrize(("limit_sd", "kept"), [(4.1, True), (3.9, False)])
    def test_what_lies_beyond_the_limit_is_left_out(self, limit_sd: float, kept: bool) -> None:
        # across R the second landmark is independent of the first: 4 mm are 4 SD
        peaks = HeatmapPeaks(np.array([[[2.0, 0.0, 0.0]], [[11.5, 4.0, 0.0]]]), np.array([[0.9], [0.9]]))
        choice = chosen_layout(peaks, pair(), 8.0, limit_sd=limit_sd)
        assert choice.candidates.tolist() == [0, 0 if kept else LEFT_OUT]
        np.testing.assert_allclose(choice.positions[1], [11.5, 4.0 if kept else 0.0, 0.0], atol=1e-12)
        assert np.isnan(choice.distances[1]) == (not kept)

    @pytest.mark.parametrize(("cost_left_out", "kept"), [(8.01, True), (7.99, False)])
    def test_what_costs_more_than_to_be_left_out_is(self, cost_left_out: float, kept: bool) -> None:
        # 4 SD off: half the squared distance is 8, and a height of 1 costs nothing; the first costs 0.5 by itself
        peaks = HeatmapPeaks(np.array([[[2.0, 0.0, 0.0]], [[11.5, 4.0, 0.0]]]), np.ones((2, 1)))
        choice = chosen_layout(peaks, pair(), 8.0, cost_left_out=cost_left_out)
        assert choice.candidates.tolist() == [0, 0 if kept else LEFT_OUT]
        assert choice.cost == pytest.approx(0.5 + (8.0 if kept else cost_left_out))

    def test_after_one_is_left_out_the_others_are_chosen_again(self) -> None:
        # 60 mm off, the second draws the first to 9 mm, where it expects it; alone, the first is sought at 0
        peaks = along_r([(0.0, 0.8), (9.0, 0.8)], [(70.0, 0.9)])
        assert chosen_layout(peaks, pair(), 8.0).candidates.tolist() == [1, 0]
        choice = chosen_layout(peaks, pair(), 8.0, limit_sd=6.0)
        assert choice.candidates.tolist() == [0, LEFT_OUT]
        np.testing.assert_allclose(choice.positions[:, 0], [0.0, 10.0], atol=1e-12)

    def test_an_absent_landmark_is_not_chosen(self) -> None:
        absent = np.array([False, True])
        choice = chosen_layout(along_r([(2.0, 0.9)], [(13.0, 0.9)]), pair(), 8.0, absent=absent)
        assert choice.candidates.tolist() == [0, LEFT_OUT]
        np.testing.assert_array_equal(choice.positions, [[2.0, 0.0, 0.0], [NAN, NAN, NAN]])
        assert choice.distances[0] == pytest.approx(1.0)

    def test_peaks_of_other_landmarks_are_refused(self) -> None:
        with pytest.raises(ValueError, match="peaks of 3 landmarks"):
            chosen_layout(HeatmapPeaks(np.zeros((3, 1, 3)), np.ones((3, 1))), pair(), 8.0)


def test_absence_tells_which_peak_is_the_landmark() -> None:
    """In heads without the first landmark the second lies at -10, in the others at 10."""
    means = np.zeros((2, 2, 3))
    means[:, 1, 0] = 10.0, -10.0
    presence = np.array([[0.99, 0.5], [0.01, 0.5]])
    model = LayoutModel(np.array([0.5, 0.5]), means, np.stack([np.eye(6)] * 2), presence)
    peaks = along_r([], [(10.0, 0.5), (-10.0, 0.45)])
    assert chosen_layout(peaks, model, 8.0).candidates[1] == 0
    assert chosen_layout(peaks, model, 8.0, absent=np.array([True, False])).candidates[1] == 1
    assert chosen_layout(peaks, model, 8.0, absent=np.array([False, False])).candidates[1] == 0


def random_problem(seed: int) -> tuple[HeatmapPeaks, LayoutModel]:
    """Six landmarks with up to four peaks each, at their places in four layouts; one or two components.

    Some peaks are lacking, and the landmarks of a layout depend on each other closely: up to 4,096 choices with local
    minima near each of the four layouts.
    """
    rng = np.random.default_rng(seed)
    n, components = 6, int(rng.integers(1, 3))
    factors = rng.normal(0.0, 4.0, (components, 3 * n, int(rng.integers(2, 5))))
    covariances = factors @ np.swapaxes(factors, 1, 2) + np.eye(3 * n)
    means = rng.normal(0.0, 6.0, (1, n, 3)) + rng.normal(0.0, 3.0, (components, n, 3))
    model = LayoutModel(np.full(components, 1 / components), means, covariances)
    layouts = rng.multivariate_normal(means[0].reshape(-1), covariances[0], size=4).reshape(4, n, 3)
    positions = np.swapaxes(layouts, 0, 1) + rng.normal(0.0, 0.5, (n, 4, 3))
    heights = rng.uniform(0.2, 1.0, (n, 4)) * (rng.uniform(size=(n, 4)) < 0.9)
    order = np.argsort(-heights, axis=1)
    heights = np.take_along_axis(heights, order, axis=1)
    positions = np.where(heights[:, :, None] > 0, np.take_along_axis(positions, order[:, :, None], axis=1), NAN)
    return HeatmapPeaks(positions, heights), model


def best_of_all(
    peaks: HeatmapPeaks, model: LayoutModel, weight: float, cost_left_out: float
) -> tuple[float, tuple[int, ...]]:
    """The lowest cost of all choices, by enumeration, and the choice."""
    options = []
    for heights in peaks.heights:
        found = np.nonzero(heights)[0].tolist()
        options.append([*found, LEFT_OUT] if np.isfinite(cost_left_out) or not found else found)
    choices = list(product(*options))
    layouts, paid = np.full((len(choices), len(options), 3), NAN), np.zeros(len(choices))
    for number, choice in enumerate(choices):
        for index, candidate in enumerate(choice):
            if candidate != LEFT_OUT:
                layouts[number, index] = peaks.positions[index, candidate]
                paid[number] -= weight * np.log(peaks.heights[index, candidate])
            elif len(options[index]) > 1:
                paid[number] += cost_left_out
    costs = model.energies(layouts) + paid
    best = int(np.argmin(costs))
    return costs[best], choices[best]


@pytest.mark.parametrize(("cost_left_out", "problems"), [(np.inf, 16), (12.0, 4)])
def test_the_choice_is_the_best_of_all(cost_left_out: float, problems: int) -> None:
    others = 0
    for seed in range(problems):
        peaks, model = random_problem(seed)
        cost, best = best_of_all(peaks, model, 4.0, cost_left_out)
        choice = chosen_layout(peaks, model, 4.0, cost_left_out=cost_left_out)
        assert choice.cost == pytest.approx(cost), seed
        assert tuple(choice.candidates) == best, seed
        others += bool((choice.candidates > 0).any())
    assert others > problems // 2


def positions_of(choice: ChosenLayout) -> list[list[float]]:
    return choice.positions.round(9).tolist()


def test_the_order_of_landmarks_and_components_does_not_matter() -> None:
    for seed in range(10):
        peaks, model = random_problem(seed)
        turned = np.arange(len(model))[::-1]
        coordinates = (3 * turned[:, None] + np.arange(3)).reshape(-1)
        other = LayoutModel(
            model.weights[::-1],
            model.means[::-1][:, turned],
            model.covariances[::-1][:, coordinates][:, :, coordinates],
        )
        expected = positions_of(chosen_layout(peaks, model, 4.0))
        choice = chosen_layout(HeatmapPeaks(peaks.positions[turned], peaks.heights[turned]), other, 4.0)
        assert positions_of(choice)[::-1] == expected


def test_heatmaps_that_take_one_side_for_the_other_are_put_right() -> None:
    """A whole circle: every third landmark has its highest peak at its counterpart, and one has no peak at all.

    Where the counterpart is so near that both peaks merge nothing can be put right.
    """
    anatomy, atlas = default_anatomy(), default_atlas()
    order = [atlas.landmarks.index(code) for code in anatomy.codes]
    coordinates = (3 * np.array(order)[:, None] + np.arange(3)).reshape(-1)
    shape = atlas.shape_models["patients"]
    covariance = shape.covariance[np.ix_(coordinates, coordinates)] + 0.25 * np.eye(len(coordinates))
    model = layout_model_of_shape(ShapeModel(shape.mean[order], covariance))
    rng = np.random.default_rng(3)
    truth = rng.multivariate_normal(model.means[0].reshape(-1), 0.5 * covariance).reshape(-1, 3)
    grid = axis_aligned_grid(truth.mean(axis=0), np.full(3, 2.0), (40, 48, 56))
    there, across = encode(truth, grid, 4.0), encode(truth[list(anatomy.mirror_permutation)], grid, 4.0)
    confused = torch.arange(len(truth)) % 3 == 0
    heatmaps = torch.maximum(0.6 * there, torch.where(confused, 0.8, 0.3)[:, None, None, None] * across)
    heatmaps[4] = 0.0
    highest, _ = decode_subvoxel(heatmaps, grid, 4.0)
    chosen = chosen_layout(heatmap_peaks(heatmaps, grid, 4.0), model, 8.0, limit_sd=6.0)
    separate = np.linalg.norm(truth[list(anatomy.mirror_permutation)] - truth, axis=1) > 10.0
    separate[4] = False
    assert np.linalg.norm(chosen.positions - truth, axis=1)[separate].max() < 0.5
    assert (np.linalg.norm(highest - truth, axis=1)[separate] > 10.0).sum() >= 4
    assert np.nonzero(chosen.candidates == LEFT_OUT)[0].tolist() == [4]
    assert np.linalg.norm(chosen.positions[4] - truth[4]) < 3.0 * np.sqrt(3.0) * chosen.sd_mm[4]
