"""The robust similarity fit and the landmark shape model."""

from __future__ import annotations

import numpy as np
import pytest
from CoWLandmarksLib.core.alignment import (
    ShapeModel,
    fit_similarity,
    fit_similarity_robustly,
    reference_grid,
    shape_model_from_dict,
    shape_model_to_dict,
    side_turn_deg,
)
from CoWLandmarksLib.core.volume import apply_affine
from CoWLandmarksLib.detect.verdict import rotation_deg
from CoWLandmarksTrainingLib.phantom.atlas import default_atlas
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

CIRCLE = default_atlas().shape_models["patients"].mean
"""(19, 3) mm: the mean circle of Willis in the reference frame."""


def similarity(angles: tuple[float, float, float], scale: float, shift: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = scale * Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return matrix


similarities = st.builds(
    similarity,
    st.tuples(st.floats(-40, 40), st.floats(-40, 40), st.floats(-180, 180)),
    st.floats(0.85, 1.2),
    st.tuples(*[st.floats(-300, 300)] * 3),
)


def with_outliers(points: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of which `count` lie 25 to 60 mm off; and which ones."""
    rng = np.random.default_rng(seed)
    wrong = rng.choice(len(points), count, replace=False)
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    moved = points.copy()
    moved[wrong] += direction * rng.uniform(25, 60, (count, 1))
    return moved, wrong


class TestSimilarity:
    """Rotation, isotropic scale and shift from pairs of points."""

    @settings(max_examples=30, deadline=None)
    @given(similarities)
    def test_exact_pairs_give_back_the_transform(self, transform: np.ndarray) -> None:
        target = apply_affine(transform, CIRCLE)
        np.testing.assert_allclose(fit_similarity(CIRCLE, target), transform, atol=1e-6)

    @settings(max_examples=8, deadline=None)
    @given(similarities)
    def test_the_robust_fit_gives_it_back_too(self, transform: np.ndarray) -> None:
        fit = fit_similarity_robustly(CIRCLE, apply_affine(transform, CIRCLE))
        np.testing.assert_allclose(fit.transform, transform, atol=1e-6)
        np.testing.assert_allclose(fit.weights, 1.0, atol=1e-6)
        np.testing.assert_allclose(fit.residual_mm, 0.0, atol=1e-4)
        assert fit.scale == pytest.approx(np.cbrt(np.linalg.det(transform[:3, :3])))

    @pytest.mark.parametrize("seed", range(6))
    def test_eight_wrong_points_of_nineteen_do_not_matter(self, seed: int) -> None:
        transform = similarity((15, -10, 8), 1.07, (12, -30, 40))
        source, wrong = with_outliers(CIRCLE, 8, seed)
        fit = fit_similarity_robustly(source, apply_affine(transform, CIRCLE))
        right = np.setdiff1d(np.arange(19), wrong)
        assert np.linalg.norm(apply_affine(fit.transform - transform, CIRCLE), axis=1).max() < 0.6
        assert (fit.weights[right] > 0.95).all()
        assert (fit.weights[wrong] < 0.05).all()

    def test_the_plain_fit_would_be_led_astray_by_them(self) -> None:
        source, _ = with_outliers(CIRCLE, 8, 0)
        assert np.linalg.norm(apply_affine(fit_similarity(source, CIRCLE), CIRCLE) - CIRCLE, axis=1).max() > 3.0

    def test_noise_of_two_millimetres_is_averaged_out(self) -> None:
        noisy = CIRCLE + np.random.default_rng(4).normal(0, 2.0 / np.sqrt(3), CIRCLE.shape)
        fit = fit_similarity_robustly(noisy, CIRCLE)
        assert np.linalg.norm(apply_affine(fit.transform, CIRCLE) - CIRCLE, axis=1).mean() < 1.0

    @pytest.mark.parametrize("robust", [False, True])
    def test_mirrored_points_are_never_fitted_by_a_reflection(self, robust: bool) -> None:
        mirrored = CIRCLE * (-1.0, 1.0, 1.0)
        transform = fit_similarity_robustly(CIRCLE, mirrored).transform if robust else fit_similarity(CIRCLE, mirrored)
        assert np.linalg.det(transform[:3, :3]) > 0.0
        rotation = transform[:3, :3] / np.cbrt(np.linalg.det(transform[:3, :3]))
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)

    def test_flat_points_are_never_fitted_by_a_reflection(self) -> None:
        flat = CIRCLE * (1.0, 1.0, 0.0)
        transform = fit_similarity(flat, flat * (-1.0, 1.0, 1.0))
        assert np.linalg.det(transform[:3, :3]) > 0.0
        np.testing.assert_allclose(apply_affine(transform, flat), flat * (-1.0, 1.0, 1.0), atol=1e-6)

    @pytest.mark.parametrize(("true", "fitted"), [(0.5, 0.8), (0.9, 0.9), (1.2, 1.2), (2.0, 1.25)])
    def test_the_scale_stays_in_its_range(self, true: float, fitted: float) -> None:
        target = apply_affine(similarity((0, 0, 20), true, (5, 5, 5)), CIRCLE)
        fit = fit_similarity_robustly(CIRCLE, target, tolerance_mm=1000.0)
        assert fit.scale == pytest.approx(fitted, rel=1e-6)
        np.testing.assert_allclose(apply_affine(fit.transform, CIRCLE).mean(axis=0), target.mean(axis=0), atol=0.5)

    @pytest.mark.parametrize("known", [0, 1, 2])
    def test_fewer_than_three_points_are_refused(self, known: int) -> None:
        source = np.full((19, 3), np.nan)
        source[:known] = CIRCLE[:known]
        with pytest.raises(ValueError, match="three points"):
            fit_similarity_robustly(source, CIRCLE)
        with pytest.raises(ValueError, match="three points"):
            fit_similarity_robustly(CIRCLE, CIRCLE, np.arange(19) < known)

    def test_three_points_are_enough(self) -> None:
        transform = similarity((5, 6, 7), 0.95, (1, 2, 3))
        source = np.full((19, 3), np.nan)
        source[[0, 8, 14]] = CIRCLE[[0, 8, 14]]
        fit = fit_similarity_robustly(source, apply_affine(transform, CIRCLE))
        np.testing.assert_allclose(fit.transform, transform, atol=1e-6)
        assert np.flatnonzero(fit.weights).tolist() == [0, 8, 14]
        assert np.isnan(fit.residual_mm[1])

    def test_a_point_of_weight_zero_has_no_say(self) -> None:
        moved = CIRCLE.copy()
        moved[5] += 40.0
        fit = fit_similarity_robustly(moved, CIRCLE, (np.arange(19) != 5).astype(float))
        np.testing.assert_allclose(fit.transform, np.eye(4), atol=1e-9)

    def test_the_same_points_give_the_same_fit(self) -> None:
        source, _ = with_outliers(CIRCLE, 6, 3)
        one, other = (fit_similarity_robustly(source, CIRCLE).transform for _ in range(2))
        np.testing.assert_array_equal(one, other)

    def test_the_angle_of_a_turn_is_reported_whatever_the_size(self) -> None:
        assert rotation_deg(similarity((0, 0, 30), 1.1, (1, 2, 3))) == pytest.approx(30.0)
        assert rotation_deg(similarity((180, 0, 0), 0.9, (0, 0, 0))) == pytest.approx(180.0)

    def test_the_turn_of_the_sides_leaves_pitch_out(self) -> None:
        assert side_turn_deg(similarity((100, 0, 0), 1.1, (1, 2, 3))) == pytest.approx(0.0, abs=1e-5)
        assert side_turn_deg(similarity((0, 0, 30), 1.1, (1, 2, 3))) == pytest.approx(30.0)
        assert side_turn_deg(similarity((0, 180, 0), 0.9, (0, 0, 0))) == pytest.approx(180.0)


def random_shape(n: int = 4, seed: int = 0) -> ShapeModel:
    """A small shape model with strong correlations."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(3 * n, 3 * n))
    return ShapeModel(rng.normal(0, 10, (n, 3)), factor @ factor.T + 0.1 * np.eye(3 * n))


class TestShapeModel:
    """Where landmarks are expected, given some of them."""

    def test_an_unobserved_landmark_has_the_mean_and_spread_of_the_gaussian_conditional(self) -> None:
        shape = random_shape()
        observed = shape.mean + np.random.default_rng(1).normal(0, 0.5, (4, 3))
        observed[2] = np.nan
        noise = np.array([0.5, 1.0, 1.0, 2.0])
        posterior = shape.posterior(observed, noise, iterations=1)
        seen, hidden = [0, 1, 2, 3, 4, 5, 9, 10, 11], [6, 7, 8]
        # Bishop 2006, equations 2.81 and 2.82, with the observation noise added to the known block
        known = shape.covariance[np.ix_(seen, seen)] + np.diag(np.repeat(noise[[0, 1, 3]] ** 2, 3))
        cross = shape.covariance[np.ix_(hidden, seen)] @ np.linalg.inv(known)
        mean = shape.mean[2] + cross @ (observed - shape.mean)[[0, 1, 3]].ravel()
        variance = shape.covariance[np.ix_(hidden, hidden)] - cross @ shape.covariance[np.ix_(seen, hidden)]
        np.testing.assert_allclose(posterior.mean[2], mean, atol=1e-8)
        assert posterior.sd_mm[2] == pytest.approx(np.sqrt(variance.diagonal().mean()))
        assert posterior.surprise[2] == 0.0

    def test_without_any_observation_the_population_remains(self) -> None:
        shape = random_shape()
        posterior = shape.posterior(np.full((4, 3), np.nan), np.ones(4))
        np.testing.assert_allclose(posterior.mean, shape.mean)
        np.testing.assert_allclose(posterior.sd_mm**2, shape.covariance.diagonal().reshape(4, 3).mean(axis=1))

    def test_exact_observations_are_believed(self) -> None:
        shape = random_shape()
        observed = shape.mean + 0.3
        posterior = shape.posterior(observed, np.full(4, 1e-3))
        np.testing.assert_allclose(posterior.mean, observed, atol=0.01)
        assert (posterior.sd_mm < 0.01).all()

    def test_an_outlier_is_pulled_back_and_the_others_stay(self) -> None:
        atlas = default_atlas().shape_models["patients"]
        shape = ShapeModel(atlas.mean, atlas.covariance + 0.25 * np.eye(57))
        rng = np.random.default_rng(5)
        truth = shape.mean + (np.linalg.cholesky(shape.covariance) @ rng.normal(size=57)).reshape(19, 3)
        observed = truth + rng.normal(0, 0.5, (19, 3))
        observed[6] = truth[6] + (0.0, 25.0, 0.0)
        posterior = shape.posterior(observed, np.full(19, 0.6))
        assert np.linalg.norm(posterior.mean[6] - truth[6]) < 8.0
        others = np.arange(19) != 6
        assert np.linalg.norm(posterior.mean - truth, axis=1)[others].max() < 2.0
        assert posterior.surprise[6] > 5.0
        assert (posterior.surprise[others] < 3.0).all()

    def test_observing_more_never_makes_less_certain(self) -> None:
        shape = random_shape()
        observed = shape.mean.copy()
        observed[3] = np.nan
        fewer = observed.copy()
        fewer[2] = np.nan
        noise = np.ones(4)
        assert (
            shape.posterior(observed, noise, iterations=1).sd_mm
            <= shape.posterior(fewer, noise, iterations=1).sd_mm + 1e-9
        ).all()

    def test_a_shape_model_survives_the_round_trip_through_plain_values(self) -> None:
        shape = random_shape()
        again = shape_model_from_dict(shape_model_to_dict(shape))
        np.testing.assert_array_equal(again.mean, shape.mean)
        np.testing.assert_array_equal(again.covariance, shape.covariance)


def test_the_reference_grid_has_the_size_and_place_of_the_contract() -> None:
    grid = reference_grid()
    assert grid.shape == (96, 160, 192)
    np.testing.assert_allclose(grid.spacing, (0.513, 0.513, 0.8))
    np.testing.assert_allclose(grid.centre, (0.0, 14.0, 2.5))
    np.testing.assert_allclose(grid.size * grid.spacing, (98.496, 82.08, 76.8))
    ijk = apply_affine(grid.ras_to_ijk, CIRCLE)
    assert (ijk > 0).all()
    assert (ijk < grid.size - 1).all()
