"""One click in a view sets a landmark anew: place mode for a control point that keeps index and label. No Qt."""

from __future__ import annotations

from collections.abc import Callable

from .place_mode import PlaceMode
from .review import Review


class Placement:
    """Puts Slicer into place mode for one landmark of a review.

    `on_end(code, placed)` is called when the point was set, or when place mode was left without (the point is then
    where it was before).
    """

    def __init__(self, review: Review, on_end: Callable[[str, bool], None]) -> None:
        self._review = review
        self._on_end = on_end
        self._mode = PlaceMode()
        self.code: str | None = None
        """The landmark that waits for its click."""

    def start(self, code: str) -> None:
        """Wait for the click that places a landmark; one that is waited for already is broken off."""
        self.cancel()
        markups = self._review.markups
        index = self._review.index(code)
        self._review.lift(code)
        # Of a list with a fixed number of points, place mode takes the first from here on that has no position.
        markups.SetControlPointPlacementStartIndex(index)
        self._mode.enter(markups, self._on_defined, lambda: self._end(placed=False))
        self.code = code

    def cancel(self) -> None:
        """Leave place mode and put the point back; nothing where no click is waited for."""
        if self.code is not None:
            self._end(placed=False)

    def _on_defined(self) -> None:
        markups, code = self._review.markups, self.code
        if code is None or self._review.changing:
            return
        if markups.GetNthControlPointPositionStatus(self._review.index(code)) == markups.PositionDefined:
            self._end(placed=True)

    def _end(self, placed: bool) -> None:
        code, self.code = self.code, None
        self._mode.release()
        markups = self._review.markups
        if code is None or markups.GetScene() is None:
            return
        if placed:
            self._review.settle()
        else:
            self._review.restore_position(code)
        self._mode.leave()
        self._on_end(code, placed)
