"""Registration of one image to another by intensity: mutual information, coarse to fine, from several starts.

Mutual information (Mattes et al. 2003) is taken over the whole of the fixed image, so that a small overlap is no
advantage, and weighed together with how well the vessels near the circle cover each other (`RegistrationLevel`).
Searched with Powell's method; the gradient is not used: where two scans cover each other only in part, it leads out
of the overlap. Nothing here knows of the landmarks of the moving image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from CoWLandmarksLib.core.errors import VolumeError
from CoWLandmarksLib.core.volume import Volume
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from .registration_level import RegistrationLevel
from .vessel_image import vessel_image

COARSE_MM, MIDDLE_MM = 4.0, 2.5
_SHIFTS_MM = (-32.0, -16.0, 0.0, 16.0, 32.0)
_KEPT_OF_A_PITCH, _KEPT_STARTS, _KEPT_SEARCHES, _KEPT_RESULTS = 3, 12, 5, 3
"""Of each pitch, of all of them, after a short search at 4 mm, and after a longer one: the last go to 2.5 mm."""
_TURN_MM = 40.0
"""A parameter of 1 mm turns (or stretches) by 1 / 40, which moves a point 40 mm from the centre by as much."""
_STRAIN_SD, _TURN_SD = 0.06, np.radians(35.0)
"""Stretching (or shearing), and turning, by this costs half a unit of the logarithm of the measure. Turning costs
only while places are chosen from: where the measure hardly tells them apart, the more upright head is the likelier."""


@dataclass(frozen=True)
class Registration:
    """`moving_to_fixed` (4, 4) RAS mm; `score` mutual information (or correlation of masks), higher is better.

    `share` of the fixed image lies inside the moving one.
    """

    moving_to_fixed: np.ndarray
    score: float
    share: float


_Found = tuple[float, tuple[float, ...]]
"""Cost and parameters: rotation (3) and shift (3), then stretch and shear (6) of an affine transform, all in mm."""


def register(
    fixed: Volume,
    moving: Volume,
    *,
    focus: np.ndarray | None = None,
    pitch_starts_deg: Sequence[float] = (0.0, -20.0, 20.0, -40.0, 40.0),
    finest_mm: float = 1.5,
    affine: bool = True,
    masks: bool = False,
    thorough: bool = True,
) -> Registration:
    """Register `moving` to `fixed` (voxels in network units, geometry in RAS mm): rigid, then affine.

    `focus` (n, 3) RAS mm of the fixed image are places near which its vessels count (None: everywhere). For every
    start of the pitch the image centres are shifted over a lattice; the best starts are searched from at 4 mm, the
    best results of these at 2.5 mm and, if `finest_mm` is finer, there; not `thorough` ends at 4 mm. `masks` registers
    two masks of the same vessels, blurred, by correlation instead. Raises VolumeError when no start covers enough of
    `fixed`.
    """
    vessels = (fixed, moving) if masks else (vessel_image(fixed), vessel_image(moving))
    search = _Search(RegistrationLevel(fixed, moving, *vessels, COARSE_MM, focus, masks), upright=True)
    found = [search.run(start, iterations=1, step_mm=6.0) for start in search.promising(pitch_starts_deg)]
    found = [search.run(entry[1], iterations=3, step_mm=3.0) for entry in _best(found, _KEPT_SEARCHES)]
    if thorough:
        found = _best(found, _KEPT_RESULTS)
        search = _Search(RegistrationLevel(fixed, moving, *vessels, MIDDLE_MM, focus, masks))
        found = [search.run(entry[1], iterations=2, step_mm=1.5) for entry in found]
        found = [(cost + _turned(parameters), parameters) for cost, parameters in found]
    if not found or min(found)[0] == np.inf:
        raise VolumeError(f"'{moving.name}' cannot be registered; it covers too little of the template '{fixed.name}'.")
    best = min(found)[1]
    if affine and thorough:
        best = search.run((*best, *(0.0,) * 6), iterations=2, step_mm=1.0)[1]
    if thorough and finest_mm < MIDDLE_MM:
        search = _Search(RegistrationLevel(fixed, moving, *vessels, finest_mm, focus, masks))
        best = search.run(best, iterations=1, step_mm=0.5)[1]
    fixed_to_moving = search.matrix(best)
    measure = search.level.measure(fixed_to_moving)
    return Registration(
        np.linalg.inv(fixed_to_moving), measure.vessels if masks else measure.information, measure.share
    )


class _Search:
    """Powell's method at one resolution."""

    def __init__(self, level: RegistrationLevel, upright: bool = False) -> None:
        self.level, self._upright = level, upright

    def promising(self, pitches: Sequence[float]) -> list[tuple[float, ...]]:
        """The best starts of every pitch, the best of all first."""
        found: list[_Found] = []
        for pitch in pitches:
            turn = float(np.radians(pitch)) * _TURN_MM
            starts = [(turn, 0.0, 0.0, 0.0, a, s) for a, s in product(_SHIFTS_MM, _SHIFTS_MM)]
            found += _best([(self.cost(start), start) for start in starts], _KEPT_OF_A_PITCH)
        return [start for cost, start in _best(found, _KEPT_STARTS) if cost < np.inf]

    def run(self, start: tuple[float, ...], *, iterations: int, step_mm: float) -> _Found:
        """Cost and parameters that the search reaches from a start."""
        options = {"maxiter": iterations, "direc": np.eye(len(start)) * step_mm, "xtol": 5e-3, "ftol": 1e-4}
        result = minimize(self._finite_cost, np.array(start), method="Powell", options=options)
        reached = tuple(float(value) for value in result.x)
        cost, before = self.cost(reached), self.cost(start)
        return (cost, reached) if cost < before else (before, start)

    def cost(self, parameters: Sequence[float] | np.ndarray) -> float:
        """Lower is better; infinite where the images hardly cover each other."""
        strain = np.array(parameters[6:]) / _TURN_MM
        cost = self.level.cost(self.matrix(parameters)) + float(strain @ strain) / (2.0 * _STRAIN_SD**2)
        return cost + _turned(parameters) if self._upright else cost

    def _finite_cost(self, parameters: np.ndarray) -> float:
        return min(self.cost(parameters), 1e3)  # Powell's method subtracts costs

    def matrix(self, parameters: Sequence[float] | np.ndarray) -> np.ndarray:
        """(4, 4) RAS mm, fixed -> moving, about the centre of the fixed image."""
        turn, shift, strain = np.array(parameters[:3]), np.array(parameters[3:6]), np.array(parameters[6:])
        matrix = np.eye(4)
        matrix[:3, :3] = Rotation.from_rotvec(turn / _TURN_MM).as_matrix()
        if strain.size:
            x, y, z, xy, xz, yz = strain / _TURN_MM
            matrix[:3, :3] = matrix[:3, :3] @ (np.eye(3) + np.array([[x, xy, xz], [xy, y, yz], [xz, yz, z]]))
        level = self.level
        matrix[:3, 3] = level.moving_centre + shift - matrix[:3, :3] @ level.fixed_centre
        return matrix


def _turned(parameters: Sequence[float] | np.ndarray) -> float:
    turn = np.array(parameters[:3]) / _TURN_MM
    return float(turn @ turn) / (2.0 * float(_TURN_SD) ** 2)


def _best(found: Sequence[_Found], count: int) -> list[_Found]:
    return sorted(found)[:count]
