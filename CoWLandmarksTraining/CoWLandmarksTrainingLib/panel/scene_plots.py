"""Curves of a training and errors of an evaluation as table and plot nodes in a MRML scene. No Qt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from .log_following import FollowedTraining

ROLE = "CoWLandmarksTraining.Role"
LOSS, VALIDATION, DISCRIMINATOR, LANDMARKS = "loss", "validation", "discriminator", "landmark errors"
_BLUE, _ORANGE, _PURPLE, _GREEN = (0.12, 0.47, 0.71), (0.90, 0.45, 0.0), (0.55, 0.25, 0.65), (0.15, 0.55, 0.3)
_RED = (0.75, 0.15, 0.2)
_STEP = "step"
_ROUNDING = 1e-6
"""Share by which a range may differ from what was set: the view hands logarithms on, the node ten digits."""
Range = tuple[float, float]
Curve = Sequence[tuple[float, float]]
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class CurveKind:
    """One curve: its chart, its name, which stage's log it comes from, and the value of an entry (None: none)."""

    chart: str
    name: str
    stage: str
    value: Callable[[Mapping[str, Any]], Any]
    colour: Colour


def _of_phase(phase: int) -> Callable[[Mapping[str, Any]], Any]:
    return lambda entry: entry.get("loss") if entry.get("phase", 1) == phase else None


def _validation(entry: Mapping[str, Any]) -> Any:
    return (entry.get("validation") or {}).get("mre_mm")


def _curves(stage: str, colour: Colour, adversarial: Colour) -> tuple[CurveKind, ...]:
    accuracy = "discriminator_accuracy"
    return (
        CurveKind(LOSS, f"{stage} network", stage, _of_phase(1), colour),
        CurveKind(LOSS, f"{stage} network, adversarial", stage, _of_phase(2), adversarial),
        CurveKind(VALIDATION, f"{stage} network (mm)", stage, _validation, colour),
        CurveKind(DISCRIMINATOR, f"{stage} network: accuracy", stage, lambda entry: entry.get(accuracy), adversarial),
    )


CURVES = (
    *_curves("coarse", _GREEN, _GREEN),
    *_curves("circle", _PURPLE, _RED),
    *_curves("fine", _BLUE, _ORANGE),
)
_CHARTS = {
    LOSS: ("CoW training: loss", "heatmap loss (Eq. 2)", True),
    VALIDATION: ("CoW training: validation", "mean radial error (mm)", False),
    DISCRIMINATOR: ("CoW training: discriminator", "share judged right", False),
}


class TrainingCurves:
    """The curves of one training in a scene; their nodes are made with the first values, and again after the scene
    was closed.

    A plot view does not refit its axes while a table grows, so the charts say their ranges. The view writes what a
    person zooms or moves into the same place: a chart that does not show all of its curves any more is left as it is.
    """

    def __init__(self, scene: Any) -> None:
        self._scene = scene

    def update(self, training: FollowedTraining) -> None:
        """Bring all nodes up to date; the axes follow where all curves were in sight."""
        following = [which for which in _CHARTS if (chart := self.chart(which)) is None or _all_in_sight(chart)]
        for kind in CURVES:
            curve = curve_of(kind, training)
            chart = self.chart(kind.chart)
            series = _node(self._scene, "vtkMRMLPlotSeriesNode", f"{kind.chart}: {kind.name}")
            if not curve:
                if series is not None:
                    _remove_curve(self._scene, chart, series)
                continue
            chart = chart or _new_chart(self._scene, kind.chart)
            series = series or _new_series(self._scene, chart, kind)
            series.GetTableNode().SetAndObserveTable(_curve_table(curve, kind.name))
        for which in following:
            self.fit(which)

    def fit(self, which: str) -> None:
        """Bring all of a chart's curves in sight."""
        chart = self.chart(which)
        extent = None if chart is None else _extent(chart)
        if chart is not None and extent is not None:
            (_first, last), (low, high) = extent
            y_range = (low / 1.2, high * 1.2) if chart.GetYAxisLogScale() else (min(0.0, low), 1.05 * high)
            _set_ranges(chart, (0.0, 1.02 * last), y_range)

    def chart(self, which: str) -> Any | None:
        """The chart LOSS, VALIDATION or DISCRIMINATOR; None where there is nothing to show."""
        return _node(self._scene, "vtkMRMLPlotChartNode", which)

    def clear(self) -> None:
        """Take everything out of the scene, for the curves of another training."""
        for kind in CURVES:
            series = _node(self._scene, "vtkMRMLPlotSeriesNode", f"{kind.chart}: {kind.name}")
            if series is not None:
                _remove_curve(self._scene, self.chart(kind.chart), series)
        for which in _CHARTS:
            chart = self.chart(which)
            if chart is not None:
                self._scene.RemoveNode(chart)


