"""How a head lies in the scanner: transforms from the reference frame to scan RAS."""

from __future__ import annotations

from typing import Literal

import numpy as np

PoseDistribution = Literal["training", "clinical"]

GRID_CENTRE_MM = np.array([0.0, 14.0, 2.5])
"""Centre of the reference grid; heads turn and grow about it."""


def pose_matrix(pitch: float, roll: float, yaw: float, scale: float, shift: np.ndarray) -> np.ndarray:
    """Transform (4, 4), reference frame -> scan RAS: x' = scale * yaw roll pitch (x - c) + c + shift.

    Degrees, right-handed about the axes R (pitch, positive = face up), A (roll) and S (yaw); c = grid centre.
    """
    (cp, cr, cy), (sp, sr, sy) = np.cos(np.radians([pitch, roll, yaw])), np.sin(np.radians([pitch, roll, yaw]))
    about_r = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_a = np.array([[cr, 0, sr], [0, 1, 0], [-sr, 0, cr]])
    about_s = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = scale * (about_s @ about_a @ about_r)
    matrix[:3, 3] = GRID_CENTRE_MM + np.asarray(shift) - matrix[:3, :3] @ GRID_CENTRE_MM
    return matrix


TURNED_DEG = 40.0
"""Yaw at most of a head that is turned aside."""


def sample_pose(
    rng: np.random.Generator, distribution: PoseDistribution = "training", *, turned: bool = False
) -> np.ndarray:
    """Random (4, 4) transform, reference frame -> scan RAS.

    "training": uniform, pitch +-40, roll and yaw +-20 degrees, shift +-30 mm, size +-10 %. "clinical": pitch
    N(0, 13) clipped at 40, roll and yaw N(0, 5), shift +-8 mm, size +-8 %, one in twenty tilted as on CT (pitch to
    +-40, roll to +-15 degrees). `turned`: the head looks aside, with a yaw of up to 40 degrees.
    """
    aside = rng.uniform(-TURNED_DEG, TURNED_DEG) if turned else None
    if distribution == "training":
        pitch, roll, yaw = rng.uniform(-1, 1, 3) * (40, 20, 20)
        yaw = yaw if aside is None else aside
        return pose_matrix(pitch, roll, yaw, 1 + rng.uniform(-0.10, 0.10), rng.uniform(-30, 30, 3))
    if distribution != "clinical":
        raise ValueError(f"unknown pose distribution '{distribution}'; use 'training' or 'clinical'")
    pitch, roll, yaw = rng.normal(0, 1, 3) * (13, 5, 5)
    if rng.random() < 0.05:
        pitch, roll = rng.uniform(-1, 1, 2) * (40, 15)
    pitch, roll, yaw = np.clip((pitch, roll, yaw), (-40, -20, -20), (40, 20, 20))
    yaw = yaw if aside is None else aside
    return pose_matrix(pitch, roll, yaw, 1 + rng.uniform(-0.08, 0.08), rng.uniform(-8, 8, 3))
