"""The section "Evaluation": errors of a model on annotated cases, and the model's way into CoW Landmarks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import slicer
from CoWLandmarksLib.core.errors import CoWLandmarksError
from CoWLandmarksPanel.panel_widgets import chosenKey, chosenPath, fillComboBox
from CoWLandmarksTrainingLib.panel.scene_plots import add_landmark_errors
from CoWLandmarksTrainingLib.records.evaluation_file import Evaluation, read_evaluation
from slicer.i18n import tr as _

from .command_runner import CommandRunner, endSentence
from .filled_table import fillTable
from .local_settings import LocalSettings


class EvaluationSection:
    """`folders`, `device` and `trainedModel` give what the other sections hold."""

    def __init__(self, ui: Any, settings: LocalSettings) -> None:
        self._ui, self._settings = ui, settings
        self.folders: Callable[[], list[Path]] = list
        self.device: Callable[[], str] = lambda: "auto"
        self.trainedModel: Callable[[], Path | None] = lambda: None
        self.evaluation: Evaluation | None = None
        self._suggested = ""
        self._done = 0
        self._runner = CommandRunner(self._onLine, self._onEnd)
        fillComboBox(
            ui.splitComboBox,
            (
                ("validation", _("validation cases")),
                ("test", _("test cases (sealed: once, at the end)")),
                ("train", _("training cases")),
                ("", _("all cases")),
            ),
        )
        ui.modelFileEdit.filters = ctk.ctkPathLineEdit.Files
        ui.modelFileEdit.nameFilters = ["*.cow.pt"]
        ui.figuresTable.horizontalHeader().setStretchLastSection(True)
        ui.modelFileEdit.connect("currentPathChanged(QString)", self._onChoice)
        ui.splitComboBox.connect("currentIndexChanged(int)", self._onChoice)
        ui.evaluateButton.connect("clicked(bool)", self._onButton)
        ui.landmarkErrorsButton.connect("clicked(bool)", self._onLandmarkErrors)
        ui.useModelButton.connect("clicked(bool)", self._onUseModel)

    @property
    def model(self) -> Path | None:
        """The model file that is chosen; None where none is."""
        return chosenPath(self._ui.modelFileEdit)

    @property
    def running(self) -> bool:
        """Whether a model is being evaluated."""
        return self._runner.running

    def cleanup(self) -> None:
        """End what runs."""
        self._runner.close()

    def suggestModel(self) -> None:
        """Choose the model of the training folder, unless the user chose another."""
        trained = self.trainedModel()
        text = "" if trained is None else str(trained)
        if self._ui.modelFileEdit.currentPath.strip() in ("", self._suggested):
            self._suggested = text
            self._ui.modelFileEdit.currentPath = text
        self._onChoice()

    def arguments(self) -> list[str]:
        """The command that 'Evaluate' runs."""
        split = chosenKey(self._ui.splitComboBox)
        arguments = ["evaluate", str(self.model), *map(str, self.folders()), "--out", str(self._report)]
        arguments += ["--split", split] if split else []
        return [*arguments, "--device", self.device()]

    def refresh(self) -> None:
        """Show what is the case now."""
        ui, running, model = self._ui, self.running, self.model
        there = model is not None and model.is_file()
        ui.evaluateButton.text = _("Cancel") if running else _("Evaluate")
        ui.evaluateButton.enabled = running or (there and bool(self.folders()))
        ui.useModelButton.enabled = there
        ui.evaluateProgressBar.visible = running
        ui.modelFileEdit.enabled = ui.splitComboBox.enabled = not running
        known = self.evaluation is not None and bool(self.evaluation.rows)
        ui.figuresTable.visible = ui.landmarkErrorsButton.visible = known and not running

    @property
    def _report(self) -> Path:
        assert self.model is not None
        return self.model.parent / f"evaluation-{chosenKey(self._ui.splitComboBox) or 'all'}"

    def _onChoice(self, value: Any = None) -> None:
        self.evaluation = None
        sentence = ""
        if self.model is None:
            sentence = _("There is no model yet: train one, or choose a model file.")
        elif not self.model.is_file():
            sentence = _("There is no file '{file}'.").format(file=self.model)
        elif not self.folders():
            sentence = _("Choose the folder of the cases in section 1.")
        else:
            try:
                self.evaluation = read_evaluation(self._report)
            except (CoWLandmarksError, KeyError, TypeError) as error:
                sentence = str(error)
        self._fill()
        self._showMessage(sentence or (self._summary() if self.evaluation is not None else ""))
        self.refresh()

    def _onButton(self, checked: bool = False) -> None:
        if not self._runner.startOrCancel(self.arguments, self._showMessage):
            return
        self._done = 0
        self._ui.evaluateProgressBar.maximum = 0
        self.refresh()

    def _onLine(self, line: str) -> None:
        if line.endswith((" ok", " review", " do not trust")) and "|" not in line:
            self._done += 1
            self._showMessage(_("{n} cases done.").format(n=self._done) if self._done > 1 else _("1 case done."))

    def _onEnd(self, command: Any) -> None:
        if command.delivered:
            self._onChoice()
            if self.evaluation is not None and self.evaluation.rows:
                self.showLandmarkErrors()
        else:
            self._showMessage(endSentence(command))
            self.refresh()

    def _summary(self) -> str:
        evaluation = self.evaluation
        assert evaluation is not None
        text = _("{title}. The whole report is in '{folder}'.").format(
            title=evaluation.title[:1].upper() + evaluation.title[1:], folder=self._report
        )
        if evaluation.failed:
            text += " " + _("Not evaluated: {cases}.").format(
                cases=", ".join(case for case, _error in evaluation.failed)
            )
        return text

    def _fill(self) -> None:
        rows = () if self.evaluation is None else self.evaluation.rows
        cells = [
            (
                _("all") if row.group == "all" else row.group.upper(),
                str(row.scans),
                f"{row.mre_mm:.2f} ({row.sd_mm:.2f})",
                f"{row.median_mm:.2f}",
                f"{100 * row.within_2mm:.0f} %",
                f"{100 * row.within_4mm:.0f} %",
            )
            for row in rows
        ]
        fillTable(self._ui.figuresTable, cells, [None] * len(cells), [""] * len(cells))
        self._ui.figuresTable.resizeColumnsToContents()

    def showLandmarkErrors(self) -> None:
        """Table and bar chart of the landmarks in the scene."""
        if self.evaluation is not None:
            chart = add_landmark_errors(slicer.mrmlScene, self.evaluation.per_landmark, self.evaluation.title)
            slicer.modules.plots.logic().ShowChartInLayout(chart)

    def _onLandmarkErrors(self, checked: bool = False) -> None:
        self.showLandmarkErrors()

    def _onUseModel(self, checked: bool = False) -> None:
        if self.model is not None:
            self._settings.machine.modelFile = self.model
            self._showMessage(_("CoW Landmarks now detects with '{file}'.").format(file=self.model))

    def _showMessage(self, text: str) -> None:
        self._ui.evaluateLabel.text = text
        self._ui.evaluateLabel.visible = bool(text)
