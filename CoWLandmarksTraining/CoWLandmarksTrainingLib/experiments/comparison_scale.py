"""At which size the comparison runs: the paper's, or a third of it along each axis, for a processor."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from CoWLandmarksLib.core.alignment import REFERENCE_CENTRE_MM, REFERENCE_SHAPE, REFERENCE_SPACING_MM
from CoWLandmarksLib.core.volume import Grid, axis_aligned_grid
from torch.nn import functional

from ..config.presets import PRESETS
from ..config.settings import ONLY_TRANSLATIONS
from ..config.training_plan import TrainingPlan


@dataclass(frozen=True)
class ComparisonScale:
    """Grid and settings that all rows share.

    A voxel of the grid holds `pooled`^3 voxels of the paper's; `shape` (K, J, I). `plan`: the generator alone,
    phase 1. `phase_2_steps` and `phase_2_rate` are those of every row that goes on from it. `seconds_per_step`
    (phase 1, phase 2) on one core of an AMD EPYC, for estimates.
    """

    name: str
    shape: tuple[int, int, int]
    pooled: int
    plan: TrainingPlan
    phase_2_steps: int
    phase_2_rate: float
    seconds_per_step: tuple[float, float]

    def grid(self, centre_mm: np.ndarray = REFERENCE_CENTRE_MM) -> Grid:
        """The crop about a point of the reference frame."""
        return axis_aligned_grid(centre_mm, self.pooled * REFERENCE_SPACING_MM, self.shape)

    def fine_grid(self, centre_mm: np.ndarray = REFERENCE_CENTRE_MM) -> Grid:
        """The same field of view with the paper's voxels."""
        k, j, i = (self.pooled * side for side in self.shape)
        return axis_aligned_grid(centre_mm, REFERENCE_SPACING_MM, (k, j, i))

    def pool(self, image: torch.Tensor) -> np.ndarray:
        """float16 [k, j, i] on `grid`: the mean over blocks of an image on `fine_grid`."""
        pooled = functional.avg_pool3d(image[None, None], self.pooled)[0, 0] if self.pooled > 1 else image
        return pooled.numpy().astype(np.float16)


_PAPER = PRESETS["paper"]
_SMALL = replace(
    _PAPER,
    name="comparison-small",
    training=replace(_PAPER.training, mixed_precision=True, workers=0, validate_every=600, log_seconds=20.0),
    fine=replace(
        _PAPER.fine,
        steps=4200,
        adversarial_steps=0,
        batch_size=2,
        learning_rate=5e-4,
        final_learning_rate=5e-4,
        warm_up_steps=50,
        average_decay=0.995,
        gradient_norm=1.0,
        base_width=24,
        levels=3,
        max_width=96,
        fold=2,
        sigma_mm=3.0,
        subvoxel_targets=True,
    ),
    augmentation=replace(ONLY_TRANSLATIONS, translation_mm=3.1),
)
SCALES = {
    scale.name: scale
    for scale in (
        ComparisonScale("small", (32, 56, 64), 3, _SMALL, 3000, 3e-4, (0.8, 1.4)),
        ComparisonScale(
            "paper",
            REFERENCE_SHAPE,
            1,
            replace(
                _PAPER,
                name="comparison-paper",
                fine=replace(_PAPER.fine, adversarial_steps=0, subvoxel_targets=True),
            ),
            _PAPER.fine.adversarial_steps,
            _PAPER.fine.learning_rate,
            (90.0, 150.0),
        ),
    )
}
"""small: 64 x 56 x 32 voxels of 1.54 x 1.54 x 2.4 mm. paper: 192 x 160 x 96 of 0.513 x 0.513 x 0.8 mm."""
