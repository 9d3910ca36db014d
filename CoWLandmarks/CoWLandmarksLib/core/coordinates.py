"""LPS <-> RAS: SimpleITK, DICOM and .mrk.json files use LPS, everything else in this program RAS."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

_SIGNS = np.array([-1.0, -1.0, 1.0])


def swap_lps_ras(points: ArrayLike) -> np.ndarray:
    """Points or directions (..., 3) from LPS to RAS, or back: the conversion is its own inverse."""
    return np.asarray(points, float) * _SIGNS + 0.0  # + 0.0 turns -0.0 into 0.0


def swap_lps_ras_matrix(matrix: ArrayLike) -> np.ndarray:
    """A (4, 4) matrix that ends in LPS made to end in RAS, or back."""
    return np.diag([*_SIGNS, 1.0]) @ np.asarray(matrix, float) + 0.0
