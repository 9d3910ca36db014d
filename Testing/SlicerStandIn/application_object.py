"""`slicer.app`, `slicer.modules` and the modules in them, as far as the panels need them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import vtk
from PySide6 import QtCore, QtWidgets

from .node_files import file_type, load_nodes, load_scene

_SIGNALS = ("aboutToQuit()", "startupCompleted()", "mrmlSceneChanged(vtkMRMLScene*)")


class ScriptedModuleWidget(QtWidgets.QWidget):
    """qSlicerScriptedLoadableModuleWidget: the place in the main window where the panel of a module lies."""

    def __init__(self, module: ScriptedModule) -> None:
        super().__init__()
        self._module = module
        self._python: Any = None
        self.isEntered = False
        layout = sys.modules["qt"].QVBoxLayout()
        QtWidgets.QWidget.setLayout(self, layout)

    def self(self) -> Any:
        """The panel's own object."""
        return self._python

    def reload(self) -> None:
        """Make the panel's object anew."""
        name = self._module.name
        self._python = getattr(sys.modules[name], f"{name}Widget")(self)
        self._python.setup()
        if self.isEntered:
            self.isEntered = False
            self.enter()

    def enter(self) -> None:
        """The user comes to the module."""
        if not self.isEntered:
            self.isEntered = True
            getattr(self._python, "enter", lambda: None)()

    def exit(self) -> None:
        """The user goes to another module."""
        if self.isEntered:
            self.isEntered = False
            getattr(self._python, "exit", lambda: None)()


class ScriptedModule:
    """qSlicerScriptedLoadableModule: one scripted module that was found."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, str(path)
        self.title, self.helpText, self.acknowledgementText = "", "", ""
        self.categories: list[str] = []
        self.dependencies: list[str] = []
        self.contributors: list[str] = []
        self._widget: ScriptedModuleWidget | None = None
        module = importlib.import_module(name)
        self._python = getattr(module, name)(self)

    def widgetRepresentation(self) -> ScriptedModuleWidget:
        """The panel; made when it is asked for the first time."""
        if self._widget is None:
            self._widget = ScriptedModuleWidget(self)
            self._widget.reload()
        return self._widget


class CoreModule:
    """A module of Slicer that is written in C++: its logic."""

    def __init__(self, name: str, logic: Any) -> None:
        self.name, self._logic = name, logic

    def logic(self) -> Any:
        """The logic."""
        return self._logic


class Modules:
    """`slicer.modules`: every module in small letters."""

    def __init__(self) -> None:
        self.sampleDataSources: dict[str, list[Any]] = {}


class ModuleManager:
    """`slicer.app.moduleManager()`."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def module(self, name: str) -> Any:
        """A module by its name; None where there is none."""
        return self.found.get(name)


class ModuleSelector:
    """`slicer.util.moduleSelector()`."""

    def __init__(self, manager: ModuleManager) -> None:
        self._manager = manager
        self.selectedModule = ""

    def selectModule(self, name: str) -> None:
        """Leave one module and enter another."""
        before = self._manager.module(self.selectedModule)
        if before is not None:
            before.widgetRepresentation().exit()
        self.selectedModule = name
        self._manager.module(name).widgetRepresentation().enter()


class MainWindow(QtWidgets.QMainWindow):
    """What slicer.util asks of the main window; it is never shown."""

    objectName = "qSlicerMainWindow"

    def __init__(self, manager: ModuleManager) -> None:
        super().__init__()
        self._selector = ModuleSelector(manager)

    def moduleSelector(self) -> ModuleSelector:
        """The box in which modules are chosen."""
        return self._selector


class CoreIOManager:
    """`slicer.app.coreIOManager()`: reads files into nodes with the logics of the modules."""

    def __init__(self, scene: Any) -> None:
        self._scene = scene

    def fileType(self, path: str) -> str:
        """Which reader takes a file."""
        return file_type(path)

    def fileWriterFileType(self, node: Any) -> str:
        """Which writer takes a node; its storage node does it all here."""
        return node.GetClassName()

    def loadNodes(self, kind: str, properties: dict[str, Any], loaded: Any = None, messages: Any = None) -> bool:
        """Load a file; whether that went well."""
        if kind == "SceneFile":
            return load_scene(self._scene, properties, messages)
        nodes = load_nodes(self._scene, kind, properties)
        for node in nodes:
            if loaded is not None:
                loaded.AddItem(node)
        return bool(nodes)

    def saveNodes(self, kind: str, properties: dict[str, Any], messages: Any = None) -> bool:
        """Save a node or the scene; whether that went well."""
        path = str(properties["fileName"])
        if kind == "SceneFile":
            return bool(self._scene.WriteToMRB(path, None, messages))
        node = self._scene.GetNodeByID(properties["nodeID"])
        node.AddDefaultStorageNode(path)
        node.GetStorageNode().SetFileName(path)
        return bool(node.GetStorageNode().WriteData(node))


class ThreeDView:
    """qMRMLThreeDView: a 3-D view that is shown, round a render window."""

    visible = True

    def __init__(self, window: Any) -> None:
        self._window = window

    def renderWindow(self) -> Any:
        """The vtkRenderWindow."""
        return self._window

    def forceRender(self) -> None:
        """Draw it now."""
        self._window.Render()


