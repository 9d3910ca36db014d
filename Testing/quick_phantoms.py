"""Phantom scans of few voxels, so that a test is quick."""

from __future__ import annotations

import numpy as np
from CoWLandmarksLib.core.volume import Grid, axis_aligned_grid
from CoWLandmarksTrainingLib.phantom import phantom_cohort
from CoWLandmarksTrainingLib.phantom.acquisition import Acquisition
from CoWLandmarksTrainingLib.phantom.appearance import Family

scan_grid = phantom_cohort.scan_grid


def coarse_scan_grid(
    rng: np.random.Generator,
    centre: np.ndarray,
    family: Family = Family.TRAINING,
    acquisition: Acquisition | None = None,
) -> Grid:
    """The field of view of a case at 1.8 mm."""
    grid = scan_grid(rng, centre, family, acquisition)
    size = np.ceil(grid.size * grid.spacing / 1.8).astype(int)
    return axis_aligned_grid(grid.centre, np.full(3, 1.8), (int(size[2]), int(size[1]), int(size[0])))
