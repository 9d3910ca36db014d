"""An error in one section of a panel is reported, logged once, and does not stop the other sections."""

from __future__ import annotations

import logging
from typing import Any

import pytest

pytest.importorskip("SlicerStandIn", reason="needs slicer-core and PySide6", exc_type=ImportError)

from cohort_cases import bead_image
from CoWLandmarksLib.scene.nodes import add_detection, add_volume
from example_detection import ANATOMY
from panel_desk import POINTS, make_detection

SECTIONS = ("result", "review", "export", "compare")


def fail_in(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    """Let a method raise what PythonQt raises for a call that it does not know."""

    def broken(*arguments: Any) -> None:
        raise ValueError("Could not find matching overload for given arguments")

    broken.__name__ = name
    monkeypatch.setattr(owner, name, broken)


def detected(application: Any) -> Any:
    volume = add_volume(application.scene, bead_image(POINTS))
    return add_detection(application.scene, volume, make_detection(), ANATOMY).markups


def reached(panel: Any, markups: Any) -> set[str]:
    """The sections that show the detection."""
    shown = {
        "result": panel.result.ui.summaryLabel.text != "No detection yet.",
        "review": panel.review.markupsNode is markups and panel.review.ui.landmarkTable.rowCount == 19,
        "export": not panel.export.ui.exportFrame.isHidden(),
        "compare": panel.compare.ui.firstComboBox.currentNode() is markups,
    }
    return {name for name, there in shown.items() if there}


@pytest.mark.parametrize("broken", SECTIONS)
def test_a_section_that_fails_is_reported_and_logged_once_and_the_others_get_the_detection(
    application: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    widget = application.load_module("CoWLandmarks")
    panel, ui = widget.panel, widget.ui
    assert ui.sectionErrorLabel.isHidden()
    with monkeypatch.context() as patched:
        fail_in(patched, getattr(panel, broken), "setDetection")
        markups = detected(application)
        for _ in range(3):
            panel.refresh()
        assert reached(panel, markups) >= set(SECTIONS) - {broken}
        assert not ui.sectionErrorLabel.isHidden()
        assert f"'{broken.capitalize()}' failed (ValueError: Could not find" in ui.sectionErrorLabel.text
        logged = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert len(logged) == 1 and broken.capitalize() in logged[0].getMessage() and logged[0].exc_info
        assert len(application.slot_errors) == 1 and "in broken" in application.slot_errors[0]
    panel.refresh()
    assert ui.sectionErrorLabel.isHidden() and reached(panel, markups) == set(SECTIONS)
    application.slot_errors.clear()


def test_a_drawing_that_cannot_be_made_leaves_review_export_and_comparison_usable(
    application: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from CoWLandmarksPanel import review_panel

    widget = application.load_module("CoWLandmarks")
    fail_in(monkeypatch, review_panel, "schematicPixmap")
    markups = detected(application)
    widget.panel.refresh()
    assert reached(widget.panel, markups) == set(SECTIONS)
    assert "'Review' failed" in widget.ui.sectionErrorLabel.text
    assert len(application.slot_errors) == 1
    application.slot_errors.clear()


def test_two_different_failures_of_a_section_are_both_logged(application: Any) -> None:
    import qt
    from CoWLandmarksPanel.section_guard import SectionGuard

    guard = SectionGuard(qt.QLabel())
    texts: list[str] = []

    def step(kind: type[Exception]) -> None:
        raise kind(f"number {len(texts)}")

    for kind in (ValueError, KeyError, ValueError):
        guard.call("Export", step, kind)
        texts.append(guard._label.text)
    assert "ValueError: number 0" in texts[0] and "number 1" in texts[1] and "ValueError: number 2" in texts[2]
    assert len(application.slot_errors) == 2
    application.slot_errors.clear()


def test_cleaning_up_goes_through_all_sections(application: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    widget = application.load_module("CoWLandmarks")
    detected(application)
    widget.panel.refresh()
    fail_in(monkeypatch, widget.panel.result, "cleanup")
    widget.panel.cleanup()
    assert widget.panel.review.markupsNode is None
    assert len(application.slot_errors) == 1
    application.slot_errors.clear()


@pytest.mark.parametrize("broken", ["update_region_balls", "refresh_summary"])
def test_what_fails_after_a_correction_is_reported_and_the_arteries_follow_all_the_same(
    application: Any, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    from CoWLandmarksPanel import detection_panel

    widget = application.load_module("CoWLandmarks")
    panel, markups = widget.panel, detected(application)
    application.process_events()
    updated: list[Any] = []
    monkeypatch.setattr(detection_panel, "torchInstalled", lambda: True)
    monkeypatch.setattr(widget.logic.runs, "updateArteries", lambda node, _on_end: updated.append(node))
    fail_in(monkeypatch, detection_panel, broken)
    markups.SetNthControlPointPosition(0, 1.0, 2.0, 3.0)
    panel.onLandmarksChanged(markups, (markups.GetNthControlPointLabel(0),))
    assert updated == [markups] and "'Result' failed" in widget.ui.sectionErrorLabel.text
    assert len(application.slot_errors) == 1
    application.slot_errors.clear()


def test_a_look_or_a_result_that_fails_in_a_turn_of_its_own_is_reported(
    application: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from CoWLandmarksPanel.detection_runs import Run

    widget = application.load_module("CoWLandmarks")
    panel, markups = widget.panel, detected(application)
    with monkeypatch.context() as patched:
        fail_in(patched, panel, "_display")
        panel._toDisplay, panel._centreViews = markups, True
        panel._displayTimer.start()
        application.process_events()
        assert "'Result' failed" in widget.ui.sectionErrorLabel.text
    panel._guard.call("Result", panel._onDisplay)
    assert widget.ui.sectionErrorLabel.isHidden()
    fail_in(monkeypatch, panel.result, "refresh")
    panel._onArteries(Run("arteries"))
    assert "'Result' failed" in widget.ui.sectionErrorLabel.text
    application.slot_errors.clear()


def test_a_training_that_cannot_be_followed_is_logged_once_however_often_the_timer_asks(
    application: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    widget = application.load_module("CoWLandmarksTraining")
    fail_in(monkeypatch, widget.panel.training, "_readJob")
    timer = widget.panel.training._timer
    timer.setInterval(1)
    asked: list[int] = []
    timer.connect("timeout()", lambda: asked.append(1))
    application.spin_until(lambda: len(asked) > 3)
    timer.stop()
    assert "'3. Training' failed" in widget.ui.sectionErrorLabel.text
    assert len(application.slot_errors) == 1
    application.slot_errors.clear()


STEPS = {
    "1. Cases": ("cases", "refresh"),
    "2. Alignment": ("alignment", "showTemplates"),
    "3. Training": ("training", "refresh"),
    "4. Evaluation": ("evaluation", "suggestModel"),
}


@pytest.mark.parametrize("title", STEPS)
def test_a_section_of_the_training_panel_that_fails_leaves_the_others_their_turn(
    application: Any, monkeypatch: pytest.MonkeyPatch, title: str
) -> None:
    widget = application.load_module("CoWLandmarksTraining")
    panel, ui = widget.panel, widget.ui
    turns: list[str] = []
    with monkeypatch.context() as patched:
        for name, (section, step) in STEPS.items():
            patched.setattr(getattr(panel, section), step, lambda name=name: turns.append(name))
        fail_in(patched, getattr(panel, STEPS[title][0]), STEPS[title][1])
        panel.refresh()
        panel.refresh()
        assert turns == [name for name in STEPS if name != title] * 2
        assert not ui.sectionErrorLabel.isHidden() and f"'{title}' failed" in ui.sectionErrorLabel.text
        assert len(application.slot_errors) == 1
    panel.refresh()
    assert ui.sectionErrorLabel.isHidden()
    application.slot_errors.clear()
