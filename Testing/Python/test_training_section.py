"""The section Training of the panel: choices, what a training will take, and one that is started and followed."""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from aligned_beads import write_bead_cohort
from CoWLandmarksLib.core.anatomy import anatomy_from_dict, default_anatomy
from CoWLandmarksTrainingLib.config.presets import PRESETS
from CoWLandmarksTrainingLib.jobs.detached_job import start_job
from CoWLandmarksTrainingLib.jobs.job_files import TrainingJob, TrainingJobState, beat, read_job, write_job
from long_log import LONG_LOG_ENTRIES, write_long_log
from other_anatomy import seven_points
from tiny_training import PATIENCE_SECONDS, state_of, tiny_arguments, wait_for
from training_widgets import choose, opened, texts, write_flawed_cohort

ANATOMY = default_anatomy()


def job_in(folder: Path, state: TrainingJobState, *, alive: bool = True) -> None:
    """As if a training had been started in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    arguments = ("train", "aligned", "--out", str(folder))
    write_job(
        folder, TrainingJob("token", arguments, time.time() if alive else 1.0, state, pid=1, message="the disk is full")
    )
    if alive:
        beat(folder, "token")


def finished_from_a_model(folder: Path) -> None:
    """As if a training that began from the model that ships had ended in `folder`."""
    job_in(folder, TrainingJobState.FINISHED)
    plan = PRESETS["cpu"].with_values(training={"start_from": "default"})
    (folder / "plan.json").write_text(json.dumps({"plan": plan.to_dict()}), encoding="utf-8")
    (folder / "model.cow.pt").write_bytes(b"")


@pytest.fixture(scope="module")
def mra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flawed_cohort(tmp_path_factory.mktemp("cohort") / "mra")


@pytest.fixture(scope="module")
def aligned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("aligned")
    write_bead_cohort(folder, mra=2, sets=2)
    return folder


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

    def test_time_and_disk_space_are_reported_before_the_start_only(self, application: Any, tmp_path: Path) -> None:
        widget = opened(application)
        ui = widget.ui
        ui.outputFolderEdit.currentPath = str(tmp_path)
        assert re.fullmatch(
            r"Expected, roughly: \d+ min on two cores of an AMD EPYC, or \d+ min on a graphics card \(NVIDIA H200\); "
            r"\d\.\d GB of disk space\.",
            ui.expectedLabel.text,
        )
        before = ui.expectedLabel.text
        ui.fineStepsSpinBox.value = 9600
        assert ui.expectedLabel.text != before
        choose(ui.deviceComboBox, "cpu")
        assert "graphics card" not in ui.expectedLabel.text
        job_in(tmp_path, TrainingJobState.RUNNING)
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
            (TrainingJobState.RUNNING, True, "stop", "goes on when"),
            (TrainingJobState.RUNNING, False, "resume", "without a message"),
            (TrainingJobState.STOPPED, True, "resume", "Resume"),
            (TrainingJobState.FAILED, True, "resume", "the disk is full"),
            (TrainingJobState.FINISHED, True, "", "Finished"),
        ],
    )
    def test_what_is_found_in_the_training_folder_decides_what_can_be_done(
        self, application: Any, tmp_path: Path, state: TrainingJobState, alive: bool, enabled: str, sentence: str
    ) -> None:
        job_in(tmp_path, state, alive=alive)
        (tmp_path / "plan.json").write_text("{}", encoding="utf-8")
        ui = opened(application).ui
        ui.outputFolderEdit.currentPath = str(tmp_path)
        buttons = {"start": ui.startButton, "stop": ui.stopButton, "resume": ui.resumeButton}
        assert [name for name, button in buttons.items() if button.enabled] == ([enabled] if enabled else [])
        assert sentence in ui.trainLabel.text
        assert ("--resume" in ui.commandText.plainText) == (enabled == "resume")

    @pytest.mark.parametrize(
        "state",
        [TrainingJobState.RUNNING, TrainingJobState.STOPPED, TrainingJobState.FAILED, TrainingJobState.FINISHED],
    )
    def test_the_command_is_the_one_that_ran_and_not_one_of_the_panel(
        self, application: Any, aligned: Path, tmp_path: Path, state: TrainingJobState
    ) -> None:
        out = tmp_path / "out"
        job_in(out, state)
        (out / "plan.json").write_text("{}", encoding="utf-8")
        ui = opened(application).ui
        ui.alignedFolderEdit.currentPath = str(aligned)
        ui.outputFolderEdit.currentPath = str(out)
        ran = f"cowlandmarks-train train aligned --out {out}"
        resumable = state in (TrainingJobState.STOPPED, TrainingJobState.FAILED)
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
        job_in(tmp_path, TrainingJobState.FAILED)
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

    def test_a_damaged_job_file_is_reported_and_another_folder_helps(self, application: Any, tmp_path: Path) -> None:
        (tmp_path / "job.json").write_text("{", encoding="utf-8")
        ui = opened(application).ui
        ui.outputFolderEdit.currentPath = str(tmp_path)
        assert "damaged" in ui.trainLabel.text
        ui.outputFolderEdit.currentPath = str(tmp_path / "other")
        assert "damaged" not in ui.trainLabel.text

    @pytest.mark.slow
    def test_a_training_is_started_followed_stopped_found_again_resumed_and_used(
        self, application: Any, aligned: Path, mra: Path, tmp_path: Path
    ) -> None:
        """The whole pipeline; the tiny settings that the panel does not offer are those the training was begun with."""
        out = tmp_path / "my training"
        widget = opened(application)
        ui = widget.ui
        ui.mraFolderEdit.currentPath = str(mra)
        ui.alignedFolderEdit.currentPath = str(aligned)
        ui.outputFolderEdit.currentPath = str(out)
        choices = widget.panel.training.choices
        arguments = tiny_arguments(aligned, out, pretrain=200, adversarial=40)
        widget.panel.training.arguments = lambda: arguments
        assert choices.output == out
        widget.panel.training.refresh()
        ui.startButton.click()
        ui.startButton.click()  # the second click finds the button disabled
        del widget.panel.training.arguments
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
        application.spin_until(
            lambda: widget.panel.training.job.state is not TrainingJobState.STARTING, PATIENCE_SECONDS
        )
        application.scene.Clear(False)  # a closed scene does not touch the training
        application.spin_until(lambda: widget.panel.training.job.state is TrainingJobState.FINISHED, PATIENCE_SECONDS)
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

    @pytest.mark.slow
    def test_the_training_outlives_the_panel_and_the_application(
        self, application: Any, aligned: Path, tmp_path: Path
    ) -> None:
        widget = opened(application)
        widget.ui.outputFolderEdit.currentPath = str(tmp_path)
        start_job(tmp_path, tiny_arguments(aligned, tmp_path, pretrain=100_000))
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
        job_in(tmp_path, TrainingJobState.RUNNING)
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


def series_named(scene: Any, name: str) -> Any:
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLPlotSeriesNode")):
        node = scene.GetNthNodeByClass(number, "vtkMRMLPlotSeriesNode")
        if node.GetName() == name:
            return node
    raise AssertionError(f"the scene has no series '{name}'")
