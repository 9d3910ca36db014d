"""Did a training help? The model it made against the one it began from, on the same scans."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from CoWLandmarksLib.core.atomic_files import write_json
from CoWLandmarksLib.core.errors import AnnotationError, ConfigurationError

from .evaluation_file import read_errors
from .metrics import bootstrap_interval, radial_errors

if TYPE_CHECKING:  # the panel reads what is written here, without torch
    from ..evaluate.evaluation import CaseResult


SCHEMA = "cow-comparison/1"
COMPARISON_FILE = "comparison.json"
FEWEST_SCANS = 6
"""With fewer scans an interval drawn from them lies on one side of zero by chance too often."""


@dataclass(frozen=True)
class Improvement:
    """Mean radial errors in mm over the landmarks of `scans` scans with the old and the new model, and the difference
    new - old with its 95 % interval over scans (None with fewer than two)."""

    scans: int
    landmarks: int
    old_mre_mm: float
    new_mre_mm: float
    interval_mm: tuple[float, float] | None

    @property
    def difference_mm(self) -> float:
        """Negative: the new model is better."""
        return self.new_mre_mm - self.old_mre_mm

    @property
    def better(self) -> bool:
        """Whether the new model has the lower error on these scans."""
        return self.difference_mm < 0.0

    @property
    def sure(self) -> bool:
        """Whether the interval lies wholly below zero, and rests on enough scans to mean something."""
        return self.scans >= FEWEST_SCANS and self.interval_mm is not None and self.interval_mm[1] < 0.0

    def sentence(self) -> str:
        """For people, with a plain warning where the new model is not shown to be better."""
        text = (
            f"On {self.scans} scan{'s' * (self.scans != 1)} the new model has a mean error of "
            f"{self.new_mre_mm:.2f} mm, the old one {self.old_mre_mm:.2f} mm (difference "
            f"{self.difference_mm:+.2f} mm"
        )
        text += (
            ")."
            if self.interval_mm is None
            else f", 95 % interval {self.interval_mm[0]:+.2f} to {self.interval_mm[1]:+.2f})."
        )
        if not self.better:
            return f"{text} WARNING: the new model is not better; keep the old one."
        if not self.sure:
            return f"{text} WARNING: so few scans do not show that it is better; evaluate both on more scans."
        return text

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as in `comparison.json`, in the log and in the provenance of the model."""
        return {
            "scans": self.scans,
            "landmarks": self.landmarks,
            "old_mre_mm": round(self.old_mre_mm, 4),
            "new_mre_mm": round(self.new_mre_mm, 4),
            "difference_mm": round(self.difference_mm, 4),
            "interval_mm": None if self.interval_mm is None else [round(value, 4) for value in self.interval_mm],
            "better": self.better,
            "sure": self.sure,
        }


def write_comparison(folder: Path, compared: Improvement) -> None:
    """Write `comparison.json` into the folder of a training; raises OutputError."""
    write_json(folder / COMPARISON_FILE, {"schema": SCHEMA, **compared.to_dict()})


def read_comparison(folder: Path) -> Improvement | None:
    """What a training has found against the model it began from; None where nothing was compared.

    Raises AnnotationError.
    """
    file = folder / COMPARISON_FILE
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        interval = content["interval_mm"]
        return Improvement(
            int(content["scans"]),
            int(content["landmarks"]),
            float(content["old_mre_mm"]),
            float(content["new_mre_mm"]),
            None if interval is None else (float(interval[0]), float(interval[1])),
        )
    except (OSError, KeyError, TypeError, ValueError, IndexError) as error:
        raise AnnotationError(f"'{file}' cannot be read ({error!r}); run the step again.") from error


def improvement(old: Sequence[CaseResult], new: Sequence[CaseResult]) -> Improvement | None:
    """Compare two models by results of the same scans in the same order (see `paired`)."""
    before, after = (np.array([radial_errors(r.subvoxel, r.truth) for r in results]) for results in (old, new))
    return paired(before, after)


def improvement_of_reports(old: Path, new: Path) -> Improvement | None:
    """Compare two models by their reports (folders that `evaluate` has written), on the scans that are in both.

    Raises ConfigurationError where a report cannot be read or has no errors by scan.
    """
    before, after = read_errors(old), read_errors(new)
    names = [name for name in before if name in after]
    return paired(np.array([before[name] for name in names]), np.array([after[name] for name in names]))


def paired(before: np.ndarray, after: np.ndarray) -> Improvement | None:
    """Compare errors (scans, n) mm landmark by landmark, NaN where one does not count.

    The interval is a percentile bootstrap of the paired differences over whole scans. None without any landmark.
    """
    if before.shape != after.shape:
        raise ConfigurationError("The two models have other landmarks; nothing can be compared.")
    both = np.isfinite(before) & np.isfinite(after)
    if not both.any():
        return None
    differences = np.where(both, after - before, np.nan)
    return Improvement(
        int(both.any(axis=1).sum()),
        int(both.sum()),
        float(before[both].mean()),
        float(after[both].mean()),
        bootstrap_interval(differences),
    )
