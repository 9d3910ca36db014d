"""How many scans the registration to a template brings into the frame, and how well.

    cowlandmarks-train phantom --mra 12 --cta 12 --seed 77 --pose training --out phantoms
    python Testing/Benchmarks/alignment_on_phantoms.py phantoms --modality mra
    python Testing/Benchmarks/alignment_on_phantoms.py phantoms --modality mra --template mra-77-0003
    python Testing/Benchmarks/alignment_on_phantoms.py phantoms --modality mra --single-start

Residual: mean distance of the landmarks to their mean places; at most 10 mm counts as registered. Pose error: mean
distance, at the landmarks, to where the true pose of the phantom would take them; it includes that people differ.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("CoWLandmarks", "CoWLandmarksTraining", "Testing")]

import numpy as np  # noqa: E402
import SimpleITK as sitk  # noqa: E402
from CoWLandmarksLib.core.anatomy import default_anatomy  # noqa: E402
from CoWLandmarksLib.core.volume import apply_affine  # noqa: E402
from CoWLandmarksTrainingLib.align.template_alignment import TemplateAligner  # noqa: E402
from CoWLandmarksTrainingLib.cohort.annotated_cases import placed_landmarks  # noqa: E402
from CoWLandmarksTrainingLib.cohort.reading import read_cohort  # noqa: E402
from CoWLandmarksTrainingLib.config.training_config import AlignConfig  # noqa: E402


def main() -> int:
    """Register a cohort of phantoms of one modality and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--modality", choices=["mra", "cta"], required=True)
    parser.add_argument("--template", default="", help="name of a case (default: the program chooses)")
    parser.add_argument("--single-start", action="store_true", help="only the pitch of the template")
    parser.add_argument("--work", type=Path, help="keep registrations here for another call")
    arguments = parser.parse_args()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    config = AlignConfig(when_failed="leave_out", processes=1)
    config = replace(config, **{f"{arguments.modality}_template": arguments.template})
    if arguments.single_start:
        config = replace(config, pitch_starts_deg=(0.0,))
    with tempfile.TemporaryDirectory() as folder:
        measure(arguments.cohort, arguments.modality, config, arguments.work or Path(folder))
    return 0


def measure(folder: Path, modality: str, config: AlignConfig, work: Path) -> None:
    """Align, and print one row for every scan and the sum."""
    anatomy = default_anatomy()
    scans = [scan for scan in read_cohort([folder], anatomy).usable() if scan.modality.value == modality]
    marks = [("", time.process_time())]
    aligned = TemplateAligner(config, work).align(
        scans, [True] * len(scans), anatomy, lambda name: marks.append((name, time.process_time()))
    )
    seconds = np.diff([at for _, at in marks])
    print("| scan | masking | pitch | residual mm | pose error mm | |\n|---|---|---|---|---|---|")
    good = []
    for scan in scans:
        case, truth = aligned.cases[scan.name], scan.phantom
        own = placed_landmarks(scan, anatomy)
        pose = scan.transform
        assert pose is not None
        gaps = apply_affine(case.ras_to_reference, own) - apply_affine(pose, own)
        error = float(np.nanmean(np.linalg.norm(gaps, axis=1)))
        good += [(case.residual_mm, error)] if case.accepted else []
        pitch = np.degrees(np.arctan2(pose[2, 1], pose[1, 1]))
        failed = "" if case.accepted else "failed"
        print(f"| {scan.name} | {truth['masking']} | {pitch:.0f} | {case.residual_mm:.1f} | {error:.1f} | {failed} |")
    for note in aligned.notes:
        print(note)
    mean = np.array(good).mean(axis=0)
    print(
        f"{len(good)} of {len(scans)} registered; of these residual {mean[0]:.1f} mm, pose error {mean[1]:.1f} mm. "
        f"Processor time: {seconds.sum():.0f} s with the choice of the template, {np.median(seconds):.1f} s a scan."
    )


if __name__ == "__main__":
    sys.exit(main())
