"""Phantoms whose look is changed in ways that no training has: how much worse do the points get?

    python Testing/Benchmarks/changed_appearance.py --seed 7200 --cases 8

Half the scans are TOF-MRA, half CTA (cases of `cowlandmarks-train phantom --seed SEED`, as rendered for the test
split). Every change has a fixed seed. A phantom is a phantom: these are no figures of clinical accuracy.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, zoom

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "CoWLandmarks"), str(ROOT / "CoWLandmarksTraining")]

from CoWLandmarksLib.core.volume import Modality  # noqa: E402
from CoWLandmarksLib.detect.detector import Detector  # noqa: E402
from CoWLandmarksLib.detect.model import DEFAULT_MODEL_FILE, load_model  # noqa: E402
from CoWLandmarksTrainingLib.evaluate.evaluation import AnnotatedVolume, CaseResult, evaluate  # noqa: E402
from CoWLandmarksTrainingLib.phantom.phantom_cohort import make_case  # noqa: E402
from CoWLandmarksTrainingLib.records.metrics import confusions, radial_errors  # noqa: E402
from phantom_option import add_phantom_version  # noqa: E402


@dataclass(frozen=True)
class Scan:
    """`values` float32 [k, j, i]; `spacing` (3,) mm along i, j, k; `artery` the value of well filled arteries."""

    values: np.ndarray
    spacing: np.ndarray
    artery: float
    modality: Modality
    rng: np.random.Generator

    def noise(self) -> np.ndarray:
        """Noise of SD 1."""
        return self.rng.normal(0, 1, self.values.shape).astype(np.float32)


def faint(scan: Scan) -> np.ndarray:
    """Arteries at 55 percent of their contrast: late or little contrast medium, slow flow."""
    tissue = 50.0 if scan.modality is Modality.CTA else float(np.quantile(scan.values, 0.6))
    above = scan.values - tissue
    kept = np.where(scan.values < 1.5 * scan.artery, 0.55, 1.0) if scan.modality is Modality.CTA else 0.55
    return np.where(above > 0, tissue + kept * above, scan.values)


def noisy(scan: Scan) -> np.ndarray:
    """Noise of a twelfth of the arteries, correlated over half a millimetre."""
    noise = gaussian_filter(scan.noise(), 0.5 / scan.spacing[::-1])
    return scan.values + noise / noise.std() * scan.artery / 12.0


def smooth(scan: Scan) -> np.ndarray:
    """A soft kernel: blur of SD 0.8 mm."""
    return gaussian_filter(scan.values, 0.8 / scan.spacing[::-1])


def sharp(scan: Scan) -> np.ndarray:
    """A sharp kernel: edges overshoot."""
    return scan.values + 0.8 * (scan.values - gaussian_filter(scan.values, 0.7 / scan.spacing[::-1]))


def speckled(scan: Scan) -> np.ndarray:
    """Signal that varies by a quarter along the vessels, as turbulence and slab borders make it."""
    lattice = scan.rng.normal(0, 0.25, np.ceil(np.array(scan.values.shape) * scan.spacing[::-1] / 5.0).astype(int) + 1)
    field = zoom(lattice, np.array(scan.values.shape) / lattice.shape, order=1).astype(np.float32)
    return np.where(scan.values > 0, scan.values * np.exp(field), scan.values)


APPEARANCES: Mapping[str, Callable[[Scan], np.ndarray]] = {
    "as rendered": lambda scan: scan.values,
    "faint arteries": faint,
    "noise": noisy,
    "soft kernel": smooth,
    "sharp kernel": sharp,
    "uneven signal": speckled,
}


def measured(
    detector: Detector, seed: int, cases: int, appearances: Iterable[str], version: int
) -> dict[str, list[CaseResult]]:
    """Results by look."""
    results: dict[str, list[CaseResult]] = {name: [] for name in appearances}
    for index in range(cases):
        modality = (Modality.MRA, Modality.CTA)[index % 2]
        case = make_case(seed, index, modality, version=version)
        values = np.asarray(case.volume.voxels, np.float32)
        spacing = case.volume.grid.spacing
        artery = (
            350.0 if modality is Modality.CTA else float(np.quantile(values, 1 - 5000.0 / values.size / spacing.prod()))
        )
        for name in results:
            scan = Scan(values, spacing, artery, modality, np.random.default_rng(20 + index))
            volume = replace(
                case.volume, voxels=np.clip(np.rint(APPEARANCES[name](scan)), -32000, 32000).astype(np.int16)
            )
            results[name] += evaluate(detector, [AnnotatedVolume(volume, case.truth, modality.value)])
    return results


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--cases", type=int, default=16)
    parser.add_argument("--look", action="append", choices=list(APPEARANCES), help="only this one (can be repeated)")
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL_FILE)
    add_phantom_version(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    detector = Detector(load_model(arguments.model), "cpu")
    appearances = arguments.look or APPEARANCES
    results = measured(detector, arguments.seed, arguments.cases, appearances, arguments.phantom_version)
    print(
        "| look | MRE (SD over scans) mm | median | 95 % | 2 mm | 4 mm | confusions | circle network MRE | coarse MRE |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name, cases in results.items():
        print(f"| {name} | {figures(cases)} |", flush=True)


def figures(cases: list[CaseResult]) -> str:
    """The cells of a row of the table."""
    by_scan = [radial_errors(case.subvoxel, case.truth) for case in cases]
    errors = np.concatenate(by_scan)
    errors = errors[np.isfinite(errors)]
    confused = np.mean(np.concatenate([confusions(case.subvoxel, case.truth) for case in cases]))
    steps = [
        np.nanmean([radial_errors(getattr(case, step), case.truth) for case in cases]) for step in ("circle", "coarse")
    ]
    means = [np.nanmean(scan) for scan in by_scan]
    return (
        f"{np.mean(means):.2f} ({np.std(means):.2f}) | {np.median(errors):.2f} | {np.quantile(errors, 0.95):.2f} "
        f"| {100 * np.mean(errors <= 2):.1f} % | {100 * np.mean(errors <= 4):.1f} % | {100 * confused:.1f} % "
        f"| {steps[0]:.2f} | {steps[1]:.2f}"
    )


if __name__ == "__main__":
    main()
