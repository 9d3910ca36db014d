"""Phantom cases for training: one low-resolution field of view for the coarse network, a few full-resolution
windows in the reference grid for the fine network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from CoWLandmarksLib.core.alignment import fit_similarity, fit_similarity_robustly, reference_grid
from CoWLandmarksLib.core.intensity import DEFAULT_INTENSITY_RULES, IntensityRule
from CoWLandmarksLib.core.volume import EDGE_MM, Grid, Modality, apply_affine, axis_aligned_grid
from CoWLandmarksLib.detect.coarse import pool_for_localizer
from CoWLandmarksLib.networks.resampling import resample

from ..config.settings import PHANTOM_VERSION
from .acquisition import Acquisition
from .appearance import Family
from .atlas import default_atlas
from .families import sample_appearance
from .geometry import sample_phantom
from .head import sample_head
from .pose import sample_pose
from .render import Scene, render
from .variants import VariantRates

FINE_WINDOW = (48, 64, 64)
FINE_WINDOWS_PER_CASE = 5
TRAINING_ENRICHMENT = 3.0
"""Half the cases have uncommon variants and disease this many times as often, so that absence is learnt."""


@dataclass(frozen=True)
class CoarseCase:
    """`image` uint8 [2, k, j, i] (mean, maximum); `landmarks` (n, 3) mm from the first voxel along i, j, k;
    `status` (n,) 1 inside, 0 absent, -1 beyond the field of view; `values` network values of the bytes 0 and 255."""

    image: np.ndarray
    landmarks: np.ndarray
    status: np.ndarray
    modality: str
    values: tuple[float, float]


@dataclass(frozen=True)
class FineCase:
    """`image` uint8 [k, j, i]; `landmarks` (n, 3) mm of the reference frame from the window's first voxel, also
    outside it; `status` and `values` as in CoarseCase; `origin` (3,) mm of the first voxel in the reference frame."""

    image: np.ndarray
    landmarks: np.ndarray
    status: np.ndarray
    modality: str
    origin: np.ndarray
    values: tuple[float, float]


def sample_scene(
    rng: np.random.Generator,
    modality: Modality,
    family: Family,
    pose: str,
    rates: VariantRates | None = None,
    version: int = PHANTOM_VERSION,
) -> Scene:
    """Draw anatomy, head, appearance and pose of one case; `rates` None: variants at their prevalence."""
    phantom = sample_phantom(rng, rates=rates, version=version)
    head, appearance = sample_head(rng), sample_appearance(rng, modality, family, version)
    turned = appearance.acquisition is not None and appearance.acquisition.turned
    return Scene(phantom, head, appearance, sample_pose(rng, pose, turned=turned))  # type: ignore[arg-type]


def value_range(image: torch.Tensor, rule: IntensityRule, version: int) -> tuple[float, float]:
    """Network values that the bytes 0 and 255 stand for.

    From version 4 on those of the image itself: a CTA of 8 bits covers a fifth of what the rule allows.
    """
    if version == 3:
        return rule.low, rule.high
    low, high = float(image.min()), float(image.max())
    return low, max(high, low + 1e-3)


def quantise(image: torch.Tensor, values: tuple[float, float]) -> np.ndarray:
    """Network values as bytes, for the cache."""
    low, high = values
    return ((image - low) * (255.0 / (high - low))).round().clamp(0, 255).to(torch.uint8).cpu().numpy()


def dequantise(image: torch.Tensor, values: tuple[float, float]) -> torch.Tensor:
    """Inverse of `quantise`."""
    low, high = values
    return image.to(torch.float32) * ((high - low) / 255.0) + low


def landmark_status(landmarks: np.ndarray, grid: Grid) -> np.ndarray:
    """(n,) 1 inside the grid, 0 absent (NaN), -1 beyond it or within 2 mm of its edge."""
    known = np.isfinite(landmarks).all(axis=1)
    inside = grid.depth_mm(np.nan_to_num(landmarks)) >= EDGE_MM
    return np.where(known, np.where(inside, 1, -1), 0).astype(np.int8)


def sample_field_of_view(rng: np.random.Generator, centre: np.ndarray) -> Grid:
    """Field of view at 1 mm: a head, a slab or a crop; the circle may be cut."""
    kind = rng.choice(3, p=[0.3, 0.4, 0.3])
    u = rng.uniform
    if kind == 0:
        extent = np.array([u(150, 180), u(170, 200), u(110, 150)])
        shift = np.array([u(-10, 10), u(-25, 5), u(-15, 25)])
    elif kind == 1:
        extent = np.array([u(130, 180), u(130, 190), u(40, 90)])
        shift = np.array([u(-10, 10), u(-25, 15), u(-25, 25)])
    else:
        extent = u(42, 120, 3)
        shift = u(-20, 20, 3)
    shape = tuple(int(n) for n in np.ceil(extent[::-1]))
    return axis_aligned_grid(centre + shift, np.ones(3), (shape[0], shape[1], shape[2]))


def render_training_case(
    seed: int, index: int, device: torch.device, version: int = PHANTOM_VERSION
) -> tuple[CoarseCase, list[FineCase]]:
    """Case number `index` of the endless training stream `seed`."""
    rng = np.random.Generator(np.random.Philox(key=[seed, index]))
    modality = (Modality.MRA, Modality.CTA)[index % 2]
    rule = DEFAULT_INTENSITY_RULES[modality]
    rates = VariantRates().enriched(TRAINING_ENRICHMENT) if rng.random() < 0.5 else None
    scene = sample_scene(rng, modality, Family.TRAINING, "training", rates, version)
    truth = apply_affine(scene.pose, scene.phantom.landmarks)
    grid = sample_field_of_view(rng, np.nanmean(truth, axis=0))
    image = render(scene, grid, device).image
    scale = rule.scale(image.cpu().numpy(), float(np.prod(grid.spacing)))
    pooled, pooled_grid = pool_for_localizer(rule.apply(image, scale), grid)
    values = value_range(pooled, rule, version)
    coarse = CoarseCase(
        quantise(pooled, values),
        _in_grid_mm(truth, pooled_grid, pooled_grid.spacing),
        landmark_status(truth, grid),
        modality.value,
        values,
    )
    fine = [_fine_case(scene, truth, rule, scale, rng, device) for _ in range(FINE_WINDOWS_PER_CASE)]
    return coarse, fine


def _in_grid_mm(landmarks: np.ndarray, grid: Grid, spacing: np.ndarray) -> np.ndarray:
    """Landmarks in mm from the first voxel, a voxel counting as `spacing` (3,) mm."""
    return (apply_affine(grid.ras_to_ijk, landmarks) * spacing).astype(np.float32)


def _fine_case(
    scene: Scene, truth: np.ndarray, rule: IntensityRule, scale: float, rng: np.random.Generator, device: torch.device
) -> FineCase:
    """A window of the reference grid round one landmark, as a detector with coarse errors would cut it."""
    mean = default_atlas().shape_models["patients"].mean
    noisy = truth + rng.normal(0, rng.uniform(0.5, 2.5), truth.shape)
    aligned = _alignment(scene, noisy, mean)
    in_reference = apply_affine(aligned, truth)
    present = np.nonzero(np.isfinite(truth).all(axis=1))[0]
    centre = in_reference[rng.choice(present)] + rng.uniform(-9, 9, 3)
    whole = reference_grid()
    start = np.rint(apply_affine(whole.ras_to_ijk, centre)).astype(int) - np.array(FINE_WINDOW[::-1]) // 2
    local = whole.window((int(start[0]), int(start[1]), int(start[2])), FINE_WINDOW)
    window = local.transformed(np.linalg.inv(aligned))
    native = _native_grid(window, rng, scene.appearance.acquisition)
    status = landmark_status(truth, native)
    image = render(scene, native, device).image
    sampled = resample(rule.apply(image, scale * float(np.exp(rng.normal(0, 0.05)))), native, window, padding=0.0)
    beyond = (status == -1) & (landmark_status(truth, window) != 1)
    status = np.where(beyond, 1, status).astype(np.int8)
    values = value_range(sampled, rule, scene.phantom.version)
    return FineCase(
        quantise(sampled, values),
        _in_grid_mm(truth, window, whole.spacing),
        status,
        scene.appearance.modality.value,
        local.ijk_to_ras[:3, 3].copy(),
        values,
    )


def _alignment(scene: Scene, noisy: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Scan RAS -> reference frame by landmarks whose errors have no outliers (version 3 allowed for some, slowly)."""
    if scene.phantom.version == 3:
        return fit_similarity_robustly(noisy, mean).transform
    known = np.isfinite(noisy).all(axis=1)
    return fit_similarity(noisy[known], mean[known])


