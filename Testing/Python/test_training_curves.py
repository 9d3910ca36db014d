"""Charts of a training: axes follow the curves, a person's zoom stays, a click before the first figures counts."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from CoWLandmarksTrainingLib.config.presets import PRESETS
from CoWLandmarksTrainingLib.jobs.job_files import TrainingJob, TrainingJobState, beat, write_job

ROLE = "CoWLandmarksTraining.Role"


def planned(folder: Path, **sections: dict[str, Any]) -> None:
    """A training that was begun with these settings and runs."""
    steps: dict[str, dict[str, Any]] = {
        "coarse": {"steps": 50},
        "circle": {"steps": 100},
        "fine": {"steps": 200, "adversarial_steps": 100},
    }
    plan = PRESETS["cpu"].with_values(**(steps | sections))
    (folder / "plan.json").write_text(json.dumps({"plan": plan.to_dict()}), encoding="utf-8")
    job_as(folder, TrainingJobState.RUNNING)


def job_as(folder: Path, state: TrainingJobState) -> None:
    write_job(folder, TrainingJob("token", ("train", "aligned", "--out", str(folder)), time.time(), state, pid=1))
    beat(folder, "token")


def log(folder: Path, network: str, entries: dict[int, float], **more: Any) -> None:
    """Lines of a log: loss at each step."""
    (folder / network).mkdir(exist_ok=True)
    with (folder / network / "log.jsonl").open("a", encoding="utf-8") as stream:
        for step, loss in entries.items():
            stream.write(json.dumps({"step": step, "loss": loss, "phase": 1, **more}) + "\n")


@pytest.fixture
def panel(application: Any, tmp_path: Path) -> Any:
    """The panel's widget with a training in `tmp_path` that has not reported anything yet."""
    planned(tmp_path)
    widget = application.load_module("CoWLandmarksTraining")
    widget.ui.outputFolderEdit.currentPath = str(tmp_path)
    return widget


def chart_of(application: Any, role: str) -> Any:
    nodes = [application.scene.GetNthNodeByClass(n, "vtkMRMLPlotChartNode") for n in range(9)]
    return next((node for node in nodes if node is not None and node.GetAttribute(ROLE) == role), None)


def shown_chart(application: Any) -> Any:
    view = application.scene.GetFirstNodeByClass("vtkMRMLPlotViewNode")
    return None if view is None else view.GetPlotChartNode()


def test_the_axes_follow_while_a_curve_grows(application: Any, panel: Any, tmp_path: Path) -> None:
    log(tmp_path, "coarse", {10: 0.04})
    panel.panel.training.advance()
    panel.ui.lossButton.click()
    chart = chart_of(application, "loss")
    assert not chart.GetXAxisRangeAuto()
    assert chart.GetXAxisRange() == pytest.approx((0.0, 10.2))
    assert chart.GetYAxisRange() == pytest.approx((0.04 / 1.2, 0.04 * 1.2))
    log(tmp_path, "coarse", {20: 0.01, 30: 0.002})
    panel.panel.training.advance()
    assert chart.GetXAxisRange() == pytest.approx((0.0, 30.6))
    assert chart.GetYAxisRange() == pytest.approx((0.002 / 1.2, 0.04 * 1.2))


def test_validation_and_discriminator_begin_at_zero(application: Any, panel: Any, tmp_path: Path) -> None:
    log(tmp_path, "fine", {250: 0.01}, validation={"mre_mm": 2.0}, discriminator_accuracy=0.8)
    panel.panel.training.advance()
    panel.ui.validationButton.click()
    assert chart_of(application, "validation").GetYAxisRange() == pytest.approx((0.0, 2.1))
    assert chart_of(application, "discriminator").GetYAxisRange() == pytest.approx((0.0, 0.84))


