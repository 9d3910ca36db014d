"""Training samples from cached phantom cases: crops, mirrored pairs, intensity jitter, target heatmaps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from CoWLandmarksLib.alignment import REFERENCE_SPACING_MM
from CoWLandmarksLib.circle import CIRCLE_SPACING_MM, circle_grid
from CoWLandmarksLib.errors import ConfigurationError
from CoWLandmarksLib.heatmap import encode
from CoWLandmarksLib.intensity import DEFAULT_INTENSITY_RULES
from CoWLandmarksLib.localizer import POOLED_SPACING_MM, WINDOW, crop_or_pad
from CoWLandmarksLib.modality import Modality
from CoWLandmarksLib.volume import axis_aligned_grid

from .augmentation import jittered, mirrored
from .batch import Batch, stacked
from .intensity_variation import varied
from .phantom.atlas import default_atlas
from .phantom.case_cache import read_circle_case, read_coarse_case, read_fine_case
from .phantom.circle_cases import MARGIN, case_grid
from .phantom.training_cases import FINE_WINDOWS_PER_CASE, dequantise

CPU = torch.device("cpu")
"""Where batches are made unless a sampler is given another `device`."""
CIRCLE_ERRORS_SHARE = 0.6
"""How often the fine network is told where the circle network would put the points, instead of the coarse one."""


class CaseFolder:
    """The cached cases in a folder; new files are noticed while training goes on."""

    def __init__(self, folder: Path, *, relist_after: int = 500) -> None:
        self.folder = folder
        self._relist_after = relist_after
        self._draws = 0
        self._files: list[Path] = []

    def draw(self, rng: np.random.Generator) -> Path:
        """A random case file; raises ConfigurationError when there is none."""
        if self._draws % self._relist_after == 0:
            self._files = sorted(self.folder.glob("*.npz"))
        self._draws += 1
        if not self._files:
            raise ConfigurationError(f"There are no training cases in '{self.folder}'; make them first.")
        return self._files[int(rng.integers(len(self._files)))]


@dataclass(frozen=True)
class CoarseSampler:
    """Windows for the coarse network: mean and maximum channels at 2 mm, randomly shifted and mirrored."""

    cases: CaseFolder
    permutation: tuple[int, ...]
    sigma_mm: float
    batch_size: int = 2
    window: tuple[int, int, int] = WINDOW
    off_target_share: float = 0.08
    device: torch.device = CPU

    def __call__(self, rng: np.random.Generator) -> Batch:
        """One batch."""
        return stacked([self._sample(rng) for _ in range(self.batch_size)])

    def _sample(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        case = read_coarse_case(self.cases.draw(rng))
        image = _with_another_look(case.image, case.modality, rng, self.device)
        landmarks, status = case.landmarks.astype(float), case.status
        if rng.random() < 0.5:
            width = (image.shape[3] - 1) * POOLED_SPACING_MM
            image, landmarks, status = mirrored(image, landmarks, status, width, self.permutation)
        window = np.array(self.window)
        if rng.random() < self.off_target_share:
            start = np.array(
                [rng.integers(-8, max(-7, side - size + 8)) for side, size in zip(image.shape[1:], window, strict=True)]
            )
        else:
            middle = np.nanmean(landmarks, axis=0)[::-1] / POOLED_SPACING_MM
            start = np.rint(middle + rng.uniform(-1, 1, 3) * (15, 20, 20)).astype(int) - window // 2
        crop = crop_or_pad(
            jittered(image, rng), start, self.window, DEFAULT_INTENSITY_RULES[Modality(case.modality)].padding()
        )
        grid = axis_aligned_grid(np.zeros(3), np.full(3, POOLED_SPACING_MM), self.window)
        local = landmarks - start[::-1] * POOLED_SPACING_MM + grid.ijk_to_ras[:3, 3]
        return crop, encode(local, grid, self.sigma_mm, self.device), torch.from_numpy((status >= 0).astype(np.float32))


@dataclass(frozen=True)
class CircleSampler:
    """The whole circle for the circle network: mean and maximum channels at 1 mm, randomly shifted and mirrored."""

    cases: CaseFolder
    permutation: tuple[int, ...]
    sigma_mm: float
    batch_size: int = 1
    device: torch.device = CPU

    def __call__(self, rng: np.random.Generator) -> Batch:
        """One batch."""
        return stacked([self._sample(rng) for _ in range(self.batch_size)])

    def _sample(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        case = read_circle_case(self.cases.draw(rng))
        image = jittered(_with_another_look(case.image, case.modality, rng, self.device), rng)
        landmarks = case.landmarks.astype(float) - case_grid().ijk_to_ras[:3, 3]
        status = case.status
        if rng.random() < 0.5:
            width = (image.shape[3] - 1) * CIRCLE_SPACING_MM
            image, landmarks, status = mirrored(image, landmarks, status, width, self.permutation)
        start = rng.integers(0, 2 * MARGIN + 1, 3)
        grid = circle_grid()
        k, j, i = (slice(first, first + side) for first, side in zip(start, grid.shape, strict=True))
        local = landmarks - start[::-1] * CIRCLE_SPACING_MM + grid.ijk_to_ras[:3, 3]
        return (
            image[:, k, j, i],
            encode(local, grid, self.sigma_mm, self.device),
            torch.from_numpy((status >= 0).astype(np.float32)),
        )


@dataclass(frozen=True)
class FineSampler:
    """Windows of the reference grid for the fine network, with prior heatmaps from simulated errors of the steps before
    it: those of the circle network, which are small, or of the coarse one, which a model may go by alone."""

    cases: CaseFolder
    permutation: tuple[int, ...]
    sigma_mm: float
    prior_sigma_mm: float
    batch_size: int = 2
    device: torch.device = CPU

    def __call__(self, rng: np.random.Generator) -> Batch:
        """One batch."""
        return stacked([self._sample(rng) for _ in range(self.batch_size)])

    def _sample(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        case = read_fine_case(self.cases.draw(rng), int(rng.integers(FINE_WINDOWS_PER_CASE)))
        image = jittered(_with_another_look(case.image[None], case.modality, rng, self.device), rng)
        landmarks, status = case.landmarks.astype(float), case.status
        mean = default_atlas().shape_models["patients"].mean
        estimate = simulated_circle_estimate if rng.random() < CIRCLE_ERRORS_SHARE else simulated_coarse_estimate
        expected = estimate(with_expected_places(landmarks, mean), rng, mean)
        grid = axis_aligned_grid(np.zeros(3), REFERENCE_SPACING_MM, image.shape[1:])  # type: ignore[arg-type]
        if rng.random() < 0.5:
            width = (image.shape[3] - 1) * REFERENCE_SPACING_MM[0]
            _, expected, _ = mirrored(image, expected, status, width, self.permutation)
            image, landmarks, status = mirrored(image, landmarks, status, width, self.permutation)
        local = landmarks + grid.ijk_to_ras[:3, 3]
        prior = encode(expected + grid.ijk_to_ras[:3, 3], grid, self.prior_sigma_mm, self.device)
        return (
            torch.cat([image, prior]),
            encode(local, grid, self.sigma_mm, self.device),
            torch.from_numpy((status >= 0).astype(np.float32)),
        )


def _with_another_look(
    image: np.ndarray, modality: str, rng: np.random.Generator, device: torch.device
) -> torch.Tensor:
    """A cached image (C, K, J, I) in network units on `device`, its look changed at random."""
    kind = Modality(modality)
    return varied(dequantise(torch.from_numpy(image).to(device), DEFAULT_INTENSITY_RULES[kind]), rng, kind)


def with_expected_places(landmarks: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Landmarks (n, 3) with the absent ones (NaN) where the others and a shape `mean` (n, 3), same axes, expect them.

    A detector does not know beforehand which landmarks are absent and gives the network a prior for each of them;
    without these places an empty prior would give the absence away in training.
    """
    known = np.isfinite(landmarks).all(axis=1)
    shift = np.median((landmarks - mean)[known], axis=0)
    return np.where(known[:, None], landmarks, mean + shift)


