"""The result of a row with one seed: a small JSON file, from which all tables are made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.core.atomic_files import write_json
from CoWLandmarksLib.core.errors import AnnotationError

from ..records.metrics import SUCCESS_RADII_MM, confusions, mean_radial_error, radial_errors, successful_detection_rate

SCHEMA = "cow-comparison-row/1"
FAR_MM = 6.0
"""Beyond this a point counts as grossly wrong; the paper's largest radius."""
DECODINGS = ("subvoxel", "argmax")


@dataclass(frozen=True)
class RowResult:
    """Errors (scans, n) mm of the test scans by decoding, NaN where a landmark does not count; `training` says how it
    was trained: steps, seconds, parameters, losses, the discriminator's accuracy."""

    row: str
    seed: int
    table: str
    scale: str
    cases: tuple[str, ...]
    errors: Mapping[str, np.ndarray]
    confused: Mapping[str, int]
    training: Mapping[str, Any]

    def figures(self, decoding: str) -> dict[str, Any]:
        """MRE (SD over scans), median, SDR at the paper's radii, share beyond 6 mm, share of confusions."""
        errors = self.errors[decoding]
        known = errors[np.isfinite(errors)]
        mre, sd = mean_radial_error(errors)
        return {
            "scans": len(errors),
            "landmarks": int(known.size),
            "mre_mm": mre,
            "sd_mm": sd,
            "median_mm": float(np.median(known)),
            "sdr": {f"{radius:g}": successful_detection_rate(errors, radius) for radius in SUCCESS_RADII_MM},
            "beyond_6mm": float((known > FAR_MM).mean()),
            "confusion": self.confused[decoding] / known.size,
        }

    def per_landmark(self, decoding: str, anatomy: Anatomy) -> dict[str, dict[str, float]]:
        """Mean and median error in mm and the number of points of every landmark code."""
        table = {}
        for code, column in zip(anatomy.codes, self.errors[decoding].T, strict=True):
            known = column[np.isfinite(column)]
            if known.size:
                table[code] = {"mre_mm": float(known.mean()), "median_mm": float(np.median(known)), "n": known.size}
        return table

    def write(self, path: Path) -> None:
        """Write the file, with the figures beside what they come from; raises OutputError."""
        write_json(
            path,
            {
                "schema": SCHEMA,
                "row": self.row,
                "seed": self.seed,
                "table": self.table,
                "scale": self.scale,
                "figures": {decoding: self.figures(decoding) for decoding in self.errors},
                "training": self.training,
                "confused": self.confused,
                "cases": self.cases,
                "errors_mm": {
                    decoding: [[None if np.isnan(v) else round(float(v), 2) for v in row] for row in errors]
                    for decoding, errors in self.errors.items()
                },
            },
        )

    @classmethod
    def read(cls, path: Path) -> RowResult:
        """Read a file; raises AnnotationError."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["schema"] != SCHEMA:
                raise ValueError(f"schema {content['schema']!r}")
            errors = {
                decoding: np.array([[np.nan if v is None else v for v in row] for row in rows], float)
                for decoding, rows in content["errors_mm"].items()
            }
            return cls(
                str(content["row"]),
                int(content["seed"]),
                str(content["table"]),
                str(content["scale"]),
                tuple(content["cases"]),
                errors,
                {decoding: int(n) for decoding, n in content["confused"].items()},
                content["training"],
            )
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise AnnotationError(f"'{path}' is no result of a row ({error!r}); delete it and run again.") from error


def measured(
    found: Mapping[str, Sequence[np.ndarray]], truth: Sequence[np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Errors (scans, n) mm and number of confusions by decoding, of points (n, 3) mm of every scan."""
    errors = {
        decoding: np.array([radial_errors(f, t) for f, t in zip(points, truth, strict=True)])
        for decoding, points in found.items()
    }
    confused = {
        decoding: sum(int(confusions(f, t).sum()) for f, t in zip(points, truth, strict=True))
        for decoding, points in found.items()
    }
    return errors, confused
