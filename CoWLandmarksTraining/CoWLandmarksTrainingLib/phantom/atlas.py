"""The anatomical atlas the phantom is sampled from, read from `Resources/atlas.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

ATLAS_FILE = Path(__file__).parent.parent / "Resources" / "atlas.json"


@dataclass(frozen=True)
class AtlasShapeModel:
    """Gaussian model of the landmarks: `mean` (n, 3) mm, `factor` (3n, 3n) the Cholesky factor of the covariance."""

    mean: np.ndarray
    covariance: np.ndarray
    factor: np.ndarray


@dataclass(frozen=True)
class Template:
    """Mean curve of a right-sided vessel.

    `points` (n, 3) mm; `radius_mm` (start, end); `modes` (k, n, 3) shape modes in mm per standard deviation about
    `median_points`, empty where none were measured; `parent` and `at_fraction` say where a branch leaves.
    """

    points: np.ndarray
    radius_mm: tuple[float, float]
    median_points: np.ndarray
    modes: np.ndarray
    parent: str = ""
    at_fraction: float | None = None
    bilateral: bool = True


@dataclass(frozen=True)
class Atlas:
    """Landmark shape models and mean curves."""

    landmarks: tuple[str, ...]
    shape_models: dict[str, AtlasShapeModel]
    arteries: dict[str, Template]
    branches: dict[str, Template]
    veins: dict[str, Template]
    external_carotid: dict[str, Template]


@lru_cache(maxsize=1)
def default_atlas() -> Atlas:
    """The atlas that ships with the program."""
    source = json.loads(ATLAS_FILE.read_text(encoding="utf-8"))
    return Atlas(
        landmarks=tuple(source["landmarks"]),
        shape_models={name: _shape_model(entry) for name, entry in source["shape_models"].items()},
        arteries={name: _template(entry) for name, entry in source["arteries"].items()},
        branches={name: _template(entry) for name, entry in source["branches"].items()},
        veins={name: _template(entry) for name, entry in source["veins"].items()},
        external_carotid={name: _template(entry) for name, entry in source["external_carotid"].items()},
    )


def _shape_model(entry: dict[str, Any]) -> AtlasShapeModel:
    covariance = np.array(entry["covariance"], dtype=float)
    covariance = 0.5 * (covariance + covariance.T)
    # The basilar tip does not vary (it is the origin) and the rest was rounded: keep the matrix positive definite.
    factor = np.linalg.cholesky(covariance + 0.02 * np.eye(len(covariance)))
    return AtlasShapeModel(np.array(entry["mean"], dtype=float), covariance, factor)


def _template(entry: dict[str, Any]) -> Template:
    points = np.array(entry["points"], dtype=float)
    modes = np.array([np.multiply(mode["sd"], mode["vec"]) for mode in entry.get("modes", [])], dtype=float)
    return Template(
        points=points,
        radius_mm=(float(entry["radius_mm"][0]), float(entry["radius_mm"][1])),
        median_points=np.array(entry.get("median_points", entry["points"]), dtype=float),
        modes=modes.reshape(-1, *points.shape),
        parent=entry.get("parent", ""),
        at_fraction=entry.get("at_fraction"),
        bilateral=bool(entry.get("bilateral", True)),
    )
