"""Arteries against the exact lumens of phantoms: Dice, centreline distance, diameter, presence, swaps.

    python Testing/Benchmarks/arteries_on_phantoms.py --seed 42 --cases 32 --landmarks true found
    python Testing/Benchmarks/arteries_on_phantoms.py --presence --seed 77 --cases 50 --landmarks true found

The first are the cases of `cowlandmarks-train phantom --test 32 --seed 42`. With --presence the circle is drawn with
variants as often absent as present, in a field of view just round it. `true` landmarks are the exact ones without
the flag "by rule", which would give the absent arteries away; `found` are those of the shipped model. A phantom is a
phantom: these are no figures of clinical accuracy.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "CoWLandmarks"), str(ROOT / "CoWLandmarksTraining")]

from CoWLandmarksLib.arteries.tracer import ArteryTracer  # noqa: E402
from CoWLandmarksLib.core.anatomy import Anatomy, default_anatomy, without_side  # noqa: E402
from CoWLandmarksLib.core.artery_map import ArteryMap  # noqa: E402
from CoWLandmarksLib.core.atomic_files import write_json  # noqa: E402
from CoWLandmarksLib.core.detection import LandmarkEstimate  # noqa: E402
from CoWLandmarksLib.core.volume import (  # noqa: E402
    Modality,
    apply_affine,
    axis_aligned_grid,
)
from CoWLandmarksLib.detect.detector import Detector  # noqa: E402
from CoWLandmarksLib.detect.model import DEFAULT_MODEL_FILE, load_model  # noqa: E402
from CoWLandmarksTrainingLib.phantom.appearance import Family  # noqa: E402
from CoWLandmarksTrainingLib.phantom.phantom_cohort import PhantomCase, make_case, rendered_case  # noqa: E402
from CoWLandmarksTrainingLib.phantom.training_cases import sample_scene  # noqa: E402
from CoWLandmarksTrainingLib.phantom.variants import VariantRates  # noqa: E402
from phantom_option import add_phantom_version  # noqa: E402
from variant_cases import circle_crop, scan_quality, variant_case  # noqa: E402
from variant_tables import presence_table, variant_of, variant_tables  # noqa: E402

TEST_INDEX = 200_000
PRESENCE_RATES = replace(
    VariantRates(),
    pcoa={"normal": 0.2, "hypoplastic": 0.15, "absent": 0.3, "fetal-partial": 0.1, "fetal-full": 0.25},
    a1={"normal": 0.5, "hypoplastic": 0.2, "absent": 0.3},
    acoa={"single": 0.4, "absent": 0.55, "double": 0.05},
)


@dataclass(frozen=True)
class ArteryResult:
    """One artery of one case; figures are NaN where the artery is not there or was not found."""

    case: str
    modality: str
    masking: str
    landmarks: str
    code: str
    present: bool
    variant: str
    """The anterior or posterior form that was drawn, of the artery's own part of the circle."""
    state: str
    reason: str
    confidence: float
    dice: float
    centreline_mm: float
    true_diameter_mm: float
    diameter_error: float
    swapped: float
    """Share of its voxels that lie in another artery's true lumen."""
    quality: str
    """That of the scan (`variant_cases.scan_quality`)."""


