"""Detections in real MRML scenes (`slicer-core`): nodes, the way back, files, and nothing half-done."""

from __future__ import annotations

import gc
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs slicer-core")

import slicer
import vtk
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.detection import LandmarkState, Verdict
from CoWLandmarksLib.core.errors import AnnotationError, OutputError, VolumeError
from CoWLandmarksLib.core.volume import Modality, Volume
from CoWLandmarksLib.files.markups import read_annotation
from CoWLandmarksLib.scene import nodes as scene_module
from CoWLandmarksLib.scene.nodes import (
    add_detection,
    add_volume,
    detection_nodes,
    read_detection,
    volume_from_node,
    volume_node_of,
)
from CoWLandmarksLib.scene.scene_files import create_scene, load_scene, save_scene
from example_detection import OBLIQUE, assert_same_detection, make_detection, make_volume

ANATOMY = default_anatomy()


def names(scene: object) -> list[str]:
    return [scene.GetNthNode(index).GetName() for index in range(scene.GetNumberOfNodes())]


def hierarchy_of(scene: object) -> object:
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


def test_a_volume_survives_the_way_into_a_scene_and_back() -> None:
    volume = make_volume()
    back = volume_from_node(add_volume(create_scene(), volume))
    np.testing.assert_array_equal(back.voxels, volume.voxels)
    np.testing.assert_allclose(back.ijk_to_ras, OBLIQUE, atol=1e-12)
    assert (back.name, back.modality, back.voxels.dtype) == (volume.name, Modality.CTA, np.int16)


@pytest.mark.parametrize(("recorded", "modality"), [("MR", Modality.MRA), ("CT", Modality.CTA), ("PT", None)])
def test_a_volume_that_slicer_loaded_from_dicom_has_the_modality_of_its_series(
    recorded: str, modality: Modality | None
) -> None:
    scene = create_scene()
    node = add_volume(scene, replace(make_volume(), modality=None))
    assert volume_from_node(node).modality is None
    hierarchy = hierarchy_of(scene)
    hierarchy.SetItemAttribute(hierarchy.GetItemByDataNode(node), "DICOM.Modality", recorded)
    assert volume_from_node(node).modality is modality
    node.SetAttribute("CoWLandmarks.modality", "cta")
    assert volume_from_node(node).modality is Modality.CTA


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "int64", "float16", "float32", "float64", ">i2"])
def test_every_voxel_type_can_be_shown(dtype: str) -> None:
    voxels = np.arange(24).reshape(2, 3, 4).astype(dtype)
    np.testing.assert_array_equal(
        volume_from_node(add_volume(create_scene(), Volume(voxels, np.eye(4)))).voxels, voxels
    )


def test_reading_copies_the_voxels() -> None:
    node = add_volume(create_scene(), make_volume())
    volume_from_node(node).voxels[:] = 0
    assert slicer.util.arrayFromVolume(node).any()


def test_a_linear_parent_transform_moves_the_geometry_and_stays() -> None:
    scene = create_scene()
    node = add_volume(scene, make_volume())
    to_world = np.array([[0, -1, 0, 10], [1, 0, 0, 20], [0, 0, 1, 30], [0, 0, 0, 1]], float)
    parent = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    parent.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(to_world))
    node.SetAndObserveTransformNodeID(parent.GetID())
    np.testing.assert_allclose(volume_from_node(node).ijk_to_ras, to_world @ OBLIQUE)
    assert node.GetParentTransformNode() is parent


def test_a_non_linear_parent_transform_is_refused() -> None:
    scene = create_scene()
    node = add_volume(scene, make_volume())
    warp = vtk.vtkThinPlateSplineTransform()
    points = vtk.vtkPoints()
    for corner in ((0, 0, 0), (9, 0, 0), (0, 9, 0), (0, 0, 9), (9, 9, 9)):
        points.InsertNextPoint(corner)
    moved = vtk.vtkPoints()
    moved.DeepCopy(points)
    moved.SetPoint(4, 9, 9, 14)
    warp.SetSourceLandmarks(points)
    warp.SetTargetLandmarks(moved)
    parent = scene.AddNewNodeByClass("vtkMRMLTransformNode")
    parent.SetAndObserveTransformToParent(warp)
    node.SetAndObserveTransformNodeID(parent.GetID())
    with pytest.raises(VolumeError, match="harden it first"):
        volume_from_node(node)


def test_volumes_that_are_no_scan_are_refused() -> None:
    scene = create_scene()
    with pytest.raises(VolumeError, match="no voxels"):
        volume_from_node(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty"))
    colour = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "colour")
    image = vtk.vtkImageData()
    image.SetDimensions(2, 2, 2)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    colour.SetAndObserveImageData(image)
    with pytest.raises(VolumeError, match="vector or colour"):
        volume_from_node(colour)
    labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    slicer.util.updateVolumeFromArray(labels, np.ones((2, 2, 2), np.uint8))
    with pytest.raises(VolumeError, match="label map"):
        volume_from_node(labels)


def test_the_point_list_shows_every_state() -> None:
    scene = create_scene()
    nodes = add_detection(scene, add_volume(scene, make_volume()), make_detection(), ANATOMY)
    points = nodes.markups
    count = points.GetNumberOfControlPoints()
    assert [points.GetNthControlPointLabel(i) for i in range(count)] == list(ANATOMY.codes)
    status = [points.GetNthControlPointPositionStatus(i) for i in (0, 3, 8, 9)]
    assert status == [points.PositionUndefined, points.PositionMissing, points.PositionDefined, points.PositionDefined]
    assert [points.GetNthControlPointSelected(i) for i in (8, 9)] == [False, True]  # uncertain, found
    assert points.GetNthControlPointDescription(3).startswith("state=absent; by_rule=0; confidence=0.38; error_mm=0.9;")
    assert points.GetFixedNumberOfControlPoints() and points.GetLocked()
    assert points.GetParentTransformNode() is None


def test_the_state_table_has_one_row_per_landmark() -> None:
    scene = create_scene()
    table = add_detection(scene, add_volume(scene, make_volume()), make_detection(), ANATOMY).states.GetTable()
    titles = [table.GetColumnName(i) for i in range(table.GetNumberOfColumns())]
    assert titles == ["code", "name", "state", "by_rule", "confidence", "error_mm", "corrected", "reviewed"]
    row = [table.GetColumn(i).GetValue(13) for i in range(len(titles))]
    assert row == ["R-C6-C7", ANATOMY.landmark("R-C6-C7").name, "found", 1, 0.625, pytest.approx(3.9), 0, 0]


def test_nodes_lie_in_a_folder_beside_the_volume() -> None:
    scene = create_scene()
    volume_node = add_volume(scene, make_volume())
    hierarchy = hierarchy_of(scene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(volume_node), study)
    nodes = add_detection(scene, volume_node, make_detection(), ANATOMY)
    assert hierarchy.GetItemParent(nodes.folder) == study
    for node in (nodes.markups, nodes.states):
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == nodes.folder
    assert volume_node_of(nodes.markups) is volume_node


def test_a_detection_is_read_back_from_its_nodes() -> None:
    scene = create_scene()
    nodes = add_detection(scene, add_volume(scene, make_volume()), make_detection(), ANATOMY)
    assert_same_detection(read_detection(nodes.markups, ANATOMY), make_detection())


def test_the_table_wins_for_the_state_and_descriptions_stand_in_for_it() -> None:
    scene = create_scene()
    nodes = add_detection(scene, add_volume(scene, make_volume()), make_detection(), ANATOMY)
    nodes.states.GetTable().GetColumnByName("state").SetValue(ANATOMY.index("BA-T"), "found")
    nodes.states.GetTable().GetColumnByName("reviewed").SetValue(ANATOMY.index("BA-T"), 1)
    read = read_detection(nodes.markups, ANATOMY).landmark("BA-T")
    assert (read.state, read.reviewed, read.corrected) == (LandmarkState.FOUND, True, False)
    scene.RemoveNode(nodes.states)
    assert read_detection(nodes.markups, ANATOMY).landmark("BA-T").state is LandmarkState.UNCERTAIN


