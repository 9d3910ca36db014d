"""Layout models from annotation sets: against closed forms, and against populations that are known."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from CoWLandmarksLib.core.errors import AnnotationError
from CoWLandmarksLib.core.layout_model import LayoutModel
from CoWLandmarksTrainingLib.cohort.layout_fit import LayoutFit, best_layout_fit, fit_layout_model, held_out_log_density

NAN = np.nan
UNSHRUNK = LayoutFit(pseudo_cases=1e-9)
BASE = np.array([[0.0, 0.0, 0.0], [15.0, 12.0, 2.0], [-15.0, 12.0, 2.0]])
KINDS = np.stack([BASE, BASE + np.array([[0.0, 4.0, 0.0], [0.0, 0.0, 9.0], [0.0, 0.0, 0.0]])])


def drawn(count: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Layouts of three landmarks with an SD of 1 mm, `share` of them of the first kind; and which these are."""
    rng = np.random.default_rng(seed)
    first = rng.uniform(size=count) < share
    return np.where(first[:, None, None], KINDS[0], KINDS[1]) + rng.normal(size=(count, 3, 3)), first


@lru_cache
def with_gaps() -> np.ndarray:
    """240 layouts, three in ten of the first kind, each landmark missing in one of eight."""
    layouts, _ = drawn(240, 0.3, 1)
    return np.where(np.random.default_rng(2).uniform(size=(240, 3, 1)) < 1 / 8, NAN, layouts)


@lru_cache
def mixture() -> LayoutModel:
    return fit_layout_model(with_gaps(), fit=LayoutFit(2, shared_cases=0.0, pseudo_sd_mm=1.0))


class TestOneGaussian:
    """Against closed forms."""

    def test_the_covariance_is_shrunk_by_the_pseudo_cases(self) -> None:
        layouts = np.array([[[-1.0, 2.0, 0.0]], [[1.0, 4.0, 0.0]]])
        model = fit_layout_model(layouts)
        np.testing.assert_allclose(model.means, [[[0.0, 3.0, 0.0]]], atol=1e-12)
        # scatter 2 along R and A, 2 across, and ten pseudo-cases of 9 mm^2, over twelve cases
        expected = np.array([[92.0, 2.0, 0.0], [2.0, 92.0, 0.0], [0.0, 0.0, 90.0]]) / 12
        np.testing.assert_allclose(model.covariances, [expected], atol=1e-12)

    def test_without_pseudo_cases_and_gaps_it_is_the_sample_covariance(self) -> None:
        layouts, _ = drawn(40, 0.5, 3)
        model = fit_layout_model(layouts, fit=UNSHRUNK)
        np.testing.assert_allclose(model.means[0], layouts.mean(axis=0))
        flat = layouts.reshape(40, 9)
        np.testing.assert_allclose(model.covariances[0], np.cov(flat.T, bias=True), rtol=1e-6, atol=1e-6)

    def test_a_landmark_missing_in_half_of_the_sets_has_its_maximum_likelihood(self) -> None:
        """Closed form (Little and Rubin 2002, section 7.2): regression on the sets that have both landmarks."""
        rng = np.random.default_rng(4)
        first = rng.normal(0.0, 2.0, (60, 3))
        second = first @ rng.normal(size=(3, 3)) + rng.normal(0.0, 1.0, (60, 3)) + 10.0
        # missing where the first landmark lies on the left: the mean of the others alone would be wrong
        both = first[:, 0] > 0
        layouts = np.stack([first, np.where(both[:, None], second, NAN)], axis=1)
        joint = np.cov(np.concatenate([first[both], second[both]], axis=1).T, bias=True)
        slope = np.linalg.solve(joint[:3, :3], joint[:3, 3:])
        inside = np.cov(first.T, bias=True)
        mean = second[both].mean(axis=0) + (first.mean(axis=0) - first[both].mean(axis=0)) @ slope
        model = fit_layout_model(layouts, fit=UNSHRUNK)
        np.testing.assert_allclose(model.means[0], [first.mean(axis=0), mean], atol=0.01)
        expected = joint[3:, 3:] + slope.T @ (inside - joint[:3, :3]) @ slope
        np.testing.assert_allclose(model.covariances[0][3:, 3:], expected, rtol=0.01, atol=0.03)
        np.testing.assert_allclose(model.covariances[0][:3, 3:], inside @ slope, rtol=0.01, atol=0.03)
        assert np.abs(mean - second[both].mean(axis=0)).max() > 0.5

    def test_a_set_without_any_landmark_has_no_influence(self) -> None:
        layouts, _ = drawn(10, 0.5, 5)
        empty = np.concatenate([layouts, np.full((1, 3, 3), NAN)])
        # EM comes to the same covariance in steps: what is missing is completed by the model itself
        model, expected = fit_layout_model(empty), fit_layout_model(layouts)
        np.testing.assert_allclose(model.covariances, expected.covariances, rtol=1e-3, atol=1e-3)

    def test_a_partly_known_position_is_missing(self) -> None:
        layouts, _ = drawn(10, 0.5, 5)
        half, none = layouts.copy(), layouts.copy()
        half[0, 1, 0], none[0, 1] = NAN, NAN
        np.testing.assert_array_equal(fit_layout_model(half).covariances, fit_layout_model(none).covariances)


