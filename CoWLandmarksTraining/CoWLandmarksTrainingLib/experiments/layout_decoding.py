"""Rows that train nothing: the peaks of a trained network, chosen together by a distribution of landmark layouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from CoWLandmarksLib.core.layout_model import LayoutModel
from CoWLandmarksLib.detect.layout_choice import LEFT_OUT, ChosenLayout, chosen_layout
from CoWLandmarksLib.networks.heatmap_peaks import HeatmapPeaks

from ..cohort.layout_fit import best_layout_fit, fit_layout_model
from ..records.aligned_folder import ABSENT, AlignedCase
from ..records.metrics import FAR_MM, mean_radial_error, radial_errors

WEIGHTS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Of the log peak heights against the energy of the layout; validation chooses."""
LIMIT_SD = 4.0
"""A peak further than this from where the others expect it gives way to the conditional mean."""
PEAKS, APART_MM = 6, 4.0


@dataclass(frozen=True)
class LayoutDecoder:
    """Chooses among peaks; `record` says what it was fitted to."""

    model: LayoutModel
    weight: float
    record: dict[str, Any]

    def chosen(self, peaks: HeatmapPeaks) -> ChosenLayout:
        """The choice, in RAS mm of the reference frame."""
        return chosen_layout(peaks, self.model, self.weight, limit_sd=LIMIT_SD)

    def labels(self, peaks: HeatmapPeaks) -> np.ndarray:
        """(n, 3) the chosen peaks to learn from; NaN where none fits."""
        chosen = self.chosen(peaks)
        return np.where((chosen.candidates == LEFT_OUT)[:, None], np.nan, chosen.positions)


def layout_model_of(sets: Sequence[AlignedCase]) -> tuple[LayoutModel, dict[str, Any]]:
    """The distribution of annotated sets, its number of components by their held-out density; and a record of it."""
    layouts = np.array([case.landmarks for case in sets])
    absent = np.array([case.status == ABSENT for case in sets])
    fit, densities = best_layout_fit(layouts, absent)
    record = {"sets": len(sets), "components": fit.components, "held_out_log_density": densities}
    return fit_layout_model(layouts, absent, fit), record


def best_of_peaks(peaks: Sequence[HeatmapPeaks], truth: Sequence[np.ndarray]) -> dict[str, float]:
    """MRE and share beyond 6 mm if the peak nearest to the truth (n, 3) were always chosen: the bound of any choice."""
    errors = np.array([_nearest(each.positions, points) for each, points in zip(peaks, truth, strict=True)])
    known = errors[np.isfinite(errors)]
    return {"mre_mm": float(known.mean()), "beyond_6mm": float((known > FAR_MM).mean())}


def _nearest(positions: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(n,) mm from true points (n, 3) to the nearest of positions (n, count, 3); NaN where there is none."""
    apart = radial_errors(positions, truth[:, None])
    nearest = np.nan_to_num(apart, nan=np.inf).min(axis=1)
    return np.where(np.isfinite(nearest), nearest, np.nan)


def fitted_decoder(
    sets: Sequence[AlignedCase], peaks: Sequence[HeatmapPeaks], truth: Sequence[np.ndarray]
) -> LayoutDecoder:
    """A decoder fitted to annotated sets; its weight is the one with the least error on validation scans, of which
    `peaks` and `truth` (n, 3) are given."""
    model, record = layout_model_of(sets)
    errors = {}
    for weight in WEIGHTS:
        trial = LayoutDecoder(model, weight, {})
        found = np.array([radial_errors(trial.chosen(p).positions, t) for p, t in zip(peaks, truth, strict=True)])
        errors[weight] = mean_radial_error(found)[0]
    weight = min(errors, key=lambda each: errors[each])
    tried = {f"{each:g}": round(error, 4) for each, error in errors.items()}
    record |= {"weight": weight, "validation_mre_mm": tried}
    return LayoutDecoder(model, weight, record)
