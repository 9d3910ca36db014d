"""Energies, gradients and conditional positions of layouts, against numbers worked out by hand."""

from __future__ import annotations

import io

import numpy as np
import pytest
from CoWLandmarksLib.core.alignment import ShapeModel
from CoWLandmarksLib.core.layout_model import (
    LayoutModel,
    layout_model_from_arrays,
    layout_model_of_shape,
    layout_model_to_arrays,
)

NAN = np.nan


def along_r(*positions: float) -> np.ndarray:
    """Landmarks on the R axis, A = S = 0."""
    return np.array([[r, 0.0, 0.0] for r in positions])


def pair(mean: tuple[float, float] = (0.0, 10.0)) -> LayoutModel:
    """Two landmarks along R: variances 4 and 9, covariance 3; A and S are independent with variance 1."""
    covariance = np.eye(6)
    covariance[0, 0], covariance[3, 3] = 4.0, 9.0
    covariance[0, 3] = covariance[3, 0] = 3.0
    return LayoutModel(np.ones(1), along_r(*mean)[None], covariance[None])


def two_kinds(presence: np.ndarray | None = None) -> LayoutModel:
    """Two landmarks, all variances 1: the second at 10 in one head of four, at -10 in the others."""
    means = np.stack([along_r(0.0, 10.0), along_r(0.0, -10.0)])
    return LayoutModel(np.array([0.25, 0.75]), means, np.stack([np.eye(6)] * 2), presence)


def random_model(seed: int, components: int, landmarks: int) -> LayoutModel:
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(components, 3 * landmarks, 3 * landmarks))
    covariances = factors @ np.swapaxes(factors, 1, 2) + np.eye(3 * landmarks)
    weights = rng.uniform(0.5, 1.0, components)
    means = rng.normal(0.0, 2.0, (components, landmarks, 3))
    return LayoutModel(weights / weights.sum(), means, covariances, rng.uniform(0.2, 0.8, (components, landmarks)))


class TestOneGaussian:
    """The covariance of the pair has the determinant 27, and its inverse is [[9, -3], [-3, 4]] / 27."""

    @pytest.mark.parametrize(
        ("layout", "energy"),
        [
            (along_r(0.0, 10.0), 0.0),
            (along_r(2.0, 10.0), 0.5 * 4 * 9 / 27),
            (along_r(2.0, 13.0), 0.5 * (4 * 9 - 2 * 6 * 3 + 9 * 4) / 27),
            (along_r(2.0, 7.0), 0.5 * (4 * 9 + 2 * 6 * 3 + 9 * 4) / 27),
            (np.array([[0.0, 3.0, 4.0], [10.0, 0.0, 0.0]]), 12.5),
        ],
    )
    def test_the_energy_is_half_the_squared_mahalanobis_distance(self, layout: np.ndarray, energy: float) -> None:
        assert pair().energy(layout) == pytest.approx(energy, abs=1e-12)

    def test_a_missing_landmark_leaves_the_marginal_of_the_other(self) -> None:
        assert pair().energy(along_r(2.0, NAN)) == pytest.approx(0.5 * 4 / 4)
        assert pair().energy(np.array([[NAN, 0.0, 0.0], [16.0, 0.0, 0.0]])) == pytest.approx(0.5 * 36 / 9)
        assert pair().energy(np.full((2, 3), NAN)) == 0.0

    def test_the_gradient_is_the_precision_times_the_residual(self) -> None:
        expected = [[(2 * 9 - 3 * 3) / 27, 0, 0], [(-2 * 3 + 3 * 4) / 27, 0, 0]]
        np.testing.assert_allclose(pair().gradient(along_r(2.0, 13.0)), expected, atol=1e-12)
        np.testing.assert_allclose(pair().gradient(along_r(2.0, NAN)), along_r(2 / 4, 0.0), atol=1e-12)

    def test_the_conditional_position_is_that_of_the_regression_line(self) -> None:
        second = pair().conditional(along_r(2.0, 99.0), 1)
        np.testing.assert_allclose(second.mean, [10.0 + 3 / 4 * 2.0, 0.0, 0.0], atol=1e-12)
        np.testing.assert_allclose(second.covariance, np.diag([9 - 9 / 4, 1.0, 1.0]), atol=1e-12)
        assert second.sd_mm == pytest.approx(np.sqrt((6.75 + 2.0) / 3.0))
        assert second.distance(np.array([11.5 + 6.75, 0.0, 0.0])) == pytest.approx(np.sqrt(6.75))
        first = pair().conditional(along_r(NAN, 13.0), 0)
        np.testing.assert_allclose(first.mean, [3 / 9 * 3.0, 0.0, 0.0], atol=1e-12)

    def test_without_the_others_it_is_the_mean(self) -> None:
        alone = pair().conditional(along_r(NAN, NAN), 1)
        np.testing.assert_allclose(alone.mean, [10.0, 0.0, 0.0], atol=1e-12)
        np.testing.assert_allclose(alone.covariance, np.diag([9.0, 1.0, 1.0]), atol=1e-12)

    def test_the_log_density_is_that_of_a_normal_distribution(self) -> None:
        [density] = pair().log_densities(along_r(2.0, 13.0)[None])
        assert density == pytest.approx(-0.5 * (36 / 27 + np.log(27) + 6 * np.log(2 * np.pi)))

    def test_the_energies_of_several_layouts_are_those_of_each(self) -> None:
        layouts = np.stack([along_r(2.0, 13.0), along_r(2.0, NAN), along_r(2.0, 7.0), along_r(NAN, 16.0)])
        np.testing.assert_allclose(pair().energies(layouts), [36 / 54, 0.5, 108 / 54, 2.0])

    def test_a_shape_model_is_a_layout_model_of_one_gaussian(self) -> None:
        model = pair()
        made = layout_model_of_shape(ShapeModel(model.means[0], model.covariances[0]))
        assert made.energy(along_r(2.0, 7.0)) == pytest.approx(108 / 54)


