"""Whether a distribution of layouts chooses better among the fine network's peaks than the detector does.

usage: layout_decoding.py COHORT [COHORT ...] [--modality mra|cta] [--cases N]

The first N annotated scans of cohorts of phantoms (`cowlandmarks-train phantom`) are detected with the shipped model;
the distribution is fitted to the landmarks of 300 other phantoms of version 4, laid in the reference frame. Prints
errors of the detector, of the best of two and of three peaks (the bound of any choice), and of the choice by weight.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
from CoWLandmarksLib.core.alignment import fit_similarity_robustly
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.layout_model import LayoutModel
from CoWLandmarksLib.core.volume import apply_affine
from CoWLandmarksLib.detect.detector import Detector
from CoWLandmarksLib.detect.layout_choice import chosen_layout
from CoWLandmarksLib.detect.model import DEFAULT_MODEL_FILE, load_model
from CoWLandmarksTrainingLib.cohort.layout_fit import best_layout_fit, fit_layout_model
from CoWLandmarksTrainingLib.cohort.reading import read_cohort
from CoWLandmarksTrainingLib.phantom.geometry import sample_phantom

SETS, SEED = 300, 77001
WEIGHTS = (2.0, 4.0, 8.0, 16.0, 32.0)


def layouts(mean: np.ndarray) -> LayoutModel:
    """A distribution of phantoms that are laid on the mean shape (n, 3)."""
    points = []
    for number in range(SETS):
        phantom = sample_phantom(np.random.Generator(np.random.Philox(key=[SEED, number])), version=4)
        fitted = fit_similarity_robustly(phantom.landmarks, mean)
        points.append(apply_affine(fitted.transform, phantom.landmarks))
    sets = np.array(points)
    absent = ~np.isfinite(sets).all(axis=2)
    fit, _ = best_layout_fit(sets, absent)
    return fit_layout_model(sets, absent, fit)


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohorts", nargs="+", type=Path)
    parser.add_argument("--modality", choices=["mra", "cta"])
    parser.add_argument("--cases", type=int, default=24)
    given = parser.parse_args()
    detector = Detector(load_model(DEFAULT_MODEL_FILE), device="cpu")
    model = layouts(detector.model.shape.mean)
    scans = read_cohort(given.cohorts, default_anatomy()).usable()
    wanted = [case for case in scans if given.modality in (None, case.modality.value)][: given.cases]
    errors: dict[str, list[np.ndarray]] = defaultdict(list)
    for case in wanted:
        measurement = detector.measure(case.read_volume(), modality=case.modality)
        to_reference = measurement.alignment.fit.transform
        truth = apply_affine(to_reference, case.positions(default_anatomy()))
        size = float(np.cbrt(np.linalg.det(to_reference[:3, :3])))
        peaks = measurement.fine.candidates
        apart = np.linalg.norm(peaks.positions - truth[:, None], axis=2) / size
        there = np.isfinite(apart[:, 0])

        def note(name: str, distance: np.ndarray, there: np.ndarray = there) -> None:
            errors[name].append(np.where(there, distance, np.nan))

        note("the detector", np.linalg.norm(measurement.fine.positions - truth, axis=1) / size)
        for count in (2, 3):
            note(f"best of {count} peaks", np.nan_to_num(apart[:, :count], nan=np.inf).min(axis=1))
        for weight in WEIGHTS:
            chosen = chosen_layout(peaks, model, weight).positions
            note(f"chosen by layouts, weight {weight:g}", np.linalg.norm(chosen - truth, axis=1) / size)
    print(f"{len(wanted)} scans\n\n| | MRE mm | median | > 2 mm | > 4 mm | > 6 mm |\n|---|---|---|---|---|---|")
    for name, rows in errors.items():
        values = np.concatenate(rows)
        known = values[np.isfinite(values)]
        far = " | ".join(f"{100 * (known > limit).mean():.1f} %" for limit in (2, 4, 6))
        print(f"| {name} | {known.mean():.2f} | {np.median(known):.2f} | {far} |")


if __name__ == "__main__":
    main()
