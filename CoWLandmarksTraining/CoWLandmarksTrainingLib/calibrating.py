"""Calibration tables from evaluated scans."""

from __future__ import annotations

import numpy as np
from CoWLandmarksLib.calibration import Calibration, corrected_by_landmark, fit_calibration

from .evaluation import CaseResult
from .metrics import radial_errors


def calibration_of(
    results: list[CaseResult],
    positions: str,
    peaks: str,
    permutation: tuple[int, ...],
    more_absent: np.ndarray | None = None,
) -> Calibration:
    """The table of one network from its `positions` and `peaks` (names of fields of CaseResult).

    `permutation` pairs the landmarks of both sides, which share their correction; `more_absent` (m,) are peaks of
    further landmarks that are absent.
    """
    every_error = np.array([radial_errors(getattr(r, positions), r.truth) for r in results])
    every_height = np.array([getattr(r, peaks) for r in results])
    absent = np.array([r.absent for r in results])
    known = np.isfinite(every_error)
    beyond = np.array([~np.isfinite(r.truth).all(axis=1) for r in results]) & ~absent
    elsewhere = every_height[beyond] if positions == "coarse" else None
    read = known & (every_height > 0)
    absent_peaks = np.concatenate([every_height[absent], np.zeros(0) if more_absent is None else more_absent])
    table = fit_calibration(every_height[read], every_error[read], absent_peaks, elsewhere)
    return corrected_by_landmark(table, every_height, every_error, permutation)
