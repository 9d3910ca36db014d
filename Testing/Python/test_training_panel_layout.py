"""The panel of CoW Landmarks Training in places of several sizes: nothing is squeezed, pictures open large."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aligned_beads import write_bead_cohort
from cohort_cases import write_cohort
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksTrainingLib.config.presets import PRESETS
from CoWLandmarksTrainingLib.jobs.job_files import TrainingJob, TrainingJobState, beat, write_job
from tiny_training import PATIENCE_SECONDS

QtCore = pytest.importorskip("PySide6.QtCore")
QtGui = pytest.importorskip("PySide6.QtGui")
QtWidgets = pytest.importorskip("PySide6.QtWidgets")

from module_panel import in_module_panel, named, needed_height, overlapping, squeezed, taken_out  # noqa: E402 - needs Qt

SIZES = ((400, 700), (500, 1200))


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Cases, aligned cases with a picture each, and a training that runs."""
    write_cohort(tmp_path / "cases", default_anatomy(), 3)
    aligned = tmp_path / "aligned"
    write_bead_cohort(aligned, mra=3, sets=2)
    content = json.loads((aligned / "aligned.json").read_text(encoding="utf-8"))
    (aligned / "pictures").mkdir(exist_ok=True)
    for case in content["cases"]:
        picture = QtGui.QImage(900, 300, QtGui.QImage.Format_RGB32)
        picture.fill(QtGui.QColor("navy"))
        assert picture.save(str(aligned / "pictures" / f"{case['name']}.png"))
    training = tmp_path / "training"
    training.mkdir()
    arguments = ("train", str(aligned), "--out", str(training), "--preset", "cpu", "--set", "training.seed=7")
    write_job(training, TrainingJob("token", arguments, time.time(), TrainingJobState.RUNNING, pid=1))
    plan = PRESETS["cpu"].with_values(circle={"adversarial_steps": 50}, fine={"steps": 200, "adversarial_steps": 100})
    (training / "plan.json").write_text(json.dumps({"plan": plan.to_dict()}), encoding="utf-8")
    return tmp_path


@pytest.fixture
def full_panel(application: Any, folders: Path) -> Iterator[Any]:
    """The widget of the module with everything visible that it has."""
    widget = application.load_module("CoWLandmarksTraining")
    ui = widget.ui
    ui.mraFolderEdit.currentPath = str(folders / "cases")
    ui.checkButton.click()
    application.spin_until(lambda: not widget.panel.cases.running, PATIENCE_SECONDS)
    ui.alignedFolderEdit.currentPath = str(folders / "aligned")
    ui.alignedTable.selectRow(0)
    beat(folders / "training", "token")
    ui.outputFolderEdit.currentPath = str(folders / "training")
    ui.lossButton.click()
    ui.startComboBox.setCurrentIndex(ui.startComboBox.findData("file"))
    ui.parametersGroupBox.collapsed = False
    yield widget
    taken_out(widget)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_squeezed_and_nothing_overlaps(application: Any, full_panel: Any, size: tuple[int, int]) -> None:
    area = in_module_panel(application, full_panel, size)
    ui = full_panel.ui
    shown = named(ui)
    wanted = {"presetComboBox", "startFileEdit", "phantomSpinBox", "caseTable", "registrationPictureButton"}
    wanted |= {"seedSpinBox", "coarseProgressBar", "circleAdversarialProgressBar", "fineAdversarialFiguresLabel"}
    assert wanted <= set(shown)
    assert not squeezed(shown)
    assert not overlapping(shown)
    assert area.widget().width() <= area.viewport().width() + 1, "the panel is cut off at its right"


def test_a_long_path_of_the_last_time_does_not_widen_the_panel(application: Any) -> None:
    """CTK takes the text of a path line at its first show for the least width."""
    from CoWLandmarksTrainingPanel.local_settings import (
        ALIGNED_FOLDER,
        CTA_FOLDER,
        MRA_FOLDER,
        OUTPUT_FOLDER,
        LocalSettings,
    )

    for key in (MRA_FOLDER, CTA_FOLDER, ALIGNED_FOLDER, OUTPUT_FOLDER):
        LocalSettings().setText(key, "/data/angiography/of-a-study-with-a-long-name/second-reading/folder")
    widget = application.load_module("CoWLandmarksTraining")
    area = in_module_panel(application, widget, (400, 700))
    assert area.widget().width() <= area.viewport().width() + 1, "the panel is cut off at its right"
    taken_out(widget)


@pytest.mark.slow
def test_the_panel_follows_when_it_gets_narrower_or_its_texts_longer(application: Any, full_panel: Any) -> None:
    area = in_module_panel(application, full_panel, (700, 900))
    ui = full_panel.ui
    before = ui.trainLabel.height
    area.resize(400, 900)
    for _round in range(4):
        application.process_events()
    assert ui.trainLabel.height > before
    ui.trainLabel.text = "A long sentence about what happened to the training. " * 8
    for _round in range(4):
        application.process_events()
    assert ui.trainLabel.height >= needed_height(ui.trainLabel)
    assert ui.presetComboBox.height >= needed_height(ui.presetComboBox)


@pytest.mark.slow
def test_a_bar_keeps_its_width_when_the_text_at_it_changes(application: Any, full_panel: Any) -> None:
    in_module_panel(application, full_panel, (400, 700))
    ui = full_panel.ui
    before = ui.coarseProgressBar.width
    for text in ("", "5990 of 6000, loss 0.00012, 2.3 mm, 0.58 s a step, 12 min left"):
        ui.coarseFiguresLabel.text = text
        application.process_events()
        assert ui.coarseProgressBar.width == before
        assert ui.fineAdversarialProgressBar.width == before


@pytest.mark.slow
def test_a_click_opens_the_picture_large_and_escape_closes_it(application: Any, full_panel: Any) -> None:
    ui, window = full_panel.ui, full_panel.panel.alignment.window
    in_module_panel(application, full_panel, (500, 1200))
    assert not ui.registrationPictureButton.icon.isNull()
    ui.registrationPictureButton.click()
    application.process_events()
    dialog = window.dialog
    assert dialog.visible
    assert not dialog.modal
    assert dialog.windowTitle == ui.alignedTable.item(0, 0).text()
    assert window.label.width > 3 * ui.registrationPictureButton.iconSize.width()
    key = QtGui.QKeyEvent(QtCore.QEvent.KeyPress, QtCore.Qt.Key_Escape, QtCore.Qt.NoModifier)
    QtCore.QCoreApplication.sendEvent(dialog, key)
    assert not dialog.visible
    ui.alignedTable.selectRow(1)
    ui.registrationPictureButton.click()
    assert window.dialog is dialog
    assert dialog.visible
    full_panel.panel.cleanup()
    assert window.dialog is None
