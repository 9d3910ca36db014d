"""Calibration of a freshly trained model on the validation scans of an aligned cohort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from CoWLandmarksLib.detection import LandmarkEstimate, LandmarkState
from CoWLandmarksLib.detector import Detector
from CoWLandmarksLib.intensity import IntensityRule
from CoWLandmarksLib.model import Model
from CoWLandmarksLib.volume import Grid, Volume

from .aligned import ABSENT, INSIDE, AlignedCase
from .calibrating import calibration_of
from .evaluation import AnnotatedVolume, evaluate

_MOST_SCANS = 40


def calibrated_on_crops(model: Model, cases: Sequence[AlignedCase], device: str) -> Model:
    """The model with calibrations measured on cached validation scans; as it is when there is none.

    The coarse network is judged on whole scans at 1 mm, the others, with it, on the crops.
    """
    cases = cases[:_MOST_SCANS]
    if not cases:
        return model
    partner = model.anatomy.mirror_permutation
    as_cached = {
        modality: IntensityRule("fixed", rule.low, rule.high, fixed_scale=1.0)
        for modality, rule in model.intensity.items()
    }
    trial = replace(model, intensity=as_cached)
    scans = [_whole_scan(case, model) for case in cases]
    results = evaluate(Detector(trial, device, passes=1), scans)
    coarse = calibration_of(results, "coarse", "coarse_peaks", partner)
    trial = replace(trial, coarse=replace(trial.coarse, calibration=coarse))
    crops = [_crop(case, model) for case in cases]
    for _ in range(2 if model.reads_priors else 1):  # the second pass relies on tables of the first
        results = evaluate(Detector(trial, device), crops)
        if trial.circle is not None:
            circle = calibration_of(results, "circle", "circle_peaks", partner)
            trial = replace(trial, circle=replace(trial.circle, calibration=circle))
        fine = calibration_of(results, "subvoxel", "peaks", partner)
        trial = replace(trial, fine=replace(trial.fine, calibration=fine))
    return replace(trial, intensity=model.intensity)


def _whole_scan(case: AlignedCase, model: Model) -> AnnotatedVolume:
    assert case.coarse_grid is not None
    return _annotated(case, model, case.coarse(), case.coarse_grid, case.landmarks_in_scan())


def _crop(case: AlignedCase, model: Model) -> AnnotatedVolume:
    return _annotated(case, model, case.crop(), model.grid.grid(), case.landmarks)


def _annotated(case: AlignedCase, model: Model, voxels: np.ndarray, grid: Grid, points: np.ndarray) -> AnnotatedVolume:
    truth = []
    depth = grid.depth_mm(np.nan_to_num(points, nan=1e6))
    for code, point, status, deep in zip(model.anatomy.codes, points, case.status, depth, strict=True):
        if status == INSIDE and deep >= 0.0:
            place = (float(point[0]), float(point[1]), float(point[2]))
            truth.append(LandmarkEstimate(code, place, LandmarkState.FOUND, 1.0, 0.0))
        else:
            state = LandmarkState.ABSENT if status == ABSENT else LandmarkState.OUTSIDE
            truth.append(LandmarkEstimate(code, None, state, 1.0, 0.0))
    volume = Volume(np.asarray(voxels, np.float32), grid.ijk_to_ras, case.name, case.modality)
    return AnnotatedVolume(volume, tuple(truth), case.modality.value)
