"""MRML scenes without the Slicer application: made, saved as `.mrb`, loaded from `.mrb` or `.mrml`."""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import slicer
import vtk

from ..core.atomic_files import atomic_path
from ..core.errors import AnnotationError, OutputError, libraries_silenced
from ..jobs.temporary_folders import SCENE, OwnedFolder, remove_orphans

logger = logging.getLogger(__name__)

_LOGICS = (
    "vtkSlicerMarkupsLogic",
    "vtkSlicerVolumesLogic",
    "vtkSlicerSegmentationsModuleLogic",
    "vtkSlicerSubjectHierarchyModuleLogic",
    "vtkSlicerTablesLogic",
)

_ITEM_ID = re.compile(rb'(<SubjectHierarchyItem id=")(\d+)"')
_ITEM_PARENT = re.compile(rb'(<SubjectHierarchyItem [^<>]*?\bparent=")(\d+)"')


def create_scene() -> Any:
    """Empty vtkMRMLScene in which volumes, markups, tables, segmentations and the subject hierarchy work.

    Only for use without the application, which has its own `slicer.mrmlScene`. The logics live as long as the
    returned scene.
    """
    scene = slicer.vtkMRMLScene()
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    application.GetColorLogic().SetMRMLScene(scene)
    application.GetColorLogic().AddDefaultColorNodes()
    logics = [application]
    for name in _LOGICS:
        logic = getattr(slicer, name)()
        logic.SetMRMLScene(scene)
        logic.SetMRMLApplicationLogic(application)
        application.SetModuleLogic(name, logic)
        logics.append(logic)
    # An .mrb is unpacked in the folder of the cache manager.
    remove_orphans(Path(tempfile.gettempdir()))
    cache = OwnedFolder(SCENE)
    unpacked = cache.path / "cache"  # of its own: the manager works in a folder that was empty
    unpacked.mkdir()
    remote = slicer.vtkMRMLRemoteIOLogic()
    remote.GetCacheManager().SetRemoteCacheDirectory(str(unpacked))
    remote.SetMRMLScene(scene)
    data_io = slicer.vtkDataIOManagerLogic()
    data_io.SetMRMLApplicationLogic(application)
    data_io.SetAndObserveDataIOManager(remote.GetDataIOManager())
    data_io.SetMRMLScene(scene)
    remote.AddDataIOToScene()
    scene.kept_alive = (*logics, remote, data_io, cache)
    return scene


@contextmanager
def _working_folder_kept() -> Iterator[None]:
    """MRML leaves the process in a deleted folder when saving or opening a bundle fails; relative paths would break."""
    folder = Path.cwd()
    try:
        yield
    finally:
        os.chdir(folder)


def save_scene(scene: Any, path: str | PathLike[str]) -> None:
    """Save a scene as one `.mrb` file, all at once; raises OutputError."""
    path = Path(path)
    if path.suffix.lower() != ".mrb":
        raise OutputError(f"'{path}' does not end in .mrb; scenes are saved as one .mrb file.")
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLVolumeNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLVolumeNode")
        if node.GetImageData() is None:
            raise OutputError(f"'{path}' cannot be written: the volume '{node.GetName()}' is empty; delete it first.")
    with atomic_path(path) as temporary, tempfile.TemporaryDirectory(dir=temporary.parent, prefix=".cow-") as folder:
        # The folder inside the bundle and the scene in that are named like the bundle.
        bundle = Path(folder) / path.stem
        bundle.mkdir()
        messages = slicer.vtkMRMLMessageCollection()
        with _working_folder_kept(), libraries_silenced():
            written = scene.SaveSceneToSlicerDataBundleDirectory(str(bundle.absolute()), None, messages)
        description = bundle / f"{path.stem}.mrml"
        if not written or not description.is_file():
            logger.debug("the scene cannot be saved: %s", _sentence(messages))
            raise OutputError(f"'{path}' cannot be written; choose another folder or make room there.")
        description.write_bytes(_with_plain_item_numbers(description.read_bytes()))
        _pack(bundle, temporary)


def _with_plain_item_numbers(mrml: bytes) -> bytes:
    """The scene with its subject hierarchy items numbered from 1.

    MRML goes on counting from scene to scene, so that the same scan would give another file in another call.
    """
    numbers = {b"0": b"0"}
    for found in _ITEM_ID.finditer(mrml):
        numbers.setdefault(found[2], str(len(numbers)).encode())
    mrml = _ITEM_ID.sub(lambda found: found[1] + numbers[found[2]] + b'"', mrml)
    return _ITEM_PARENT.sub(lambda found: found[1] + numbers.get(found[2], found[2]) + b'"', mrml)


def _pack(folder: Path, bundle: Path) -> None:
    """Put a folder into a bundle as Slicer does: not packed again, without times."""
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = zipfile.ZipInfo((Path(folder.name) / file.relative_to(folder)).as_posix())
            name.external_attr = 0o100644 << 16
            with file.open("rb") as source, archive.open(name, "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target, 1 << 20)


def load_scene(path: str | PathLike[str]) -> Any:
    """Scene from a `.mrb` or `.mrml` file, for use without the application; raises AnnotationError."""
    path = Path(path)
    if not path.is_file():
        raise AnnotationError(f"The scene '{path}' does not exist.")
    scene = create_scene()
    messages = slicer.vtkMRMLMessageCollection()
    with _working_folder_kept(), libraries_silenced():
        if path.suffix.lower() == ".mrb":
            # It unpacks in another working folder.
            loaded = scene.ReadFromMRB(str(path.absolute()), True, messages)
        else:
            scene.SetURL(str(path))
            loaded = scene.Connect(messages)
    if not loaded:
        raise AnnotationError(f"The scene '{path}' cannot be opened: {_sentence(messages)}.")
    return scene


def _sentence(messages: Any) -> str:
    """The errors in a message collection on one line."""
    texts = [
        messages.GetNthMessageText(index)
        for index in range(messages.GetNumberOfMessages())
        if messages.GetNthMessageType(index) == vtk.vtkCommand.ErrorEvent
    ]
    return " ".join(" ".join(texts).split()).rstrip(".") or "Slicer gives no reason"
