"""Draws what a user sees after a detection, offscreen, with Slicer's own displayable managers.

    python Testing/scene_picture.py [SCAN RESULT-FOLDER PICTURE]

Without arguments the sample MRA is detected first and Docs/use/detection-scene.png drawn. It shows what `scene.results`
and `scene.display` put into a scene; the widgets round the views are missing.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import slicer
import vtk
from CoWLandmarksLib.__main__ import main
from CoWLandmarksLib.cli.detect_command import SAMPLE_FILE
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.files.delivered import read_delivered
from CoWLandmarksLib.files.surfaces import artery_surfaces
from CoWLandmarksLib.io.volume_io import read_volume
from CoWLandmarksLib.scene.display import look_at_circle
from CoWLandmarksLib.scene.landmark_labels import show_labels
from CoWLandmarksLib.scene.nodes import add_volume
from CoWLandmarksLib.scene.results import add_result
from CoWLandmarksLib.scene.scene_files import create_scene
from CoWLandmarksLib.scene.vessel_rendering import show_vessels
from scene_view import SIZE, SliceView, View
from small_png import from_vtk, save_small

ROOT = Path(__file__).resolve().parent.parent
SELECTED = "L-ICA-T"
_ORIENTATIONS = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}
_COLOURS = {"Red": (0.95, 0.29, 0.21), "Green": (0.43, 0.69, 0.29), "Yellow": (0.93, 0.84, 0.30)}


class SceneViews:
    """A 3-D view and three slice views of a scene; made before the nodes that they show."""

    def __init__(self, scene: Any) -> None:
        self.application, markups_logic = scene.kept_alive[:2]
        self.application.SetModuleLogic("Markups", markups_logic)
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
        self.rendering_logic = slicer.vtkSlicerVolumeRenderingLogic()
        self.rendering_logic.SetMRMLScene(scene)
        self.application.SetModuleLogic("VolumeRendering", self.rendering_logic)
        self.slices = [self._slice(scene, name) for name in _ORIENTATIONS]
        node = scene.AddNewNodeByClass("vtkMRMLViewNode", "View")
        node.SetBoxVisible(False)
        node.SetAxisLabelsVisible(False)
        node.SetBackgroundColor(0.05, 0.06, 0.08)
        node.SetBackgroundColor2(0.05, 0.06, 0.08)
        node.SetLayoutName("1")
        self.view3d = View(
            scene,
            node,
            (
                "vtkMRMLCameraDisplayableManager",
                "vtkMRMLViewDisplayableManager",
                "vtkMRMLModelDisplayableManager",
                "vtkMRMLSegmentationsDisplayableManager3D",
                "vtkMRMLVolumeRenderingDisplayableManager",
                "vtkMRMLMarkupsDisplayableManager",
            ),
        )

    def _slice(self, scene: Any, name: str) -> SliceView:
        node = scene.AddNewNodeByClass("vtkMRMLSliceNode", name)
        node.SetLayoutName(name)
        node.SetOrientation(_ORIENTATIONS[name])
        node.SetDimensions(SIZE, SIZE, 1)
        node.SetLayoutColor(*_COLOURS[name])
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(self.application)
        logic.SetMRMLScene(scene)
        logic.SetSliceNode(node)
        managers = (
            "vtkMRMLModelSliceDisplayableManager",
            "vtkMRMLSegmentationsDisplayableManager2D",
            "vtkMRMLMarkupsDisplayableManager",
        )
        return SliceView(scene, logic, managers)

    def picture(self) -> Any:
        """Axial and 3-D view above coronal and sagittal, as Slicer's four-up layout."""
        axial, coronal, sagittal = (view.image() for view in self.slices)
        return _stacked([_stacked([coronal, sagittal], 0), _stacked([axial, self.view3d.image()], 0)], 1)


def _stacked(images: list[Any], axis: int) -> Any:
    append = vtk.vtkImageAppend()
    append.SetAppendAxis(axis)
    for image in images:
        append.AddInputData(image)
    append.Update()
    return append.GetOutput()


def draw(scan: Path, folder: Path, picture: Path) -> None:
    """Put a scan and its result into a scene and draw the views."""
    anatomy = default_anatomy()
    volume = read_volume(scan)
    scene = create_scene()
    views = SceneViews(scene)
    node = add_volume(scene, volume)
    delivered = read_delivered(folder, volume.grid, anatomy)
    surfaces = {} if delivered.arteries is None else dict(artery_surfaces(delivered.arteries, anatomy))
    nodes = add_result(scene, node, delivered, anatomy, surfaces)
    look_at_circle(scene, node, nodes.markups)
    show_labels(nodes.markups, SELECTED)  # as the review does
    show_vessels(views.rendering_logic, node, nodes.markups)
    save_small(from_vtk(views.picture()), picture)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        draw(*(Path(argument) for argument in sys.argv[1:]))
    else:
        with tempfile.TemporaryDirectory() as out:
            main(["detect", "--sample", "--out", out, "--no-scene", "--no-pictures", "--device", "cpu"])
            draw(SAMPLE_FILE, Path(out) / "sample_mra", ROOT / "Docs" / "use" / "detection-scene.png")
