"""The section "Review": every landmark looked at, accepted, corrected or taken back, the doubtful first."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import qt
import slicer
from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.core.errors import CoWLandmarksError
from CoWLandmarksLib.scene.landmark_labels import hide_labels, show_labels
from CoWLandmarksLib.scene.nodes import volume_node_of
from CoWLandmarksLib.scene.review import Review
from CoWLandmarksLib.scene.review_placement import Placement
from CoWLandmarksLib.scene.views import expected_place, jump_to
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from .artery_panel import ArteryPanel
from .given_file import GivenFile
from .machine_settings import MachineSettings
from .panel_widgets import loadedInto
from .review_table import ReviewTable
from .schematic_picture import schematicPixmap

INITIALS = "CoWLandmarks/Initials"


class ReviewPanel(VTKObservationMixin):
    """The review of one detection.

    `onLandmarksChanged(markupsNode, codes)` is called when state or place of landmarks changed, `onDetectionAdded` with
    the point list of landmarks that were loaded from a file. `arteries` are those of the same detection.
    """

    def __init__(self, parentWidget: Any, anatomy: Anatomy) -> None:
        VTKObservationMixin.__init__(self)
        self.ui = loadedInto(parentWidget, "Review")
        self.onLandmarksChanged: Callable[[Any, tuple[str, ...]], None] = lambda markupsNode, codes: None
        self.onDetectionAdded: Callable[[Any], None] = self.setDetection
        self._anatomy = anatomy
        self._review: Review | None = None
        self._placement: Placement | None = None
        self._dragging = False
        self._refreshing = False
        ui = self.ui
        self.table = ReviewTable(ui.landmarkTable, self._onSelected)
        self.arteries = ArteryPanel(ui, anatomy)
        self.arteries.onPlacing = self._onPlacingWaypoint
        ui.initialsEdit.text = str(qt.QSettings().value(INITIALS, "") or "")
        self._file = GivenFile(ui, anatomy, lambda markupsNode: self.onDetectionAdded(markupsNode))
        ui.initialsEdit.connect("editingFinished()", self._onInitials)
        for button, method in (
            (ui.previousButton, self._onPrevious),
            (ui.nextButton, self._onNext),
            (ui.acceptButton, self._onAccept),
            (ui.absentButton, self._onAbsent),
            (ui.outsideButton, self._onOutside),
            (ui.replaceButton, self._onReplace),
            (ui.undoButton, self._onUndo),
            (ui.detectedButton, self._onDetected),
            (ui.reopenButton, self._onReopen),
            (ui.byRuleCheckBox, self._onByRule),
        ):
            button.connect("clicked(bool)", method)
        # A key that is pressed in the panel does not reach the views, where Escape ends place mode.
        self._escape = qt.QShortcut(qt.QKeySequence("Esc"), parentWidget)
        self._escape.setEnabled(False)
        self._escape.connect("activated()", self._onEscape)
        self._escape.connect("activatedAmbiguously()", self._onEscape)
        ui.allLabelsCheckBox.checked = MachineSettings().allLabels
        ui.allLabelsCheckBox.connect("toggled(bool)", self._onAllLabels)
        self._showMessage("")
        self.refresh()

    @property
    def markupsNode(self) -> Any | None:
        """The point list under review."""
        return None if self._review is None else self._review.markups

    @property
    def selectedCode(self) -> str | None:
        """Code of the selected landmark."""
        return None if self._review is None else self.table.code

    @property
    def _waitsForClick(self) -> bool:
        return self._placement is not None and self._placement.code is not None

    def _onPlacingWaypoint(self, waits: bool) -> None:
        if waits and self._placement is not None:
            self._placement.cancel()
        self._escape.setEnabled(waits)

    def setDetection(self, markupsNode: Any | None) -> None:
        """Review this detection (None: none); its points that are not reviewed can be moved from now on."""
        if markupsNode is self.markupsNode and (markupsNode is None or markupsNode.GetScene() is not None):
            self.refresh()
            return
        self._leave()
        if markupsNode is not None and markupsNode.GetScene() is not None:
            try:
                review = Review(markupsNode, self._anatomy, self.ui.initialsEdit.text)
                moved = review.record_moves()
            except CoWLandmarksError as error:
                self.refresh()
                self._showMessage(str(error))
                return
            self._enter(review)
            if moved:
                self.onLandmarksChanged(markupsNode, moved)
        self.refresh()

    def cleanup(self) -> None:
        """Lock the points and forget the scene."""
        self._leave()
        self.refresh()

    def refresh(self) -> None:
        """Show the review as it is now."""
        if self._review is not None and self._review.markups.GetScene() is None:
            self._forget()
        ui, review = self.ui, self._review
        ui.emptyLabel.visible = review is None
        ui.reviewFrame.visible = ui.landmarkFrame.visible = review is not None
        self.arteries.refresh()
        # Two lines are kept free for messages, so that nothing moves when one comes or goes.
        ui.messageLabel.setMinimumHeight(0 if review is None else 2 * ui.messageLabel.fontMetrics().lineSpacing())
        if review is None:
            self._showMessage("")
            self._showPlacing()
            return
        self._refreshing = True
        try:
            self.table.show(review.rows())
            done, count = review.progress()
            ui.progressLabel.text = _("{done} of {count} reviewed").format(done=done, count=count)
            ui.reviewProgressBar.maximum = count
            ui.reviewProgressBar.value = done
            self._showSelected()
        except CoWLandmarksError as error:  # a point or a table was deleted by hand
            self._showMessage(str(error))
        finally:
            self._refreshing = False

    def select(self, code: str) -> None:
        """Select a landmark and bring the views to it."""
        self.table.select(code)

    def _enter(self, review: Review) -> None:
        self._review = review
        self._placement = Placement(review, self._onPlacementEnd)
        self.arteries.setDetection(review.markups, review.initials)
        review.open()
        markups = review.markups
        self.addObserver(markups, markups.PointStartInteractionEvent, self._onDragStart)
        self.addObserver(markups, markups.PointEndInteractionEvent, self._onDragEnd)
        for event in (markups.PointModifiedEvent, markups.PointPositionDefinedEvent, markups.PointPositionMissingEvent):
            self.addObserver(markups, event, self._onPointModified)
        self.addObserver(markups, markups.DisplayModifiedEvent, self._label)
        self.addObserver(markups.GetScene(), slicer.vtkMRMLScene.NodeRemovedEvent, self._onNodeRemoved)
        self._showMessage("")
        self._file.offer(volume_node_of(markups))
        self.table.show(review.rows())
        self.table.selectFirstOpen(review.rows())

    def _leave(self) -> None:
        """End the review of the present detection, with its points locked."""
        if self._placement is not None:
            self._placement.cancel()
        if self._review is not None and self._review.markups.GetScene() is not None:
            self._review.close()
        self._forget()

    def _forget(self) -> None:
        self.removeObservers()
        self._review = self._placement = None
        self.arteries.setDetection(None, "")
        self._dragging = False
        if not slicer.mrmlScene.IsClosing():
            hide_labels(slicer.mrmlScene)

    def _showSelected(self) -> None:
        ui, review, code = self.ui, self._review, self.table.code
        if review is None or code is None:
            return
        self._label()
        row = review.row(code)
        landmark = self._anatomy.landmark(code)
        self._showPlacing()
        ui.reopenButton.enabled = row.estimate.reviewed
        ui.undoButton.enabled = ui.detectedButton.enabled = row.steps > 0
        ui.byRuleCheckBox.checked = row.estimate.by_rule
        ui.byRuleCheckBox.enabled = row.estimate.position is not None
        who = ""
        if row.estimate.reviewed:
            who = _("Reviewed by {who}, {when}.").format(who=row.reviewer or "?", when=row.reviewed_at)
        ui.definitionEdit.setHtml(
            f"<b>{escape(landmark.name)}</b> ({code})<p>{escape(landmark.definition)}</p>"
            f"<p><i>{_('If not visible:')}</i> {escape(landmark.if_not_visible)}</p><p>{escape(who)}</p>"
        )
        label = ui.schematicLabel
        estimates = {each.code: each for each in review.detection().landmarks}
        size = (label.minimumWidth, label.minimumHeight)
        label.setPixmap(schematicPixmap(self._anatomy, estimates, code, *size, scale=label.devicePixelRatioF()))

    def _showPlacing(self) -> None:
        """Whether a click is waited for, by the button and the key that end it."""
        button, placing = self.ui.replaceButton, self._waitsForClick
        self._escape.setEnabled(placing or self.arteries.placing)
        text = _("Cancel") if placing else _("Re-place")
        if button.text != text:
            key = qt.QKeySequence(button.shortcut)
            button.text = text  # takes the key away
            button.setShortcut(key)

    def _label(self, caller: Any = None, event: Any = None) -> None:
        """Label the selected and the doubtful landmarks in 3-D, or all."""
        if self._review is not None and self._review.markups.GetScene() is not None:
            show_labels(self._review.markups, self.table.code, self.ui.allLabelsCheckBox.checked)

    def _onAllLabels(self, checked: bool) -> None:
        MachineSettings().allLabels = checked
        self._label()

    def _showMessage(self, text: str) -> None:
        self.ui.messageLabel.text = text
        self.ui.messageLabel.visible = bool(text) or self._review is not None

    def _onSelected(self, code: str) -> None:
        review = self._review
        if review is None or self._refreshing:
            return
        if self._placement is not None and self._placement.code not in (None, code):
            self._placement.cancel()
        try:
            self._centreOn(review, code)
            self._showSelected()
        except CoWLandmarksError as error:
            self._showMessage(str(error))

    def _centreOn(self, review: Review, code: str) -> None:
        """Bring the views to a landmark, or to where it would be."""
        place = review.row(code).estimate.position or expected_place(review.detection(), code)
        jump_to(review.markups.GetScene(), place)

    def _onPrevious(self, checked: bool = False) -> None:
        self.table.step(-1)

    def _onNext(self, checked: bool = False) -> None:
        self.table.step(1)

    def _onAccept(self, checked: bool = False) -> None:
        review, code = self._review, self.selectedCode
        if review is not None and code is not None and review.row(code).estimate.reviewed:
            self._showMessage(_("{code} is accepted already; Reopen lets you change it.").format(code=code))
        else:
            self._decide(Review.accept)

    def _onReopen(self, checked: bool = False) -> None:
        self._do(lambda: self._review.reopen(self.selectedCode))

    def _onAbsent(self, checked: bool = False) -> None:
        self._decide(Review.mark_absent)

    def _onOutside(self, checked: bool = False) -> None:
        self._decide(Review.mark_outside)

    def _onUndo(self, checked: bool = False) -> None:
        self._takeBack(Review.revert_to_previous)

    def _onDetected(self, checked: bool = False) -> None:
        self._takeBack(Review.revert_to_detected)

    def _onByRule(self, checked: bool = False) -> None:
        self._do(lambda: self._review.set_by_rule(self.selectedCode, checked))

    def _onReplace(self, checked: bool = False) -> None:
        placement, code = self._placement, self.selectedCode
        if placement is None or code is None:
            return
        if placement.code is not None:
            placement.cancel()
            return
        self.arteries.cancelPlacing()
        placement.start(code)
        self._showMessage(
            _("Click where {code} belongs, in a slice view or on a vessel in 3-D; Esc ends it.").format(code=code)
        )
        self._showSelected()

    def _onEscape(self) -> None:
        self.arteries.cancelPlacing()
        if self._placement is not None:
            self._placement.cancel()

    def _onPlacementEnd(self, code: str, placed: bool) -> None:
        self._showMessage(_("{code} is placed; accept it if it is right.").format(code=code) if placed else "")
        self.refresh()
        if placed:
            self.onLandmarksChanged(self.markupsNode, (code,))

    def _decide(self, decision: Callable[[Review, str], bool]) -> None:
        """Do something that makes the selected landmark reviewed, and go on to the next open one."""
        review, code = self._review, self.selectedCode
        if review is None or code is None or not self._do(lambda: decision(review, code)):
            return
        following = review.next_open(code)
        if following is not None:
            self.select(following)
            if not review.initials:
                self._showMessage(_("Enter your initials above, so that they are kept with what you review."))
        else:
            self._showMessage(_("All landmarks are reviewed. Save the scene, or export the annotation below."))

    def _takeBack(self, step: Callable[[Review, str], bool]) -> None:
        """Take something back and bring the views to where the selected landmark is now."""
        review, code = self._review, self.selectedCode
        if review is not None and code is not None and self._do(lambda: step(review, code)):
            self._centreOn(review, code)

    def _do(self, step: Callable[[], bool]) -> bool:
        """Take a step of the review of the selected landmark; returns whether it went well."""
        code = self.selectedCode
        if self._review is None or code is None:
            return False
        if self._placement is not None:
            self._placement.cancel()
        self._showMessage("")
        try:
            changed = step()
        except CoWLandmarksError as error:
            self._showMessage(str(error))
            return False
        self.refresh()
        if changed:
            self.onLandmarksChanged(self.markupsNode, (code,))
        return True

    def _onInitials(self) -> None:
        initials = self.ui.initialsEdit.text.strip()
        qt.QSettings().setValue(INITIALS, initials)
        if self._review is not None:
            self._review.initials = initials
        self.arteries.setInitials(initials)

    def _onDragStart(self, caller: Any = None, event: Any = None) -> None:
        self._dragging = True

    def _onDragEnd(self, caller: Any = None, event: Any = None) -> None:
        self._dragging = False
        self._recordMoves()

    def _onPointModified(self, caller: Any = None, event: Any = None) -> None:
        self._label()
        if not self._dragging:
            self._recordMoves()

    def _recordMoves(self) -> None:
        review = self._review
        if review is None or review.changing or self._waitsForClick or review.markups.GetScene() is None:
            return
        try:
            codes = review.record_moves()
        except CoWLandmarksError as error:
            self._showMessage(str(error))
            return
        if codes:
            self.refresh()
            self._showMessage(_("{codes} moved. Undo takes it back.").format(codes=", ".join(codes)))
            self.table.select(codes[0], quietly=True)
            self._showSelected()
            self.onLandmarksChanged(review.markups, codes)

    def _onNodeRemoved(self, caller: Any = None, event: Any = None) -> None:
        if self._review is not None and self._review.markups.GetScene() is None:
            self._forget()
            self.refresh()
