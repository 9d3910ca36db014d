"""The self tests' own frame: faults are noticed, settings and files are as before."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("SlicerStandIn", reason="needs slicer-core and PySide6", exc_type=ImportError)

import slicer
from CoWLandmarksPanel.self_test_case import SelfTestCase
from SlicerStandIn import Application

KEPT, NEW = "CoWLandmarks/Kept", "CoWLandmarks/New"


def made(**tests: Any) -> Any:
    """A self test with these methods."""
    from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

    return type("SelfTest", (SelfTestCase, ScriptedLoadableModuleTest), {"settingsKeys": (KEPT, NEW), **tests})()


def test_settings_files_and_lines_are_as_before_a_self_test(application: Application) -> None:
    import qt

    settings, edit, folders = qt.QSettings(), qt.QLineEdit(), []
    settings.setValue(KEPT, "mine")
    edit.text = "before"

    def touches_everything(test: Any) -> None:
        settings.setValue(KEPT, "another")
        settings.setValue(NEW, "new")
        test.fill(edit, "during")
        (test.folder / "file").write_text("", encoding="utf-8")
        folders.append(test.folder)
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")

    hook = sys.excepthook
    made(test_Touches=touches_everything).runTest()
    assert settings.value(KEPT) == "mine" and not settings.contains(NEW)
    assert edit.text == "before" and not Path(folders[0]).exists() and sys.excepthook is hook
    assert slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLMarkupsFiducialNode") is None


def test_an_error_that_is_only_printed_fails_a_self_test(application: Application) -> None:
    def prints(test: Any) -> None:
        error = ValueError("in a slot")
        sys.excepthook(ValueError, error, None)  # what PyErr_Print does

    with pytest.raises(AssertionError, match="in a slot"):
        made(test_Prints=prints).runTest()


def test_a_self_test_that_is_skipped_does_not_end_the_others(
    application: Application, caplog: pytest.LogCaptureFixture
) -> None:
    ran = []
    with caplog.at_level(logging.INFO):
        made(test_1=lambda test: test.skipTest("no torch"), test_2=lambda test: ran.append(2)).runTest()
    assert ran == [2] and "test_1 was skipped: no torch" in caplog.text
