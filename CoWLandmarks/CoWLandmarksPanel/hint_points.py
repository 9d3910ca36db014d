"""A few landmarks that a person places to show the program where the circle of Willis is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from CoWLandmarksLib.scene.nodes import ATTRIBUTE, points_from_node
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

HINT_CODES = ("R-ICA-T", "L-ICA-T", "BA-T", "R-A1-A2")
"""Easy to find in slices, on both sides, and not on one line."""
FEWEST = 3
HINT = ATTRIBUTE + "hint"


class HintPoints(VTKObservationMixin):
    """The point list of hints of one volume; `onChanged` is called when a point was placed or moved."""

    def __init__(self, onChanged: Callable[[], None]) -> None:
        VTKObservationMixin.__init__(self)
        self._onChanged = onChanged
        self.node: Any | None = None

    def start(self, volumeNode: Any) -> None:
        """Make the list and let the user click its points one after the other."""
        self.discard()
        scene = volumeNode.GetScene()
        node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", _("Hint for") + f" {volumeNode.GetName()}")
        node.SetAttribute(HINT, "1")
        node.CreateDefaultDisplayNodes()
        for code in HINT_CODES:
            node.UnsetNthControlPointPosition(node.AddControlPoint((0.0, 0.0, 0.0), code))
        node.SetFixedNumberOfControlPoints(True)
        self.node = node
        for event in (node.PointPositionDefinedEvent, node.PointModifiedEvent, node.PointPositionUndefinedEvent):
            self.addObserver(node, event, self._changed)
        logic = slicer.modules.markups.logic()
        logic.SetActiveList(node)
        logic.StartPlaceMode(True)

    def placed(self) -> dict[str, tuple[float, float, float]]:
        """(R, A, S) mm of the points that were placed, by code."""
        if self.node is None or self.node.GetScene() is None:
            return {}
        return {point.label: point.position for point in points_from_node(self.node) if point.position is not None}

    def next(self) -> str | None:
        """Code of the point to click next; None when all are placed."""
        placed = self.placed()
        return next((code for code in HINT_CODES if code not in placed), None)

    def discard(self) -> None:
        """Take the list out of the scene."""
        self.removeObservers()
        node, self.node = self.node, None
        if node is not None and node.GetScene() is not None:
            node.GetScene().RemoveNode(node)

    def _changed(self, caller: Any = None, event: Any = None) -> None:
        self._onChanged()
