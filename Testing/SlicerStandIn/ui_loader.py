"""Loads `.ui` files with the stand-in's own classes; what Slicer would ignore or warn of is an error here."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

from PySide6 import QtCore, QtUiTools, QtWidgets

from .api import members

_SLOT = re.compile(r"(\w+)\((.*)\)$")


def _value(element: Any, owner: type) -> Any:
    """The value of a property of a `.ui` file."""
    child = element[0]
    text = child.text or ""
    if child.tag == "bool":
        return text == "true"
    if child.tag == "number":
        return int(text)
    if child.tag == "double":
        return float(text)
    if child.tag == "stringlist":
        return [part.text or "" for part in child]
    if child.tag in ("set", "enum"):
        value = 0
        for flag in filter(None, text.split("|")):
            value |= int(getattr(owner, flag.split("::")[-1]))
        return value
    if child.tag in ("string", "cstring"):
        return text
    raise ValueError(f"<{child.tag}> is not read by the stand-in yet (property '{element.get('name')}')")


def _taking(slot: Callable[..., Any], count: int) -> Callable[..., None]:
    """The slot with the first `count` arguments of the signal."""
    return lambda *arguments: slot(*arguments[:count])


class UiLoader(QtUiTools.QUiLoader):
    """What `qt.QUiLoader` does."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.__dict__.update(_made=[], _errors=[])

    def load(self, device: Any, parent: Any = None) -> Any:
        """The top widget of the file; classes, properties, signals and slots that Slicer lacks are errors."""
        from .installation import widget_class

        tree = ElementTree.fromstring(bytes(QtCore.QIODevice.readAll(device)))
        later: list[tuple[str, str, Any]] = []
        for widget in tree.iter("widget"):
            name, label = widget.get("class"), widget.get("name")
            made = widget_class(name)
            known = members(name)
            for element in widget.findall("property"):
                title = element.get("name")
                if element.get("stdset") == "0":
                    continue
                if title not in known.properties:
                    raise ValueError(f"{name} '{label}' has no property '{title}' in 3D Slicer")
                if title not in made._native_properties:
                    later.append((label, title, _value(element, made)))
                    widget.remove(element)
        connections = [
            tuple(entry.findtext(part) for part in ("sender", "signal", "receiver", "slot"))
            for entry in tree.iter("connection")
        ]
        for part in tree.findall("connections"):
            tree.remove(part)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(tree))
        buffer.open(QtCore.QIODevice.ReadOnly)
        top = QtUiTools.QUiLoader.load(self, buffer, parent)
        if self._errors:
            raise self._errors[0]
        if top is None:
            return None
        by_name = {QtCore.QObject.objectName(widget): widget for widget in self._made}
        for label, title, value in later:
            setattr(by_name[label], title, value)
        for widget in self._made:
            settle = getattr(widget, "_settle", None)
            if settle is not None:
                settle()
        for sender, signal, receiver, slot in connections:
            name, arguments = _SLOT.match(slot).groups()
            target = by_name[receiver]
            if name not in members(type(target).__name__).names:
                raise ValueError(f"'{receiver}' has no slot '{slot}' in 3D Slicer")
            by_name[sender].connect(
                signal, _taking(getattr(target, name), len(arguments.split(",")) if arguments else 0)
            )
        return top

    def createWidget(self, class_name: str, parent: Any = None, name: str = "") -> Any:
        """A widget of one of the stand-in's classes."""
        from .installation import widget_class

        try:
            widget = widget_class(class_name)(parent)
        except Exception as error:  # Qt would go on without the widget
            self._errors.append(error)
            raise
        QtCore.QObject.setObjectName(widget, name)
        self._made.append(widget)
        return widget

    def createLayout(self, class_name: str, parent: Any = None, name: str = "") -> Any:
        """A layout of one of the stand-in's classes."""
        layout = getattr(sys.modules["qt"], class_name)()
        QtCore.QObject.setObjectName(layout, name)
        self._made.append(layout)
        if isinstance(parent, QtWidgets.QWidget) and QtWidgets.QWidget.layout(parent) is None:
            QtWidgets.QWidget.setLayout(parent, layout)
        return layout