def drawn_voxels(rng: np.random.Generator, acquisition: Acquisition) -> np.ndarray:
    """Voxel size (3,) of a part of a scan: about that of the whole scan."""
    in_plane, slices = np.array(acquisition.voxel_mm) * rng.uniform(0.9, 1.1, 2)
    return np.array([in_plane, in_plane, slices])


def _native_grid(window: Grid, rng: np.random.Generator, acquisition: Acquisition | None) -> Grid:
    """A scanner's voxel grid, axis-aligned in scan RAS, that covers (or in one of eight cases cuts) a window."""
    if acquisition:
        spacing = drawn_voxels(rng, acquisition)
    else:
        in_plane, slices = rng.uniform(0.3, 0.65), rng.uniform(0.5, 1.0)
        if rng.random() < 0.15:
            in_plane, slices = rng.uniform(0.5, 0.9), rng.uniform(0.8, 1.5)
        spacing = np.array([in_plane, in_plane, slices])
    corners = window.corners()
    low, high = corners.min(axis=0) - 1.0, corners.max(axis=0) + 1.0
    if rng.random() < 0.12:
        axis, share = int(rng.integers(3)), rng.uniform(0.1, 0.5)
        if rng.random() < 0.5:
            low[axis] += share * (high - low)[axis]
        else:
            high[axis] -= share * (high - low)[axis]
    size = np.ceil((high - low) / spacing).astype(int)
    return axis_aligned_grid((low + high) / 2, spacing, (int(size[2]), int(size[1]), int(size[0])))
