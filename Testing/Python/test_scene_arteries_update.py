"""A review step touches only what has changed: segments, table cells, balls and points."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs slicer-core")

import slicer
import vtk
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.artery_map import ArteryMap, ArteryState, ArteryTrace
from CoWLandmarksLib.core.detection import Detection, LandmarkEstimate, LandmarkState, Verdict
from CoWLandmarksLib.core.volume import Modality, Volume
from CoWLandmarksLib.files.surfaces import artery_surfaces
from CoWLandmarksLib.scene.artery_nodes import ArteryNodes, add_arteries, replace_arteries
from CoWLandmarksLib.scene.nodes import add_detection, add_volume, show_estimate
from CoWLandmarksLib.scene.region_balls import add_region_balls, update_region_balls
from CoWLandmarksLib.scene.scene_files import create_scene

ANATOMY = default_anatomy()
FIRST, SECOND = ANATOMY.arteries[0], ANATOMY.arteries[1]
CLOSED = "Closed surface"


def arteries_of(volume: Volume, wide: int, state: ArteryState = ArteryState.PRESENT) -> ArteryMap:
    """Two boxes, the second `wide` voxels wide; the crop grows with it."""
    labels = np.zeros((12, 20, 6 + wide), np.uint8)
    labels[2:6, 3:17, 1:4] = FIRST.label
    labels[8:11, 3:17, 5 : 5 + wide] = SECOND.label
    traces = [ArteryTrace(artery.code, ArteryState.PRESENT, "", 1.0) for artery in ANATOMY.arteries]
    traces[1] = replace(traces[1], state=state, reason="changed" if wide > 3 else "")
    return ArteryMap(tuple(traces), labels, (4, 5, 6), volume.grid, "")


def surfaces_of(arteries: ArteryMap) -> dict[str, Any]:
    return dict(artery_surfaces(arteries, ANATOMY))


@pytest.fixture
def added() -> tuple[Volume, Any, ArteryNodes]:
    volume = Volume(np.zeros((40, 60, 50), np.int16), np.diag([0.5, 0.5, 0.8, 1.0]), "scan")
    scene = create_scene()
    node = add_volume(scene, volume)
    arteries = arteries_of(volume, 3)
    nodes = add_arteries(scene, node, arteries, ANATOMY, surfaces=surfaces_of(arteries))
    node.kept = scene
    return volume, node, nodes


def surface(nodes: ArteryNodes, code: str) -> Any:
    return nodes.segmentation.GetSegmentation().GetSegment(code).GetRepresentation(CLOSED)


def voxels(nodes: ArteryNodes, code: str) -> int:
    return int((slicer.util.arrayFromSegmentInternalBinaryLabelmap(nodes.segmentation, code) == label(code)).sum())


def label(code: str) -> int:
    return ANATOMY.artery(code).label


def modifications(thing: Any, event: Any = vtk.vtkCommand.ModifiedEvent) -> list[str]:
    events: list[str] = []
    thing.AddObserver(event, lambda caller, name: events.append(name))
    return events


def test_only_the_artery_that_has_changed_gets_another_surface(added: tuple[Volume, Any, ArteryNodes]) -> None:
    volume, node, nodes = added
    segmentation = nodes.segmentation.GetSegmentation()
    segments = [segmentation.GetNthSegment(index) for index in range(20)]
    kept, before = surface(nodes, FIRST.code), surface(nodes, SECOND.code)
    changed = arteries_of(volume, 9, ArteryState.HYPOPLASTIC)
    surfaces = surfaces_of(changed)
    replace_arteries(nodes.segmentation, nodes.table, node, changed, ANATOMY, surfaces=surfaces)
    assert [segmentation.GetNthSegment(index) for index in range(20)] == segments
    assert surface(nodes, FIRST.code) is kept
    assert surface(nodes, SECOND.code) is surfaces[SECOND.code] is not before
    assert voxels(nodes, FIRST.code) == 4 * 14 * 3 and voxels(nodes, SECOND.code) == 3 * 14 * 9
    state = vtk.mutable("")
    segmentation.GetSegment(SECOND.code).GetTag("CoWLandmarks.state", state)
    assert state == "hypoplastic"
    table = nodes.table.GetTable()
    assert table.GetColumnByName("state").GetValue(1) == "hypoplastic"
    assert table.GetColumnByName("reason").GetValue(1) == "changed"


def test_what_is_the_same_is_not_touched(added: tuple[Volume, Any, ArteryNodes]) -> None:
    volume, node, nodes = added
    same = arteries_of(volume, 3)
    events = [modifications(nodes.segmentation.GetSegmentation(), "AnyEvent"), modifications(nodes.table)]
    replace_arteries(nodes.segmentation, nodes.table, node, same, ANATOMY, surfaces=surfaces_of(same))
    assert events == [[], []]


def test_segments_that_a_person_has_changed_are_all_made_anew(added: tuple[Volume, Any, ArteryNodes]) -> None:
    volume, node, nodes = added
    nodes.segmentation.GetSegmentation().RemoveSegment(FIRST.code)
    nodes.table.GetTable().RemoveColumnByName("reason")
    changed = arteries_of(volume, 9)
    replace_arteries(nodes.segmentation, nodes.table, node, changed, ANATOMY, surfaces=surfaces_of(changed))
    assert nodes.segmentation.GetSegmentation().GetNumberOfSegments() == 20
    assert voxels(nodes, FIRST.code) == 4 * 14 * 3 and voxels(nodes, SECOND.code) == 3 * 14 * 9
    assert nodes.table.GetTable().GetColumnByName("reason").GetValue(1) == "changed"


def detection() -> Detection:
    landmarks = tuple(
        LandmarkEstimate(code, (2.0 * n, 1.0 * n, 0.5 * n), LandmarkState.FOUND, 0.9, 1.0)
        for n, code in enumerate(ANATOMY.codes)
    )
    return Detection("scan", Modality.MRA, Verdict.OK, (), landmarks, np.eye(4))


def test_only_the_ball_whose_point_has_moved_moves(added: tuple[Volume, Any, ArteryNodes]) -> None:
    _, node, _ = added
    markups = add_detection(node.GetScene(), node, detection(), ANATOMY).markups
    model = add_region_balls(markups, ANATOMY)
    data, events = model.GetPolyData(), modifications(model.GetPolyData())
    before = slicer.util.arrayFromModelPoints(model).copy()
    update_region_balls(markups, ANATOMY)
    assert events == []
    markups.SetNthControlPointPositionWorld(3, 50.0, 60.0, 70.0)
    update_region_balls(markups, ANATOMY)
    assert model.GetPolyData() is data and events
    balls = slicer.util.arrayFromModelPoints(model).reshape(19, -1, 3)
    np.testing.assert_allclose(balls[3].mean(axis=0), (50.0, 60.0, 70.0), atol=1e-3)
    np.testing.assert_array_equal(np.delete(balls, 3, axis=0), np.delete(before.reshape(19, -1, 3), 3, axis=0))
    markups.SetNthControlPointPositionMissing(3)
    update_region_balls(markups, ANATOMY)
    assert len(slicer.util.arrayFromModelPoints(model)) == len(before) * 18 // 19


def test_a_point_that_tells_its_landmark_already_is_not_changed(added: tuple[Volume, Any, ArteryNodes]) -> None:
    _, node, _ = added
    made = detection()
    markups = add_detection(node.GetScene(), node, made, ANATOMY).markups
    events = modifications(markups, "AnyEvent")
    for index, estimate in enumerate(made.landmarks):
        show_estimate(markups, index, estimate)
    assert events == []
    show_estimate(markups, 2, replace(made.landmarks[2], state=LandmarkState.UNCERTAIN))
    assert events and not markups.GetNthControlPointSelected(2)
