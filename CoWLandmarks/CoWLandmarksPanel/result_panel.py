"""What a detection says, first of all whether to trust it; all detections of the scene side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.core.detection import Verdict
from CoWLandmarksLib.scene.display import look_at_circle
from CoWLandmarksLib.scene.nodes import detection_nodes, volume_node_of
from CoWLandmarksLib.scene.results import ResultTexts, result_texts, set_shown
from slicer.i18n import tr as _

from .hint_points import FEWEST, HINT_CODES, HintPoints
from .panel_widgets import compactRows, loadedInto

VERDICT_COLOURS = {None: "#4a5a6b", Verdict.OK: "#26804a", Verdict.REVIEW: "#b06200", Verdict.DO_NOT_TRUST: "#b22222"}
VERDICT_STYLE = "QLabel {{ background-color: {colour}; color: white; font-weight: bold; padding: 6px; }}"
_SHOWN, _SCAN, _VERDICT, _RESULT = range(4)
_FEWEST_ROWS, _MOST_ROWS = 2, 5
"""Rows that the table has room for; more are scrolled."""


class ResultPanel:
    """The section "Result"; `onSelected` gets the point list that the user chose, `onTryAgain` a volume and hints.

    `onCheck` gets the point list of landmarks from a file that are to be checked against their scan.
    """

    def __init__(self, parentWidget: Any, anatomy: Anatomy) -> None:
        self.ui = loadedInto(parentWidget, "Result")
        self.onSelected: Callable[[Any], None] = lambda markupsNode: None
        self.onTryAgain: Callable[[Any, dict], None] = lambda volumeNode, hint: None
        self.onCheck: Callable[[Any], None] = lambda markupsNode: None
        self._anatomy = anatomy
        self._current: Any | None = None
        self._rows: list[Any] = []
        self._filling = False
        self.hintOffered = False
        self._drawing = ""
        self.hint = HintPoints(self._showHint)
        table = self.ui.detectionsTable
        compactRows(table).setStretchLastSection(True)
        table.connect("itemSelectionChanged()", self._onSelection)
        table.connect("itemChanged(QTableWidgetItem*)", self._onItemChanged)
        self.ui.placeHintButton.connect("clicked(bool)", self._onPlaceHint)
        self.ui.tryAgainButton.connect("clicked(bool)", self._onTryAgain)
        self.ui.centreViewsButton.connect("clicked(bool)", self._onCentreViews)
        self.ui.checkButton.connect("clicked(bool)", self._onCheck)
        self.refresh()

    def setDetection(self, markupsNode: Any | None) -> None:
        """Show this detection."""
        if markupsNode is not self._current:
            self.hint.discard()
            self._drawing = ""
        self._current = markupsNode
        self.refresh()

    def refresh(self) -> None:
        """Show the scene as it is now."""
        if self._current is not None and self._current.GetScene() is None:
            self._current = None
        self._showTexts(None if self._current is None else result_texts(self._current))
        self.showDrawing("" if self._current is None else self._drawing)
        self._fillTable()
        self._showHint()

    def showDrawing(self, sentence: str) -> None:
        """Say how this result is drawn in 3-D, where it is not drawn as usual; empty where it is."""
        self._drawing = sentence
        self.ui.drawingLabel.text = sentence
        self.ui.drawingLabel.visible = bool(sentence)

    def cleanup(self) -> None:
        """Leave nothing behind."""
        self.hint.discard()

    def _showTexts(self, texts: ResultTexts | None) -> None:
        ui = self.ui
        ui.verdictLabel.visible = texts is not None and bool(texts.headline)
        if texts is not None:
            ui.verdictLabel.text = _(texts.headline)
            ui.verdictLabel.styleSheet = VERDICT_STYLE.format(colour=VERDICT_COLOURS[texts.verdict])
        given = texts is not None and texts.judged is False
        ui.checkFrame.visible = given and volume_node_of(self._current) is not None
        ui.summaryLabel.text = _("No detection yet.") if texts is None else texts.summary
        sentences = [] if texts is None else [*texts.reasons, *texts.warnings]
        ui.reasonsLabel.text = "\n".join(sentences)
        ui.reasonsLabel.visible = bool(sentences)
        ui.centreViewsButton.visible = texts is not None

    def _fillTable(self) -> None:
        table = self.ui.detectionsTable
        self._filling = True
        try:
            self._rows = detection_nodes(slicer.mrmlScene)
            table.visible = bool(self._rows)
            table.setRowCount(len(self._rows))
            rows = 1 + min(max(len(self._rows), _FEWEST_ROWS), _MOST_ROWS)
            table.setFixedHeight(rows * (table.fontMetrics().height() + 7) + 8)
            for row, node in enumerate(self._rows):
                texts = result_texts(node)
                box = qt.QTableWidgetItem()
                box.setFlags(qt.Qt.ItemIsUserCheckable | qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
                box.setCheckState(qt.Qt.Checked if node.GetDisplayVisibility() else qt.Qt.Unchecked)
                table.setItem(row, _SHOWN, box)
                for column, text in (
                    (_SCAN, node.GetName().replace(" landmarks", "")),
                    (_VERDICT, _(texts.verdict_label)),
                    (_RESULT, texts.summary),
                ):
                    item = qt.QTableWidgetItem(text)
                    item.setToolTip(text)
                    table.setItem(row, column, item)
            if self._current in self._rows:
                table.selectRow(self._rows.index(self._current))
            else:
                table.clearSelection()
            for column in (_SHOWN, _VERDICT):
                table.resizeColumnToContents(column)
        finally:
            self._filling = False

    def _onSelection(self) -> None:
        row = self.ui.detectionsTable.currentRow()
        if not self._filling and 0 <= row < len(self._rows) and self._rows[row] is not self._current:
            self.onSelected(self._rows[row])

    def _onItemChanged(self, item: Any) -> None:
        if not self._filling and item.column() == _SHOWN and item.row() < len(self._rows):
            set_shown(self._rows[item.row()], item.checkState() == qt.Qt.Checked)

    def _onCentreViews(self, checked: bool = False) -> None:
        volumeNode = None if self._current is None else volume_node_of(self._current)
        if volumeNode is not None:
            look_at_circle(slicer.mrmlScene, volumeNode, self._current)

    def _onCheck(self, checked: bool = False) -> None:
        if self._current is not None:
            self.onCheck(self._current)

    def _onPlaceHint(self, checked: bool = False) -> None:
        volumeNode = volume_node_of(self._current)
        if volumeNode is not None:
            set_shown(self._current, False)  # wrong points would only mislead
            self.hint.start(volumeNode)
            self.refresh()

    def _onTryAgain(self, checked: bool = False) -> None:
        volumeNode, hint = volume_node_of(self._current), self.hint.placed()
        if volumeNode is not None and len(hint) >= FEWEST:
            self.onTryAgain(volumeNode, hint)

    def _showHint(self) -> None:
        ui = self.ui
        texts = None if self._current is None else result_texts(self._current)
        offered = (
            texts is not None and texts.verdict is Verdict.DO_NOT_TRUST and volume_node_of(self._current) is not None
        )
        self.hintOffered = offered
        ui.hintFrame.visible = offered
        if not offered:
            return
        placing = self.hint.node is not None
        count, code = len(self.hint.placed()), self.hint.next() if placing else None
        if not placing:
            text = _("If this is a brain angiogram, place 3-4 points and try again.")
        elif code is None:
            text = _("All points are placed. Try again with them.")
        else:
            text = _("{done} of {all} placed. Click in a slice view: {code}, {name}.").format(
                done=count, all=len(HINT_CODES), code=code, name=self._anatomy.landmark(code).name
            )
            if count >= FEWEST:
                text += " " + _("Or try again now.")
        ui.hintLabel.text = text
        ui.placeHintButton.text = _("Place points anew") if placing else _("Place points")
        ui.tryAgainButton.enabled = count >= FEWEST
