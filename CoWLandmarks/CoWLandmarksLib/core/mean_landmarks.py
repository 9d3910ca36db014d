"""Where arteries are to be expected: the mean landmarks, brought onto the landmarks of one scan."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .alignment import fit_similarity_robustly
from .volume import apply_affine

MEAN_LANDMARKS_MM: dict[str, tuple[float, float, float]] = {
    "A2-A3": (0.8, 41.6, 23.0),
    "A1-A2": (1.6, 19.0, 4.6),
    "M1-M2": (30.0, 19.4, 2.3),
    "ICA-T": (15.4, 12.3, 2.3),
    "BA-T": (0.0, 0.0, 0.0),
    "P1-P2A": (7.3, 2.3, 1.2),
    "P2A-P2P": (19.9, -15.0, 6.9),
    "C6-C7": (11.1, 13.1, -0.9),
    "C5-C6": (9.4, 21.1, -5.0),
    "C4-C5": (11.7, 23.2, -7.6),
}
"""Mean landmarks of 624 patients without the side, R positive (reference frame, mm; model "patients" of the atlas)."""

BASILAR_JUNCTION_MM = (0.0, -2.0, -25.5)
"""Mean place where the vertebral arteries join (reference frame, mm)."""
MIN_POINTS = 3


def mean_landmark(code: str) -> np.ndarray:
    """(3,) mean position of a landmark in the reference frame; the centre of the circle for an unknown code."""
    side, _, name = code.partition("-")
    known = MEAN_LANDMARKS_MM.get(code) or MEAN_LANDMARKS_MM.get(name)
    if known is None:
        return np.array([0.0, 14.0, 0.0])
    return np.array(known) * (-1.0 if side == "L" else 1.0, 1.0, 1.0)


def reference_to_scan(positions: Mapping[str, np.ndarray]) -> np.ndarray:
    """(4, 4) similarity transform from the reference frame to RAS mm of the scan, from landmarks by code (RAS mm).

    With fewer than three points the axes are those of the scan and only the place is fitted.
    """
    codes = list(positions)
    if not codes:
        return np.eye(4)
    mean = np.array([mean_landmark(code) for code in codes])
    placed = np.array([positions[code] for code in codes], float)
    spread = np.linalg.svd(mean - mean.mean(axis=0), compute_uv=False)
    if len(codes) >= MIN_POINTS and spread[1] > 5.0 * np.sqrt(len(codes)) / 2:
        return fit_similarity_robustly(mean, placed, tolerance_mm=8.0, scale_range=(0.7, 1.35)).transform
    matrix = np.eye(4)
    matrix[:3, 3] = np.median(placed - mean, axis=0)
    return matrix


def expected_positions(codes: tuple[str, ...], to_scan: np.ndarray) -> dict[str, np.ndarray]:
    """Where the mean landmarks lie in the scan (RAS mm), by code; `to_scan` (4, 4) from `reference_to_scan`."""
    return {code: apply_affine(to_scan, mean_landmark(code)) for code in codes}
