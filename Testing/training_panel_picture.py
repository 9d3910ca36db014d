"""The panel of CoW Landmarks Training made ready for a picture: phantoms, checked, aligned, and in training.

python Testing/training_panel_picture.py FILE.png [FONT_PERCENT]
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from CoWLandmarksLib.core.errors import JobError
from CoWLandmarksLib.core.volume import Modality
from CoWLandmarksTrainingLib.jobs.job_files import request_stop
from CoWLandmarksTrainingLib.phantom.phantom_cohort import CohortPlan, write_cohort
from SlicerStandIn import Application
from tiny_training import PATIENCE_SECONDS, state_of, wait_for

_CASES = {Modality.MRA: 4, Modality.CTA: 2}
_STEPS = {"coarseStepsSpinBox": 10, "circleStepsSpinBox": 10, "fineStepsSpinBox": 10, "adversarialStepsSpinBox": 30}
_started: list[Path] = []


def training_panel(application: Application, folder: Path) -> Any:
    """The widget when the second phase of a short training has begun; `end_trainings` stops it afterwards."""
    for modality in Modality:
        train = {other: _CASES[other] if other is modality else 0 for other in Modality}
        write_cohort(CohortPlan(seed=5, train=train, validation=0, test=0), folder / "cases" / modality.value)
    widget = application.load_module("CoWLandmarksTraining")
    ui, panel = widget.ui, widget.panel
    ui.mraFolderEdit.currentPath = str(folder / "cases" / "mra")
    ui.ctaFolderEdit.currentPath = str(folder / "cases" / "cta")
    ui.checkButton.click()
    application.spin_until(lambda: not panel.cases.running, PATIENCE_SECONDS)
    ui.alignMethodComboBox.setCurrentIndex(ui.alignMethodComboBox.findData("landmarks"))
    ui.alignedFolderEdit.currentPath = str(folder / "aligned")
    ui.alignButton.click()
    application.spin_until(lambda: not panel.alignment.running, PATIENCE_SECONDS)
    ui.alignedTable.selectRow(3)
    ui.outputFolderEdit.currentPath = str(folder / "training")
    for name, steps in _STEPS.items():
        getattr(ui, name).value = steps
    ui.startButton.click()
    _started.append(folder / "training")
    section = panel.training
    application.spin_until(
        lambda: ui.fineAdversarialProgressBar.value > 0 or not section.job.state.active, PATIENCE_SECONDS
    )
    return widget.parent


def end_trainings() -> None:
    """Stop what was started, and wait for its end."""
    while _started:
        folder = _started.pop()
        with suppress(JobError):  # it has ended by itself
            request_stop(folder)
        wait_for(lambda folder=folder: not state_of(folder).active)


def main(file: Path, font_percent: int) -> None:
    """Draw the panel with larger letters."""
    from PySide6 import QtGui, QtWidgets

    with tempfile.TemporaryDirectory() as place, Application(Path(place) / "application") as running:
        font = QtGui.QFont(running.qt_application.font())
        font.setPixelSize(round(12 * font_percent / 100))
        QtWidgets.QApplication.setFont(font)
        print(running.grab(training_panel(running, Path(place)), file, 480))
        end_trainings()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100)
    sys.stdout.flush()
    os._exit(0)  # Qt and VTK do not agree on the order of their ends
