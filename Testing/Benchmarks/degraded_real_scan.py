"""One real scan, whole and degraded in twenty ways: how far the points are from its reference annotation.

    python Testing/Benchmarks/degraded_real_scan.py ../shared/data/real/chris_MRA.nii.gz

Beside the scan lies its annotation (same name, .mrk.json). One scan is show data, no evidence, and nothing may be
chosen by it. Every change is made with a fixed seed. Points that a cut leaves outside the scan are not measured; the
table says how many of them the detector called outside.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "CoWLandmarks"), str(ROOT / "CoWLandmarksTraining")]

from CoWLandmarksLib.core.anatomy import default_anatomy  # noqa: E402
from CoWLandmarksLib.core.volume import EDGE_MM, Volume, apply_affine, axis_aligned_grid  # noqa: E402
from CoWLandmarksLib.detect.detector import Detector  # noqa: E402
from CoWLandmarksLib.detect.model import DEFAULT_MODEL_FILE, load_model  # noqa: E402
from CoWLandmarksLib.detect.orientation import stored_along_ras  # noqa: E402
from CoWLandmarksLib.files.markups import read_annotation  # noqa: E402
from CoWLandmarksLib.io.volume_io import read_volume  # noqa: E402
from CoWLandmarksLib.networks.resampling import resample  # noqa: E402
from CoWLandmarksTrainingLib.records.metrics import confusions, radial_errors  # noqa: E402

Degradation = Callable[[Volume, np.ndarray], tuple[Volume, np.ndarray]]
"""Takes a scan and its landmarks (n, 3) RAS mm to the degraded scan and its landmarks."""
SEED = 20


def with_values(change: Callable[[np.ndarray, np.random.Generator, np.ndarray], np.ndarray]) -> Degradation:
    """A degradation of the values alone; `change` gets voxels [k, j, i] as float, a generator and the spacing."""

    def degrade(volume: Volume, points: np.ndarray) -> tuple[Volume, np.ndarray]:
        rng = np.random.default_rng(SEED)
        voxels = change(np.asarray(volume.voxels, np.float32), rng, volume.grid.spacing)
        return replace(volume, voxels=np.clip(np.rint(voxels), 0, 4095).astype(np.int16)), points

    return degrade


def tissue(level: float, noise: float) -> Degradation:
    """Smooth tissue of about `level` of the brightest vessels where the background is, and noise of SD `noise`."""

    def change(voxels: np.ndarray, rng: np.random.Generator, spacing: np.ndarray) -> np.ndarray:
        top = float(np.quantile(voxels[voxels > 0], 0.99))
        texture = gaussian_filter(rng.normal(0, 1, voxels.shape).astype(np.float32), 3.0 / spacing[::-1])
        background = top * level * (1.0 + 0.25 * texture / texture.std())
        image = np.maximum(voxels, background)
        return np.hypot(image + rng.normal(0, noise * top, image.shape), rng.normal(0, noise * top, image.shape))

    return with_values(change)


def blurred(sigma_mm: float) -> Degradation:
    """Gaussian blur of this SD."""
    return with_values(lambda voxels, _, spacing: gaussian_filter(voxels, sigma_mm / spacing[::-1]))


def shaded(depth: float) -> Degradation:
    """Brightness that falls from one end to the other, along every axis, to 1 - `depth`."""

    def change(voxels: np.ndarray, _: np.random.Generator, __: np.ndarray) -> np.ndarray:
        ramps = [np.linspace(1.0, (1.0 - depth) ** (1.0 / 3.0), side) for side in voxels.shape]
        return voxels * ramps[0][:, None, None] * ramps[1][None, :, None] * ramps[2][None, None, :]

    return with_values(change)


def cut(axis: int, upper: bool, keep: float) -> Degradation:
    """The scan ends where this share of the landmarks' extent along R, A or S is kept."""

    def degrade(volume: Volume, points: np.ndarray) -> tuple[Volume, np.ndarray]:
        low, high = points[:, axis].min(), points[:, axis].max()
        edge = low + keep * (high - low) if upper else high - keep * (high - low)
        grid = volume.grid
        place = np.where(np.arange(3) == axis, edge, grid.centre)
        index = round(float(apply_affine(grid.ras_to_ijk, place)[axis]))
        first, size = [0, 0, 0], [int(n) for n in grid.size]
        if upper:
            size[axis] = index + 1
        else:
            first[axis], size[axis] = index, size[axis] - index
        part = grid.window((first[0], first[1], first[2]), (size[2], size[1], size[0]))
        slices = tuple(slice(first[a], first[a] + size[a]) for a in (2, 1, 0))
        return replace(volume, voxels=np.ascontiguousarray(volume.voxels[slices]), ijk_to_ras=part.ijk_to_ras), points

    return degrade


