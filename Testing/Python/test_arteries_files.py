"""Arteries as files and in a scene, corrected landmarks, and the commands that write them."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk
from CoWLandmarksLib.__main__ import main
from CoWLandmarksLib.arteries.tracer import ArteryTracer
from CoWLandmarksLib.core.artery_map import ArteryMap, ArteryState, cropped_labels
from CoWLandmarksLib.core.detection import LandmarkEstimate
from CoWLandmarksLib.core.errors import AnnotationError
from CoWLandmarksLib.core.volume import Modality, Volume
from CoWLandmarksLib.files.arteries_files import (
    COLUMNS,
    read_label_crop,
    segmentation_fields,
    write_arteries_csv,
    write_segmentation,
)
from CoWLandmarksLib.files.detection_files import DETECTION_SCHEMA_FILE, read_detection_and_arteries
from CoWLandmarksLib.files.markups import write_annotation
from CoWLandmarksLib.files.nrrd_file import write_plain_nrrd
from CoWLandmarksLib.io.volume_io import image_from_volume, read_volume, write_volume
from CoWLandmarksLib.scene.artery_nodes import add_arteries
from CoWLandmarksLib.scene.nodes import add_volume
from CoWLandmarksLib.scene.scene_files import create_scene, load_scene, save_scene
from tube_circle import ANATOMY, landmarks, tube_scan
from vtk.util.numpy_support import vtk_to_numpy

FEW_FILES = ["--no-scene", "--no-pictures"]


@pytest.fixture(scope="module")
def scan() -> Volume:
    return tube_scan(left_out=("R-PCoA",), spacing=(0.8, 0.8, 0.9))


@pytest.fixture(scope="module")
def tracer(scan: Volume) -> ArteryTracer:
    return ArteryTracer(scan, Modality.MRA, ANATOMY)


@pytest.fixture(scope="module")
def traced(tracer: ArteryTracer) -> ArteryMap:
    return tracer.trace(landmarks())


def moved(code: str, shift: tuple[float, float, float]) -> list[LandmarkEstimate]:
    """All landmarks, one of them moved by `shift` mm."""
    points = []
    for point in landmarks():
        if point.code == code and point.position is not None:
            r, a, s = np.add(point.position, shift)
            point = replace(point, position=(float(r), float(a), float(s)))
        points.append(point)
    return points


def hanging_on(code: str) -> set[str]:
    return {artery.code for artery in ANATOMY.arteries if code in (artery.start, artery.end)}


@pytest.mark.slow
def test_only_what_hangs_on_a_moved_landmark_changes(tracer: ArteryTracer, traced: ArteryMap) -> None:
    changed = ArteryTracer(tracer._volume, Modality.MRA, ANATOMY, traced).trace(moved("L-M1-M2", (3.0, 0.0, 0.0)))
    assert hanging_on("L-M1-M2") == {"L-MCA-M1"}
    for before, after in zip(traced.arteries, changed.arteries, strict=True):
        label = ANATOMY.artery(before.code).label
        on_scan = [found.label_volume("x").voxels == label for found in (traced, changed)]
        if before.code == "L-MCA-M1":
            assert after.measures is not None and before.measures is not None
            assert after.measures.length_mm < before.measures.length_mm - 1.5
        else:
            assert np.array_equal(before.centerline, after.centerline), before.code
            assert (before.state, before.confidence) == (after.state, after.confidence)
            assert np.array_equal(*on_scan), before.code


@pytest.mark.slow
def test_a_landmark_moved_there_and_back_gives_the_first_result_again(scan: Volume, traced: ArteryMap) -> None:
    again = ArteryTracer(scan, Modality.MRA, ANATOMY)
    again.trace(landmarks())
    again.trace(moved("R-ICA-T", (0.0, 1.5, 0.0)))
    back = again.trace(landmarks())
    for before, after in zip(traced.arteries, back.arteries, strict=True):
        assert before.state is after.state, before.code
        if before.measures is not None and after.measures is not None:
            assert after.measures.length_mm == pytest.approx(before.measures.length_mm, rel=0.05)


@pytest.mark.slow
def test_tracing_is_repeatable(scan: Volume, traced: ArteryMap) -> None:
    again = ArteryTracer(scan, Modality.MRA, ANATOMY).trace(landmarks())
    assert np.array_equal(again.labels, traced.labels)
    assert again.summary == traced.summary


def test_the_table_has_a_row_for_every_artery(traced: ArteryMap, tmp_path: Path) -> None:
    write_arteries_csv(tmp_path / "arteries.csv", traced, ANATOMY)
    rows = list(csv.DictReader((tmp_path / "arteries.csv").read_text(encoding="utf-8").splitlines()))
    assert tuple(rows[0]) == COLUMNS
    assert [row["code"] for row in rows] == [artery.code for artery in ANATOMY.arteries]
    by_code = {row["code"]: row for row in rows}
    assert by_code["R-PCoA"]["state"] == "absent"
    assert by_code["R-PCoA"]["length_mm"] == ""
    assert float(by_code["L-MCA-M1"]["diameter_mean_mm"]) == pytest.approx(2.8, abs=0.3)
    product = float(by_code["L-MCA-M1"]["side_ratio"]) * float(by_code["R-MCA-M1"]["side_ratio"])
    assert product == pytest.approx(1.0, abs=0.01)


def test_slicer_reads_the_segmentation_file_with_names_colours_and_codes(traced: ArteryMap, tmp_path: Path) -> None:
    path = tmp_path / "arteries.seg.nrrd"
    write_segmentation(path, traced, ANATOMY)
    scene = create_scene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(path))
    assert storage.ReadData(node)
    check_segments(node, traced)


def test_the_labels_are_read_back_as_they_were_written(traced: ArteryMap, tmp_path: Path) -> None:
    path = tmp_path / "arteries.seg.nrrd"
    write_segmentation(path, traced, ANATOMY)
    labels, start = read_label_crop(path)
    wanted, first = cropped_labels(traced.label_volume("arteries").voxels)
    assert start == first
    np.testing.assert_array_equal(labels, wanted)


def test_a_label_map_that_version_0_1_0_wrote_with_simpleitk_is_read(traced: ArteryMap, tmp_path: Path) -> None:
    image = image_from_volume(traced.label_volume("arteries"))
    for key, value in segmentation_fields(traced, ANATOMY).items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(tmp_path / "arteries.seg.nrrd"), True)
    labels, start = read_label_crop(tmp_path / "arteries.seg.nrrd")
    wanted, first = cropped_labels(traced.label_volume("arteries").voxels)
    assert start == first
    np.testing.assert_array_equal(labels, wanted)


def test_a_scan_is_no_label_map(scan: Volume, tmp_path: Path) -> None:
    write_plain_nrrd(tmp_path / "arteries.seg.nrrd", scan)
    with pytest.raises(AnnotationError, match="no label map"):
        read_label_crop(tmp_path / "arteries.seg.nrrd")


def test_a_scene_carries_twenty_segments_a_table_and_curves(scan: Volume, traced: ArteryMap, tmp_path: Path) -> None:
    scene = create_scene()
    nodes = add_arteries(scene, add_volume(scene, scan), traced, ANATOMY, curves=True)
    assert len(nodes.curves) == sum(trace.traced for trace in traced.arteries)
    assert nodes.table.GetTable().GetNumberOfRows() == len(ANATOMY.arteries)
    check_segments(nodes.segmentation, traced)
    save_scene(scene, tmp_path / "scene.mrb")
    loaded = load_scene(tmp_path / "scene.mrb")
    check_segments(loaded.GetFirstNodeByClass("vtkMRMLSegmentationNode"), traced)


def check_segments(node: object, traced: ArteryMap) -> None:
    """Names, colours, terminology and voxel counts of the segments of a segmentation node."""
    segmentation = node.GetSegmentation()  # type: ignore[attr-defined]
    assert segmentation.GetNumberOfSegments() == len(ANATOMY.arteries)
    for number, artery in enumerate(ANATOMY.arteries):
        segment = segmentation.GetNthSegment(number)
        assert segment.GetName() == artery.code
        assert np.allclose(segment.GetColor(), np.array(artery.rgb) / 255.0, atol=0.002)
        entry = vtk.mutable("")
        assert segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), entry)
        assert str(entry) == artery.terminology
    assert count_in(node, "L-MCA-M1") == int((traced.labels == ANATOMY.artery("L-MCA-M1").label).sum())
    assert count_in(node, "R-PCoA") == 0


def count_in(node: object, code: str) -> int:
    """Number of voxels of a segment."""
    segment = node.GetSegmentation().GetSegment(code)  # type: ignore[attr-defined]
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    image = segment.GetRepresentation(name)
    if image is None or image.GetPointData().GetScalars() is None:
        return 0
    return int((vtk_to_numpy(image.GetPointData().GetScalars()) == segment.GetLabelValue()).sum())


@pytest.mark.slow
def test_the_command_traces_given_landmarks_and_later_only_what_was_moved(
    scan: Volume, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_volume(scan, tmp_path / "head.nii.gz")
    write_annotation(tmp_path / "points.mrk.json", landmarks(), ANATOMY)
    arguments = ["arteries", str(tmp_path / "head.nii.gz")]
    first = [*arguments, str(tmp_path / "points.mrk.json"), "--out", str(tmp_path / "one"), *FEW_FILES]
    assert main(first) == 0
    assert "Landmarks from a file, not judged. " in "".join(capsys.readouterr())
    result = tmp_path / "one" / "head"
    names = {"arteries.csv", "arteries.graph.json", "arteries.seg.nrrd"}
    names |= {"detection.json", "landmarks.csv", "landmarks.mrk.json"}
    assert {path.name for path in result.iterdir()} == names
    content = json.loads((result / "detection.json").read_text(encoding="utf-8"))
    jsonschema.validate(content, json.loads(DETECTION_SCHEMA_FILE.read_text(encoding="utf-8")))
    assert "right PCoA absent" in content["arteries"]["summary"]
    assert content["verdict"] is None
    write_annotation(tmp_path / "moved.mrk.json", moved("R-A2-A3", (0.0, -3.0, -2.0)), ANATOMY)
    second = [*arguments, str(tmp_path / "moved.mrk.json"), "--out", str(tmp_path / "two"), *FEW_FILES]
    assert main([*second, "--previous", str(result)]) == 0
    before = {trace.code: trace for trace in read_detection_and_arteries(result / "detection.json")[1].traces}
    after = {
        trace.code: trace
        for trace in read_detection_and_arteries(tmp_path / "two" / "head" / "detection.json")[1].traces
    }
    assert json.loads((tmp_path / "two" / "head" / "detection.json").read_text(encoding="utf-8"))["verdict"] is None
    different = {code for code in before if not np.array_equal(before[code].centerline, after[code].centerline)}
    assert different == {"R-ACA-A2"}
    old, new = (read_volume(tmp_path / d / "head" / "arteries.seg.nrrd").voxels for d in ("one", "two"))
    assert set(np.unique(np.where(old != new, old, 0))) | set(np.unique(np.where(old != new, new, 0))) <= {
        0,
        ANATOMY.artery("R-ACA-A2").label,
    }
    capsys.readouterr()
    assert main([*second, "--force", "--previous", str(tmp_path)]) == 1
    assert "detection.json" in capsys.readouterr().err


def test_traces_survive_the_detection_file(scan: Volume, traced: ArteryMap, tmp_path: Path) -> None:
    from CoWLandmarksLib.core.given_landmarks import given_detection
    from CoWLandmarksLib.files.detection_files import write_detection_json

    detection = given_detection(scan, tuple(landmarks()), ANATOMY, Modality.MRA)
    write_detection_json(tmp_path / "detection.json", detection, traced)
    for before, after in zip(
        traced.arteries, read_detection_and_arteries(tmp_path / "detection.json")[1].traces, strict=True
    ):
        assert (before.code, before.state, before.reason) == (after.code, after.state, after.reason)
        assert np.allclose(before.centerline, after.centerline, atol=1e-3)
    assert {trace.state for trace in traced.arteries} >= {ArteryState.PRESENT, ArteryState.ABSENT}
