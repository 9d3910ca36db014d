"""Both modules in the stand-in of the application: opened, reloaded, self tests run, scene closed."""

from __future__ import annotations

import importlib
import sys
import unittest
from pathlib import Path

import pytest

pytest.importorskip("slicer", reason="needs slicer-core")
pytest.importorskip("PySide6", reason="needs PySide6-Essentials")

import slicer
from CoWLandmarksLib.cli.detect_command import SAMPLE_FILE
from SlicerStandIn import Application

MODULES = ("CoWLandmarks", "CoWLandmarksTraining")
CLASSES = {
    "CoWLandmarks": {
        "CoWLandmarksLib.core.detection": "Detection",
        "CoWLandmarksLib.jobs.job_queue": "JobQueue",
        "CoWLandmarksPanel.review_panel": "ReviewPanel",
    },
    "CoWLandmarksTraining": {
        "CoWLandmarksTrainingLib.jobs.job_files": "TrainingJob",
        "CoWLandmarksTrainingPanel.training_section": "TrainingSection",
    },
}
"""A class of some packages of each module."""


@pytest.mark.parametrize("name", MODULES)
def test_a_module_opens_and_describes_itself(application: Application, name: str) -> None:
    widget = application.load_module(name)
    module = slicer.util.getModule(name)
    assert module.title and module.helpText and module.categories == ["Quantification"]
    assert "research only" in module.helpText
    assert widget.parent.isEntered
    assert widget.layout.count() > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_the_self_tests_of_a_module_pass(application: Application, quick_model: Path, name: str) -> None:
    from CoWLandmarksPanel.machine_settings import MachineSettings

    MachineSettings().modelFile = quick_model
    application.load_module(name)
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(getattr(sys.modules[name], f"{name}Test"))
    assert suite.countTestCases() > 1
    result = unittest.TestResult()
    suite.run(result)
    assert [text for _test, text in result.failures + result.errors] == []


@pytest.mark.parametrize("name", MODULES)
def test_a_module_can_be_reloaded(application: Application, name: str) -> None:
    before = application.load_module(name)
    slicer.util.reloadScriptedModule(name)
    after = slicer.util.getModuleWidget(name)
    assert after is not before
    assert type(after) is not type(before)


@pytest.mark.parametrize("name", MODULES)
def test_reload_takes_the_packages_of_a_module_anew_and_the_panel_works(tmp_path: Path, name: str) -> None:
    classes = CLASSES["CoWLandmarks"] | CLASSES[name]
    old = {module: getattr(importlib.import_module(module), made) for module, made in classes.items()}
    with Application(tmp_path) as application:
        before = application.load_module(name)
        panel = type(before.panel)
        for _time in range(2):
            before = slicer.util.getModuleWidget(name)
            before.onReload()
            assert before.panel is None
        after = slicer.util.getModuleWidget(name)
        assert after.parent.isEntered and type(after.panel) is not panel
        for module, made in classes.items():
            assert getattr(importlib.import_module(module), made) is not old[module], module
        assert type(after.panel) is getattr(sys.modules[panel.__module__], panel.__name__)
        after.parent.exit()
        after.parent.enter()
        slicer.util.loadVolume(str(SAMPLE_FILE))
        application.process_events()
        slicer.mrmlScene.Clear()
        application.process_events()
        assert after.panel is not None
    assert {module: getattr(sys.modules[module], made) for module, made in classes.items()} == old


@pytest.mark.parametrize("name", MODULES)
def test_a_module_outlives_the_closing_of_the_scene(application: Application, name: str) -> None:
    application.load_module(name)
    slicer.mrmlScene.Clear()
    application.process_events()
    application.load_module(next(other for other in MODULES if other != name))
    slicer.mrmlScene.Clear()
    assert application.load_module(name).parent.isEntered


@pytest.mark.slow
@pytest.mark.parametrize("returns_tag", [False, True])
@pytest.mark.parametrize("name", MODULES)
def test_widgets_and_parameter_node_agree_after_leaving_returning_and_closing_the_scene(
    application: Application, monkeypatch: pytest.MonkeyPatch, name: str, returns_tag: bool
) -> None:
    """Slicer does not disconnect what `connectGui` connected (its issue 7547), or does in other versions."""
    from SlicerStandIn import parameter_nodes

    monkeypatch.setattr(parameter_nodes, "CONNECT_GUI_RETURNS_TAG", returns_tag)
    widget = application.load_module(name)
    sample = Path(__file__).resolve().parents[2] / "CoWLandmarks/CoWLandmarksLib/Resources/sample_mra.nii.gz"
    for _round in range(3):
        slicer.util.loadVolume(str(sample))
        application.process_events()
        widget.parent.exit()
        widget.parent.enter()
        parameters = widget._parameterNode
        for part in vars(widget.ui).values():
            field = part.property("SlicerParameterName")
            if not field:
                continue
            if isinstance(getattr(parameters, field), bool):
                part.checked = not part.checked
                assert getattr(parameters, field) is part.checked
                setattr(parameters, field, not part.checked)
                assert getattr(parameters, field) is part.checked
            elif hasattr(part, "currentNode"):
                assert part.currentNode() is getattr(parameters, field) is not None
        slicer.mrmlScene.Clear()
        application.process_events()


def test_a_picture_of_a_panel_has_text_in_it(application: Application, tmp_path: Path) -> None:
    from PySide6.QtGui import QImage

    widget = application.load_module("CoWLandmarks")
    image = QImage(str(application.grab(widget.parent, tmp_path / "panel.png")))
    assert image.width() == 480 and image.height() > 300
    colours = {image.pixel(x, y) for x in range(0, 480) for y in range(0, image.height(), 3)}
    assert len(colours) > 50  # letters are smoothed: many shades
