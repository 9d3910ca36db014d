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

    `source`, `target` (n, 3); returns the (4, 4) matrix from source to target.
    """
    w = np.ones(len(source)) if weights is None else np.asarray(weights, float)
    w = w / w.sum()
    source_mean, target_mean = w @ source, w @ target
    a, b = source - source_mean, target - target_mean
    u, singular, vt = np.linalg.svd(b.T @ (w[:, None] * a))
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ np.diag(sign) @ vt
    scale = float(singular @ sign / max((w @ (a * a)).sum(), 1e-12))
    return _similarity(rotation, scale, source_mean, target_mean)


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
    candidates = [_clamped(fit_similarity(a, b, w), a, b, w, scale_range)]
    rng = np.random.default_rng(0)
    chance = w / w.sum()
    for _ in range(300 if len(a) > 3 else 0):
        pick = rng.choice(len(a), 3, replace=False, p=chance) if np.count_nonzero(chance) >= 3 else np.arange(3)
        base = a[pick] - a[pick].mean(axis=0)
        if np.linalg.svd(base, compute_uv=False)[1] < 4.0:
            continue
        candidates.append(_clamped(fit_similarity(a[pick], b[pick]), a[pick], b[pick], np.ones(3), scale_range))
    costs = []
    for matrix in candidates:
        residual = np.linalg.norm(apply_affine(matrix, a) - b, axis=1)
        costs.append(float(w @ np.minimum((residual / tolerance) ** 2, 1.0)))
    return candidates[int(np.argmin(costs))]


def _clamped(
    matrix: np.ndarray, a: np.ndarray, b: np.ndarray, w: np.ndarray, scale_range: tuple[float, float]
) -> np.ndarray:
    """The same rotation with the scale brought into its range."""
    scale = float(np.cbrt(np.linalg.det(matrix[:3, :3])))
    allowed = float(np.clip(scale, *scale_range))
    if allowed == scale or scale <= 0:
        return matrix
    share = w / w.sum()
    return _similarity(matrix[:3, :3] / scale, allowed, share @ a, share @ b)


def _similarity(rotation: np.ndarray, scale: float, source_mean: np.ndarray, target_mean: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = scale * rotation
    matrix[:3, 3] = target_mean - matrix[:3, :3] @ source_mean
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
