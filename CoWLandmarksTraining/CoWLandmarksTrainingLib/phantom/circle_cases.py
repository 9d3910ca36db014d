"""Phantom cases for the circle network: the whole circle at 1 mm in the reference frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from CoWLandmarksLib.core.alignment import CIRCLE_SHAPE
from CoWLandmarksLib.core.intensity import DEFAULT_INTENSITY_RULES, IntensityRule
from CoWLandmarksLib.core.volume import Grid, Modality, apply_affine, axis_aligned_grid
from CoWLandmarksLib.detect.circle import circle_grid, halved
from CoWLandmarksLib.detect.coarse import pool_for_localizer
from CoWLandmarksLib.networks.resampling import resample

from ..augment.earlier_errors import simulated_alignment
from ..config.settings import PHANTOM_VERSION
from .acquisition import Acquisition
from .appearance import Family
from .atlas import default_atlas
from .render import Scene, render
from .training_cases import (
    TRAINING_ENRICHMENT,
    drawn_voxels,
    landmark_status,
    quantise,
    sample_field_of_view,
    sample_scene,
    value_range,
)
from .variants import VariantRates

MARGIN = 4
"""Voxels by which a cached case is larger than the network's window on every side, for random shifts."""
ABSENT_EVERY, ABSENT_ENRICHMENT = 10, 16.0
"""One case in so many lacks a landmark; uncommon variants are that much more likely in it."""
_FINEST_MM = (0.55, 0.55, 0.7)
"""Finer voxels make no difference to a network that reads 1 mm, and take long to render."""
_STREAM = 2**41
"""Cases of this network are other draws than those of the others with the same seed and index."""


@dataclass(frozen=True)
class CircleCase:
    """`image` uint8 [2, k, j, i] (mean, maximum) on `case_grid()`; `landmarks` (n, 3) mm of the reference frame;
    `status` (n,) 1 inside, 0 absent, -1 beyond the scan or the image; `values` what the bytes 0 and 255 stand for."""

    image: np.ndarray
    landmarks: np.ndarray
    status: np.ndarray
    modality: str
    values: tuple[float, float]


def case_grid() -> Grid:
    """The grid of a cached case: that of the network with a margin."""
    k, j, i = CIRCLE_SHAPE
    return circle_grid().window((-MARGIN, -MARGIN, -MARGIN), (k + 2 * MARGIN, j + 2 * MARGIN, i + 2 * MARGIN))


def render_circle_case(seed: int, index: int, device: torch.device, version: int = PHANTOM_VERSION) -> CircleCase:
    """Case number `index` of the endless stream `seed`, as a detector with coarse errors would align it."""
    rng = np.random.Generator(np.random.Philox(key=[seed, _STREAM + index]))
    modality = (Modality.MRA, Modality.CTA)[index % 2]
    rule = DEFAULT_INTENSITY_RULES[modality]
    scene = _scene(rng, modality, version, absent=(index // 2) % ABSENT_EVERY == ABSENT_EVERY - 1)
    truth = apply_affine(scene.pose, scene.phantom.landmarks)
    mean = default_atlas().shape_models["patients"].mean
    to_reference = simulated_alignment(truth, mean, circle_grid().centre, rng)
    halves = halved(case_grid())
    in_scan = halves.transformed(np.linalg.inv(to_reference))
    native = _native_grid(in_scan, np.nanmean(truth, axis=0), rng, scene.appearance.acquisition)
    image = _rendered(scene, native, rule, in_scan, rng, device)
    pooled, _ = pool_for_localizer(image, halves)
    landmarks = apply_affine(to_reference, truth)
    status = landmark_status(truth, native)
    beyond = (status == 1) & (landmark_status(landmarks, case_grid()) != 1)
    values = value_range(pooled, rule, version)
    return CircleCase(
        quantise(pooled, values), landmarks.astype(np.float32), np.where(beyond, -1, status), modality.value, values
    )


def _scene(rng: np.random.Generator, modality: Modality, version: int, *, absent: bool) -> Scene:
    """A drawn head; with `absent` one in which at least one landmark does not exist."""
    while True:
        enrichment = ABSENT_ENRICHMENT if absent else TRAINING_ENRICHMENT
        rates = VariantRates().enriched(enrichment) if absent or rng.random() < 0.5 else None
        scene = sample_scene(rng, modality, Family.TRAINING, "training", rates, version)
        if not absent or not np.isfinite(scene.phantom.landmarks).all():
            return scene


def _rendered(
    scene: Scene, native: Grid, rule: IntensityRule, target: Grid, rng: np.random.Generator, device: torch.device
) -> torch.Tensor:
    """The scan on `native` in network units, resampled to `target`."""
    image = render(scene, native, device).image
    scale = rule.scale(image.cpu().numpy(), float(np.prod(native.spacing))) * float(np.exp(rng.normal(0, 0.05)))
    return resample(rule.apply(image, scale), native, target, padding=rule.padding())


def _native_grid(target: Grid, circle: np.ndarray, rng: np.random.Generator, acquisition: Acquisition | None) -> Grid:
    """A scanner's voxel grid, axis-aligned in scan RAS: the part of a drawn field of view that `target` needs."""
    if acquisition:
        spacing = np.maximum(drawn_voxels(rng, acquisition), _FINEST_MM)
    else:
        in_plane, slices = rng.uniform(0.4, 0.8), rng.uniform(0.5, 1.2)
        if rng.random() < 0.15:
            in_plane, slices = rng.uniform(0.6, 1.0), rng.uniform(0.8, 1.5)
        spacing = np.array([in_plane, in_plane, slices])
    field = sample_field_of_view(rng, circle).corners()
    corners = target.corners()
    low = np.maximum(corners.min(axis=0) - 1.0, field.min(axis=0))
    high = np.minimum(corners.max(axis=0) + 1.0, field.max(axis=0))
    size = np.ceil((high - low) / spacing).astype(int)
    return axis_aligned_grid((low + high) / 2, spacing, (int(size[2]), int(size[1]), int(size[0])))
