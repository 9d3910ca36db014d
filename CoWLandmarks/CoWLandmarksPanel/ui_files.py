"""Loads a `.ui` file of the module into a section of the panel."""

from __future__ import annotations

from pathlib import Path

import slicer

UI_FOLDER = Path(__file__).resolve().parent.parent / "Resources" / "UI"


def loadedInto(container: object, name: str) -> object:
    """Load `Resources/UI/NAME.ui`, add it to the layout of `container` and return its widgets by their names."""
    widget = slicer.util.loadUI(str(UI_FOLDER / f"{name}.ui"))
    container.layout().addWidget(widget)
    widget.setMRMLScene(slicer.mrmlScene)
    return slicer.util.childWidgetVariables(widget)
