"""The stand-in refuses calls that fit no overload of the real Slicer, as PythonQt does."""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs slicer-core")
pytest.importorskip("PySide6", reason="needs PySide6-Essentials")

import slicer
from PySide6 import QtCore, QtGui, QtWidgets
from SlicerStandIn import Application
from SlicerStandIn.api import members
from SlicerStandIn.overloads import (
    CheckedMethod,
    acceptor,
    enumeration,
    fits,
    has_overloads,
    overloads,
    python_class,
    setter_type,
)
from SlicerStandIn.reduce_overloads import OFFERED, TARGET, argument_types, reduced, written

import ctk  # isort: skip - the stand-in brings them
import qt  # isort: skip

ROOT = Path(__file__).resolve().parent.parent.parent
DUMPS = [folder / "shared" / "slicer" / "overloads.json" for folder in (ROOT, ROOT.parent, ROOT.parent.parent)]

WITHOUT_OVERLOADS = {"QApplication", "QSortFilterProxyModel", "QTemporaryDir", "QTextCursor", "QUiLoader"}
"""Classes of the stand-in that the dump lacks: their methods take what PySide's do."""

METHODS_WITHOUT_OVERLOADS = (
    # PythonQt's own, slots that the dump left out, and names that are keywords of Python.
    {"className", "delete", "inherits", "close", "deleteLater", "tr", "raise_", "exec", "exec_", "print_", "whatsThis"}
    | {"QProcess.kill", "QProcess.terminate"}
    # Of the class and of an object at once: PySide alone can bind them.
    | {f"QFile.{name}" for name in ("copy", "exists", "link", "moveToTrash", "permissions", "remove", "rename")}
    | {"QFile.resize", "QFile.setPermissions", "QFile.symLinkTarget", "QFileInfo.exists", "QProcess.startDetached"}
    # Called by Qt, written in Python.
    | {f"ctkCollapsibleButton.{name}" for name in ("event", "hitButton", "paintEvent")}
    | {"ctkCollapsibleGroupBox.event", "ctkPathLineEdit.showEvent"}
)
"""Methods that take what PySide's do."""

PROPERTIES_WITHOUT_TYPE = (
    {"collapsed"}
    | {f"ctkPathLineEdit.{name}" for name in ("filters", "label", "nameFilters", "settingKey")}
    | {"ctkPathLineEdit.showBrowseButton", "ctkPathLineEdit.showHistoryButton"}
    | {f"qMRMLNodeComboBox.{name}" for name in ("addEnabled", "editEnabled", "noneEnabled", "removeEnabled")}
    | {f"qMRMLNodeComboBox.{name}" for name in ("baseName", "nodeTypes", "noneDisplay", "renameEnabled", "showHidden")}
    | {"qMRMLNodeComboBox.selectNodeUponCreation", "qMRMLNodeComboBox.showChildNodeTypes"}
)
"""Properties of hand-written widgets that have no setter in the dump, so that their type is not known."""

TYPES_THAT_NOTHING_FITS = {"PythonQt.BoolResult", "QMatrix", "QRegExp", "QStringView", "QTextCodec", "void"}
"""Types of arguments that are no class of Qt 6."""


def offered() -> dict[str, type]:
    """The classes of the stand-in by their names."""
    found = {
        name: getattr(place, name)
        for name in OFFERED
        for place in (qt, ctk, slicer)
        if isinstance(getattr(place, name, None), type)
    }
    return {name: made for name, made in found.items() if "_real_class" in vars(made)}


def without_check(found: dict[str, set[str]], listed: set[str]) -> set[str]:
    """Of {member: classes} those that are not listed, by themselves or with each class."""
    return {
        f"{name}.{member}"
        for member, classes in found.items()
        for name in classes
        if member not in listed and f"{name}.{member}" not in listed
    }


def test_a_brush_is_not_made_of_a_brush_style(application: Application) -> None:
    pixmap = qt.QPixmap(8, 8)
    painter = qt.QPainter(pixmap)
    try:
        with pytest.raises(ValueError, match=r"(?s)Could not find matching overload.*QPainter.setBrush\(QBrush\)"):
            painter.setBrush(qt.Qt.NoBrush)
        painter.setBrush(qt.QBrush(qt.Qt.NoBrush))
        painter.setPen(qt.Qt.NoPen)
    finally:
        painter.end()


