"""The stand-in behaves as Slicer's Python does: properties, signals, dialogs, MRML widgets, parameter nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs slicer-core")
pytest.importorskip("PySide6", reason="needs PySide6-Essentials")

import slicer
from SlicerStandIn import Application

from slicer.parameterNodeWrapper import parameterNodeWrapper  # isort: skip - the stand-in brings it


def volume(name: str) -> Any:
    return slicer.util.addVolumeFromArray(np.zeros((2, 2, 2), np.int16), name=name)


def node_box(**properties: Any) -> Any:
    box = slicer.qMRMLNodeComboBox()
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    for name, value in properties.items():
        setattr(box, name, value)
    box.setMRMLScene(slicer.mrmlScene)
    return box


def test_properties_are_attributes_and_not_methods(application: Application) -> None:
    import qt

    label = qt.QLabel("before")
    label.text = "after"
    label.wordWrap = True
    assert label.text == "after" and label.wordWrap is True
    with pytest.raises(TypeError):
        label.text()


def test_what_slicer_lacks_fails(application: Application) -> None:
    import ctk
    import qt

    label = qt.QLabel()
    for wrong in (
        lambda: label.setTxt("x"),
        lambda: setattr(label, "txt", "x"),
        lambda: qt.QLabel("x", wordWrap=True),
        lambda: qt.QSpacerItem(1, 1),
        lambda: ctk.ctkCollapsibleButton().setCollapsed(True),
        lambda: slicer.app.home,
        lambda: slicer.modules.nothing,
        lambda: qt.QTableWidget.initViewItem,
    ):
        with pytest.raises((AttributeError, TypeError)):
            wrong()
    with pytest.raises(ValueError, match="no signal 'clicked\\(\\)'"):
        label.connect("clicked()", print)
    with pytest.raises(AttributeError, match="read-only"):
        label.width = 3


def test_a_slot_gets_as_many_arguments_as_it_takes(application: Application) -> None:
    import qt

    button = qt.QPushButton()
    button.checkable = True
    got: list[Any] = []
    button.connect("clicked(bool)", lambda: got.append("none"))
    button.connect("clicked(bool)", lambda checked: got.append(checked))
    button.connect("clicked(bool)", got.append)
    button.click()
    assert got == ["none", True, True]
    assert button.disconnect("clicked(bool)")
    button.click()
    assert len(got) == 3


def test_a_slot_that_fails_fails_the_test_at_its_end(tmp_path: Path) -> None:
    import qt

    application = Application(tmp_path)
    button = qt.QPushButton()

    def slot() -> None:
        raise KeyError("something went wrong")

    button.connect("clicked(bool)", slot)
    button.click()
    assert "something went wrong" in application.slot_errors[0]
    with pytest.raises(AssertionError, match="a slot failed"):
        application.close()


def test_a_dialog_that_nobody_answers_is_an_error(application: Application) -> None:
    with pytest.raises(AssertionError, match="nobody answers"):
        slicer.util.confirmOkCancelDisplay("Sure?")
    application.answer(False, True)
    assert slicer.util.confirmOkCancelDisplay("Sure?") is False
    assert slicer.util.confirmOkCancelDisplay("Really?") is True
    assert application.asked == ["Sure?", "Sure?", "Really?"]


def test_a_closed_section_hides_what_it_holds_and_opens_it_as_it_was(application: Application) -> None:
    import ctk
    import qt

    section = ctk.ctkCollapsibleButton()
    section.setLayout(qt.QVBoxLayout())
    shown, hidden = qt.QLabel("a"), qt.QLabel("b")
    section.layout().addWidget(shown)
    section.layout().addWidget(hidden)
    hidden.visible = False
    section.show()
    received: list[bool] = []
    section.connect("contentsCollapsed(bool)", received.append)
    section.collapsed = True
    assert not shown.visible
    section.click()
    assert shown.visible and not hidden.visible
    assert received == [True, False]


def test_the_node_box_follows_the_scene(application: Application) -> None:
    box = node_box()
    seen: list[Any] = []
    box.connect("currentNodeChanged(vtkMRMLNode*)", seen.append)
    assert box.currentNode() is None
    first, second = volume("first"), volume("second")
    assert box.currentNode() is first and box.nodeCount() == 2
    box.setCurrentNode(second)
    slicer.mrmlScene.RemoveNode(second)
    assert box.currentNode() is first
    assert seen == [first, second, first]
    slicer.mrmlScene.Clear()
    assert box.currentNode() is None


def test_the_node_box_with_none_waits_for_a_choice(application: Application) -> None:
    box = node_box(noneEnabled=True)
    first = volume("first")
    assert box.currentNode() is None
    box.currentNodeID = first.GetID()
    assert box.currentNode() is first
    box.setCurrentNode(None)
    assert box.currentNode() is None


@parameterNodeWrapper
class Parameters:
    scan: slicer.vtkMRMLScalarVolumeNode
    count: int = 3
    share: float = 0.5
    title: str = "as it was"
    wanted: bool = True
    folder: Path = Path("here")


def parameters() -> Any:
    return Parameters(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))


def test_a_parameter_node_keeps_typed_values_in_the_scene(application: Application) -> None:
    kept = parameters()
    assert (kept.scan, kept.count, kept.share, kept.title, kept.wanted) == (None, 3, 0.5, "as it was", True)
    kept.scan, kept.count, kept.share, kept.wanted, kept.folder = volume("scan"), 7, 0.25, False, Path("there")
    again = Parameters(kept.parameterNode)
    assert (again.scan.GetName(), again.count, again.share, again.wanted) == ("scan", 7, 0.25, False)
    assert again.folder == Path("there")
    for name, wrong in (("count", "7"), ("title", 7), ("wanted", 1), ("scan", "scan")):
        with pytest.raises(ValueError, match=name):
            setattr(kept, name, wrong)


def test_a_parameter_node_and_its_widgets_follow_each_other(application: Application) -> None:
    import ctk
    import qt

    kept = parameters()
    widgets = {
        "scan": node_box(noneEnabled=True),
        "count": qt.QSpinBox(),
        "share": qt.QDoubleSpinBox(),
        "title": qt.QLineEdit(),
        "wanted": qt.QCheckBox(),
        "folder": ctk.ctkPathLineEdit(),
    }
    for name, widget in widgets.items():
        widget.setProperty("SlicerParameterName", name)
    ui = type("", (), {})()
    vars(ui).update(widgets)
    assert kept.connectGui(ui) is None, "Slicer returns no tag here (its issue 7547)"
    assert widgets["count"].value == 3 and widgets["title"].text == "as it was"
    assert widgets["folder"].currentPath == "here" and widgets["wanted"].checked
    widgets["count"].value = 9
    widgets["title"].text = "typed"
    scan = volume("scan")
    widgets["scan"].setCurrentNode(scan)
    assert (kept.count, kept.title, kept.scan) == (9, "typed", scan)
    kept.wanted, kept.share = False, 0.75
    assert not widgets["wanted"].checked and widgets["share"].value == 0.75
    kept.disconnectGui(None)
    widgets["count"].value = 1
    assert kept.count == 1


def test_widgets_that_are_named_can_be_disconnected_from_a_parameter_node(application: Application) -> None:
    import qt

    kept, box = parameters(), qt.QSpinBox()
    tag = kept.connectParametersToGui({"count": box})
    box.value = 5
    kept.disconnectGui(tag)
    box.value = 6
    assert kept.count == 5


def test_settings_are_empty_at_the_start_of_a_test_and_kept_in_it(application: Application, tmp_path: Path) -> None:
    import qt

    assert qt.QSettings().allKeys() == []
    qt.QSettings().setValue("CoWLandmarks/Device", "cpu")
    assert qt.QSettings().value("CoWLandmarks/Device", "") == "cpu"
    qt.QSettings().sync()
    assert str(tmp_path) in qt.QSettings().fileName()


WRONG_UI = """<ui version="4.0"><class>A</class><widget class="qMRMLWidget" name="A">
<layout class="QVBoxLayout" name="l"><item><widget class="{kind}" name="b">
<property name="{title}"><string>x</string></property></widget></item></layout></widget>
<connections><connection><sender>A</sender><signal>{signal}</signal><receiver>b</receiver><slot>{slot}</slot>
</connection></connections></ui>"""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "QLable"}, "QLable"),
        ({"title": "textt"}, "no property 'textt'"),
        ({"signal": "sceneChanged()"}, "no signal"),
        ({"slot": "setScene()"}, "no slot"),
    ],
)
def test_a_ui_file_with_a_wrong_name_is_an_error(
    application: Application, tmp_path: Path, change: dict[str, str], message: str
) -> None:
    right = {"kind": "QLabel", "title": "text", "signal": "mrmlSceneChanged(vtkMRMLScene*)", "slot": "clear()"}
    path = tmp_path / "a.ui"
    path.write_text(WRONG_UI.format(**right))
    widget = slicer.util.loadUI(str(path))
    assert slicer.util.childWidgetVariables(widget).b.text == "x"
    widget.setMRMLScene(slicer.mrmlScene)
    assert slicer.util.childWidgetVariables(widget).b.text == ""
    path.write_text(WRONG_UI.format(**(right | change)))
    with pytest.raises((ValueError, LookupError), match=message):
        slicer.util.loadUI(str(path))


def test_a_scene_is_saved_and_loaded_again(application: Application, tmp_path: Path) -> None:
    volume("the scan")
    assert slicer.util.saveScene(str(tmp_path / "a.mrb"))
    slicer.mrmlScene.Clear()
    assert slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") == []
    slicer.util.loadScene(str(tmp_path / "a.mrb"))
    assert slicer.util.getNode("the scan").GetImageData().GetDimensions() == (2, 2, 2)
    with pytest.raises(RuntimeError, match="Failed to load"):
        slicer.util.loadScene(str(tmp_path / "b.mrb"))
