"""One training case, whatever it comes from: an image laid before a stage, with its landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from CoWLandmarksLib.core.volume import Grid, Modality

from ..records.aligned_folder import INSIDE
from .stages import Stage


@dataclass(frozen=True)
class PosedCase:
    """A case on the grid of a stage.

    `image` (C, K, J, I) float32 in network units, one channel for each of the stage's; `grid` its voxels, axes along
    R, A, S, in mm of the reference frame (or, for a stage that knows none, of a frame of its own); `landmarks` (n, 3)
    mm in that frame, NaN unless their `status` (n,) is 1 (0: absent; -1: beyond the image or not annotated);
    `expected` (n, 3) where the stages before would expect them, where the stage reads it.
    """

    image: torch.Tensor
    grid: Grid
    landmarks: np.ndarray
    status: np.ndarray
    expected: np.ndarray | None
    modality: Modality
    name: str

    @property
    def placed(self) -> np.ndarray:
        """(n, 3) landmarks that are there, NaN for the others."""
        return np.where((self.status == INSIDE)[:, None], self.landmarks, np.nan)


@dataclass(frozen=True)
class LandmarkSet:
    """Landmarks (n, 3) mm of the reference frame with their `status` (n,), for the discriminator; no image."""

    landmarks: np.ndarray
    status: np.ndarray


class CaseSource(Protocol):
    """Where training cases come from; the same numbers give the same case in every process."""

    def case(self, stage: Stage, position: int, rng: np.random.Generator) -> PosedCase:
        """A case for a stage: `position` counts the samples of the training, `rng` draws how it is laid."""
