"""The module `qt`: the classes of Qt that Slicer shows to Python, and no others."""

from __future__ import annotations

import types
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from .api import API
from .python_qt import slicer_class
from .ui_loader import UiLoader


def _pyside_class(name: str) -> type:
    for module in (QtWidgets, QtGui, QtCore):
        if hasattr(module, name):
            return getattr(module, name)
    raise LookupError(f"PySide6 has no {name}")


def _table_widget(qt: types.ModuleType) -> dict[str, Any]:
    def create(self: Any, *arguments: Any) -> None:
        QtWidgets.QTableWidget.__init__(self, *arguments)
        # Headers that Qt makes by itself would have PySide's members.
        for orientation in (QtCore.Qt.Horizontal, QtCore.Qt.Vertical):
            header = qt.QHeaderView(orientation, self)
            header.setSectionsClickable(True)
            header.setHighlightSections(True)
            set_header = {
                QtCore.Qt.Horizontal: QtWidgets.QTableWidget.setHorizontalHeader,
                QtCore.Qt.Vertical: QtWidgets.QTableWidget.setVerticalHeader,
            }[orientation]
            set_header(self, header)

    return {"__init__": create}


def _dialog(base: type) -> dict[str, Any]:
    """A modal dialog would wait forever for somebody: the test answers (see `dialogs.py`)."""
    from .dialogs import ask

    return {
        "exec_": lambda self: ask(base.windowTitle(self), getattr(self, "text", "")),
    }


def _file_dialog() -> dict[str, Any]:
    from .dialogs import ask

    def asking(kind: str) -> staticmethod:
        return staticmethod(lambda *arguments, **named: ask(kind, str(arguments[1:2])))

    return {name: asking(name) for name in ("getOpenFileName", "getSaveFileName", "getExistingDirectory")}


def make_qt() -> types.ModuleType:
    """The module; needs no application object yet."""
    qt = types.ModuleType("qt", "Qt as Slicer's Python sees it (stand-in)")
    own = {
        "QTableWidget": _table_widget(qt),
        "QMessageBox": _dialog(QtWidgets.QMessageBox),
        "QDialog": _dialog(QtWidgets.QDialog),
        "QFileDialog": _file_dialog(),
    }
    for name in API["qt"]:
        if name == "QUiLoader":
            qt.QUiLoader = slicer_class(name, UiLoader, {"load": UiLoader.load, "createWidget": UiLoader.createWidget})
        else:
            setattr(qt, name, slicer_class(name, _pyside_class(name), own.get(name)))
    # The namespace of Qt's constants; PythonQt has it too, though it is no class.
    qt.Qt = QtCore.Qt
    return qt
