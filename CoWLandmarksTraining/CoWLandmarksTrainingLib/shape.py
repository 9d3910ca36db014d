"""Landmark shape models from configurations, in the frame in which their mean is at rest."""

from __future__ import annotations

import numpy as np
from CoWLandmarksLib.alignment import ShapeModel, fit_similarity_robustly
from CoWLandmarksLib.volume import apply_affine

_EXTRA_SD_MM = 0.5


def shape_model_of(configurations: np.ndarray, start: np.ndarray) -> ShapeModel:
    """Mean and covariance of configurations after similarity alignment to their mean.

    `configurations` (m, n, 3) mm, NaN where absent (left out of the fit, filled with the mean); `start` (n, 3)
    is the reference the mean is laid onto, so that the model stays in its frame.
    """
    mean = start
    for _ in range(2):
        aligned = np.array(
            [apply_affine(fit_similarity_robustly(points, mean).transform, points) for points in configurations]
        )
        mean = np.nanmean(aligned, axis=0)
        back = fit_similarity_robustly(mean, start).transform
        mean, aligned = apply_affine(back, mean), apply_affine(back, aligned)
    residuals = np.nan_to_num((aligned - mean).reshape(len(aligned), -1))
    covariance = residuals.T @ residuals / len(residuals) + _EXTRA_SD_MM**2 * np.eye(residuals.shape[1])
    return ShapeModel(mean, covariance)
