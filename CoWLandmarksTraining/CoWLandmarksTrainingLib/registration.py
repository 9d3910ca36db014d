"""Registration of one image to another by intensity: mutual information, coarse to fine, from several starts.

Mattes et al. 2003 (mutual information) and Powell's search along directions, as SimpleITK implements them. The
gradient of the metric is not used: where two scans cover each other only in part, it leads out of the overlap.
Nothing here knows of landmarks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import SimpleITK as sitk
from CoWLandmarksLib.errors import VolumeError
from CoWLandmarksLib.volume import Volume
from CoWLandmarksLib.volume_io import image_from_volume

COARSE_MM, MIDDLE_MM = 4.0, 2.5
SMALLEST_SHARE = 0.25
"""Share of the fixed image that has to lie inside the moving one."""
_SHIFTS_MM = (-32.0, -16.0, 0.0, 16.0, 32.0)
_BINS = 32
_SAMPLES = 30_000
"""Voxels of the fixed image that the metric looks at, evenly spread."""
_KEPT_OF_A_PITCH, _KEPT_STARTS, _KEPT_SEARCHES, _KEPT_RESULTS = 3, 12, 5, 4
"""Of each pitch, of all of them, after a short search at 4 mm, and after a longer one: the last go to 2.5 mm."""
_RIGID_SCALES = (40.0, 40.0, 40.0, 1.0, 1.0, 1.0)
_AFFINE_SCALES = (40.0,) * 9 + (1.0,) * 3
"""A step of 2 mm turns by 2 / 40 radians, which moves a point 40 mm from the centre by as much."""


@dataclass(frozen=True)
class Registration:
    """`moving_to_fixed` (4, 4) RAS mm; `score` mutual information (or correlation) in the end, higher is better.

    `share` of the fixed image lies inside the moving one.
    """

    moving_to_fixed: np.ndarray
    score: float
    share: float


def register(
    fixed: Volume,
    moving: Volume,
    *,
    pitch_starts_deg: Sequence[float] = (0.0, -20.0, 20.0, -40.0, 40.0),
    finest_mm: float = 1.5,
    affine: bool = True,
    masks: bool = False,
) -> Registration:
    """Register `moving` to `fixed` (voxels in network units, geometry in RAS mm): rigid, then affine.

    For every start of the pitch the image centres are shifted over a lattice; the best starts are searched from at
    4 mm, the best results of these at 2.5 mm and, if `finest_mm` is finer, there. `masks` registers two masks of the
    same vessels, blurred, by correlation instead. Raises VolumeError when no start covers enough of `fixed`.
    """
    levels = [_Level(fixed, moving, spacing, masks) for spacing in (COARSE_MM, MIDDLE_MM)]
    results: list[tuple[float, sitk.Transform]] = []
    for start in levels[0].promising(pitch_starts_deg):
        results += levels[0].searched(start, iterations=2, step_mm=2.0)
    longer: list[tuple[float, sitk.Transform]] = []
    for _, transform in _best(results)[:_KEPT_SEARCHES]:
        longer += levels[0].searched(transform, iterations=3, step_mm=2.0)
    best: list[tuple[float, sitk.Transform]] = []
    for _, transform in _best(longer)[:_KEPT_RESULTS]:
        best += levels[1].searched(transform, iterations=2, step_mm=1.0)
    if not best:
        raise VolumeError(f"'{moving.name}' cannot be registered; it covers too little of the template '{fixed.name}'.")
    value, transform = _best(best)[0]
    if affine:
        value, transform = _best(
            [*levels[1].searched(_as_affine(transform), iterations=2, step_mm=1.0), (0.0, transform)]
        )[0]
    if finest_mm < MIDDLE_MM:
        finest = _Level(fixed, moving, finest_mm, masks)
        value, transform = next(iter(finest.searched(transform, iterations=1, step_mm=0.5)), (value, transform))
    return Registration(_moving_to_fixed(transform), -value, levels[1].share_inside(transform))


class _Level:
    """Both images at one resolution. Transforms are SimpleITK's: fixed LPS -> moving LPS; lower values are better."""

    def __init__(self, fixed: Volume, moving: Volume, spacing_mm: float, masks: bool) -> None:
        self.fixed, self.moving = _image(fixed, spacing_mm, masks), _image(moving, spacing_mm, masks)
        self._masks = masks
        self._samples = min(1.0, _SAMPLES / float(np.prod(self.fixed.GetSize())))
        last = np.array(self.fixed.GetSize()) - 1.0
        index = product(*(np.linspace(0, n, 8) for n in last))
        self._probes = np.array([self.fixed.TransformContinuousIndexToPhysicalPoint(row) for row in index])

    def promising(self, pitches: Sequence[float]) -> list[sitk.Euler3DTransform]:
        """The best starts of every pitch, the best of all first."""
        centre, target = _centre(self.fixed), _centre(self.moving)
        found: list[tuple[float, sitk.Transform]] = []
        for pitch in pitches:
            own: list[tuple[float, sitk.Transform]] = []
            for a, s in product(_SHIFTS_MM, _SHIFTS_MM):
                transform = sitk.Euler3DTransform()
                transform.SetCenter(centre.tolist())
                transform.SetRotation(float(np.radians(pitch)), 0.0, 0.0)
                transform.SetTranslation((target - centre + np.array([0.0, a, s])).tolist())
                if self.share_inside(transform) >= SMALLEST_SHARE:
                    own.append((self._method(transform).MetricEvaluate(self.fixed, self.moving), transform))
            found += _best(own)[:_KEPT_OF_A_PITCH]
        return [transform for _, transform in _best(found)[:_KEPT_STARTS]]

    def searched(self, start: sitk.Transform, *, iterations: int, step_mm: float) -> list[tuple[float, sitk.Transform]]:
        """Value and transform that Powell's search reaches; nothing where it leaves the overlap."""
        method = self._method(start)
        method.SetOptimizerAsPowell(iterations, stepLength=step_mm, stepTolerance=0.02, valueTolerance=1e-4)
        method.SetOptimizerScales(_AFFINE_SCALES if isinstance(start, sitk.AffineTransform) else _RIGID_SCALES)
        shown = sitk.ProcessObject.GetGlobalWarningDisplay()
        sitk.ProcessObject.GlobalWarningDisplayOff()  # a search that leaves the overlap is no news
        try:
            result = method.Execute(self.fixed, self.moving)
        except RuntimeError:  # ITK: "all samples map outside"
            return []
        finally:
            sitk.ProcessObject.SetGlobalWarningDisplay(shown)
        transform = type(start)(result.GetNthTransform(0))
        return [(method.GetMetricValue(), transform)] if self.share_inside(transform) >= SMALLEST_SHARE else []

    def share_inside(self, transform: sitk.Transform) -> float:
        """Share of the fixed image that a transform takes into the moving image."""
        matrix = _matrix_lps(transform)
        points = self._probes @ matrix[:3, :3].T + matrix[:3, 3]
        direction = np.array(self.moving.GetDirection()).reshape(3, 3)
        index = (points - np.array(self.moving.GetOrigin())) @ direction / np.array(self.moving.GetSpacing())
        inside = (index >= -0.5) & (index <= np.array(self.moving.GetSize()) - 0.5)
        return float(inside.all(axis=1).mean())

    def _method(self, transform: sitk.Transform) -> sitk.ImageRegistrationMethod:
        method = sitk.ImageRegistrationMethod()
        if self._masks:
            method.SetMetricAsCorrelation()
        else:
            method.SetMetricAsMattesMutualInformation(_BINS)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetInitialTransform(transform, False)
        if self._samples < 1.0:
            method.SetMetricSamplingStrategy(method.REGULAR)
            method.SetMetricSamplingPercentage(self._samples, 1)
        return method


