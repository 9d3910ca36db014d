"""Views, vessels and colours after a detection, in real MRML scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs slicer-core")

import slicer
import vtk
from CoWLandmarksLib.scene.display import look_at_circle
from CoWLandmarksLib.scene.region_balls import REGIONS_ROLE, add_region_balls, update_region_balls
from CoWLandmarksLib.scene.scene_files import load_scene, save_scene
from detected_scene import ANATOMY, make_scene, points_of


def test_all_views_look_at_the_middle_of_the_points() -> None:
    scene, volume_node, markups = make_scene()
    view = slicer.vtkMRMLSliceNode()
    view.SetLayoutName("Red")
    view.SetOrientationToAxial()
    view.SetDimensions(300, 200, 1)
    scene.AddNode(view)
    composite = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    camera = scene.AddNewNodeByClass("vtkMRMLCameraNode")
    look_at_circle(scene, volume_node, markups)
    middle = (np.array(points_of(0)) + points_of(18)) / 2.0
    matrix = view.GetSliceToRAS()
    np.testing.assert_allclose([matrix.GetElement(row, 3) for row in range(3)], middle, atol=1e-6)
    assert view.GetFieldOfView()[:2] == pytest.approx((180.0, 120.0))
    assert composite.GetBackgroundVolumeID() == volume_node.GetID()
    assert camera.GetFocalPoint() == pytest.approx(tuple(middle))
    assert np.linalg.norm(np.array(camera.GetPosition()) - middle) == pytest.approx(185.0)
    assert camera.GetPosition()[1] > middle[1], "seen from the front"


def test_without_points_the_views_stay_where_they_are() -> None:
    scene, volume_node, markups = make_scene(placed=0)
    camera = scene.AddNewNodeByClass("vtkMRMLCameraNode")
    before = camera.GetPosition()
    look_at_circle(scene, volume_node, markups)
    assert camera.GetPosition() == before


def ball_colours(model: object) -> set[tuple[float, ...]]:
    scalars = model.GetPolyData().GetPointData().GetScalars()
    return {scalars.GetTuple(index) for index in range(scalars.GetNumberOfTuples())}


def test_every_placed_point_has_a_ball_in_the_colour_of_its_region() -> None:
    scene, _, markups = make_scene(placed=17)
    model = add_region_balls(markups, ANATOMY)
    assert markups.GetNodeReference(REGIONS_ROLE) is model
    expected = {tuple(float(v) for v in ANATOMY.landmark(code).rgb) for code in ANATOMY.codes[:17]}
    assert ball_colours(model) == expected
    regions = vtk.vtkPolyDataConnectivityFilter()
    regions.SetInputData(model.GetPolyData())
    regions.SetExtractionModeToAllRegions()
    regions.Update()
    assert regions.GetNumberOfExtractedRegions() == 17
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    parents = {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) for node in (markups, model)}
    assert len(parents) == 1


def test_the_balls_follow_their_points() -> None:
    _, _, markups = make_scene()
    model = add_region_balls(markups, ANATOMY)
    markups.SetNthControlPointPosition(0, 100.0, 0.0, 0.0)
    update_region_balls(markups, ANATOMY)
    assert model.GetPolyData().GetBounds()[1] == pytest.approx(101.3, abs=0.05)
    for index in range(19):
        markups.SetNthControlPointPositionMissing(index)
    update_region_balls(markups, ANATOMY)
    assert model.GetPolyData().GetNumberOfPoints() == 0


def test_the_balls_survive_a_saved_scene(tmp_path: Path) -> None:
    scene, _, markups = make_scene()
    add_region_balls(markups, ANATOMY)
    save_scene(scene, tmp_path / "scene.mrb")
    loaded = load_scene(tmp_path / "scene.mrb")
    model = loaded.GetFirstNodeByName("scan landmarks").GetNodeReference(REGIONS_ROLE)
    assert len(ball_colours(model)) == len({ANATOMY.landmark(code).rgb for code in ANATOMY.codes})
    assert model.GetDisplayNode().GetScalarVisibility()
