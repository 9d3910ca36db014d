"""The live log of a training, `log.jsonl`: one JSON object per line, followed while it is written."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from CoWLandmarksLib.core.atomic_files import plain, write_text

logger = logging.getLogger(__name__)

SCHEMA = "cow-training-log/1"
LOG_FILE = "log.jsonl"
LOG_SCHEMA_FILE = Path(__file__).parent.parent / "Resources" / "Schemas" / "training-log.schema.json"
_BYTES_AT_ONCE = 200_000


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


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
        int(entry["step"])
    except (ValueError, KeyError, TypeError):
        return None
    return entry if isinstance(entry, dict) else None
