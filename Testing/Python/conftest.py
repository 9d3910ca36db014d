"""What tests share: an application look-alike in which the scripted modules run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


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
