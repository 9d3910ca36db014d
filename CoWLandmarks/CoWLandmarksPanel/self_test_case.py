"""What the self tests of both modules share: an empty scene, faults that are noticed, nothing left behind."""

from __future__ import annotations

import logging
import sys
import tempfile
import time
import traceback
import unittest
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import qt
import slicer

from .pytorch_setup import torchInstalled

PATIENCE_SECONDS = 300.0
"""A detection on an old computer takes a minute; longer than this it hangs."""


class SelfTestCase:
    """To be mixed with ScriptedLoadableModuleTest, in Slicer as well as wherever else the module runs."""

    settingsKeys: tuple[str, ...] = ()
    """The settings of the application that a test may touch; they are as before afterwards."""

    def runTest(self) -> None:
        """Run all tests, as Slicer's "Reload and Test" does."""
        for name in sorted(name for name in dir(self) if name.startswith("test_")):
            try:
                self.setUp()
                getattr(self, name)()
                self.tearDown()
            except unittest.SkipTest as reason:
                logging.info("%s was skipped: %s", name, reason)
            finally:
                self.doCleanups()

    def setUp(self) -> None:
        """Start from an empty scene, with a folder of this test's own."""
        slicer.mrmlScene.Clear()
        slicer.app.processEvents()
        self._errors: list[str] = []
        before = sys.excepthook
        sys.excepthook = self._onError
        self.addCleanup(setattr, sys, "excepthook", before)
        settings = qt.QSettings()
        for key in self.settingsKeys:
            if settings.contains(key):
                self.addCleanup(settings.setValue, key, settings.value(key))
            else:
                self.addCleanup(settings.remove, key)
        folder = tempfile.TemporaryDirectory(prefix="cow-self-test-", dir=slicer.app.temporaryPath)
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def tearDown(self) -> None:
        """Nothing may have gone wrong unnoticed; the scene is left empty."""
        slicer.app.processEvents()
        slicer.mrmlScene.Clear()
        slicer.app.processEvents()
        self.assertEqual(self._errors, [])

    def _onError(self, kind: type[BaseException], error: BaseException, trace: Any) -> None:
        """In Slicer an error in a slot or an observer is only printed, by this hook; the test has to fail."""
        self._errors.append("".join(traceback.format_exception(kind, error, trace)))

    def waitUntil(self, done: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> None:
        """Let the application live until `done()`."""
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                self.fail(f"Not done after {seconds:.0f} s.")
            slicer.app.processEvents()
            time.sleep(0.005)

    def fill(self, edit: Any, text: str) -> None:
        """Write a path or a text into a line; the line is as before afterwards."""
        name = "currentPath" if hasattr(edit, "currentPath") else "text"
        self.addCleanup(setattr, edit, name, str(getattr(edit, name)))
        setattr(edit, name, text)

    def tick(self, box: Any, checked: bool) -> None:
        """Set a check box; it is as before afterwards."""
        self.addCleanup(setattr, box, "checked", box.checked)
        box.checked = checked

    def openSections(self, sections: Iterable[Any]) -> None:
        """Open sections of a panel; they are as before afterwards."""
        for section in sections:
            self.addCleanup(setattr, section, "collapsed", section.collapsed)
            section.collapsed = False
        slicer.app.processEvents()

    def skipWithoutTorch(self) -> None:
        """Skip a test that needs the child process to compute."""
        if not torchInstalled():
            self.skipTest("PyTorch is not installed")
