"""Phantoms enriched in variants of the circle, whole, cropped and masked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from CoWLandmarksLib.core.detection import LandmarkEstimate, LandmarkState
from CoWLandmarksLib.core.volume import EDGE_MM, Modality, Volume, apply_affine, axis_aligned_grid
from CoWLandmarksTrainingLib.phantom.appearance import Family, Masking
from CoWLandmarksTrainingLib.phantom.patterns import DEVELOPMENT
from CoWLandmarksTrainingLib.phantom.phantom_cohort import PhantomCase, rendered_case
from CoWLandmarksTrainingLib.phantom.training_cases import sample_scene
from CoWLandmarksTrainingLib.phantom.variants import VariantRates

SEED_OFFSET = 21_000_000
"""These cases draw from other random streams than all other cohorts of the same seed."""
EXTENT_MM = (84.0, 92.0, 78.0)
RATES = replace(
    VariantRates(),
    pcoa={"normal": 0.2, "hypoplastic": 0.1, "absent": 0.3, "fetal-partial": 0.1, "fetal-full": 0.3},
    a1={"normal": 0.5, "hypoplastic": 0.12, "absent": 0.38},
    patterns=replace(
        DEVELOPMENT,
        acoa={"single": 0.3, "absent": 0.55, "fenestrated": 0.05, "double": 0.05, "X-shaped": 0.05},
        a2={"paired": 0.76, "three": 0.08, "bihemispheric": 0.06, "azygos": 0.10},
    ),
)
CIRCLE = ("R-ICA-T", "L-ICA-T", "R-A1-A2", "L-A1-A2", "R-P1-P2A", "L-P1-P2A", "R-C6-C7", "L-C6-C7", "BA-T")
CIRCLE_MARGIN_MM = ((-7.0, -8.0, -8.0), (7.0, 7.0, 6.0))
"""How far the part of a scan reaches beyond the landmarks of the circle: low and high corner, RAS."""


def variant_cases(seed: int, count: int, version: int) -> Iterator[PhantomCase]:
    """`count` cases of each modality."""
    for index in range(count):
        for modality in Modality:
            yield variant_case(seed, index, modality, version)


def variant_case(seed: int, index: int, modality: Modality, version: int) -> PhantomCase:
    """A case with variants about as often as not, in a field of view just round the circle, not masked."""
    rng = np.random.Generator(np.random.Philox(key=[seed + SEED_OFFSET, 2 * index + (modality is Modality.CTA)]))
    scene = sample_scene(rng, modality, Family.TRAINING, "clinical", RATES, version)
    scene = replace(scene, appearance=replace(scene.appearance, masking=Masking.NONE))
    centre = np.nanmean(apply_affine(scene.pose, scene.phantom.landmarks), axis=0)
    acquisition = scene.appearance.acquisition
    in_plane, slices = (0.5, 0.7) if acquisition is None else acquisition.voxel_mm
    spacing = np.array([in_plane, in_plane, slices])
    size = np.rint(np.array(EXTENT_MM) / spacing).astype(int)
    grid = axis_aligned_grid(centre, spacing, (int(size[2]), int(size[1]), int(size[0])))
    phantom = scene.phantom
    record = {"masking": "none", "artery_present": phantom.artery_present, "variants": phantom.variants}
    return rendered_case(scene, grid, f"{modality.value}-variants-{seed}-{index:04d}", record)


FINE_MM = 0.7


def scan_quality(case: PhantomCase) -> str:
    """ "moved" (double contours), else "fine" (voxels of the volume of a cube of at most FINE_MM) or "coarse"."""
    acquisition = case.scene.appearance.acquisition
    if acquisition is not None and acquisition.motion is not None:
        return "moved"
    return "fine" if float(np.prod(case.volume.grid.spacing)) <= FINE_MM**3 else "coarse"


def cropped(case: PhantomCase, low_mm: np.ndarray, high_mm: np.ndarray, name: str) -> PhantomCase:
    """The part of a case between two corners (3,) RAS mm; landmarks beyond it, or within 2 mm of its edge, are outside.

    The scans here have their axes along R, A, S.
    """
    grid = case.volume.grid
    first = np.clip(np.ceil(apply_affine(grid.ras_to_ijk, np.asarray(low_mm, float))), 0, grid.size - 2).astype(int)
    last = np.clip(np.floor(apply_affine(grid.ras_to_ijk, np.asarray(high_mm, float))), first + 1, grid.size - 1)
    size = (last - first).astype(int) + 1
    window = grid.window((int(first[0]), int(first[1]), int(first[2])), (int(size[2]), int(size[1]), int(size[0])))
    k, j, i = (slice(int(f), int(f + n)) for f, n in zip(first[::-1], size[::-1], strict=True))

    def part(volume: Volume) -> Volume:
        return Volume(volume.voxels[k, j, i], window.ijk_to_ras, volume.name, volume.modality)

    truth = []
    for estimate in case.truth:
        beyond = estimate.position is not None and window.depth_mm(np.array([estimate.position]))[0] < EDGE_MM
        outside = LandmarkEstimate(estimate.code, None, LandmarkState.OUTSIDE, 1.0, 0.0, reviewed=True)
        truth.append(outside if beyond else estimate)
    return replace(
        case, name=f"{case.name}-{name}", volume=part(case.volume), labels=part(case.labels), truth=tuple(truth)
    )


def circle_crop(case: PhantomCase) -> PhantomCase:
    """The part just round the circle that sets of labelled angiograms are restricted to."""
    placed = np.array([e.position for e in case.truth if e.code in CIRCLE and e.position is not None])
    low, high = (np.array(margin) for margin in CIRCLE_MARGIN_MM)
    return cropped(case, placed.min(axis=0) + low, placed.max(axis=0) + high, "circle")


def masked_below(case: PhantomCase, axis: int, side: int, at_mm: float, fill: float = 0.0) -> PhantomCase:
    """The case with a constant `fill` value beyond a plane across `axis` (0 R, 1 A, 2 S) at `at_mm`, on one `side`."""
    grid = case.volume.grid
    places = grid.ijk_to_ras[axis, axis] * np.arange(grid.size[axis]) + grid.ijk_to_ras[axis, 3]
    beyond = np.flatnonzero(side * (places - at_mm) > 0.0)
    voxels, labels = case.volume.voxels.copy(), case.labels.voxels.copy()
    index = tuple(beyond if 2 - axis == dimension else slice(None) for dimension in range(3))
    voxels[index] = fill
    labels[index] = 0
    volume = replace(case.volume, voxels=voxels)
    return replace(case, name=f"{case.name}-masked", volume=volume, labels=replace(case.labels, voxels=labels))
