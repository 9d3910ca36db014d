"""From rough landmarks to the reference frame: robust similarity fit and the landmark shape model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .volume import Grid, apply_affine, axis_aligned_grid

REFERENCE_SHAPE = (96, 160, 192)
REFERENCE_SPACING_MM = np.array([0.513, 0.513, 0.8])
REFERENCE_CENTRE_MM = np.array([0.0, 14.0, 2.5])
CIRCLE_SHAPE, CIRCLE_SPACING_MM = (80, 80, 96), 1.0
"""What the circle network reads, about the same centre."""


def reference_grid() -> Grid:
    """The default reference grid: 192 x 160 x 96 voxels (R, A, S) of 0.513 x 0.513 x 0.8 mm."""
    return axis_aligned_grid(REFERENCE_CENTRE_MM, REFERENCE_SPACING_MM, REFERENCE_SHAPE)


@dataclass(frozen=True)
class ShapeModel:
    """Landmark configurations of a population in the reference frame.

    `mean` (n, 3) RAS mm; `covariance` (3n, 3n) mm^2 of the flattened (R, A, S) coordinates.
    """

    mean: np.ndarray
    covariance: np.ndarray

    def posterior(self, observed: np.ndarray, noise_mm: np.ndarray, *, iterations: int = 15) -> ShapePosterior:
        """Where the landmarks are, given noisy, possibly absent (NaN), possibly wrong observations.

        `observed` (n, 3) in the reference frame, `noise_mm` (n,) per-coordinate standard deviation.
        Observations that contradict the others lose weight (Student-t, 3 degrees of freedom, by iterated
        reweighting): Gaussian conditioning, Bishop 2006, section 2.3.
        """
        n = len(self.mean)
        seen = np.isfinite(observed).all(axis=1)
        flat = np.repeat(seen, 3)
        prior = self.covariance[np.ix_(flat, flat)]
        residual = (observed - self.mean)[seen].reshape(-1)
        base = np.asarray(noise_mm, float)[seen]
        variance = base**2
        gain_from = self.covariance[:, flat]
        for _ in range(iterations):
            gain = np.linalg.solve(prior + np.diag(np.repeat(variance, 3)), gain_from.T).T
            estimate = (gain @ residual).reshape(n, 3)
            spread = (self.covariance - gain @ gain_from.T).diagonal().reshape(n, 3)
            gap2 = ((residual.reshape(-1, 3) - estimate[seen]) ** 2).sum(axis=1) + spread[seen].sum(axis=1)
            variance = base**2 * (3.0 + gap2 / base**2) / (3.0 + 3.0)
        outlier = np.zeros(n)
        outlier[seen] = np.sqrt(gap2 / (3.0 * base**2))
        sd = np.sqrt(np.maximum(spread.mean(axis=1), 1e-6))
        return ShapePosterior(self.mean + estimate, sd, outlier)


@dataclass(frozen=True)
class ShapePosterior:
    """`mean` (n, 3) mm, `sd_mm` (n,) per coordinate; `surprise` (n,) how far each observation lies off, in SDs."""

    mean: np.ndarray
    sd_mm: np.ndarray
    surprise: np.ndarray


@dataclass(frozen=True)
class SimilarityFit:
    """`transform` (4, 4) source -> target; `weights` (n,) in [0, 1], 0 for outliers; `residual_mm` (n,)."""

    transform: np.ndarray
    weights: np.ndarray
    residual_mm: np.ndarray

    @property
    def scale(self) -> float:
        """Isotropic scale of the transform."""
        return float(np.cbrt(np.linalg.det(self.transform[:3, :3])))


def fit_similarity(source: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Least-squares similarity (rotation without reflection, isotropic scale, shift), Umeyama 1991.

    `source`, `target` (..., n, 3), `weights` (n,); returns the (..., 4, 4) matrices from source to target.
    """
    w = _shares(source, weights)
    source_mean, target_mean = w @ source, w @ target
    a, b = source - source_mean[..., None, :], target - target_mean[..., None, :]
    u, singular, vt = np.linalg.svd(np.swapaxes(b, -1, -2) @ (w[:, None] * a))
    sign = np.ones_like(singular)
    sign[..., 2] = np.sign(np.linalg.det(u) * np.linalg.det(vt))
    rotation = (u * sign[..., None, :]) @ vt
    scale = (singular * sign).sum(axis=-1) / np.maximum((w @ (a * a)).sum(axis=-1), 1e-12)
    return _similarity(scale[..., None, None] * rotation, source_mean, target_mean)


