"""How far a training is, by its plan and by the logs that it writes, without torch."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from CoWLandmarksLib.core.errors import ConfigurationError

from ..config.settings import STAGE_NAMES
from ..records.training_folder import read_plan
from ..records.training_log import LOG_FILE, FollowedLog

_LOOKED_BACK = 200
"""Entries among which the last figures are looked for; validations are rarer than other lines."""
_PACED = 5
"""So many last entries tell the pace, by their median: the first after a start or a validation tells another one."""


@dataclass(frozen=True)
class Part:
    """One phase of a stage and how far it is: `step` of `steps` (0: not begun), after the first `before` steps of the
    stage, with its last figures.

    `steps` 0: the network stays as it began. `limit_seconds` is the time after which the schedule of the stage ends,
    `seconds` what it has used; `seconds_per_step` is None as long as it is not known.
    """

    stage: str
    phase: int
    before: int
    steps: int
    limit_seconds: float = math.inf
    step: int = 0
    seconds: float = 0.0
    seconds_per_step: float | None = None
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether all its steps are made, or its time is over."""
        return self.step >= self.steps or self.seconds >= self.limit_seconds

    def seconds_left(self, seconds_per_step: float) -> float:
        """Until it is done, at a pace."""
        return 0.0 if self.done else min((self.steps - self.step) * seconds_per_step, self.limit_seconds - self.seconds)


def current_part(parts: Sequence[Part]) -> Part | None:
    """The part at work: the first that is not done; None when all are."""
    return next((part for part in parts if not part.done), None)


def planned_parts(plan: Mapping[str, Any]) -> tuple[Part, ...]:
    """The parts of a training with the settings `plan`, in their order; raises KeyError, TypeError, ValueError."""
    parts = []
    for stage in plan["training"]["stages"]:
        own = plan[stage]
        steps, adversarial = int(own["steps"]), int(own["adversarial_steps"])
        limit = 60.0 * float(own["minutes"]) or math.inf
        if steps or not adversarial:
            parts.append(Part(stage, 1, 0, steps, limit))
        if adversarial:
            parts.append(Part(stage, 2, steps, adversarial, limit))
    return tuple(parts)


def begun_plan(folder: Path) -> dict[str, Any] | None:
    """The settings that a training was begun with; None before it has begun, or of another version."""
    try:
        content = read_plan(folder)
        if content is None:
            return None
        planned_parts(content["plan"])
    except (ConfigurationError, ValueError, KeyError, TypeError):
        return None
    return dict(content["plan"])


class FollowedTraining:
    """The logs of all stages in an output folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = {stage: FollowedLog(folder / stage / LOG_FILE) for stage in STAGE_NAMES}

    def update(self) -> bool:
        """Read on; returns whether anything changed."""
        return True in [log.update() for log in self.logs.values()]

    def progress(self, planned: Sequence[Part]) -> tuple[Part, ...]:
        """How far each of the parts is that were planned."""
        parts = [self._followed(part) for part in planned]
        # The last step need not have a line of its own, as where time was up: what comes after tells that it was made.
        begun = max((number for number, part in enumerate(parts) if part.step), default=0)
        return tuple(replace(part, step=part.steps) if number < begun else part for number, part in enumerate(parts))

    def _followed(self, part: Part) -> Part:
        entries = self.logs[part.stage].entries
        first, last = (_entries_until(entries, step) for step in (part.before, part.before + part.steps))
        figures: dict[str, float] = {}
        for entry in entries[max(first, last - _LOOKED_BACK) : last]:
            figures |= _figures(entry)
        return replace(
            part,
            step=int(entries[last - 1]["step"]) - part.before if last > first else 0,
            seconds=max((_number(entry, "seconds") for entry in entries[-_LOOKED_BACK:]), default=0.0),
            seconds_per_step=_pace(entries[max(first, last - _LOOKED_BACK) : last]),
            figures=figures,
        )


def _entries_until(entries: Sequence[Mapping[str, Any]], step: int) -> int:
    return bisect_right(entries, step, key=lambda entry: int(entry["step"]))


def _pace(entries: Sequence[Mapping[str, Any]]) -> float | None:
    """Seconds per step; the first step of all waits until the work has begun, and does not count."""
    known = [_number(entry, "seconds_per_step") for entry in entries if int(entry["step"]) > 1]
    known = [seconds for seconds in known if seconds > 0.0]
    return statistics.median(known[-_PACED:]) if known else None


def _figures(entry: Mapping[str, Any]) -> dict[str, float]:
    values = {**entry, **(entry.get("validation") or {})}
    wanted = ("loss", "mre_mm", "discriminator_accuracy")
    return {name: float(values[name]) for name in wanted if isinstance(values.get(name), int | float)}


def _number(entry: Mapping[str, Any], name: str) -> float:
    value = entry.get(name)
    return float(value) if isinstance(value, int | float) else 0.0
