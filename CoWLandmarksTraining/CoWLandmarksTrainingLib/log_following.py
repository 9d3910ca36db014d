"""Following the logs of a training while it writes them: a little at a time, without torch."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NETWORKS = ("coarse", "fine")
LOG_FILE = "log.jsonl"
_BYTES_AT_ONCE = 200_000
_LOOKED_BACK = 200
"""Entries among which the last figures are looked for; validations are rarer than other lines."""


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


@dataclass
class Phase:
    """How far one part of the training is: `step` of `steps` (0: not begun), with its last figures."""

    step: int = 0
    steps: int = 0
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether all its steps are made."""
        return self.steps > 0 and self.step >= self.steps


@dataclass
class Progress:
    """The coarse network and the two phases of the fine one."""

    coarse: Phase
    pretraining: Phase
    adversarial: Phase

    @property
    def current(self) -> Phase | None:
        """The part at work: the first with steps left; None when all are made."""
        parts = (self.coarse, self.pretraining, self.adversarial)
        return next((part for part in parts if part.steps and not part.done), None)


@dataclass(frozen=True)
class PlannedSteps:
    """The steps that a training was begun with, and after how many of them figures come (None: not known)."""

    pretraining: int
    adversarial: int
    coarse: int
    between_figures: int | None = None


class FollowedTraining:
    """Both logs of an output folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = {network: FollowedLog(folder / network / LOG_FILE) for network in NETWORKS}

    def update(self) -> bool:
        """Read on; returns whether anything changed."""
        return True in [log.update() for log in self.logs.values()]

    def progress(self, planned: PlannedSteps) -> Progress:
        """How far each part is, of the steps that were planned."""
        pretrain_steps = planned.pretraining
        coarse, fine = self.logs["coarse"].entries, self.logs["fine"].entries
        border = bisect_right(fine, pretrain_steps, key=lambda entry: entry["step"])
        parts = Progress(
            _phase(coarse, 0, planned.coarse),
            _phase(fine[max(0, border - _LOOKED_BACK) : border], 0, pretrain_steps),
            _phase(fine[max(border, len(fine) - _LOOKED_BACK) :], pretrain_steps, planned.adversarial),
        )
        # The last steps of a part need not have a line of their own: what comes after tells that they were made.
        if fine:
            parts.coarse.step = planned.coarse
        if parts.adversarial.step:
            parts.pretraining.step = pretrain_steps
        return parts


def _phase(entries: Sequence[dict[str, Any]], before: int, steps: int) -> Phase:
    """A part whose steps are counted from `before`, by its last entries."""
    phase = Phase(steps=steps)
    for entry in entries[-_LOOKED_BACK:]:
        phase.step = min(max(phase.step, int(entry["step"]) - before), steps)
        phase.figures |= _figures(entry)
    return phase


def planned_steps(folder: Path) -> PlannedSteps | None:
    """The steps that a training was begun with (`plan.json`); None before it has begun."""
    try:
        plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))["plan"]
        training = plan["training"]
        every = training.get("log_every")
        return PlannedSteps(
            pretraining=int(training["pretrain_steps"]),
            adversarial=int(training["adversarial_steps"]),
            coarse=int(plan["coarse"]["steps"]),
            between_figures=every if isinstance(every, int) else None,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _figures(entry: dict[str, Any]) -> dict[str, float]:
    values = {**entry, **(entry.get("validation") or {})}
    wanted = ("loss", "mre_mm", "discriminator_accuracy", "lambda_adv", "seconds_per_step")
    return {name: float(values[name]) for name in wanted if isinstance(values.get(name), int | float)}


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
        int(entry["step"])
    except (ValueError, KeyError, TypeError):
        return None
    return entry if isinstance(entry, dict) else None