def main() -> int:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--cases", type=int, default=32, help="cases of each modality")
    parser.add_argument("--landmarks", nargs="+", choices=["true", "found"], default=["true"])
    parser.add_argument("--presence", action="store_true", help="the cohort with as many absent as present arteries")
    parser.add_argument("--variants", action="store_true", help="the cohort enriched in variants of the circle")
    parser.add_argument("--circle", action="store_true", help="cut to the part just round the circle")
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL_FILE)
    parser.add_argument("--out", type=Path, help="write all results here as JSON")
    add_phantom_version(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    anatomy = default_anatomy()
    detector = Detector(load_model(arguments.model), device="cpu") if "found" in arguments.landmarks else None
    results: list[ArteryResult] = []
    seconds: list[float] = []
    for case in _cases(arguments):
        for kind in arguments.landmarks:
            landmarks = given_landmarks(case, kind, detector)
            started = time.process_time()
            traced = ArteryTracer(case.volume, case.volume.modality or Modality.MRA, anatomy).trace(landmarks)
            seconds.append(time.process_time() - started)
            results += compare(case, traced, kind, anatomy)
        print(case.name, f"{seconds[-1]:.1f} s of CPU", file=sys.stderr, flush=True)
    for kind in arguments.landmarks:
        chosen = [result for result in results if result.landmarks == kind]
        print(f"\n{kind} landmarks\n")
        if arguments.variants:
            print(variant_tables(chosen))
            continue
        print(presence_table(chosen) if arguments.presence else lumen_table(chosen))
        if not arguments.presence:
            print(f"\n{presence_table(chosen)}")
    print(f"\nmedian CPU time of a scan: {np.median(seconds):.1f} s")
    if arguments.out:
        write_json(arguments.out, [asdict(result) for result in results])
    return 0


def _cases(arguments: argparse.Namespace) -> Iterator[PhantomCase]:
    for index in range(arguments.cases):
        for modality in Modality:
            if arguments.variants:
                case = variant_case(arguments.seed, index, modality, arguments.phantom_version)
            elif arguments.presence:
                case = presence_case(arguments.seed, index, modality, arguments.phantom_version)
            else:
                case = make_case(arguments.seed, TEST_INDEX + index, modality, version=arguments.phantom_version)
            yield circle_crop(case) if arguments.circle else case


def presence_case(seed: int, index: int, modality: Modality, version: int) -> PhantomCase:
    """A case of the presence cohort: plain images (no masking), the field of view just round the circle."""
    rng = np.random.Generator(np.random.Philox(key=[seed + 9_000_000, 2 * index + (modality is Modality.CTA)]))
    scene = sample_scene(rng, modality, Family.TRAINING, "clinical", PRESENCE_RATES, version)
    scene = replace(scene, appearance=replace(scene.appearance, masking=type(scene.appearance.masking)("none")))
    centre = np.nanmean(apply_affine(scene.pose, scene.phantom.landmarks), axis=0)
    spacing = np.array([*(rng.uniform(0.4, 0.65),) * 2, rng.uniform(0.5, 0.9)])
    size = np.rint(np.array([84.0, 92.0, 78.0]) / spacing).astype(int)
    grid = axis_aligned_grid(centre, spacing, (int(size[2]), int(size[1]), int(size[0])))
    record = {
        "masking": "none",
        "artery_present": scene.phantom.artery_present,
        "variants": scene.phantom.variants,
    }
    return rendered_case(scene, grid, f"{modality.value}-presence-{seed}-{index:04d}", record)


def given_landmarks(case: PhantomCase, kind: str, detector: Detector | None) -> tuple[LandmarkEstimate, ...]:
    """The exact landmarks without their flags, or those that the detector finds."""
    if kind == "true" or detector is None:
        return tuple(replace(estimate, by_rule=False) for estimate in case.truth)
    return detector.detect(case.volume, modality=case.volume.modality).landmarks


def compare(case: PhantomCase, traced: ArteryMap, kind: str, anatomy: Anatomy) -> list[ArteryResult]:
    """Figures of every artery of a case."""
    found = traced.label_volume("found").voxels
    truth = case.labels.voxels
    scale = float(np.cbrt(np.linalg.det(case.scene.pose[:3, :3])))
    vessels = {vessel.name: vessel for vessel in case.scene.phantom.vessels}
    results = []
    for artery in anatomy.arteries:
        trace = traced.artery(artery.code)
        present = bool(case.record["artery_present"][artery.code])
        both = [anatomy.artery(f"{side}-ACA-A2").label for side in "RL"]
        one_vessel = artery.label in both and case.record["variants"]["A2"] == "azygos"
        here = both if one_vessel else [artery.label]
        own, true = np.isin(found, here), np.isin(truth, here)
        if one_vessel and artery.label == both[1]:
            own, true = np.zeros_like(own), np.zeros_like(true)  # it counts once
        dice = centreline = diameter = error = swapped = float("nan")
        if present and true.sum() >= 3:
            dice = 2.0 * float((own & true).sum()) / float(own.sum() + true.sum())
            vessel = vessels[artery.code]
            diameter = 2.0 * scale * float(vessel.radii.mean())
            if trace.measures is not None:
                nearest = cKDTree(apply_affine(case.scene.pose, vessel.points)).query(trace.centerline)[0]
                centreline = float(np.median(nearest))
                error = trace.measures.diameter_mean_mm / diameter - 1.0
        if own.any():
            swapped = float((~np.isin(truth[own], here) & (truth[own] > 0)).mean())
        results.append(
            ArteryResult(
                case.name,
                (case.volume.modality or Modality.MRA).value,
                str(case.record["masking"]),
                kind,
                artery.code,
                present,
                variant_of(case, artery.code),
                trace.state.value,
                trace.reason,
                trace.confidence,
                dice,
                centreline,
                diameter,
                error,
                swapped,
                scan_quality(case),
            )
        )
    return results


def lumen_table(results: list[ArteryResult]) -> str:
    """Markdown: Dice, centreline distance and diameter error per artery and modality, present arteries only."""
    rows: dict[tuple[str, str], list[ArteryResult]] = defaultdict(list)
    for result in results:
        if np.isfinite(result.dice):
            name = without_side(result.code)
            rows[result.modality, name].append(result)
            rows[result.modality, "all"].append(result)
            if result.masking == "none":
                rows[result.modality, "all, unprocessed scans"].append(result)
    lines = [
        "| | artery | n | Dice mean | Dice median | centreline mm (median) | diameter error (median of absolute) "
        "| diameter bias (median) | not found |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (modality, name), chosen in sorted(rows.items(), reverse=True):
        errors = np.array([result.diameter_error for result in chosen])
        missed = np.mean([result.state not in ("present", "hypoplastic") for result in chosen])
        lines.append(
            f"| {modality} | {name} | {len(chosen)} | {np.mean([r.dice for r in chosen]):.3f} "
            f"| {np.median([r.dice for r in chosen]):.3f} | {np.nanmedian([r.centreline_mm for r in chosen]):.2f} "
            f"| {100 * np.nanmedian(np.abs(errors)):.1f} % | {100 * np.nanmedian(errors):+.1f} % "
            f"| {100 * missed:.1f} % |"
        )
    swaps = [result for result in results if np.isfinite(result.swapped)]
    whole = np.mean([result.swapped > 0.5 for result in swaps])
    lines.append(f"\nLabel swaps (most of an artery's voxels in another's lumen): {100 * whole:.1f} % of {len(swaps)}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
