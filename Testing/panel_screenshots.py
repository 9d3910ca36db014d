"""Pictures of the panel of CoW Landmarks in its states, drawn offscreen through the stand-in for Slicer.

    python Testing/panel_screenshots.py [FOLDER]

Draws Docs/use/detection-panel.png: first use, a running detection, its result, and a result that is not to be trusted;
with FOLDER also every state apart, with long names and a font of 125 %, to look at.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "CoWLandmarks"), str(ROOT / "Testing")]

from SlicerStandIn import Application  # isort: skip  # noqa: E402 - brings qt for the following
import slicer  # noqa: E402
from CoWLandmarksPanel import detection_panel  # noqa: E402
from CoWLandmarksPanel.machine_settings import MachineSettings  # noqa: E402
from PySide6 import QtCore, QtGui, QtWidgets  # noqa: E402
from small_png import save_small  # noqa: E402

WIDTH = 440
CAPTION = 26
LONG_NAME = "sub-1042_ses-followup-after-12-months_acq-TOF-3D-multi-slab_run-02_angio (resampled, 0.3 mm)"


class Pictures:
    """Draws states of one panel into a folder."""

    def __init__(self, application: Application, folder: Path) -> None:
        self._application = application
        self._folder = folder
        self.widget = application.load_module("CoWLandmarks")
        self.made: dict[str, Path] = {}

    def only(self, *sections: str) -> None:
        """Open these sections and close the others."""
        ui = self.widget.ui
        for name in ("detect", "result", "review", "export", "compare", "batch", "advanced"):
            getattr(ui, f"{name}CollapsibleButton").collapsed = name not in sections

    def take(self, name: str) -> None:
        """Draw the panel as it is."""
        path = self._folder / f"{name}.png"
        self.made[name] = self._application.grab(self.widget.parent, path, WIDTH)

    def detect(self, until: Any = None) -> None:
        """Press the button and wait for the result, or for `until`."""
        self.widget.ui.detectButton.click()
        done = until or (lambda: not self.widget.panel.detecting)
        self._application.spin_until(done, 300.0)


def draw_states(application: Application, folder: Path) -> dict[str, Path]:
    """All states of the panel; returns the pictures by their names."""
    MachineSettings().device = "cpu"
    pictures = Pictures(application, folder)
    widget, panel = pictures.widget, pictures.widget.panel
    pictures.only("detect", "result")
    pictures.take("empty")
    widget.ui.sampleMraButton.click()
    installed = detection_panel.torchInstalled
    detection_panel.torchInstalled = lambda: False
    widget.ui.detectButton.click()
    pictures.take("first use")
    widget.ui.notNowButton.click()
    pictures.take("declined")
    detection_panel.torchInstalled = installed
    pictures.detect(lambda: widget.ui.progressBar.value > 40)
    pictures.take("running")
    application.spin_until(lambda: not panel.detecting, 300.0)
    pictures.only("detect", "result", "review")
    pictures.take("result")
    points = panel.detection
    points.SetAttribute("CoWLandmarks.verdict", "do not trust")
    points.SetAttribute(
        "CoWLandmarks.reasons",
        '["The circle of Willis was not recognised in this scan; if it is a brain angiogram, place three or four '
        'points as a hint and try again."]',
    )
    panel.refresh()
    pictures.only("detect", "result")
    pictures.take("do not trust")
    panel.result.ui.placeHintButton.click()
    panel.result.hint.node.SetNthControlPointPositionWorld(0, 10.0, 5.0, 0.0)
    pictures.take("placing points")
    widget.ui.inputSelector.currentNode().SetName(LONG_NAME)
    points.SetName(f"{LONG_NAME} landmarks")
    panel.refresh()
    pictures.only("detect", "result", "batch")
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "no voxels in this one")
    panel.batch.ui.batchButton.click()
    application.spin_until(lambda: not panel.batch.running, 300.0)
    pictures.take("long names, many scans")
    pictures.only("advanced")
    application.spin_until(lambda: "licence" in panel.advanced.ui.modelDescriptionText.plainText, 60.0)
    pictures.take("advanced")
    font = QtGui.QFont(application.qt_application.font())
    font.setPixelSize(round(font.pixelSize() * 1.25))
    application.qt_application.setFont(font)
    pictures.only("detect", "result", "batch", "advanced")
    pictures.take("font of 125 percent")
    return pictures.made


def side_by_side(paths: dict[str, Path], target: Path) -> None:
    """Put pictures beside each other under their names."""
    images = {name: QtGui.QImage(str(path)) for name, path in paths.items()}
    width = sum(image.width() for image in images.values()) + 16 * (len(images) - 1)
    height = max(image.height() for image in images.values()) + CAPTION
    page = QtGui.QImage(width, height, QtGui.QImage.Format.Format_RGB32)
    page.fill(QtGui.QColor("white"))
    painter = QtGui.QPainter(page)
    painter.setFont(QtWidgets.QApplication.font())
    left = 0
    for name, image in images.items():
        area = QtCore.QRect(left, 0, image.width(), CAPTION)
        painter.drawText(area, QtCore.Qt.AlignmentFlag.AlignCenter, name[:1].upper() + name[1:])
        painter.drawImage(left, CAPTION, image)
        left += image.width() + 16
    painter.end()
    save_small(page, target)


def main() -> None:
    """Draw everything."""
    with tempfile.TemporaryDirectory() as own:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(own)
        application = Application(Path(own) / "application")
        made = draw_states(application, folder)
        chosen = ("first use", "running", "result", "do not trust")
        side_by_side({name: made[name] for name in chosen}, ROOT / "Docs" / "use" / "detection-panel.png")
        application.close()


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # Qt and VTK do not agree on the order of their ends