def curve_of(kind: CurveKind, training: FollowedTraining) -> list[tuple[float, float]]:
    """(step, value) of one curve."""
    points = []
    for entry in training.logs[kind.stage].entries:
        value = kind.value(entry)
        if isinstance(value, int | float):
            points.append((float(entry["step"]), float(value)))
    return points


def add_landmark_errors(scene: Any, per_landmark: Mapping[str, Mapping[str, Any]], title: str) -> Any:
    """Table and bar chart of the errors of every landmark (`per_landmark` of evaluation.json); returns the chart.

    What an earlier evaluation left is replaced.
    """
    chart = _node(scene, "vtkMRMLPlotChartNode", LANDMARKS)
    series = _node(scene, "vtkMRMLPlotSeriesNode", LANDMARKS)
    if series is None:
        table_node = _add(scene, "vtkMRMLTableNode", LANDMARKS, "CoW evaluation: errors of the landmarks")
        series = _add(scene, "vtkMRMLPlotSeriesNode", LANDMARKS, "mean radial error (mm)")
        series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeBar)
        series.SetAndObserveTableNodeID(table_node.GetID())
        series.SetLabelColumnName("landmark")
        series.SetYColumnName("mean error (mm)")
        series.SetColor(*_BLUE)
    table = vtk.vtkTable()
    table.AddColumn(_column("landmark", list(per_landmark), vtk.vtkStringArray))
    for name, key in (("mean error (mm)", "mre_mm"), ("median error (mm)", "median_mm"), ("scans", "n")):
        values = [float(row[key]) if row.get(key) is not None else 0.0 for row in per_landmark.values()]
        table.AddColumn(_column(name, values))
    series.GetTableNode().SetAndObserveTable(table)
    series.GetTableNode().SetUseColumnTitleAsColumnHeader(True)
    if chart is None:
        chart = _add(scene, "vtkMRMLPlotChartNode", LANDMARKS, "CoW evaluation")
        chart.SetXAxisTitle("landmark")
        chart.SetYAxisTitle("mean radial error (mm)")
        chart.SetLegendVisibility(False)
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
    chart.SetTitle(title)
    highest = max((float(row["mre_mm"] or 0.0) for row in per_landmark.values()), default=0.0)
    _set_ranges(chart, (-1.0, float(len(per_landmark))), (0.0, 1.05 * highest))
    return chart


def _extent(chart: Any) -> tuple[Range, Range] | None:
    """From where to where the points of a chart reach, of those that its axes can show; None where there are none."""
    points = []
    for number in range(chart.GetNumberOfPlotSeriesNodes()):
        series = chart.GetNthPlotSeriesNode(number)
        table_node = None if series is None else series.GetTableNode()
        if table_node is not None and table_node.GetTable().GetNumberOfColumns() == 2:
            table = table_node.GetTable()
            points.append(np.stack([vtk_to_numpy(table.GetColumn(column)) for column in (0, 1)], axis=1))
    shown = np.concatenate(points) if points else np.empty((0, 2))
    shown = shown[np.isfinite(shown).all(axis=1)]
    if chart.GetYAxisLogScale():
        shown = shown[shown[:, 1] > 0]
    if not len(shown):
        return None
    low, high = shown.min(axis=0).tolist(), shown.max(axis=0).tolist()
    return (low[0], high[0]), (low[1], high[1])


