"""What was done to the landmarks of a detection, step by step, in a table of the scene. No Qt.

The table has one row per step, in the order in which they were made; the first step of a landmark is how it was
before anybody touched it. Positions are in the coordinates of the point list, so that they stay true when it is put
under a transform. What a person says of arteries has rows of its own, with the artery's code, its presence as the state
and its waypoints, one after the other, as the position.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import slicer
import vtk

from ..core.declaration import PRESENT, UNDECLARED, Declaration
from ..core.detection import LandmarkEstimate, LandmarkState
from ..core.errors import AnnotationError
from .nodes import ATTRIBUTE

HISTORY_ROLE = ATTRIBUTE + "history"
FIRST = "before the review"
"""Action of a landmark's first step."""
_TEXT_COLUMNS = ("code", "action", "position", "state", "reviewer", "time")
_FLAGS = ("by_rule", "corrected", "reviewed")
_NUMBERS = ("confidence", "error_mm")
_COLUMN_CLASS = {
    **dict.fromkeys(_TEXT_COLUMNS, vtk.vtkStringArray),
    **dict.fromkeys(_FLAGS, vtk.vtkIntArray),
    **dict.fromkeys(_NUMBERS, vtk.vtkDoubleArray),
}


@dataclass(frozen=True)
class Step:
    """One step: what was done (`action`), by whom and when (UTC), and how the landmark was after it.

    The position of `estimate` is in the coordinates of the point list; its note is not kept here.
    """

    action: str
    estimate: LandmarkEstimate
    reviewer: str = ""
    time: str = ""


@dataclass(frozen=True)
class ArteryStep:
    """One step of the artery with this code: what was said of it (`declaration`, None: nothing), by whom and when."""

    action: str
    code: str
    declaration: Declaration | None
    reviewer: str = ""
    time: str = ""


class History:
    """The steps of one detection; the table node is made when the first one is added."""

    def __init__(self, markups_node: Any) -> None:
        self._markups = markups_node

    def steps(self, code: str) -> tuple[Step, ...]:
        """All steps of a landmark, the first one first; raises AnnotationError for a damaged table."""
        node = self._node()
        if node is None:
            return ()
        return tuple(self._step(node, row) for row in self._rows(node, code))

    def artery_steps(self, code: str) -> tuple[ArteryStep, ...]:
        """All steps of an artery, the first one first; raises AnnotationError for a damaged table."""
        node = self._node()
        if node is None:
            return ()
        return tuple(self._artery_step(node, row) for row in self._rows(node, code))

    def add(self, step: Step) -> None:
        """Append a step of the landmark of its estimate."""
        position = step.estimate.position
        self._append(
            {
                "code": step.estimate.code,
                "action": step.action,
                "position": "" if position is None else _numbers(position),
                "state": step.estimate.state.value,
                "reviewer": step.reviewer,
                "time": step.time,
                **{name: int(getattr(step.estimate, name)) for name in _FLAGS},
                **{name: float(getattr(step.estimate, name)) for name in _NUMBERS},
            }
        )

    def add_artery(self, step: ArteryStep) -> None:
        """Append a step of an artery."""
        entry = step.declaration
        self._append(
            {
                "code": step.code,
                "action": step.action,
                "position": "" if entry is None else _numbers([v for point in entry.waypoints for v in point]),
                "state": UNDECLARED if entry is None else entry.text,
                "reviewer": step.reviewer,
                "time": step.time,
                **dict.fromkeys(_FLAGS, 0),
                **dict.fromkeys(_NUMBERS, 0.0),
            }
        )

    def _append(self, values: Mapping[str, str | int | float]) -> None:
        node = self._node() or self._new_node()
        row = node.GetTable().InsertNextBlankRow()
        for name, value in values.items():
            # A table that was loaded may hold its numbers in other types.
            self._column(node, name).SetVariantValue(row, vtk.vtkVariant(value))
        node.GetTable().Modified()

    def remove_last(self, code: str) -> None:
        """Take back the last step of a landmark or an artery; the first one stays."""
        node = self._node()
        if node is not None and len(rows := self._rows(node, code)) > 1:
            node.RemoveRow(rows[-1])

    def _node(self) -> Any | None:
        return self._markups.GetNodeReference(HISTORY_ROLE)

    def _new_node(self) -> Any:
        scene = self._markups.GetScene()
        node = scene.AddNewNodeByClass("vtkMRMLTableNode", f"{self._markups.GetName()} history")
        for name in _COLUMN_CLASS:
            column = _COLUMN_CLASS[name]()
            column.SetName(name)
            node.AddColumn(column)
        node.SetUseColumnTitleAsColumnHeader(True)
        node.SetLocked(True)
        self._markups.SetNodeReferenceID(HISTORY_ROLE, node.GetID())
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
        item = hierarchy.GetItemByDataNode(self._markups)
        if item != hierarchy.GetInvalidItemID():
            hierarchy.CreateItem(hierarchy.GetItemParent(item), node)
        return node

    def _rows(self, node: Any, code: str) -> list[int]:
        column = self._column(node, "code")
        return [row for row in range(node.GetNumberOfRows()) if column.GetValue(row) == code]

    def _step(self, node: Any, row: int) -> Step:
        value = {name: self._column(node, name).GetValue(row) for name in _COLUMN_CLASS}
        try:
            numbers = [float(number) for number in value["position"].split()]
            estimate = LandmarkEstimate(
                code=value["code"],
                position=(numbers[0], numbers[1], numbers[2]) if numbers else None,
                state=LandmarkState(value["state"]),
                confidence=float(value["confidence"]),
                error_mm=float(value["error_mm"]),
                by_rule=bool(value["by_rule"]),
                corrected=bool(value["corrected"]),
                reviewed=bool(value["reviewed"]),
            )
        except (ValueError, IndexError, AttributeError, TypeError, AnnotationError) as error:
            raise self._damaged(node) from error
        return Step(value["action"], estimate, value["reviewer"], value["time"])

    def _artery_step(self, node: Any, row: int) -> ArteryStep:
        value = {name: self._column(node, name).GetValue(row) for name in _TEXT_COLUMNS}
        try:
            declaration = None
            if value["state"] != UNDECLARED:
                numbers = [float(number) for number in value["position"].split()]
                points = tuple(zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True))
                declaration = Declaration(value["code"], value["state"] == PRESENT, points)
        except (ValueError, AttributeError, AnnotationError) as error:
            raise self._damaged(node) from error
        return ArteryStep(value["action"], value["code"], declaration, value["reviewer"], value["time"])

    def _column(self, node: Any, name: str) -> Any:
        column = node.GetTable().GetColumnByName(name)
        if column is None:
            raise self._damaged(node)
        return column

    def _damaged(self, node: Any) -> AnnotationError:
        return AnnotationError(
            f"The table '{node.GetName()}' is damaged, so nothing can be taken back; delete it to go on without."
        )


def _numbers(values: Sequence[float]) -> str:
    return " ".join(repr(float(value)) for value in values)
