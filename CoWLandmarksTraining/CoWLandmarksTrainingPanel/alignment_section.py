"""The section "Alignment": all cases into one frame, and a look at the registration of each."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import qt
from CoWLandmarksLib.core.errors import CoWLandmarksError
from CoWLandmarksPanel.panel_widgets import choose, chosenKey, chosenPath, fillComboBox
from CoWLandmarksTrainingLib.records.aligned_folder import (
    ALIGNED_FILE,
    OVERVIEW_PICTURE,
    AlignedCase,
    AlignedCohort,
    case_picture,
)
from CoWLandmarksTrainingLib.records.checked_cohort import CheckedCohort
from CoWLandmarksTrainingLib.records.rejection import rejected_names, write_rejected
from slicer.i18n import tr as _

from .command_runner import CommandRunner, endSentence
from .filled_table import PROBLEM_COLOUR, fillTable, fitColumns
from .local_settings import ALIGNED_FOLDER, LocalSettings
from .picture_window import PictureWindow

_STEPS_PER_CASE = 3  # aligned, cropped, drawn
_PICTURE_WIDTH = 300


class AlignmentSection:
    """`folders` and `cohort` give what the section "Cases" holds; `onOpen` opens a case by its name; `onChanged` is
    called when the aligned cases or what runs have changed, `onMethod` when another way is chosen. `defaultLandmarks`:
    the aligned cases have the 19 landmarks of the paper."""

    def __init__(self, ui: Any, settings: LocalSettings) -> None:
        self._ui, self._settings = ui, settings
        self.folders: Callable[[], list[Path]] = list
        self.cohort: Callable[[], CheckedCohort | None] = lambda: None
        self.onOpen: Callable[[str], None] = lambda name: None
        self.onChanged: Callable[[], None] = lambda: None
        self.onMethod: Callable[[str], None] = lambda method: None
        self.rows: tuple[AlignedCase, ...] = ()
        self.defaultLandmarks = False
        self._done = 0
        self._printed: list[str] = []
        self._picture: Path | None = None
        self.window = PictureWindow()
        self._runner = CommandRunner(self._onLine, self._onEnd)
        ways = (("template", _("templates (as in the paper)")), ("landmarks", _("landmarks (quick)")))
        fillComboBox(ui.alignMethodComboBox, ways)
        ui.alignedFolderEdit.filters = ctk.ctkPathLineEdit.Dirs
        ui.alignedFolderEdit.currentPath = settings.text(ALIGNED_FOLDER)
        ui.alignedTable.horizontalHeader().setStretchLastSection(True)
        ui.alignMethodComboBox.connect("currentIndexChanged(int)", self._onMethod)
        ui.alignedFolderEdit.connect("currentPathChanged(QString)", self._onFolder)
        ui.alignButton.connect("clicked(bool)", self._onButton)
        ui.alignedTable.connect("itemSelectionChanged()", self._onSelected)
        ui.alignedTable.connect("cellDoubleClicked(int,int)", self._onDoubleClick)
        ui.rejectButton.connect("clicked(bool)", self._onReject)
        ui.nextCaseButton.connect("clicked(bool)", self._onNext)
        ui.registrationPictureButton.connect("clicked(bool)", self._onPicture)
        self.showTemplates()
        self._readAligned()

    @property
    def aligned(self) -> Path | None:
        """The aligned folder; None where none is chosen."""
        return chosenPath(self._ui.alignedFolderEdit)

    @property
    def method(self) -> str:
        """ "template" or "landmarks"."""
        return chosenKey(self._ui.alignMethodComboBox)

    @property
    def running(self) -> bool:
        """Whether cases are being aligned."""
        return self._runner.running

    def cleanup(self) -> None:
        """End what runs, and close the large picture."""
        self._runner.close()
        self.window.cleanup()

    def setMethod(self, method: str) -> None:
        """Show what the scene holds."""
        choose(self._ui.alignMethodComboBox, method)
        self.refresh()

    def showTemplates(self) -> None:
        """Offer the checked cases as templates."""
        cohort, ui = self.cohort(), self._ui
        for modality, box in (("mra", ui.mraTemplateComboBox), ("cta", ui.ctaTemplateComboBox)):
            names = [] if cohort is None else cohort.names(modality)
            fillComboBox(box, [("", _("chosen by the program")), *((name, name) for name in names)])
        pairs = [] if cohort is None else cohort.pairs()
        both = cohort is not None and cohort.names("mra") and cohort.names("cta")
        ui.pairLabel.text = ""
        if pairs:
            ui.pairLabel.text = _(
                "MRA and CTA of {patients} are there: the two templates are aligned as a pair by their vessels."
            ).format(patients=", ".join(pairs[:3]) + (", ..." if len(pairs) > 3 else ""))
        elif both:
            ui.pairLabel.text = _("No patient has both an MRA and a CTA: the two modalities are aligned by landmarks.")
        self.refresh()

    def refresh(self) -> None:
        """Show what is the case now."""
        ui, running = self._ui, self.running
        templates = self.method == "template"
        for widget in (ui.mraTemplateLabel, ui.mraTemplateComboBox, ui.ctaTemplateLabel, ui.ctaTemplateComboBox):
            widget.visible = templates
        ui.pairLabel.visible = templates and bool(ui.pairLabel.text)
        ui.alignButton.text = _("Cancel") if running else _("Align cases")
        ui.alignButton.enabled = running or (bool(self.folders()) and self.aligned is not None)
        ui.alignProgressBar.visible = running
        for widget in (ui.alignMethodComboBox, ui.alignedFolderEdit, ui.mraTemplateComboBox, ui.ctaTemplateComboBox):
            widget.enabled = not running
        shown = bool(self.rows)
        for widget in (ui.alignedTable, ui.rejectButton, ui.nextCaseButton):
            widget.visible = shown
        row = self._selected()
        ui.rejectButton.enabled = row is not None and not running and (row.accepted or row.rejected_by_person)
        ui.rejectButton.text = (
            _("Take the case back") if row is not None and row.rejected_by_person else _("Reject this case")
        )
        ui.nextCaseButton.enabled = len(self.rows) > 1

    def arguments(self) -> list[str]:
        """The command that 'Align' runs."""
        ui = self._ui
        arguments = ["align", *map(str, self.folders()), "--out", str(self.aligned), "--by", self.method]
        if self.method == "template":
            for option, box in (
                ("--mra-template", ui.mraTemplateComboBox),
                ("--cta-template", ui.ctaTemplateComboBox),
            ):
                arguments += [option, chosenKey(box)] if chosenKey(box) else []
        return arguments

    def _onMethod(self, index: int) -> None:
        self.refresh()
        self.onMethod(self.method)

    def _onFolder(self, path: str = "") -> None:
        self._settings.setText(ALIGNED_FOLDER, self._ui.alignedFolderEdit.currentPath.strip())
        self._readAligned()
        self.onChanged()

    def _onButton(self, checked: bool = False) -> None:
        if not self._runner.startOrCancel(self.arguments, self._showMessage):
            return
        cohort = self.cohort()
        self._done, self._printed = 0, []
        self._ui.alignProgressBar.value = 0
        self._ui.alignProgressBar.maximum = 0 if cohort is None else _STEPS_PER_CASE * len(cohort.cases)
        self.refresh()
        self.onChanged()

    def _onLine(self, line: str) -> None:
        stages = {"align": _("Aligning: {name}"), "crop": _("Cutting out: {name}"), "picture": _("Drawing: {name}")}
        stage, _blank, name = line.partition(" ")
        if stage in stages and name:
            self._done += 1
            if self._ui.alignProgressBar.maximum:
                self._ui.alignProgressBar.value = min(self._done, self._ui.alignProgressBar.maximum)
            self._showMessage(stages[stage].format(name=name))
        elif line.strip():
            self._printed.append(line.strip())

    def _onEnd(self, command: Any) -> None:
        if command.delivered:
            self._readAligned()
            notes = [line for line in self._printed if not line.startswith("|")]
            self._showMessage(" ".join(notes))
        else:
            self._showMessage(endSentence(command))
        self.refresh()
        self.onChanged()

    def _readAligned(self) -> None:
        self.rows, self.defaultLandmarks = (), False
        folder = self.aligned
        try:
            if folder is not None and (folder / ALIGNED_FILE).is_file():
                cohort = AlignedCohort.read(folder, check_inputs=False)
                self.rows = cohort.all_cases
                self.defaultLandmarks = cohort.has_default_landmarks
            self._showMessage("" if self.rows else _("Nothing is aligned yet."))
        except CoWLandmarksError as error:
            self._showMessage(str(error))
        self._fill()
        self._onSelected()

    def _fill(self) -> None:
        table = self._ui.alignedTable
        cells = [
            (
                row.name,
                row.modality.value.upper(),
                row.split,
                "" if math.isnan(row.residual_mm) else f"{row.residual_mm:.1f}",
                self._state(row),
            )
            for row in self.rows
        ]
        colours = [None if row.accepted else PROBLEM_COLOUR for row in self.rows]
        fillTable(table, cells, colours, [f"{row.name}\n{self._state(row)}" for row in self.rows])
        fitColumns(table, 4)

    @staticmethod
    def _state(row: AlignedCase) -> str:
        if row.rejected_by_person:
            return _("rejected by you")
        if row.accepted:
            return _("used; {reason}").format(reason=row.reason) if row.reason else _("used")
        return _("left out: {reason}").format(reason=row.reason)

    def _selected(self) -> AlignedCase | None:
        number = self._ui.alignedTable.currentRow()
        return self.rows[number] if 0 <= number < len(self.rows) else None

    def _onSelected(self) -> None:
        row, folder, ui = self._selected(), self.aligned, self._ui
        self._picture = None
        if folder is not None:
            self._picture = folder / OVERVIEW_PICTURE if row is None else case_picture(folder, row.name)
        pixmap = None if self._picture is None else qt.QPixmap(str(self._picture))
        there = bool(self.rows) and pixmap is not None and not pixmap.isNull()
        if there:
            small = pixmap.scaledToWidth(_PICTURE_WIDTH, qt.Qt.SmoothTransformation)
            ui.registrationPictureButton.setIcon(qt.QIcon(small))
            ui.registrationPictureButton.setIconSize(small.size())
            explanation = (
                _("Mean of all scans of a modality, with the landmarks of all cases.")
                if row is None
                else _("Rings: mean places of the landmarks. Discs: landmarks of this case.")
            )
            ui.registrationPictureButton.toolTip = explanation + " " + _("Click to see it large.")
        elif row is None:
            ui.registrationPictureLabel.text = _("Select a case to see its registration.")
        else:
            ui.registrationPictureLabel.text = _("There is no picture.")
        ui.registrationPictureButton.visible = there
        ui.registrationPictureLabel.visible = bool(self.rows) and not there
        self.refresh()

    def _onPicture(self, checked: bool = False) -> None:
        row = self._selected()
        if self._picture is not None:
            self.window.show(self._picture, _("All aligned cases") if row is None else row.name)

    def _onDoubleClick(self, row: int, column: int) -> None:
        if row < len(self.rows):
            self.onOpen(self.rows[row].name)

    def _onNext(self, checked: bool = False) -> None:
        if self.rows:
            self._ui.alignedTable.selectRow((self._ui.alignedTable.currentRow() + 1) % len(self.rows))

    def _onReject(self, checked: bool = False) -> None:
        row, folder = self._selected(), self.aligned
        if row is None or folder is None:
            return
        number = self._ui.alignedTable.currentRow()
        try:
            write_rejected(folder, rejected_names(folder) ^ {row.name})
            self.rows = AlignedCohort.read(folder, check_inputs=False).all_cases
        except CoWLandmarksError as error:
            self._showMessage(str(error))
            return
        self._fill()
        self._ui.alignedTable.selectRow(number)
        used = sum(own.accepted for own in self.rows)
        self._showMessage(_("{used} of {all} cases are used.").format(used=used, all=len(self.rows)))
        self._onSelected()
        self.onChanged()

    def _showMessage(self, text: str) -> None:
        self._ui.alignLabel.text = text
        self._ui.alignLabel.visible = bool(text)
