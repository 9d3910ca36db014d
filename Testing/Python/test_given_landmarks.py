"""Annotations made elsewhere, loaded for review and compared, in real MRML scenes; views brought to a point."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs slicer-core")

import slicer
from cohort_cases import bead_image, estimates, places
from CoWLandmarksLib.core.detection import NOT_PLACED, LandmarkState, Verdict
from CoWLandmarksLib.core.errors import AnnotationError
from CoWLandmarksLib.core.volume import Modality
from CoWLandmarksLib.files.markups import write_annotation
from CoWLandmarksLib.scene.comparison_table import add_comparison, annotation_nodes, compare_nodes
from CoWLandmarksLib.scene.given_points import add_given_file, add_given_points
from CoWLandmarksLib.scene.nodes import add_volume, detection_nodes, read_detection, volume_node_of
from CoWLandmarksLib.scene.results import result_texts
from CoWLandmarksLib.scene.review import Review
from CoWLandmarksLib.scene.scene_files import create_scene, load_scene, save_scene
from CoWLandmarksLib.scene.views import jump_to
from example_detection import ANATOMY

POINTS = places(ANATOMY, np.random.default_rng(5))


def make_scene() -> tuple[Any, Any]:
    scene = create_scene()
    return scene, add_volume(scene, replace(bead_image(POINTS), name="scan", modality=Modality.MRA))


def foreign_file(path: Path, system: str = "RAS", labels: tuple[str, ...] = ANATOMY.codes) -> Path:
    """A point list as another program or person writes it: no descriptions, reverse order."""
    signs = np.array([1, 1, 1] if system == "RAS" else [-1, -1, 1])
    points = [
        {"label": label, "position": (signs * point).tolist()} for label, point in zip(labels, POINTS, strict=False)
    ]
    markup = {"type": "Fiducial", "coordinateSystem": system, "controlPoints": points[::-1]}
    path.write_text(json.dumps({"markups": [markup]}))
    return path


@pytest.mark.parametrize("system", ["RAS", "LPS"])
def test_another_person_s_points_become_a_detection_to_review(tmp_path: Path, system: str) -> None:
    scene, volume = make_scene()
    nodes = add_given_file(scene, volume, foreign_file(tmp_path / "a.mrk.json", system), ANATOMY)
    detection = read_detection(nodes.markups, ANATOMY)
    assert volume_node_of(nodes.markups) is volume
    assert (detection.verdict, detection.modality) == (None, Modality.MRA)
    np.testing.assert_allclose([e.position for e in detection.landmarks], POINTS, atol=1e-9)
    review = Review(nodes.markups, ANATOMY, "AB")
    assert review.progress() == (0, 19)
    review.accept("BA-T")
    assert review.progress() == (1, 19)


def test_our_own_file_keeps_states_and_who_reviewed_it(tmp_path: Path) -> None:
    landmarks = list(estimates(ANATOMY, POINTS))
    landmarks[3] = replace(landmarks[3], position=None, state=LandmarkState.ABSENT, reviewed=True)
    landmarks[4] = replace(landmarks[4], corrected=True, reviewed=True, note="seen twice")
    review = {"annotator": "AB", "reviewed_at": "2030-01-02T03:04:05Z"}
    write_annotation(tmp_path / "ours.mrk.json", landmarks[:10], ANATOMY, review)
    scene, volume = make_scene()
    markups = add_given_file(scene, volume, tmp_path / "ours.mrk.json", ANATOMY).markups
    detection = read_detection(markups, ANATOMY)
    assert detection.landmarks[3].state is LandmarkState.ABSENT and detection.landmarks[3].reviewed
    assert (detection.landmarks[4].corrected, detection.landmarks[4].note) == (True, "seen twice")
    assert {e.note for e in detection.landmarks[10:]} == {NOT_PLACED}
    assert detection.verdict is None and "Not placed" in detection.reasons[1]
    assert markups.GetAttribute("CoWLandmarks.annotator") == "AB"
    assert markups.GetAttribute("CoWLandmarks.reviewed_at") == "2030-01-02T03:04:05Z"
    given = Review(markups, ANATOMY)
    given.place("L-C5-C6", (1.0, 2.0, 3.0))
    assert read_detection(markups, ANATOMY).landmark("L-C5-C6").note == ""


def test_landmarks_from_a_file_are_not_judged_and_that_survives_a_saved_scene(tmp_path: Path) -> None:
    scene, volume = make_scene()
    add_given_file(scene, volume, foreign_file(tmp_path / "a.mrk.json"), ANATOMY)
    save_scene(scene, tmp_path / "scene.mrb")
    (markups,) = detection_nodes(load_scene(tmp_path / "scene.mrb"))
    texts = result_texts(markups)
    assert (texts.verdict, texts.judged, texts.verdict_label) == (None, False, "from a file, not judged")
    assert texts.headline == read_detection(markups, ANATOMY).headline == "From a file, not judged"
    assert markups.GetAttribute("CoWLandmarks.schema") == "cow-detection/2"


@pytest.mark.parametrize(("made_by", "verdict"), [("landmarks given", None), ("a model", Verdict.OK)])
def test_a_scene_of_the_first_version_is_read_and_its_given_landmarks_lose_their_ok(
    tmp_path: Path, made_by: str, verdict: Verdict | None
) -> None:
    scene, volume = make_scene()
    markups = add_given_file(scene, volume, foreign_file(tmp_path / "a.mrk.json"), ANATOMY).markups
    for key, text in {"schema": "cow-detection/1", "verdict": "ok", "provenance": f'{{"model": "{made_by}"}}'}.items():
        markups.SetAttribute(f"CoWLandmarks.{key}", text)
    assert detection_nodes(scene) == [markups]
    assert read_detection(markups, ANATOMY).verdict is verdict
    assert (result_texts(markups).verdict, result_texts(markups).judged) == (verdict, verdict is not None)


def test_a_file_that_does_not_fit_says_why_and_leaves_the_scene_alone(tmp_path: Path) -> None:
    scene, volume = make_scene()
    before = scene.GetNumberOfNodes()
    with pytest.raises(AnnotationError, match=r"holds no landmark of .*label its points R-A2-A3"):
        add_given_file(scene, volume, foreign_file(tmp_path / "f.mrk.json", labels=("F-1", "F-2")), ANATOMY)
    far = create_scene()
    elsewhere = add_volume(far, replace(bead_image(POINTS), ijk_to_ras=np.diag([1.0, 1, 1, 1]) + _shift(900)))
    with pytest.raises(AnnotationError, match="lie outside the scan"):
        add_given_file(far, elsewhere, foreign_file(tmp_path / "a.mrk.json"), ANATOMY)
    assert scene.GetNumberOfNodes() == before and detection_nodes(far) == []


def test_points_that_are_no_landmarks_are_reported_and_left_out(tmp_path: Path) -> None:
    scene, volume = make_scene()
    messages: list[str] = []
    path = foreign_file(tmp_path / "a.mrk.json", labels=("R-A2-A3", "tumour", "R-A1-A2"))
    add_given_file(scene, volume, path, ANATOMY, messages)
    assert len(messages) == 1 and "'tumour'" in messages[0]


def test_a_point_list_of_the_scene_becomes_a_detection_and_stays() -> None:
    scene, volume = make_scene()
    points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "mine")
    for code, point in zip(ANATOMY.codes[:5], POINTS, strict=False):
        points.AddControlPoint(*point, code)
    nodes = add_given_points(scene, volume, points, ANATOMY)
    assert read_detection(nodes.markups, ANATOMY).count(LandmarkState.FOUND) == 5
    assert points.GetScene() is scene
    with pytest.raises(AnnotationError, match="'empty' holds no landmark"):
        add_given_points(scene, volume, scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "empty"), ANATOMY)


def test_two_annotators_of_one_scan_are_compared_in_a_table_that_is_saved(tmp_path: Path) -> None:
    scene, volume = make_scene()
    first = add_given_file(scene, volume, foreign_file(tmp_path / "a.mrk.json"), ANATOMY).markups
    second = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "second")
    for code, point in zip(ANATOMY.codes[:2], np.add(POINTS, (3.0, 4.0, 0.0)), strict=False):
        second.AddControlPoint(*point, code)
    assert annotation_nodes(scene, ANATOMY) == [first, second]
    comparison = compare_nodes(first, second, ANATOMY)
    assert comparison.distances.tolist() == pytest.approx([5.0, 5.0])
    table = add_comparison(scene, comparison, first)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    folders = {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) for node in (table, first)}
    assert len(folders) == 1
    save_scene(scene, tmp_path / "scene.mrb")
    loaded = (
        load_scene(tmp_path / "scene.mrb").GetFirstNodeByName("scan landmarks (from a.mrk.json) vs second").GetTable()
    )
    assert loaded.GetColumnByName("distance_mm").GetValue(0) == "5.00"
    assert loaded.GetColumnByName("state: second").GetValue(2) == "not annotated"


def test_annotations_of_different_scans_are_not_compared(tmp_path: Path) -> None:
    scene, volume = make_scene()
    other = add_volume(scene, replace(bead_image(POINTS), name="follow-up"))
    path = foreign_file(tmp_path / "a.mrk.json")
    one, two = (add_given_file(scene, node, path, ANATOMY).markups for node in (volume, other))
    with pytest.raises(AnnotationError, match="choose two annotations of one scan"):
        compare_nodes(one, two, ANATOMY)
    with pytest.raises(AnnotationError, match="with itself"):
        compare_nodes(one, one, ANATOMY)


def test_slice_views_and_cameras_come_to_a_point() -> None:
    scene, _ = make_scene()
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
    slices = []
    for name, orientation in (("Red", "Axial"), ("Green", "Coronal")):
        node = scene.AddNewNodeByClass("vtkMRMLSliceNode", name)
        node.SetLayoutName(name)
        node.SetOrientation(orientation)
        slices.append(node)
    camera = scene.AddNewNodeByClass("vtkMRMLCameraNode")
    camera.SetFocalPoint(0, 0, 0)
    camera.SetPosition(0, 500, 0)
    jump_to(scene, (11.0, -12.0, 13.0))
    centres = [[node.GetSliceToRAS().GetElement(row, 3) for row in range(3)] for node in slices]
    assert centres == [pytest.approx([11, -12, 13])] * 2
    assert camera.GetFocalPoint() == pytest.approx((11, -12, 13))
    assert camera.GetPosition() == pytest.approx((11, 488, 13))
    assert [node.GetOrientation() for node in slices] == ["Axial", "Coronal"]


def _shift(mm: float) -> np.ndarray:
    matrix = np.zeros((4, 4))
    matrix[:3, 3] = mm
    return matrix
