"""Progress of long work as events, and three ways to show them: JSON lines, a terminal bar, plain lines."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol, TextIO

SCHEMA = "cow-progress/1"
END = "end"
"""Stage of the line that ends a job of the persistent worker (worker.py)."""
PROGRESS_SCHEMA_FILE = Path(__file__).parent.parent / "Resources" / "Schemas" / "progress.schema.json"


class EventKind(str, Enum):
    """What an event tells; the last event of a run is always RESULT or ERROR."""

    STAGE = "stage"
    PROGRESS = "progress"
    WARNING = "warning"
    RESULT = "result"
    ERROR = "error"


@dataclass(frozen=True)
class Event:
    """One step of the work; `fraction` is the part of the whole call that is done, in [0, 1].

    `scan` is the scan it is about, None for the call as a whole.
    """

    kind: EventKind
    message: str = ""
    stage: str | None = None
    fraction: float | None = None
    path: Path | None = None
    scan: str | None = None

    def sentence(self) -> str:
        """The message for people in one line, with the scan in front unless the message names it."""
        message = " ".join(self.message.splitlines())
        return message if self.scan is None or self.scan in message else f"{self.scan}: {message}"


class EventSink(Protocol):
    """Whoever shows, stores or forwards events."""

    def __call__(self, event: Event) -> None:
        """Take one event."""


class JsonLines:
    """Writes each event to `stream` as one line of JSON, and warnings and errors to `errors` as sentences too."""

    def __init__(self, stream: TextIO, errors: TextIO) -> None:
        self._stream = stream
        self._errors = errors

    def __call__(self, event: Event) -> None:
        """Write one line; plain ASCII, so that no console encoding can break it."""
        line: dict[str, str | float] = {"schema": SCHEMA, "event": event.kind.value}
        if event.stage is not None:
            line["stage"] = event.stage
        if event.fraction is not None:
            line["fraction"] = round(event.fraction, 4)
        line["message"] = event.message
        if event.path is not None:
            line["path"] = str(event.path)
        if event.scan is not None:
            line["scan"] = event.scan
        self._stream.write(json.dumps(line, ensure_ascii=True, allow_nan=False) + "\n")
        self._stream.flush()
        _write_trouble(self._errors, event)


class PlainLines:
    """One line per stage, warning, error and result: for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown: tuple[str | None, str | None] | None = None

    def __call__(self, event: Event) -> None:
        """Write a line if the event brings something new."""
        if event.kind in (EventKind.STAGE, EventKind.PROGRESS):
            if (event.scan, event.stage) != self._shown:
                self._shown = (event.scan, event.stage)
                self._stream.write(f"{event.scan or ''}: {event.message or event.stage}\n")
        elif event.kind is EventKind.RESULT:
            self._stream.write(f"{event.sentence()}\n")
        _write_trouble(self._stream, event)
        self._stream.flush()


class Bar:
    """A bar that is redrawn in place, with the scan and its stage; for a terminal."""

    WIDTH = 24
    REDRAW_SECONDS = 0.1

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn = 0
        self._last: tuple[float, str | None] = (0.0, None)

    def __call__(self, event: Event) -> None:
        """Redraw the bar, or take it away and write a line."""
        if event.kind in (EventKind.STAGE, EventKind.PROGRESS):
            self._draw(event)
            return
        self._clear()
        if event.kind is EventKind.RESULT:
            self._stream.write(f"{event.sentence()}\n")
        _write_trouble(self._stream, event)
        self._stream.flush()

    def _draw(self, event: Event) -> None:
        now, (before, stage) = time.monotonic(), self._last
        if event.stage == stage and now - before < self.REDRAW_SECONDS:
            return
        self._last = (now, event.stage)
        fraction = min(max(event.fraction or 0.0, 0.0), 1.0)
        filled = round(fraction * self.WIDTH)
        bar = "#" * filled + "." * (self.WIDTH - filled)
        text = f"[{bar}] {fraction:4.0%}  {event.scan or ''}: {event.message or event.stage or ''}"
        text = text[: shutil.get_terminal_size().columns - 1]
        self._stream.write("\r" + text.ljust(self._drawn))
        self._stream.flush()
        self._drawn = len(text)

    def _clear(self) -> None:
        if self._drawn:
            self._stream.write("\r" + " " * self._drawn + "\r")
            self._drawn = 0


def terminal_progress(stream: TextIO) -> EventSink:
    """A bar where `stream` is a terminal, plain lines otherwise."""
    return Bar(stream) if stream.isatty() else PlainLines(stream)


def _write_trouble(stream: TextIO, event: Event) -> None:
    if event.kind in (EventKind.WARNING, EventKind.ERROR):
        stream.write(f"{event.kind.value}: {event.sentence()}\n")
        stream.flush()
