"""The stand-in offers nothing that 3D Slicer lacks, and the modules use nothing that 3D Slicer lacks."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from SlicerStandIn.api import API, DICOM_DATABASE, UNLISTED, members
from SlicerStandIn.python_qt import CALLED_BY_QT

ROOT = Path(__file__).resolve().parent.parent.parent
MODULE_FILES = sorted(
    path
    for pattern in (
        "CoWLandmarks/CoWLandmarks.py",
        "CoWLandmarks/CoWLandmarksPanel/*.py",
        "CoWLandmarksTraining/CoWLandmarksTraining.py",
        "CoWLandmarksTraining/CoWLandmarksTrainingPanel/*.py",
    )
    for path in ROOT.glob(pattern)
)
UI_FILES = sorted(ROOT.glob("CoWLandmarks*/Resources/UI/*.ui"))
# Documented by Slicer, but no part of the dump of the application.
QT_NAMESPACE = "Qt"
CORE_OF_SLICER = {"mrmlScene", "modules", "app", "util", "packaging", "i18n", "testing", "ScriptedLoadableModule"}


def chains(path: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """(line, names) of every `a.b.c` in a file; calls in between are looked through: `slicer.modules.x.logic().y`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Attribute):
            continue
        names: list[str] = []
        part: ast.AST = node
        while isinstance(part, (ast.Attribute, ast.Call)):
            if isinstance(part, ast.Attribute):
                names.append(part.attr)
                part = part.value
            else:
                part = part.func
        if isinstance(part, ast.Name):
            yield node.lineno, (part.id, *reversed(names))


def known_chain(names: tuple[str, ...]) -> bool:
    """Whether a chain that begins at `qt`, `ctk` or `slicer` is part of the application."""
    if names[0] in ("qt", "ctk"):
        if names[0] == "qt" and names[1] == QT_NAMESPACE:
            return True
        return names[1] in API[names[0]] and (len(names) == 2 or names[2] in members(names[1]).names)
    if names[1] in ("util", "packaging", "i18n", "testing"):
        return len(names) == 2 or names[2] in API[f"slicer.{names[1]}"]
    if names[1] == "app":
        if len(names) > 3 and names[2] == "layoutManager":
            return names[3] in API["slicer.app.layoutManager"]
        return len(names) == 2 or names[2] in API["slicer.app"]
    if names[1] == "dicomDatabase":
        return len(names) == 2 or names[2] in DICOM_DATABASE
    if names[1] == "modules":
        return len(names) == 2 or names[2] in API["modules"] or names[2].startswith(("cowlandmarks", "CoWLandmarks"))
    return names[1] in CORE_OF_SLICER or names[1] in API["slicer_widgets"] or names[1].startswith("vtk")


@pytest.mark.parametrize("path", MODULE_FILES, ids=lambda path: path.name)
def test_a_module_uses_only_names_that_slicer_has(path: Path) -> None:
    unknown = {
        f"line {line}: {'.'.join(names)}"
        for line, names in chains(path)
        if names[0] in ("qt", "ctk", "slicer") and not known_chain(names)
    }
    assert unknown == set()


@pytest.mark.parametrize("path", MODULE_FILES, ids=lambda path: path.name)
def test_a_module_connects_only_signals_that_slicer_has(path: Path) -> None:
    known = {signal for name in API["classes"] for signal in members(name).signals}
    known |= {"aboutToQuit()", "startupCompleted()"}
    known |= {"activated()", "activatedAmbiguously()"}  # of QShortcut the dump has names, no signatures
    used = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "connect"
        if called and node.args and isinstance(node.args[0], ast.Constant):
            used.add(node.args[0].value)
    assert used - known == set()


@pytest.mark.parametrize("path", MODULE_FILES, ids=lambda path: path.name)
def test_a_module_imports_from_slicer_only_what_it_has(path: Path) -> None:
    unknown = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "slicer":
            part = node.module.removeprefix("slicer").removeprefix(".")
            for alias in node.names:
                if part == "":
                    good = known_chain(("slicer", alias.name))
                elif part in ("ScriptedLoadableModule", "parameterNodeWrapper"):
                    good = alias.name in API[part]
                else:
                    good = alias.name in API[f"slicer.{part}"]
                if not good:
                    unknown.add(f"{node.module}.{alias.name}")
    assert unknown == set()


