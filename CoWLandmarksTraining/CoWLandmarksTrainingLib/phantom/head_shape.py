"""Random landmark configurations: where the nineteen points of one head would lie if all were there."""

from __future__ import annotations

import numpy as np
from CoWLandmarksLib.core.anatomy import default_anatomy

from .atlas import Atlas

JITTER_MM = 0.5
MAX_DRAWS = 200
P1_TILT_SHARE = 0.25


def point_index(code: str) -> int:
    """Row of a landmark code."""
    return _INDEX[code]


_INDEX = {code: row for row, code in enumerate(default_anatomy().codes)}
_MIRROR = list(default_anatomy().mirror_permutation)


def mirrored(points: np.ndarray) -> np.ndarray:
    """The configuration (n, 3) of the mirrored head: sides exchanged, R -> -R."""
    return points[_MIRROR] * (-1.0, 1.0, 1.0)


def sample_anchors(rng: np.random.Generator, atlas: Atlas, population: str, mirror: bool) -> np.ndarray:
    """Draw (19, 3) landmarks of a population ("patients" or "young"), basilar tip at the origin.

    Implausible draws are rejected as the atlas asks; half the P1 are then drawn towards the 7 mm of the literature
    (the patient model has 9 mm), and in some heads the two P1 rise differently (stats.md, section 8).
    """
    model = atlas.shape_models[population]
    for _ in range(MAX_DRAWS):
        points = model.mean + (model.factor @ rng.normal(size=model.mean.size)).reshape(-1, 3)
        points = points + rng.normal(0.0, JITTER_MM, points.shape)
        if mirror:
            points = mirrored(points)
        points = points - points[_INDEX["BA-T"]]
        if _plausible(points):
            break
    for side in ("R", "L"):
        row = _INDEX[f"{side}-P1-P2A"]
        distance = float(np.linalg.norm(points[row]))
        short, rise = np.clip(rng.normal(6.4, 1.6), 3.2, 10.0), rng.normal(0.0, 2.0)
        if rng.random() < 0.5:
            points[row] *= short / distance
        if rng.random() < 0.3:
            points[row, 2] += rise
    if rng.random() < P1_TILT_SHARE:
        _tilt_first_segments(points, rng)
    return points


def _tilt_first_segments(points: np.ndarray, rng: np.random.Generator) -> None:
    """Turn both P1 about the anterior axis: one rises, the other falls, and the basilar tip lies off the middle."""
    angle, shift = rng.normal(0.0, np.radians(18.0)), rng.normal(0.0, 1.2)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    for side, sign in (("R", 1.0), ("L", -1.0)):
        row = _INDEX[f"{side}-P1-P2A"]
        turned = turn @ points[row] + (shift, 0.0, 0.0)
        if sign * turned[0] > 2.0 and np.linalg.norm(turned) > 3.0:
            points[row] = turned


def _plausible(points: np.ndarray) -> bool:
    def at(code: str) -> np.ndarray:
        return points[_INDEX[code]]

    if at("R-A1-A2")[0] - at("L-A1-A2")[0] < 0.8:
        return False
    for side, sign in (("R", 1.0), ("L", -1.0)):
        genu, ophthalmic, communicating = (at(f"{side}-{name}") for name in ("C4-C5", "C5-C6", "C6-C7"))
        terminus, tip = at(f"{side}-ICA-T"), at(f"{side}-P1-P2A")
        if (
            np.linalg.norm(terminus - at(f"{side}-M1-M2")) < 5
            or np.linalg.norm(tip) < 3
            or np.linalg.norm(communicating - terminus) < 2
            or np.linalg.norm(genu - ophthalmic) < 2
            or np.linalg.norm(ophthalmic - communicating) < 3.5
            or np.linalg.norm(terminus - at(f"{side}-A1-A2")) < 7
            or np.linalg.norm(communicating - tip) < 5
            or sign * tip[0] < 1.5
            or sign * communicating[0] < 4
            or sign * (at(f"{side}-M1-M2")[0] - terminus[0]) < 2
            or sign * (terminus[0] - at(f"{side}-A1-A2")[0]) < 4
            or sign * (at(f"{side}-P2A-P2P")[0] - tip[0]) < 3
            or genu[1] - communicating[1] < 2.5
            or genu[1] - ophthalmic[1] < -0.5
            or terminus[2] - communicating[2] < -0.5
        ):
            return False
    return True
