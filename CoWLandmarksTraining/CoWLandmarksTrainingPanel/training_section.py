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
from CoWLandmarksTrainingLib.log_following import FollowedTraining, Phase, PlannedSteps, Progress, planned_steps
from CoWLandmarksTrainingLib.training_command import resuming_words, shown
from slicer.i18n import tr as _

from .command_runner import requireTorch
from .curve_buttons import CurveButtons
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
        self.choices.onChanged = self._onChoice
        self.choices.onFolder = self._onFolder
        self.job: Job | None = None
        self._log: FollowedTraining | None = None
        self._steps: PlannedSteps | None = None
        self._changed = False
        self._error = ""
        self.curves = CurveButtons(ui)
        ui.startButton.connect("clicked(bool)", self._onStart)
        ui.resumeButton.connect("clicked(bool)", self._onResume)
        ui.stopButton.connect("clicked(bool)", self._onStop)
        ui.copyButton.connect("clicked(bool)", self._onCopy)
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
        """The curves go with the scene."""
        self.curves.sceneCloses()

    def advance(self) -> None:
        """Look what the training did meanwhile; called by the timer."""
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

    def words(self) -> list[str] | None:
        """The command that runs or ran; else the one that 'Start' or 'Resume' runs, None where a choice is missing."""
        job = self.job
        if job is not None and self._showsJob:
            return resuming_words(job.words) if self._canResume and not job.state.active else list(job.words)
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
        ui.commandLabel.text = self._commandTitle()
        ui.copyButton.enabled = words is not None
        ui.startButton.enabled = words is not None and not active and not self._begun
        ui.resumeButton.enabled = words is not None and not active and self._canResume
        ui.stopButton.enabled = active and job.state is not JobState.STOPPING
        self.choices.setEnabled(not active and not self._begun)
        progress = self._progress()
        waiting = job is not None and job.state is JobState.RUNNING
        ui.trainLabel.text = " ".join(filter(None, (self._sentence(), self._waiting(progress) if waiting else "")))
        self._showPhases(progress)
        self.curves.refresh(progress is not None, active)

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

    def _waiting(self, progress: Progress | None) -> str:
        """What a running training is at while no figures tell it."""
        if progress is None:
            return _("The aligned cases are read.")
        current, steps = progress.current, self._steps
        if current is None:
            return _("All steps are made: the model is calibrated on validation cases and written.")
        if current.step:
            return ""
        every = None if steps is None else steps.between_figures
        if every is None:
            return _("The first figures of this part take some minutes.")
        if every > current.steps:
            return _("This part is over before its first figures, which come every {n} steps.").format(n=every)
        return _("The first figures of this part come after {n} steps, which may take minutes.").format(n=every)

    def _progress(self) -> Progress | None:
        """How far the training of the folder is; None where nothing is known of it."""
        if self._steps is None and self.output is not None:
            self._steps = planned_steps(self.output)  # once: they do not change, and the file lists all cases
        return None if self._steps is None or self._log is None else self._log.progress(self._steps)

    def _showPhases(self, progress: Progress | None) -> None:
        ui, job = self._ui, self.job
        ui.phasesFrame.visible = progress is not None
        if progress is None:
            return
        finished = job is not None and job.state is JobState.FINISHED
        awaited = progress.current if job is not None and job.state.active else None
        for phase, bar, label in (
            (progress.coarse, ui.coarseProgressBar, ui.coarseFiguresLabel),
            (progress.pretraining, ui.pretrainProgressBar, ui.pretrainFiguresLabel),
            (progress.adversarial, ui.adversarialProgressBar, ui.adversarialFiguresLabel),
        ):
            step = phase.steps if finished else phase.step
            bar.value = round(100 * step / phase.steps) if phase.steps else 100
            label.text = (
                _("{steps} steps, no figures yet").format(steps=phase.steps)
                if phase is awaited and not step
                else _figures(phase, step)
            )

    def _find(self) -> None:
        """Look for a training in the folder."""
        self._error = ""
        self._steps = None
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
