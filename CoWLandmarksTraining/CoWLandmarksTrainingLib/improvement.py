"""Did a training help? The model it made against the one it began from, on the same scans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .evaluation import CaseResult
from .metrics import bootstrap_interval, radial_errors


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
        """Whether the interval lies wholly below zero."""
        return self.interval_mm is not None and self.interval_mm[1] < 0.0

    def sentence(self) -> str:
        """For people, with a plain warning where the new model is not shown to be better."""
        told = (
            f"On {self.scans} validation scan{'s' * (self.scans != 1)} the new model has a mean error of "
            f"{self.new_mre_mm:.2f} mm, the one it began from {self.old_mre_mm:.2f} mm (difference "
            f"{self.difference_mm:+.2f} mm"
        )
        told += (
            ")."
            if self.interval_mm is None
            else f", 95 % interval {self.interval_mm[0]:+.2f} to {self.interval_mm[1]:+.2f})."
        )
        if not self.better:
            return f"{told} WARNING: the new model is not better; keep the old one."
        if not self.sure:
            return f"{told} WARNING: so few scans do not show that it is better; evaluate both on more scans."
        return told

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the log and the provenance of the model."""
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


def improvement(old: Sequence[CaseResult], new: Sequence[CaseResult]) -> Improvement | None:
    """Compare two models landmark by landmark; `old` and `new` are results of the same scans in the same order.

    The interval is a percentile bootstrap of the paired differences over whole scans. None without any landmark.
    """
    before, after = (np.array([radial_errors(r.subvoxel, r.truth) for r in results]) for results in (old, new))
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
