"""The first use of CoW Landmarks on a computer without PyTorch."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("slicer", reason="needs slicer-core")
pytest.importorskip("SlicerStandIn", reason="needs PySide6-Essentials")

from CoWLandmarksPanel import detection_panel
from detection_widget import application_without_leftovers, load_sample
from SlicerStandIn import Application

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the tests look at processes the POSIX way")


@pytest.fixture
def application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Application]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with application_without_leftovers(tmp_path / "application") as started:
        yield started


@pytest.fixture
def widget(application: Application) -> Any:
    return application.load_module("CoWLandmarks")


class TestFirstUse:
    """PyTorch is missing: one question, and a way out of everything."""

    @pytest.fixture
    def widget(self, widget: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
        self.installed = False
        monkeypatch.setattr(detection_panel, "torchInstalled", lambda: self.installed)
        load_sample(widget)
        widget.ui.detectButton.click()
        assert not widget.panel.detecting and widget.panel.setup.asking
        return widget

    @staticmethod
    def extension(monkeypatch: pytest.MonkeyPatch, install: Any) -> None:
        module = types.ModuleType("PyTorchUtils")
        module.PyTorchUtilsLogic = type(  # type: ignore[attr-defined]
            "PyTorchUtilsLogic", (), {"installTorch": lambda self, **options: install(**options)}
        )
        monkeypatch.setitem(sys.modules, "PyTorchUtils", module)

    def test_declined_says_how_to_go_on(self, widget: Any) -> None:
        widget.ui.notNowButton.click()
        assert widget.ui.messageLabel.text.startswith("Nothing was installed.")
        assert not widget.panel.setup.asking

    def test_without_the_extension_the_way_out_is_reported(self, widget: Any) -> None:
        widget.ui.installButton.click()
        assert "Extensions Manager" in widget.ui.messageLabel.text

    def test_offline_the_way_out_is_reported(self, widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        def offline(**options: object) -> None:
            print("Collecting torch")
            raise RuntimeError("no route to host")

        self.extension(monkeypatch, offline)
        widget.ui.installButton.click()
        assert "no route to host" in widget.ui.messageLabel.text
        assert "--no-index --find-links" in widget.ui.messageLabel.text

    def test_cancelled_nothing_runs_on(self, widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        started: list[subprocess.Popen[bytes]] = []

        def slow(**options: object) -> None:
            process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
            started.append(process)
            print("Collecting torch")
            assert widget.ui.detectButton.text == "Cancel"
            assert "Collecting torch" in widget.ui.stageLabel.text
            widget.ui.detectButton.click()
            print("Downloading torch")
            pytest.fail("the installation went on")

        self.extension(monkeypatch, slow)
        widget.ui.installButton.click()
        assert widget.ui.messageLabel.text.startswith("The installation was cancelled.")
        assert started[0].poll() is not None
        assert widget.ui.detectButton.text == "Detect landmarks"

    def test_installed_the_detection_starts_by_itself(self, widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[dict[str, object]] = []

        def install(**options: object) -> None:
            asked.append(options)
            self.installed = True

        self.extension(monkeypatch, install)
        widget.ui.installButton.click()
        assert asked == [{"askConfirmation": False, "torchVersionRequirement": ">=2.2"}]
        assert widget.panel.detecting