def test_who_zooms_in_keeps_it_until_the_button_is_pressed(application: Any, panel: Any, tmp_path: Path) -> None:
    log(tmp_path, "coarse", {10: 0.04, 20: 0.01})
    panel.panel.training.advance()
    panel.ui.lossButton.click()
    chart = chart_of(application, "loss")
    chart.SetXAxisRange(15.0, 25.0)  # as the plot view does when a person zooms with the mouse
    log(tmp_path, "coarse", {30: 0.002})
    panel.panel.training.advance()
    assert chart.GetXAxisRange() == (15.0, 25.0)
    panel.ui.lossButton.click()
    assert chart.GetXAxisRange() == pytest.approx((0.0, 30.6))
    log(tmp_path, "coarse", {40: 0.002})
    panel.panel.training.advance()
    assert chart.GetXAxisRange() == pytest.approx((0.0, 40.8))


def test_a_click_before_the_first_figures_shows_the_curve_with_them(
    application: Any, panel: Any, tmp_path: Path
) -> None:
    panel.ui.validationButton.click()
    panel.ui.lossButton.click()
    assert panel.ui.curvesNoteLabel.text == "'Loss' has no figures yet; it is shown as soon as they come."
    assert shown_chart(application) is None
    log(tmp_path, "coarse", {10: 0.04})
    panel.panel.training.advance()
    assert shown_chart(application) is chart_of(application, "loss")
    assert not panel.ui.curvesNoteLabel.visible
    log(tmp_path, "coarse", {20: 0.03}, validation={"mre_mm": 2.0})
    panel.panel.training.advance()
    assert shown_chart(application) is chart_of(application, "loss"), "the last click counts"


def test_a_training_that_ended_without_such_figures_says_so(application: Any, panel: Any, tmp_path: Path) -> None:
    panel.ui.discriminatorButton.click()
    job_as(tmp_path, TrainingJobState.FINISHED)
    panel.panel.training.advance()
    assert panel.ui.curvesNoteLabel.text == "This training has no figures of 'Discriminator'."
    application.scene.Clear(False)
    panel.panel.training.refresh()
    assert not panel.ui.curvesNoteLabel.visible


def test_a_resumed_training_draws_into_the_chart_that_is_shown(application: Any, panel: Any, tmp_path: Path) -> None:
    from CoWLandmarksTrainingLib.panel.log_following import FollowedTraining

    log(tmp_path, "coarse", {10: 0.04})
    panel.panel.training.advance()
    panel.ui.lossButton.click()
    chart = shown_chart(application)
    curves = panel.panel.training.curves
    again = FollowedTraining(tmp_path)
    again.update()
    curves.follow(again, wanted=True)
    curves.update()
    assert chart_of(application, "loss") is chart


def series_names(application: Any, role: str) -> list[str]:
    chart = chart_of(application, role)
    return [chart.GetNthPlotSeriesNode(n).GetName() for n in range(chart.GetNumberOfPlotSeriesNodes())]


def test_every_stage_has_a_curve_and_the_adversarial_phase_one_of_its_own(
    application: Any, panel: Any, tmp_path: Path
) -> None:
    log(tmp_path, "coarse", {1: 0.4, 50: 0.04}, validation={"mre_mm": 9.0})
    log(tmp_path, "circle", {1: 0.3, 100: 0.03}, validation={"mre_mm": 3.0})
    log(tmp_path, "fine", {1: 0.2, 200: 0.02}, validation={"mre_mm": 2.0})
    log(tmp_path, "fine", {210: 0.02, 220: 0.01}, phase=2, discriminator_accuracy=0.8)
    panel.panel.training.advance()
    panel.ui.lossButton.click()
    networks = ["coarse network", "circle network", "fine network"]
    assert series_names(application, "loss") == [*networks, "fine network, adversarial"]
    assert series_names(application, "validation") == [f"{name} (mm)" for name in networks]
    assert series_names(application, "discriminator") == ["fine network: accuracy"]
    chart = chart_of(application, "loss")
    rows = {
        node.GetName(): node.GetTableNode().GetNumberOfRows()
        for node in (chart.GetNthPlotSeriesNode(n) for n in range(4))
    }
    assert rows == dict.fromkeys(rows, 2)


