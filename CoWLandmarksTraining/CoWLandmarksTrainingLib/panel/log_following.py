"""Following the logs of a training while it writes them: a little at a time, without torch."""

from __future__ import annotations

import json
import math
import statistics
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..config.settings import STAGE_NAMES

LOG_FILE = "log.jsonl"
_BYTES_AT_ONCE = 200_000
_LOOKED_BACK = 200
"""Entries among which the last figures are looked for; validations are rarer than other lines."""
_PACED = 5
"""So many last entries tell the pace, by their median: the first after a start or a validation tells another one."""


class FollowedLog:
    """The entries of one `log.jsonl`; `update` reads what is new and notices when the file was cut (a resumed
    training forgets what came after its checkpoint)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[dict[str, Any]] = []
        self._read = 0
        self._head = b""

    def update(self) -> bool:
        """Read on, at most 200 kB; returns whether there are other entries now than before."""
        try:
            with self.path.open("rb") as stream:
                head = stream.read(len(self._head))
                size = stream.seek(0, 2)
                cut = head != self._head or size < self._read or not self._ends_line(stream)
                if cut:
                    self.entries, self._read = [], 0
                stream.seek(self._read)
                block = stream.read(_BYTES_AT_ONCE)
        except OSError:
            gone = bool(self.entries)
            self.entries, self._read, self._head = [], 0, b""
            return gone
        whole = block[: block.rfind(b"\n") + 1]
        if self._read == 0:
            self._head = whole[:200]
        self._read += len(whole)
        new = [entry for line in whole.splitlines() if (entry := _parsed(line)) is not None]
        self.entries += new
        return cut or bool(new)

    def _ends_line(self, stream: Any) -> bool:
        """Whether what was read last still ends a line: not so after the file was written anew with other lengths."""
        if self._read == 0:
            return True
        stream.seek(self._read - 1)
        return bool(stream.read(1) == b"\n")


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
    """The settings that a training was begun with (`plan.json`); None before it has begun, or of another version."""
    try:
        plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))["plan"]
        planned_parts(plan)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(plan)


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


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
        int(entry["step"])
    except (ValueError, KeyError, TypeError):
        return None
    return entry if isinstance(entry, dict) else None
