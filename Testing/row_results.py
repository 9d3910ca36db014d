"""Results of rows of the paper's comparison, made of errors by hand."""

from __future__ import annotations

import numpy as np
from CoWLandmarksTrainingLib.experiments.row_result import RowResult


def row_result(row: str, seed: int, errors: list[list[float]]) -> RowResult:
    """A row whose test scans have these sub-voxel errors (scans, n) mm, and by argmax 1 mm more."""
    values = np.array(errors, float)
    names = tuple(f"test-mra-{n:04d}" for n in range(len(values)))
    confused = {"subvoxel": 1, "argmax": 2}
    return RowResult(row, seed, "forward", "small", names, {"subvoxel": values, "argmax": values + 1.0}, confused, {})
