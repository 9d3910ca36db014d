"""Shape models made from configurations."""

from __future__ import annotations

import numpy as np
import pytest
from CoWLandmarksLib.core.volume import apply_affine
from CoWLandmarksTrainingLib.cohort.reference_shape import shape_model_of
from CoWLandmarksTrainingLib.phantom.atlas import default_atlas
from CoWLandmarksTrainingLib.phantom.pose import sample_pose

CIRCLE = default_atlas().shape_models["patients"].mean


def heads(count: int, spread: float, seed: int = 0) -> np.ndarray:
    """Circles with independent variation of `spread` mm per coordinate, each in a pose of its own."""
    rng = np.random.default_rng(seed)
    return np.array(
        [apply_affine(sample_pose(rng), CIRCLE + rng.normal(0, spread, CIRCLE.shape)) for _ in range(count)]
    )


def test_pose_and_size_are_no_part_of_the_shape() -> None:
    model = shape_model_of(heads(3, 0.0), CIRCLE)
    np.testing.assert_allclose(model.mean, CIRCLE, atol=1e-3)
    np.testing.assert_allclose(model.covariance, 0.25 * np.eye(57), atol=1e-3)


def test_the_mean_and_the_variation_of_the_population_come_out() -> None:
    model = shape_model_of(heads(10, 1.5), CIRCLE)
    assert np.linalg.norm(model.mean - CIRCLE, axis=1).max() < 2.5
    # 1.5^2 per coordinate, less the 7 of 57 degrees of freedom of the pose and a tenth for the mean, plus 0.5^2
    assert model.covariance.diagonal().mean() == pytest.approx(2.25 * 0.9 * 50 / 57 + 0.25, rel=0.15)
    np.testing.assert_allclose(model.covariance, model.covariance.T)
    assert np.linalg.eigvalsh(model.covariance).min() > 0.2


def test_the_model_lies_in_the_frame_of_the_start() -> None:
    moved = CIRCLE + np.array([5.0, -3.0, 2.0])
    model = shape_model_of(heads(3, 0.0), moved)
    np.testing.assert_allclose(model.mean, moved, atol=1e-3)


def test_a_landmark_that_nobody_has_stays_where_the_reference_has_it() -> None:
    configurations = heads(3, 0.0)
    configurations[:, 4] = np.nan
    model = shape_model_of(configurations, CIRCLE)
    np.testing.assert_allclose(model.mean, CIRCLE, atol=1e-3)
    assert np.isfinite(model.covariance).all()


def test_absent_landmarks_are_left_out() -> None:
    population = heads(3, 0.0)
    population[0, 3] = population[2, 11] = np.nan
    model = shape_model_of(population, CIRCLE)
    np.testing.assert_allclose(model.mean, CIRCLE, atol=1e-3)
    assert np.isfinite(model.covariance).all()
