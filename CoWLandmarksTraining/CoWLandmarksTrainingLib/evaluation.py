"""Model x cohort of phantoms or annotated cases -> errors, success rates, confusions, presence."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from CoWLandmarksLib.anatomy import Anatomy
from CoWLandmarksLib.batch import sentence_of
from CoWLandmarksLib.detection import LandmarkEstimate, LandmarkState
from CoWLandmarksLib.detector import Detector, Measurement
from CoWLandmarksLib.errors import AnnotationError
from CoWLandmarksLib.modality import Modality
from CoWLandmarksLib.volume import Volume

from .metrics import SUCCESS_RADII_MM, confusions, mean_radial_error, radial_errors, successful_detection_rate
from .subgroups import subgroups_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AnnotatedVolume:
    """A scan and its true landmarks, in any order and not necessarily all; `group` is the subgroup to report it in,
    `traits` are further ones (trait -> value)."""

    volume: Volume
    truth: tuple[LandmarkEstimate, ...]
    group: str
    traits: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CaseResult:
    """One evaluated scan: positions (n, 3) RAS mm, NaN in `truth` where there is no point."""

    name: str
    group: str
    truth: np.ndarray
    absent: np.ndarray
    subvoxel: np.ndarray
    argmax: np.ndarray
    expected: np.ndarray
    peaks: np.ndarray
    coarse: np.ndarray
    coarse_peaks: np.ndarray
    states: tuple[str, ...]
    verdict: str
    placed: np.ndarray
    traits: dict[str, str] = field(default_factory=dict)


def read_case_folder(folder: Path, anatomy: Anatomy) -> AnnotatedVolume:
    """Read a case folder (`case.json`, image, landmarks); raises AnnotationError or VolumeError.

    A case without any placed landmark is an AnnotationError too: nothing could be measured on it.
    """
    from CoWLandmarksLib.markups import read_annotation
    from CoWLandmarksLib.volume_io import read_volume

    try:
        case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
        modality = Modality(case["modality"])
        image, landmarks = folder / case["image"], folder / case["landmarks"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AnnotationError(f"'{folder / 'case.json'}' is no readable case description ({error}).") from error
    truth = read_annotation(landmarks, anatomy)
    if all(estimate.position is None for estimate in truth):
        raise AnnotationError(f"'{landmarks}' holds no placed landmark; place some, or leave the case out.")
    volume = read_volume(image)
    annotated = Volume(volume.voxels, volume.ijk_to_ras, str(case.get("case", folder.name)), modality, volume.warnings)
    return AnnotatedVolume(annotated, truth, modality.value, subgroups_of(case, annotated, truth))


def case_folders(cohort: Path) -> list[Path]:
    """Folders under `cohort` that hold a case.json, sorted; raises AnnotationError when there is none."""
    folders = sorted(path.parent for path in cohort.glob("**/case.json"))
    if not folders:
        raise AnnotationError(f"'{cohort}' holds no case folder (case.json); make one with cowlandmarks-train phantom.")
    return folders


def evaluate(
    detector: Detector, cases: Iterable[AnnotatedVolume], on_case: Callable[[CaseResult], None] | None = None
) -> list[CaseResult]:
    """Run the detector over annotated scans."""
    results = []
    for case in cases:
        measurement = detector.measure(case.volume)
        result = _result_of(case, measurement, detector)
        results.append(result)
        if on_case:
            on_case(result)
    return results


def _result_of(case: AnnotatedVolume, measurement: Measurement, detector: Detector) -> CaseResult:
    detection = detector.judge(measurement, {})
    by_code = {estimate.code: estimate for estimate in case.truth}
    listed = [by_code.get(code) for code in detector.model.anatomy.codes]
    return CaseResult(
        name=case.volume.name,
        group=case.group,
        truth=_positions(listed),
        absent=np.array([e is not None and e.state is LandmarkState.ABSENT for e in listed]),
        subvoxel=measurement.positions("subvoxel"),
        argmax=measurement.positions("argmax"),
        expected=measurement.expected_positions(),
        peaks=measurement.fine.peaks,
        coarse=measurement.alignment.coarse.positions,
        coarse_peaks=measurement.alignment.coarse.peaks,
        states=tuple(e.state.value for e in detection.landmarks),
        verdict=detection.verdict.value,
        placed=_positions(detection.landmarks),
        traits=case.traits,
    )


def _positions(estimates: Sequence[LandmarkEstimate | None]) -> np.ndarray:
    """(n, 3) RAS mm, NaN where there is no point or nothing is known of it."""
    return np.array([e.position if e is not None and e.position else (np.nan,) * 3 for e in estimates], float)


def figures(results: list[CaseResult], which: str) -> dict[str, Any]:
    """Figures of merit over scans for one kind of position ("subvoxel", "argmax", "expected", "coarse").

    Every landmark that exists inside the scan counts, whatever state the detector gave it.
    """
    positions = [getattr(result, which) for result in results]
    errors = np.array([radial_errors(p, result.truth) for p, result in zip(positions, results, strict=True)])
    known = errors[np.isfinite(errors)]
    if known.size == 0:
        raise AnnotationError("The cohort holds no landmark inside its scans; nothing can be measured.")
    confused = np.concatenate([confusions(p, result.truth) for p, result in zip(positions, results, strict=True)])
    mre, sd = mean_radial_error(errors)
    return {
        "scans": len(results),
        "landmarks": int(known.size),
        "mre_mm": mre,
        "sd_mm": sd,
        "median_mm": float(np.median(known)),
        "p95_mm": float(np.quantile(known, 0.95)),
        "sdr": {f"{radius:g}": successful_detection_rate(errors, radius) for radius in SUCCESS_RADII_MM},
        "confusion": float(confused.sum() / known.size),
    }


def presence_figures(results: list[CaseResult]) -> dict[str, Any]:
    """How well absent landmarks are told from present ones (inside the field of view)."""
    absent_called = present_called = absent = present = 0
    for result in results:
        placed = np.array([state in ("found", "uncertain") for state in result.states])
        there = np.isfinite(result.truth).all(axis=1)
        present += int(there.sum())
        present_called += int((there & placed).sum())
        absent += int(result.absent.sum())
        absent_called += int((result.absent & ~placed).sum())
    return {
        "present": present,
        "sensitivity": present_called / max(1, present),
        "absent": absent,
        "specificity": absent_called / absent if absent else None,
    }


def per_landmark(results: list[CaseResult], anatomy: Anatomy, which: str) -> dict[str, dict[str, float]]:
    """Mean and median error of every landmark code."""
    errors = np.array([radial_errors(getattr(result, which), result.truth) for result in results])
    table = {}
    for index, code in enumerate(anatomy.codes):
        known = errors[:, index][np.isfinite(errors[:, index])]
        if known.size:
            table[code] = {"mre_mm": float(known.mean()), "median_mm": float(np.median(known)), "n": int(known.size)}
    return table


def figures_by_trait(results: list[CaseResult], which: str) -> dict[str, dict[str, Any]]:
    """Figures of every subgroup of at least one scan with a landmark, keyed "trait: value"."""
    keys = sorted({f"{trait}: {value}" for result in results for trait, value in result.traits.items()})
    parts = {
        key: [result for result in results if key in {f"{t}: {v}" for t, v in result.traits.items()}] for key in keys
    }
    return {
        key: figures(part, which)
        for key, part in parts.items()
        if any(np.isfinite(result.truth).any() for result in part)
    }


def markdown_table(rows: dict[str, dict[str, Any]]) -> str:
    """Rows of `figures` as a Markdown table."""
    head = (
        "| group | scans | MRE (SD) mm | median | 95 % | "
        + " | ".join(f"{r:g} mm" for r in SUCCESS_RADII_MM)
        + " | confusions |"
    )
    lines = [head, "|" + "---|" * (6 + len(SUCCESS_RADII_MM))]
    for name, row in rows.items():
        rates = " | ".join(f"{100 * row['sdr'][f'{r:g}']:.1f}" for r in SUCCESS_RADII_MM)
        lines.append(
            f"| {name} | {row['scans']} | {row['mre_mm']:.2f} ({row['sd_mm']:.2f}) | {row['median_mm']:.2f} | "
            f"{row['p95_mm']:.2f} | {rates} | {100 * row['confusion']:.2f} % |"
        )
    return "\n".join(lines) + "\n"


def evaluation_report(
    detector: Detector, cohort: Path, on_case: Callable[[CaseResult], None] | None = None
) -> dict[str, Any]:
    """Everything `cowlandmarks-train evaluate` reports of a cohort of case folders, by subgroup.

    A case that cannot be read or measured is listed in "failed" and left out of the figures, which are empty
    when no case is left.
    """
    anatomy = detector.model.anatomy
    results: list[CaseResult] = []
    failed: list[dict[str, str]] = []
    for folder in case_folders(cohort):
        try:
            results += evaluate(detector, [read_case_folder(folder, anatomy)], on_case)
        except Exception as error:
            logger.debug("%s failed", folder, exc_info=True)
            failed.append({"case": folder.relative_to(cohort).as_posix(), "error": sentence_of(error)})
    groups = sorted({result.group for result in results})
    members = {"all": results} if results else {}
    members |= {group: [r for r in results if r.group == group] for group in groups}
    return {
        "schema": "cow-evaluation/1",
        "model": detector.model.name,
        "cohort": cohort.name,
        "figures": {
            which: {name: figures(part, which) for name, part in members.items()}
            for which in ("subvoxel", "argmax", "expected", "coarse")
            if results
        },
        "subgroups": figures_by_trait(results, "subvoxel"),
        "presence": {name: presence_figures(part) for name, part in members.items()},
        "per_landmark": per_landmark(results, anatomy, "subvoxel") if results else {},
        "verdicts": {
            verdict: sum(r.verdict == verdict for r in results) for verdict in sorted({r.verdict for r in results})
        },
        "failed": failed,
    }
