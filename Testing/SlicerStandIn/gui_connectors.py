"""Which widget shows which kind of parameter, and through which property and signal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer


class Connector:
    """Reads and writes one widget and observes its changes."""

    def __init__(self, widget: Any, signal: str, read: Callable[[], Any], write: Callable[[Any], None]) -> None:
        self._widget, self._signal, self.read, self.write = widget, signal, read, write
        self._callback: Callable[[], None] | None = None

    def on_changed(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` on changes; None ends that."""
        if self._callback is not None:
            self._widget.disconnect(self._signal, self._changed)
        self._callback = callback
        if callback is not None:
            self._widget.connect(self._signal, self._changed)

    def _changed(self) -> None:
        if self._callback is not None:
            self._callback()


def _of_property(widget: Any, name: str, signal: str, kind: type) -> Connector:
    def write(value: Any) -> None:
        value = str(value) if kind is Path else value
        if getattr(widget, name) != value:
            setattr(widget, name, value)

    return Connector(widget, signal, lambda: kind(getattr(widget, name)), write)


_BY_CLASS: dict[tuple[str, type], tuple[str, str]] = {
    ("QCheckBox", bool): ("checked", "toggled(bool)"),
    ("QPushButton", bool): ("checked", "toggled(bool)"),
    ("ctkCheckablePushButton", bool): ("checked", "toggled(bool)"),
    ("QSlider", int): ("value", "valueChanged(int)"),
    ("QSpinBox", int): ("value", "valueChanged(int)"),
    ("QDoubleSpinBox", float): ("value", "valueChanged(double)"),
    ("QDoubleSpinBox", int): ("value", "valueChanged(double)"),
    ("ctkSliderWidget", float): ("value", "valueChanged(double)"),
    ("ctkSliderWidget", int): ("value", "valueChanged(double)"),
    ("QLineEdit", str): ("text", "textChanged(QString)"),
    ("QTextEdit", str): ("plainText", "textChanged()"),
    ("QPlainTextEdit", str): ("plainText", "textChanged()"),
    ("QComboBox", str): ("currentText", "currentTextChanged(QString)"),
    ("ctkPathLineEdit", Path): ("currentPath", "currentPathChanged(QString)"),
    ("ctkDirectoryButton", Path): ("directory", "directoryChanged(QString)"),
}


def connector_for(widget: Any, kind: type) -> Connector:
    """The connector of a widget for a kind of parameter; the pairs are those that Slicer has."""
    name = type(widget).__name__
    if name == "qMRMLNodeComboBox" and issubclass(kind, slicer.vtkMRMLNode):
        return Connector(widget, "currentNodeChanged(vtkMRMLNode*)", widget.currentNode, widget.setCurrentNode)
    if (name, kind) not in _BY_CLASS:
        raise RuntimeError(f"Unable to create a connector of {name} '{widget.objectName}' for {kind.__name__}")
    return _of_property(widget, *_BY_CLASS[name, kind], kind)
