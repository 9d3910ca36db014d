"""The arrays of an aligned case: the crop on the reference grid, its surroundings and the whole scan, made once."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from CoWLandmarksLib.core.atomic_files import plain, write_json
from CoWLandmarksLib.core.errors import CoWLandmarksError
from CoWLandmarksLib.core.intensity import IntensityRule, hounsfield_offset
from CoWLandmarksLib.core.volume import EDGE_MM, Grid, Modality, Volume, apply_affine
from CoWLandmarksLib.detect.coarse import field_of_view_grid
from CoWLandmarksLib.networks.resampling import resample

from ..cohort.annotated_cases import AnnotatedScan
from ..records.aligned_folder import COARSE_FILE, CROP_FILE, REGION_FILE, write_arrays
from ..records.input_files import InputFile

LARGEST_COARSE_MM = 200
_VERSION = 2
"""Raised when the arrays of the same input would come out differently."""
_RECORD = "made.json"


@dataclass(frozen=True)
class CropJob:
    """What the arrays of one case are made from; `points` (n, 3) RAS mm of the scan, NaN where not placed."""

    scan: AnnotatedScan
    points: np.ndarray
    ras_to_reference: np.ndarray
    grid: Grid
    region: Grid
    rule: IntensityRule
    folder: Path
    out: Path


@dataclass(frozen=True)
class MadeCrop:
    """`depth_mm` (n,) of the points inside the scan (NaN without point); `overlap` share of the crop that is scan.

    `failure` is a sentence where the case could not be read.
    """

    inputs: tuple[InputFile, ...]
    coarse_grid: Grid | None = None
    depth_mm: np.ndarray = field(default_factory=lambda: np.zeros(0))
    overlap: float = 0.0
    failure: str = ""


def make_crop(job: CropJob) -> MadeCrop:
    """Make the arrays of one case, or keep those that are there and were made from the same."""
    try:
        inputs = tuple(InputFile.of(file, job.out) for file in job.scan.files)
        key = _key(job, inputs)
        kept = _kept(job.folder, key)
        made = kept or _made(job)
    except CoWLandmarksError as error:
        return MadeCrop((), failure=str(error))
    deepest = float(np.nanmin(made.depth_mm, initial=np.inf))
    if deepest < -EDGE_MM:
        return MadeCrop(
            inputs, failure=f"a landmark lies {-deepest:.1f} mm outside the scan; cowlandmarks-train check names it."
        )
    if kept is not None:
        return replace(kept, inputs=inputs)
    grid = made.coarse_grid
    assert grid is not None
    record = {
        "key": key,
        "coarse": {"shape": grid.shape, "ijk_to_ras": grid.ijk_to_ras},
        "depth_mm": made.depth_mm,
        "overlap": made.overlap,
    }
    write_json(job.folder / _RECORD, record)
    return replace(made, inputs=inputs)


def network_voxels(volume: Volume, modality: Modality, rule: IntensityRule) -> torch.Tensor:
    """Voxels [k, j, i] of a scan in network units, as the detector reads it."""
    voxels = np.asarray(volume.voxels)
    if modality is Modality.CTA and (offset := hounsfield_offset(voxels)):
        voxels = voxels.astype(np.float32) - np.float32(offset)
    scale = rule.scale(voxels, float(np.prod(volume.grid.spacing)))
    return rule.apply(torch.from_numpy(np.ascontiguousarray(voxels, dtype=np.float32)), scale)


def overlap_of(grid: Grid, scan: Grid, ras_to_reference: np.ndarray) -> float:
    """Share of a reference grid that lies inside a scan."""
    steps = [np.linspace(0, n - 1, 24) for n in grid.size]
    ijk = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
    in_scan = apply_affine(np.linalg.inv(ras_to_reference), apply_affine(grid.ijk_to_ras, ijk))
    return float((scan.depth_mm(in_scan) >= 0).mean())


def _made(job: CropJob) -> MadeCrop:
    volume = job.scan.read_volume()
    voxels = network_voxels(volume, job.scan.modality, job.rule)
    padding = job.rule.padding()
    in_scan = job.grid.transformed(np.linalg.inv(job.ras_to_reference))
    crop = resample(voxels, volume.grid, in_scan, padding=padding)
    region = resample(voxels, volume.grid, job.region.transformed(np.linalg.inv(job.ras_to_reference)), padding=padding)
    coarse_grid = _coarse_grid(volume.grid, job.points)
    coarse = resample(voxels, volume.grid, coarse_grid, padding=padding)
    write_arrays(job.folder, crop.numpy(), region.numpy(), coarse.numpy())
    depth = np.where(np.isfinite(job.points).all(axis=1), volume.grid.depth_mm(np.nan_to_num(job.points)), np.nan)
    return MadeCrop((), coarse_grid, depth, overlap_of(job.grid, volume.grid, job.ras_to_reference))


def _coarse_grid(scan: Grid, points: np.ndarray) -> Grid:
    """The 1 mm grid over a scan that the detector uses, cut to 200 mm a side about the landmarks."""
    whole = field_of_view_grid(scan)
    middle = apply_affine(whole.ras_to_ijk, np.nanmean(points, axis=0))
    size = np.minimum(whole.size, LARGEST_COARSE_MM)
    start = np.clip(np.rint(middle - size / 2.0), 0, whole.size - size).astype(int)
    return whole.window((int(start[0]), int(start[1]), int(start[2])), (int(size[2]), int(size[1]), int(size[0])))


def _key(job: CropJob, inputs: tuple[InputFile, ...]) -> str:
    content: Any = [
        _VERSION,
        [file.sha256 for file in inputs],
        np.round(job.ras_to_reference, 6),
        np.round(np.nan_to_num(job.points, nan=-1e6), 3),
        job.grid.shape,
        np.round(job.grid.ijk_to_ras, 6),
        job.region.shape,
        job.rule.to_dict(),
        job.scan.modality.value,
    ]
    return hashlib.sha256(json.dumps(plain(content), sort_keys=True).encode()).hexdigest()


def _kept(folder: Path, key: str) -> MadeCrop | None:
    """What an earlier call made from the same; None where there is nothing, or something else."""
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        if record["key"] != key:
            return None
        for name in (CROP_FILE, REGION_FILE, COARSE_FILE):
            np.load(folder / name, mmap_mode="r", allow_pickle=False)
        k, j, i = (int(n) for n in record["coarse"]["shape"])
        grid = Grid((k, j, i), np.array(record["coarse"]["ijk_to_ras"], float))
        return MadeCrop((), grid, np.array(record["depth_mm"], float), float(record["overlap"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
