"""Small aligned cohorts whose scans show one bead for every landmark, each of its own brightness."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from CoWLandmarksLib.core.anatomy import Anatomy, default_anatomy
from CoWLandmarksLib.core.intensity import DEFAULT_INTENSITY_RULES
from CoWLandmarksLib.core.volume import Grid, Modality, apply_affine, axis_aligned_grid
from CoWLandmarksTrainingLib.phantom.atlas import default_atlas
from CoWLandmarksTrainingLib.phantom.pose import pose_matrix
from CoWLandmarksTrainingLib.records.aligned_folder import AlignedCase, AlignedCohort, AlignedFrame, write_arrays

GRID = axis_aligned_grid(np.array([0.0, 14.0, 2.5]), np.array([2.0, 2.0, 2.4]), (24, 40, 48))
BEAD_MM = 2.5
FRAME = AlignedFrame(GRID, np.zeros((0, 3)), "landmarks", region_spacing_mm=2.0)


def mean_places(anatomy: Anatomy) -> np.ndarray:
    """(n, 3) mean landmarks of the atlas, of this landmark set."""
    codes = default_anatomy().codes
    return default_atlas().shape_models["patients"].mean[[codes.index(code) for code in anatomy.codes]]


def bead_image(grid: Grid, places: np.ndarray) -> np.ndarray:
    """[k, j, i] network values, `grid` along R, A, S: beads at `places` (n, 3) mm, NaN for none, the last brightest."""
    axes = [grid.ijk_to_ras[n, 3] + grid.spacing[n] * np.arange(grid.size[n]) for n in range(3)]
    image = np.zeros(grid.shape)
    for number, point in enumerate(places):
        if np.isfinite(point).all():
            r, a, s = (np.exp(-((axis - p) ** 2) / (2.0 * BEAD_MM**2)) for axis, p in zip(axes, point, strict=True))
            image = np.maximum(image, (0.5 + number / len(places)) * s[:, None, None] * a[:, None] * r)
    return image


def bead_case(
    folder: Path,
    name: str,
    modality: Modality,
    split: str,
    anatomy: Anatomy,
    seed: int,
    *,
    has_image: bool = True,
    grid: Grid = GRID,
) -> AlignedCase:
    """One case with 1.5 mm of variation, written into `folder` when it has an image."""
    rng = np.random.default_rng(seed)
    places = mean_places(anatomy) + rng.normal(0, 1.5, (len(anatomy), 3)) + rng.normal(0, 1.0, 3)
    pose = pose_matrix(*rng.normal(0, 5, 3), 1.0, rng.normal(0, 4, 3))
    scan = axis_aligned_grid(apply_affine(pose, GRID.centre[None])[0], np.ones(3), (70, 100, 104))
    case = AlignedCase(
        name, f"patient-{name}", modality, split, places, np.ones(len(anatomy), np.int8), np.linalg.inv(pose), 1.0
    )
    if not has_image:
        return case
    frame = replace(FRAME, grid=grid)
    arrays = (bead_image(grid, places), bead_image(frame.region, places), bead_image(scan, apply_affine(pose, places)))
    write_arrays(folder / name, *arrays)
    return replace(case, folder=folder / name, coarse_grid=scan)


def write_bead_cohort(
    folder: Path,
    *,
    mra: int = 3,
    cta: int = 0,
    sets: int = 4,
    validation: int = 1,
    anatomy: Anatomy | None = None,
    grid: Grid = GRID,
) -> AlignedCohort:
    """Write and read an aligned cohort: `mra` and `cta` scans and `sets` CTA landmark sets for training, and
    `validation` scans of both modalities; crops lie on `grid`."""
    anatomy = anatomy or default_anatomy()
    wanted = [("mra", Modality.MRA, "train", True)] * mra + [("cta", Modality.CTA, "train", True)] * cta
    wanted += [("set", Modality.CTA, "train", False)] * sets
    wanted += [(f"val-{m.value}", m, "validation", True) for m in Modality for _ in range(validation)]
    cases = tuple(
        bead_case(folder, f"{stem}-{n}", modality, split, anatomy, n, has_image=image, grid=grid)
        for n, (stem, modality, split, image) in enumerate(wanted)
    )
    frame = replace(FRAME, grid=grid, mean_landmarks=mean_places(anatomy))
    AlignedCohort(anatomy, frame, DEFAULT_INTENSITY_RULES, cases, provenance={"made": "beads"}).write(folder)
    return AlignedCohort.read(folder)
