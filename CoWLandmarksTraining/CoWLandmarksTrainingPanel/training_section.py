"""The section "Training": starts, stops and follows a training that goes on without Slicer."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from CoWLandmarksLib.errors import CoWLandmarksError
from CoWLandmarksPanel.python_executable import pythonExecutable
from CoWLandmarksTrainingLib.detached_job import start_job
from CoWLandmarksTrainingLib.job_files import Job, JobState, read_job, request_stop
from CoWLandmarksTrainingLib.log_following import FollowedTraining, Phase, planned_steps
from CoWLandmarksTrainingLib.scene_plots import DISCRIMINATOR, LOSS, VALIDATION, TrainingCurves
from CoWLandmarksTrainingLib.training_command import resuming_words, shown
from slicer.i18n import tr as _

from .command_runner import requireTorch
from .local_settings import LocalSettings
from .training_choices import TrainingChoicesPanel

MODEL_FILE, PLAN_FILE = "model.cow.pt", "plan.json"
_POLL_MS = 1000


class TrainingSection:
    """`aligned` gives the folder of aligned cases; `onEnd` is called when a training that was followed has ended."""

    def __init__(self, ui: Any, settings: LocalSettings) -> None:
        self._ui = ui
        self.aligned: Callable[[], Path | None] = lambda: None
        self.onEnd: Callable[[], None] = lambda: None
        self.onFolder: Callable[[], None] = lambda: None
        self.choices = TrainingChoicesPanel(ui, settings)
        self.choices.onChanged = self.refresh
        self.choices.onFolder = self._onFolder
        self.job: Job | None = None
        self._log: FollowedTraining | None = None
        self._curves = TrainingCurves(slicer.mrmlScene)
        self._steps: tuple[int, int, int] | None = None
        self._curvesWanted = False
        self._curvesOf: Path | None = None
        self._error = ""
        ui.startButton.connect("clicked(bool)", self._onStart)
        ui.resumeButton.connect("clicked(bool)", self._onResume)
        ui.stopButton.connect("clicked(bool)", self._onStop)
        ui.copyButton.connect("clicked(bool)", self._onCopy)
        for button, which in (
            (ui.lossButton, LOSS),
            (ui.validationButton, VALIDATION),
            (ui.discriminatorButton, DISCRIMINATOR),
        ):
            button.connect("clicked(bool)", lambda checked=False, which=which: self.showCurves(which))
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MS)
        self._timer.connect("timeout()", self.advance)
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
        """The curves go with the scene; they come back with their buttons."""
        self._curvesWanted = False

    def advance(self) -> None:
        """Look what the training did meanwhile; called by the timer."""
        active = self.job is not None and self.job.state.active
        self._readJob()
        changed = self._log is not None and self._log.update()
        now = self.job is not None and self.job.state.active
        if changed and self._curvesWanted:
            self._updateCurves()
        if changed or active or now:
            self.refresh()
        if active and not now:
            self.onEnd()

    def showCurves(self, which: str) -> None:
        """Show a chart in the plot view of the layout."""
        self._curvesWanted = True
        self._updateCurves()
        chart = self._curves.chart(which)
        if chart is not None:
            slicer.modules.plots.logic().ShowChartInLayout(chart)

    def words(self) -> list[str] | None:
        """The command that 'Start' or 'Resume' runs now, or that runs; None where a choice is missing."""
        if self.job is not None and self.job.state.active:
            return list(self.job.words)
        if self._canResume and self.job is not None:
            return resuming_words(self.job.words)
        aligned, out = self.aligned(), self.output
        if aligned is None or out is None:
            return None
        return self.choices.choices(aligned, out).words(resume=self._canResume)

    def refresh(self) -> None:
        """Show what is the case now."""
        ui, job = self._ui, self.job
        active = job is not None and job.state.active
        words = self.words()
        text = "" if words is None else shown(words)
        if ui.commandText.plainText != text:
            ui.commandText.plainText = text
        ui.copyButton.enabled = words is not None
        ui.startButton.enabled = words is not None and not active and not self._begun
        ui.resumeButton.enabled = words is not None and not active and self._canResume
        ui.stopButton.enabled = active and job.state is not JobState.STOPPING
        self.choices.setEnabled(not active and not self._begun)
        ui.trainLabel.text = self._sentence()
        self._showPhases()

    @property
    def _begun(self) -> bool:
        """Whether the folder holds a training."""
        return self.output is not None and (self.output / PLAN_FILE).exists()

    @property
    def _canResume(self) -> bool:
        finished = self.job is not None and self.job.state is JobState.FINISHED
        return self._begun and not finished and self.modelFile is None

    def _sentence(self) -> str:
        if self._error:
            return self._error
        job = self.job
        if self.output is None:
            return _("Choose a folder for the training.")
        if job is None:
            if self.modelFile is not None:
                return _("This folder holds a finished model. Choose another folder for a new training.")
            if self._begun:
                return _("This folder holds a training that was stopped; 'Resume' goes on at its last checkpoint.")
            if self.aligned() is None:
                return _("Choose the folder of the aligned cases in section 2.")
            return _("'Start' begins the training. It goes on when this module or Slicer is closed.")
        when = time.strftime("%H:%M", time.localtime(job.started))
        return {
            JobState.STARTING: _("Starting..."),
            JobState.RUNNING: _("Training since {when}. It goes on when this module or Slicer is closed."),
            JobState.STOPPING: _("Stopping after this step, with a checkpoint..."),
            JobState.STOPPED: _("Stopped. {resume}"),
            JobState.FINISHED: _("Finished: the model is in the training folder."),
            JobState.FAILED: _("The training ended: {message}"),
            JobState.LOST: _("The training ended without a word (was the computer switched off?). {resume}"),
        }[job.state].format(
            when=when,
            message=job.message,
            resume=_("'Resume' goes on at the last checkpoint.") if self._canResume else "",
        )

    def _showPhases(self) -> None:
        ui = self._ui
        if self._steps is None and self.output is not None:
            self._steps = planned_steps(self.output)  # once: they do not change, and the file lists all cases
        steps = self._steps
        known = steps is not None and self._log is not None
        ui.phasesFrame.visible = known
        for widget in (ui.curvesLabel, ui.lossButton, ui.validationButton, ui.discriminatorButton):
            widget.visible = known
        if not known:
            return
        progress = self._log.progress(*steps)
        finished = self.job is not None and self.job.state is JobState.FINISHED
        for phase, bar, label in (
            (progress.coarse, ui.coarseProgressBar, ui.coarseFiguresLabel),
            (progress.pretraining, ui.pretrainProgressBar, ui.pretrainFiguresLabel),
            (progress.adversarial, ui.adversarialProgressBar, ui.adversarialFiguresLabel),
        ):
            step = phase.steps if finished else phase.step
            bar.value = round(100 * step / phase.steps) if phase.steps else 100
            label.text = _figures(phase, step)

    def _find(self) -> None:
        """Look for a training in the folder."""
        self._error = ""
        self._steps = None
        self._log = None if self.output is None else FollowedTraining(self.output)
        self._readJob()
        if self._log is not None:
            self._log.update()
        self.refresh()

    def _readJob(self) -> None:
        try:
            self.job = None if self.output is None else read_job(self.output)
        except CoWLandmarksError as error:
            self.job, self._error = None, str(error)

    def _updateCurves(self) -> None:
        if self._log is None:
            return
        if self._curvesOf != self._log.folder:
            self._curves.clear()
            self._curvesOf = self._log.folder
        self._curves.update(self._log)

    def _onFolder(self) -> None:
        self._curvesWanted = False
        self._find()
        self.onFolder()

    def _onStart(self, checked: bool = False) -> None:
        self._start()

    def _onResume(self, checked: bool = False) -> None:
        self._start()

    def _start(self) -> None:
        words, out = self.words(), self.output
        if words is None or out is None:
            return
        self._error = ""
        try:
            requireTorch()
            self.job = start_job(out, words, pythonExecutable())
        except CoWLandmarksError as error:
            self._error = str(error)
            self.refresh()
            return
        self._log = FollowedTraining(out)
        self._curvesWanted = True
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


def _figures(phase: Phase, step: int) -> str:
    text = _("{step} of {steps}").format(step=step, steps=phase.steps)
    if "loss" in phase.figures:
        text += _(", loss {loss:.2g}").format(loss=phase.figures["loss"])
    if "mre_mm" in phase.figures:
        text += _(", {error:.1f} mm").format(error=phase.figures["mre_mm"])
    seconds = phase.figures.get("seconds_per_step", 0.0) * max(0, phase.steps - step)
    if step and seconds >= 1:
        text += _(", {time} left").format(time=_duration(seconds))
    return text


def _duration(seconds: float) -> str:
    if seconds < 90:
        return _("{n} s").format(n=round(seconds))
    if seconds < 5400:
        return _("{n} min").format(n=round(seconds / 60))
    return _("{n:.1f} h").format(n=seconds / 3600)
