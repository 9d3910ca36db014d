"""The panel of CoW Landmarks with everything open, in narrow columns: nothing is squeezed or cut off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("SlicerStandIn", reason="needs slicer-core and PySide6", exc_type=ImportError)

from CoWLandmarksLib.scene.nodes import add_detection
from example_detection import ANATOMY
from module_panel import in_module_panel, named, overlapping, squeezed, taken_out
from panel_desk import Desk, make_detection

THIN = {"reviewProgressBar"}
"""Without a text, and thinner than Qt's style would have it."""


@pytest.fixture
def full_panel(desk: Desk) -> Iterator[Any]:
    """The module with two detections, all sections open and long messages."""
    widget = desk.application.load_module("CoWLandmarks")
    panel, ui = widget.panel, widget.ui
    for name, section in vars(ui).items():
        if name.endswith("CollapsibleButton"):
            section.collapsed = False
    ui.inputSelector.setCurrentNode(desk.volume)
    add_detection(desk.scene, desk.volume, make_detection(), ANATOMY)
    desk.application.process_events()
    panel.compare.ui.compareButton.click()
    panel.review.ui.loadGroupBox.collapsed = False
    panel.review.ui.loadButton.click()
    panel.batch.ui.folderRadioButton.checked = True
    ui.messageLabel.text = "What the child process warned of is shown here in whole sentences. " * 4
    ui.messageLabel.visible = True
    yield widget
    taken_out(widget)


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 400, 500])
def test_nothing_is_squeezed_and_nothing_overlaps(desk: Desk, full_panel: Any, width: int) -> None:
    area = in_module_panel(desk.application, full_panel, (width, 700))
    panel = full_panel.panel
    sections = (panel.result, panel.review, panel.export, panel.compare, panel.batch, panel.advanced)
    for ui in (full_panel.ui, *(section.ui for section in sections)):
        shown = {name: own for name, own in named(ui).items() if name not in THIN}
        assert not squeezed(shown)
        assert not overlapping(shown)
    if width >= 400:  # below, Slicer widens the column
        assert area.widget().width() <= area.viewport().width() + 1, "the panel is cut off at its right"
