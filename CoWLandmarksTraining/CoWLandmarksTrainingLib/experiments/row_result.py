"""The result of a row with one seed: a small JSON file, from which all tables are made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from CoWLandmarksLib.core.atomic_files import plain, write_text
from CoWLandmarksLib.core.errors import AnnotationError

from ..records.metrics import error_figures, errors_of_points

SCHEMA = "cow-comparison-row/1"
DECODINGS = ("subvoxel", "argmax")


@dataclass(frozen=True)
class RowResult:
    """Errors (scans, n) mm of the test scans by decoding, NaN where a landmark does not count; `training` says how it
    was trained: steps, seconds, parameters, losses, the discriminator's accuracy. `found` (sub-voxel) and `truth` are
    points (scans, n, 3) RAS mm of the reference frame, to 0.1 mm in the file (None: earlier files have none)."""

    row: str
    seed: int
    table: str
    scale: str
    cases: tuple[str, ...]
    errors: Mapping[str, np.ndarray]
    confused: Mapping[str, int]
    training: Mapping[str, Any]
    found: np.ndarray | None = None
    truth: np.ndarray | None = None

    @property
    def file_name(self) -> str:
        """Of its file."""
        return f"{self.table}-{self.row}-seed-{self.seed}.json"

    def figures(self, decoding: str) -> dict[str, Any]:
        """All figures of the errors (see `error_figures`)."""
        return error_figures(self.errors[decoding], self.confused[decoding])

    def write(self, path: Path) -> None:
        """Write the file (one line), with the figures beside what they come from; raises OutputError."""
        content = {
            "schema": SCHEMA,
            "row": self.row,
            "seed": self.seed,
            "table": self.table,
            "scale": self.scale,
            "figures": {decoding: self.figures(decoding) for decoding in self.errors},
            "training": self.training,
            "confused": self.confused,
            "cases": self.cases,
            "errors_mm": {decoding: np.round(errors, 2) for decoding, errors in self.errors.items()},
        }
        if self.found is not None and self.truth is not None:
            content["points_mm"] = {"found": np.round(self.found, 1), "truth": np.round(self.truth, 1)}
        write_text(path, json.dumps(plain(content)) + "\n")

    @classmethod
    def read(cls, path: Path) -> RowResult:
        """Read a file; raises AnnotationError."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["schema"] != SCHEMA:
                raise ValueError(f"schema {content['schema']!r}")
            errors = {decoding: np.array(rows, float) for decoding, rows in content["errors_mm"].items()}
            points = {name: np.array(rows, float) for name, rows in content.get("points_mm", {}).items()}
            return cls(
                str(content["row"]),
                int(content["seed"]),
                str(content["table"]),
                str(content["scale"]),
                tuple(content["cases"]),
                errors,
                {decoding: int(n) for decoding, n in content["confused"].items()},
                content["training"],
                points.get("found"),
                points.get("truth"),
            )
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise AnnotationError(f"'{path}' is no result of a row ({error!r}); delete it and run again.") from error


def measured(
    found: Mapping[str, Sequence[np.ndarray]], truth: Sequence[np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Errors (scans, n) mm and number of confusions by decoding, of points (n, 3) mm of every scan."""
    both = {decoding: errors_of_points(points, truth) for decoding, points in found.items()}
    return {name: errors for name, (errors, _) in both.items()}, {name: count for name, (_, count) in both.items()}
