"""Slicer's place mode, waiting for one click that gives a control point its position. No Qt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class PlaceMode:
    """Place mode for one point of a list; whoever enters it leaves it when the point is set or the wait is over."""

    def __init__(self) -> None:
        self._observed: list[tuple[Any, int]] = []
        self._interaction: Any | None = None

    def enter(self, node: Any, on_defined: Callable[[], None], on_left: Callable[[], None]) -> None:
        """Wait for a click that places a point of `node`, a point list in a scene.

        `on_defined` is called whenever a point of it has got a position, `on_left` when somebody else left place mode.
        """
        scene = node.GetScene()
        selection = scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
        interaction = scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        selection.SetReferenceActivePlaceNodeClassName(node.GetClassName())
        selection.SetActivePlaceNodeID(node.GetID())
        interaction.SwitchToSinglePlaceMode()

        def on_mode(*_: Any) -> None:
            if interaction.GetCurrentInteractionMode() != interaction.Place:
                on_left()

        self._interaction = interaction
        self._observe(node, node.PointPositionDefinedEvent, lambda *_: on_defined())
        self._observe(interaction, interaction.InteractionModeChangedEvent, on_mode)

    def release(self) -> None:
        """Call nothing any more."""
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        self._observed.clear()

    def leave(self) -> None:
        """Go back to the usual mode of the mouse, if it is still place mode."""
        interaction = self._interaction
        if interaction is not None and interaction.GetCurrentInteractionMode() == interaction.Place:
            interaction.SwitchToViewTransformMode()

    def _observe(self, node: Any, event: int, method: Callable[..., None]) -> None:
        self._observed.append((node, node.AddObserver(event, method)))
