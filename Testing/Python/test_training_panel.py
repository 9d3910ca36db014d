"""The panel of CoW Landmarks Training, driven through its widgets with real cases, commands and MRML nodes."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from aligned_beads import write_bead_cohort
from cohort_cases import write_cohort
from CoWLandmarksLib.core.anatomy import anatomy_from_dict, default_anatomy
from CoWLandmarksTrainingLib.align.aligned_folder import AlignedCohort
from CoWLandmarksTrainingLib.config.settings import PRESETS
from CoWLandmarksTrainingLib.jobs.detached_job import child_environment, start_job
from CoWLandmarksTrainingLib.jobs.job_files import Job, JobState, beat, read_job, write_job
from long_log import LONG_LOG_ENTRIES, write_long_log
from other_anatomy import seven_points
from tiny_training import PATIENCE_SECONDS, state_of, tiny_words, wait_for

pytestmark = pytest.mark.slow

ANATOMY = default_anatomy()


def opened(application: Any) -> Any:
    return application.load_module("CoWLandmarksTraining")


def texts(table: Any, column: int) -> list[str]:
    return [table.item(row, column).text() for row in range(table.rowCount)]


def choose(box: Any, key: str) -> None:
    index = box.findData(key)
    assert index >= 0, key
    box.setCurrentIndex(index)


def job_in(folder: Path, state: JobState, *, alive: bool = True) -> None:
    """As if a training had been started in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ("train", "aligned", "--out", str(folder))
    write_job(folder, Job("token", words, time.time() if alive else 1.0, state, pid=1, message="the disk is full"))
    if alive:
        beat(folder, "token")


def finished_from_a_model(folder: Path) -> None:
    """As if a training that began from the model that ships had ended in `folder`."""
    job_in(folder, JobState.FINISHED)
    plan = PRESETS["cpu"].with_values(training={"start_from": "default"})
    (folder / "plan.json").write_text(json.dumps({"plan": plan.to_dict()}), encoding="utf-8")
    (folder / "model.cow.pt").write_bytes(b"")


