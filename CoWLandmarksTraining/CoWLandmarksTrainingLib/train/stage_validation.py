"""Validation while a stage is trained: figures on validation cases and a picture of the first."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.core.errors import OutputError
from CoWLandmarksLib.detect.fine import choose_windows

from ..augment.augmentation import draw_deformation
from ..augment.earlier_errors import simulated_estimate
from ..config.settings import ONLY_TRANSLATIONS
from ..figures.error_picture import write_error_picture
from ..records.aligned_folder import AlignedCase
from ..records.metrics import error_figures, errors_of_points, radial_errors
from .aligned_source import AlignedSource, central_field_window, status_on
from .batches import stacked
from .posed_case import PosedCase
from .samples import sample_of
from .stages import Posing, Stage

logger = logging.getLogger(__name__)


_LOGGED = ("scans", "landmarks", "mre_mm", "sd_mm", "median_mm", "confusion")


@dataclass(frozen=True)
class StageValidation:
    """Reads validation cases with the network of a stage (a trainer's `validate`).

    Cases are laid as a detector would lay them after stages with simulated errors, the same every time. Pictures go to
    `pictures` (None: none are drawn).
    """

    stage: Stage
    source: AlignedSource
    cases: tuple[AlignedCase, ...]
    anatomy: Anatomy
    device: torch.device
    pictures: Path | None = None

    def __call__(self, network: torch.nn.Module, step: int) -> dict[str, Any]:
        """Figures of the errors for the log (training-log.schema.json)."""
        read = [self._read(network, case, number) for number, case in enumerate(self.cases)]
        if self.pictures is not None and self.stage.in_reference_frame:
            self._draw(self.pictures / f"step-{step:06d}.png", *read[0], step)
        figures = error_figures(*errors_of_points([found for found, _ in read], [truth for _, truth in read]))
        logged = {name: figures[name] for name in _LOGGED if name in figures}
        return logged | {f"sdr_{radius}mm": share for radius, share in figures.get("sdr", {}).items() if radius in "24"}

    def _read(self, network: torch.nn.Module, case: AlignedCase, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Found and true places (n, 3) in one frame, NaN where nothing was read or there is no landmark."""
        count = len(case.landmarks)
        found, truth = np.full((count, 3), np.nan), np.full((count, 3), np.nan)
        for posed, landmarks in self._posed(case, number):
            batch = stacked([sample_of(posed, self.stage, posed.image, None, tuple(range(count)))]).to(self.device)
            with torch.inference_mode():
                outputs = network(self.stage.method.inputs(batch))[0].float()
            positions, _ = self.stage.method.decode(outputs, posed.grid, posed.expected)
            seen = posed.grid.depth_mm(np.nan_to_num(posed.placed, nan=1e6)) >= 0.0
            placed = np.where(seen[:, None], posed.placed, np.nan)
            found[landmarks], truth[landmarks] = positions[landmarks], placed[landmarks]
        return found, truth

    def _posed(self, case: AlignedCase, number: int) -> Iterator[tuple[PosedCase, list[int]]]:
        """What of a case is read, with the landmarks that are read from it."""
        rng = np.random.Generator(np.random.Philox(key=[number, 2**42]))
        plain = replace(self.source, augmentation=ONLY_TRANSLATIONS)
        stage, everything = self.stage, list(range(len(case.landmarks)))
        if stage.posing is Posing.FIELD:
            yield plain.field(case, central_field_window(case.landmarks_in_scan()), np.eye(4)), everything
            return
        if stage.posing is Posing.CIRCLE:
            yield plain.posed(case, stage, rng), everything
            return
        deformation = draw_deformation(rng, replace(ONLY_TRANSLATIONS, translation_mm=0.0), stage.grid)
        status = status_on(stage.grid, case.landmarks, case.status)
        mean = self.source.frame.mean_landmarks
        expected = simulated_estimate(case.landmarks, rng, mean, with_circle=stage.after_circle)
        prior_points = expected if stage.priors else None
        for window in choose_windows(expected, stage.grid, stage.shape):
            grid = stage.grid.window(window.start, stage.shape)
            yield plain.laid(case, stage, grid, deformation, status, prior_points), list(window.landmarks)

    def _draw(self, path: Path, found: np.ndarray, truth: np.ndarray, step: int) -> None:
        first = self.cases[0]
        errors = radial_errors(found, truth)
        mean = float(np.nanmean(errors)) if np.isfinite(errors).any() else float("nan")
        title = f"{first.name}, step {step}: mean error {mean:.1f} mm (rings: truth, discs: network)"
        try:
            crop = np.asarray(first.crop(), np.float32)
            write_error_picture(path, crop, self.source.frame.grid, truth, found, self.anatomy, title)
        except (OSError, OutputError, ImportError) as error:  # a machine may have torch without vtk
            logger.warning("No picture of step %d (%s); training goes on.", step, error)
