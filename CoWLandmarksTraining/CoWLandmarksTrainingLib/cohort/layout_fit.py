"""Layout models fitted to annotation sets by expectation maximisation, landmarks missing or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from CoWLandmarksLib.core.errors import AnnotationError
from CoWLandmarksLib.core.layout_model import LayoutModel, known_landmarks

_STARTS = 4
_MOST_ITERATIONS = 200
_LEAST_GAIN = 1e-6
"""Gain of the objective per layout and iteration below which a fit has converged."""


@dataclass(frozen=True)
class LayoutFit:
    """How a layout model is fitted.

    Every covariance is shrunk by `pseudo_cases` that vary by `pseudo_sd_mm` along each coordinate, independently; in a
    mixture of several `components` also by `shared_cases` that vary as all layouts together do.
    """

    components: int = 1
    pseudo_cases: float = 10.0
    pseudo_sd_mm: float = 3.0
    shared_cases: float = 30.0


@dataclass(frozen=True)
class _Prior:
    """Of a covariance: (scatter + `scatter`) / (cases + `cases`) is the estimate that it leads to."""

    scatter: np.ndarray
    cases: float

    def log_density(self, covariances: np.ndarray) -> float:
        """Logarithm of the inverse Wishart prior of covariances (c, d, d), but for a constant."""
        traces = np.trace(np.linalg.solve(covariances, self.scatter[None]), axis1=1, axis2=2)
        return float(-0.5 * (self.cases * np.linalg.slogdet(covariances)[1] + traces).sum())


TRIED_FITS = (LayoutFit(1), LayoutFit(2), LayoutFit(3), LayoutFit(4))
"""Among which the number of components is chosen unless others are given."""


def fit_layout_model(
    layouts: np.ndarray, absent: np.ndarray | None = None, fit: LayoutFit | None = None, *, seed: int = 0
) -> LayoutModel:
    """The most probable mixture of Gaussians for annotation sets, given the shrinkage of `fit`.

    `layouts` (m, n, 3) mm of the reference frame (R, A, S), NaN where a landmark has no position. `absent` (m, n) says
    which landmarks do not exist in a head; the model then has the presence of each. Landmarks without position that are
    not absent are missing at random. Expectation maximisation with missing entries (Ghahramani and Jordan 1994), the
    covariances regularised by an inverse Wishart prior; several components from four starts (k-means++, `seed`), of
    which the best is kept. The order of the sets has no influence. Raises AnnotationError where a landmark is placed in
    no set, ValueError where arrays do not fit together.
    """
    fit = fit or LayoutFit()
    layouts, absent = _in_canonical_order(layouts, absent)
    never = np.nonzero(~known_landmarks(layouts).any(axis=0))[0]
    if len(never):
        numbers = ", ".join(str(index + 1) for index in never)
        raise AnnotationError(
            f"Landmarks are placed in no annotation set (number {numbers} of {layouts.shape[1]}); add sets with them."
        )
    return _fitted(layouts, absent, fit, seed)


def held_out_log_density(
    layouts: np.ndarray,
    absent: np.ndarray | None = None,
    fit: LayoutFit | None = None,
    *,
    folds: int = 5,
    seed: int = 0,
) -> float:
    """Mean log-density of layouts under models fitted without them, by cross-validation.

    Arguments as for `fit_layout_model`; the sets are dealt to `folds` at random (`seed`), whatever their order. With
    `absent`, presence counts as well as position: compare only values with and without it among themselves. A landmark
    that the sets of a fit do not contain is left out of those it is tested on. Raises ValueError.
    """
    fit = fit or LayoutFit()
    layouts, absent = _in_canonical_order(layouts, absent)
    if not 2 <= folds <= len(layouts):
        raise ValueError(f"{len(layouts)} layouts cannot be divided into {folds} folds; at least 2 of each are needed")
    fold = np.random.default_rng(seed).permutation(np.arange(len(layouts)) % folds)
    total = 0.0
    for number in range(folds):
        held = fold == number
        model = _fitted(layouts[~held], None if absent is None else absent[~held], fit, seed)
        learnt = np.asarray(known_landmarks(layouts[~held]).any(axis=0))
        tested = np.where(learnt[:, None], layouts[held], np.nan)
        total += float(model.log_densities(tested, None if absent is None else absent[held]).sum())
    return total / len(layouts)


def best_layout_fit(
    layouts: np.ndarray,
    absent: np.ndarray | None = None,
    fits: Sequence[LayoutFit] = TRIED_FITS,
    *,
    folds: int = 5,
    seed: int = 0,
) -> tuple[LayoutFit, tuple[float, ...]]:
    """Of `fits` the one with the highest held-out log-density (the first of equal ones), and that of each.

    Arguments as for `held_out_log_density`; raises ValueError.
    """
    densities = tuple(held_out_log_density(layouts, absent, fit, folds=folds, seed=seed) for fit in fits)
    return fits[int(np.argmax(densities))], densities


def _in_canonical_order(layouts: np.ndarray, absent: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Layouts sorted by their coordinates, missing landmarks without any; checks that the arrays fit together."""
    layouts = np.asarray(layouts, float)
    if layouts.ndim != 3 or layouts.shape[2] != 3 or 0 in layouts.shape:
        raise ValueError(f"layouts are an array (sets, landmarks, 3), not one of shape {layouts.shape}")
    known = known_landmarks(layouts)
    layouts = np.where(known[:, :, None], layouts, np.nan)
    keys = np.nan_to_num(layouts, nan=1e9).reshape(len(layouts), -1)
    if absent is not None:
        absent = np.asarray(absent, bool)
        if absent.shape != known.shape or (absent & known).any():
            raise ValueError("absent is an array (sets, landmarks) and true for no landmark that has a position")
        keys = np.concatenate([keys, absent], axis=1)
    order = np.lexsort(keys.T[::-1])
    return layouts[order], None if absent is None else absent[order]


