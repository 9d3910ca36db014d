"""Pictures of the panels for the documentation, drawn offscreen through the stand-in for Slicer.

    python Testing/screenshots.py --out Docs/use [NAME ...]

Without names all of PICTURES are drawn. One function makes one picture; each gets an application of its own with an
empty scene and returns the widget to draw.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "CoWLandmarks"), str(ROOT / "CoWLandmarksTraining"), str(ROOT / "Testing")]

from optimise_pictures import optimise  # noqa: E402 - found through the lines above
from SlicerStandIn import Application  # noqa: E402

WIDTH = 480


def _only(ui: Any, *sections: str) -> None:
    """Open these sections of the panel and close the others."""
    for name in ("detect", "result", "review", "export", "compare", "batch", "advanced"):
        getattr(ui, f"{name}CollapsibleButton").collapsed = name not in sections


def _detected(application: Application) -> Any:
    """The module CoW Landmarks with the sample MRA and its detection."""
    from CoWLandmarksPanel.machine_settings import MachineSettings

    MachineSettings().device = "cpu"
    widget = application.load_module("CoWLandmarks")
    widget.ui.sampleMraButton.click()
    widget.ui.detectButton.click()
    application.spin_until(lambda: not widget.panel.detecting, 300.0)
    return widget


def review_panel(application: Application) -> Any:
    """The first doubtful landmark of a detection, accepted ones behind it, and two arteries that were declared."""
    widget = _detected(application)
    _only(widget.ui, "review")
    review = widget.panel.review.ui
    review.initialsEdit.text = "AB"
    review.initialsEdit.editingFinished.emit()
    for _accepted in range(3):
        review.acceptButton.click()
    for code, button in (("L-PCoA", review.arteryAbsentButton), ("ACoA", review.arteryPresentButton)):
        widget.panel.review.arteries.select(code)
        button.click()
    application.spin_until(lambda: not widget.logic.runs.busy, 300.0)
    return widget.parent


def export_panel(application: Application) -> Any:
    """A reviewed scan that may go into a cohort."""
    widget = _detected(application)
    _only(widget.ui, "export")
    export = widget.panel.export.ui
    export.cohortEdit.currentPath = "/data/cohort"
    export.consentCheckBox.checked = True
    return widget.parent


def compare_panel(application: Application) -> Any:
    """A detection and a made-up annotator, who sets every point about a millimetre away."""
    import numpy as np

    widget = _detected(application)
    _only(widget.ui, "compare")
    markups = widget.panel.review.markupsNode
    rng = np.random.default_rng(0)
    other = application.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "second annotator (made up)")
    for index in range(markups.GetNumberOfControlPoints()):
        place = np.array(markups.GetNthControlPointPosition(index)) + rng.normal(0.0, 0.7, 3)
        other.AddControlPoint(place.tolist(), markups.GetNthControlPointLabel(index))
    compare = widget.panel.compare.ui
    compare.secondComboBox.setCurrentNode(other)
    compare.compareButton.click()
    return widget.parent


def training_panel(application: Application) -> Any:
    """Phantoms that are checked, aligned and trained on; the training is real and short (it takes some minutes)."""
    import training_panel_picture

    folder = tempfile.TemporaryDirectory(prefix="cow-")
    _afterwards.callback(folder.cleanup)
    _afterwards.callback(training_panel_picture.end_trainings)
    return training_panel_picture.training_panel(application, Path(folder.name))


_afterwards = ExitStack()
"""What a picture leaves to be ended once it is drawn."""

PICTURES: dict[str, Callable[[Application], Any]] = {
    "review-panel": review_panel,
    "export-panel": export_panel,
    "compare-panel": compare_panel,
    "training-panel": training_panel,
}
"""File name without .png, and the function that makes the widget ready."""


def main() -> None:
    """Draw the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=ROOT / "Docs" / "use", help="folder of the pictures")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones, of: {', '.join(PICTURES)}")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in PICTURES]
    if unknown:
        parser.error(f"there is no picture {', '.join(unknown)}; there are {', '.join(PICTURES)}")
    for name in arguments.names or PICTURES:
        with tempfile.TemporaryDirectory() as folder, Application(Path(folder)) as application:
            widget = PICTURES[name](application)
            picture = application.grab(widget, arguments.out / f"{name}.png", WIDTH)
            optimise(picture)
            print(picture)
            _afterwards.close()


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # Qt and VTK do not agree on the order of their ends