class TestMixture:
    """Several components, with and without presence."""

    def test_the_energy_is_the_log_of_the_weighted_mean(self) -> None:
        # 3 from the one kind of head, 17 from the other: half squared distances 4.5 and 144.5
        expected = -np.log(0.25 * np.exp(-4.5) + 0.75 * np.exp(-144.5))
        assert two_kinds().energy(along_r(0.0, 7.0)) == pytest.approx(expected)
        assert two_kinds().energy(along_r(0.0, -7.0)) == pytest.approx(4.5 - np.log(0.75))
        assert two_kinds().energy(along_r(3.0, NAN)) == pytest.approx(4.5)

    def test_equal_components_count_as_one(self) -> None:
        one = pair()
        means, covariances = np.repeat(one.means, 3, axis=0), np.repeat(one.covariances, 3, axis=0)
        three = LayoutModel(np.array([0.5, 0.2, 0.3]), means, covariances)
        layout = along_r(2.0, 7.0)
        assert three.energy(layout) == pytest.approx(one.energy(layout))
        np.testing.assert_allclose(three.gradient(layout), one.gradient(layout))
        np.testing.assert_allclose(three.conditional(layout, 1).mean, one.conditional(layout, 1).mean)

    def test_the_conditional_position_holds_both_kinds_of_heads(self) -> None:
        place = two_kinds().conditional(along_r(0.0, NAN), 1)
        np.testing.assert_allclose(place.mean, [0.25 * 10 - 0.75 * 10, 0.0, 0.0], atol=1e-12)
        np.testing.assert_allclose(place.covariance, np.diag([1 + 0.25 * 15**2 + 0.75 * 5**2, 1.0, 1.0]), atol=1e-9)

    def test_what_is_absent_tells_the_kind_of_head(self) -> None:
        model = two_kinds(np.array([[0.5, 0.5], [0.1, 0.5]]))
        none = np.zeros(2, bool)
        # the first landmark is there: 0.25 x 0.5 against 0.75 x 0.1, or 5 to 3; it is absent: 0.125 to 0.675
        assert model.energy(along_r(0.0, 10.0), none) == pytest.approx(-np.log(5 / 8))
        absent = np.array([True, False])
        assert model.energy(along_r(NAN, 10.0), absent) == pytest.approx(-np.log(0.125 / 0.8))
        place = model.conditional(along_r(NAN, NAN), 1, absent)
        np.testing.assert_allclose(place.mean, [(0.125 - 0.675) / 0.8 * 10, 0, 0], atol=1e-9)
        assert model.energy(along_r(NAN, 10.0)) == pytest.approx(-np.log(0.25))

    def test_the_log_density_counts_presence(self) -> None:
        model = two_kinds(np.array([[0.5, 0.5], [0.1, 0.5]]))
        [density] = model.log_densities(along_r(NAN, 10.0)[None], np.array([[True, False]]))
        assert density == pytest.approx(np.log(0.25 * 0.5 * 0.5) - 1.5 * np.log(2 * np.pi))

    def test_without_presence_the_absent_are_missing(self) -> None:
        layout = along_r(NAN, 9.0)
        assert two_kinds().energy(layout, np.array([True, False])) == two_kinds().energy(layout)

    @pytest.mark.parametrize("components", [1, 3])
    @pytest.mark.parametrize("missing", [(), (1,), (0, 3)])
    def test_the_gradient_is_that_of_finite_differences(self, components: int, missing: tuple[int, ...]) -> None:
        model = random_model(5, components, 4)
        layout = np.random.default_rng(6).normal(0.0, 2.0, (4, 3))
        layout[list(missing)] = NAN
        absent = np.arange(4) == 0 if 0 in missing else None
        gradient = model.gradient(layout, absent)
        for index in np.ndindex(4, 3):
            step = np.zeros((4, 3))
            step[index] = 1e-5
            ahead, behind = model.energy(layout + step, absent), model.energy(layout - step, absent)
            assert gradient[index] == pytest.approx((ahead - behind) / 2e-5, abs=1e-6)
        assert np.abs(gradient[~np.isin(np.arange(4), missing)]).min() > 1e-3

    def test_conditional_and_marginal_density_multiply_to_the_joint_one(self) -> None:
        model = random_model(8, 1, 3)
        layout = np.random.default_rng(9).normal(0.0, 2.0, (3, 3))
        others = np.where(np.arange(3)[:, None] == 2, NAN, layout)
        distance = model.conditional(layout, 2).distance(layout[2])
        assert model.energy(layout) == pytest.approx(model.energy(others) + 0.5 * distance**2)

    def test_a_conditional_mixture_has_the_moments_of_its_samples(self) -> None:
        """Importance weights: samples of the landmark, weighted by the density of the whole layout."""
        model = random_model(3, 3, 2)
        layout = np.array([[1.0, -1.0, 0.5], [NAN, NAN, NAN]])
        place = model.conditional(layout, 1)
        rng = np.random.default_rng(1)
        samples = rng.multivariate_normal(place.mean, 2.0 * place.covariance, 40_000)
        layouts = np.stack([np.broadcast_to(layout[0], samples.shape), samples], axis=1)
        residual = samples - place.mean
        proposal = -0.25 * (residual * np.linalg.solve(place.covariance, residual.T).T).sum(axis=1)
        share = np.exp(model.log_densities(layouts) - proposal)
        share /= share.sum()
        sd = np.sqrt(np.diagonal(place.covariance))
        np.testing.assert_allclose(share @ samples, place.mean, atol=0.03 * sd.max())
        np.testing.assert_allclose(
            (residual * share[:, None]).T @ residual, place.covariance, atol=0.05 * sd.max() ** 2
        )


