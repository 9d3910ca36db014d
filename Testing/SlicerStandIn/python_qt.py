"""Qt classes as Slicer's Python sees them (PythonQt): properties are attributes, signals are named by their signature.

Each class is a subclass of PySide's with the members of the real one and no others: using any other name fails.
"""

from __future__ import annotations

import inspect
import re
import sys
import traceback
import types
from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6 import QtCore

from .api import Members, members
from .overloads import CheckedMethod, Checker, fits, for_objects, has_overloads, overloads, setter_type

slot_errors: list[str] = []
"""Tracebacks of what went wrong in slots; PythonQt prints them and goes on, a test wants to fail."""

_EXTRA = frozenset({"name"})
"""`name` of an object is its objectName; slicer.util uses it, though PythonQt does not list it."""

CALLED_BY_QT = re.compile(
    r"event|eventFilter|\w+(Event|Notify|Propagation)|metric|\w+MetricF|redirected|sharedPainter|init\w*(Painter|Option|OptionForIndex)"
    r"|itemDelegateForIndex|clearItemData|multiData|skipData"
)
"""Virtual methods, for which PySide looks into the class whenever Qt calls them."""


_SIZE_HINTS = ("sizeHint", "minimumSizeHint")
_reading_size_hint: list[str] = []


class Absent:
    """Takes the place of a member that PySide has and Slicer lacks."""

    def __init__(self, class_name: str, name: str) -> None:
        self.text = f"{class_name} of 3D Slicer has no '{name}'"

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        raise AttributeError(self.text)

    def __set__(self, instance: Any, value: Any) -> None:
        raise AttributeError(self.text)


def qt_property(
    name: str, writable: bool, kind: str | None = None, getter: Callable[[Any], Any] | None = None
) -> property:
    """A property of Qt as an attribute; of the type `kind` where that is known."""

    def read(self: Any) -> Any:
        return QtCore.QObject.property(self, name) if getter is None else getter(self)

    def read_size_hint(self: Any) -> Any:
        # Qt asks a widget, it its children, and PySide looks into the class each time: that would double at each level.
        if _reading_size_hint:
            return None
        _reading_size_hint.append(name)
        try:
            return QtCore.QObject.property(self, name)
        finally:
            _reading_size_hint.clear()

    def write(self: Any, value: Any) -> None:
        if not writable:
            raise AttributeError(f"{type(self).__name__}.{name} is read-only")
        _check_value(name, kind, value)
        if isinstance(value, tuple):
            value = list(value)
        QtCore.QObject.setProperty(self, name, value)

    return property(read_size_hint if name in _SIZE_HINTS else read, write)


def _check_value(name: str, kind: str | None, value: Any) -> None:
    """AttributeError with PythonQt's message where a property does not take a value."""
    if kind is not None and not fits(value, kind):
        raise AttributeError(
            f"Property '{name}' of type '{kind}' does not accept an object of type {type(value).__name__} ({value!r})"
        )


def _checked_property(class_name: str, name: str, member: property) -> property:
    """A property written by hand that takes only what the real one takes."""
    kind, setter = setter_type(class_name, name), member.fset
    if kind is None or setter is None:
        return member

    def write(self: Any, value: Any) -> None:
        _check_value(name, kind, value)
        setter(self, value)

    return property(member.fget, write)


def _property_type(class_name: str, property_of_qt: QtCore.QMetaProperty) -> str:
    """The type of a property, by the real setter or else as PySide has it."""
    kind = setter_type(class_name, property_of_qt.name()) or property_of_qt.typeName()
    return "Qt::Enumeration" if property_of_qt.isEnumType() or property_of_qt.isFlagType() else kind


class _Class(type(QtCore.QObject)):
    """Makes a button an instance of `qt.QWidget` though it derives from PySide's classes."""

    def __instancecheck__(cls, instance: Any) -> bool:
        real = cls.__dict__.get("_real_class")
        return type.__instancecheck__(cls, instance) if real is None else isinstance(instance, real)


def _set_attribute(self: Any, name: str, value: Any) -> None:
    for owner in type(self).__mro__:
        member = owner.__dict__.get(name)
        if member is not None and hasattr(type(member), "__set__"):
            member.__set__(self, value)
            return
    if "_offers" not in type(self).__dict__:  # a class that a module derives may have attributes of its own
        self.__dict__[name] = value
        return
    raise AttributeError(f"{type(self).__name__} of 3D Slicer has no '{name}' that can be set")