def fit_similarity_robustly(
    source: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    tolerance_mm: float = 7.0,
    scale_range: tuple[float, float] = (0.8, 1.25),
) -> SimilarityFit:
    """Similarity fit that tolerates up to about half wrong points.

    `source`, `target` (n, 3) with NaN rows where unknown; at least three known points are needed (raises
    ValueError). Starts from the sample of three points that most others agree with (fixed seed), then
    reweights (Geman-McClure with `tolerance_mm`). The scale is kept in `scale_range`.
    """
    known = np.isfinite(source).all(axis=1) & np.isfinite(target).all(axis=1)
    prior = np.ones(len(source)) if weights is None else np.asarray(weights, float)
    known &= prior > 0
    if known.sum() < 3:
        raise ValueError("three points are needed for a similarity fit")
    a, b, w = source[known], target[known], prior[known]
    best = _consensus(a, b, w, tolerance_mm, scale_range)
    for _ in range(30):
        residual = np.linalg.norm(apply_affine(best, a) - b, axis=1)
        factor = w / (1.0 + (residual / tolerance_mm) ** 2) ** 2
        best = _clamped(fit_similarity(a, b, factor), a, b, factor, scale_range)
    residual = np.linalg.norm(apply_affine(best, a) - b, axis=1)
    all_weights, all_residuals = np.zeros(len(source)), np.full(len(source), np.nan)
    all_weights[known] = 1.0 / (1.0 + (residual / tolerance_mm) ** 2) ** 2
    all_residuals[known] = residual
    return SimilarityFit(best, all_weights, all_residuals)


def _consensus(
    a: np.ndarray, b: np.ndarray, w: np.ndarray, tolerance: float, scale_range: tuple[float, float]
) -> np.ndarray:
    """Best of many three-point fits by truncated residuals."""
    picks = _picks_of_three(a, w)
    three_a, three_b = a[picks], b[picks]
    all_points = _clamped(fit_similarity(a, b, w), a, b, w, scale_range)
    candidates = np.concatenate(
        [all_points[None], _clamped(fit_similarity(three_a, three_b), three_a, three_b, None, scale_range)]
    )
    moved = a @ np.swapaxes(candidates[:, :3, :3], 1, 2) + candidates[:, None, :3, 3]
    residual = np.linalg.norm(moved - b, axis=2)
    costs = np.minimum((residual / tolerance) ** 2, 1.0) @ w
    best: np.ndarray = candidates[int(np.argmin(costs))]
    return best


def _picks_of_three(points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(m, 3) indices of points drawn by their weights, without those that lie on a line or close together."""
    if len(points) == 3:
        return np.empty((0, 3), int)
    rng = np.random.default_rng(0)
    chance = weights / weights.sum()
    if np.count_nonzero(chance) < 3:
        picks = np.arange(3)[None]
    else:
        picks = np.array([rng.choice(len(points), 3, replace=False, p=chance) for _ in range(300)])
    chosen = points[picks]
    spread = np.linalg.svd(chosen - chosen.mean(axis=1, keepdims=True), compute_uv=False)[:, 1]
    return picks[spread >= 4.0]


def _clamped(
    matrix: np.ndarray, a: np.ndarray, b: np.ndarray, weights: np.ndarray | None, scale_range: tuple[float, float]
) -> np.ndarray:
    """The same rotations with the scales brought into their range; arguments as of `fit_similarity`, and its result."""
    scale = np.cbrt(np.linalg.det(matrix[..., :3, :3]))
    factor = np.where(scale > 0, np.clip(scale, *scale_range), 1.0) / np.where(scale > 0, scale, 1.0)
    w = _shares(a, weights)
    return _similarity(factor[..., None, None] * matrix[..., :3, :3], w @ a, w @ b)


def _shares(points: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """(n,) weights of points (..., n, 3) that add up to 1."""
    w = np.ones(points.shape[-2]) if weights is None else np.asarray(weights, float)
    return w / w.sum()


def _similarity(scaled_rotation: np.ndarray, source_mean: np.ndarray, target_mean: np.ndarray) -> np.ndarray:
    matrix = np.zeros((*scaled_rotation.shape[:-2], 4, 4))
    matrix[..., :3, :3] = scaled_rotation
    matrix[..., :3, 3] = target_mean - (scaled_rotation @ source_mean[..., None])[..., 0]
    matrix[..., 3, 3] = 1.0
    return matrix


def side_turn_deg(transform: np.ndarray) -> float:
    """Angle (degrees) by which a similarity transform (4, 4) turns the left-right axis; pitch does not count."""
    axis = transform[:3, 0] / np.linalg.norm(transform[:3, 0])
    return float(np.degrees(np.arccos(np.clip(axis[0], -1.0, 1.0))))


def shape_model_to_dict(shape: ShapeModel) -> dict[str, Any]:
    """Nested lists, as stored in a model file."""
    return {"mean": shape.mean.tolist(), "covariance": shape.covariance.tolist()}


def shape_model_from_dict(content: dict[str, Any]) -> ShapeModel:
    """Inverse of `shape_model_to_dict`."""
    return ShapeModel(np.array(content["mean"], float), np.array(content["covariance"], float))
