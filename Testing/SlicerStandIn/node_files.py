"""Files into nodes with the logics of Slicer's own modules."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def file_type(path: str) -> str:
    """The kind of reader for a file name."""
    name = Path(path).name.lower()
    if name.endswith((".mrk.json", ".fcsv")):
        return "MarkupsFile"
    if name.endswith((".seg.nrrd", ".seg.nhdr")):
        return "SegmentationFile"
    if name.endswith((".csv", ".tsv")):
        return "TableFile"
    if name.endswith((".mrb", ".mrml")):
        return "SceneFile"
    return "VolumeFile"


def logic_of(scene: Any, class_name: str) -> Any:
    """A logic of the scene by its class."""
    for logic in scene.kept_alive:
        if hasattr(logic, "IsA") and logic.IsA(class_name):
            return logic
    raise LookupError(f"the scene has no {class_name}")


def load_nodes(scene: Any, kind: str, properties: dict[str, Any]) -> list[Any]:
    """The nodes that were loaded; none where the file cannot be read."""
    path = str(properties["fileName"])
    if not Path(path).exists():
        return []
    name = properties.get("name") or Path(path).name.split(".")[0]
    if kind == "VolumeFile":
        options = 1 if properties.get("labelmap") else 0
        node = logic_of(scene, "vtkSlicerVolumesLogic").AddArchetypeVolume(path, name, options)
        if node is not None and properties.get("show", True):
            for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
                scene.GetNthNodeByClass(index, "vtkMRMLSliceCompositeNode").SetBackgroundVolumeID(node.GetID())
    elif kind == "MarkupsFile":
        node = scene.GetNodeByID(logic_of(scene, "vtkSlicerMarkupsLogic").LoadMarkups(path, name) or "")
    elif kind == "SegmentationFile":
        node = logic_of(scene, "vtkSlicerSegmentationsModuleLogic").LoadSegmentationFromFile(path, True, name)
    elif kind == "TableFile":
        node = logic_of(scene, "vtkSlicerTablesLogic").AddTable(path, name)
    else:
        raise NotImplementedError(f"the stand-in does not load a {kind} yet")
    return [] if node is None else [node]


def load_scene(scene: Any, properties: dict[str, Any], messages: Any) -> bool:
    """Add a scene file to the scene, or put it in its place with the property `clear`; whether that went well."""
    path = Path(properties["fileName"]).absolute()
    clear = bool(properties.get("clear", False))
    if not path.is_file():
        return False
    if path.suffix.lower() == ".mrb":
        folder = Path.cwd()
        try:
            return bool(scene.ReadFromMRB(str(path), clear, messages))
        finally:
            os.chdir(folder)  # MRML may leave the process in another folder
    scene.SetURL(str(path))
    return bool(scene.Connect(messages) if clear else scene.Import(messages))
