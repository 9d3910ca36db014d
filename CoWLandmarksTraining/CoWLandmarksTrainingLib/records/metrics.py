"""Figures of merit for landmarks: pure functions of estimated and true positions in mm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

SUCCESS_RADII_MM = (2.0, 3.0, 4.0, 5.0, 6.0)
FAR_MM = SUCCESS_RADII_MM[-1]
"""Beyond this a point is grossly wrong; the paper's largest radius."""


def radial_errors(estimated: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Euclidean distances (..., n) in mm of estimated and true points (..., n, 3); NaN where one is NaN."""
    return np.linalg.norm(np.asarray(estimated, float) - np.asarray(truth, float), axis=-1)


def mean_radial_error(errors: np.ndarray) -> tuple[float, float]:
    """MRE and its SD over scans.

    `errors` (scans, n) mm, NaN where a landmark does not count. The mean is over all landmarks of all scans;
    the SD is over the per-scan means (population SD), which is how we read Table 1 of Tan et al. 2023.
    """
    errors = np.asarray(errors, float)
    per_scan = np.array([row[np.isfinite(row)].mean() for row in errors if np.isfinite(row).any()])
    return float(errors[np.isfinite(errors)].mean()), float(per_scan.std())


def successful_detection_rate(errors: np.ndarray, radius_mm: float) -> float:
    """SDR: share of landmarks with an error of at most `radius_mm` (NaN does not count)."""
    known = np.asarray(errors, float)
    known = known[np.isfinite(known)]
    return float((known <= radius_mm).mean())


def errors_of_points(estimated: Sequence[np.ndarray], truth: Sequence[np.ndarray]) -> tuple[np.ndarray, int]:
    """Errors (scans, n) mm and the number of confusions of points (n, 3) mm of several scans."""
    pairs = list(zip(estimated, truth, strict=True))
    errors = np.array([radial_errors(found, true) for found, true in pairs])
    return errors, sum(int(confusions(found, true).sum()) for found, true in pairs)


def error_figures(errors: np.ndarray, confused: int) -> dict[str, Any]:
    """All figures of errors (scans, n) mm, NaN where a landmark does not count, of which `confused` are confusions.

    Numbers of scans and landmarks; MRE (SD over scans), median and 95th percentile in mm; SDR by radius, share beyond
    6 mm, share of confusions. Without any landmark only the numbers.
    """
    known = errors[np.isfinite(errors)]
    counted = {"scans": len(errors), "landmarks": int(known.size)}
    if known.size == 0:
        return counted
    mre, sd = mean_radial_error(errors)
    return {
        **counted,
        "mre_mm": mre,
        "sd_mm": sd,
        "median_mm": float(np.median(known)),
        "p95_mm": float(np.quantile(known, 0.95)),
        "sdr": {f"{radius:g}": successful_detection_rate(errors, radius) for radius in SUCCESS_RADII_MM},
        "beyond_6mm": float((known > FAR_MM).mean()),
        "confusion": confused / known.size,
    }


def figures_by_landmark(errors: np.ndarray, codes: Sequence[str]) -> dict[str, dict[str, float]]:
    """Mean and median error in mm, share beyond 6 mm and number of points of every landmark code.

    `errors` (scans, n) mm, NaN where a landmark does not count; a landmark that never counts is left out.
    """
    table = {}
    for code, column in zip(codes, errors.T, strict=True):
        known = column[np.isfinite(column)]
        if known.size:
            table[code] = {
                "mre_mm": float(known.mean()),
                "median_mm": float(np.median(known)),
                "beyond_6mm": float((known > FAR_MM).mean()),
                "n": int(known.size),
            }
    return table


def bootstrap_interval(
    values: np.ndarray, *, level: float = 0.95, samples: int = 2000, seed: int = 0
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the mean of `values` (scans, n), NaN where a landmark does not count.

    Whole scans are drawn with replacement, because the landmarks of one scan are not independent (Efron and
    Tibshirani 1993, chapter 13). For a rate, give 1 and 0. None for fewer than two scans with a landmark.
    """
    known = np.isfinite(values)
    scans = known.any(axis=1)
    counts, sums = known[scans].sum(axis=1), np.nansum(values[scans], axis=1)
    if len(counts) < 2:
        return None
    rng = np.random.Generator(np.random.Philox(seed))
    drawn = rng.integers(len(counts), size=(samples, len(counts)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)


def confused_with(estimated: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(n,) index of the true landmark that each estimate was confused with, -1 for none; arguments as `confusions`."""
    distances = np.linalg.norm(estimated[:, None, :] - truth[None, :, :], axis=-1)
    np.fill_diagonal(distances, np.inf)
    nearest = np.where(np.isfinite(distances), distances, np.inf).argmin(axis=1)
    return np.where(confusions(estimated, truth), nearest, -1)


def confusions(estimated: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(n,) bool: error over 3 mm and another true landmark closer than half that error (Docs: definitions).

    `estimated`, `truth` (n, 3) mm; NaN rows are never confused and confuse nobody.
    """
    errors = radial_errors(estimated, truth)
    distances = np.linalg.norm(estimated[:, None, :] - truth[None, :, :], axis=-1)
    np.fill_diagonal(distances, np.inf)
    nearest_other = np.nanmin(np.where(np.isfinite(distances), distances, np.inf), axis=1)
    with np.errstate(invalid="ignore"):
        return (errors > 3.0) & (nearest_other < 0.5 * errors)
