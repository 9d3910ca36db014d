"""An offscreen view of a scene, drawn by Slicer's own displayable managers."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

SIZE = 520
"""Pixels along both sides."""


class View:
    """An offscreen window whose renderer Slicer's displayable managers fill for one view node."""

    def __init__(self, scene: Any, node: Any, managers: tuple[str, ...]) -> None:
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(True)
        self.window.SetSize(SIZE, SIZE)
        self.window.SetMultiSamples(4)
        self.renderer = vtk.vtkRenderer()
        self.window.AddRenderer(self.renderer)
        self.interactor = vtk.vtkGenericRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.interactor.Initialize()
        self.group = slicer.vtkMRMLDisplayableManagerGroup()
        self.group.SetRenderer(self.renderer)
        self.managers = []
        for name in managers:
            manager = getattr(slicer, name)()
            manager.SetMRMLApplicationLogic(scene.kept_alive[0])
            self.group.AddDisplayableManager(manager)
            self.managers.append(manager)
        self.group.SetMRMLDisplayableNode(node)

    def image(self) -> Any:
        """The rendered view."""
        self.window.Render()
        grabbed = vtk.vtkWindowToImageFilter()
        grabbed.SetInput(self.window)
        grabbed.ReadFrontBufferOff()
        grabbed.Update()
        image = vtk.vtkImageData()
        image.DeepCopy(grabbed.GetOutput())
        return image
