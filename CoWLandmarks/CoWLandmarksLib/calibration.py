"""From the height of a heatmap's peak to an expected error and a confidence, by tables measured on validation cases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

CONFIDENT_WITHIN_MM = 3.0
LARGEST_ERROR_MM = 15.0
LARGEST_FALSE_ABSENCE = 0.01
FEWEST_ABSENT = 10


@dataclass(frozen=True)
class Calibration:
    """Piecewise-linear tables over the peak height.

    `peak` (m,) rising; `error_mm` (m,) mean error of present landmarks with such a peak; `confidence` (m,)
    share of them that lie within 3 mm of the truth; `absent_below` is the peak under which a landmark is
    taken to be absent; `uncertain_below` the confidence under which it is to be checked.
    """

    peak: np.ndarray
    error_mm: np.ndarray
    confidence: np.ndarray
    absent_below: float = 0.0
    uncertain_below: float = 0.7

    def expected_error_mm(self, peak: np.ndarray) -> np.ndarray:
        """Expected error in mm for peak heights."""
        return np.interp(peak, self.peak, self.error_mm)

    def confidence_of(self, peak: np.ndarray) -> np.ndarray:
        """Confidence in [0, 1] for peak heights."""
        return np.interp(peak, self.peak, self.confidence)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as stored in a model file."""
        return {
            "peak": self.peak.tolist(),
            "error_mm": self.error_mm.tolist(),
            "confidence": self.confidence.tolist(),
            "absent_below": float(self.absent_below),
            "uncertain_below": float(self.uncertain_below),
        }


def calibration_from_dict(content: dict[str, Any]) -> Calibration:
    """Inverse of `Calibration.to_dict`."""
    return Calibration(
        np.array(content["peak"], float),
        np.array(content["error_mm"], float),
        np.array(content["confidence"], float),
        float(content["absent_below"]),
        float(content["uncertain_below"]),
    )


UNCALIBRATED = Calibration(np.array([0.0, 0.3, 1.0]), np.array([15.0, 4.0, 1.0]), np.array([0.0, 0.5, 1.0]))
"""A plain guess for networks that were never calibrated."""


def fit_calibration(
    peaks: np.ndarray,
    errors_mm: np.ndarray,
    absent_peaks: np.ndarray,
    elsewhere_peaks: np.ndarray | None = None,
    *,
    bins: int = 12,
) -> Calibration:
    """Fit monotone tables to validation results.

    `peaks`, `errors_mm` (m,) of landmarks that are present; `absent_peaks` (a,) of landmarks that are not;
    `elsewhere_peaks` of landmarks beyond the scan, which count as wrong wherever they were put. Equal-count bins,
    made monotone by pooling adjacent violators (isotonic regression); a peak of 0 means no confidence. Errors count
    up to 15 mm. The threshold for absence is the highest that calls at most 1 % of the present landmarks absent.
    Without any peak the plain guess remains.
    """
    if len(peaks) == 0:
        return UNCALIBRATED
    wrong = np.zeros(0) if elsewhere_peaks is None else elsewhere_peaks
    heights = np.concatenate([peaks, wrong])
    errors = np.minimum(np.concatenate([errors_mm, np.full(len(wrong), LARGEST_ERROR_MM)]), LARGEST_ERROR_MM)
    order = np.argsort(heights, kind="stable")
    groups = np.array_split(order, min(bins, max(1, len(order) // 10)))
    centre = np.array([heights[g].mean() for g in groups])
    error = -_isotonic(-np.array([errors[g].mean() for g in groups]))
    confidence = _isotonic(np.array([(errors[g] <= CONFIDENT_WITHIN_MM).mean() for g in groups]))
    centre = np.maximum.accumulate(np.maximum(centre, 1e-6) + 1e-6 * np.arange(len(centre)))
    threshold = float(np.quantile(peaks, LARGEST_FALSE_ABSENCE)) if len(absent_peaks) >= FEWEST_ABSENT else 0.0
    return Calibration(
        np.concatenate([[0.0], centre]),
        np.concatenate([[LARGEST_ERROR_MM], error]),
        np.concatenate([[0.0], confidence]),
        threshold,
    )


def _isotonic(values: np.ndarray) -> np.ndarray:
    """Least-squares non-decreasing fit of equally weighted values."""
    level: list[float] = []
    weight: list[int] = []
    for value in values:
        level.append(float(value))
        weight.append(1)
        while len(level) > 1 and level[-2] > level[-1]:
            total = weight[-2] + weight[-1]
            level[-2] = (level[-2] * weight[-2] + level[-1] * weight[-1]) / total
            weight[-2] = total
            level.pop()
            weight.pop()
    return np.repeat(level, weight)
