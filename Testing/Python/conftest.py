"""What tests share: a look-alike of the application, results that take long, and the mark of slow tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_once import made_once

SLOW_FIXTURES = {"default_training", "quick_model"}
"""Whatever uses one of these is slow."""
SLOW_HELPERS = {"detection_widget"}
"""Whatever is tested with one of these modules of Testing is slow: it detects in child processes."""
SHIPPED_MODEL = "default.cow.pt"
_what_is_slow: list[str] = []


def _notice_what_is_slow(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in ("subprocess.Popen", "open") or isinstance(arguments[0], int):
        return
    name = Path(os.fsdecode(arguments[0] or arguments[1][0])).name
    if event == "open" and name == SHIPPED_MODEL:
        _what_is_slow.append("reads the model that ships")
    elif event == "subprocess.Popen" and name.startswith("python"):
        _what_is_slow.append("starts a Python process")


sys.addaudithook(_notice_what_is_slow)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that uses what takes long."""
    for item in items:
        names = vars(getattr(item, "module", None) or object).values()
        helpers = {getattr(value, "__module__", None) for value in names}
        if SLOW_FIXTURES & set(getattr(item, "fixturenames", ())) or SLOW_HELPERS & helpers:
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """From here on, what a test and its fixtures do counts as its own."""
    _what_is_slow.clear()
    yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """A test that does what is slow has to be marked: so that 'not slow' stays quick whoever adds tests."""
    yield
    if _what_is_slow and item.get_closest_marker("slow") is None:
        pytest.fail(f"It {_what_is_slow[0]}; mark it with pytest.mark.slow (Docs/testing.md).", pytrace=False)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this run share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def quick_model(shared_folder: Path) -> Path:
    """The model that ships, but it reads no mirror images: as good on an easy scan, in half the time."""

    def write(folder: Path) -> None:
        from CoWLandmarksLib.detect.model import DEFAULT_MODEL_FILE, load_model, save_model

        shipped = load_model(DEFAULT_MODEL_FILE)
        save_model(replace(shipped, read_mirrored=False), folder / "quick.cow.pt", eight_bit=True)

    return made_once(shared_folder, "quick_model", write) / "quick.cow.pt"


@pytest.fixture(scope="session")
def default_training(shared_folder: Path) -> Path:
    """A training on phantoms as the model that ships was made, but tiny; without SimpleITK, vtk and Slicer."""
    from trained_elsewhere import train_on_phantoms

    return made_once(shared_folder, "default_training", train_on_phantoms)


@pytest.fixture
def application(tmp_path: Path) -> Iterator[Any]:
    """A fresh SlicerStandIn.Application: empty scene, empty settings. Slots that failed fail the test."""
    pytest.importorskip("slicer", reason="needs slicer-core")
    pytest.importorskip("PySide6", reason="needs PySide6-Essentials")
    from SlicerStandIn import Application

    with Application(tmp_path) as running:
        yield running


@pytest.fixture
def desk(application: Any) -> Any:
    """A detection in the scene with the panels to review, export and compare it."""
    from panel_desk import Desk

    return Desk(application)
