"""Calibration of the shipped model on phantoms of seeds of their own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from CoWLandmarksLib.detector import Detector
from CoWLandmarksLib.modality import Modality
from CoWLandmarksLib.model import Model
from CoWLandmarksLib.verdict import recognition

from .calibrating import calibration_of
from .evaluation import AnnotatedVolume, CaseResult, evaluate
from .parallel import in_processes
from .phantom.cohort import make_case

CALIBRATION_SEED = 7001
CALIBRATION_ENRICHMENT = 4.0
ABSENCE_SEED = 7002
ABSENCE_ENRICHMENT = 16.0
ABSENCE_SHARE = 0.6
"""Phantom cohorts used for calibration only (the second is rich in absent arteries and has this share of the scans of
the first); tests use other seeds (Docs/model-card.md)."""
ABSENCE_MARGIN = 0.8
"""Peaks are lower on scans that look unlike phantoms, so that absence asks for that part of the limit on phantoms; it
costs 1 of 20 recognised absences (seed 7500)."""
ALLOWED_TO_FAIL = 0.02
RECOGNITION_SLACK = 0.2
FEWEST_IN_PROCESSES = 8
"""So many scans are worth the start of further processes."""


def calibrated(model: Model, scans: int) -> Model:
    """The model with all calibrations measured on phantoms, each network's with those before it.

    The cohort is enriched in variants. A second one, in which arteries are often absent, serves only to see how high
    the peaks of absent landmarks are.
    """
    permutation = model.anatomy.mirror_permutation
    results = _results(model, CALIBRATION_SEED, scans, CALIBRATION_ENRICHMENT)
    coarse = calibration_of(results, "coarse", "coarse_peaks", permutation)
    # Where there is no circle network the second pass of the fine one relies on a table of the first.
    first = calibration_of(results, "subvoxel", "peaks", permutation)
    model = replace(
        model, coarse=replace(model.coarse, calibration=coarse), fine=replace(model.fine, calibration=first)
    )
    if model.circle is not None:
        circle = calibration_of(results, "circle", "circle_peaks", permutation)
        model = replace(model, circle=replace(model.circle, calibration=circle))
    results = _results(model, CALIBRATION_SEED, scans, CALIBRATION_ENRICHMENT)
    rich = _results(model, ABSENCE_SEED, absence_scans(scans), ABSENCE_ENRICHMENT)
    if model.circle is None:
        final = calibration_of(results, "subvoxel", "peaks", permutation, _absent_peaks(rich, "peaks"))
    else:  # it tells better than the fine network what is absent
        absent = _absent_peaks(rich, "circle_peaks")
        limit = calibration_of(results, "circle", "circle_peaks", permutation, absent).absent_below
        table = replace(model.circle.calibration, absent_below=ABSENCE_MARGIN * limit)
        model = replace(model, circle=replace(model.circle, calibration=table))
        final = replace(calibration_of(results, "subvoxel", "peaks", permutation), absent_below=0.0)
    model = replace(model, fine=replace(model.fine, calibration=final))
    return replace(model, least_recognition=least_recognition(model, results))


def _absent_peaks(results: list[CaseResult], peaks: str) -> np.ndarray:
    return np.concatenate([getattr(result, peaks)[result.absent] for result in results])


def least_recognition(model: Model, results: list[CaseResult]) -> float:
    """The limit of `verdict.recognition` that the worst recognised of these scans, all of heads, just passes.

    One scan in fifty may fail it: those are the scans on which the networks went astray.
    """
    values = []
    for result in results:
        there = np.isfinite(result.truth).all(axis=1)
        coarse = model.coarse.calibration.confidence_of(result.coarse_peaks)
        fine = model.fine.calibration.confidence_of(result.peaks)
        if model.circle is None or result.circle_peaks is None:
            values.append(recognition(coarse[there], fine[there] >= model.fine.calibration.uncertain_below))
        else:
            inside = there | result.absent
            circle = model.circle.calibration.confidence_of(result.circle_peaks)
            values.append(recognition(coarse[inside], circle[inside]))
    return float(np.quantile(values, ALLOWED_TO_FAIL)) - RECOGNITION_SLACK


def absence_scans(scans: int) -> int:
    """How many scans of the cohort that is rich in absent arteries go with `scans` of the other."""
    return 2 * max(1, round(ABSENCE_SHARE * scans / 2))


@dataclass(frozen=True)
class _Job:
    """One phantom to be read with a model."""

    model: Model
    seed: int
    enrichment: float
    index: int
    modality: Modality


def _results(model: Model, seed: int, scans: int, enrichment: float) -> list[CaseResult]:
    """What the model reads on phantoms, half of them MRA, several at a time where there are many."""
    jobs = [_Job(model, seed, enrichment, index, modality) for index in range(scans // 2) for modality in Modality]
    read = {
        (job.index, job.modality): result
        for job, result in in_processes(_result, jobs, 1 if len(jobs) < FEWEST_IN_PROCESSES else 0)
    }
    return [read[job.index, job.modality] for job in jobs]


def _result(job: _Job) -> CaseResult:
    case = make_case(job.seed, job.index, job.modality, enrichment=job.enrichment)
    scan = AnnotatedVolume(case.volume, case.truth, job.modality.value)
    [result] = evaluate(Detector(job.model, "cpu"), [scan])
    return result
