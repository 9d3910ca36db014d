"""The live log of a training: one JSON object per line."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import torch
from CoWLandmarksLib.core.atomic_files import plain, write_text

logger = logging.getLogger(__name__)

SCHEMA = "cow-training-log/1"
LOG_SCHEMA_FILE = Path(__file__).parent.parent / "Resources" / "Schemas" / "training-log.schema.json"


class TrainingLog:
    """Appends entries to `log.jsonl` in a folder; a process that does not write the files has `path` None."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._broken = False

    def append(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Write one entry; returns it with its schema. Where it cannot be written that is warned of once."""
        line = {"schema": SCHEMA, **entry}
        if self.path is not None:
            # After an entry that could not be written, or in part, the next one begins a line of its own.
            text = "\n" * self._broken + json.dumps(plain(line), allow_nan=False) + "\n"
            try:
                with self.path.open("a", encoding="utf-8") as stream:
                    stream.write(text)
            except OSError as error:
                if not self._broken:
                    logger.warning("'%s' cannot be written (%s); training goes on.", self.path, error.strerror or error)
                self._broken = True
            else:
                self._broken = False
        return line

    def cut_after(self, step: int) -> None:
        """Forget what was written after the checkpoint of `step` (and a last line that was cut short)."""
        if self.path is None or not self.path.exists():
            return
        kept = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                if int(json.loads(line)["step"]) <= step:
                    kept.append(line)
            except (ValueError, KeyError, TypeError):
                continue
        write_text(self.path, "".join(f"{line}\n" for line in kept))


def memory_mb(device: torch.device) -> float | None:
    """Largest memory used so far in MB: of the graphics card, or of this process where the system tells it."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024.0
    return None
