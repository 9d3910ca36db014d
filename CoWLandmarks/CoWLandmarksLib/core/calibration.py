"""From the height of a heatmap's peak to an expected error and a confidence, by tables measured on validation cases."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

CONFIDENT_WITHIN_MM = 3.0
LARGEST_ERROR_MM = 15.0
LARGEST_FALSE_ABSENCE = 0.003
FEWEST_ABSENT = 10
PRIOR_COUNT = 10.0
"""How many average landmarks are mixed into the correction of each one, which rests on few cases."""


@dataclass(frozen=True)
class Calibration:
    """Piecewise-linear tables over the peak height.

    `peak` (m,) rising; `error_mm` (m,) mean error of present landmarks with such a peak; `confidence` (m,)
    share of them that lie within 3 mm of the truth; `absent_below` is the peak under which a landmark is
    taken to be absent; `uncertain_below` the confidence under which it is to be checked.
    `error_factor` (n,) and `confidence_logit` (n,) correct both tables landmark by landmark (channel order; empty:
    no correction): a division that is hard to choose is less sure than its peak says.
    """

    peak: np.ndarray
    error_mm: np.ndarray
    confidence: np.ndarray
    absent_below: float = 0.0
    uncertain_below: float = 0.7
    error_factor: np.ndarray = field(default_factory=lambda: np.zeros(0))
    confidence_logit: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def expected_error_mm(self, peak: np.ndarray) -> np.ndarray:
        """Expected error in mm for the peak heights (..., n) of all landmarks."""
        error = np.interp(peak, self.peak, self.error_mm)
        return np.minimum(error * self.error_factor, LARGEST_ERROR_MM) if self.error_factor.size else error

    def confidence_of(self, peak: np.ndarray) -> np.ndarray:
        """Confidence in [0, 1] for the peak heights (..., n) of all landmarks."""
        share = np.interp(peak, self.peak, self.confidence)
        return _with_odds(share, self.confidence_logit) if self.confidence_logit.size else share

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as stored in a model file."""
        return {
            "peak": self.peak.tolist(),
            "error_mm": self.error_mm.tolist(),
            "confidence": self.confidence.tolist(),
            "absent_below": float(self.absent_below),
            "uncertain_below": float(self.uncertain_below),
            "error_factor": self.error_factor.tolist(),
            "confidence_logit": self.confidence_logit.tolist(),
        }


def calibration_from_dict(content: dict[str, Any]) -> Calibration:
    """Inverse of `Calibration.to_dict`."""
    return Calibration(
        np.array(content["peak"], float),
        np.array(content["error_mm"], float),
        np.array(content["confidence"], float),
        float(content["absent_below"]),
        float(content["uncertain_below"]),
        np.array(content.get("error_factor", []), float),
        np.array(content.get("confidence_logit", []), float),
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
    up to 15 mm. The threshold for absence is the highest that calls at most 0.3 % of the present landmarks absent.
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


def corrected_by_landmark(
    calibration: Calibration, peaks: np.ndarray, errors_mm: np.ndarray, partner: tuple[int, ...]
) -> Calibration:
    """The calibration with a correction of its tables for every landmark, shared with its `partner` (other side).

    `peaks`, `errors_mm` (cases, n), NaN errors where there is no landmark. Means are drawn towards no correction as
    if PRIOR_COUNT average landmarks had been seen as well.
    """
    plain = replace(calibration, error_factor=np.zeros(0), confidence_logit=np.zeros(0))
    expected, sure = plain.expected_error_mm(peaks), plain.confidence_of(peaks)
    errors = np.minimum(errors_mm, LARGEST_ERROR_MM)
    count = peaks.shape[1]
    factor, logit = np.ones(count), np.zeros(count)
    typical = float(expected[np.isfinite(errors)].mean()) if np.isfinite(errors).any() else 1.0
    for index in range(count):
        pair = sorted({index, partner[index]})
        known = np.isfinite(errors[:, pair])
        measured, predicted = errors[:, pair][known], expected[:, pair][known]
        factor[index] = (measured.sum() + PRIOR_COUNT * typical) / (predicted.sum() + PRIOR_COUNT * typical)
        right, claimed = (measured <= CONFIDENT_WITHIN_MM).sum(), sure[:, pair][known]
        logit[index] = _logit_shift(claimed, float(right), PRIOR_COUNT)
    return replace(calibration, error_factor=factor, confidence_logit=logit)


def blended(before: Calibration, measured: Calibration, share: float) -> Calibration:
    """Tables between those that a model had `before` and those just `measured`, which weigh `share` (0 to 1).

    Errors, confidences and corrections by landmark are mixed; a limit of absence that was not measured (0) stays as it
    was before.
    """
    peak = np.union1d(before.peak, measured.peak)
    plain = [replace(table, error_factor=np.zeros(0), confidence_logit=np.zeros(0)) for table in (before, measured)]
    limit = before.absent_below
    if measured.absent_below > 0.0:
        limit = (1.0 - share) * before.absent_below + share * measured.absent_below
    return Calibration(
        peak,
        (1.0 - share) * plain[0].expected_error_mm(peak) + share * plain[1].expected_error_mm(peak),
        (1.0 - share) * plain[0].confidence_of(peak) + share * plain[1].confidence_of(peak),
        limit,
        before.uncertain_below,
        np.exp(_mixed(_logarithm(before.error_factor), _logarithm(measured.error_factor), share)),
        _mixed(before.confidence_logit, measured.confidence_logit, share),
    )


def _logarithm(factor: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(factor, 1e-6))


def _mixed(before: np.ndarray, measured: np.ndarray, share: float) -> np.ndarray:
    """Corrections (n,) in which an empty array stands for no correction."""
    if not before.size and not measured.size:
        return before
    none = np.zeros(1)
    return (1.0 - share) * (before if before.size else none) + share * (measured if measured.size else none)


def _logit_shift(claimed: np.ndarray, right: float, prior_count: float) -> float:
    """Shift of the log odds that makes the claims (m,) add up to what was `right`, drawn towards none."""
    target = right + prior_count * 0.5
    low, high = -6.0, 6.0
    for _ in range(40):
        middle = (low + high) / 2.0
        predicted = float(
            _with_odds(claimed, np.array(middle)).sum() + prior_count * _with_odds(np.array(0.5), np.array(middle))
        )
        low, high = (middle, high) if predicted < target else (low, middle)
    return (low + high) / 2.0


def _with_odds(share: np.ndarray, logit: np.ndarray) -> np.ndarray:
    """Shares in [0, 1] whose odds are multiplied by exp(`logit`); 0 and 1 stay."""
    odds = share * np.exp(logit)
    return odds / np.maximum(odds + 1.0 - share, 1e-12)


def _isotonic(values: np.ndarray) -> np.ndarray:
    """Least-squares non-decreasing fit of equally weighted values.

    scipy.optimize.isotonic_regression (SciPy 1.12) differs in the last bits, and the core imports numpy alone.
    """
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