def _fitted(layouts: np.ndarray, absent: np.ndarray | None, fit: LayoutFit, seed: int) -> LayoutModel:
    if fit.components < 1 or fit.pseudo_cases <= 0 or fit.pseudo_sd_mm <= 0 or fit.shared_cases < 0:
        raise ValueError(f"a layout model cannot be fitted with {fit}")
    size = layouts[0].size
    prior = _Prior(fit.pseudo_cases * fit.pseudo_sd_mm**2 * np.eye(size), fit.pseudo_cases)
    known = known_landmarks(layouts)
    placed = np.maximum(known.sum(axis=0), 1)[:, None]
    mean = np.nan_to_num(layouts).sum(axis=0) / placed
    start = LayoutModel(np.ones(1), mean[None], fit.pseudo_sd_mm**2 * np.eye(size)[None], _presence_of(known, absent))
    one, _ = _converged(start, layouts, absent, prior)
    if fit.components == 1:
        return one
    shared = replace(
        prior, scatter=prior.scatter + fit.shared_cases * one.covariances[0], cases=prior.cases + fit.shared_cases
    )
    [(completed, _)] = _completions(one, layouts, absent, np.ones((len(layouts), 1)))
    several = np.zeros(fit.components, int)
    equal = LayoutModel(
        np.full(fit.components, 1.0 / fit.components),
        one.means[several],
        one.covariances[several],
        None if one.presence is None else one.presence[several],
    )
    rng = np.random.default_rng(seed)
    runs = []
    for _ in range(_STARTS):
        nearest = _clusters(completed, fit.components, rng)
        start = _maximised(equal, np.eye(fit.components)[nearest], layouts, absent, shared)
        runs.append(_converged(start, layouts, absent, shared))
    return runs[int(np.argmax([objective for _, objective in runs]))][0]


def _converged(
    model: LayoutModel, layouts: np.ndarray, absent: np.ndarray | None, prior: _Prior
) -> tuple[LayoutModel, float]:
    """The model after as many iterations as help, and its objective: log-likelihood and prior."""
    objective = -np.inf
    for _ in range(_MOST_ITERATIONS):
        before, objective = objective, _objective(model, layouts, absent, prior)
        if objective - before < _LEAST_GAIN * len(layouts):
            break
        model = _maximised(model, _responsibilities(model, layouts, absent), layouts, absent, prior)
    return model, objective


