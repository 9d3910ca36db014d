"""The section "Compare": two annotations of one scan, landmark by landmark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.core.comparison import Comparison, write_comparison_csv
from CoWLandmarksLib.core.detection import Verdict
from CoWLandmarksLib.core.errors import CoWLandmarksError
from CoWLandmarksLib.scene.comparison_table import add_comparison, compare_nodes
from CoWLandmarksLib.scene.nodes import detection_nodes
from CoWLandmarksLib.scene.results import result_texts
from slicer.i18n import tr as _

from .panel_widgets import compactRows, loadedInto
from .review_table import shortName

FAR_COLOUR = "#c66a00"
"""Of distances larger than what two annotators usually differ by, and of states that differ."""


class ComparePanel:
    """Shows the comparison, adds it to the scene as a table, and saves it as a file."""

    def __init__(self, parentWidget: Any, anatomy: Anatomy) -> None:
        self.ui = loadedInto(parentWidget, "Compare")
        self._anatomy = anatomy
        self._comparison: Comparison | None = None
        self._detection: Any | None = None
        ui = self.ui
        header = compactRows(ui.compareTable)
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
        ui.compareFileEdit.filters = ctk.ctkPathLineEdit.Files | ctk.ctkPathLineEdit.Writable
        ui.compareFileEdit.nameFilters = ["Table (*.csv)"]
        for selector in (ui.firstComboBox, ui.secondComboBox):
            selector.connect("currentNodeChanged(vtkMRMLNode*)", self._onChoice)
        ui.compareButton.connect("clicked(bool)", self._onCompare)
        ui.saveButton.connect("clicked(bool)", self._onSave)
        self._show(None)

    def setDetection(self, markupsNode: Any | None) -> None:
        """Offer this detection as the first annotation, and another one of the scene as the second."""
        ui = self.ui
        known, self._detection = self._detection, markupsNode
        if markupsNode is None or markupsNode is known or markupsNode.GetScene() is None:
            return  # the user's own choice stays
        ui.firstComboBox.setCurrentNode(markupsNode)
        if ui.secondComboBox.currentNode() in (None, markupsNode):
            others = [node for node in detection_nodes(markupsNode.GetScene()) if node is not markupsNode]
            ui.secondComboBox.setCurrentNode(others[0] if others else None)

    def check(self, given: Any, detected: Any) -> str:
        """Compare given landmarks with those that were detected on the same scan; returns what is to be said of it."""
        self.ui.firstComboBox.setCurrentNode(given)
        self.ui.secondComboBox.setCurrentNode(detected)
        self._onCompare()
        comparison = self._comparison
        if comparison is None:
            return str(self.ui.compareLabel.text)
        parts = [_("Checked against the scan: {summary}").format(summary=comparison.summary())]
        if result_texts(detected).verdict is Verdict.DO_NOT_TRUST:
            parts.insert(0, _("The detector does not trust its own points on this scan; the distances say little."))
        if comparison.farthest():
            parts.append(_("Farther apart than two annotators usually are: {far}.").format(far=comparison.farthest()))
        parts.append(
            _("All distances are in Compare; the detected points are kept as '{name}', hidden.").format(
                name=detected.GetName()
            )
        )
        return "\n".join(parts)

    def cleanup(self) -> None:
        """Forget the comparison."""
        self._detection = None
        self._show(None)

    def _onChoice(self, node: Any = None) -> None:
        self._show(None)

    def _onCompare(self, checked: bool = False) -> None:
        first, second = self.ui.firstComboBox.currentNode(), self.ui.secondComboBox.currentNode()
        try:
            comparison = compare_nodes(first, second, self._anatomy)
            add_comparison(slicer.mrmlScene, comparison, first)
        except CoWLandmarksError as error:
            self._show(None)
            self.ui.compareLabel.text = str(error)
            return
        self._show(comparison)

    def _show(self, comparison: Comparison | None) -> None:
        ui = self.ui
        self._comparison = comparison
        ui.compareButton.enabled = None not in (ui.firstComboBox.currentNode(), ui.secondComboBox.currentNode())
        for widget in (ui.compareTable, ui.saveFrame):
            widget.visible = comparison is not None
        if comparison is None:
            ui.compareLabel.text = _("Choose two annotations of one scan, for example of two annotators.")
            return
        ui.compareLabel.text = comparison.summary()
        table = ui.compareTable
        table.setRowCount(len(comparison.landmarks))
        for number, row in enumerate(comparison.landmarks):
            distance = "" if row.distance_mm is None else f"{row.distance_mm:.1f}"
            cells = (shortName(row.code, row.name), _(row.first), _(row.second), distance, f"{row.expected_mm:.1f}")
            for column, text in enumerate(cells):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(f"{row.code}: {row.name}")
                if column > 2:
                    item.setTextAlignment(int(qt.Qt.AlignRight | qt.Qt.AlignVCenter))
                differ = row.annotated and not row.same_state
                if (column == 3 and row.far) or (column in (1, 2) and differ):
                    item.setForeground(qt.QBrush(qt.QColor(FAR_COLOUR)))
                table.setItem(number, column, item)

    def _onSave(self, checked: bool = False) -> None:
        ui = self.ui
        text = ui.compareFileEdit.currentPath.strip()
        if self._comparison is None:
            return
        if not text:
            ui.compareLabel.text = _("Choose a file for the table.")
            return
        path = Path(text if text.lower().endswith(".csv") else f"{text}.csv")
        question = _("Replace {files}?").format(files=path.name)
        if path.exists() and not slicer.util.confirmOkCancelDisplay(question, windowTitle=_("CoW Landmarks")):
            ui.compareLabel.text = _("Nothing was written: {files} exist already.").format(files=path.name)
            return
        try:
            write_comparison_csv(path, self._comparison)
        except CoWLandmarksError as error:
            ui.compareLabel.text = str(error)
            return
        ui.compareLabel.text = f"{self._comparison.summary()} " + _("Written to {place}.").format(place=path)