def test_a_point_that_a_person_placed_or_removed_wins_over_the_table() -> None:
    scene = create_scene()
    points = add_detection(scene, add_volume(scene, make_volume()), make_detection(), ANATOMY).markups
    points.SetNthControlPointPosition(ANATOMY.index("L-A1-A2"), 1.0, 2.0, 3.0)
    points.SetNthControlPointPositionMissing(ANATOMY.index("L-M1-M2"))
    read = read_detection(points, ANATOMY)
    placed, removed = read.landmark("L-A1-A2"), read.landmark("L-M1-M2")
    assert (placed.state, placed.position, placed.corrected) == (LandmarkState.FOUND, (1.0, 2.0, 3.0), True)
    assert (removed.state, removed.position, removed.corrected) == (LandmarkState.ABSENT, None, True)


def test_point_lists_that_are_no_detection_are_refused() -> None:
    scene = create_scene()
    with pytest.raises(AnnotationError, match="holds no detection"):
        read_detection(scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "F"), ANATOMY)
    points = add_detection(scene, add_volume(scene, make_volume()), make_detection(), ANATOMY).markups
    points.SetFixedNumberOfControlPoints(False)
    points.RemoveNthControlPoint(ANATOMY.index("BA-T"))
    with pytest.raises(AnnotationError, match="lost the landmarks BA-T"):
        read_detection(points, ANATOMY)
    points.SetAttribute("CoWLandmarks.verdict", "splendid")
    with pytest.raises(AnnotationError):
        read_detection(points, ANATOMY)


