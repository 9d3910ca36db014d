"""Validation while a network is trained: figures on validation cases and a picture of the first."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from CoWLandmarksLib.alignment import ShapePosterior
from CoWLandmarksLib.errors import OutputError
from CoWLandmarksLib.generator import Generator, SingleReading
from CoWLandmarksLib.localizer import localise
from CoWLandmarksLib.model import Model
from CoWLandmarksLib.network_image import NetworkImage
from CoWLandmarksLib.refinement import refine

from .aligned import INSIDE, AlignedCase
from .error_picture import write_error_picture
from .metrics import confusions, mean_radial_error, radial_errors, successful_detection_rate
from .samples import simulated_coarse_estimate, with_expected_places

logger = logging.getLogger(__name__)

_EXPECTED_SD_MM = 2.5


@dataclass(frozen=True)
class FineValidation:
    """Reads the crops of validation cases with the fine network (a trainer's `validate`).

    `model` gives everything but the weights. A network that is told where to look gets the truth with simulated
    coarse errors, the same every time. Pictures go to `pictures`.
    """

    model: Model
    cases: tuple[AlignedCase, ...]
    device: torch.device
    pictures: Path

    def __call__(self, generator: Generator, step: int) -> dict[str, Any]:
        """MRE, SD, SDR and confusions on the crops."""
        found = [self._read(SingleReading(generator), case, n) for n, case in enumerate(self.cases)]
        truth = [_inside(case, self.model) for case in self.cases]
        first = self.cases[0]
        errors = radial_errors(found[0], truth[0])
        mean = float(np.nanmean(errors)) if np.isfinite(errors).any() else float("nan")
        try:
            write_error_picture(
                self.pictures / f"step-{step:06d}.png",
                np.asarray(first.crop(), np.float32),
                self.model.grid.grid(),
                truth[0],
                found[0],
                self.model.anatomy,
                f"{first.name}, step {step}: mean error {mean:.1f} mm (rings: truth, discs: network)",
            )
        except (OSError, OutputError) as error:
            logger.warning("No picture of step %d (%s); training goes on.", step, error)
        return validation_figures(found, truth)

    def _read(self, read: SingleReading, case: AlignedCase, number: int) -> np.ndarray:
        mean = self.model.shape.mean
        rng = np.random.Generator(np.random.Philox(key=[number, 2**42]))
        expected = simulated_coarse_estimate(with_expected_places(case.landmarks, mean), rng, mean)
        prior = ShapePosterior(expected, np.full(len(mean), _EXPECTED_SD_MM), np.zeros(len(mean)))
        grid = self.model.grid.grid()
        crop = NetworkImage(case.crop(), grid, self.device)
        return refine(read, self.model, crop, np.eye(4), prior, np.ones(len(mean), bool)).positions


@dataclass(frozen=True)
class CoarseValidation:
    """Reads whole validation scans at 1 mm with the coarse network (a trainer's `validate`)."""

    cases: tuple[AlignedCase, ...]
    sigma_mm: float
    device: torch.device

    def __call__(self, generator: Generator, step: int) -> dict[str, Any]:
        """MRE, SD, SDR and confusions in scan RAS."""
        found, truth = [], []
        for case in self.cases:
            assert case.coarse_grid is not None
            read = SingleReading(generator)
            scan = NetworkImage(case.coarse(), case.coarse_grid, self.device)
            found.append(localise(read, read, scan, self.sigma_mm).positions)
            truth.append(np.where((case.status == INSIDE)[:, None], case.landmarks_in_scan(), np.nan))
        return validation_figures(found, truth)


def validation_figures(found: list[np.ndarray], truth: list[np.ndarray]) -> dict[str, Any]:
    """MRE (SD), median, SDR at 2 and 4 mm and confusions of points (n, 3) of several scans."""
    errors = np.array([radial_errors(f, t) for f, t in zip(found, truth, strict=True)])
    known = errors[np.isfinite(errors)]
    if known.size == 0:
        return {"scans": len(found), "landmarks": 0}
    mre, sd = mean_radial_error(errors)
    confused = sum(int(confusions(f, t).sum()) for f, t in zip(found, truth, strict=True))
    return {
        "scans": len(found),
        "landmarks": int(known.size),
        "mre_mm": mre,
        "sd_mm": sd,
        "median_mm": float(np.median(known)),
        "sdr_2mm": successful_detection_rate(errors, 2.0),
        "sdr_4mm": successful_detection_rate(errors, 4.0),
        "confusion": confused / known.size,
    }


def _inside(case: AlignedCase, model: Model) -> np.ndarray:
    """(n, 3) true landmarks that lie in the crop, NaN for the others."""
    return np.where(case.placed_in(model.grid.grid())[:, None], case.landmarks, np.nan)