@pytest.fixture(scope="module")
def mra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four MRA cases; one has its sides exchanged, one cannot be read at all."""
    folder = tmp_path_factory.mktemp("cohort") / "mra"
    write_cohort(folder, ANATOMY, 4)
    landmarks = folder / "mra01" / "landmarks.mrk.json"
    text = landmarks.read_text(encoding="utf-8")
    landmarks.write_text(text.replace('"R-', '"X-').replace('"L-', '"R-').replace('"X-', '"L-'), encoding="utf-8")
    broken = folder / "broken"
    broken.mkdir()
    (broken / "case.json").write_text("{", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def aligned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("aligned")
    write_bead_cohort(folder, mra=2, sets=2)
    return folder


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

    def test_the_table_says_in_words_what_is_wrong_the_worst_first(self, application: Any, mra: Path) -> None:
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

    def test_a_case_that_cannot_be_opened_is_told(self, application: Any, mra: Path) -> None:
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
        words = widget.panel.alignment.words()
        assert words[-4:] == ["--by", "template", "--mra-template", "mra03"]


class TestTraining:
    """Section 3."""

    def test_the_command_line_is_shown_and_copied(self, application: Any, aligned: Path, tmp_path: Path) -> None:
        import slicer

        ui = opened(application).ui
        ui.alignedFolderEdit.currentPath = str(aligned)
        ui.outputFolderEdit.currentPath = str(tmp_path / "out")
        choose(ui.presetComboBox, "paper")
        choose(ui.modalityComboBox, "mra")
        assert ui.commandText.plainText == (
            f"cowlandmarks-train train {aligned} --out {tmp_path / 'out'} --preset paper "
            "--image-modality mra --prior none --device auto"
        )
        ui.parametersGroupBox.collapsed = False
        ui.lambdaSpinBox.value = 0.01
        assert not ui.gradientShareSpinBox.enabled
        assert ui.commandText.plainText.endswith("--set discriminator.weight=0.01")
        ui.copyButton.click()
        assert slicer.app.clipboard().text() == ui.commandText.plainText

    def test_what_it_begins_from_is_in_the_command(self, application: Any, aligned: Path, tmp_path: Path) -> None:
        widget = opened(application)
        ui = widget.ui
        ui.alignedFolderEdit.currentPath = str(aligned)
        ui.outputFolderEdit.currentPath = str(tmp_path / "out")
        assert "--start-from default" in ui.commandText.plainText
        assert ui.startFileEdit.isHidden()
        choose(ui.startComboBox, "nothing")
        assert "--start-from" not in ui.commandText.plainText
        choose(ui.startComboBox, "file")
        assert not ui.startFileEdit.isHidden()
        assert not ui.startButton.enabled
        assert ui.trainLabel.text == "Choose the model file to begin from."
        file = tmp_path / "own.cow.pt"
        ui.startFileEdit.currentPath = str(file)
        assert ui.trainLabel.text == "There is no file 'own.cow.pt' to begin from."
        assert not ui.startButton.enabled
        file.write_bytes(b"")
        widget.panel.training.refresh()
        assert ui.startButton.enabled
        assert f"--start-from {file}" in ui.commandText.plainText
        choose(ui.presetComboBox, "gpu")
        assert f"--start-from {file}" in ui.commandText.plainText

    def test_the_preset_of_the_paper_begins_from_nothing_and_has_no_circle_network(self, application: Any) -> None:
        widget = opened(application)
        ui = widget.ui
        assert widget.logic.getParameterNode().beginFrom == "default"
        assert not ui.circleProgressBar.isHidden() and ui.circleStepsSpinBox.enabled
        choose(ui.presetComboBox, "paper")
        assert widget.logic.getParameterNode().beginFrom == "nothing"
        assert ui.startComboBox.currentText.startswith("nothing")
        assert ui.circleProgressBar.isHidden() and not ui.circleStepsSpinBox.enabled
        assert ui.coarseFiguresLabel.text == "12000 steps"
        assert ui.fineAdversarialFiguresLabel.text == "10000 steps"
        choose(ui.presetComboBox, "cpu")
        assert widget.logic.getParameterNode().beginFrom == "default"
        assert ui.fineAdversarialProgressBar.isHidden()
        ui.parametersGroupBox.collapsed = False
        ui.adversarialStepsSpinBox.value = 300
        assert ui.fineAdversarialFiguresLabel.text == "300 steps"

    def test_phantoms_are_offered_where_the_cohort_has_their_landmarks(
        self, application: Any, aligned: Path, tmp_path: Path
    ) -> None:
        ui = opened(application).ui
        ui.outputFolderEdit.currentPath = str(tmp_path / "out")
        assert not ui.phantomSpinBox.enabled
        ui.alignedFolderEdit.currentPath = str(aligned)
        assert ui.phantomSpinBox.enabled
        ui.phantomSpinBox.value = 30
        assert "--phantoms 0.3" in ui.commandText.plainText
        choose(ui.presetComboBox, "paper")
        assert not ui.phantomSpinBox.enabled
        assert "whole crop" in ui.phantomSpinBox.toolTip
        assert "--phantoms" not in ui.commandText.plainText
        choose(ui.presetComboBox, "cpu")
        assert "--phantoms 0.3" in ui.commandText.plainText
        write_bead_cohort(tmp_path / "other", mra=1, sets=1, anatomy=anatomy_from_dict(seven_points()))
        ui.alignedFolderEdit.currentPath = str(tmp_path / "other")
        assert not ui.phantomSpinBox.enabled
        assert "19 landmarks" in ui.phantomSpinBox.toolTip
        assert "--phantoms" not in ui.commandText.plainText

    def test_time_and_disk_space_are_told_before_the_start_only(self, application: Any, tmp_path: Path) -> None:
        widget = opened(application)
        ui = widget.ui
        ui.outputFolderEdit.currentPath = str(tmp_path)
        assert re.fullmatch(
            r"Expected, roughly: \d+ min on one core of an AMD EPYC, or \d+ min on a graphics card \(NVIDIA H200\); "
            r"\d\.\d GB of disk space\.",
            ui.expectedLabel.text,
        )
        before = ui.expectedLabel.text
        ui.fineStepsSpinBox.value = 9600
        assert ui.expectedLabel.text != before
        choose(ui.deviceComboBox, "cpu")
        assert "graphics card" not in ui.expectedLabel.text
        job_in(tmp_path, JobState.RUNNING)
        widget.panel.training.advance()
        assert ui.expectedLabel.isHidden()

    @pytest.mark.parametrize(
        ("interval", "new_mm", "ending"),
        [
            ([-0.4, -0.1], 1.2, "-0.40 to -0.10)."),
            ([-0.4, 0.2], 1.4, "evaluate both on more scans."),
            ([0.1, 0.4], 1.8, "WARNING: the new model is not better; keep the old one."),
            (None, 1.8, "WARNING: the new model is not better; keep the old one."),
        ],
    )
    def test_at_the_end_it_says_whether_the_training_helped(
        self, application: Any, tmp_path: Path, interval: list[float] | None, new_mm: float, ending: str
    ) -> None:
        finished_from_a_model(tmp_path)
        compared = {"scans": 6, "landmarks": 114, "old_mre_mm": 1.5, "new_mre_mm": new_mm, "interval_mm": interval}
        (tmp_path / "comparison.json").write_text(json.dumps(compared), encoding="utf-8")
        ui = opened(application).ui
        ui.outputFolderEdit.currentPath = str(tmp_path)
        assert not ui.comparisonLabel.isHidden()
        assert "1.50 mm" in ui.comparisonLabel.text
        assert ui.comparisonLabel.text.endswith(ending)
        assert bool(ui.comparisonLabel.styleSheet) == ("WARNING" in ending or "more scans" in ending)
        ui.outputFolderEdit.currentPath = str(tmp_path / "new")
        assert ui.comparisonLabel.isHidden()

    def test_a_training_that_could_not_be_compared_says_so(self, application: Any, tmp_path: Path) -> None:
        finished_from_a_model(tmp_path)
        ui = opened(application).ui
        ui.outputFolderEdit.currentPath = str(tmp_path)
        assert "nothing to compare" in ui.comparisonLabel.text
        (tmp_path / "comparison.json").write_text("{", encoding="utf-8")
        ui.outputFolderEdit.currentPath = ""
        ui.outputFolderEdit.currentPath = str(tmp_path)
        assert "cannot be read" in ui.comparisonLabel.text

    def test_a_new_scene_starts_with_the_preset_cpu(self, application: Any, aligned: Path, tmp_path: Path) -> None:
        ui = opened(application).ui
        ui.alignedFolderEdit.currentPath = str(aligned)
        ui.outputFolderEdit.currentPath = str(tmp_path)
        assert "--preset cpu" in ui.commandText.plainText
        assert "--set" not in ui.commandText.plainText

    def test_the_scene_keeps_the_choices_and_a_closed_scene_gives_new_ones(self, application: Any) -> None:
        widget = opened(application)
        choose(widget.ui.presetComboBox, "gpu")
        widget.ui.seedSpinBox.value = 42
        widget.ui.phantomSpinBox.value = 20
        choose(widget.ui.startComboBox, "nothing")
        node = widget.logic.getParameterNode()
        assert (node.beginFrom, node.phantomPercent) == ("nothing", 20)
        assert (node.preset, node.seed, node.fineSteps) == ("gpu", 42, 40000)
        application.scene.Clear(False)
        application.process_events()
        assert widget.ui.seedSpinBox.value == 1
        assert widget.ui.startComboBox.currentText == "the model that ships"
        assert widget.logic.getParameterNode().preset == "cpu"

    @pytest.mark.parametrize(
        ("state", "alive", "enabled", "sentence"),
        [
            (JobState.RUNNING, True, "stop", "goes on when"),
            (JobState.RUNNING, False, "resume", "without a word"),
            (JobState.STOPPED, True, "resume", "Resume"),
            (JobState.FAILED, True, "resume", "the disk is full"),
            (JobState.FINISHED, True, "", "Finished"),
        ],
    )
    def test_what_is_found_in_the_training_folder_decides_what_can_be_done(
        self, application: Any, tmp_path: Path, state: JobState, alive: bool, enabled: str, sentence: str
    ) -> None:
        job_in(tmp_path, state, alive=alive)
        (tmp_path / "plan.json").write_text("{}", encoding="utf-8")
        ui = opened(application).ui
        ui.outputFolderEdit.currentPath = str(tmp_path)
        buttons = {"start": ui.startButton, "stop": ui.stopButton, "resume": ui.resumeButton}
        assert [name for name, button in buttons.items() if button.enabled] == ([enabled] if enabled else [])
        assert sentence in ui.trainLabel.text
        assert ("--resume" in ui.commandText.plainText) == (enabled == "resume")

    @pytest.mark.parametrize("state", [JobState.RUNNING, JobState.STOPPED, JobState.FAILED, JobState.FINISHED])
    def test_the_command_is_the_one_that_ran_and_not_one_of_the_panel(
        self, application: Any, aligned: Path, tmp_path: Path, state: JobState
    ) -> None:
        out = tmp_path / "out"
        job_in(out, state)
        (out / "plan.json").write_text("{}", encoding="utf-8")
        ui = opened(application).ui
        ui.alignedFolderEdit.currentPath = str(aligned)
        ui.outputFolderEdit.currentPath = str(out)
        ran = f"cowlandmarks-train train aligned --out {out}"
        resumable = state in (JobState.STOPPED, JobState.FAILED)
        assert ui.commandText.plainText == ran + (" --resume" if resumable else "")
        assert ui.commandLabel.text.startswith("The command that r")
        application.scene.Clear(False)  # other settings than those of the training
        application.process_events()
        assert ui.commandText.plainText.startswith(ran)
        ui.outputFolderEdit.currentPath = str(tmp_path / "new")
        assert f"train {aligned} --out {tmp_path / 'new'} --preset cpu" in ui.commandText.plainText
        assert ui.commandLabel.text == "The same without Slicer's window:"
        ui.outputFolderEdit.currentPath = str(out)
        assert ui.commandText.plainText.startswith(ran)

    def test_a_training_that_failed_before_it_began_is_started_again_or_changed(
        self, application: Any, aligned: Path, tmp_path: Path
    ) -> None:
        job_in(tmp_path, JobState.FAILED)
        widget = opened(application)
        ui = widget.ui
        ui.alignedFolderEdit.currentPath = str(aligned)
        ui.outputFolderEdit.currentPath = str(tmp_path)
        assert ui.startButton.enabled
        assert ui.commandText.plainText == f"cowlandmarks-train train aligned --out {tmp_path}"
        assert "'Start' runs it again" in ui.commandLabel.text
        widget.exit()
        widget.enter()  # another module was looked at meanwhile
        assert "'Start' runs it again" in ui.commandLabel.text
        ui.seedSpinBox.value = 7
        assert ui.commandText.plainText.endswith("--device auto --set training.seed=7")
        assert "again" not in ui.commandLabel.text

    def test_a_damaged_job_file_is_told_and_another_folder_helps(self, application: Any, tmp_path: Path) -> None:
        (tmp_path / "job.json").write_text("{", encoding="utf-8")
        ui = opened(application).ui
        ui.outputFolderEdit.currentPath = str(tmp_path)
        assert "damaged" in ui.trainLabel.text
        ui.outputFolderEdit.currentPath = str(tmp_path / "other")
        assert "damaged" not in ui.trainLabel.text

    def test_a_training_is_started_followed_stopped_found_again_resumed_and_used(
        self, application: Any, aligned: Path, mra: Path, tmp_path: Path
    ) -> None:
        """The whole road; the tiny settings that the panel does not offer are those the training was begun with."""
        out = tmp_path / "my training"
        widget = opened(application)
        ui = widget.ui
        ui.mraFolderEdit.currentPath = str(mra)
        ui.alignedFolderEdit.currentPath = str(aligned)
        ui.outputFolderEdit.currentPath = str(out)
        choices = widget.panel.training.choices
        words = tiny_words(aligned, out, pretrain=200, adversarial=40)
        widget.panel.training.words = lambda: words
        assert choices.output == out
        widget.panel.training.refresh()
        ui.startButton.click()
        ui.startButton.click()  # the second click finds the button disabled
        del widget.panel.training.words
        assert not ui.startButton.enabled
        first = read_job(out)
        assert first is not None
        application.spin_until(
            lambda: "of 200" in ui.fineFiguresLabel.text and ui.fineProgressBar.value > 0, PATIENCE_SECONDS
        )
        assert ui.coarseProgressBar.value == 100
        ui.lossButton.click()
        loss = series_named(application.scene, "fine network")
        rows = loss.GetTableNode().GetNumberOfRows()
        assert rows >= 1
        application.spin_until(lambda: loss.GetTableNode().GetNumberOfRows() > rows, PATIENCE_SECONDS)
        ui.stopButton.click()
        assert not ui.stopButton.enabled
        application.spin_until(lambda: ui.resumeButton.enabled, PATIENCE_SECONDS)
        assert "Stopped" in ui.trainLabel.text

        import slicer

        slicer.util.reloadScriptedModule("CoWLandmarksTraining")
        widget = slicer.util.getModuleWidget("CoWLandmarksTraining")
        ui = widget.ui
        assert ui.outputFolderEdit.currentPath == str(out)
        assert ui.resumeButton.enabled
        ui.resumeButton.click()
        application.spin_until(lambda: widget.panel.training.job.state is not JobState.STARTING, PATIENCE_SECONDS)
        application.scene.Clear(False)  # a closed scene does not touch the training
        application.spin_until(lambda: widget.panel.training.job.state is JobState.FINISHED, PATIENCE_SECONDS)
        assert ui.fineAdversarialProgressBar.value == 100
        assert ui.modelFileEdit.currentPath == str(out / "model.cow.pt")

        choose(ui.splitComboBox, "")
        ui.evaluateButton.click()
        assert ui.evaluateButton.text == "Cancel"
        application.spin_until(lambda: not widget.panel.evaluation.running, PATIENCE_SECONDS)
        assert texts(ui.figuresTable, 0) == ["all", "MRA"], ui.evaluateLabel.text
        bars = series_named(application.scene, "mean radial error (mm)")
        assert bars.GetTableNode().GetNumberOfRows() == len(ANATOMY)
        ui.useModelButton.click()
        from CoWLandmarksPanel.machine_settings import MachineSettings

        assert MachineSettings().modelFile == out / "model.cow.pt"

    def test_the_training_outlives_the_panel_and_the_application(
        self, application: Any, aligned: Path, tmp_path: Path
    ) -> None:
        widget = opened(application)
        widget.ui.outputFolderEdit.currentPath = str(tmp_path)
        start_job(tmp_path, tiny_words(aligned, tmp_path, pretrain=100_000))
        application.spin_until(lambda: widget.ui.stopButton.enabled, PATIENCE_SECONDS)
        application.quit()
        widget.cleanup()
        job = read_job(tmp_path)
        assert job is not None
        time.sleep(1.0)
        if sys.platform != "win32":  # where it would end the process
            os.kill(job.pid, 0)
        later = read_job(tmp_path)
        assert later is not None and later.state.active
        from CoWLandmarksTrainingLib.jobs.job_files import request_stop

        request_stop(tmp_path)
        wait_for(lambda: not state_of(tmp_path).active)

    def test_a_long_log_is_taken_a_little_at_a_look(self, application: Any, tmp_path: Path) -> None:
        job_in(tmp_path, JobState.RUNNING)
        write_long_log(tmp_path)
        widget = opened(application)
        section = widget.panel.training
        widget.ui.outputFolderEdit.currentPath = str(tmp_path)
        widget.ui.lossButton.click()
        counts = [len(section._log.logs["fine"].entries)]
        for _tick in range(12):
            section.advance()
            counts.append(len(section._log.logs["fine"].entries))
        assert max(after - before for before, after in itertools.pairwise([0, *counts])) < LONG_LOG_ENTRIES / 4
        assert counts[-1] == LONG_LOG_ENTRIES
        rows = series_named(application.scene, "fine network").GetTableNode().GetNumberOfRows()
        assert rows == LONG_LOG_ENTRIES


class TestEvaluation:
    """Section 4."""

    def test_a_model_that_is_not_there_is_told(self, application: Any, tmp_path: Path) -> None:
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


def series_named(scene: Any, name: str) -> Any:
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLPlotSeriesNode")):
        node = scene.GetNthNodeByClass(number, "vtkMRMLPlotSeriesNode")
        if node.GetName() == name:
            return node
    raise AssertionError(f"the scene has no series '{name}'")
