"""The panel of CoW Landmarks in the stand-in for Slicer, with real child processes, and what tests press in it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import slicer
from CoWLandmarksPanel.machine_settings import MachineSettings
from SlicerStandIn import Application


@contextmanager
def application_without_leftovers(folder: Path) -> Iterator[Application]:
    """An application that detects on the processor; at its end no temporary file of ours may be there."""
    with Application(folder) as started:
        temporary = Path(slicer.app.temporaryPath)
        MachineSettings().device = "cpu"
        yield started
    assert list(temporary.glob("cow-landmarks-*")) == [], "temporary files were left behind"


def spin_until(done: Callable[[], bool], seconds: float = 240.0) -> None:
    """Let the application live until `done`."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it takes too long"
        slicer.app.processEvents()
        time.sleep(0.005)


def load_sample(widget: Any) -> Any:
    widget.ui.sampleMraButton.click()
    return widget.ui.inputSelector.currentNode()


def nodes() -> list[str]:
    scene = slicer.mrmlScene
    return sorted(scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes()))


def alive(process_id: int | None) -> bool:
    try:
        os.kill(process_id or 0, 0)
    except ProcessLookupError:
        return False
    return process_id is not None


def start(widget: Any, seconds: float = 0.0) -> int | None:
    """Press "Detect landmarks", wait a while; returns the child process."""
    widget.ui.detectButton.click()
    assert widget.panel.detecting
    begun = time.monotonic()
    spin_until(lambda: time.monotonic() - begun >= seconds)
    process: int | None = widget.logic.runs.queue.worker_process_id
    return process


def detect(widget: Any) -> Any:
    """One click; returns the point list."""
    start(widget)
    spin_until(lambda: not widget.panel.detecting)
    assert widget.panel.detection is not None, widget.ui.messageLabel.text
    return widget.panel.detection
