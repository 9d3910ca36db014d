"""The table of a detection in a scene: the state of every landmark, and who reviewed it when. No Qt."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import vtk

from ..core.anatomy import Anatomy
from ..core.detection import Detection, LandmarkEstimate, LandmarkState
from ..core.errors import AnnotationError

REVIEWER, REVIEWED_AT = "reviewer", "reviewed_at"
"""Columns that a review adds: initials and time (UTC), blank for a landmark that is not reviewed."""
MOVED_MM = 0.01
"""A point farther than this from where it was recorded was moved by somebody; files round to less."""
_COLUMNS = {
    "code": vtk.vtkStringArray,
    "name": vtk.vtkStringArray,
    "state": vtk.vtkStringArray,
    "by_rule": vtk.vtkIntArray,
    "confidence": vtk.vtkDoubleArray,
    "error_mm": vtk.vtkDoubleArray,
    "corrected": vtk.vtkIntArray,
    "reviewed": vtk.vtkIntArray,
}


def fill_states(states: Any, detection: Detection, anatomy: Anatomy) -> None:
    """Fill an empty table node: one row per landmark, in the order of the detection."""
    for name, array_class in _COLUMNS.items():
        column = array_class()
        column.SetName(name)
        for estimate in detection.landmarks:
            if name == "name":
                column.InsertNextValue(anatomy.landmark(estimate.code).name)
            elif array_class is vtk.vtkStringArray:
                column.InsertNextValue(estimate.code if name == "code" else estimate.state.value)
            else:
                column.InsertNextValue(getattr(estimate, name))
        states.AddColumn(column)
    states.SetUseColumnTitleAsColumnHeader(True)
    states.SetLocked(True)


def state_rows(states: Any | None) -> dict[str, dict[str, Any]]:
    """Cells of the table by code and column; empty without a table. Raises AnnotationError for lost columns."""
    if states is None:
        return {}
    table = states.GetTable()
    columns = {table.GetColumnName(index): table.GetColumn(index) for index in range(table.GetNumberOfColumns())}
    if not set(_COLUMNS) <= set(columns):
        raise AnnotationError(f"The table '{states.GetName()}' has lost columns of {', '.join(_COLUMNS)}.")
    readable = [*_COLUMNS, *(name for name in (REVIEWER, REVIEWED_AT) if name in columns)]
    rows = ({name: columns[name].GetValue(row) for name in readable} for row in range(table.GetNumberOfRows()))
    return {row["code"]: row for row in rows}


def write_state(states: Any, estimate: LandmarkEstimate, reviewer: str, reviewed_at: str) -> None:
    """Write the state of one landmark into its row, with initials and time of review (blank: not reviewed).

    Raises AnnotationError where the row is gone.
    """
    state_rows(states)  # says which columns are lost
    table = states.GetTable()
    codes = table.GetColumnByName("code")
    row = next((row for row in range(table.GetNumberOfRows()) if codes.GetValue(row) == estimate.code), None)
    if row is None:
        raise AnnotationError(f"The table '{states.GetName()}' has lost the row of {estimate.code}; delete the table.")
    for name in _COLUMNS:
        if name not in ("code", "name"):
            value = estimate.state.value if name == "state" else float(getattr(estimate, name))
            # A table that was loaded may hold its numbers in other types.
            table.GetColumnByName(name).SetVariantValue(row, vtk.vtkVariant(value))
    for name, text in ((REVIEWER, reviewer), (REVIEWED_AT, reviewed_at)):
        if table.GetColumnByName(name) is None:
            column = vtk.vtkStringArray()
            column.SetName(name)
            column.SetNumberOfValues(table.GetNumberOfRows())
            states.AddColumn(column)
        table.GetColumnByName(name).SetValue(row, text)
    table.Modified()
    states.Modified()


def with_table_state(
    estimate: LandmarkEstimate, row: dict[str, Any] | None, detected: tuple[float, float, float] | None
) -> LandmarkEstimate:
    """A point (world RAS mm) with the state of its row; `detected` is where it was when the row was written first.

    Where they contradict each other the person who placed, moved or removed the point was the last to act.
    """
    if row is None:
        return estimate
    try:
        state = LandmarkState(row["state"])
    except ValueError as error:
        raise AnnotationError(
            f"The table calls landmark '{estimate.code}' '{row['state']}', which is no state."
        ) from error
    placed_by_table = state in (LandmarkState.FOUND, LandmarkState.UNCERTAIN)
    placed = estimate.position is not None
    moved_on = placed != placed_by_table
    if moved_on:
        state = LandmarkState.FOUND if placed else estimate.state
    elif estimate.position is not None and detected is not None and not row["corrected"]:
        moved_on = math.dist(estimate.position, detected) > MOVED_MM
        state = LandmarkState.FOUND if moved_on else state
    return replace(
        estimate,
        state=state,
        by_rule=bool(row["by_rule"]),
        confidence=float(row["confidence"]),
        error_mm=float(row["error_mm"]),
        corrected=bool(row["corrected"]) or moved_on,
        reviewed=bool(row["reviewed"]),
    )
