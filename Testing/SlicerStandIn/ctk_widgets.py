"""The module `ctk`: the CTK widgets that the panels use."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from .dialogs import ask
from .python_qt import slicer_class

_HEADER = 24
_HIGHEST = 16777215


def _sections(widget: QtWidgets.QWidget) -> list[QtWidgets.QWidget]:
    return [child for child in QtCore.QObject.children(widget) if isinstance(child, QtWidgets.QWidget)]


class _Collapsible:
    """Hides and shows the children; a child that was hidden by itself stays hidden when the section opens."""

    def _start(self) -> None:
        self.__dict__["_closed"] = False
        self.__dict__["_hidden"] = []

    def _is_collapsed(self) -> bool:
        return self._closed

    def _collapse(self, closed: bool) -> None:
        closed = bool(closed)
        if closed == self._closed:
            return
        self.__dict__["_closed"] = closed
        if closed:
            self._settle()
        else:
            for child in self._hidden:
                child.setVisible(True)
            self._hidden.clear()
        QtWidgets.QWidget.setMaximumHeight(self, self._header() if closed else _HIGHEST)
        self._emitSignals(closed)

    def _settle(self) -> None:
        """Hide children that came meanwhile."""
        if self._closed:
            for child in _sections(self):
                if not QtWidgets.QWidget.isHidden(child):
                    QtWidgets.QWidget.setVisible(child, False)
                    self._hidden.append(child)

    def _header(self) -> int:
        return _HEADER

    def _emitSignals(self, closed: bool) -> None:
        pass


class CollapsibleButton(_Collapsible, QtWidgets.QAbstractButton):
    """ctkCollapsibleButton: a header to click on, and below it the contents."""

    contentsCollapsed = QtCore.Signal(bool)

    def __init__(self, parent: Any = None) -> None:
        text = parent if isinstance(parent, str) else ""
        QtWidgets.QAbstractButton.__init__(self, None if text else parent)
        self._start()
        QtWidgets.QAbstractButton.setText(self, text)
        QtWidgets.QAbstractButton.setCheckable(self, True)
        QtWidgets.QAbstractButton.setChecked(self, True)
        QtWidgets.QWidget.setContentsMargins(self, 0, _HEADER, 0, 0)
        QtWidgets.QWidget.setSizePolicy(self, QtWidgets.QSizePolicy.Preferred, QtWidgets.QSizePolicy.Preferred)
        self.toggled.connect(lambda checked: self._collapse(not checked))

    def _emitSignals(self, closed: bool) -> None:
        QtWidgets.QAbstractButton.setChecked(self, not closed)
        self.contentsCollapsed.emit(closed)

    def sizeHint(self) -> QtCore.QSize:
        """The header; the contents are the layout's matter."""
        return QtCore.QSize(120, _HEADER)

    def event(self, event: QtCore.QEvent) -> bool:
        """Children that come while the section is closed are hidden too."""
        if event.type() in (QtCore.QEvent.LayoutRequest, QtCore.QEvent.Show, QtCore.QEvent.ChildPolished):
            self._settle()
        return QtWidgets.QAbstractButton.event(self, event)

    def hitButton(self, point: QtCore.QPoint) -> bool:
        """Only the header is a button."""
        return point.y() < _HEADER

    def paintEvent(self, event: QtCore.QEvent) -> None:
        """The header, in the style of Slicer's sections."""
        painter = QtGui.QPainter(self)
        width = QtWidgets.QWidget.width(self)
        painter.fillRect(0, 0, width, _HEADER - 2, QtGui.QColor("#dfe3e8"))
        painter.setPen(QtGui.QColor("#202020"))
        arrow = [(8, 7), (8, 15), (14, 11)] if self._closed else [(7, 8), (15, 8), (11, 14)]
        painter.setBrush(QtGui.QColor("#404040"))
        painter.drawPolygon(QtGui.QPolygon([QtCore.QPoint(*corner) for corner in arrow]))
        painter.drawText(22, 16, QtWidgets.QAbstractButton.text(self))
        painter.end()


