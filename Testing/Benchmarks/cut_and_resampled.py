"""The same phantoms resampled and cut: do the points stay where they were, and what is said of those beyond the scan?

    python Testing/Benchmarks/cut_and_resampled.py --seed 7600 --cases 8

Half the scans are TOF-MRA, half CTA. A point has moved by the distance of its two detections, taken back to the same
head. A phantom is a phantom: these are no figures of clinical accuracy.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "CoWLandmarks"), str(ROOT / "CoWLandmarksTraining"), str(Path(__file__).parent)]

from CoWLandmarksLib.core.detection import Detection, LandmarkEstimate, LandmarkState  # noqa: E402
from CoWLandmarksLib.core.volume import EDGE_MM, Modality  # noqa: E402
from CoWLandmarksLib.detect.detector import Detector  # noqa: E402
from CoWLandmarksLib.detect.model import DEFAULT_MODEL_FILE, load_model  # noqa: E402
from CoWLandmarksTrainingLib.phantom.phantom_cohort import make_case  # noqa: E402
from degraded_real_scan import cut, resampled, turned  # noqa: E402
from phantom_option import add_phantom_version  # noqa: E402

RESAMPLED = {
    "voxels of 0.4 mm": resampled(0.4, 0.4, 0.4),
    "voxels of 0.7 x 0.7 x 1.4 mm": resampled(0.7, 0.7, 1.4),
    "voxels of 1 mm": resampled(1.0, 1.0, 1.0),
    "chin down 20 degrees": turned("x", -20.0),
    "turned 20 degrees": turned("z", 20.0),
}
CUTS = {
    f"cut {side}, {100 * keep:.0f} % kept": cut(axis, upper, keep)
    for axis, upper, side, keep in (
        (0, True, "right", 0.75),
        (0, False, "left", 0.75),
        (1, True, "in front", 0.75),
        (1, False, "behind", 0.75),
        (2, True, "above", 0.65),
        (2, False, "below", 0.65),
    )
}


@dataclass
class Tally:
    """What came of one change; `moved` and `errors` in mm of points placed in both, states of the others."""

    moved: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    seen: int = 0
    called_outside: int = 0
    beyond: int = 0
    placed_beyond: int = 0
    verdicts: list[str] = field(default_factory=list)

    def add(self, before: Detection, now: Detection, truth: np.ndarray, places: np.ndarray, depth: np.ndarray) -> None:
        """Compare two detections; `truth` and `places` (n, 3) of the landmarks before and now, `depth` (n,) now."""
        self.verdicts.append(now.verdict.value)
        for one, other, at, now_at, deep in zip(before.landmarks, now.landmarks, truth, places, depth, strict=True):
            if not np.isfinite(now_at).all():
                continue
            outside = other.state is LandmarkState.OUTSIDE
            if deep < -5.0:
                self.beyond += 1
                self.placed_beyond += not outside
            elif deep >= EDGE_MM:
                self.seen += 1
                self.called_outside += outside
                if one.position is not None and other.position is not None:
                    off = np.array(other.position) - now_at
                    self.errors.append(float(np.linalg.norm(off)))
                    self.moved.append(float(np.linalg.norm(off - turned_like(one, at, truth, places))))

    def row(self, name: str) -> str:
        """A line of the table."""
        moved, errors = np.array(self.moved), np.array(self.errors)
        verdicts = ", ".join(f"{self.verdicts.count(v)} {v}" for v in dict.fromkeys(sorted(self.verdicts)))
        return (
            f"| {name} | {len(moved)} | {100 * np.mean(moved <= 0.5):.0f} % | {np.median(moved):.2f} "
            f"| {np.quantile(moved, 0.95):.2f} | {errors.mean():.2f} | {self.called_outside} of {self.seen} "
            f"| {self.placed_beyond} of {self.beyond} | {verdicts} |"
        )


def turned_like(found: LandmarkEstimate, truth: np.ndarray, before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """The error (3,) mm of a point in the first scan, turned as the head was between `before` and `now` (n, 3)."""
    known = np.isfinite(before).all(axis=1) & np.isfinite(now).all(axis=1)
    one, other = (points[known] - points[known].mean(axis=0) for points in (before, now))
    u, _, v = np.linalg.svd(one.T @ other)
    turn = (u @ v).T
    return np.asarray(turn @ (np.array(found.position) - truth))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--cases", type=int, default=8)
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL_FILE)
    add_phantom_version(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    detector = Detector(load_model(arguments.model), "cpu")
    tallies = {name: Tally() for name in (*RESAMPLED, *CUTS)}
    for index in range(arguments.cases):
        modality = (Modality.MRA, Modality.CTA)[index % 2]
        case = make_case(arguments.seed, index, modality, version=arguments.phantom_version)
        truth = np.array([p.position if p.position is not None else (np.nan,) * 3 for p in case.truth], float)
        known = truth[np.isfinite(truth).all(axis=1)]
        before = detector.detect(case.volume)
        for name, change in {**RESAMPLED, **CUTS}.items():
            scan, places = change(replace(case.volume, name=name), np.where(np.isfinite(truth), truth, known.mean(0)))
            places = np.where(np.isfinite(truth), places, np.nan)
            now = detector.detect(replace(scan, modality=case.volume.modality))
            tallies[name].add(before, now, truth, places, scan.grid.depth_mm(np.nan_to_num(places)))
        print(case.name, file=sys.stderr, flush=True)
    print(
        "| scan | points | moved up to 0.5 mm | median | 95 % | MRE mm | in the scan, called outside "
        "| over 5 mm beyond, placed | verdicts |\n|---|---|---|---|---|---|---|---|---|"
    )
    for name, tally in tallies.items():
        print(tally.row(name))


if __name__ == "__main__":
    main()
