"""Calibration of a model on annotated scans of any kind: confidence, expected error, absence, recognition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from CoWLandmarksLib.core.calibration import Calibration, blended, corrected_by_landmark, fit_calibration
from CoWLandmarksLib.detect.model import Model
from CoWLandmarksLib.detect.verdict import recognition

from ..records.metrics import radial_errors
from .evaluation import CaseResult

ReadCases = Callable[[Model], list[CaseResult]]
"""Reads the calibration cases with a model."""

ABSENCE_MARGIN = 0.8
"""Peaks are lower on scans that look unlike those of the calibration, so that absence asks for that part of the limit
measured there; on phantoms it costs 1 of 20 recognised absences (seed 7500)."""
PRIOR_LANDMARKS = 200
"""The tables that a model had before weigh as much as so many landmarks (ten scans)."""
ALLOWED_TO_FAIL = 0.02
RECOGNITION_SLACK = 0.2
FEWEST_FOR_RECOGNITION = 20
"""With fewer scans the limit of recognition is not measured: one scan in fifty may fail it."""


def calibrated(model: Model, read: ReadCases, absent: ReadCases | None = None, before: Model | None = None) -> Model:
    """The model with all calibrations measured on annotated cases, each network's with those before it.

    `read` gives what a model finds in the cases. `absent` does so for further cases that serve only to see how high
    the peaks of absent landmarks are. The tables of `before` are the prior (see `blended`), for few cases tell little.
    Without any landmark these tables hold as they are, or the model's own where there are none.
    """
    permutation = model.anatomy.mirror_permutation
    known = () if before is None else before.stages
    tables = {name: part.calibration for name, part in known if name in dict(model.stages)}
    results = read(model)
    count = sum(int(np.isfinite(result.truth).all(axis=1).sum()) for result in results)
    if count == 0:
        for name, table in tables.items():
            model = _with_table(model, name, table)
        return model if before is None else replace(model, least_recognition=before.least_recognition)
    model = _with_table(model, "coarse", _table(results, "coarse", "coarse_peaks", permutation, tables, count))
    # Where there is no circle network the second pass of the fine one relies on a table of the first.
    model = _with_table(model, "fine", _table(results, "fine", "peaks", permutation, tables, count))
    if model.circle is not None:
        model = _with_table(model, "circle", _table(results, "circle", "circle_peaks", permutation, tables, count))
    results = read(model)
    more = [] if absent is None else absent(model)
    judge = "fine" if model.circle is None else "circle"  # the circle network tells better what is absent
    peaks = "peaks" if judge == "fine" else "circle_peaks"
    fine = _table(results, "fine", "peaks", permutation, tables, count, more)
    if judge == "circle":
        assert model.circle is not None
        limit = _table(results, "circle", peaks, permutation, {}, count, more).absent_below
        if limit > 0.0:
            table, prior = model.circle.calibration, tables.get("circle")
            measured = replace(table, absent_below=ABSENCE_MARGIN * limit)
            weight = count / (count + PRIOR_LANDMARKS)
            fitted = measured if prior is None else blended(prior, measured, weight)
            model = _with_table(model, "circle", replace(table, absent_below=fitted.absent_below))
        fine = replace(fine, absent_below=0.0)
    model = _with_table(model, "fine", fine)
    if len(results) < FEWEST_FOR_RECOGNITION:
        return model if before is None else replace(model, least_recognition=before.least_recognition)
    return replace(model, least_recognition=least_recognition(model, results))


def _with_table(model: Model, name: str, table: Calibration) -> Model:
    return replace(model, **{name: replace(getattr(model, name), calibration=table)})


def _table(
    results: list[CaseResult],
    name: str,
    peaks: str,
    permutation: tuple[int, ...],
    before: Mapping[str, Calibration],
    count: int,
    more: Sequence[CaseResult] = (),
) -> Calibration:
    more_absent = np.concatenate([getattr(result, peaks)[result.absent] for result in more]) if more else None
    table = calibration_of(results, {"fine": "subvoxel"}.get(name, name), peaks, permutation, more_absent)
    prior = before.get(name)
    return table if prior is None else blended(prior, table, count / (count + PRIOR_LANDMARKS))


def calibration_of(
    results: list[CaseResult],
    positions: str,
    peaks: str,
    permutation: tuple[int, ...],
    more_absent: np.ndarray | None = None,
) -> Calibration:
    """The table of one network from its `positions` and `peaks` (names of fields of CaseResult).

    `permutation` pairs the landmarks of both sides, which share their correction; `more_absent` (m,) are peaks of
    further landmarks that are absent.
    """
    every_error = np.array([radial_errors(getattr(r, positions), r.truth) for r in results])
    every_height = np.array([getattr(r, peaks) for r in results])
    absent = np.array([r.absent for r in results])
    known = np.isfinite(every_error)
    nowhere = [~np.isfinite(r.truth).all(axis=1) for r in results]
    beyond = np.array([n if r.outside is None else r.outside for n, r in zip(nowhere, results, strict=True)]) & ~absent
    elsewhere = every_height[beyond] if positions == "coarse" else None
    read = known & (every_height > 0)
    absent_peaks = np.concatenate([every_height[absent], np.zeros(0) if more_absent is None else more_absent])
    table = fit_calibration(every_height[read], every_error[read], absent_peaks, elsewhere)
    return corrected_by_landmark(table, every_height, every_error, permutation)


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
