"""Figures of a model on annotated scans: errors, success rates, confusions, presence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.core.detection import LandmarkEstimate, LandmarkState
from CoWLandmarksLib.core.errors import AnnotationError
from CoWLandmarksLib.core.volume import Volume
from CoWLandmarksLib.detect.detector import Detector, Measurement

from ..records.metrics import (
    SUCCESS_RADII_MM,
    bootstrap_interval,
    confused_with,
    error_figures,
    errors_of_points,
    figures_by_landmark,
    radial_errors,
)

FAR_MM, RUNNER_UP_MM = 4.0, 3.0
"""Errors beyond the first are sorted into those within the second of a runner-up, and the others."""


@dataclass(frozen=True)
class AnnotatedVolume:
    """A scan and its true landmarks, in any order and not necessarily all; `group` is the subgroup to report it in,
    `traits` are further ones (trait -> value); `alternatives` the runners-up (k, 3) RAS mm of landmark codes."""

    volume: Volume
    truth: tuple[LandmarkEstimate, ...]
    group: str
    traits: dict[str, str] = field(default_factory=dict)
    alternatives: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class CaseResult:
    """One evaluated scan: positions (n, 3) RAS mm, NaN in `truth` where there is no point; `absent` and `outside` (n,)
    where it is known why (`outside` None: every other point without a place)."""

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
    circle: np.ndarray | None = None
    circle_peaks: np.ndarray | None = None
    outside: np.ndarray | None = None
    alternatives: dict[str, np.ndarray] = field(default_factory=dict)


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
    circle = measurement.alignment.circle
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
        verdict=detection.verdict_label,
        placed=_positions(detection.landmarks),
        traits=case.traits,
        circle=None if circle is None else circle.positions,
        circle_peaks=None if circle is None else circle.peaks,
        outside=np.array([e is not None and e.state is LandmarkState.OUTSIDE for e in listed]),
        alternatives=case.alternatives,
    )


def _positions(estimates: Sequence[LandmarkEstimate | None]) -> np.ndarray:
    """(n, 3) RAS mm, NaN where there is no point or nothing is known of it."""
    return np.array([e.position if e is not None and e.position else (np.nan,) * 3 for e in estimates], float)


def figures(results: list[CaseResult], which: str) -> dict[str, Any]:
    """Figures of merit over scans for one kind of position ("subvoxel", "argmax", "expected", "coarse",
    "circle").

    Every landmark that exists inside the scan counts, whatever state the detector gave it.
    """
    errors, confused = errors_of_points([getattr(r, which) for r in results], [r.truth for r in results])
    if not np.isfinite(errors).any():
        raise AnnotationError("The cohort holds no landmark inside its scans; nothing can be measured.")
    return {**error_figures(errors, confused), "interval": _intervals(errors)}


def _intervals(errors: np.ndarray) -> dict[str, tuple[float, float] | None]:
    """95 % bootstrap intervals over scans."""
    rates = {
        f"sdr_{radius:g}": bootstrap_interval(np.where(np.isfinite(errors), errors <= radius, np.nan))
        for radius in SUCCESS_RADII_MM
    }
    return {"mre_mm": bootstrap_interval(errors), **rates}


def presence_figures(results: list[CaseResult]) -> dict[str, Any]:
    """How well absent landmarks are distinguished from present ones (inside the field of view)."""
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
    return figures_by_landmark(errors, anatomy.codes)


def errors_on_runners_up(results: list[CaseResult], anatomy: Anatomy, which: str) -> dict[str, dict[str, int]]:
    """Of the errors beyond 4 mm of each landmark code: how many there are, and how many lie within 3 mm of a runner-up.

    Codes without such an error are left out, and cases that record no runners-up.
    """
    table: dict[str, dict[str, int]] = {}
    for result in results:
        if not result.alternatives:
            continue
        positions = getattr(result, which)
        errors = radial_errors(positions, result.truth)
        for code, error, place in zip(anatomy.codes, errors, positions, strict=True):
            if not error > FAR_MM:
                continue
            others = result.alternatives.get(code, np.empty((0, 3)))
            row = table.setdefault(code, {"beyond": 0, "on_runner_up": 0})
            row["beyond"] += 1
            row["on_runner_up"] += bool((np.linalg.norm(others - place, axis=1) <= RUNNER_UP_MM).any())
    return {code: table[code] for code in anatomy.codes if code in table}


def confusion_pairs(results: list[CaseResult], anatomy: Anatomy, which: str) -> list[dict[str, Any]]:
    """Which landmark was put on which other one, and how often; the most frequent first."""
    counts: dict[tuple[str, str], int] = {}
    for result in results:
        for index, other in enumerate(confused_with(getattr(result, which), result.truth)):
            if other >= 0:
                pair = anatomy.codes[index], anatomy.codes[other]
                counts[pair] = counts.get(pair, 0) + 1
    listed = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{"landmark": one, "taken_for": other, "count": count} for (one, other), count in listed]


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
