"""Work that an iterator does a little at a time, driven by a timer so that the application stays alive meanwhile."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

import qt
from CoWLandmarksLib.core.errors import CoWLandmarksError
from slicer.i18n import tr as _

logger = logging.getLogger(__name__)
SLICE_SECONDS = 0.03
"""At most so long in one go, plus one step."""


class Stepwise:
    """Takes the steps of one iterator of fractions; `onProgress` gets them, `onEnd` an error message or None."""

    def __init__(self, onProgress: Callable[[float], None], onEnd: Callable[[str | None], None]) -> None:
        self._onProgress = onProgress
        self._onEnd = onEnd
        self._steps: Iterator[float] | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(0)
        self._timer.connect("timeout()", self._advance)

    @property
    def running(self) -> bool:
        """Whether there is work left."""
        return self._steps is not None

    def start(self, steps: Iterator[float]) -> None:
        """Begin; what runs already is broken off."""
        self.cancel()
        self._steps = steps
        self._timer.start()

    def cancel(self) -> None:
        """Break the work off; it leaves nothing behind. `onEnd` is not called."""
        self._timer.stop()
        steps, self._steps = self._steps, None
        if steps is not None:
            steps.close()  # type: ignore[attr-defined]

    def _advance(self) -> None:
        if self._steps is None:
            return
        error = None
        try:
            end = time.monotonic() + SLICE_SECONDS
            for fraction in self._steps:
                if time.monotonic() > end:
                    self._onProgress(fraction)
                    return
        except CoWLandmarksError as problem:
            error = str(problem)
        except Exception as problem:  # whatever it is, the work has ended, and not well
            logger.exception("Work in steps failed.")
            error = _("This failed unexpectedly ({error}); the error log tells more.").format(
                error=f"{type(problem).__name__}: {problem}"
            )
        self.cancel()
        self._onEnd(error)