def _objective(model: LayoutModel, layouts: np.ndarray, absent: np.ndarray | None, prior: _Prior) -> float:
    """What an iteration never lowers: log-likelihood, prior of the covariances, one pseudo-case of each component and,
    for the presence of each landmark, one head with and one without it."""
    value = float(model.log_densities(layouts, absent).sum()) + prior.log_density(model.covariances)
    value += float(np.log(model.weights).sum())
    if model.presence is not None:
        value += float((np.log(model.presence) + np.log1p(-model.presence)).sum())
    return value


def _responsibilities(model: LayoutModel, layouts: np.ndarray, absent: np.ndarray | None) -> np.ndarray:
    """(m, c) share of each component in each layout: the expectation step."""
    shares = np.zeros((len(layouts), model.components))
    for rows, marginal, known in model.by_pattern(layouts, absent):
        shares[rows] = marginal.responsibilities(known)
    return shares


def _maximised(
    model: LayoutModel, shares: np.ndarray, layouts: np.ndarray, absent: np.ndarray | None, prior: _Prior
) -> LayoutModel:
    """The maximisation step for `shares` (m, c)."""
    means, covariances = [], []
    for share, (completed, doubt) in zip(shares.T, _completions(model, layouts, absent, shares), strict=True):
        mean = share @ completed / max(share.sum(), 1e-12)
        residual = completed - mean
        scatter = (residual * share[:, None]).T @ residual + doubt + prior.scatter
        means.append(mean.reshape(-1, 3))
        covariances.append(0.5 * (scatter + scatter.T) / (share.sum() + prior.cases))
    weights = shares.sum(axis=0) + 1.0
    presence = _presence_of(known_landmarks(layouts), absent, shares)
    return LayoutModel(weights / weights.sum(), np.array(means), np.array(covariances), presence)


def _presence_of(known: np.ndarray, absent: np.ndarray | None, shares: np.ndarray | None = None) -> np.ndarray | None:
    """(c, n) rate at which landmarks exist among those whose existence is known, for `shares` (m, c) of the heads."""
    if absent is None:
        return None
    shares = np.ones((len(known), 1)) if shares is None else shares
    return np.asarray((shares.T @ known + 1.0) / (shares.T @ (known | absent) + 2.0))


def _completions(
    model: LayoutModel, layouts: np.ndarray, absent: np.ndarray | None, shares: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each component: layouts (m, 3n) with missing coordinates at their conditional mean, and the sum (3n, 3n) of
    the conditional covariances of these, weighted by `shares` (m, c) (Bishop 2006, Eqs. 2.81 and 2.82)."""
    count, size = len(layouts), layouts[0].size
    completions = [(np.zeros((count, size)), np.zeros((size, size))) for _ in range(model.components)]
    for rows, marginal, known in model.by_pattern(layouts, absent):
        seen = np.isfinite(layouts[rows[0]]).reshape(-1)
        for number, (completed, doubt) in enumerate(completions):
            covariance = model.covariances[number]
            gain = covariance[np.ix_(~seen, seen)] @ marginal.precisions[number]
            missing = model.means[number].reshape(-1)[~seen] + (known - marginal.means[number]) @ gain.T
            completed[np.ix_(rows, seen)], completed[np.ix_(rows, ~seen)] = known, missing
            left = covariance[np.ix_(~seen, ~seen)] - gain @ covariance[np.ix_(seen, ~seen)]
            doubt[np.ix_(~seen, ~seen)] += shares[rows, number].sum() * left
    return completions


def _clusters(points: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """(m,) cluster of each of the points (m, d): k-means from far points (Arthur and Vassilvitskii 2007)."""
    centres = points[[int(rng.integers(len(points)))]]
    while len(centres) < count:
        distances = _squared_distances(points, centres).min(axis=1) + 1e-12
        centres = np.concatenate([centres, points[[int(rng.choice(len(points), p=distances / distances.sum()))]]])
    for _ in range(_MOST_ITERATIONS):
        nearest = np.argmin(_squared_distances(points, centres), axis=1)
        moved = np.array(
            [points[nearest == n].mean(axis=0) if (nearest == n).any() else centre for n, centre in enumerate(centres)]
        )
        if np.array_equal(moved, centres):
            break
        centres = moved
    return nearest


def _squared_distances(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """(m, c) mm^2 from points (m, d) to centres (c, d)."""
    return np.asarray(((points[:, None] - centres) ** 2).sum(axis=2))