def _best(found: Sequence[tuple[float, sitk.Transform]]) -> list[tuple[float, sitk.Transform]]:
    return sorted(found, key=lambda entry: entry[0])


def _image(volume: Volume, spacing_mm: float, mask: bool) -> sitk.Image:
    """float32 image, averaged over blocks of about `spacing_mm`; a mask is blurred, so that it attracts from afar."""
    image = sitk.Cast(image_from_volume(volume), sitk.sitkFloat32)
    factors = np.maximum(1, np.rint(spacing_mm / np.array(image.GetSpacing()))).astype(int)
    image = sitk.BinShrink(image, [int(factor) for factor in factors])
    return sitk.SmoothingRecursiveGaussian(image, 1.5 * spacing_mm) if mask else image


def _centre(image: sitk.Image) -> np.ndarray:
    return np.array(image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2.0 for n in image.GetSize()]))


def _as_affine(rigid: sitk.Euler3DTransform) -> sitk.AffineTransform:
    affine = sitk.AffineTransform(3)
    affine.SetCenter(rigid.GetCenter())
    affine.SetMatrix(rigid.GetMatrix())
    affine.SetTranslation(rigid.GetTranslation())
    return affine


def _matrix_lps(transform: Any) -> np.ndarray:
    """(4, 4) matrix of a linear SimpleITK transform, in its own LPS."""
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    matrix = np.eye(4)
    for axis in range(3):
        matrix[:3, axis] = np.array(transform.TransformPoint(tuple(np.eye(3)[axis]))) - origin
    matrix[:3, 3] = origin
    return matrix


def _moving_to_fixed(transform: sitk.Transform) -> np.ndarray:
    """SimpleITK's transform takes fixed LPS to moving LPS; this is the way back, in RAS."""
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    matrix: np.ndarray = np.linalg.inv(flip @ _matrix_lps(transform) @ flip)
    return matrix
