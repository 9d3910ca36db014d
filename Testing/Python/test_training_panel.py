"""The panel of CoW Landmarks Training, driven through its widgets with real cases, commands and MRML nodes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksTrainingLib.jobs.detached_job import child_environment
from CoWLandmarksTrainingLib.records.aligned_folder import AlignedCohort
from tiny_training import PATIENCE_SECONDS
from training_widgets import choose, opened, texts, write_flawed_cohort

pytestmark = pytest.mark.slow

ANATOMY = default_anatomy()


@pytest.fixture(scope="module")
def mra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flawed_cohort(tmp_path_factory.mktemp("cohort") / "mra")


def checked(application: Any, mra: Path) -> Any:
    widget = opened(application)
    widget.ui.mraFolderEdit.currentPath = str(mra)
    widget.ui.checkButton.click()
    application.spin_until(lambda: not widget.panel.cases.running, PATIENCE_SECONDS)
    return widget


class TestCases:
    """Section 1."""

    def test_nothing_can_be_checked_before_a_folder_is_chosen(self, application: Any) -> None:
        ui = opened(application).ui
        assert not ui.checkButton.enabled
        assert not ui.alignButton.enabled
        assert not ui.startButton.enabled
        assert not ui.evaluateButton.enabled
        assert not ui.useModelButton.enabled
        assert not ui.caseTable.visible
        assert "folder" in ui.checkLabel.text

    def test_the_table_says_what_is_wrong_the_worst_first(self, application: Any, mra: Path) -> None:
        ui = checked(application, mra).ui
        names, problems = texts(ui.caseTable, 0), texts(ui.caseTable, 4)
        assert set(names[:2]) == {"broken", "mra01"}
        assert names[2:] == ["mra00", "mra02", "mra03"]
        assert "left and right are exchanged" in problems[names.index("mra01")].lower()
        assert "no readable case description" in problems[names.index("broken")]
        assert problems[2:] == ["none"] * 3
        assert texts(ui.caseTable, 3)[2:] == ["19 of 19"] * 3
        assert ui.checkLabel.text.startswith("3 of 5 cases can be used.")
        assert ui.checkButton.text == "Check cases"

    def test_a_double_click_opens_the_case_and_a_second_one_shows_it_again(self, application: Any, mra: Path) -> None:
        ui = checked(application, mra).ui
        row = texts(ui.caseTable, 0).index("mra02")
        scene = application.scene
        for _click in range(2):
            ui.caseTable.cellDoubleClicked.emit(row, 0)
            application.process_events()
        assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1
        volume = scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
        markups = scene.GetFirstNodeByClass("vtkMRMLMarkupsFiducialNode")
        assert (volume.GetName(), markups.GetNumberOfControlPoints()) == ("mra02", len(ANATOMY))
        composite = scene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
        assert composite is None or composite.GetBackgroundVolumeID() == volume.GetID()

    def test_a_case_that_cannot_be_opened_is_reported(self, application: Any, mra: Path) -> None:
        ui = checked(application, mra).ui
        ui.caseTable.cellDoubleClicked.emit(texts(ui.caseTable, 0).index("broken"), 0)
        assert "no file that can be opened" in ui.checkLabel.text

    def test_cancel_ends_the_child_process_and_leaves_the_panel_ready(self, application: Any, mra: Path) -> None:
        widget = opened(application)
        widget.ui.mraFolderEdit.currentPath = str(mra)
        widget.ui.checkButton.click()
        command = widget.panel.cases._runner.command
        assert widget.ui.checkButton.text == "Cancel"
        widget.ui.checkButton.click()
        widget.ui.checkButton.click()  # a second click changes nothing
        application.spin_until(lambda: not widget.panel.cases.running, PATIENCE_SECONDS)
        assert command._process.poll() is not None
        assert widget.ui.checkLabel.text == "Cancelled."
        assert widget.ui.checkButton.text == "Check cases"

    def test_a_folder_that_does_not_exist_is_one_sentence(self, application: Any, tmp_path: Path) -> None:
        ui = checked(application, tmp_path / "nowhere").ui
        assert "nowhere" in ui.checkLabel.text
        assert not ui.caseTable.visible


class TestAlignment:
    """Section 2."""

    def test_cases_are_aligned_looked_at_and_rejected(self, application: Any, mra: Path, tmp_path: Path) -> None:
        widget = checked(application, mra)
        ui, out = widget.ui, tmp_path / "aligned"
        assert [ui.mraTemplateComboBox.itemText(n) for n in range(1, ui.mraTemplateComboBox.count)] == [
            "mra00",
            "mra02",
            "mra03",
        ]
        choose(ui.alignMethodComboBox, "landmarks")
        assert not ui.mraTemplateComboBox.visible
        ui.alignedFolderEdit.currentPath = str(out)
        ui.alignButton.click()
        assert ui.alignButton.text == "Cancel"
        application.spin_until(lambda: not widget.panel.alignment.running, PATIENCE_SECONDS)
        assert texts(ui.alignedTable, 0) == ["mra00", "mra02", "mra03"], ui.alignLabel.text
        assert texts(ui.alignedTable, 4) == ["used"] * 3
        assert "3 of 3 cases are in" in ui.alignLabel.text

        ui.alignedTable.selectRow(1)
        assert not ui.registrationPictureButton.icon.isNull()
        ui.rejectButton.click()
        assert texts(ui.alignedTable, 4)[1] == "rejected by you"
        assert ui.rejectButton.text == "Take the case back"
        assert [case.name for case in AlignedCohort.read(out).cases()] == ["mra00", "mra03"]
        ui.nextCaseButton.click()
        assert ui.alignedTable.currentRow() == 2
        ui.alignedTable.selectRow(1)
        ui.rejectButton.click()
        assert len(AlignedCohort.read(out).cases()) == 3

        ui.alignedTable.cellDoubleClicked.emit(0, 0)
        assert application.scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode").GetName() == "mra00"

    def test_the_templates_of_the_panel_are_in_the_command(self, application: Any, mra: Path, tmp_path: Path) -> None:
        widget = checked(application, mra)
        choose(widget.ui.mraTemplateComboBox, "mra03")
        widget.ui.alignedFolderEdit.currentPath = str(tmp_path)
        arguments = widget.panel.alignment.arguments()
        assert arguments[-4:] == ["--by", "template", "--mra-template", "mra03"]


class TestEvaluation:
    """Section 4."""

    def test_a_model_that_is_not_there_is_reported(self, application: Any, tmp_path: Path) -> None:
        ui = opened(application).ui
        ui.modelFileEdit.currentPath = str(tmp_path / "gone.cow.pt")
        assert "gone.cow.pt" in ui.evaluateLabel.text
        assert not ui.evaluateButton.enabled
        assert not ui.useModelButton.enabled

    def test_the_test_cases_are_not_the_first_choice(self, application: Any) -> None:
        ui = opened(application).ui
        assert ui.splitComboBox.currentText.startswith("validation")


def test_no_torch_and_no_numeric_work_come_into_the_applications_process(tmp_path: Path) -> None:
    probe = (
        "import sys, SlicerStandIn\n"
        "with SlicerStandIn.Application() as application:\n"
        "    widget = application.load_module('CoWLandmarksTraining')\n"
        f"    widget.ui.outputFolderEdit.currentPath = {str(tmp_path)!r}\n"
        "    application.process_events()\n"
        "print(sorted({'torch', 'SimpleITK', 'scipy'} & sys.modules.keys()))\n"
    )
    environment = child_environment()
    environment["PYTHONPATH"] += os.pathsep + str(Path(__file__).resolve().parents[1])
    done = subprocess.run([sys.executable, "-c", probe], env=environment, capture_output=True, text=True, check=False)
    if "No module named 'PySide6'" in done.stderr or "No module named 'slicer'" in done.stderr:
        pytest.skip("needs PySide6-Essentials and slicer-core")
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr
