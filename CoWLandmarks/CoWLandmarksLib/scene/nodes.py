"""The bridge to Slicer: MRML nodes to Volume and Detection, and back. No Qt.

Works in the Slicer application (`slicer.mrmlScene`) and, without it, on the `slicer-core` package; scenes for the
latter come from `scene_files.py`. Everything that is read is in world coordinates (RAS mm); nodes that are made
carry no transform.

A detection is four things beside its volume in the subject hierarchy: a folder, in it a point list (labels =
codes) and a table with the state of every landmark, and, as attributes of the point list, what holds for the
whole scan. A markups display node has one colour for all its points, so the points show their state and not their
region: found points are "selected" (green), uncertain ones are not (orange). The colours of the regions are added by
region_balls.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk

from ..core.anatomy import Anatomy
from ..core.atomic_files import plain
from ..core.detection import Detection, LandmarkEstimate, LandmarkState, read_verdict
from ..core.errors import AnnotationError, VolumeError
from ..core.volume import Modality, Volume
from ..files.markups import LabelledPoint, estimate_from_point
from .state_table import fill_states, state_rows, with_table_state

ATTRIBUTE = "CoWLandmarks."
SCHEMA = "cow-detection/2"
READABLE = ("cow-detection/1", SCHEMA)
"""In the first version landmarks from a file carried a verdict, too."""
VOLUME_ROLE = ATTRIBUTE + "volume"
STATES_ROLE = ATTRIBUTE + "states"
FOUND_COLOUR = (0.20, 0.90, 0.45)
UNCERTAIN_COLOUR = (1.0, 0.60, 0.0)
GLYPH_MM = 2.0
CTA_WINDOW_LEVEL = (800.0, 250.0)
_DICOM_MODALITIES = {"MR": Modality.MRA, "CT": Modality.CTA}


@dataclass(frozen=True)
class DetectionNodes:
    """What `add_detection` put into the scene; `folder` is a subject-hierarchy item."""

    markups: Any
    states: Any
    folder: int


def volume_from_node(node: Any, *, copy: bool = True) -> Volume:
    """Volume from a scalar volume node: a copy of its voxels, geometry in world coordinates (RAS mm).

    With `copy=False` the voxels are those of the node: for reading only, and quick.
    A linear parent transform is applied to the geometry; node and transform stay as they are. Raises VolumeError
    for a node without voxels, a colour, vector or label map volume, and a non-linear parent transform.
    """
    name = node.GetName() or "scan"
    image = node.GetImageData()
    if image is None or image.GetNumberOfPoints() == 0 or image.GetPointData().GetScalars() is None:
        raise VolumeError(f"The volume '{name}' has no voxels; load a scan first.")
    if image.GetNumberOfScalarComponents() != 1 or not node.IsA("vtkMRMLScalarVolumeNode"):
        raise VolumeError(f"The volume '{name}' is a vector or colour volume; choose a scan with one value per voxel.")
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        raise VolumeError(f"The volume '{name}' is a label map; choose the scan itself.")
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    ijk_to_ras = slicer.util.arrayFromVTKMatrix(matrix)
    parent = node.GetParentTransformNode()
    if parent is not None:
        if not parent.IsTransformToWorldLinear():
            raise VolumeError(f"The volume '{name}' is under a non-linear transform; harden it first (Data module).")
        parent.GetMatrixTransformToWorld(matrix)
        ijk_to_ras = slicer.util.arrayFromVTKMatrix(matrix) @ ijk_to_ras
    modality = node.GetAttribute(ATTRIBUTE + "modality")
    voxels = slicer.util.arrayFromVolume(node)
    return Volume(
        voxels=np.array(voxels) if copy else voxels,
        ijk_to_ras=ijk_to_ras,
        name=name,
        modality=Modality(modality) if modality in ("mra", "cta") else _dicom_modality(node),
    )


def _dicom_modality(node: Any) -> Modality | None:
    """What the DICOM series that Slicer loaded the volume from is; None for other files and kinds of images."""
    scene = node.GetScene()
    hierarchy = None if scene is None else scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    if hierarchy is None:  # reading adds no node
        return None
    return _DICOM_MODALITIES.get(hierarchy.GetItemAttribute(hierarchy.GetItemByDataNode(node), "DICOM.Modality"))


def add_volume(scene: Any, volume: Volume) -> Any:
    """Add a Volume to the scene as a scalar volume node with its display; returns the node."""
    with all_or_nothing(scene) as undo:
        node = add_node(scene, "vtkMRMLScalarVolumeNode", volume.name, undo)
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(np.asarray(volume.ijk_to_ras, float)))
        slicer.util.updateVolumeFromArray(node, _voxels_for_vtk(volume.voxels))
        node.CreateDefaultDisplayNodes()
        undo.callback(scene.RemoveNode, node.GetDisplayNode())
        if volume.modality is not None:
            node.SetAttribute(ATTRIBUTE + "modality", volume.modality.value)
        if volume.modality is Modality.CTA:
            node.GetDisplayNode().AutoWindowLevelOff()
            node.GetDisplayNode().SetWindowLevel(*CTA_WINDOW_LEVEL)
        _volume_item(slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene), node)
    return node


def add_detection(scene: Any, volume_node: Any, detection: Detection, anatomy: Anatomy) -> DetectionNodes:
    """Add a Detection beside its volume: all nodes in one batch, or none if anything fails.

    The point list has one control point per landmark in the anatomy's order: found and uncertain ones are
    defined, absent ones "missing", outside ones "undefined". It is locked against accidental drags and its
    number of points is fixed. Raises AnnotationError if the detection does not fit the anatomy.
    """
    if tuple(estimate.code for estimate in detection.landmarks) != anatomy.codes:
        raise AnnotationError(f"The detection of '{detection.scan}' does not list the landmarks of '{anatomy.name}'.")
    with all_or_nothing(scene) as undo:
        markups = add_node(scene, "vtkMRMLMarkupsFiducialNode", f"{detection.scan} landmarks", undo)
        states = add_node(scene, "vtkMRMLTableNode", f"{detection.scan} states", undo)
        markups.CreateDefaultDisplayNodes()
        undo.callback(scene.RemoveNode, markups.GetDisplayNode())
        _fill_markups(markups, detection)
        fill_states(states, detection, anatomy)
        _set_attributes(markups, detection, anatomy)
        markups.SetNodeReferenceID(VOLUME_ROLE, volume_node.GetID())
        markups.SetNodeReferenceID(STATES_ROLE, states.GetID())
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
        beside = hierarchy.GetItemParent(_volume_item(hierarchy, volume_node))
        folder = hierarchy.CreateFolderItem(beside, markups.GetName())
        undo.callback(hierarchy.RemoveItem, folder)
        hierarchy.CreateItem(folder, markups)
        hierarchy.CreateItem(folder, states)
    return DetectionNodes(markups, states, folder)


def detection_nodes(scene: Any) -> list[Any]:
    """Point lists in the scene that hold a detection, in the order in which they were added."""
    # slicer.util.getNodesByClass looks into the application's scene only, whatever scene it is given.
    count = scene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode")
    nodes = (scene.GetNthNodeByClass(index, "vtkMRMLMarkupsFiducialNode") for index in range(count))
    return [node for node in nodes if node.GetAttribute(ATTRIBUTE + "schema") in READABLE]


def volume_node_of(markups_node: Any) -> Any | None:
    """Volume node that a detection was made on; None if it has left the scene."""
    return markups_node.GetNodeReference(VOLUME_ROLE)


def read_detection(markups_node: Any, anatomy: Anatomy) -> Detection:
    """Detection from the nodes made by `add_detection`, as a person may have changed them since.

    Positions come from the control points (world RAS mm), states from the table, and from the points' descriptions
    where the table is gone. Where table and point contradict each other the person was the last to act: a point
    placed although the table calls it absent or outside is found and corrected, and so is one that was moved; a
    point removed is absent ("missing") or outside. Raises AnnotationError for a point list that is no detection or
    lost a landmark.
    """
    name = markups_node.GetName()
    if markups_node.GetAttribute(ATTRIBUTE + "schema") not in READABLE:
        raise AnnotationError(f"The point list '{name}' holds no detection of CoW Landmarks.")
    listed = with_table_states(markups_node, landmarks_from_node(markups_node, anatomy))
    estimates = {estimate.code: estimate for estimate in listed}
    lost = [code for code in anatomy.codes if code not in estimates]
    if lost:
        raise AnnotationError(
            f"The point list '{name}' has lost the landmarks {', '.join(lost)}; run the detection again."
        )
    try:
        provenance = _attribute(markups_node, "provenance")
        return Detection(
            scan=_attribute(markups_node, "scan"),
            modality=Modality(_attribute(markups_node, "modality")),
            verdict=read_verdict(_attribute(markups_node, "verdict"), dict(provenance)),
            reasons=tuple(_attribute(markups_node, "reasons")),
            landmarks=tuple(estimates[code] for code in anatomy.codes),
            ras_to_reference=np.array(_attribute(markups_node, "ras_to_reference"), float).reshape(4, 4),
            warnings=tuple(_attribute(markups_node, "warnings")),
            provenance=provenance,
        )
    except (TypeError, ValueError) as error:
        raise AnnotationError(
            f"The attributes of '{name}' are not readable ({error}); run the detection again."
        ) from error


def landmarks_from_node(markups_node: Any, anatomy: Anatomy) -> tuple[LandmarkEstimate, ...]:
    """Landmarks of any point list whose labels are codes (world RAS mm), in the order of its points.

    Points with other labels are skipped; raises AnnotationError for a landmark listed twice.
    """
    estimates: dict[str, LandmarkEstimate] = {}
    for point in points_from_node(markups_node):
        if point.label not in anatomy.codes:
            continue
        if point.label in estimates:
            raise AnnotationError(
                f"The point list '{markups_node.GetName()}' has landmark '{point.label}' twice; delete one."
            )
        estimates[point.label] = estimate_from_point(point.label, point.description, point.position, point.status)
    return tuple(estimates.values())


def points_from_node(markups_node: Any) -> list[LabelledPoint]:
    """Every control point of a point list (world RAS mm), whatever its label."""
    statuses = {markups_node.PositionDefined: "defined", markups_node.PositionMissing: "missing"}
    points = []
    for index in range(markups_node.GetNumberOfControlPoints()):
        status = statuses.get(markups_node.GetNthControlPointPositionStatus(index), "undefined")
        position = None
        if status == "defined":
            world = [0.0, 0.0, 0.0]
            markups_node.GetNthControlPointPositionWorld(index, world)
            position = (world[0], world[1], world[2])
        label = markups_node.GetNthControlPointLabel(index).strip()
        points.append(LabelledPoint(label, markups_node.GetNthControlPointDescription(index), position, status))
    return points


def with_table_states(markups_node: Any, estimates: Sequence[LandmarkEstimate]) -> tuple[LandmarkEstimate, ...]:
    """Landmarks of a detection's point list with the states of its table, where it has one (see `read_detection`)."""
    rows = state_rows(markups_node.GetNodeReference(STATES_ROLE))
    detected = detected_positions(markups_node)
    return tuple(
        with_table_state(estimate, rows.get(estimate.code), detected.get(estimate.code)) for estimate in estimates
    )


