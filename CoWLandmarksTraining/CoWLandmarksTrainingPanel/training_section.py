"""The section "Training": starts, stops and follows a training that goes on without Slicer."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from CoWLandmarksLib.core.errors import CoWLandmarksError
from CoWLandmarksPanel.machine_settings import pythonExecutable
from CoWLandmarksTrainingLib.jobs.detached_job import start_job
from CoWLandmarksTrainingLib.jobs.job_files import TrainingJob, TrainingJobState, read_job, request_stop
from CoWLandmarksTrainingLib.panel.log_following import FollowedTraining, Part, begun_plan, planned_parts
from CoWLandmarksTrainingLib.panel.training_command import resuming_arguments, shown
from CoWLandmarksTrainingLib.records.improvement import read_comparison
from CoWLandmarksTrainingLib.records.training_folder import MODEL_FILE, PLAN_FILE
from slicer.i18n import tr as _

from .command_runner import requireTorch
from .curve_buttons import CurveButtons
from .filled_table import PROBLEM_COLOUR
from .local_settings import LocalSettings
from .training_choices import TrainingChoicesPanel
from .training_progress import PartRows, expectedSentence, waitingSentence

_POLL_MS = 1000


class TrainingSection:
    """`aligned` gives the folder of aligned cases; `onEnd` is called when a training that was followed has ended.

    `guarded` is given the step that the timer takes, and takes it.
    """

    def __init__(self, ui: Any, settings: LocalSettings) -> None:
        self._ui = ui
        self.aligned: Callable[[], Path | None] = lambda: None
        self.onEnd: Callable[[], None] = lambda: None
        self.onFolder: Callable[[], None] = lambda: None
        self.guarded: Callable[[Callable[[], None]], None] = lambda step: step()
        self.choices = TrainingChoicesPanel(ui, settings)
        self.choices.onChanged = self._onChoice
        self.choices.onFolder = self._onFolder
        self.job: TrainingJob | None = None
        self._log: FollowedTraining | None = None
        self._plan: dict[str, Any] | None = None
        self._changed = False
        self._error = ""
        self.curves = CurveButtons(ui)
        self._rows = PartRows(ui)
        ui.startButton.connect("clicked(bool)", self._onStart)
        ui.resumeButton.connect("clicked(bool)", self._onResume)
        ui.stopButton.connect("clicked(bool)", self._onStop)
        ui.copyButton.connect("clicked(bool)", self._onCopy)
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MS)
        self._timer.connect("timeout()", lambda: self.guarded(self.advance))
        self._find()
        self._timer.start()

    @property
    def output(self) -> Path | None:
        """The training folder."""
        return self.choices.output

    @property
    def modelFile(self) -> Path | None:
        """The finished model of the training folder; None where there is none."""
        path = None if self.output is None else self.output / MODEL_FILE
        return path if path is not None and path.is_file() else None

    def cleanup(self) -> None:
        """Follow no longer; the training goes on."""
        self._timer.stop()

    def sceneCloses(self) -> None:
        """The curves go with the scene."""
        self.curves.sceneCloses()

    def advance(self) -> None:
        """Show what the training did meanwhile; called by the timer."""
        active = self.job is not None and self.job.state.active
        self._readJob()
        changed = self._log is not None and self._log.update()
        now = self.job is not None and self.job.state.active
        if changed:
            self.curves.update()
        if changed or active or now:
            self.refresh()
        if active and not now:
            self.onEnd()

    def arguments(self) -> list[str] | None:
        """The command that runs or ran; else the one that 'Start' or 'Resume' runs, None where a choice is missing."""
        job = self.job
        if job is not None and self._showsJob:
            return (
                resuming_arguments(job.arguments) if self._canResume and not job.state.active else list(job.arguments)
            )
        aligned, out = self.aligned(), self.output
        if aligned is None or out is None or self.choices.missing:
            return None
        return self.choices.choices(aligned, out).arguments(resume=self._canResume)

    def refresh(self) -> None:
        """Show what is the case now."""
        ui, job = self._ui, self.job
        active = job is not None and job.state.active
        arguments = self.arguments()
        text = "" if arguments is None else shown(arguments)
        if ui.commandText.plainText != text:
            ui.commandText.plainText = text
        ui.commandLabel.text = self._commandTitle()
        ui.copyButton.enabled = arguments is not None
        ui.startButton.enabled = arguments is not None and not active and not self._begun
        ui.resumeButton.enabled = arguments is not None and not active and self._canResume
        ui.stopButton.enabled = active and job.state is not TrainingJobState.STOPPING
        free = not active and not self._begun
        self.choices.refresh(free)
        parts = self._parts()
        waiting = job is not None and job.state is TrainingJobState.RUNNING
        ui.trainLabel.text = " ".join(
            filter(None, (self._sentence(), waitingSentence(self._plan, parts) if waiting else ""))
        )
        ui.expectedLabel.visible = free
        ui.expectedLabel.text = expectedSentence(self.choices.plan(), self.choices.device) if free else ""
        self._rows.show(parts or (planned_parts(self.choices.plan()) if free else ()), active, self._finished)
        self._showComparison(active)
        self.curves.refresh(parts is not None, active)

    @property
    def _showsJob(self) -> bool:
        """Whether the command is the job's: until a setting is changed, which a folder with a training forbids."""
        return self.job is not None and (self.job.state.active or self._begun or not self._changed)

    def _commandTitle(self) -> str:
        if self.job is None or not self._showsJob:
            return _("The same without Slicer's window:")
        if self.job.state.active:
            return _("The command that runs:")
        if self._canResume:
            return _("The command that ran, to go on:")
        return _("The command that ran:") if self._begun else _("The command that ran; 'Start' runs it again:")

    @property
    def _begun(self) -> bool:
        """Whether the folder holds a training."""
        return self.output is not None and (self.output / PLAN_FILE).exists()

    @property
    def _finished(self) -> bool:
        return self.job is not None and self.job.state is TrainingJobState.FINISHED

    @property
    def _canResume(self) -> bool:
        return self._begun and not self._finished and self.modelFile is None

    def _sentence(self) -> str:
        if self._error:
            return self._error
        job = self.job
        if self.output is None:
            return _("Choose a folder for the training.")
        if job is not None and not self._showsJob and self.choices.missing:
            return self.choices.missing
        if job is None:
            if self.modelFile is not None:
                return _("This folder holds a finished model. Choose another folder for a new training.")
            if self._begun:
                return _("This folder holds a training that was stopped; 'Resume' goes on at its last checkpoint.")
            if self.aligned() is None:
                return _("Choose the folder of the aligned cases in section 2.")
            if self.choices.missing:
                return self.choices.missing
            return _("'Start' begins the training. It goes on when this module or Slicer is closed.")
        when = time.strftime("%H:%M", time.localtime(job.started))
        return {
            TrainingJobState.STARTING: _("Starting..."),
            TrainingJobState.RUNNING: _("Training since {when}. It goes on when this module or Slicer is closed."),
            TrainingJobState.STOPPING: _("Stopping after this step, with a checkpoint..."),
            TrainingJobState.STOPPED: _("Stopped. {resume}"),
            TrainingJobState.FINISHED: _("Finished: the model is in the training folder."),
            TrainingJobState.FAILED: _("The training ended: {message}"),
            TrainingJobState.LOST: _("The training ended without a message (was the computer switched off?). {resume}"),
        }[job.state].format(
            when=when,
            message=job.message,
            resume=_("'Resume' goes on at the last checkpoint.") if self._canResume else "",
        )

    def _parts(self) -> tuple[Part, ...] | None:
        """How far the training of the folder is; None where nothing is known of it."""
        if self._plan is None and self.output is not None:
            self._plan = begun_plan(self.output)  # once: it does not change, and the file lists all cases
        return None if self._plan is None or self._log is None else self._log.progress(planned_parts(self._plan))

    def _showComparison(self, active: bool) -> None:
        """Whether the model of the folder is better than the one it began from."""
        label, sure = self._ui.comparisonLabel, False
        model, continued = self.modelFile, self._plan is not None and bool(self._plan["training"].get("start_from"))
        label.visible = wanted = model is not None and continued and not active
        if model is None or not wanted:
            return
        try:
            compared = read_comparison(model.parent)
            if compared is None:
                label.text = _("There was nothing to compare the new model with the old one on: evaluate both.")
            else:
                label.text, sure = compared.sentence(), compared.sure
        except CoWLandmarksError as error:
            label.text = str(error)
        label.styleSheet = "" if sure else f"color: {PROBLEM_COLOUR}"

    def _find(self) -> None:
        """Look for a training in the folder."""
        self._error = ""
        self._plan = None
        self._changed = False
        self._log = None if self.output is None else FollowedTraining(self.output)
        self.curves.follow(self._log)
        self._readJob()
        if self._log is not None:
            self._log.update()
        self.refresh()

    def _readJob(self) -> None:
        try:
            self.job = None if self.output is None else read_job(self.output)
        except CoWLandmarksError as error:
            self.job, self._error = None, str(error)

    def _onChoice(self) -> None:
        self._changed = True
        self.refresh()

    def _onFolder(self) -> None:
        self._find()
        self.onFolder()

    def _onStart(self, checked: bool = False) -> None:
        self._start()

    def _onResume(self, checked: bool = False) -> None:
        self._start()

    def _start(self) -> None:
        arguments, out = self.arguments(), self.output
        if arguments is None or out is None:
            return
        self._error = ""
        try:
            requireTorch()
            self.job = start_job(out, arguments, pythonExecutable())
        except CoWLandmarksError as error:
            self._error = str(error)
            self.refresh()
            return
        self._changed = False
        self._log = FollowedTraining(out)
        self.curves.follow(self._log, wanted=True)
        self.refresh()

    def _onStop(self, checked: bool = False) -> None:
        self._error = ""
        try:
            request_stop(self.output)
        except CoWLandmarksError as error:
            self._error = str(error)
        self._readJob()
        self.refresh()

    def _onCopy(self, checked: bool = False) -> None:
        slicer.app.clipboard().setText(self._ui.commandText.plainText)