def test_its_arrays_can_be_stored_and_read_back() -> None:
    for model in (random_model(2, 3, 4), pair()):
        file = io.BytesIO()
        np.savez(file, **layout_model_to_arrays(model))
        file.seek(0)
        with np.load(file) as stored:
            back = layout_model_from_arrays(dict(stored))
        layout = np.arange(3.0 * len(model)).reshape(-1, 3)
        none = np.zeros(len(model), bool)
        assert back.log_densities(layout[None], none[None]) == model.log_densities(layout[None], none[None])
        assert (back.presence is None) == (model.presence is None)


def test_more_patterns_than_are_kept_give_the_same_energies() -> None:
    model = random_model(4, 2, 9)
    rng = np.random.default_rng(5)
    layouts = np.where(rng.uniform(size=(300, 9, 1)) < 0.5, NAN, rng.normal(size=(300, 9, 3)))
    energies = model.energies(layouts)
    np.testing.assert_allclose([model.energy(layout) for layout in layouts[::-1]], energies[::-1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": np.array([0.5, 0.6])}, "sum must be one"),
        ({"weights": np.array([-0.5, 1.5])}, "not be negative"),
        ({"weights": np.ones(1)}, "shapes"),
        ({"means": np.zeros((2, 2))}, "shapes"),
        ({"means": np.full((2, 2, 3), NAN)}, "finite"),
        ({"covariances": np.stack([np.eye(6), -np.eye(6)])}, "positive definite"),
        ({"covariances": np.stack([np.eye(5)] * 2)}, "shapes"),
        ({"presence": np.full((2, 3), 0.5)}, "probability"),
        ({"presence": np.ones((2, 2))}, "probability"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layout_model_from_arrays({**layout_model_to_arrays(two_kinds()), **change})


def test_layouts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="layouts of 2 landmarks"):
        pair().energy(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="placed and absent"):
        pair().energy(along_r(0.0, 10.0), np.array([True, False]))