@pytest.mark.parametrize(
    "call",
    [
        lambda: qt.QLabel(5),
        lambda: qt.QLabel("text", None, 0, 0),
        lambda: qt.QLabel().setText(5),
        lambda: qt.QLabel().setText(),
        lambda: qt.QLabel().setText("a", "b"),
        lambda: qt.QPushButton("text").setShortcut("Ctrl+A"),
        lambda: qt.QShortcut("Ctrl+A", qt.QWidget()),
        lambda: qt.QPen(qt.Qt.red, 2),
        lambda: qt.QTableWidgetItem("text").setForeground(qt.QColor("red")),
        lambda: qt.QPixmap(8, 8).fill(qt.Qt.white),
        lambda: qt.QVBoxLayout().addWidget(qt.QVBoxLayout()),
        lambda: qt.QWidget.setVisible(qt.QWidget(), "yes"),
        lambda: qt.QFileDialog.getOpenFileName("no parent"),
        lambda: qt.QColor.fromRgb("red"),
        lambda: qt.QTableWidget(2, "two"),
        lambda: ctk.ctkCollapsibleButton("title"),
        lambda: ctk.ctkPathLineEdit().setCurrentPath(Path("folder")),
        lambda: slicer.qMRMLNodeComboBox().setCurrentNode(7),
        lambda: slicer.qMRMLNodeComboBox().addAttribute("vtkMRMLVolumeNode"),
        lambda: slicer.qMRMLWidget().setMRMLScene("scene"),
    ],
)
def test_a_call_that_fits_no_overload_is_refused(application: Application, call: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match="Could not find matching overload"):
        call()


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (lambda: qt.QLabel(), "text", 5),
        (lambda: qt.QLabel(), "text", None),
        (lambda: qt.QSpinBox(), "value", "5"),
        (lambda: qt.QCheckBox(), "checked", "yes"),
        (lambda: qt.QPushButton(), "shortcut", "Ctrl+A"),
        (lambda: ctk.ctkPathLineEdit(), "currentPath", Path("folder")),
        (lambda: slicer.qMRMLNodeComboBox(), "currentNodeID", 7),
    ],
)
def test_a_property_refuses_a_value_of_another_type(
    application: Application, make: Callable[[], Any], name: str, value: Any
) -> None:
    with pytest.raises(AttributeError, match=f"Property '{name}' of type .* does not accept an object of type"):
        setattr(make(), name, value)


def test_a_derived_class_is_checked_as_its_base_is_and_overrides_are_called(application: Application) -> None:
    class Panel(qt.QWidget):
        def resizeEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
            super().resizeEvent(event)
            self.resized = True

    panel = Panel()
    panel.show()
    application.process_events()
    assert panel.resized
    with pytest.raises(ValueError, match="Could not find matching overload"):
        panel.resize("wide")
    with pytest.raises(ValueError, match="Could not find matching overload"):
        Panel("title")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1, "double"),
        (np.float32(0.5), "double"),
        (True, "int"),
        (np.int64(3), "int"),
        (2.5, "int"),  # PythonQt rounds down
        (1, "bool"),
        ("text", "QString"),
        ("text", "QByteArray"),
        (b"text", "QByteArray"),
        (b"text", "QString"),
        ("name", "char"),
        (None, "QVariant"),
        ({"any": "thing"}, "QVariant"),
        (print, "PyObject"),
        (["a", "b"], "QStringList"),
        (("a", "b"), "QStringList"),
        ([1.0, 2], "QVector<double>"),
        ((QtCore.QPoint(),), "QList<QPoint>"),
        ({1: "a"}, "QMap<int,QVariant>"),
        (QtCore.Qt.AlignLeft, "Qt::Alignment"),
        (QtCore.Qt.AlignLeft | QtCore.Qt.AlignTop, "Qt::Alignment"),
        (4, "Qt::Alignment"),
        (QtCore.Qt.UserRole, "int"),
        (None, "QWidget"),
        (None, "vtkMRMLNode"),
        (QtGui.QBrush(), "QBrush"),  # also one that the stand-in has not made
        (QtGui.QBitmap, "PyObject"),
    ],
)
def test_a_conversion_of_pythonqt_is_allowed(value: Any, kind: str) -> None:
    assert fits(value, kind)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("1", "int"),
        ("1", "double"),
        (None, "bool"),
        ("yes", "bool"),
        (None, "QString"),
        (5, "QString"),
        (Path("folder"), "QString"),
        ("letters", "QStringList"),
        ([1, 2], "QStringList"),
        ("a", "QChar"),
        (0, "QWidget"),
        ("Ctrl+A", "QKeySequence"),
        (None, "QBrush"),
        (None, "QModelIndex"),
        ("left", "Qt::Alignment"),
        ((1, 2), "QPoint"),
    ],
)
def test_other_conversions_are_refused(value: Any, kind: str) -> None:
    assert not fits(value, kind)


def test_an_object_fits_its_base_classes_only(application: Application) -> None:
    button, volume = qt.QPushButton("text"), slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    assert all(fits(button, kind) for kind in ("QPushButton", "QWidget", "QObject", "QPaintDevice"))
    assert not any(fits(button, kind) for kind in ("QLabel", "QLayout", "QPixmap"))
    assert fits(QtWidgets.QLabel(), "QWidget")
    assert fits(volume, "vtkMRMLNode") and not fits(volume, "vtkMRMLScene")
    assert fits(qt.QPixmap(1, 1), "QPaintDevice")
    assert not fits(qt.QColor("red"), "QBrush") and not fits(qt.QPoint(1, 1), "QPointF")
    assert not fits(QtCore.Qt.red, "QColor")