class ThreeDWidget:
    """qMRMLThreeDWidget: the view with its bar."""

    def __init__(self, window: Any) -> None:
        self._view = ThreeDView(window)

    def threeDView(self) -> ThreeDView:
        """The view."""
        return self._view


class LayoutManager:
    """`slicer.app.layoutManager()`: three slice views without windows, and the layout that was chosen.

    There are as many 3-D views as a test puts render windows into `_windows`.
    """

    tableViewCount = plotViewCount = 0

    def __init__(self, slice_logics: list[Any], layout_logic: Any) -> None:
        self._slices = {logic.GetSliceNode().GetLayoutName(): logic for logic in slice_logics}
        self._logic = layout_logic
        self._windows: list[Any] = []

    @property
    def threeDViewCount(self) -> int:
        """How many 3-D views the layout shows."""
        return len(self._windows)

    def threeDWidget(self, number: int) -> ThreeDWidget:
        """A 3-D view."""
        return ThreeDWidget(self._windows[number])

    @property
    def layout(self) -> int:
        """Number of the layout, one of vtkMRMLLayoutNode's."""
        return int(self._logic.GetLayoutNode().GetViewArrangement())

    def setLayout(self, layout: int) -> None:
        """Choose a layout."""
        self._logic.GetLayoutNode().SetViewArrangement(layout)

    def layoutLogic(self) -> Any:
        """The vtkMRMLLayoutLogic."""
        return self._logic

    def sliceViewNames(self) -> tuple[str, ...]:
        """Names of the slice views."""
        return tuple(self._slices)

    def mrmlSliceLogics(self) -> Any:
        """Their logics in a vtkCollection."""
        collection = vtk.vtkCollection()
        for logic in self._slices.values():
            collection.AddItem(logic)
        return collection

    def resetSliceViews(self) -> None:
        """Fit the views to what they show."""
        for logic in self._slices.values():
            logic.FitSliceToAll()

    def resetThreeDViews(self) -> None:
        """There is no 3-D view."""


class App:
    """`slicer.app`."""

    applicationName = "Slicer"
    applicationVersion = "5.13.0"
    majorVersion, minorVersion = 5, 13

    def __init__(self, scene: Any, folder: Path, layout: LayoutManager) -> None:
        self._scene = scene
        self._slots: list[tuple[str, Callable[..., Any]]] = []
        self._manager = ModuleManager()
        self._layout = layout
        self._io = CoreIOManager(scene)
        self._window = MainWindow(self._manager)
        self._testing = False
        self.slicerHome = str(folder / "Slicer")
        self.temporaryPath = str(folder / "temporary")
        self.cachePath = str(folder / "cache")
        for path in (self.temporaryPath, self.cachePath):
            Path(path).mkdir(parents=True, exist_ok=True)

    def connect(self, signal: str, function: Callable[..., Any]) -> bool:
        """Call `function` at one of the application's signals."""
        if signal not in _SIGNALS:
            raise ValueError(f"the stand-in's application has no signal '{signal}'")
        self._slots.append((signal, function))
        return True

    def disconnect(self, signal: str, function: Callable[..., Any]) -> bool:
        """End that."""
        self._slots = [slot for slot in self._slots if slot != (signal, function)]
        return True

    def processEvents(self, *flags: Any) -> None:
        """Let timers, signals and drawing go on."""
        QtCore.QCoreApplication.processEvents()

    def applicationLogic(self) -> Any:
        """The vtkSlicerApplicationLogic."""
        return self._scene.kept_alive[0]

    def mrmlScene(self) -> Any:
        """The scene."""
        return self._scene

    def moduleManager(self) -> ModuleManager:
        """The modules by their names."""
        return self._manager

    def moduleLogic(self, name: str) -> Any:
        """Logic of a module by the module's name."""
        module = self._manager.module(name)
        return None if module is None else module.logic()

    def layoutManager(self) -> LayoutManager:
        """The views."""
        return self._layout

    def coreIOManager(self) -> CoreIOManager:
        """Reads files."""
        return self._io

    def topLevelWidgets(self) -> list[Any]:
        """The main window."""
        return [self._window]

    def clipboard(self) -> Any:
        """What was copied."""
        return QtWidgets.QApplication.clipboard()

    def testingEnabled(self) -> bool:
        """Whether the application runs its own tests (no dialogs then)."""
        return self._testing

    def settings(self) -> Any:
        """The user's settings."""
        return sys.modules["qt"].QSettings()

    def userSettings(self) -> Any:
        """The user's settings."""
        return self.settings()

    def setOverrideCursor(self, cursor: Any) -> None:
        """Show another pointer."""
        QtWidgets.QApplication.setOverrideCursor(cursor)

    def restoreOverrideCursor(self) -> None:
        """Show the usual pointer again."""
        QtWidgets.QApplication.restoreOverrideCursor()

    def pauseRender(self) -> None:
        """Nothing is drawn anyway."""

    def resumeRender(self) -> None:
        """Nothing is drawn anyway."""

    def quit(self) -> None:
        """The application ends: tell those who want to know."""
        emit(self, "aboutToQuit()")


def emit(app: App, signal: str, *arguments: Any) -> None:
    """Send one of the application's signals."""
    for name, function in list(app._slots):
        if name == signal:
            function(*arguments)
