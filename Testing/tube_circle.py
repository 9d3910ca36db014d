"""A circle of straight tubes of known calibre between the mean landmarks: exact truth without the phantom."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.detection import LandmarkEstimate, LandmarkState
from CoWLandmarksLib.core.mean_landmarks import BASILAR_JUNCTION_MM, mean_landmark
from CoWLandmarksLib.core.volume import Grid, Modality, Volume, axis_aligned_grid
from CoWLandmarksTrainingLib.phantom.tubes import Capsules, capsules_of_polyline, joined, rasterise

ANATOMY = default_anatomy()
DIAMETERS_MM = {"ICA": 3.6, "MCA": 2.8, "ACA": 2.0, "PCA": 2.2, "PCoA": 1.6, "ACoA": 1.6, "BA": 3.2}
CENTRE_MM = np.array([0.0, 12.0, -4.0])
WIDE_FACTOR = 1.6
"""The right and left A1-A2 and A2-A3 are moved apart so that the tubes do not touch."""


def position(code: str) -> np.ndarray:
    """RAS mm of a landmark of the tube circle."""
    point = mean_landmark(code)
    if code.endswith(("A1-A2", "A2-A3")):
        point = point * (1.0, 1.0, 1.0) + (np.sign(point[0]) * WIDE_FACTOR, 0.0, 0.0)
    return point


def landmarks(**states: LandmarkState) -> list[LandmarkEstimate]:
    """All landmarks; `states` by code with underscores (R_A1_A2=...) for those without a position."""
    missing = {code.replace("_", "-"): state for code, state in states.items()}
    return [
        LandmarkEstimate(code, None, missing[code], 1.0, 0.0)
        if code in missing
        else LandmarkEstimate(code, _triple(position(code)), LandmarkState.FOUND, 1.0, 0.0)
        for code in ANATOMY.codes
    ]


def diameter(code: str) -> float:
    """Diameter in mm of an artery of the tube circle."""
    return next(value for name, value in DIAMETERS_MM.items() if name in code.split("-") or code == name)


def tube_scan(
    left_out: tuple[str, ...] = (),
    diameters: Mapping[str, float] | None = None,
    *,
    modality: Modality = Modality.MRA,
    extra: tuple[Capsules, ...] = (),
    spacing: tuple[float, float, float] = (0.6, 0.6, 0.7),
    extent: tuple[float, float, float] = (84.0, 84.0, 72.0),
) -> Volume:
    """Scan with all arteries but those `left_out`; MRA: lumen 400 on 100, CTA: 350 HU on 40; noise of a few units."""
    size = [round(length / step) for length, step in zip(extent, spacing, strict=True)]
    grid = axis_aligned_grid(CENTRE_MM, np.array(spacing), (size[2], size[1], size[0]))
    level, background = (400.0, 100.0) if modality is Modality.MRA else (350.0, 40.0)
    parts = [*extra]
    for artery in ANATOMY.arteries:
        if artery.code in left_out:
            continue
        start = np.array(BASILAR_JUNCTION_MM) if artery.start is None else position(artery.start)
        width = (diameters or {}).get(artery.code, diameter(artery.code))
        parts.append(tube(start, position(str(artery.end)), width, level))
    drawn = rasterise(joined(parts), grid, torch.device("cpu"))
    image = background * (1.0 - drawn.coverage) + drawn.content
    noise = np.random.default_rng(3).normal(0.0, 6.0, grid.shape)
    return Volume((image.numpy() + noise).astype(np.float32), grid.ijk_to_ras, "tubes", modality)


def tube(start: np.ndarray, end: np.ndarray, width: float, level: float) -> Capsules:
    """A straight tube (RAS mm) of this diameter and image value."""
    points = np.linspace(start, end, 12)
    return capsules_of_polyline(points, np.full(12, width / 2.0), np.full(12, level), 0)


def cut(volume: Volume, low: tuple[int, int, int], high: tuple[int, int, int]) -> Volume:
    """Part of a volume from voxel (i, j, k) `low` to `high` (not included)."""
    shape = (high[2] - low[2], high[1] - low[1], high[0] - low[0])
    window: Grid = volume.grid.window(low, shape)
    part = volume.voxels[low[2] : high[2], low[1] : high[1], low[0] : high[0]]
    return Volume(part, window.ijk_to_ras, volume.name, volume.modality)


def _triple(point: np.ndarray) -> tuple[float, float, float]:
    return float(point[0]), float(point[1]), float(point[2])
