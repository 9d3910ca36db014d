"""Volume rendering after a detection only where a graphics card does it, by the panel in the stand-in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("SlicerStandIn", reason="needs slicer-core and PySide6", exc_type=ImportError)

import slicer
import vtk
from CoWLandmarksLib.scene.results import result_of
from CoWLandmarksPanel.vessel_drawing import VesselDrawing

SCAN = "vtkMRMLScalarVolumeNode"
GPU = "OpenGL renderer string:  NVIDIA GeForce RTX 3060/PCIe/SSE2"
SOFTWARE = "OpenGL renderer string:  llvmpipe (LLVM 15.0.7, 256 bits)"


class Window(vtk.vtkRenderWindow):
    """A render window of a graphics card that this computer need not have."""

    def __init__(self, capabilities: str) -> None:
        self.capabilities, self.frames = capabilities, 0

    def GetNeverRendered(self) -> int:  # noqa: N802
        return int(self.frames == 0)

    def ReportCapabilities(self) -> str:  # noqa: N802
        assert self.frames, "a window that was never drawn has nothing to tell"
        return self.capabilities

    def Render(self) -> None:  # noqa: N802
        self.frames += 1


@pytest.fixture
def widget(application: Any) -> Any:
    widget = application.load_module("CoWLandmarks")
    widget.ui.sampleMraButton.click()
    application.process_events()
    return widget


def annotated(widget: Any) -> tuple[Any, Any]:
    volume = widget.ui.inputSelector.currentNode()
    tests = type(widget).setup.__globals__["CoWLandmarksTest"]
    return volume, tests.addAnnotation(None, volume)


def renderings(volume: Any) -> list[Any]:
    nodes = [volume.GetNthDisplayNode(index) for index in range(volume.GetNumberOfDisplayNodes())]
    return [node for node in nodes if node.IsA("vtkMRMLVolumeRenderingDisplayNode")]


def shown(volume: Any) -> bool:
    return any(node.GetVisibility() for node in renderings(volume))


def test_on_a_gpu_the_vessels_are_rendered(widget: Any) -> None:
    slicer.app.layoutManager()._windows = [Window(GPU)]
    volume, markups = annotated(widget)
    widget.panel._display(markups)
    assert shown(volume)
    assert widget.panel.result.ui.drawingLabel.isHidden()


def test_in_software_the_surfaces_are_shown_alone_and_the_panel_says_so(widget: Any) -> None:
    slicer.app.layoutManager()._windows = [Window(GPU), Window(SOFTWARE)]
    volume, markups = annotated(widget)
    widget.panel._choose(markups)
    widget.panel._display(markups)
    label = widget.panel.result.ui.drawingLabel
    assert renderings(volume) == []
    assert not label.isHidden() and "llvmpipe" in label.text and "surfaces" in label.text
    widget.panel.refresh()
    assert not label.isHidden(), "as long as this result is shown"


def test_the_choice_in_advanced_holds_on_this_computer_and_at_once(widget: Any) -> None:
    slicer.app.layoutManager()._windows = [Window(SOFTWARE)]
    volume, markups = annotated(widget)
    widget.panel._choose(markups)
    widget.panel._display(markups)
    box, label = widget.panel.advanced.ui.renderingComboBox, widget.panel.result.ui.drawingLabel
    box.setCurrentIndex(box.findData("on"))
    assert shown(volume) and label.isHidden()
    assert (
        VesselDrawing(widget.logic.settings).show(volume, markups) == ""
        and widget.logic.settings.volumeRendering == "on"
    )
    box.setCurrentIndex(box.findData("off"))
    assert not shown(volume) and label.isHidden(), "who chose it knows"
    box.setCurrentIndex(box.findData("auto"))
    assert not shown(volume) and not label.isHidden()


def test_without_a_name_the_time_of_a_frame_tells(widget: Any) -> None:
    class Slow(Window):
        def Render(self) -> None:  # noqa: N802
            super().Render()
            end = vtk.vtkTimerLog.GetUniversalTime() + 0.15
            while vtk.vtkTimerLog.GetUniversalTime() < end:
                pass

    volume, markups = annotated(widget)
    manager = slicer.app.layoutManager()
    manager._windows = [Slow("")]
    widget.panel._display(markups)
    assert not shown(volume) and "surfaces" in widget.panel.result.ui.drawingLabel.text
    manager._windows = [Window("")]
    widget.panel._display(markups)
    assert shown(volume) and widget.panel.result.ui.drawingLabel.isHidden()


def test_where_no_3d_view_is_shown_nothing_is_rendered(widget: Any) -> None:
    volume, markups = annotated(widget)
    widget.panel._display(markups)
    assert renderings(volume) == []
    assert result_of(markups).markups.GetDisplayVisibility()


@pytest.mark.parametrize("entered", [True, False])
def test_a_scene_from_a_gpu_is_drawn_as_this_computer_can(
    application: Any, widget: Any, tmp_path: Path, entered: bool
) -> None:
    slicer.app.layoutManager()._windows = [Window(GPU)]
    volume, markups = annotated(widget)
    widget.panel._choose(markups)
    widget.panel._display(markups)
    application.process_events()
    assert shown(volume)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    for window, drawn in ((Window(SOFTWARE), False), (Window(GPU), True)):
        slicer.mrmlScene.Clear()
        application.process_events()
        slicer.app.layoutManager()._windows = [window]
        if not entered:
            widget.exit()
        seen: list[bool] = []
        tag = slicer.mrmlScene.AddObserver(
            slicer.mrmlScene.EndBatchProcessEvent,
            lambda scene, event, seen=seen: seen.extend(map(shown, slicer.util.getNodesByClass(SCAN))),
        )
        slicer.util.loadScene(str(tmp_path / "scene.mrb"))
        slicer.mrmlScene.RemoveObserver(tag)
        assert seen and not seen[-1], "before a view can be drawn"
        application.process_events()
        widget.enter()
        application.process_events()
        (volume,) = slicer.util.getNodesByClass(SCAN)
        assert shown(volume) is drawn
        assert widget.panel.result.ui.drawingLabel.isHidden() is drawn