def turned(axis: str, degrees: float) -> Degradation:
    """The head turned about R, A or S ("x", "y", "z") in its scan, resampled to the scan's own grid."""

    def degrade(volume: Volume, points: np.ndarray) -> tuple[Volume, np.ndarray]:
        matrix = np.eye(4)
        matrix[:3, :3] = Rotation.from_euler(axis, degrees, degrees=True).as_matrix()
        centre = points.mean(axis=0)
        matrix[:3, 3] = centre - matrix[:3, :3] @ centre
        source = volume.grid.transformed(matrix)
        voxels = resample(torch.from_numpy(np.asarray(volume.voxels, np.float32)), source, volume.grid, padding=0.0)
        return replace(volume, voxels=np.rint(voxels.numpy()).astype(np.int16)), apply_affine(matrix, points)

    return degrade


def resampled(*spacing_mm: float) -> Degradation:
    """The same field of view with larger voxels, averaged."""

    def degrade(volume: Volume, points: np.ndarray) -> tuple[Volume, np.ndarray]:
        spacing = np.array(spacing_mm)
        size = np.maximum(1, np.floor(volume.grid.size * volume.grid.spacing / spacing)).astype(int)
        grid = axis_aligned_grid(volume.grid.centre, spacing, (int(size[2]), int(size[1]), int(size[0])))
        voxels = resample(torch.from_numpy(np.asarray(volume.voxels, np.float32)), volume.grid, grid, padding=0.0)
        return replace(volume, voxels=np.rint(voxels.numpy()).astype(np.int16), ijk_to_ras=grid.ijk_to_ras), points

    return degrade


DEGRADATIONS: Mapping[str, Degradation] = {
    "as it is": lambda volume, points: (volume, points),
    "tissue 0.2, noise 0.03": tissue(0.2, 0.03),
    "tissue 0.35, noise 0.05": tissue(0.35, 0.05),
    "tissue 0.45, noise 0.1": tissue(0.45, 0.1),
    "cut right, 75 % kept": cut(0, True, 0.75),
    "cut left, 75 % kept": cut(0, False, 0.75),
    "cut in front, 75 % kept": cut(1, True, 0.75),
    "cut behind, 75 % kept": cut(1, False, 0.75),
    "cut above, 65 % kept": cut(2, True, 0.65),
    "cut below, 65 % kept": cut(2, False, 0.65),
    "chin down 20 degrees": turned("x", -20.0),
    "chin up 35 degrees": turned("x", 35.0),
    "turned 20 degrees": turned("z", 20.0),
    "tilted 20 degrees": turned("y", 20.0),
    "voxels of 1 mm": resampled(1.0, 1.0, 1.0),
    "voxels of 0.7 x 0.7 x 1.4 mm": resampled(0.7, 0.7, 1.4),
    "blurred, SD 0.6 mm": blurred(0.6),
    "blurred, SD 1 mm": blurred(1.0),
    "half as bright at one corner": shaded(0.5),
    "brightest half clipped": with_values(lambda v, _, __: np.minimum(v, np.quantile(v[v > 0], 0.9))),
    "threshold only": with_values(lambda v, _, __: 100.0 * (v > 0.5 * np.quantile(v[v > 0], 0.9))),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("scan", type=Path)
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL_FILE)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    anatomy = default_anatomy()
    annotation = arguments.scan.with_name(arguments.scan.name.split(".")[0] + ".mrk.json")
    truth = {point.code: point.position for point in read_annotation(annotation, anatomy)}
    points = np.array([truth.get(code) or (np.nan,) * 3 for code in anatomy.codes], float)
    volume = stored_along_ras(read_volume(arguments.scan))
    detector = Detector(load_model(arguments.model), "cpu")
    print("| scan | points inside | MRE mm | median mm | 2 mm | 4 mm | confusions | outside, so called | verdict |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, degrade in DEGRADATIONS.items():
        scan, places = degrade(volume, points)
        inside = scan.grid.depth_mm(places) >= EDGE_MM
        measurement = detector.measure(scan)
        detection = detector.judge(measurement, {})
        known = np.where(inside[:, None], places, np.nan)
        found = measurement.positions("subvoxel")
        error = radial_errors(found, known)
        error = error[np.isfinite(error)]
        states = np.array([estimate.state.value for estimate in detection.landmarks])
        outside = f"{int((states[~inside] == 'outside').sum())} of {int((~inside).sum())}"
        print(
            f"| {name} | {len(error)} | {error.mean():.2f} | {np.median(error):.2f} "
            f"| {100 * (error <= 2).mean():.0f} % | {100 * (error <= 4).mean():.0f} % "
            f"| {int(np.sum(confusions(found, known)))} | {outside} | {detection.verdict.value} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