def detected_positions(markups_node: Any) -> dict[str, tuple[float, float, float]]:
    """Where the landmarks of a detection stood when it was added (world RAS mm); empty for other point lists.

    They go along with a transform that the point list was put under since.
    """
    text = markups_node.GetAttribute(ATTRIBUTE + "positions")
    if text is None:
        return {}
    try:
        positions = {str(code): (float(r), float(a), float(s)) for code, (r, a, s) in json.loads(text).items()}
        return {code: to_world(markups_node, position) for code, position in positions.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise AnnotationError(
            f"The attributes of '{markups_node.GetName()}' are not readable ({error}); run the detection again."
        ) from error


def to_world(node: Any, position: tuple[float, float, float]) -> tuple[float, float, float]:
    """World RAS mm of a position in the coordinates of a node that may be under a transform."""
    world = [0.0, 0.0, 0.0]
    node.TransformPointToWorld(list(position), world)
    return world[0], world[1], world[2]


@contextmanager
def all_or_nothing(scene: Any) -> Iterator[ExitStack]:
    """One batch; yields the stack of undo steps that run, last one first, if the block raises."""
    scene.StartState(slicer.vtkMRMLScene.BatchProcessState)
    try:
        with ExitStack() as undo:
            yield undo
            undo.pop_all()
    finally:
        scene.EndState(slicer.vtkMRMLScene.BatchProcessState)


def add_node(scene: Any, class_name: str, name: str, undo: ExitStack) -> Any:
    """A new node under a name that is free, or the next one that is."""
    unique = name if scene.GetFirstNodeByName(name) is None else scene.GenerateUniqueName(name)
    node = scene.AddNewNodeByClass(class_name, unique)
    undo.callback(scene.RemoveNode, node)
    return node


def _volume_item(hierarchy: Any, volume_node: Any) -> int:
    """Subject-hierarchy item of a volume; without the application nothing else makes it."""
    item = hierarchy.GetItemByDataNode(volume_node)
    if item == hierarchy.GetInvalidItemID():
        item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), volume_node)
    return int(item)