@pytest.mark.parametrize("step", ["_fill_markups", "fill_states", "_set_attributes"])
def test_an_error_leaves_nothing_in_the_scene(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    scene = create_scene()
    volume_node = add_volume(scene, make_volume())
    before = names(scene)

    def fail(*_: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(scene_module, step, fail)
    with pytest.raises(RuntimeError):
        add_detection(scene, volume_node, make_detection(), ANATOMY)
    assert names(scene) == before
    assert not scene.IsBatchProcessing()
    items = vtk.vtkIdList()
    hierarchy_of(scene).GetItemChildren(hierarchy_of(scene).GetSceneItemID(), items, True)
    assert items.GetNumberOfIds() == 1


def test_a_detection_of_another_anatomy_is_refused() -> None:
    scene = create_scene()
    short = replace(make_detection(), landmarks=make_detection().landmarks[:5])
    with pytest.raises(AnnotationError, match="does not list the landmarks"):
        add_detection(scene, add_volume(scene, make_volume()), short, ANATOMY)


def test_two_detections_in_one_scene_survive_an_mrb(tmp_path: Path) -> None:
    scene = create_scene()
    volume_node = add_volume(scene, make_volume())
    add_detection(scene, volume_node, make_detection(), ANATOMY)
    other = replace(make_detection(), verdict=Verdict.DO_NOT_TRUST)
    add_detection(scene, volume_node, other, ANATOMY)
    path = tmp_path / "ergebnis ü" / "scene.mrb"
    save_scene(scene, path)
    assert [entry.name for entry in path.parent.iterdir()] == ["scene.mrb"]

    loaded = load_scene(path)
    gc.collect()
    first, second = detection_nodes(loaded)
    assert_same_detection(read_detection(first, ANATOMY), make_detection())
    assert_same_detection(read_detection(second, ANATOMY), other)
    assert first.GetName() == "sub-01 Größe landmarks" and second.GetName() != first.GetName()
    back = volume_from_node(volume_node_of(second))
    # Slicer reads a left-handed volume with its slices in the other order: same values at the same place.
    np.testing.assert_array_equal(back.voxels[::-1], make_volume().voxels)
    first_voxel_is_last = np.diag([1.0, 1.0, -1.0, 1.0])
    first_voxel_is_last[2, 3] = back.voxels.shape[0] - 1
    np.testing.assert_allclose(back.ijk_to_ras @ first_voxel_is_last, OBLIQUE, atol=1e-9)
    hierarchy = hierarchy_of(loaded)
    folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(second))
    assert hierarchy.GetItemName(folder) == second.GetName()
    assert first.GetLocked() and first.GetFixedNumberOfControlPoints()
    assert first.GetDisplayNode().GetSelectedColor() == pytest.approx(scene_module.FOUND_COLOUR, abs=1e-3)


def test_a_right_handed_volume_survives_an_mrb_as_it_is(tmp_path: Path) -> None:
    scene = create_scene()
    matrix = OBLIQUE * [-1, 1, 1, 1]
    add_volume(scene, replace(make_volume(), ijk_to_ras=matrix))
    save_scene(scene, tmp_path / "scene.mrb")
    back = volume_from_node(load_scene(tmp_path / "scene.mrb").GetFirstNodeByClass("vtkMRMLScalarVolumeNode"))
    np.testing.assert_array_equal(back.voxels, make_volume().voxels)
    np.testing.assert_allclose(back.ijk_to_ras, matrix, atol=1e-9)


def test_the_same_detection_makes_the_same_bundle(tmp_path: Path) -> None:
    contents = []
    for folder in ("a", "b"):
        scene = create_scene()
        add_detection(scene, add_volume(scene, make_volume()), make_detection(), ANATOMY)
        save_scene(scene, tmp_path / folder / "scene.mrb")
        contents.append((tmp_path / folder / "scene.mrb").read_bytes())
    assert contents[0] == contents[1]


def test_a_bundle_keeps_the_tree_of_its_items(tmp_path: Path) -> None:
    scene = create_scene()
    add_detection(scene, add_volume(scene, make_volume()), make_detection(), ANATOMY)
    save_scene(scene, tmp_path / "scene.mrb")
    with zipfile.ZipFile(tmp_path / "scene.mrb") as bundle:
        mrml = bundle.read("scene/scene.mrml")
    found = re.findall(rb'<SubjectHierarchyItem id="(\d+)" [^<>]*?parent="(\d+)"', mrml)
    assert [int(item) for item, _ in found] == list(range(1, len(found) + 1))
    assert [int(parent) for _, parent in found] == [0, 1, 1, 3, 3]


def test_slicer_and_the_point_list_writer_agree(tmp_path: Path) -> None:
    """The .mrk.json that Slicer writes of our nodes reads as the same landmarks."""
    scene = create_scene()
    points = add_detection(scene, add_volume(scene, make_volume()), make_detection(), ANATOMY).markups
    storage = slicer.vtkMRMLMarkupsJsonStorageNode()
    storage.SetFileName(str(tmp_path / "slicer.mrk.json"))
    assert storage.WriteData(points)
    read = read_annotation(tmp_path / "slicer.mrk.json", ANATOMY)
    assert [(e.code, e.state, e.note) for e in read] == [(e.code, e.state, e.note) for e in make_detection().landmarks]
    assert read[18].position == pytest.approx((19.8, -36.0, 0.7))


def test_slicer_reads_the_point_list_that_we_write(tmp_path: Path) -> None:
    from CoWLandmarksLib.files.markups import write_annotation

    write_annotation(tmp_path / "ours.mrk.json", make_detection().landmarks, ANATOMY)
    points = create_scene().AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    storage = slicer.vtkMRMLMarkupsJsonStorageNode()
    storage.SetFileName(str(tmp_path / "ours.mrk.json"))
    assert storage.ReadData(points)
    read = scene_module.landmarks_from_node(points, ANATOMY)
    assert [(e.code, e.state, e.note) for e in read] == [(e.code, e.state, e.note) for e in make_detection().landmarks]
    assert read[18].position == pytest.approx((19.8, -36.0, 0.7))
    assert points.GetFixedNumberOfControlPoints()


def test_a_scene_is_saved_and_opened_by_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_scene(create_scene(), Path("folder") / "scene.mrb")
    assert (tmp_path / "folder" / "scene.mrb").is_file()
    load_scene(Path("folder") / "scene.mrb")
    assert Path.cwd() == tmp_path


def test_a_scene_that_cannot_be_saved_or_opened_says_why(tmp_path: Path) -> None:
    scene = create_scene()
    with pytest.raises(OutputError, match=r"does not end in \.mrb"):
        save_scene(scene, tmp_path / "scene.mrml")
    scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "hollow")
    with pytest.raises(OutputError, match="'hollow' is empty"):
        save_scene(scene, tmp_path / "scene.mrb")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(AnnotationError, match="does not exist"):
        load_scene(tmp_path / "none.mrb")
    (tmp_path / "bad.mrb").write_bytes(b"no archive")
    working_folder = Path.cwd()
    with pytest.raises(AnnotationError, match=r"bad\.mrb' cannot be opened"):
        load_scene(tmp_path / "bad.mrb")
    assert Path.cwd() == working_folder
