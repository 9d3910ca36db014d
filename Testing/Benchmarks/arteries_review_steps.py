"""Random steps of a review on phantoms: what goes wrong with the arteries that follow them.

    python Testing/Benchmarks/arteries_review_steps.py --seed 16 --steps 200

Each step moves a landmark by up to 10 mm, makes it absent or outside, or puts it back; the arteries are made from the
files of the step before, as in the Slicer panel. Exit code 1 if a step failed or broke a rule
(Testing/review_steps.py).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

# Before torch and NumPy are loaded: times are those of one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("CoWLandmarks", "CoWLandmarksTraining", "Testing")]

import numpy as np  # noqa: E402
from CoWLandmarksLib.core.detection import LandmarkEstimate  # noqa: E402
from CoWLandmarksLib.core.volume import Modality, Volume  # noqa: E402
from CoWLandmarksTrainingLib.phantom.phantom_cohort import make_case  # noqa: E402
from detection_speed import machine  # noqa: E402
from phantom_option import add_phantom_version  # noqa: E402
from review_steps import ReviewWalk, as_detected, random_steps  # noqa: E402

PHANTOMS = {Modality.MRA: 200_001, Modality.CTA: 200_016}
"""Patients of the cohort with seed 7700; the two A2 of the first lie close to each other."""


def main() -> int:
    """Walk and print a table with the machine's name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=16)
    parser.add_argument("--steps", type=int, default=200, help="per phantom")
    add_phantom_version(parser)
    arguments = parser.parse_args()
    print(f"{machine()}; 1 thread; seed {arguments.seed}\n")
    print("| phantom | steps | failed | broke a rule | processor s a step, median / most |\n|---|---|---|---|---|")
    wrong = 0
    for modality, patient in PHANTOMS.items():
        case = make_case(7700, patient, modality, version=arguments.phantom_version)
        wrong += walk(case.volume, modality, as_detected(case.truth), arguments.steps, arguments.seed)
    return 1 if wrong else 0


def walk(volume: Volume, modality: Modality, truth: list[LandmarkEstimate], steps: int, seed: int) -> int:
    """The row of one phantom; what went wrong goes to standard error. Returns how many steps did."""
    failed = broken = 0
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        review = ReviewWalk(volume, modality, truth, Path(folder))
        for number, step in enumerate(random_steps(truth, steps, seed), 1):
            started = time.process_time()
            try:
                problems = review.problems_after(step)
            except Exception:
                failed += 1
                problems = [traceback.format_exc()]
            else:
                broken += bool(problems)
            seconds.append(time.process_time() - started)
            for problem in problems:
                print(f"{modality.value} step {number} ({step}): {problem}", file=sys.stderr, flush=True)
    name = modality.value.upper()
    print(
        f"| {name} | {steps} | {failed} | {broken} | {np.median(seconds):.2f} / {max(seconds):.2f} |",
        flush=True,
    )
    return failed + broken


if __name__ == "__main__":
    sys.exit(main())
