"""Errors like those of the stages before the one that is trained: where they would put landmarks, and how they would
align a scan."""

from __future__ import annotations

import numpy as np
from CoWLandmarksLib.core.alignment import fit_similarity_robustly
from scipy.spatial.transform import Rotation

CIRCLE_ERRORS_SHARE = 0.6
"""How often the fine network gets the points of the circle network, instead of the coarse one."""
_TURN_DEG, _STRONG_TURN_DEG, _STRONG_TURN_SHARE = 3.0, 8.0, 0.15
_SCALE_SD = 0.03


def with_expected_places(landmarks: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Landmarks (n, 3) with the absent ones (NaN) where the others and a shape `mean` (n, 3), same axes, expect them.

    A detector does not know beforehand which landmarks are absent and gives the network a prior for each of them;
    without these places an empty prior would give the absence away in training.
    """
    known = np.isfinite(landmarks).all(axis=1)
    shift = np.median((landmarks - mean)[known], axis=0)
    return np.where(known[:, None], landmarks, mean + shift)


def simulated_estimate(
    landmarks: np.ndarray, rng: np.random.Generator, mean: np.ndarray, *, with_circle: bool
) -> np.ndarray:
    """Where the stages before the last one would expect landmarks (n, 3; NaN: absent or unknown).

    `mean` (n, 3) is the mean shape, same axes; `with_circle`: a circle stage stands before the last one, whose smaller
    errors are drawn more often than those of the coarse stage, by which alone an older model may go.
    """
    complete = with_expected_places(landmarks, mean)
    if with_circle and rng.random() < CIRCLE_ERRORS_SHARE:
        return simulated_circle_estimate(complete, rng, mean)
    return simulated_coarse_estimate(complete, rng, mean)


def simulated_coarse_estimate(landmarks: np.ndarray, rng: np.random.Generator, mean: np.ndarray) -> np.ndarray:
    """Landmarks (n, 3) with errors like those of the coarse stage.

    A common shift, a spread, some points far off, and a pull towards the shape `mean` (n, 3; same axes): a doubtful
    point is put where it usually lies, so the further from there a landmark is, the further off is its estimate.
    Without the pull the fine network learns to trust the prior along a vessel and never leaves it (M1-M2).
    """
    n = len(landmarks)
    usual = mean + np.median(landmarks - mean, axis=0)
    pull = rng.uniform(0.0, 1.2, (n, 1)) * np.sqrt(rng.uniform(0.0, 1.0))
    spread = rng.uniform(0.6, 2.5)
    far = rng.random(n) < rng.uniform(0.0, 0.3)
    noise = rng.normal(0, 1, (n, 3)) * np.where(far, 4.5, spread)[:, None] + rng.normal(0, 0.8, 3)
    return landmarks + pull * (usual - landmarks) + noise


def simulated_circle_estimate(landmarks: np.ndarray, rng: np.random.Generator, mean: np.ndarray) -> np.ndarray:
    """Landmarks (n, 3) with errors like those of the circle stage: mostly a millimetre, one in twenty far off.

    Those far off lie elsewhere along a vessel or where they usually lie (`mean` (n, 3); same axes).
    """
    n = len(landmarks)
    usual = mean + np.median(landmarks - mean, axis=0)
    far = rng.random(n) < rng.uniform(0.0, 0.12)
    pull = np.where(far, rng.uniform(0.0, 1.0, n), rng.uniform(0.0, 0.15, n))[:, None]
    spread = np.where(far, 3.0, rng.uniform(0.3, 1.0))[:, None]
    noise = rng.normal(0, 1, (n, 3)) * spread + rng.normal(0, 0.3, 3)
    return landmarks + pull * (usual - landmarks) + noise


def simulated_alignment(
    landmarks: np.ndarray, mean: np.ndarray, centre: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """A similarity (4, 4) from the frame of landmarks (n, 3; NaN: none) to that of the shape `mean` (n, 3), with
    errors like those of an alignment by the coarse stage: a fit of noisy landmarks, then a turn and a scale about
    `centre` (3,)."""
    noisy = landmarks + rng.normal(0, rng.uniform(0.5, 2.5), landmarks.shape)
    aligned = fit_similarity_robustly(noisy, mean).transform
    spread_deg = _STRONG_TURN_DEG if rng.random() < _STRONG_TURN_SHARE else _TURN_DEG
    turn = np.eye(4)
    turn[:3, :3] = (
        np.exp(rng.normal(0, _SCALE_SD)) * Rotation.from_rotvec(rng.normal(0, spread_deg, 3), degrees=True).as_matrix()
    )
    turn[:3, 3] = centre - turn[:3, :3] @ centre
    return np.asarray(turn @ aligned)