def _all_in_sight(chart: Any) -> bool:
    """Whether the ranges of a chart hold all of its points."""
    extent = _extent(chart)
    if extent is None or chart.GetXAxisRangeAuto() or chart.GetYAxisRangeAuto():
        return True
    return all(
        shown[0] <= low + _ROUNDING * abs(low) and high - _ROUNDING * abs(high) <= shown[1]
        for (low, high), shown in zip(extent, (chart.GetXAxisRange(), chart.GetYAxisRange()), strict=True)
    )


def _set_ranges(chart: Any, x_range: Range, y_range: Range) -> None:
    """Fix what the axes show; a range without width becomes one."""
    before = chart.StartModify()
    chart.SetXAxisRangeAuto(False)
    chart.SetYAxisRangeAuto(False)
    chart.SetXAxisRange(x_range[0], x_range[1] if x_range[1] > x_range[0] else x_range[0] + 1.0)
    chart.SetYAxisRange(y_range[0], y_range[1] if y_range[1] > y_range[0] else y_range[0] + 1.0)
    chart.EndModify(before)


def _new_chart(scene: Any, which: str) -> Any:
    title, axis, logarithmic = _CHARTS[which]
    chart = _add(scene, "vtkMRMLPlotChartNode", which, title)
    chart.SetTitle(title)
    chart.SetXAxisTitle(_STEP)
    chart.SetYAxisTitle(axis)
    chart.SetYAxisLogScale(logarithmic)
    return chart


def _new_series(scene: Any, chart: Any, kind: CurveKind) -> Any:
    role = f"{kind.chart}: {kind.name}"
    table_node = _add(scene, "vtkMRMLTableNode", role, f"CoW {role}")
    table_node.SetUseColumnTitleAsColumnHeader(True)
    series = _add(scene, "vtkMRMLPlotSeriesNode", role, kind.name)
    table_node.SetAndObserveTable(_curve_table([(0.0, 0.0)], kind.name))
    series.SetAndObserveTableNodeID(table_node.GetID())
    series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
    series.SetXColumnName(_STEP)
    series.SetYColumnName(kind.name)
    series.SetColor(*kind.colour)
    series.SetLineWidth(2.0)
    # A curve of a single value is a point.
    series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleCircle)
    series.SetMarkerSize(4.0)
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    return series


def _remove_curve(scene: Any, chart: Any | None, series: Any) -> None:
    table_node = series.GetTableNode()
    if chart is not None:
        chart.RemovePlotSeriesNodeID(series.GetID())
    scene.RemoveNode(series)
    if table_node is not None:
        scene.RemoveNode(table_node)


def _curve_table(curve: Curve, name: str) -> Any:
    table = vtk.vtkTable()
    for title, values in zip((_STEP, name), np.array(curve, float).T, strict=True):
        column = numpy_to_vtk(np.ascontiguousarray(values), deep=True)  # much quicker than one value at a time
        column.SetName(title)
        table.AddColumn(column)
    return table


def _column(name: str, values: Sequence[Any], kind: Any = vtk.vtkDoubleArray) -> Any:
    column = kind()
    column.SetName(name)
    for value in values:
        column.InsertNextValue(value)
    return column


def _add(scene: Any, class_name: str, role: str, name: str) -> Any:
    node = scene.AddNewNodeByClass(class_name, scene.GenerateUniqueName(name))
    node.SetAttribute(ROLE, role)
    return node


def _node(scene: Any, class_name: str, role: str) -> Any | None:
    for number in range(scene.GetNumberOfNodesByClass(class_name)):
        node = scene.GetNthNodeByClass(number, class_name)
        if node.GetAttribute(ROLE) == role:
            return node
    return None
