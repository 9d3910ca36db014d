"""A smoke run: every row once at full size with a few steps and scans, before hours of a GPU are paid for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..records.aligned_folder import INSIDE, AlignedCase, AlignedCohort
from .comparison_cohort import CohortSpecification
from .comparison_rows import ComparisonRow
from .comparison_scale import ComparisonScale

SMOKE_STEPS = 3
"""Of each phase: the first ones are slow, the last one is taken for the estimate."""
_FEW = {"train": 10, "validation": 1, "test": 2, "unlabelled": 2, "sets": 8}


def smoke_scale(scale: ComparisonScale) -> ComparisonScale:
    """The same networks and crops with a few steps of each phase."""
    plan = replace(
        scale.plan,
        name=f"{scale.plan.name}-smoke",
        training=replace(scale.plan.training, validate_every=SMOKE_STEPS, log_seconds=0.0),
        fine=replace(scale.plan.fine, steps=SMOKE_STEPS),
    )
    return replace(scale, name=f"{scale.name}-smoke", plan=plan, phase_2_steps=SMOKE_STEPS)


def smoke_cohort(specification: CohortSpecification) -> CohortSpecification:
    """The first few cases of every kind."""
    few = {name: min(count, getattr(specification, name)) for name, count in _FEW.items()}
    return replace(specification, **few)


def few_cases(cohort: AlignedCohort) -> AlignedCohort:
    """The first few cases of every kind of a cohort of one's own."""
    kept: dict[str, list[AlignedCase]] = {name: [] for name in _FEW}
    for case in cohort.cases():
        unlabelled = case.split == "train" and not (case.status == INSIDE).any()
        kind = "unlabelled" if unlabelled else case.split if case.has_image else "sets"
        if len(kept[kind]) < _FEW[kind]:
            kept[kind].append(case)
    return replace(cohort, all_cases=tuple(case for each in kept.values() for case in each))


@dataclass
class StepTimes:
    """Seconds of the last step of every row, by its key, from what the trainer logs."""

    seconds: dict[str, float] = field(default_factory=dict)
    _last: dict[str, tuple[int, float]] = field(default_factory=dict)

    def take(self, key: str, entry: dict[str, Any]) -> None:
        """Take note of an entry of a row's log."""
        if "loss" not in entry:
            return
        step, seconds = int(entry["step"]), float(entry["seconds"])
        before = self._last.get(key)
        if before is not None and step > before[0]:
            self.seconds[key] = (seconds - before[1]) / (step - before[0])
        self._last[key] = (step, seconds)

    def hours(self, rows: Sequence[tuple[str, ComparisonRow]], scale: ComparisonScale) -> float:
        """Of all steps of rows (key, row) at a scale, as far as they were timed."""
        return sum(self.seconds.get(key, 0.0) * sum(row.steps(scale)) for key, row in rows) / 3600.0
