"""One click in a view gives a point that an artery leads through: place mode for a point list of its own. No Qt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.declaration import Position
from .place_mode import PlaceMode


class WaypointPlacement:
    """Puts Slicer into place mode for one point.

    `on_end(code, position)` is called with world RAS mm when it was set, with None when place mode was left without.
    The list of the point stays hidden until `discard`, because its widget still works on it when the point is set.
    """

    def __init__(self, on_end: Callable[[str, Position | None], None]) -> None:
        self._on_end = on_end
        self._node: Any | None = None
        self._mode = PlaceMode()
        self.code: str | None = None
        """The artery that waits for its click."""

    def start(self, code: str, scene: Any) -> None:
        """Wait for the click that leads an artery; one that is waited for already is broken off."""
        self.cancel()
        self.discard()
        node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", f"{code} waypoint")
        node.SetSaveWithScene(False)
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetSaveWithScene(False)
        node.UnsetNthControlPointPosition(node.AddControlPoint((0.0, 0.0, 0.0), code))
        node.SetFixedNumberOfControlPoints(True)
        self._mode.enter(node, self._on_defined, lambda: self._end(None))
        self._node, self.code = node, code

    def cancel(self) -> None:
        """Leave place mode without a point; nothing where no click is waited for."""
        if self.code is not None:
            self._end(None)

    def discard(self) -> None:
        """Take the list out of the scene; to be called when no click is being worked on."""
        node, self._node = self._node, None
        if node is not None and node.GetScene() is not None:
            node.GetScene().RemoveNode(node)

    def _on_defined(self) -> None:
        node = self._node
        if node is not None and node.GetNthControlPointPositionStatus(0) == node.PositionDefined:
            r, a, s = node.GetNthControlPointPositionWorld(0)
            self._end((r, a, s))

    def _end(self, position: Position | None) -> None:
        code, self.code = self.code, None
        self._mode.release()
        node = self._node
        if code is None or node is None or node.GetScene() is None:
            return
        node.SetDisplayVisibility(False)
        self._mode.leave()
        self._on_end(code, position)
