"""Volume rendering of the vessels, and what of it belongs to a person, in real MRML scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs slicer-core")

import slicer
import vtk
from CoWLandmarksLib.core.volume import Volume
from CoWLandmarksLib.scene.nodes import add_volume
from CoWLandmarksLib.scene.scene_files import create_scene, save_scene
from CoWLandmarksLib.scene.vessel_rendering import OURS, fill_vessel_property, hide_vessels, show_vessels, vessel_level
from detected_scene import make_scene, points_of


def test_the_brightness_of_the_vessels_is_read_at_the_points_through_turned_axes() -> None:
    _, volume_node, _ = make_scene()
    inside = np.array([points_of(number) for number in range(19)])
    assert vessel_level(volume_node, inside) == 500.0
    assert vessel_level(volume_node, np.vstack([inside, [[900.0, 0.0, 0.0]]])) == 500.0
    assert vessel_level(volume_node, np.array([[900.0, 0.0, 0.0]])) == 500.0, "the brightest, if no point is inside"


@pytest.mark.parametrize("is_cta", [False, True])
def test_tissue_is_clear_vessels_are_not_and_bone_is_thin(is_cta: bool) -> None:
    node = slicer.vtkMRMLVolumePropertyNode()
    fill_vessel_property(node, 400.0, is_cta)
    opacity = node.GetScalarOpacity()
    assert opacity.GetValue(150.0) == 0.0
    assert opacity.GetValue(400.0) > 0.2
    assert (opacity.GetValue(1000.0) < 0.1) == is_cta


def rendering_logic(scene: object) -> object:
    logic = slicer.vtkSlicerVolumeRenderingLogic()
    logic.SetMRMLScene(scene)
    return logic


def test_vessels_are_drawn_in_a_box_round_the_points_and_again_in_the_same_nodes() -> None:
    scene, volume_node, markups = make_scene()
    logic = rendering_logic(scene)
    display = show_vessels(logic, volume_node, markups)
    assert display.GetVisibility() and display.GetCroppingEnabled()
    region = display.GetROINode()
    bounds = np.zeros(6)
    region.GetRASBounds(bounds)
    low, high = np.array(points_of(0)), np.array(points_of(18))
    np.testing.assert_allclose(bounds[::2], low - 14.0, atol=1e-6)
    np.testing.assert_allclose(bounds[1::2], high + 14.0, atol=1e-6)
    count = scene.GetNumberOfNodes()
    assert show_vessels(logic, volume_node, markups) is display
    assert scene.GetNumberOfNodes() == count


def theirs(scene: object, volume_node: object) -> object:
    """A volume rendering as a person makes it in the module Volume Rendering."""
    logic = rendering_logic(scene)
    display = logic.CreateDefaultVolumeRenderingNodes(volume_node)
    logic.CreateROINode(display)
    display.GetROINode().SetCenterWorld(1.0, 2.0, 3.0)
    opacity = vtk.vtkPiecewiseFunction()
    opacity.AddPoint(77.0, 0.5)
    display.GetVolumePropertyNode().SetScalarOpacity(opacity)
    return display


def properties(display: object) -> tuple:
    node = [0.0] * 4
    display.GetVolumePropertyNode().GetScalarOpacity().GetNodeValue(0, node)
    ids = (display.GetVolumePropertyNodeID(), display.GetROINodeID())
    return tuple(node), tuple(display.GetROINode().GetCenterWorld()), display.GetCroppingEnabled(), ids


@pytest.mark.parametrize("shown", [False, True])
def test_a_volume_rendering_of_a_person_is_left_as_it_is(shown: bool) -> None:
    scene, volume_node, markups = make_scene()
    person = theirs(scene, volume_node)
    person.SetVisibility(shown)
    before = properties(person)
    ours = show_vessels(rendering_logic(scene), volume_node, markups)
    assert properties(person) == before and bool(person.GetVisibility()) is shown
    if shown:
        assert ours is None, "two would hide each other"
    else:
        assert ours is not person and ours.GetVisibility()
        assert ours.GetVolumePropertyNode() is not person.GetVolumePropertyNode()
        assert ours.GetROINode() is not person.GetROINode()
    hide_vessels(scene)
    assert bool(person.GetVisibility()) is shown
    assert ours is None or not ours.GetVisibility()


def test_what_a_person_makes_of_our_volume_rendering_is_theirs_from_then_on() -> None:
    scene, volume_node, markups = make_scene()
    logic = rendering_logic(scene)
    display = show_vessels(logic, volume_node, markups)
    display.GetVolumePropertyNode().GetScalarOpacity().AddPoint(77.0, 0.9)
    display.SetVisibility(False)
    before = properties(display)
    another = show_vessels(logic, volume_node, markups)
    assert another is not display and another.GetVisibility()
    assert properties(display) == before and not display.GetVisibility()


def test_our_volume_rendering_is_found_again_in_a_saved_scene(tmp_path: Path) -> None:
    scene, volume_node, markups = make_scene()
    show_vessels(rendering_logic(scene), volume_node, markups)
    save_scene(scene, tmp_path / "scene.mrb")
    loaded = create_scene()
    logic = rendering_logic(loaded)  # it knows the classes
    assert loaded.ReadFromMRB(str(tmp_path / "scene.mrb"), True)
    displays = "vtkMRMLVolumeRenderingDisplayNode"
    count = loaded.GetNumberOfNodesByClass(displays)
    shown = show_vessels(logic, loaded.GetFirstNodeByName("scan"), loaded.GetFirstNodeByName("scan landmarks"))
    assert shown.GetAttribute(OURS) is not None
    assert loaded.GetNumberOfNodesByClass(displays) == count == 1


def test_only_one_scan_is_drawn_at_a_time() -> None:
    scene, volume_node, markups = make_scene()
    logic = rendering_logic(scene)
    first = show_vessels(logic, volume_node, markups)
    other = add_volume(scene, Volume(np.full((9, 9, 9), 100, np.int16), np.eye(4), "other"))
    second = show_vessels(logic, other, markups)
    assert second.GetVisibility() and not first.GetVisibility()
    for index in range(markups.GetNumberOfControlPoints()):
        markups.SetNthControlPointPositionMissing(index)
    assert show_vessels(logic, other, markups) is None and not second.GetVisibility()