def _voxels_for_vtk(voxels: np.ndarray) -> np.ndarray:
    """Voxels in a type that VTK and Slicer can show."""
    kind, size = voxels.dtype.kind, voxels.dtype.itemsize
    if kind == "b":
        return voxels.astype(np.uint8)
    if kind in "iu" and size == 8:
        fits = voxels.size == 0 or (voxels.min() >= -(2**31) and voxels.max() < 2**31)
        return voxels.astype(np.int32 if fits else np.float64)
    return voxels.astype(np.float32) if kind == "f" and size == 2 else voxels.astype(voxels.dtype.newbyteorder("="))


def show_estimate(markups: Any, index: int, estimate: LandmarkEstimate) -> None:
    """Make a control point tell a landmark: position (world RAS mm) or none, description, colour.

    What it tells already is left alone, because every change makes all views draw it anew.
    """
    status = markups.GetNthControlPointPositionStatus(index)
    if estimate.position is not None:
        here = tuple(markups.GetNthControlPointPositionWorld(index))
        if status != markups.PositionDefined or here != tuple(estimate.position):
            markups.SetNthControlPointPositionWorld(index, *estimate.position)
    elif estimate.state is LandmarkState.ABSENT:
        if status != markups.PositionMissing:
            markups.SetNthControlPointPositionMissing(index)
    elif status != markups.PositionUndefined:
        markups.UnsetNthControlPointPosition(index)
    if markups.GetNthControlPointDescription(index) != estimate.description():
        markups.SetNthControlPointDescription(index, estimate.description())
    selected = estimate.state is not LandmarkState.UNCERTAIN
    if bool(markups.GetNthControlPointSelected(index)) != selected:
        markups.SetNthControlPointSelected(index, selected)