@pytest.mark.parametrize("path", UI_FILES, ids=lambda path: path.name)
def test_a_ui_file_has_only_widgets_properties_and_connections_of_slicer(path: Path) -> None:
    tree = ElementTree.parse(path).getroot()
    classes = {}
    for widget in tree.iter("widget"):
        name, label = widget.get("class", ""), widget.get("name", "")
        classes[label] = name
        assert name in API["classes"], f"{label}: {name}"
        for element in widget.findall("property"):
            if element.get("stdset") != "0":
                assert element.get("name") in members(name).properties, f"{label}: {element.get('name')}"
    for connection in tree.iter("connection"):
        sender, receiver = connection.findtext("sender", ""), connection.findtext("receiver", "")
        assert members(classes[sender]).signal(connection.findtext("signal", ""))
        assert connection.findtext("slot", "").split("(")[0] in members(classes[receiver]).names


def test_the_names_are_looked_at() -> None:
    assert not known_chain(("qt", "QLabel", "setTextt"))
    assert not known_chain(("qt", "QNothing"))
    assert not known_chain(("ctk", "ctkNothing"))
    assert not known_chain(("slicer", "util", "loadVolumes"))
    assert not known_chain(("slicer", "app", "home"))
    assert not known_chain(("slicer", "modules", "nothing", "logic"))
    assert not known_chain(("slicer", "dicomDatabase", "filesForNobody"))
    assert known_chain(("slicer", "modules", "markups", "logic"))
    assert len(MODULE_FILES) > 15 and len(UI_FILES) > 5
    assert any(names[:2] == ("slicer", "util") for path in MODULE_FILES for _line, names in chains(path))


def public(thing: Any) -> set[str]:
    return {name for name in vars(thing) if not name.startswith("_")}


def readable(made: type) -> set[str]:
    """Public members of a class that can be used; those that Slicer lacks refuse."""
    found = set()
    for name in dir(made):
        try:
            getattr(made, name)
        except AttributeError:
            continue
        found.add(name)
    return {name for name in found if not name.startswith("_")}


@pytest.mark.parametrize("name", sorted(API["classes"]))
def test_a_widget_class_of_the_stand_in_has_no_member_that_slicer_lacks(name: str) -> None:
    import ctk
    import qt  # after SlicerStandIn
    import slicer

    made = getattr(qt, name, None) or getattr(ctk, name, None) or getattr(slicer, name, None)
    if made is None:
        pytest.skip("not in the stand-in")
    known = members(name)
    extra = {
        member
        for member in readable(made) - known.names - known.properties - {"name", "staticMetaObject"}
        if not CALLED_BY_QT.fullmatch(member)
    }
    assert extra == set()


def test_the_modules_of_the_stand_in_have_no_member_that_slicer_lacks(application: Any) -> None:
    import ctk
    import qt
    import SampleData
    import slicer

    assert public(qt) - set(API["qt"]) == {QT_NAMESPACE}
    assert public(ctk) <= set(API["ctk"])
    assert public(slicer.i18n) <= set(API["slicer.i18n"])
    assert public(slicer.packaging) <= set(API["slicer.packaging"])
    assert public(slicer.ScriptedLoadableModule) <= set(API["ScriptedLoadableModule"])
    assert public(slicer.parameterNodeWrapper) <= set(API["parameterNodeWrapper"])
    assert public(SampleData.SampleDataLogic) <= set(API["SampleData.SampleDataLogic"])
    for name in public(slicer.ScriptedLoadableModule):
        methods = public(getattr(slicer.ScriptedLoadableModule, name))
        assert methods <= set(API["ScriptedLoadableModule"][name]), name
    assert public(type(slicer.app)) | public(slicer.app) <= set(API["slicer.app"])
    manager = slicer.app.layoutManager()
    assert public(type(manager)) | public(manager) <= set(API["slicer.app.layoutManager"])
    assert public(slicer.modules) <= set(API["modules"])
    assert public(type(slicer.dicomDatabase)) <= DICOM_DATABASE


def test_constants_that_the_dump_does_not_list_stay_few() -> None:
    assert set(UNLISTED) == {"ctkPathLineEdit"}
    for name, constants in UNLISTED.items():
        assert all(constant[0].isupper() for constant in constants), name
