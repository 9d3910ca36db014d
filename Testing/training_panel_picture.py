"""The panel of CoW Landmarks Training made ready for a picture: phantoms, checked, aligned, and in training."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from CoWLandmarksLib.modality import Modality
from CoWLandmarksTrainingLib.job_files import request_stop
from CoWLandmarksTrainingLib.phantom.cohort import CohortPlan, write_cohort
from SlicerStandIn import Application

_PATIENCE = 900.0


def training_panel(application: Application, folder: Path) -> Any:
    """The widget when the second phase of a short training has begun; `end_training` stops it afterwards."""
    for modality in Modality:
        count = {Modality.MRA: 4, Modality.CTA: 2}
        plan = CohortPlan(seed=5, train={m: count[m] * (m is modality) for m in Modality}, validation=0, test=0)
        write_cohort(plan, folder / "cases" / modality.value)
    widget = application.load_module("CoWLandmarksTraining")
    ui, panel = widget.ui, widget.panel
    ui.mraFolderEdit.currentPath = str(folder / "cases" / "mra")
    ui.ctaFolderEdit.currentPath = str(folder / "cases" / "cta")
    ui.checkButton.click()
    application.spin_until(lambda: not panel.cases.running, _PATIENCE)
    ui.alignMethodComboBox.setCurrentIndex(ui.alignMethodComboBox.findData("landmarks"))
    ui.alignedFolderEdit.currentPath = str(folder / "aligned")
    ui.alignButton.click()
    application.spin_until(lambda: not panel.alignment.running, _PATIENCE)
    ui.alignedTable.selectRow(3)
    ui.outputFolderEdit.currentPath = str(folder / "training")
    for box, value in (
        (ui.coarseStepsSpinBox, 10),
        (ui.pretrainStepsSpinBox, 10),
        (ui.adversarialStepsSpinBox, 30),
    ):
        box.value = value
    ui.startButton.click()
    application.spin_until(
        lambda: ui.adversarialProgressBar.value > 0 or not panel.training.job.state.active, _PATIENCE
    )
    return widget.parent


def end_training(folder: Path) -> None:
    """Stop what runs."""
    request_stop(folder / "training")


if __name__ == "__main__":  # python Testing/training_panel_picture.py FILE.png [FONT_PERCENT]
    import os
    import tempfile

    from PySide6 import QtGui, QtWidgets

    scale = int(sys.argv[2]) / 100 if len(sys.argv) > 2 else 1.0
    with tempfile.TemporaryDirectory() as place, Application(Path(place) / "app") as running:
        font = QtGui.QFont(running.qt_application.font())
        font.setPixelSize(round(12 * scale))
        QtWidgets.QApplication.setFont(font)
        shown = training_panel(running, Path(place))
        print(running.grab(shown, Path(sys.argv[1]), 480))
        end_training(Path(place))
    sys.stdout.flush()
    os._exit(0)
