"""Points that a person placed to show where the circle of Willis is: whether they can be used."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..core.alignment import ShapeModel, fit_similarity_robustly, side_turn_deg
from ..core.anatomy import Anatomy
from ..core.errors import ConfigurationError
from ..core.volume import Grid
from .verdict import LARGEST_TILT_DEG

MIN_HINTS = 3
HINT_SPREAD_MM = 6.0
HINT_RESIDUAL_MM = 15.0
HINT_BEYOND_MM = 20.0


def checked_hint(
    hint: Mapping[str, np.ndarray] | None, grid: Grid, shape: ShapeModel, anatomy: Anatomy
) -> dict[int, np.ndarray]:
    """Hinted points (RAS mm) by channel: enough, in the scan, spread out, shaped like a circle, sides right.

    Raises ConfigurationError for others.
    """
    if not hint:
        return {}
    if len(hint) < MIN_HINTS:
        raise ConfigurationError(f"A hint needs at least {MIN_HINTS} placed points, not {len(hint)}.")
    placed = {anatomy.index(code): np.asarray(point, float) for code, point in hint.items()}
    points = np.array(list(placed.values()))
    beyond = -float(grid.depth_mm(points).min())
    if beyond > HINT_BEYOND_MM:
        raise ConfigurationError(
            f"A point of the hint lies {beyond:.0f} mm outside the scan; was it placed on another scan?"
        )
    if np.linalg.svd(points - points.mean(axis=0), compute_uv=False)[1] < HINT_SPREAD_MM:
        raise ConfigurationError("The points of the hint lie on one line; add a point away from it.")
    source = np.full_like(shape.mean, np.nan)
    source[list(placed)] = points
    fit = fit_similarity_robustly(source, shape.mean)
    if side_turn_deg(fit.transform) > LARGEST_TILT_DEG or np.nanmax(fit.residual_mm) > HINT_RESIDUAL_MM:
        raise ConfigurationError(
            "The points of the hint do not lie like these landmarks in a head; were right and left exchanged?"
        )
    return placed