def simulated_coarse_estimate(landmarks: np.ndarray, rng: np.random.Generator, mean: np.ndarray) -> np.ndarray:
    """Landmarks (n, 3) with errors like those of the coarse step.

    A common shift, a spread, some points far off, and a pull towards the shape `mean` (n, 3; same axes): a doubtful
    point is put where it usually lies, so the further from there a landmark is, the further off is its estimate.
    Without the pull the fine network learns to trust the prior along a vessel and never leaves it (M1-M2).
    """
    n = len(landmarks)
    usual = mean + np.median(landmarks - mean, axis=0)
    pull = rng.uniform(0.0, 1.2, (n, 1)) * np.sqrt(rng.uniform(0.0, 1.0))
    spread = rng.uniform(0.6, 2.5)
    far = rng.random(n) < rng.uniform(0.0, 0.3)
    noise = rng.normal(0, 1, (n, 3)) * np.where(far, 4.5, spread)[:, None] + rng.normal(0, 0.8, 3)
    return landmarks + pull * (usual - landmarks) + noise


def simulated_circle_estimate(landmarks: np.ndarray, rng: np.random.Generator, mean: np.ndarray) -> np.ndarray:
    """Landmarks (n, 3) with errors like those of the circle step: mostly a millimetre, one in twenty far off.

    Those far off lie elsewhere along a vessel or where they usually lie (`mean` (n, 3); same axes).
    """
    n = len(landmarks)
    usual = mean + np.median(landmarks - mean, axis=0)
    far = rng.random(n) < rng.uniform(0.0, 0.12)
    pull = np.where(far, rng.uniform(0.0, 1.0, n), rng.uniform(0.0, 0.15, n))[:, None]
    spread = np.where(far, 3.0, rng.uniform(0.3, 1.0))[:, None]
    noise = rng.normal(0, 1, (n, 3)) * spread + rng.normal(0, 0.3, 3)
    return landmarks + pull * (usual - landmarks) + noise
