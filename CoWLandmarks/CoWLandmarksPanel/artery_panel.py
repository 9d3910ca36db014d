"""The arteries in the section "Review": a person says which are there, which are not, and where one leads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt
from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.core.artery_map import ArteryState
from CoWLandmarksLib.core.errors import CoWLandmarksError
from CoWLandmarksLib.scene.artery_review import ArteryReview, ArteryRow
from CoWLandmarksLib.scene.views import jump_to
from CoWLandmarksLib.scene.waypoint_placement import WaypointPlacement
from slicer.i18n import tr as _

from .panel_widgets import columnsAsWideAs
from .review_table import DOUBTFUL_COLOUR, REVIEWED_COLOUR

_NAME, _STATE, _DECLARED, _BY = range(4)


class ArteryPanel:
    """The arteries of the detection under review; `ui` are the widgets of Review.ui.

    `onDeclared(markupsNode)` is called when what is said of an artery changed, `onPlacing(waits)` when a click is
    waited for and when not any more.
    """

    def __init__(self, ui: Any, anatomy: Anatomy) -> None:
        self.ui = ui
        self.onDeclared: Callable[[Any], None] = lambda markupsNode: None
        self.onPlacing: Callable[[bool], None] = lambda waits: None
        self._anatomy = anatomy
        self._review: ArteryReview | None = None
        self._placement = WaypointPlacement(self._onPlacementEnd)
        self._filling = False
        self._prepareTable()
        for button, method in (
            (ui.arteryPresentButton, lambda checked=False: self._say(lambda review, code: review.declare(code, True))),
            (ui.arteryAbsentButton, lambda checked=False: self._say(lambda review, code: review.declare(code, False))),
            (ui.throughButton, self._onThrough),
            (ui.programButton, lambda checked=False: self._say(ArteryReview.leave_to_program)),
            (ui.arteryUndoButton, lambda checked=False: self._say(ArteryReview.revert_to_previous)),
        ):
            button.connect("clicked(bool)", method)
        # The list of a point cannot be removed while its widget still works on it.
        self._afterClick = qt.QTimer()
        self._afterClick.setSingleShot(True)
        self._afterClick.setInterval(0)
        self._afterClick.connect("timeout()", self._placement.discard)

    @property
    def code(self) -> str | None:
        """Code of the selected artery."""
        item = self.ui.arteryTable.item(self.ui.arteryTable.currentRow(), _NAME)
        return None if item is None or self._review is None else str(item.data(qt.Qt.UserRole))

    @property
    def placing(self) -> bool:
        """Whether a click is waited for."""
        return self._placement.code is not None

    def setDetection(self, markupsNode: Any | None, initials: str) -> None:
        """Show the arteries of this detection (None: of none)."""
        self.cancelPlacing()
        self._placement.discard()
        self._review = None if markupsNode is None else ArteryReview(markupsNode, self._anatomy, initials)
        self.ui.arteryTable.clearSelection()
        self.ui.arteryTable.setCurrentCell(-1, -1)
        self._showMessage("")
        self.refresh()

    def setInitials(self, initials: str) -> None:
        """Whose word it is from now on."""
        if self._review is not None:
            self._review.initials = initials

    def cancelPlacing(self) -> None:
        """Break off a point that waits for its click."""
        self._placement.cancel()

    def select(self, code: str) -> None:
        """Select an artery and bring the views to it."""
        self.ui.arteryTable.selectRow([artery.code for artery in self._anatomy.arteries].index(code))

    def refresh(self) -> None:
        """Show the arteries and what is said of them as it is now."""
        ui, review = self.ui, self._review
        ui.arteryGroupBox.visible = review is not None
        rows: Sequence[ArteryRow] = ()
        if review is not None and review.markups.GetScene() is not None:
            try:
                rows = review.rows()
            except CoWLandmarksError as error:  # a table or an attribute was changed by hand
                self._showMessage(str(error))
        self._filling = True
        try:
            ui.arteryTable.setRowCount(len(rows))
            for number, row in enumerate(rows):
                self._fill(number, row)
        finally:
            self._filling = False
        self._showButtons(rows)

    def _prepareTable(self) -> None:
        longest = {
            _STATE: max((_(state.value) for state in ArteryState), key=len),
            _DECLARED: max((_("Declared"), _("present"), _("{n} points").format(n=2)), key=len),
            _BY: "MM",
        }
        columnsAsWideAs(self.ui.arteryTable, longest, _NAME)
        self.ui.arteryTable.connect("itemSelectionChanged()", self._onSelected)

    def _fill(self, number: int, row: ArteryRow) -> None:
        doubtful = row.declaration is None and row.state == ArteryState.UNKNOWN.value
        for column, text, colour in (
            (_NAME, row.code, ""),
            (_STATE, _(row.state) if row.state else "", DOUBTFUL_COLOUR if doubtful else ""),
            (_DECLARED, declaredText(row), REVIEWED_COLOUR),
            (_BY, row.reviewer, REVIEWED_COLOUR),
        ):
            item = qt.QTableWidgetItem(text)
            item.setData(qt.Qt.UserRole, row.code)
            item.setToolTip(f"{row.code}: {row.name}" + (f"\n{row.reason}" if row.reason else ""))
            if colour:
                item.setForeground(qt.QBrush(qt.QColor(colour)))
            self.ui.arteryTable.setItem(number, column, item)

    def _showButtons(self, rows: Sequence[ArteryRow]) -> None:
        ui, code = self.ui, self.code
        row = next((row for row in rows if row.code == code), None)
        ui.arteryPresentButton.enabled = ui.arteryAbsentButton.enabled = row is not None
        ui.throughButton.enabled = row is not None or self.placing
        ui.programButton.enabled = row is not None and row.declaration is not None
        ui.arteryUndoButton.enabled = row is not None and row.steps > 0
        text = _("Cancel point") if self.placing else _("Through a point")
        if ui.throughButton.text != text:
            key = qt.QKeySequence(ui.throughButton.shortcut)
            ui.throughButton.text = text  # takes the key away
            ui.throughButton.setShortcut(key)

    def _onSelected(self) -> None:
        review, code = self._review, self.code
        if self._filling or review is None or code is None or review.markups.GetScene() is None:
            return
        if self._placement.code not in (None, code):
            self.cancelPlacing()
        try:
            jump_to(review.markups.GetScene(), review.middle(code))
            row = review.row(code)
            self._showMessage(f"{code}: {row.reason}." if row.reason else "")
            self._showButtons([row])
        except CoWLandmarksError as error:
            self._showMessage(str(error))

    def _onThrough(self, checked: bool = False) -> None:
        review, code = self._review, self.code
        if self.placing:
            self.cancelPlacing()
        elif review is not None and code is not None:
            self.onPlacing(True)
            self._placement.start(code, review.markups.GetScene())
            self._showMessage(
                _("Click a point that {code} leads through, in a slice view; Esc ends it.").format(code=code)
            )
            self._showButtons([review.row(code)])

    def _onPlacementEnd(self, code: str, position: tuple[float, float, float] | None) -> None:
        self._afterClick.start()
        self.onPlacing(False)
        self._showMessage("")
        if position is None:
            self.refresh()
        else:
            self._say(lambda review, _selected: review.lead_through(code, position))

    def _say(self, step: Callable[[ArteryReview, str], bool]) -> None:
        """Say something of the selected artery, or take it back."""
        review, code = self._review, self.code
        if review is None or code is None or review.markups.GetScene() is None:
            return
        self.cancelPlacing()
        self._showMessage("")
        try:
            changed = step(review, code)
        except CoWLandmarksError as error:
            self._showMessage(str(error))
            return
        self.refresh()
        if changed:
            self.onDeclared(review.markups)

    def _showMessage(self, text: str) -> None:
        self.ui.arteryMessageLabel.text = text


def declaredText(row: ArteryRow) -> str:
    """What a person says of an artery, as the table shows it."""
    if row.declaration is None:
        return ""
    count = len(row.declaration.waypoints)
    if count == 0:
        return _(row.declaration.text)
    return _("1 point") if count == 1 else _("{n} points").format(n=count)
