"""A delivered result in a real MRML scene: all of it at once, found again, brought up to date in place."""

from __future__ import annotations

import io
import json
import shutil
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs slicer-core")

import slicer
from CoWLandmarksLib.__main__ import main
from CoWLandmarksLib.cli.detect_command import SAMPLE_FILE
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.artery_map import ArteryState, cropped_labels
from CoWLandmarksLib.core.circle_variant import summary_line
from CoWLandmarksLib.core.detection import LandmarkState
from CoWLandmarksLib.core.errors import AnnotationError
from CoWLandmarksLib.core.volume import Volume
from CoWLandmarksLib.files.arteries_files import read_label_crop
from CoWLandmarksLib.files.delivered import Delivered, read_delivered
from CoWLandmarksLib.files.surfaces import artery_surfaces
from CoWLandmarksLib.io.volume_io import read_volume
from CoWLandmarksLib.pipeline.correction import earlier_result
from CoWLandmarksLib.scene import results as scene_results
from CoWLandmarksLib.scene.batch_table import BatchRow, add_batch_table, batch_summary
from CoWLandmarksLib.scene.nodes import add_volume, read_detection, volume_node_of
from CoWLandmarksLib.scene.results import (
    add_result,
    refresh_summary,
    result_of,
    result_texts,
    scans_of,
    set_shown,
    update_arteries,
)
from CoWLandmarksLib.scene.scene_files import create_scene, load_scene, save_scene
from CoWLandmarksLib.scene.views import show_only_result

pytestmark = pytest.mark.slow

ANATOMY = default_anatomy()


@pytest.fixture(scope="module")
def volume() -> Volume:
    return read_volume(SAMPLE_FILE)


