"""Training cases that the program renders itself: phantoms, kept as small files once they are rendered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from CoWLandmarksLib.core.alignment import (
    CIRCLE_SHAPE,
    CIRCLE_SPACING_MM,
    REFERENCE_SPACING_MM,
    fit_similarity_robustly,
)
from CoWLandmarksLib.core.errors import ConfigurationError
from CoWLandmarksLib.core.volume import Grid, Modality, apply_affine, axis_aligned_grid
from CoWLandmarksLib.detect.coarse import POOLED_SPACING_MM, crop_or_pad

from ..augment.earlier_errors import simulated_estimate
from ..config.settings import PHANTOM_VERSION
from ..phantom.atlas import default_atlas
from ..phantom.case_cache import circle_case, coarse_case, fine_case
from ..phantom.circle_cases import MARGIN, case_grid
from ..phantom.geometry import sample_phantom
from ..phantom.training_cases import FINE_WINDOW, FINE_WINDOWS_PER_CASE, dequantise
from ..records.aligned_folder import INSIDE
from .aligned_source import FIELD_SHIFT_MM, OFF_TARGET_SHARE
from .posed_case import LandmarkSet, PosedCase
from .stages import Posing, Stage

_BEYOND_VOXELS = 8


@dataclass(frozen=True)
class PhantomSource:
    """Phantoms 0 to `count` - 1 of the stream `seed`, in `folder`; those of one modality where `modalities` has one.

    In the beginning there are few: after each `reuse` samples the next one joins, so that rendering keeps pace with the
    training. How cases are turned, cut and misaligned is part of their rendering.
    """

    folder: Path
    seed: int
    count: int
    reuse: int
    modalities: tuple[Modality, ...] = tuple(Modality)
    version: int = PHANTOM_VERSION
    first: int = 8

    def case(self, stage: Stage, position: int, rng: np.random.Generator) -> PosedCase:
        """A case for a stage; raises ConfigurationError where phantoms are not made for it."""
        there = max(1, min(self.count, max(self.first, position // self.reuse)))
        index = int(rng.integers(there))
        if len(self.modalities) == 1:  # even numbers are MRA, odd ones CTA
            index = 2 * index + (self.modalities[0] is Modality.CTA)
        if stage.posing is Posing.FIELD:
            return self._field(index, stage, rng)
        if stage.posing is Posing.CIRCLE:
            return self._circle(index, stage, rng)
        check_phantoms_fit(stage)
        return self._window(index, stage, rng)

    def _field(self, index: int, stage: Stage, rng: np.random.Generator) -> PosedCase:
        case = coarse_case(self.folder, self.seed, index, self.version)
        image = _network_values(case.image, case.values)
        landmarks, window = case.landmarks.astype(float), np.array(stage.shape)
        if rng.random() < OFF_TARGET_SHARE:
            reach = [
                (-_BEYOND_VOXELS, max(1 - _BEYOND_VOXELS, side - size + _BEYOND_VOXELS))
                for side, size in zip(image.shape[1:], window, strict=True)
            ]
            start = np.array([rng.integers(low, high) for low, high in reach])
        else:
            middle = np.nanmean(landmarks, axis=0) + rng.uniform(-1, 1, 3) * FIELD_SHIFT_MM
            start = np.rint(middle[::-1] / POOLED_SPACING_MM).astype(int) - window // 2
        grid = axis_aligned_grid(np.zeros(3), np.full(3, POOLED_SPACING_MM), stage.shape)
        local = landmarks - start[::-1] * POOLED_SPACING_MM + grid.ijk_to_ras[:3, 3]
        cut = crop_or_pad(image, start, stage.shape, 0.0)
        return self._posed(cut, grid, local, case.status, None, case.modality, index)

    def _circle(self, index: int, stage: Stage, rng: np.random.Generator) -> PosedCase:
        case = circle_case(self.folder, self.seed, index, self.version)
        start = rng.integers(0, 2 * MARGIN + 1, 3)
        k, j, i = (slice(first, first + side) for first, side in zip(start, CIRCLE_SHAPE, strict=True))
        image = _network_values(case.image[:, k, j, i], case.values)
        shift = (start[::-1] - MARGIN) * CIRCLE_SPACING_MM
        moved = case.landmarks.astype(float) - case_grid().centre - shift + stage.grid.centre
        return self._posed(image, stage.grid, moved, case.status, None, case.modality, index)

    def _window(self, index: int, stage: Stage, rng: np.random.Generator) -> PosedCase:
        case = fine_case(self.folder, self.seed, index, int(rng.integers(FINE_WINDOWS_PER_CASE)), self.version)
        first = np.rint(apply_affine(stage.grid.ras_to_ijk, case.origin)).astype(int)
        grid = stage.grid.window((int(first[0]), int(first[1]), int(first[2])), stage.shape)
        landmarks = case.landmarks.astype(float) + grid.ijk_to_ras[:3, 3]
        mean = default_atlas().shape_models["patients"].mean
        expected = None
        if stage.priors:
            expected = simulated_estimate(landmarks, rng, mean, with_circle=stage.after_circle)
        image = _network_values(case.image[None], case.values)
        return self._posed(image, grid, landmarks, case.status, expected, case.modality, index)

    def _posed(
        self,
        image: torch.Tensor,
        grid: Grid,
        landmarks: np.ndarray,
        status: np.ndarray,
        expected: np.ndarray | None,
        modality: str,
        index: int,
    ) -> PosedCase:
        name = f"phantom {self.seed}-{index}"
        return PosedCase(image, grid, landmarks, status, expected, Modality(modality), name)


@dataclass(frozen=True)
class PhantomLandmarkSets:
    """Landmark sets of freshly drawn heads, for the discriminator."""

    version: int = PHANTOM_VERSION

    def draw(self, rng: np.random.Generator) -> LandmarkSet:
        """One set, fitted to the mean of the atlas."""
        landmarks = sample_phantom(rng, version=self.version).landmarks
        mean = default_atlas().shape_models["patients"].mean
        landmarks = apply_affine(fit_similarity_robustly(landmarks, mean).transform, landmarks)
        return LandmarkSet(landmarks, np.isfinite(landmarks).all(axis=1).astype(np.int8) * INSIDE)


def check_phantoms_fit(stage: Stage) -> None:
    """Raise ConfigurationError where a stage reads something that phantoms are not rendered as."""
    if stage.posing in (Posing.FIELD, Posing.CIRCLE):
        return
    if stage.shape != FINE_WINDOW or not np.allclose(stage.spacing_mm, REFERENCE_SPACING_MM):
        k, j, i = FINE_WINDOW
        raise ConfigurationError(
            f"Phantoms are rendered in windows of {i} x {j} x {k} voxels of 0.513 x 0.513 x 0.8 mm; set fine.window to "
            f"{list(FINE_WINDOW)} and align with the default spacing, or use data.phantom_share = 0."
        )


def _network_values(image: np.ndarray, values: tuple[float, float]) -> torch.Tensor:
    """A cached image (C, K, J, I) in network units."""
    return dequantise(torch.from_numpy(np.ascontiguousarray(image)), values)
