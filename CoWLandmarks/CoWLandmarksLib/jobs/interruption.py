"""Ctrl-C and SIGTERM as a KeyboardInterrupt that comes at a safe moment and cannot get lost."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from .progress import Event, EventSink


class Interruption:
    """While it is entered, the first request to stop raises KeyboardInterrupt; more of them change nothing.

    Libraries may swallow an exception that hits them, and VTK may crash on it. So `deferred` code is left in
    peace until it (and all deferred code round it) ends, and `watching` event sinks raise again at the next event
    after a request. `last`: the process ends after the block, so that a later signal finds nothing to stop; it is
    ignored.
    """

    def __init__(self, *, last: bool = False) -> None:
        self._last = last
        self._requested = False
        self._deferring = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._on_signal)
        except ValueError:  # not the main thread: whoever embeds the program keeps its own handlers
            self._before.clear()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if self._last else handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Let the block end before a request is answered."""
        self._deferring += 1
        try:
            yield
        finally:
            self._deferring -= 1
        self.check()

    def check(self) -> None:
        """Raise KeyboardInterrupt if a stop was requested, unless code that is left in peace asks."""
        if self._requested and not self._deferring:
            raise KeyboardInterrupt

    def watching(self, events: EventSink) -> EventSink:
        """A sink that hands events on to `events`, unless a stop was requested."""

        def take(event: Event) -> None:
            self.check()
            events(event)

        return take

    def _on_signal(self, number: int, frame: object) -> None:
        if self._requested:
            return
        self._requested = True
        if not self._deferring:
            raise KeyboardInterrupt