@pytest.fixture(scope="module")
def event(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the command line says of its result."""
    arguments = ["detect", "--sample", "--out", str(tmp_path_factory.mktemp("out")), "--no-scene", "--no-pictures"]
    with redirect_stdout(io.StringIO()) as output:
        assert main([*arguments, "--device", "cpu", "--json-progress"]) == 0
    last: dict[str, str] = json.loads(output.getvalue().splitlines()[-1])
    return last


@pytest.fixture(scope="module")
def folder(event: dict[str, str]) -> Path:
    return Path(event["path"])


@pytest.fixture(scope="module")
def delivered(folder: Path, volume: Volume) -> Delivered:
    return read_delivered(folder, volume.grid, ANATOMY, "Anna's scan")


def surfaces_of(delivered: Delivered) -> dict[str, object]:
    assert delivered.arteries is not None
    return dict(artery_surfaces(delivered.arteries, ANATOMY))


def names(scene: object) -> list[str]:
    return [scene.GetNthNode(index).GetName() for index in range(scene.GetNumberOfNodes())]


def test_the_crop_of_the_labels_is_that_of_the_whole_label_map(folder: Path) -> None:
    crop, start = read_label_crop(folder / "arteries.seg.nrrd")
    whole, first = cropped_labels(read_volume(folder / "arteries.seg.nrrd").voxels)
    assert start == first
    np.testing.assert_array_equal(crop, whole)


def test_surfaces_are_delivered_only_to_whom_asks_for_them(folder: Path, volume: Volume, tmp_path: Path) -> None:
    assert not list(folder.glob("*.npz"))
    arguments = ["arteries", str(SAMPLE_FILE), str(folder / "landmarks.mrk.json"), "--out", str(tmp_path)]
    assert main([*arguments, "--previous", str(folder), "--no-scene", "--no-pictures", "--surfaces"]) == 0
    found = read_delivered(tmp_path / folder.name, volume.grid, ANATOMY)
    made = surfaces_of(found)
    assert list(found.surfaces) == list(made) == [artery.code for artery in ANATOMY.arteries]
    counts = [surface.GetNumberOfPoints() for surface in found.surfaces.values()]
    assert counts == [surface.GetNumberOfPoints() for surface in made.values()] and sum(counts) > 1000


def test_a_result_is_read_back_under_the_name_of_the_volume(delivered: Delivered, volume: Volume) -> None:
    assert delivered.detection.scan == "Anna's scan"
    assert len(delivered.detection.landmarks) == 19
    assert delivered.arteries is not None and len(delivered.arteries.arteries) == 20
    assert delivered.arteries.scan_grid is volume.grid
    assert delivered.arteries.summary.startswith("The circle is")


@pytest.mark.parametrize("damage", ["detection.json", "arteries.seg.nrrd"])
def test_a_damaged_result_is_reported_in_one_sentence(
    folder: Path, volume: Volume, tmp_path: Path, damage: str
) -> None:
    broken = shutil.copytree(folder, tmp_path / "result")
    (broken / damage).write_bytes((folder / damage).read_bytes()[:900])
    with pytest.raises(AnnotationError, match=damage):
        read_delivered(broken, volume.grid, ANATOMY)


def test_everything_appears_beside_the_volume_and_is_found_again(delivered: Delivered, volume: Volume) -> None:
    scene = create_scene()
    node = add_volume(scene, volume)
    nodes = add_result(scene, node, delivered, ANATOMY, surfaces_of(delivered))
    assert nodes.markups.GetNumberOfControlPoints() == 19
    assert nodes.segmentation.GetSegmentation().GetNumberOfSegments() == 20
    assert nodes.table.GetNumberOfRows() == 20
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    parents = {
        hierarchy.GetItemParent(hierarchy.GetItemByDataNode(item))
        for item in (nodes.markups, nodes.states, nodes.segmentation, nodes.table)
    }
    assert len(parents) == 1
    assert hierarchy.GetItemParent(parents.pop()) == hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node))
    assert result_of(nodes.markups) == nodes
    assert volume_node_of(nodes.markups) is node
    assert "found" in nodes.markups.GetAttribute(scene_results.SUMMARY)


def test_surfaces_made_one_by_one_are_those_that_slicer_makes_of_all(delivered: Delivered, volume: Volume) -> None:
    scene = create_scene()
    ours = add_result(scene, add_volume(scene, volume), delivered, ANATOMY, surfaces_of(delivered)).segmentation
    theirs = add_result(scene, add_volume(scene, volume), delivered, ANATOMY).segmentation
    name = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    assert ours.GetSegmentation().ContainsRepresentation(name)
    assert not theirs.GetSegmentation().ContainsRepresentation(name)
    theirs.CreateClosedSurfaceRepresentation()
    for artery in ANATOMY.arteries:
        one, other = (node.GetClosedSurfaceInternalRepresentation(artery.code) for node in (ours, theirs))
        assert one.GetNumberOfPoints() == (0 if other is None else other.GetNumberOfPoints())
        if one.GetNumberOfPoints():
            np.testing.assert_allclose(one.GetBounds(), other.GetBounds(), atol=1e-3)


def test_an_error_in_the_arteries_takes_the_landmarks_away_again(
    delivered: Delivered, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = create_scene()
    node = add_volume(scene, volume)
    before = names(scene)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(scene_results, "add_arteries", fail)
    with pytest.raises(RuntimeError, match="no"):
        add_result(scene, node, delivered, ANATOMY)
    assert names(scene) == before
    assert not scene.IsBatchProcessing()


def test_new_arteries_take_the_place_of_the_old_ones_in_the_same_nodes(delivered: Delivered, volume: Volume) -> None:
    scene = create_scene()
    nodes = add_result(scene, add_volume(scene, volume), delivered, ANATOMY, surfaces_of(delivered))
    count = scene.GetNumberOfNodes()
    arteries = delivered.arteries
    assert arteries is not None
    gone = ANATOMY.artery("L-PCoA")
    changed = replace(
        arteries,
        arteries=tuple(
            replace(trace, state=ArteryState.ABSENT, measures=None) if trace.code == gone.code else trace
            for trace in arteries.arteries
        ),
        labels=np.where(arteries.labels == gone.label, 0, arteries.labels).astype(np.uint8),
        summary="Changed.",
    )
    update_arteries(nodes.markups, changed, ANATOMY, surfaces_of(replace(delivered, arteries=changed)))
    assert scene.GetNumberOfNodes() == count
    segmentation = nodes.segmentation.GetSegmentation()
    assert segmentation.GetNumberOfSegments() == 20
    assert nodes.segmentation.GetAttribute("CoWLandmarks.summary") == "Changed."
    row = [a.code for a in ANATOMY.arteries].index(gone.code)
    assert nodes.table.GetTable().GetColumnByName("state").GetValue(row) == "absent"
    assert nodes.table.GetNumberOfRows() == 20
    label = slicer.vtkOrientedImageData()
    nodes.segmentation.GetBinaryLabelmapRepresentation(gone.code, label)
    assert label.GetPointData().GetScalars() is None or label.GetPointData().GetScalars().GetRange()[1] == 0


def test_arteries_that_were_deleted_come_back_in_the_same_folder(delivered: Delivered, volume: Volume) -> None:
    scene = create_scene()
    nodes = add_result(scene, add_volume(scene, volume), delivered, ANATOMY)
    scene.RemoveNode(nodes.segmentation)
    assert result_of(nodes.markups).segmentation is None
    update_arteries(nodes.markups, delivered.arteries, ANATOMY)
    again = result_of(nodes.markups)
    assert again.segmentation is not None and again.table is not None
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    items = [hierarchy.GetItemByDataNode(node) for node in (again.markups, again.segmentation, again.table)]
    assert len({hierarchy.GetItemParent(item) for item in items}) == 1


def test_a_result_survives_a_saved_scene(delivered: Delivered, volume: Volume, tmp_path: Path) -> None:
    scene = create_scene()
    add_result(scene, add_volume(scene, volume), delivered, ANATOMY)
    save_scene(scene, tmp_path / "scene.mrb")
    loaded = load_scene(tmp_path / "scene.mrb")
    markups = loaded.GetFirstNodeByName("Anna's scan landmarks")
    nodes = result_of(markups)
    assert nodes.segmentation.GetSegmentation().GetNumberOfSegments() == 20
    assert nodes.table.GetNumberOfRows() == 20
    assert read_detection(markups, ANATOMY).scan == "Anna's scan"


def test_the_summary_is_one_line_for_people(delivered: Delivered) -> None:
    detection = delivered.detection
    landmarks = tuple(
        replace(e, state=LandmarkState.UNCERTAIN if e.code in ("BA-T", "R-C4-C5") else LandmarkState.FOUND)
        for e in detection.landmarks
    )
    assert summary_line(landmarks, ["R-PCoA"]) == "17 found; 2 to check; right PCoA absent"
    gone = tuple(
        replace(e, state=LandmarkState.OUTSIDE, position=None) if e.code == "L-A2-A3" else e for e in landmarks
    )
    assert summary_line(gone) == "16 found; 2 to check; L-A2-A3 outside the scan"


def test_event_and_scene_say_the_same_line_of_a_result(
    event: dict[str, str], delivered: Delivered, volume: Volume
) -> None:
    scene = create_scene()
    nodes = add_result(scene, add_volume(scene, volume), delivered, ANATOMY)
    assert event["message"] == f"{delivered.detection.verdict_label}; {result_texts(nodes.markups).summary}"


def test_a_result_folder_is_read_with_its_detection_parsed_once(
    folder: Path, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[str] = []
    loads = json.loads
    monkeypatch.setattr("json.loads", lambda text: parsed.append(text) or loads(text))
    found, before = read_delivered(folder, volume.grid, ANATOMY), len(parsed)
    _, arteries = earlier_result(folder, volume, ANATOMY)
    assert (before, len(parsed)) == (1, 2)
    assert found.arteries is not None and found.arteries.summary
    assert [trace.code for trace in found.arteries.arteries] == [trace.code for trace in arteries.arteries]
    assert arteries.anchors


def test_the_texts_of_a_result_are_kept_by_its_point_list_and_renewed(delivered: Delivered, volume: Volume) -> None:
    scene = create_scene()
    nodes = add_result(scene, add_volume(scene, volume), delivered, ANATOMY)
    arguments = result_texts(nodes.markups)
    assert (arguments.scan, arguments.verdict) == ("Anna's scan", delivered.detection.verdict)
    assert arguments.reasons == delivered.detection.reasons
    for row in range(19):
        nodes.states.GetTable().GetColumnByName("state").SetValue(row, "found")
    nodes.table.GetTable().GetColumnByName("state").SetValue(13, "absent")
    assert refresh_summary(nodes.markups, ANATOMY).startswith("19 found; right PCoA")
    assert "to check" not in result_texts(nodes.markups).summary
    nodes.markups.SetAttribute("CoWLandmarks.verdict", "splendid")
    nodes.markups.SetAttribute("CoWLandmarks.reasons", "no json")
    assert (result_texts(nodes.markups).verdict, result_texts(nodes.markups).reasons) == (None, ())
    assert (result_texts(nodes.markups).judged, result_texts(nodes.markups).headline) == (None, "")


def test_a_result_is_hidden_and_drawn_as_a_whole(delivered: Delivered, volume: Volume) -> None:
    scene = create_scene()
    nodes = add_result(scene, add_volume(scene, volume), delivered, ANATOMY)
    for shown in (False, True):
        set_shown(nodes.markups, shown)
        drawn = [node.GetDisplayVisibility() for node in (nodes.markups, nodes.segmentation, nodes.regions)]
        assert drawn == [shown] * 3


def test_only_one_result_of_the_scene_is_drawn(delivered: Delivered, volume: Volume) -> None:
    scene = create_scene()
    scan, other = (add_volume(scene, volume) for _ in range(2))
    results = [add_result(scene, node, delivered, ANATOMY) for node in (scan, scan, other)]
    own = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "a person's own points")
    own.CreateDefaultDisplayNodes()
    for chosen in (1, 2):
        show_only_result(scene, results[chosen].markups)
        for number, nodes in enumerate(results):
            drawn = [node.GetDisplayVisibility() for node in (nodes.markups, nodes.segmentation, nodes.regions)]
            assert drawn == [number == chosen] * 3
        assert own.GetDisplayVisibility()


def test_heatmaps_of_doubtful_points_lie_in_the_folder_and_are_no_scans(delivered: Delivered, volume: Volume) -> None:
    scene = create_scene()
    node = add_volume(scene, volume)
    heatmap = Volume(np.ones((4, 5, 6), np.float32), np.diag([0.5, 0.5, 0.8, 1.0]), "BA-T")
    nodes = add_result(scene, node, replace(delivered, heatmaps=(heatmap,)), ANATOMY)
    shown = scene.GetFirstNodeByName("Anna's scan heatmap BA-T")
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    parents = {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(each)) for each in (nodes.markups, shown)}
    assert len(parents) == 1
    assert scans_of(scene) == [node]


def test_a_batch_is_kept_as_a_table_with_its_failures() -> None:
    scene = create_scene()
    rows = [BatchRow("a", "ok", "19 found", folder=Path("out")), BatchRow("b", "failed", "No voxels.")]
    table = add_batch_table(scene, rows, "batch").GetTable()
    assert [table.GetColumnName(index) for index in range(4)] == ["scan", "verdict", "result", "folder"]
    assert [table.GetValue(row, 1).ToString() for row in range(2)] == ["ok", "failed"]
    assert [table.GetValue(row, 3).ToString() for row in range(2)] == ["out", ""]
    assert batch_summary(rows, 3) == "1 of 3 scans done; 1 failed (b)"
    assert batch_summary(rows[:1], 1) == "1 of 1 scan done"
