"""Whether confidence and expected error mean what they say: reliability tables over annotated scans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from CoWLandmarksLib.core.calibration import CONFIDENT_WITHIN_MM, LARGEST_ERROR_MM, Calibration

from ..records.metrics import radial_errors
from .evaluation import CaseResult


def reliability(results: Sequence[CaseResult], calibration: Calibration, *, bins: int = 8) -> dict[str, Any]:
    """How confidence and expected error compare with what was measured.

    Landmarks with a true point count, whatever state they were given, in groups of equal size by what was said of
    them. "confidence": rows of `said` (mean confidence), `measured` (share within 3 mm) and `n`; "error": the same of
    the expected and the measured mean error in mm (errors count up to 15 mm, as in the calibration);
    "calibration_error" is the mean gap of the first, weighted by n (Guo et al. 2017, expected calibration error).
    """
    errors = np.array([radial_errors(result.subvoxel, result.truth) for result in results])
    peaks = np.array([result.peaks for result in results])
    known = np.isfinite(errors)
    measured = np.minimum(errors[known], LARGEST_ERROR_MM)
    confidence = calibration.confidence_of(peaks)[known]
    rows = _rows(confidence, (errors[known] <= CONFIDENT_WITHIN_MM).astype(float), bins)
    return {
        "within_mm": CONFIDENT_WITHIN_MM,
        "confidence": rows,
        "calibration_error": float(
            sum(row["n"] * abs(row["said"] - row["measured"]) for row in rows) / max(1, len(measured))
        ),
        "error": _rows(calibration.expected_error_mm(peaks)[known], measured, bins),
    }


def _rows(said: np.ndarray, measured: np.ndarray, bins: int) -> list[dict[str, float]]:
    order = np.argsort(said, kind="stable")
    groups = [group for group in np.array_split(order, bins) if len(group)]
    return [
        {"said": float(said[group].mean()), "measured": float(measured[group].mean()), "n": len(group)}
        for group in groups
    ]
