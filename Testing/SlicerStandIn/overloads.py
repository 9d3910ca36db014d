"""What the methods of the real Slicer take (overloads.json), and which Python object fits which of their types.

PythonQt turns objects into few other types. Of what it does turn, the doubtful is refused here (a number as a text,
a QColor as a QBrush): a module that says it plainly works either way.
"""

from __future__ import annotations

import enum
import json
import numbers
import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

_CLASSES = json.loads(Path(__file__).with_name("overloads.json").read_text(encoding="utf-8"))

Overloads = tuple[tuple[str, ...], ...]
Acceptor = Callable[[Any], bool]

_COMMA = re.compile(r",(?![^<]*>)")
_INTEGERS = frozenset(
    ("int", "uint", "short", "ushort", "long", "ulong", "uchar", "qint32", "qint64", "qlonglong", "qulonglong", "WId")
)
_TEXTS = frozenset(("QString", "QByteArray", "char"))  # `char` is always a pointer: a text
_LISTS = {"QStringList": "QString", "QByteArrayList": "QByteArray"}


def has_overloads(class_name: str) -> bool:
    """Whether the application's dump has the class."""
    return class_name in _CLASSES


@cache
def overloads(class_name: str) -> dict[str, Overloads]:
    """The overloads of each method as the types of the arguments; `__init__` are the constructors."""
    entry = _CLASSES[class_name]
    own = {
        method: tuple(
            tuple(_COMMA.split(kinds)) if kinds else () for kinds in (text.removeprefix("static ") for text in texts)
        )
        for method, texts in entry["methods"].items()
    }
    return (overloads(entry["base"]) if entry["base"] else {}) | own


def for_objects(class_name: str, method: str) -> bool:
    """Whether an overload of the method needs an object of the class."""
    entry = _CLASSES[class_name]
    if method not in entry["methods"]:
        return for_objects(entry["base"], method)
    return not all(text.startswith("static ") for text in entry["methods"][method])


def setter_type(class_name: str, name: str) -> str | None:
    """The type of a property by the method that sets it; None where that does not tell."""
    if not has_overloads(class_name):
        return None
    found = {kinds[0] for kinds in overloads(class_name).get(f"set{name[:1].upper()}{name[1:]}", ()) if len(kinds) == 1}
    return found.pop() if len(found) == 1 else None


def fits(value: Any, kind: str) -> bool:
    """Whether PythonQt would make the type `kind` of a Python object."""
    return acceptor(kind)(value)


@cache
def acceptor(kind: str) -> Acceptor:
    """What tells whether an object fits a type."""
    kind = kind.rstrip("*")
    container = re.fullmatch(r"(QList|QVector|QMap|QHash)<(.*)>", kind)
    if kind in ("QVariant", "PyObject"):
        return lambda value: True
    if kind == "bool":
        return lambda value: isinstance(value, (bool, numbers.Integral))
    if kind in _INTEGERS or kind in ("quintptr", "vtkIdType", "QChar"):
        return lambda value: isinstance(value, (numbers.Integral, enum.Enum, float))  # floats are rounded down
    if kind in ("double", "float", "qreal"):
        return lambda value: isinstance(value, numbers.Real)
    if kind in _TEXTS:
        return lambda value: (
            isinstance(value, (str, bytes)) or (kind == "QByteArray" and type(value) is QtCore.QByteArray)
        )
    if kind in _LISTS or (container is not None and container[1] in ("QList", "QVector")):
        item = acceptor(_LISTS[kind] if kind in _LISTS else container[2])
        return lambda value: isinstance(value, (list, tuple)) and all(map(item, value))
    if container is not None:
        return lambda value: isinstance(value, dict)
    if kind.startswith("vtk"):
        return lambda value: value is None or bool(getattr(value, "IsA", lambda name: False)(kind))
    made = python_class(kind)
    if made is None:
        enumerated = "::" in kind  # otherwise a class that is not in Python: nothing can be one
        return lambda value: enumerated and isinstance(value, (numbers.Integral, enum.Enum))
    if hasattr(made, "__copy__"):  # handed over by value
        return lambda value: isinstance(value, made)
    return lambda value: value is None or isinstance(value, made)


def python_class(kind: str) -> type | None:
    """The class of Python for a class of C++; None for enumerations and for what only the application has."""
    found = _in_python(kind)
    return None if found is None or issubclass(found, enum.Enum) else getattr(found, "_real_class", found)


@cache
def enumeration(kind: str) -> type | None:
    """PySide's class for an enumeration or for flags of C++; None for other types."""
    found = _in_python(kind)
    return found if found is not None and issubclass(found, enum.Enum) else None


def _in_python(kind: str) -> type | None:
    *owner, name = kind.split("::")
    for place in (QtWidgets, QtGui, QtCore, sys.modules.get("ctk"), slicer):
        found = getattr(getattr(place, owner[0], None) if owner else place, name, None)
        if isinstance(found, type):
            return found
    return None


class Checker:
    """Refuses arguments that none of the real overloads of a method or constructor takes."""

    def __init__(self, class_name: str, name: str) -> None:
        self._class, self._name = class_name, name
        self._overloads = overloads(class_name)[name]
        self._known: dict[tuple[type, ...], list[type | None]] = {}

    def checked(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments for PySide, which wants enumerations where PythonQt takes an int too.

        ValueError as PythonQt's where they do not fit. Types that fitted once fit again, unless they hold others.
        """
        types = tuple(map(type, arguments))
        turned = self._known.get(types)
        if turned is None:
            fitting = [
                [
                    enumeration(kind) if type(value) is int else None
                    for value, kind in zip(arguments, kinds, strict=True)
                ]
                for kinds in self._overloads
                if len(kinds) == len(arguments) and all(map(fits, arguments, kinds))
            ]
            if not fitting:
                raise ValueError(self._refusal(arguments))
            turned = max(fitting, key=lambda turns: turns.count(None))
            if not any(issubclass(kind, (list, tuple, dict)) for kind in types):
                self._known[types] = turned
        if not any(turned):
            return arguments
        return tuple(value if made is None else made(value) for value, made in zip(arguments, turned, strict=True))

    def _refusal(self, arguments: tuple[Any, ...]) -> str:
        name = self._class if self._name == "__init__" else f"{self._class}.{self._name}"
        there = "\n".join(f"{name}({', '.join(kinds)})" for kinds in self._overloads)
        return f"Could not find matching overload for given arguments:\n{arguments}\nThese are available:\n{there}"


class _Call:
    """A method of one object (or, unbound, of the class). Qt never takes it for an override: it is no function."""

    __slots__ = ("_bound", "_checker", "_first")

    def __init__(self, checker: Checker, bound: Callable[..., Any], first: int) -> None:
        self._checker, self._bound, self._first = checker, bound, first

    def __call__(self, *arguments: Any) -> Any:
        first = self._first
        return self._bound(*arguments[:first], *self._checker.checked(arguments[first:]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Call) and self._bound == other._bound

    def __hash__(self) -> int:
        return hash(self._bound)


class CheckedMethod:
    """A method that takes only what the real one takes."""

    def __init__(self, class_name: str, name: str, method: Any) -> None:
        self._checker, self._method = Checker(class_name, name), method

    def __get__(self, instance: Any, owner: type | None = None) -> _Call:
        unbound = instance is None and not isinstance(self._method, staticmethod)
        return _Call(self._checker, self._method.__get__(instance, owner), 1 if unbound else 0)
