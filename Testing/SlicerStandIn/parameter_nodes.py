"""The module `slicer.parameterNodeWrapper`: typed fields kept in a parameter node and connected to widgets."""

from __future__ import annotations

import types
import typing
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer

from .gui_connectors import connector_for

CONNECT_GUI_RETURNS_TAG = False
"""Documented, but Slicer up to 5.10 at least returns None, so that nothing is disconnected (its issue 7547)."""

_NUMBERS = {bool: (bool,), int: (int,), float: (int, float)}


class _Field:
    """One field: how its value is written to and read from a vtkMRMLScriptedModuleNode."""

    def __init__(self, name: str, kind: Any, default: Any) -> None:
        self.name, self.kind = name, kind
        self.is_node = isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode)
        if not self.is_node and kind not in (str, bool, int, float, Path):
            raise TypeError(f"the stand-in has no serializer for '{name}: {kind}'")
        self.default = default if default is not None or self.is_node else (Path() if kind is Path else kind())

    def check(self, value: Any) -> None:
        if self.is_node:
            fits = value is None or isinstance(value, self.kind)
        else:
            fits = isinstance(value, _NUMBERS.get(self.kind, (self.kind,)))
        if not fits:
            raise ValueError(f"{value!r} is no {self.kind.__name__} for the parameter '{self.name}'")

    def write(self, node: Any, value: Any) -> None:
        self.check(value)
        if self.is_node:
            node.SetNodeReferenceID(self.name, None if value is None else value.GetID())
        else:
            node.SetParameter(self.name, str(value))

    def read(self, node: Any) -> Any:
        if self.is_node:
            return node.GetNodeReference(self.name)
        self.start(node)  # closing the scene empties a node that outlives it
        text = node.GetParameter(self.name)
        return text == "True" if self.kind is bool else self.kind(text)

    def start(self, node: Any) -> None:
        if not self.is_node and not node.HasParameter(self.name):
            self.write(node, self.default)


class _Wrapped:
    """What the decorator adds to the class."""

    def __init__(self, parameterNode: Any) -> None:
        self.parameterNode = parameterNode
        self._guis: dict[int, dict[str, Any]] = {}
        self._next = 0
        self._updating = False
        for field in self.allParameters.values():
            field.start(parameterNode)

    def getValue(self, name: str) -> Any:
        return self._field(name).read(self.parameterNode)

    def setValue(self, name: str, value: Any) -> None:
        self._field(name).write(self.parameterNode, value)

    def default(self, name: str) -> Any:
        return self._field(name).default

    def dataType(self, name: str) -> Any:
        return self._field(name).kind

    def _field(self, name: str) -> _Field:
        if name not in self.allParameters:
            raise ValueError(f"Cannot find a param with the given name: {name}")
        return self.allParameters[name]

    def connectGui(self, gui: Any) -> int | None:
        widgets = gui.findChildren() if hasattr(gui, "findChildren") else list(vars(gui).values())
        mapping = {}
        for widget in widgets:
            name = widget.property("SlicerParameterName")
            if name:
                mapping[name] = widget
        tag = self.connectParametersToGui(mapping)
        return tag if CONNECT_GUI_RETURNS_TAG else None

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        connectors = {name: connector_for(widget, self._field(name).kind) for name, widget in mapping.items()}
        tag, self._next = self._next, self._next + 1
        self._guis[tag] = connectors
        for name, connector in connectors.items():
            connector.write(self.getValue(name))
            connector.on_changed(lambda name=name, connector=connector: self._take(name, connector))
        # The observer must not be part of a cycle: it would be collected while the node still calls it.
        itself = weakref.ref(self)
        self.AddObserver("ModifiedEvent", lambda caller, event: _show(itself))
        return tag

    def disconnectGui(self, tag: int | None) -> None:
        for connector in self._guis.pop(tag, {}).values():
            connector.on_changed(None)

    def _take(self, name: str, connector: Any) -> None:
        if not self._updating:
            self.setValue(name, connector.read())

    def _show(self) -> None:
        if self._updating:
            return
        self._updating = True
        try:
            for connectors in self._guis.values():
                for name, connector in connectors.items():
                    connector.write(self.getValue(name))
        finally:
            self._updating = False

    def StartModify(self) -> int:
        return self.parameterNode.StartModify()

    def EndModify(self, before: int) -> int:
        return self.parameterNode.EndModify(before)

    def AddObserver(self, event: Any, callback: Callable[..., None], priority: float = 0.0) -> int:
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def Modified(self) -> None:
        self.parameterNode.Modified()


def _show(wrapped: weakref.ref[Any]) -> None:
    living = wrapped()
    if living is not None:
        living._show()


def _attribute(name: str) -> property:
    return property(lambda self: self.getValue(name), lambda self, value: self.setValue(name, value))


def parameterNodeWrapper(classtype: type | None = None) -> Any:
    """The class decorator."""
    if classtype is None:
        return parameterNodeWrapper
    fields = {
        name: _Field(name, kind, getattr(classtype, name, None))
        for name, kind in typing.get_type_hints(classtype).items()
    }
    for name, field in fields.items():
        if field.default is not None:
            field.check(field.default)
        setattr(classtype, name, _attribute(name))
    for name, member in vars(_Wrapped).items():
        if name == "__init__" or not name.startswith("__"):
            if name != "__init__" and hasattr(classtype, name):
                raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
            setattr(classtype, name, member)
    classtype.allParameters = fields
    return classtype


def make_module() -> types.ModuleType:
    """`slicer.parameterNodeWrapper`."""
    module = types.ModuleType("slicer.parameterNodeWrapper")
    module.parameterNodeWrapper = parameterNodeWrapper
    return module
