"""The table of landmarks under review: one row each, sorted by doubt until the user sorts it otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt
from CoWLandmarksLib.core.detection import LandmarkEstimate, LandmarkState
from CoWLandmarksLib.scene.review import ReviewRow
from slicer.i18n import tr as _

from .panel_widgets import columnsAsWideAs

DOUBTFUL_COLOUR, REVIEWED_COLOUR = "#c66a00", "#26804a"
_RANK, _NAME, _STATE, _CONFIDENCE, _ERROR, _REVIEWED = range(6)


class ReviewTable:
    """Fills a QTableWidget; `onSelected` gets the code of the row that was selected."""

    def __init__(self, table: Any, onSelected: Callable[[str], None]) -> None:
        self._table = table
        self._onSelected = onSelected
        self._filling = False
        longest = {
            _RANK: "00",
            _STATE: max((_("to check"), _("absent"), _("outside"), _("corrected"), _("found")), key=len),
            _CONFIDENCE: "100",
            _ERROR: "00.0",
            _REVIEWED: "MM",
        }
        header = columnsAsWideAs(table, longest, _NAME)
        header.setSortIndicator(_RANK, qt.Qt.AscendingOrder)
        table.connect("itemSelectionChanged()", self._onSelectionChanged)

    @property
    def code(self) -> str | None:
        """Code of the selected landmark."""
        return self._codeOfRow(self._table.currentRow())

    def show(self, rows: Sequence[ReviewRow]) -> None:
        """Show the rows, the most doubtful first; the selection and the user's sorting stay."""
        selected = self.code
        self._filling = True
        table = self._table
        try:
            table.setSortingEnabled(False)
            places = {self._codeOfRow(number): number for number in range(table.rowCount)}
            if set(places) != {row.code for row in rows}:
                table.setRowCount(len(rows))
                places = {row.code: number for number, row in enumerate(rows)}
            for number, row in enumerate(rows):
                self._fill(places[row.code], number + 1, row)
            table.setSortingEnabled(True)
            self._selectRow(selected)
        finally:
            self._filling = False

    def select(self, code: str, quietly: bool = False) -> None:
        """Select a landmark; `quietly`: without telling."""
        self._filling = quietly
        try:
            self._selectRow(code)
        finally:
            self._filling = False

    def selectFirstOpen(self, rows: Sequence[ReviewRow]) -> None:
        """Select the most doubtful landmark that is not reviewed, or the first of all, without telling."""
        first = next((row for row in rows if not row.estimate.reviewed), rows[0])
        self.select(first.code, quietly=True)

    def step(self, by: int) -> None:
        """Select the row `by` below, going round at the ends."""
        count, current = self._table.rowCount, self._table.currentRow()
        if count:
            self._table.selectRow((max(current, 0 if by < 0 else -1) + by) % count)

    def _fill(self, number: int, rank: int, row: ReviewRow) -> None:
        estimate = row.estimate
        placed = estimate.position is not None
        cells: dict[int, Any] = {
            _RANK: rank,
            _NAME: shortName(row.code, row.name),
            _STATE: stateText(estimate),
            _CONFIDENCE: round(100 * estimate.confidence),
            _ERROR: round(estimate.error_mm, 1) if placed else "",
            _REVIEWED: (row.reviewer or _("yes")) if estimate.reviewed else "",
        }
        for column, value in cells.items():
            item = self._table.item(number, column)
            doubtful = column == _STATE and estimate.state is LandmarkState.UNCERTAIN
            # A colour cannot be taken from an item again.
            if item is None or (column == _STATE and item.data(qt.Qt.DisplayRole) != value):
                item = qt.QTableWidgetItem()
                if doubtful:
                    item.setForeground(qt.QBrush(qt.QColor(DOUBTFUL_COLOUR)))
                if column in (_RANK, _CONFIDENCE, _ERROR):
                    item.setTextAlignment(int(qt.Qt.AlignRight | qt.Qt.AlignVCenter))
                if column == _REVIEWED:
                    item.setForeground(qt.QBrush(qt.QColor(REVIEWED_COLOUR)))
                self._table.setItem(number, column, item)
            # Only what changed: every change makes the table measure itself anew.
            if item.data(qt.Qt.UserRole) != row.code:
                item.setData(qt.Qt.UserRole, row.code)
                item.setToolTip(f"{row.code}: {row.name}")
            if item.data(qt.Qt.DisplayRole) != value:
                item.setData(qt.Qt.DisplayRole, value)

    def _selectRow(self, code: str | None) -> None:
        for row in range(self._table.rowCount):
            if code is not None and self._codeOfRow(row) == code:
                self._table.selectRow(row)
                return

    def _codeOfRow(self, row: int) -> str | None:
        item = self._table.item(row, _RANK) if row >= 0 else None
        return None if item is None else str(item.data(qt.Qt.UserRole))

    def _onSelectionChanged(self) -> None:
        code = self.code
        if not self._filling and code is not None:
            self._onSelected(code)


def stateText(estimate: LandmarkEstimate) -> str:
    """The state of a landmark as the table shows it."""
    if estimate.state is LandmarkState.UNCERTAIN:
        return _("to check")
    if estimate.state is LandmarkState.ABSENT:
        return _("absent")
    if estimate.state is LandmarkState.OUTSIDE:
        return _("outside")
    return _("corrected") if estimate.corrected else _("found")


def shortName(code: str, name: str) -> str:
    """The code and what it does not tell: "R-A1-A2 junction" of "Right A1-A2 junction (ACA / ACoA)"."""
    known = {"Right", "Left", code, code.split("-", 1)[-1], *code.split("-")}
    return " ".join([code, *(part for part in name.split(" (")[0].split() if part not in known)])
