"""The panels in a window as large as a screen: what of them is seen at once beside the views.

    python Testing/window_pictures.py [--out Docs] [NAME ...]

The column of the panel is as wide and as high as in Slicer with its usual bars, and scrolls as there. The views are
those of the same scene, drawn by Slicer's own displayable managers. Menus, tool bars and the Data Probe are not drawn:
only the room they take.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "CoWLandmarks"), str(ROOT / "CoWLandmarksTraining"), str(ROOT / "Testing")]

from SlicerStandIn import Application  # isort: skip  # noqa: E402 - brings qt for the following
import slicer  # noqa: E402
from PySide6 import QtCore, QtGui, QtWidgets  # noqa: E402
from scene_view import SliceView, View  # noqa: E402
from small_png import from_vtk, save_small  # noqa: E402

BARS, TITLE, PROBE, VIEW_BAR = 58, 54, 110, 20
"""Heights: menus and tool bars, the module's title with its help section, the Data Probe, the bar of a view."""
SIZES = {"1280x900": (1280, 900, 420), "1920x1080": (1920, 1080, 500)}
"""Width and height of the window, and width of the panel's column."""
_COLOURS = {"Red": "#f24a36", "Green": "#6eb04a", "Yellow": "#edd54c", "1": "#7c7cc4"}
_FLAT = (
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
)
_SOLID = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLVolumeRenderingDisplayableManager",
    "vtkMRMLMarkupsDisplayableManager",
)


class Views:
    """Three slice views and a 3-D view of the stand-in's scene, in the places of Slicer's four-up layout."""

    def __init__(self, width: int, height: int) -> None:
        scene = slicer.mrmlScene
        scene.kept_alive[0].SetModuleLogic("Markups", slicer.modules.markups.logic())
        self._size = (width // 2 - 2, height // 2 - VIEW_BAR - 2)
        self.views: dict[str, View] = {}
        for logic in slicer.app.layoutManager().mrmlSliceLogics():
            node = logic.GetSliceNode()
            node.SetDimensions(*self._size, 1)
            view = self._sized(SliceView(scene, logic, _FLAT))
            self.views[node.GetLayoutName()] = view
        node = slicer.vtkMRMLViewNode()
        node.SetLayoutName("1")
        node.SetSingletonTag("1")
        node = scene.AddNode(node)  # the one that the layout has made already, if it has
        node.SetBoxVisible(False)
        node.SetAxisLabelsVisible(False)
        self.views["1"] = self._sized(View(scene, node, _SOLID))
        self.views["1"].image()  # makes its camera

    def _sized(self, view: View) -> View:
        view.window.SetSize(*self._size)
        return view

    def draw(self, painter: QtGui.QPainter, left: int, top: int) -> None:
        """Draw all views, each below its coloured bar."""
        width, height = self._size
        for number, name in enumerate(("Red", "1", "Green", "Yellow")):
            view = self.views[name]
            x, y = left + (number % 2) * (width + 4), top + (number // 2) * (height + VIEW_BAR + 4)
            painter.fillRect(x, y, width, VIEW_BAR, QtGui.QColor(_COLOURS[name]))
            painter.drawImage(x, y + VIEW_BAR, from_vtk(view.image()))


def review(application: Application) -> tuple[Any, Any]:
    """A detection under review, three landmarks accepted; returns the panel and what it is scrolled to."""
    from CoWLandmarksPanel.machine_settings import MachineSettings

    MachineSettings().device = "cpu"
    widget = application.load_module("CoWLandmarks")
    widget.ui.sampleMraButton.click()
    widget.ui.detectButton.click()
    application.spin_until(lambda: not widget.panel.detecting, 600.0)
    application.process_events()  # the views turn to the circle
    for _accepted in range(3):
        widget.panel.review.ui.acceptButton.click()
    application.spin_until(lambda: not widget.logic.runs.busy, 600.0)
    return widget.parent, widget.ui.detectCollapsibleButton


def training(application: Application) -> tuple[Any, Any]:
    """A training in its second phase, with one of its cases opened."""
    import training_panel_picture

    panel = training_panel_picture.training_panel(application, Path(slicer.app.temporaryPath))
    widget = application.load_module("CoWLandmarksTraining")
    widget.panel.cases.openCase(widget.panel.cases.cohort.cases[0].name)
    application.process_events()
    slicer.app.layoutManager().resetSliceViews()
    return panel, widget.ui.trainCollapsibleButton


PICTURES: dict[str, Callable[[Application], tuple[Any, Any]]] = {"review": review, "training": training}


def draw(application: Application, panel: Any, first: Any, size: tuple[int, int, int], views: Views) -> QtGui.QImage:
    """The window; `first` is the section that is scrolled to the top."""
    width, height, column = size
    area = QtWidgets.QScrollArea()
    area.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidgetResizable(True)
    area.setWidget(panel)
    area.resize(column, height - BARS - TITLE - PROBE)
    area.show()
    for _round in range(4):
        application.process_events()
    place = QtWidgets.QWidget.mapTo(first, panel, QtCore.QPoint(0, 0))
    area.verticalScrollBar().setValue(place.y())
    application.process_events()
    image = QtGui.QImage(width, height, QtGui.QImage.Format.Format_RGB32)
    image.fill(QtGui.QColor("#f0f0f0"))
    painter = QtGui.QPainter(image)
    painter.setFont(QtWidgets.QApplication.font())
    painter.setPen(QtGui.QColor("#909090"))
    for rectangle, text in (
        (QtCore.QRect(0, 0, width, BARS), "menus and tool bars of 3D Slicer"),
        (QtCore.QRect(0, BARS, column, TITLE), "title and help of the module"),
        (QtCore.QRect(0, height - PROBE, column, PROBE), "Data Probe"),
    ):
        painter.drawRect(rectangle.adjusted(0, 0, -1, -1))
        painter.drawText(rectangle, QtCore.Qt.AlignmentFlag.AlignCenter, text)
    painter.drawPixmap(0, BARS + TITLE, area.grab())
    views.draw(painter, column + 4, BARS + 2)
    painter.end()
    area.takeWidget()
    area.close()
    return image


_kept: list[Any] = []
"""What VTK does not destroy well in another order: it goes with the process."""


def draw_one(name: str, size_name: str, path: Path) -> None:
    """Draw one picture."""
    size = SIZES[size_name]
    folder = tempfile.mkdtemp(prefix="cow-")
    application = Application(Path(folder))
    try:
        _kept.append(application)
        views = Views(size[0] - size[2] - 4, size[1] - BARS - 2)
        _kept.append(views)
        panel, first = PICTURES[name](application)
        save_small(draw(application, panel, first, size, views), path)
        print(path)
        if name == "training":
            import training_panel_picture

            training_panel_picture.end_trainings()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Draw the pictures, each in a process of its own: views of VTK do not outlive their scene well."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=ROOT / "Docs", help="folder of the pictures")
    parser.add_argument("--size", choices=SIZES, help="only this one, in this process")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones, of: {', '.join(PICTURES)}")
    arguments = parser.parse_args()
    for name in arguments.names or PICTURES:
        for size in SIZES:
            if arguments.size is None:
                command = [sys.executable, __file__, "--out", str(arguments.out), "--size", size, name]
                subprocess.run(command, check=True)
            elif arguments.size == size:
                draw_one(name, size, arguments.out / f"window-{name}-{size}.png")


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # Qt and VTK do not agree on the order of their ends
