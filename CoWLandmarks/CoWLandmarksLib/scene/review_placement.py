"""One click in a view sets a landmark anew: place mode for a control point that keeps index and label. No Qt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .review import Review


class Placement:
    """Puts Slicer into place mode for one landmark of a review.

    `on_end(code, placed)` is called when the point was set, or when place mode was left without (the point is then
    where it was before).
    """

    def __init__(self, review: Review, on_end: Callable[[str, bool], None]) -> None:
        self._review = review
        self._on_end = on_end
        self._observed: list[tuple[Any, int]] = []
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
        selection, interaction = self._singletons()
        selection.SetReferenceActivePlaceNodeClassName(markups.GetClassName())
        selection.SetActivePlaceNodeID(markups.GetID())
        interaction.SwitchToSinglePlaceMode()
        self.code = code
        self._observe(markups, markups.PointPositionDefinedEvent, self._on_defined)
        self._observe(interaction, interaction.InteractionModeChangedEvent, self._on_mode)

    def cancel(self) -> None:
        """Leave place mode and put the point back; nothing where no click is waited for."""
        if self.code is not None:
            self._end(placed=False)

    def _on_defined(self, *_: Any) -> None:
        markups, code = self._review.markups, self.code
        if code is None or self._review.changing:
            return
        if markups.GetNthControlPointPositionStatus(self._review.index(code)) == markups.PositionDefined:
            self._end(placed=True)

    def _on_mode(self, interaction: Any, *_: Any) -> None:
        if interaction.GetCurrentInteractionMode() != interaction.Place:
            self._end(placed=False)

    def _end(self, placed: bool) -> None:
        code, self.code = self.code, None
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        self._observed.clear()
        markups = self._review.markups
        if code is None or markups.GetScene() is None:
            return
        _selection, interaction = self._singletons()
        if placed:
            self._review.settle()
        else:
            self._review.restore_position(code)
        if interaction.GetCurrentInteractionMode() == interaction.Place:
            interaction.SwitchToViewTransformMode()
        self._on_end(code, placed)

    def _singletons(self) -> tuple[Any, Any]:
        scene = self._review.markups.GetScene()
        return (
            scene.GetNodeByID("vtkMRMLSelectionNodeSingleton"),
            scene.GetNodeByID("vtkMRMLInteractionNodeSingleton"),
        )

    def _observe(self, node: Any, event: int, method: Callable[..., None]) -> None:
        self._observed.append((node, node.AddObserver(event, method)))