class CollapsibleGroupBox(_Collapsible, QtWidgets.QGroupBox):
    """ctkCollapsibleGroupBox: a group box whose tick opens and closes it."""

    def __init__(self, parent: Any = None) -> None:
        QtWidgets.QGroupBox.__init__(self, *([] if parent is None else [parent]))
        self._start()
        QtWidgets.QGroupBox.setCheckable(self, True)
        QtWidgets.QGroupBox.setChecked(self, True)
        self.toggled.connect(lambda checked: self._toggled(checked))

    def _toggled(self, checked: bool) -> None:
        self._collapse(not checked)
        # Qt disables the children of a group box without a tick; CTK only hides them.
        for child in _sections(self):
            QtWidgets.QWidget.setEnabled(child, True)

    def _emitSignals(self, closed: bool) -> None:
        QtWidgets.QGroupBox.setChecked(self, not closed)

    def event(self, event: QtCore.QEvent) -> bool:
        """Children that come while the box is closed are hidden too."""
        if event.type() in (QtCore.QEvent.LayoutRequest, QtCore.QEvent.Show, QtCore.QEvent.ChildPolished):
            self._settle()
        return QtWidgets.QGroupBox.event(self, event)


class PathLineEdit(QtWidgets.QWidget):
    """ctkPathLineEdit: a line for a path and a button that opens a file dialog."""

    Dirs, Drives, NoSymLinks = 0x001, 0x004, 0x008
    Files, Readable, Writable, Executable = 0x002, 0x010, 0x020, 0x040
    Hidden, NoDot, NoDotDot = 0x100, 0x2000, 0x4000
    currentPathChanged = QtCore.Signal(str)
    validInputChanged = QtCore.Signal(bool)

    def __init__(self, parent: Any = None) -> None:
        QtWidgets.QWidget.__init__(self, parent)
        state = self.__dict__
        state["_line"], state["_button"] = QtWidgets.QLineEdit(), QtWidgets.QToolButton()
        state["_plain"] = {"filters": self.Files, "nameFilters": (), "label": "", "settingKey": ""}
        self._button.setText("...")
        rows = QtWidgets.QGridLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setVerticalSpacing(0)
        rows.addWidget(self._line, 0, 0)
        rows.addWidget(self._button, 0, 1)
        QtWidgets.QWidget.setFocusProxy(self, self._line)
        self._line.textChanged.connect(lambda text: self._changed(text))
        self._button.clicked.connect(lambda checked: self.browse())

    def showEvent(self, event: QtGui.QShowEvent) -> None:
        """As in CTK the text at the first show is the least width."""
        rows = QtWidgets.QWidget.layout(self)
        if rows.rowCount() == 1:
            width = QtWidgets.QWidget.fontMetrics(self._line).boundingRect(self._line.text()).width() + 8
            rows.addItem(QtWidgets.QSpacerItem(width, 0), 1, 0)
        QtWidgets.QWidget.showEvent(self, event)

    def _changed(self, text: str) -> None:
        self.currentPathChanged.emit(text)
        self.validInputChanged.emit(Path(text).exists())

    def browse(self) -> None:
        """Ask for a path in a dialog."""
        path = ask("choose a path", self._plain["label"])
        if path:
            self._line.setText(str(path))


def _plain(name: str) -> property:
    """A property that is only kept."""
    return property(lambda self: self._plain.get(name), lambda self, value: self._plain.__setitem__(name, value))


def _text_of_line(self: Any) -> str:
    return self._line.text()


def _set_text_of_line(self: Any, path: Any) -> None:
    if not isinstance(path, str):
        raise TypeError(f"currentPath is a text, not {type(path).__name__}")
    self._line.setText(path)


def make_ctk() -> types.ModuleType:
    """The module; only what the panels use is in it."""
    ctk = types.ModuleType("ctk", "CTK's widgets (stand-in)")
    collapsed = property(lambda self: self._is_collapsed(), lambda self, closed: self._collapse(closed))
    own = {
        "ctkCollapsibleButton": (CollapsibleButton, {"collapsed": collapsed}),
        "ctkCollapsibleGroupBox": (CollapsibleGroupBox, {"collapsed": collapsed}),
        "ctkPathLineEdit": (
            PathLineEdit,
            {
                "currentPath": property(_text_of_line, _set_text_of_line),
                "setCurrentPath": _set_text_of_line,
                **{
                    name: _plain(name)
                    for name in (
                        "filters",
                        "nameFilters",
                        "label",
                        "settingKey",
                        "showBrowseButton",
                        "showHistoryButton",
                    )
                },
            },
        ),
        "ctkMessageBox": (
            QtWidgets.QMessageBox,
            {"exec_": lambda self: ask(QtWidgets.QMessageBox.windowTitle(self), QtWidgets.QMessageBox.text(self))},
        ),
    }
    for name, (real, members) in own.items():
        setattr(ctk, name, slicer_class(name, real, members))
    return ctk
