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


class SliceView(View):
    """A slice view with the blended image of its logic behind what the managers draw, as in the slice widget."""

    def __init__(self, scene: Any, logic: Any, managers: tuple[str, ...]) -> None:
        super().__init__(scene, logic.GetSliceNode(), managers)
        self._logic = logic
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._mapper.SetInputConnection(logic.GetImageDataConnection())
        actor = vtk.vtkActor2D()
        actor.SetMapper(self._mapper)
        actor.GetProperty().SetDisplayLocationToBackground()
        self.renderer.AddViewProp(actor)

    def image(self) -> Any:
        """The rendered view, with the layers as they are now."""
        self._logic.UpdatePipeline()
        self._mapper.SetInputConnection(self._logic.GetImageDataConnection())
        return super().image()
