"""An application with a scene of its own, for one test or one picture."""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import slicer
from CoWLandmarksLib.scene.scene_files import create_scene
from PySide6 import QtCore, QtGui, QtWidgets

from . import dialogs
from .application_object import App, CoreModule, LayoutManager, Modules, ScriptedModule, emit
from .dicom_database import DicomDatabase
from .node_files import logic_of
from .python_qt import slot_errors

ROOT = Path(__file__).resolve().parent.parent.parent
_LOGICS = {
    "Markups": "vtkSlicerMarkupsLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Tables": "vtkSlicerTablesLogic",
}


def _qt_application() -> QtWidgets.QApplication:
    """The one application object of the process, with the same style on every computer."""
    application = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["CoWLandmarks"])
    application.setOrganizationName("CoWLandmarksStandIn")
    application.setApplicationName("Slicer")
    application.setStyle("Fusion")
    palette = QtGui.QPalette(QtGui.QColor("#f0f0f0"))
    application.setPalette(palette)
    font = QtGui.QFont("DejaVu Sans")
    font.setPixelSize(12)
    application.setFont(font)
    return application


def _modules_of_ours() -> dict[str, ModuleType]:
    """The modules of the extension's packages that are imported now."""
    packages = {path.parent.name for path in ROOT.glob("CoWLandmarks*/CoWLandmarks*/__init__.py")}
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] in packages}