def _fill_markups(markups: Any, detection: Detection) -> None:
    for estimate in detection.landmarks:
        index = markups.AddControlPoint(vtk.vtkVector3d(*(estimate.position or (0.0, 0.0, 0.0))), estimate.code)
        show_estimate(markups, index, estimate)
    markups.SetFixedNumberOfControlPoints(True)
    markups.SetLocked(True)
    display = markups.GetDisplayNode()
    display.SetSelectedColor(*FOUND_COLOUR)
    display.SetColor(*UNCERTAIN_COLOUR)
    display.SetUseGlyphScale(False)
    display.SetGlyphSize(GLYPH_MM)
    display.SetTextScale(2.5)
    display.SetPropertiesLabelVisibility(False)
    display.SetPointLabelsVisibility(True)
    display.SetOccludedVisibility(True)


def _set_attributes(markups: Any, detection: Detection, anatomy: Anatomy) -> None:
    attributes = {
        "anatomy": anatomy.name,
        "scan": detection.scan,
        "modality": detection.modality.value,
        "verdict": None if detection.verdict is None else detection.verdict.value,
        "reasons": detection.reasons,
        "warnings": detection.warnings,
        "provenance": dict(detection.provenance),
        "ras_to_reference": np.asarray(detection.ras_to_reference, float).ravel().tolist(),
        "positions": {e.code: e.position for e in detection.landmarks if e.position is not None},
    }
    markups.SetAttribute(ATTRIBUTE + "schema", SCHEMA)
    for key, value in attributes.items():
        text = value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False, sort_keys=True)
        markups.SetAttribute(ATTRIBUTE + key, text)


def _attribute(markups_node: Any, key: str) -> Any:
    text = markups_node.GetAttribute(ATTRIBUTE + key)
    if text is None:
        raise ValueError(f"'{key}' is missing")
    plain_text = key in ("scan", "modality") or (key == "verdict" and text != "null")
    return text if plain_text else json.loads(text)
