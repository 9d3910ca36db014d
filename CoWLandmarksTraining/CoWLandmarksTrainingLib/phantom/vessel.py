"""What a phantom is made of: vessels as centrelines with radii, and the landmarks on them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from ..config.settings import PHANTOM_VERSION


class VesselKind(str, Enum):
    """ARTERY = a labelled segment, BRANCH = any other artery or an aneurysm, VEIN = vein or sinus."""

    ARTERY = "artery"
    BRANCH = "branch"
    VEIN = "vein"


@dataclass(frozen=True)
class Vessel:
    """A centreline with its lumen.

    `points` (n, 3) RAS mm in the reference frame, about 0.5 mm apart, running with the blood; `radii` (n,) mm;
    `label` the value in label maps (0 unless `kind` is ARTERY); `path_mm` (n,) approximate way of the blood from
    the cervical carotid or vertebral artery (for inflow saturation).
    """

    name: str
    points: np.ndarray
    radii: np.ndarray
    kind: VesselKind
    label: int
    path_mm: np.ndarray


@dataclass(frozen=True)
class Alternative:
    """A runner-up of a landmark: a place (mm, reference frame) on a vessel that could be taken for it, and why."""

    position: tuple[float, float, float]
    reason: str


@dataclass(frozen=True)
class Phantom:
    """One synthetic head.

    `landmarks` (19, 3) in the order of `anatomy.json`, NaN where absent; `by_rule` (19,) where the fallback of the
    definition was used; `variants` what was drawn; `artery_present` per artery code: the artery exists over its
    whole length (an occluded one does not, its stump is a BRANCH). `anchors` (19, 3) are the landmarks
    without gaps: `curves.warp(points, atlas.shape_models["young"].mean, anchors)` carries bones of the atlas along.
    `alternatives` are up to two runners-up by landmark code, the likelier first (from version 4 on).
    """

    vessels: tuple[Vessel, ...]
    landmarks: np.ndarray
    by_rule: np.ndarray
    variants: dict[str, str]
    artery_present: dict[str, bool]
    population: str
    mirrored: bool
    anchors: np.ndarray
    version: int = PHANTOM_VERSION
    alternatives: dict[str, tuple[Alternative, ...]] = field(default_factory=dict)