class _LoggedErrors(logging.Handler):
    """An error that a module caught and logged with its traceback fails the test like one in a slot."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            slot_errors.append(self.format(record))


class Application:
    """The application: `slicer.app`, `slicer.mrmlScene` and `slicer.modules` are its own until `close`."""

    def __init__(self, folder: Path | None = None) -> None:
        self._own_folder = tempfile.TemporaryDirectory(prefix="cow-stand-in-") if folder is None else None
        folder = Path(self._own_folder.name) if folder is None else Path(folder)
        self.qt_application = _qt_application()
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.IniFormat)
        QtCore.QSettings.setPath(QtCore.QSettings.IniFormat, QtCore.QSettings.UserScope, str(folder / "settings"))
        QtCore.QSettings.setPath(QtCore.QSettings.IniFormat, QtCore.QSettings.SystemScope, str(folder / "system"))
        self._imported = _modules_of_ours()
        slot_errors.clear()
        self._logged_errors = _LoggedErrors(logging.ERROR)
        logging.getLogger().addHandler(self._logged_errors)
        dialogs.answers.clear()
        dialogs.asked.clear()
        self.scene = create_scene()
        logic = self.scene.kept_alive[0]
        rendering = slicer.vtkSlicerVolumeRenderingLogic()
        rendering.SetMRMLApplicationLogic(logic)
        rendering.SetMRMLScene(self.scene)
        modules = {name: logic_of(self.scene, class_name) for name, class_name in _LOGICS.items()}
        modules |= {"VolumeRendering": rendering, "Colors": logic.GetColorLogic()}
        plots = slicer.vtkSlicerPlotsLogic()
        plots.SetMRMLApplicationLogic(logic)
        plots.SetMRMLScene(self.scene)
        modules["Plots"] = plots
        slices = self._slice_views()
        layout = slicer.vtkMRMLLayoutLogic()
        layout.SetMRMLScene(self.scene)
        self.scene.kept_alive = (*self.scene.kept_alive, rendering, plots, layout, *slices)
        slicer.mrmlScene = self.scene
        slicer.modules = Modules()
        slicer.app = App(self.scene, folder, LayoutManager(slices, layout))
        slicer.dicomDatabase = DicomDatabase()
        for name, module_logic in modules.items():
            logic.SetModuleLogic(name, module_logic)
            module = CoreModule(name, module_logic)
            slicer.app.moduleManager().found[name] = module
            setattr(slicer.modules, name.lower(), module)
        self._containers: list[Any] = []

    def _slice_views(self) -> list[Any]:
        logics = []
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene)
        for name, orientation in (("Red", "Axial"), ("Yellow", "Sagittal"), ("Green", "Coronal")):
            node = self.scene.CreateNodeByClass("vtkMRMLSliceNode")  # with the orientations
            node.UnRegister(None)
            node.SetName(name)
            node.SetLayoutName(name)
            node.SetSingletonTag(name)
            self.scene.AddNode(node)
            node.SetOrientation(orientation)
            logic = slicer.vtkMRMLSliceLogic()
            logic.SetMRMLApplicationLogic(self.scene.kept_alive[0])
            logic.SetMRMLScene(self.scene)
            logic.SetSliceNode(node)
            logics.append(logic)
        return logics

    def load_module(self, name: str) -> Any:
        """Find a module of this extension and open its panel, as choosing it in the menu does; returns the widget."""
        manager = slicer.app.moduleManager()
        if name not in manager.found:
            path = next(path for path in ROOT.glob(f"CoWLandmarks*/{name}.py"))
            if name in sys.modules:
                del sys.modules[name]
            if str(path.parent) not in sys.path:
                sys.path.insert(0, str(path.parent))
            module = ScriptedModule(name, path)
            manager.found[name] = module
            setattr(slicer.modules, name.lower(), module)
            emit(slicer.app, "startupCompleted()")
        slicer.util.selectModule(name)
        return slicer.util.getModuleWidget(name)

    def container(self) -> Any:
        """An empty widget with a layout that is shown, to put a part of a panel into."""
        qt = sys.modules["qt"]
        widget = qt.QWidget()
        widget.setLayout(qt.QVBoxLayout())
        widget.show()
        self._containers.append(widget)
        return widget

    def process_events(self) -> None:
        """Let timers, signals and drawing go on."""
        self.qt_application.processEvents()

    def spin_until(self, done: Callable[[], Any], seconds: float = 60.0) -> None:
        """Run the event loop until `done()`; AssertionError when that takes too long."""
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, f"not done after {seconds} s"
            self.process_events()
            time.sleep(0.005)

    def answer(self, *values: Any) -> None:
        """What the next dialogs return: True or False for OK and Cancel, a path, or what the dialog gives."""
        message = QtWidgets.QMessageBox
        dialogs.answers.extend(
            (message.Ok if value else message.Cancel) if isinstance(value, bool) else value for value in values
        )

    @property
    def asked(self) -> list[str]:
        """Texts of the dialogs that were opened."""
        return dialogs.asked

    @property
    def slot_errors(self) -> list[str]:
        """Tracebacks of slots that failed and of errors that were logged with theirs; `close` raises them."""
        return slot_errors

    def quit(self) -> None:
        """Quit as the user does."""
        slicer.app.quit()

    def grab(self, widget: Any, path: Path, width: int = 480, height: int | None = None) -> Path:
        """A picture of a widget as PNG, `width` points wide, as high as it wants to be."""
        QtWidgets.QWidget.show(widget)
        for _round in range(3):  # texts that wrap take their height only once the width is known
            self.process_events()
            layout = QtWidgets.QWidget.layout(widget)
            wanted = (
                layout.totalHeightForWidth(width) if layout.hasHeightForWidth() else layout.totalSizeHint().height()
            )
            QtWidgets.QWidget.resize(widget, width, height or max(wanted, 10))
        self.process_events()
        path.parent.mkdir(parents=True, exist_ok=True)
        if not QtWidgets.QWidget.grab(widget).save(str(path)):
            raise OSError(f"'{path}' cannot be written")
        return path

    def close(self) -> None:
        """Close every panel and the scene; AssertionError where a slot had failed or an answer was not asked for."""
        for module in list(slicer.app.moduleManager().found.values()):
            panel = getattr(module, "_widget", None)
            if panel is not None:
                panel.exit()
                panel.self().cleanup()
                panel.close()
                panel.deleteLater()
        for container in self._containers:
            QtWidgets.QWidget.close(container)
            container.deleteLater()
        self.process_events()
        self.scene.Clear()
        self.process_events()
        logging.getLogger().removeHandler(self._logged_errors)
        if any(sys.modules.get(name) is not module for name, module in self._imported.items()):
            for name in _modules_of_ours():  # a module was reloaded with its packages: only for this application
                del sys.modules[name]
            sys.modules.update(self._imported)
        errors, answers = list(slot_errors), list(dialogs.answers)
        slot_errors.clear()
        dialogs.answers.clear()
        if self._own_folder is not None:
            self._own_folder.cleanup()
        assert not errors, "a slot failed:\n" + "\n".join(errors)
        assert not answers, f"nobody asked for the answers {answers}"

    def __enter__(self) -> Application:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except AssertionError:
            if error is None:
                raise