def test_what_fits_reaches_qt(application: Application) -> None:
    label = qt.QLabel("text", None)
    label.setAlignment(int(qt.Qt.AlignRight))
    assert label.alignment == qt.Qt.AlignRight
    slider = qt.QSlider(2)
    assert slider.orientation == qt.Qt.Vertical
    progress = qt.QDoubleSpinBox()
    progress.setMaximum(7)
    assert progress.maximum == 7.0
    box = qt.QComboBox()
    box.addItems(("one", "two"))
    box.addItem("three", {"any": "thing"})
    assert box.count == 3 and box.findData({"any": "thing"}) == 2
    assert qt.QKeySequence(65).toString() == "A"  # the overload with an int goes before one with an enumeration


def test_the_same_method_is_disconnected_that_was_connected(application: Application) -> None:
    button, edit = qt.QPushButton("text"), qt.QLineEdit("words")
    button.connect("clicked()", edit.clear)
    assert button.disconnect("clicked()", edit.clear)
    button.click()
    assert edit.text == "words"


def test_methods_of_qt_are_no_overrides_and_are_not_called_by_it(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[Any] = []
    label = qt.QLabel("text")
    monkeypatch.setattr("SlicerStandIn.overloads._Call.__call__", lambda *arguments: called.append(arguments))
    label.heightForWidth(50)
    assert len(called) == 1
    QtWidgets.QWidget.show(label)
    QtWidgets.QWidget.resize(label, 300, 200)
    application.process_events()
    QtWidgets.QWidget.close(label)
    assert len(called) == 1


def test_a_size_hint_is_read_though_qt_looks_for_overrides(application: Application) -> None:
    assert qt.QLabel("text").sizeHint.width() > 0


def test_classes_that_the_dump_lacks_are_known() -> None:
    assert {name for name in offered() if not has_overloads(name)} == WITHOUT_OVERLOADS


def test_methods_that_are_not_checked_are_known() -> None:
    found: dict[str, set[str]] = {}
    kinds = (types.FunctionType, types.MethodDescriptorType, types.ClassMethodDescriptorType, staticmethod)
    for name, made in offered().items():
        for member in members(name).names if has_overloads(name) else ():
            method = inspect.getattr_static(made, member, None)
            known = (CheckedMethod, QtCore.Signal, *kinds)
            assert isinstance(method, known) or not inspect.isroutine(method), f"{name}.{member}"
            if isinstance(method, kinds):
                found.setdefault(member, set()).add(name)
    assert without_check(found, METHODS_WITHOUT_OVERLOADS) == set()
    there = set(found) | {f"{name}.{member}" for member, names in found.items() for name in names}
    assert there >= METHODS_WITHOUT_OVERLOADS, "listed, but checked or gone"


def test_properties_whose_type_is_not_known_are_known() -> None:
    found: dict[str, set[str]] = {}
    for name, made in offered().items():
        for member, value in vars(made).items():
            by_hand = isinstance(value, property) and value.fset and member not in (*made._native_properties, "name")
            if by_hand and setter_type(name, member) is None:
                found.setdefault(member, set()).add(name)
    assert without_check(found, PROPERTIES_WITHOUT_TYPE) == set()


def test_types_that_nothing_fits_are_known() -> None:
    kinds = {
        kind
        for name in offered()
        if has_overloads(name)
        for known in overloads(name).values()
        for each in known
        for kind in each
    }
    samples = (1, "text", True, None, ["text"], [], {}, QtCore.Qt.red)
    objects = {kind for kind in kinds if python_class(kind) is None and not any(fits(value, kind) for value in samples)}
    assert objects == TYPES_THAT_NOTHING_FITS
    assert all(callable(acceptor(kind)) for kind in kinds)
    assert enumeration("Qt::Alignment") is QtCore.Qt.AlignmentFlag


def test_the_form_of_the_dump_is_read() -> None:
    assert argument_types("setText(QString) -> void") == "QString"
    assert (
        argument_types("f(QList<QAction*> actions, Qt::Alignment a) -> QList<int>") == "QList<QAction*>,Qt::Alignment"
    )
    assert argument_types("static f(QMap<int,QVariant> map) -> void") == "static QMap<int,QVariant>"
    assert argument_types("QLabel() -> QLabel") == ""
    with pytest.raises(ValueError, match="PythonQt's form"):
        argument_types("setText")


def test_the_fixture_is_what_the_dump_of_the_application_says() -> None:
    dump = next((path for path in DUMPS if path.exists()), None)
    if dump is None:
        pytest.skip("the dump of the real application (../shared/slicer/overloads.json) is not there")
    full = json.loads(dump.read_text(encoding="utf-8"))["classes"]
    assert TARGET.read_text(encoding="utf-8") == written(reduced(full)), "make it anew with reduce_overloads.py"
    for name in OFFERED:
        assert has_overloads(name) == (name in full), name
        if name in full:
            said = {
                method: {argument_types(text).removeprefix("static ") for text in texts}
                for method, texts in full[name].items()
            }
            assert {method: {",".join(kinds) for kinds in known} for method, known in overloads(name).items()} == said
    assert TARGET.stat().st_size < 300_000