def _slot(function: Callable[..., Any]) -> Callable[..., None]:
    """Calls a slot with as many arguments as it takes, as PythonQt does."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    most = None
    if code is not None and not code.co_flags & 0x04:  # no *args
        most = code.co_argcount - (1 if getattr(function, "__self__", None) is not None else 0)

    def call(*arguments: Any) -> None:
        try:
            function(*(arguments if most is None else arguments[:most]))
        except Exception:
            text = traceback.format_exc()
            print(text, file=sys.stderr)
            slot_errors.append(text)

    return call


def _signal(self: Any, signature: str) -> Any:
    known: Members = type(self)._offers_of()
    if not known.signal(signature):
        raise ValueError(f"{type(self).__name__} of 3D Slicer has no signal '{signature}'")
    name, arguments = signature[:-1].split("(")
    signal = getattr(self, name)
    try:
        return (
            signal[tuple(_TYPES[argument] for argument in arguments.split(","))]
            if "," in arguments
            else signal[_TYPES[arguments]]
        )
    except (KeyError, IndexError, TypeError):
        return signal


_TYPES = {"": (), "bool": bool, "int": int, "double": float, "QString": str}


def _connect(self: Any, signature: str, function: Callable[..., Any]) -> bool:
    if not callable(function):
        raise TypeError(f"{function!r} cannot be called")
    relay = _slot(function)
    _signal(self, signature).connect(relay)
    self.__dict__.setdefault("_slots", []).append((signature, function, relay))
    return True


def _disconnect(self: Any, signature: str | None = None, function: Callable[..., Any] | None = None) -> bool:
    slots = self.__dict__.get("_slots", [])
    gone = [slot for slot in slots if signature in (None, slot[0]) and (function is None or slot[1] == function)]
    for slot in gone:
        _signal(self, slot[0]).disconnect(slot[2])
        slots.remove(slot)
    return bool(gone)


def _find_children(self: Any, wanted: Any = QtCore.QObject, name: str = "") -> list[Any]:
    real = wanted._real_class if hasattr(wanted, "_real_class") else wanted
    return QtCore.QObject.findChildren(self, real, name) if name else QtCore.QObject.findChildren(self, real)


def _find_child(self: Any, wanted: Any = QtCore.QObject, name: str = "") -> Any:
    return next(iter(_find_children(self, wanted, name)), None)


def _checked(name: str, real: type, own: dict[str, Any]) -> dict[str, Any]:
    """The methods of a class that take only what the real ones take; classes that the dump lacks take anything."""
    methods: dict[str, Any] = {}
    for member in overloads(name) if has_overloads(name) else ():
        method = own.get(member, inspect.getattr_static(real, member, None))
        if member == "__init__" or not isinstance(method, _METHODS):
            continue
        if member not in own and isinstance(method, staticmethod) and for_objects(name, member):
            continue  # static and not, as QFile.exists: only PySide knows how to bind it
        natives = [base for base in real.__mro__ if base.__module__.startswith("PySide6.")]
        if member not in own and isinstance(method, types.FunctionType) and any(hasattr(at, member) for at in natives):
            continue  # overrides one of Qt's: Qt has to find it
        methods[member] = CheckedMethod(name, member, method)
    return methods


_METHODS = (types.FunctionType, types.MethodDescriptorType, staticmethod)


def _constructor(name: str, real: type, create: Callable[..., None] | None) -> Callable[..., None]:
    """The constructor of a class. PythonQt knows no keywords."""
    create = create or real.__init__
    checker = Checker(name, "__init__") if has_overloads(name) else None

    def construct(self: Any, *arguments: Any) -> None:
        create(self, *(arguments if checker is None else checker.checked(arguments)))

    return construct


def slicer_class(name: str, real: type, own: dict[str, Any] | None = None) -> type:
    """The class `name` of the application, made from PySide's class `real` (`own`: members written by hand)."""
    known = members(name)
    own = own or {}
    space: dict[str, Any] = {
        member: _checked_property(name, member, value) if isinstance(value, property) else value
        for member, value in own.items()
    }
    for member in dir(real):
        if member in own or member.startswith("_") or CALLED_BY_QT.fullmatch(member):
            continue
        if member not in known.names and member not in known.properties:
            space[member] = Absent(name, member)
    if issubclass(real, QtCore.QObject):
        # Read once: PySide forgets the object of classes that get signals in Python.
        meta = real.staticMetaObject
        native = {meta.property(index).name(): meta.property(index) for index in range(meta.propertyCount())}
        for member, described in native.items():
            if member in known.properties and member not in own:
                # Qt's own getter would look for an override of these two, and find this property again.
                getter = getattr(real, member) if member in ("sizeHint", "minimumSizeHint") else None
                space[member] = qt_property(member, described.isWritable(), _property_type(name, described), getter)
        space["_native_properties"] = frozenset(native)
        space["name"] = qt_property("objectName", True, "QString")
        space["className"] = lambda self: name
        space["delete"] = lambda self: shiboken6.delete(self)
        space["connect"], space["disconnect"] = _connect, _disconnect
        space["findChildren"], space["findChild"] = _find_children, _find_child
    space |= {
        member: method
        for member, method in _checked(name, real, {**space, **own}).items()
        if not isinstance(space.get(member), (Absent, property))
    }
    for member in [member for member in space if not member.startswith("_")]:
        if member not in known.names | known.properties | _EXTRA and not isinstance(space[member], Absent):
            if member in own:
                raise TypeError(f"the stand-in offers {name}.{member}, which 3D Slicer lacks")
            del space[member]
    space["__setattr__"] = _set_attribute
    space["_real_class"] = real
    space["_offers"] = known
    space["__init__"] = _constructor(name, real, own.get("__init__"))
    made = _Class(name, (real,), space)
    made._offers_of = classmethod(lambda cls: known)
    return made