class TestMixture:
    """A population of two kinds of heads."""

    def test_expectation_maximisation_recovers_it(self) -> None:
        model = mixture()
        order = np.argsort(model.weights)
        np.testing.assert_allclose(model.weights[order], [0.3, 0.7], atol=0.08)
        np.testing.assert_allclose(model.means[order], KINDS, atol=0.45)
        np.testing.assert_allclose(model.covariances, np.stack([np.eye(9)] * 2), atol=0.45)

    def test_held_out_likelihood_chooses_two_components(self) -> None:
        fits = [LayoutFit(components, pseudo_sd_mm=1.0) for components in (1, 2, 3)]
        best, densities = best_layout_fit(with_gaps(), fits=fits, folds=3)
        assert best.components == 2
        assert densities[1] > densities[0] + 0.3

    def test_it_chooses_one_where_there_is_one(self) -> None:
        layouts, _ = drawn(100, 1.0, 6)
        best, _ = best_layout_fit(layouts, fits=[LayoutFit(1), LayoutFit(2)], folds=3)
        assert best.components == 1

    def test_shared_cases_draw_the_components_together(self) -> None:
        apart, drawn_together = mixture(), fit_layout_model(with_gaps(), fit=LayoutFit(2, shared_cases=1e6))
        one = fit_layout_model(with_gaps())
        np.testing.assert_allclose(drawn_together.covariances[0], one.covariances[0], rtol=0.01, atol=0.01)
        assert np.abs(apart.covariances[0] - one.covariances[0]).max() > 2.0

    def test_the_order_of_the_sets_has_no_influence(self) -> None:
        shuffled = with_gaps()[np.random.default_rng(7).permutation(240)]
        again = fit_layout_model(shuffled, fit=LayoutFit(2, shared_cases=0.0, pseudo_sd_mm=1.0))
        np.testing.assert_array_equal(again.energies(with_gaps()), mixture().energies(with_gaps()))
        assert held_out_log_density(shuffled, folds=3) == held_out_log_density(with_gaps(), folds=3)

    def test_absence_that_goes_with_a_kind_of_head_is_learnt(self) -> None:
        layouts, first = drawn(150, 0.5, 8)
        absent = np.zeros((150, 3), bool)
        absent[:, 0] = first & (np.random.default_rng(9).uniform(size=150) < 0.8)
        layouts[absent] = NAN
        model = fit_layout_model(layouts, absent, LayoutFit(2, pseudo_sd_mm=1.0))
        assert model.presence is not None
        kind = int(np.argmin(model.means[:, 1, 2]))
        assert model.presence[kind, 0] == pytest.approx(0.2, abs=0.1)
        assert model.presence[1 - kind, 0] > 0.95
        # nothing else is known of this head: that the first landmark is absent moves the second
        unknown, none = np.full((3, 3), NAN), np.zeros(3, bool)
        absent_first = np.array([True, False, False])
        assert model.conditional(unknown, 1, absent_first).mean[2] < 3.0
        assert model.conditional(unknown, 1, none).mean[2] > 5.0


def test_presence_is_a_rate_among_heads_in_which_it_is_known() -> None:
    layouts = np.zeros((5, 2, 3))
    layouts[1:, 1] = NAN
    absent = np.zeros((5, 2), bool)
    absent[1:3, 1] = True
    model = fit_layout_model(layouts, absent)
    # the first: five of five; the second: one of three, twice not known; a pseudo-case with and one without
    np.testing.assert_allclose(model.presence, [[6 / 7, 2 / 5]])
    assert fit_layout_model(layouts).presence is None


def test_a_held_out_density_is_that_of_a_model_of_the_other_sets() -> None:
    layouts = np.array([[[0.0, 0.0, 0.0]], [[3.0, 0.0, 0.0]]])
    # each fold: the other set as mean, and ten pseudo-cases of 9 mm^2 over eleven cases
    variance = 90 / 11
    expected = -0.5 * (9 / variance + 3 * np.log(2 * np.pi * variance))
    assert held_out_log_density(layouts, folds=2) == pytest.approx(expected)


def test_a_landmark_of_one_set_alone_is_left_out_where_that_is_tested() -> None:
    layouts = np.zeros((2, 2, 3))
    layouts[1, 1] = NAN
    expected = -1.5 * np.log(2 * np.pi * 90 / 11)
    assert held_out_log_density(layouts, folds=2) == pytest.approx(expected)


def test_a_landmark_that_no_set_has_is_named() -> None:
    layouts = np.zeros((4, 3, 3))
    layouts[:, 1] = NAN
    with pytest.raises(AnnotationError, match=r"number 2 of 3"):
        fit_layout_model(layouts)


@pytest.mark.parametrize(
    ("layouts", "absent", "fit", "message"),
    [
        (np.zeros((4, 3)), None, LayoutFit(), "sets, landmarks, 3"),
        (np.zeros((0, 3, 3)), None, LayoutFit(), "sets, landmarks, 3"),
        (np.zeros((4, 3, 3)), np.ones((4, 3), bool), LayoutFit(), "no landmark that has a position"),
        (np.zeros((4, 3, 3)), np.zeros((3, 3), bool), LayoutFit(), "sets, landmarks"),
        (np.zeros((4, 3, 3)), None, LayoutFit(0), "components=0"),
        (np.zeros((4, 3, 3)), None, LayoutFit(pseudo_cases=0.0), "pseudo_cases=0.0"),
    ],
)
def test_what_does_not_fit_is_refused(
    layouts: np.ndarray, absent: np.ndarray | None, fit: LayoutFit, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fit_layout_model(layouts, absent, fit)


def test_more_folds_than_sets_are_refused() -> None:
    with pytest.raises(ValueError, match="5 folds"):
        held_out_log_density(np.zeros((4, 1, 3)))
