"""Both modules in the stand-in of the application: opened, reloaded, self tests run, scene closed."""

from __future__ import annotations

import sys
import unittest
from pathlib import Path
from typing import Any

import pytest

MODULES = ("CoWLandmarks", "CoWLandmarksTraining")


@pytest.mark.parametrize("name", MODULES)
def test_a_module_opens_and_describes_itself(application: Any, name: str) -> None:
    import slicer

    widget = application.load_module(name)
    module = slicer.util.getModule(name)
    assert module.title and module.helpText and module.categories == ["Quantification"]
    assert "research only" in module.helpText
    assert widget.parent.isEntered
    assert widget.layout.count() > 0


@pytest.mark.parametrize("name", MODULES)
def test_the_self_tests_of_a_module_pass(application: Any, name: str) -> None:
    application.load_module(name)
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(getattr(sys.modules[name], f"{name}Test"))
    assert suite.countTestCases() > 1
    result = unittest.TestResult()
    suite.run(result)
    assert [text for _test, text in result.failures + result.errors] == []


@pytest.mark.parametrize("name", MODULES)
def test_a_module_can_be_reloaded(application: Any, name: str) -> None:
    import slicer

    before = application.load_module(name)
    slicer.util.reloadScriptedModule(name)
    after = slicer.util.getModuleWidget(name)
    assert after is not before
    assert type(after) is not type(before)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_outlives_the_closing_of_the_scene(application: Any, name: str) -> None:
    import slicer

    application.load_module(name)
    slicer.mrmlScene.Clear()
    application.process_events()
    application.load_module(next(other for other in MODULES if other != name))
    slicer.mrmlScene.Clear()
    assert application.load_module(name).parent.isEntered


def test_a_picture_of_a_panel_has_text_in_it(application: Any, tmp_path: Path) -> None:
    from PySide6.QtGui import QImage

    widget = application.load_module("CoWLandmarks")
    image = QImage(str(application.grab(widget.parent, tmp_path / "panel.png")))
    assert image.width() == 480 and image.height() > 300
    colours = {image.pixel(x, y) for x in range(0, 480) for y in range(0, image.height(), 3)}
    assert len(colours) > 50  # letters are smoothed: many shades
