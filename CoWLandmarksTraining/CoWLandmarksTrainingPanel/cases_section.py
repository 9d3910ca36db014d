"""The section "Cases": folders of annotated cases, and a table of the cases with what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
from CoWLandmarksLib.core.errors import CoWLandmarksError
from CoWLandmarksLib.jobs.temporary_folders import TRAINING, OwnedFolder
from CoWLandmarksTrainingLib.records.checked_cohort import CheckedCase, CheckedCohort, read_checked
from slicer.i18n import tr as _

from .case_opening import openCase
from .command_runner import CommandRunner, endSentence
from .filled_table import PROBLEM_COLOUR, fillTable, fitColumns
from .local_settings import CTA_FOLDER, MRA_FOLDER, LocalSettings

_MOST_WRAPPED = 200
"""With more cases their problems are one line each, with the rest in the tool tip: measuring takes its time."""


class CasesSection:
    """`onChanged` is called when the folders, the checked cases or what runs have changed."""

    def __init__(self, ui: Any, settings: LocalSettings) -> None:
        self._ui, self._settings = ui, settings
        self.onChanged: Callable[[], None] = lambda: None
        self.cohort: CheckedCohort | None = None
        self._runner = CommandRunner(self._onLine, self._onEnd)
        self._folder: OwnedFolder | None = None
        self._edits = ((ui.mraFolderEdit, MRA_FOLDER), (ui.ctaFolderEdit, CTA_FOLDER))
        for edit, key in self._edits:
            edit.filters = ctk.ctkPathLineEdit.Dirs
            edit.currentPath = settings.text(key)
            edit.connect("currentPathChanged(QString)", self._onFolder)
        ui.caseTable.horizontalHeader().setStretchLastSection(True)
        ui.checkButton.connect("clicked(bool)", self._onButton)
        ui.caseTable.connect("cellDoubleClicked(int,int)", self._onDoubleClick)
        self._showMessage(_("Choose the folder of your annotated cases, then check them."))
        self.refresh()

    @property
    def folders(self) -> list[Path]:
        """The folders that are chosen, MRA first."""
        return [Path(text) for edit, _key in self._edits if (text := edit.currentPath.strip())]

    @property
    def running(self) -> bool:
        """Whether the cases are being checked."""
        return self._runner.running

    def cleanup(self) -> None:
        """End what runs."""
        self._runner.close()
        if self._folder is not None:
            self._folder.remove()
            self._folder = None

    def openCase(self, name: str) -> None:
        """Open a case of the table in the scene; tells in the section what is wrong."""
        case = None if self.cohort is None else self.cohort.case(name)
        if case is None:
            self._showMessage(_("Check the cases first; then '{name}' can be opened.").format(name=name))
            return
        try:
            openCase(case)
        except CoWLandmarksError as error:
            self._showMessage(str(error))

    def refresh(self) -> None:
        """Show what is the case now."""
        ui, running = self._ui, self.running
        ui.checkButton.text = _("Cancel") if running else _("Check cases")
        ui.checkButton.enabled = running or bool(self.folders)
        ui.checkProgressBar.visible = running
        ui.mraFolderEdit.enabled = ui.ctaFolderEdit.enabled = not running
        ui.caseTable.visible = self.cohort is not None

    def _onFolder(self, path: str = "") -> None:
        for edit, key in self._edits:
            self._settings.setText(key, edit.currentPath.strip())
        self.cohort = None
        self._showMessage(_("Press 'Check cases' to see the cases and what is wrong with them."))
        self.refresh()
        self.onChanged()

    def _onButton(self, checked: bool = False) -> None:
        if not self._runner.startOrCancel(self._arguments, self._showMessage):
            return
        self.cohort = None
        self._ui.checkProgressBar.maximum = 0  # how many cases there are is not known yet
        self.refresh()
        self.onChanged()

    def _arguments(self) -> list[str]:
        """The command that 'Check' runs; an earlier report goes."""
        if self._folder is None:
            self._folder = OwnedFolder(TRAINING, Path(slicer.app.temporaryPath))
        self._report.unlink(missing_ok=True)
        return ["check", *map(str, self.folders), "--json", str(self._report)]

    @property
    def _report(self) -> Path:
        assert self._folder is not None
        return self._folder.path / "check.json"

    def _onLine(self, line: str) -> None:
        if line.startswith("checked "):
            self._showMessage(_("Checked {name}").format(name=line[len("checked ") :]))

    def _onEnd(self, command: Any) -> None:
        sentence = "" if command.delivered else endSentence(command)
        try:
            if not command.cancelled and self._report.is_file():
                self.cohort = read_checked(self._report)
                summary = self._summary(self.cohort)
                # "Nothing can be used" is in the table already; a broken seal of the test split is not.
                sentence = " ".join(filter(None, (summary, sentence if command.complaints else "")))
        except CoWLandmarksError as error:
            sentence = str(error)
        self._fill()
        self._showMessage(sentence)
        self.refresh()
        self.onChanged()

    def _summary(self, cohort: CheckedCohort) -> str:
        good = sum(not case.failed for case in cohort.cases)
        text = _("{good} of {all} cases can be used.").format(good=good, all=len(cohort.cases))
        return " ".join([text, *(sentence[:1].upper() + sentence[1:] for _kind, sentence in cohort.problems)])

    def _fill(self) -> None:
        cohort = self.cohort
        cases = () if cohort is None else cohort.cases
        rows = [
            (case.name, _kind(case), case.split, _landmarks(case, cohort.landmarks), _problems(case)) for case in cases
        ]
        tips = [_tip(case) for case in cases]
        colours = [PROBLEM_COLOUR if case.failed else None for case in cases]
        fillTable(self._ui.caseTable, rows, colours, tips)
        fitColumns(self._ui.caseTable, 4)
        few = len(cases) <= _MOST_WRAPPED
        mode = qt.QHeaderView.ResizeToContents if few else qt.QHeaderView.Interactive
        self._ui.caseTable.verticalHeader().setSectionResizeMode(mode)

    def _onDoubleClick(self, row: int, column: int) -> None:
        if self.cohort is not None and row < len(self.cohort.cases):
            self.openCase(self.cohort.cases[row].name)

    def _showMessage(self, text: str) -> None:
        self._ui.checkLabel.text = text
        self._ui.checkLabel.visible = bool(text)


def _kind(case: CheckedCase) -> str:
    if not case.readable:
        return ""
    kind = case.modality.upper()
    return kind if case.has_image else _("{kind}, no scan").format(kind=kind)


def _landmarks(case: CheckedCase, of: int) -> str:
    if not case.readable:
        return ""
    text = _("{placed} of {all}").format(placed=case.placed, all=of)
    return _("{text}, {absent} absent").format(text=text, absent=case.absent) if case.absent else text


def _problems(case: CheckedCase) -> str:
    sentences = [sentence for severity, sentence in case.problems if severity != "note"]
    return " ".join(sentence[:1].upper() + sentence[1:] for sentence in sentences) or _("none")


def _tip(case: CheckedCase) -> str:
    return "\n".join([case.name, *(f"{severity}: {sentence}" for severity, sentence in case.problems)])
