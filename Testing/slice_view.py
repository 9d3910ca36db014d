"""An offscreen slice view with Slicer's own markups widgets, and a mouse to click and drag in it."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

SIZE = 400
"""Pixels along both sides."""


class SliceView:
    """An axial view through `centre` (world RAS mm) that shows `millimetres` along both sides."""

    def __init__(self, scene: Any, centre: tuple[float, float, float], millimetres: float = 100.0) -> None:
        application, markups_logic = scene.kept_alive[:2]
        application.SetModuleLogic("Markups", markups_logic)  # the name it has in the application
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
        self.node = scene.AddNewNodeByClass("vtkMRMLSliceNode", "Mouse")
        self.node.SetLayoutName("Mouse")
        self.node.SetOrientation("Axial")
        self.node.SetDimensions(SIZE, SIZE, 1)
        self.node.SetFieldOfView(millimetres, millimetres, 1.0)
        self.node.JumpSliceByCentering(*centre)
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(application)
        self.logic.SetMRMLScene(scene)
        self.logic.SetSliceNode(self.node)
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(True)
        self.window.SetSize(SIZE, SIZE)
        renderer = vtk.vtkRenderer()
        self.window.AddRenderer(renderer)
        self.interactor = vtk.vtkGenericRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.interactor.SetInteractorStyle(vtk.vtkInteractorStyleUser())
        self.interactor.Initialize()
        self.style = slicer.vtkMRMLSliceViewInteractorStyle()
        self.style.SetInteractor(self.interactor)
        self.style.SetSliceLogic(self.logic)
        self.manager = slicer.vtkMRMLMarkupsDisplayableManager()
        self.manager.SetMRMLApplicationLogic(application)
        self.group = slicer.vtkMRMLDisplayableManagerGroup()
        self.group.SetRenderer(renderer)
        self.group.AddDisplayableManager(self.manager)
        self.group.SetMRMLDisplayableNode(self.node)
        self.style.SetDisplayableManagers(self.group)
        self.window.Render()
        self.interactor.InvokeEvent("EnterEvent")

    def pixel(self, position: tuple[float, float, float]) -> tuple[int, int]:
        """Pixel of a place (world RAS mm) in the view."""
        to_pixel = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self.node.GetXYToRAS(), to_pixel)
        x, y, _, _ = to_pixel.MultiplyPoint((*position, 1.0))
        return round(x), round(y)

    def move(self, pixel: tuple[int, int]) -> None:
        """Move the mouse."""
        self.interactor.SetEventInformation(*pixel, 0, 0, chr(0), 0, None)
        self.interactor.InvokeEvent("MouseMoveEvent")
        self.window.Render()

    def click(self, position: tuple[float, float, float]) -> None:
        """Click with the left button at a place (world RAS mm)."""
        x, y = self.pixel(position)
        self.move((x - 20, y - 20))
        self.move((x, y))
        self.interactor.InvokeEvent("LeftButtonPressEvent")
        self.interactor.InvokeEvent("LeftButtonReleaseEvent")
        self.window.Render()

    def drag(self, start: tuple[float, float, float], end: tuple[float, float, float]) -> None:
        """Drag with the left button from one place (world RAS mm) to another."""
        self.move(self.pixel(start))
        self.interactor.InvokeEvent("LeftButtonPressEvent")
        x, y = self.pixel(end)
        for step in ((x - 15, y - 15), (x - 5, y), (x, y)):
            self.move(step)
        self.interactor.InvokeEvent("LeftButtonReleaseEvent")
        self.window.Render()