def test_what_is_waited_for_is_said_until_figures_come(panel: Any, tmp_path: Path) -> None:
    ui, training = panel.ui, panel.panel.training
    assert ui.coarseFiguresLabel.text == "50 steps, no figures yet"
    assert ui.circleFiguresLabel.text == "100 steps"
    assert ui.fineFiguresLabel.text == "200 steps"
    assert re.search(r"The first step of this part is made after about \d+ s\.$", ui.trainLabel.text)
    log(tmp_path, "coarse", {10: 0.04})
    training.advance()
    assert ui.coarseFiguresLabel.text.startswith("10 of 50, loss 0.04")
    assert "first step" not in ui.trainLabel.text
    log(tmp_path, "circle", {100: 0.03})
    training.advance()
    assert ui.coarseProgressBar.value == 100
    assert ui.fineFiguresLabel.text == "200 steps, no figures yet"
    log(tmp_path, "fine", {200: 0.01})
    training.advance()
    assert ui.fineAdversarialFiguresLabel.text == "100 steps, no figures yet"
    log(tmp_path, "fine", {300: 0.01}, validation={"mre_mm": 2.0})
    training.advance()
    assert "the model is calibrated on validation cases and written" in ui.trainLabel.text
    job_as(tmp_path, TrainingJobState.FINISHED)
    training.advance()
    assert ui.trainLabel.text == "Finished: the model is in the training folder."


def test_pace_and_time_left_are_reported_for_each_part_and_in_all(panel: Any, tmp_path: Path) -> None:
    ui, training = panel.ui, panel.panel.training
    log(tmp_path, "coarse", {1: 0.5}, seconds_per_step=40.0)
    training.advance()
    assert "s a step" not in ui.coarseFiguresLabel.text, "the first step waits for the processes that make batches"
    assert "left" not in ui.trainLabel.text
    log(tmp_path, "coarse", {10: 0.04}, seconds_per_step=2.0)
    training.advance()
    assert ui.coarseFiguresLabel.text == "10 of 50, loss 0.04, 2 s a step, 80 s left"
    assert re.search(r"About \d+ min left in all\.$", ui.trainLabel.text)
    log(tmp_path, "fine", {300: 0.01}, seconds_per_step=2.0)
    training.advance()
    assert ui.fineAdversarialFiguresLabel.text == "100 of 100, loss 0.01, 2 s a step"
    assert "left" not in ui.trainLabel.text


def test_only_the_parts_of_the_recipe_are_shown(application: Any, tmp_path: Path) -> None:
    planned(
        tmp_path,
        training={"stages": ("coarse", "fine"), "start_from": "default"},
        coarse={"steps": 0},
        fine={"steps": 0, "adversarial_steps": 40},
    )
    ui = application.load_module("CoWLandmarksTraining").ui
    ui.outputFolderEdit.currentPath = str(tmp_path)
    assert ui.coarseFiguresLabel.text == "stays as in the model it begins from"
    assert ui.coarseProgressBar.isHidden()
    assert ui.circleProgressBar.isHidden() and ui.circlePhaseLabel.isHidden()
    assert ui.fineProgressBar.isHidden()
    assert ui.fineAdversarialFiguresLabel.text == "40 steps, no figures yet"


def test_before_the_plan_is_there_the_cases_are_read(application: Any, tmp_path: Path) -> None:
    job_as(tmp_path, TrainingJobState.RUNNING)
    ui = application.load_module("CoWLandmarksTraining").ui
    ui.outputFolderEdit.currentPath = str(tmp_path)
    assert ui.trainLabel.text.endswith("The aligned cases are read.")


def test_another_evaluation_has_all_its_bars_in_sight(application: Any) -> None:
    from CoWLandmarksTrainingLib.panel.scene_plots import add_landmark_errors

    row = {"median_mm": 1.0, "n": 4}
    for errors in ((1.0, 2.0), (8.0, 3.0, None)):
        rows = {f"L{number}": {**row, "mre_mm": error} for number, error in enumerate(errors)}
        chart = add_landmark_errors(application.scene, rows, "a model")
    assert chart.GetYAxisRange() == pytest.approx((0.0, 8.4))
    assert chart.GetXAxisRange() == (-1.0, 3.0)
