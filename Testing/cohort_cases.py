"""Small annotated cases on disk: scans of beads, one per landmark, as case folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from CoWLandmarksLib.core.anatomy import Anatomy, anatomy_from_dict, default_anatomy
from CoWLandmarksLib.core.atomic_files import write_json
from CoWLandmarksLib.core.detection import LandmarkEstimate, LandmarkState
from CoWLandmarksLib.core.volume import Grid, Volume, apply_affine, axis_aligned_grid
from CoWLandmarksLib.files.markups import write_annotation
from CoWLandmarksLib.io.volume_io import write_volume
from CoWLandmarksTrainingLib.phantom.atlas import default_atlas
from CoWLandmarksTrainingLib.phantom.pose import pose_matrix

SPREAD_MM = 1.5
GRID = axis_aligned_grid(np.array([0.0, 14.0, 6.0]), np.array([1.6, 1.6, 1.8]), (48, 62, 64))
"""About 102 x 99 x 86 mm; holds all landmarks of a head that is not tilted."""


def seven_points() -> Anatomy:
    """A landmark set of seven points that the program's atlas does not know."""
    codes = ["R-A", "L-A", "R-B", "L-B", "M", "R-C", "L-C"]
    landmarks = [
        {
            "code": code,
            "name": f"point {code}",
            "side": {"R": "right", "L": "left", "M": "midline"}[code[0]],
            "mirror": code if code == "M" else {"R": "L", "L": "R"}[code[0]] + code[1:],
            "definition": "",
            "if_not_visible": "",
            "rgb": [200, 10 * index, 50],
            "expected_two_annotator_mm": 1.0,
        }
        for index, code in enumerate(codes)
    ]
    return anatomy_from_dict({"name": "seven points", "version": 1, "landmarks": landmarks, "arteries": []})


def places(anatomy: Anatomy, rng: np.random.Generator) -> np.ndarray:
    """(n, 3) mm in the reference frame: landmarks of one made-up person."""
    if anatomy == default_anatomy():
        mean = default_atlas().shape_models["patients"].mean
    else:
        mean = np.array(
            [[28, 20, 2], [-28, 20, 2], [15, 12, 6], [-15, 12, 6], [0, 0, 0], [10, 24, -9], [-10, 24, -9]], float
        )
    return mean + rng.normal(0, SPREAD_MM, mean.shape)


def tilted(pitch: float = 0.0, roll: float = 0.0, yaw: float = 0.0, scale: float = 1.0) -> np.ndarray:
    """(4, 4) reference frame -> scan RAS."""
    return pose_matrix(pitch, roll, yaw, scale, np.zeros(3))


def estimates(anatomy: Anatomy, points: np.ndarray) -> tuple[LandmarkEstimate, ...]:
    """Found landmarks at `points` (n, 3) RAS mm; NaN rows are absent."""
    return tuple(
        LandmarkEstimate(code, (float(p[0]), float(p[1]), float(p[2])), LandmarkState.FOUND, 1.0, 0.0)
        if np.isfinite(p).all()
        else LandmarkEstimate(code, None, LandmarkState.ABSENT, 1.0, 0.0)
        for code, p in zip(anatomy.codes, points, strict=True)
    )


def bead_image(points: np.ndarray, grid: Grid = GRID, background: float = 40.0) -> Volume:
    """int16 scan on a grid along R, A, S with a bead of 2.5 mm at every point, noise of a fixed seed below."""
    image = np.random.default_rng(0).normal(background, 4.0, grid.shape)
    axes = [grid.ijk_to_ras[n, 3] + grid.spacing[n] * np.arange(grid.size[n]) for n in range(3)]
    for point in points[np.isfinite(points).all(axis=1)]:
        r, a, s = (np.exp(-((axis - place) ** 2) / (2.0 * 2.5**2)) for axis, place in zip(axes, point, strict=True))
        image += 400.0 * s[:, None, None] * a[:, None] * r
    return Volume(np.rint(image).astype(np.int16), grid.ijk_to_ras, "beads")


def write_case(
    folder: Path,
    anatomy: Anatomy,
    points: np.ndarray,
    *,
    modality: str = "mra",
    with_image: bool = True,
    image: Volume | None = None,
    **description: Any,
) -> None:
    """Write a case folder named after its case; `description` adds to case.json or replaces its keys.

    The image is one of beads at the points, unless another `image` is given or there is to be none.
    """
    folder.mkdir(parents=True)
    write_annotation(folder / "landmarks.mrk.json", estimates(anatomy, points), anatomy)
    if with_image:
        write_volume(bead_image(points) if image is None else image, folder / "image.nrrd")
    content: Mapping[str, Any] = {
        "schema": "cow-case/1",
        "case": folder.name,
        "patient": f"p-{folder.name}",
        "modality": modality,
        "role": "case",
        "image": "image.nrrd" if with_image else None,
        "landmarks": "landmarks.mrk.json",
        "annotator": "test",
        "reviewed": True,
        **description,
    }
    write_json(folder / "case.json", content)


def write_cohort(
    folder: Path, anatomy: Anatomy, count: int, *, seed: int = 3, modality: str = "mra", with_image: bool = True
) -> list[np.ndarray]:
    """Write `count` cases of made-up people, slightly tilted; returns their landmarks in the scans."""
    rng = np.random.default_rng(seed)
    written = []
    for number in range(count):
        pose = tilted(*rng.uniform(-6, 6, 3), scale=1 + rng.uniform(-0.05, 0.05))
        points = apply_affine(pose, places(anatomy, rng))
        write_case(folder / f"{modality}{number:02d}", anatomy, points, modality=modality, with_image=with_image)
        written.append(points)
    return written
