"""Annotations exported from real MRML scenes: files to hand on, cases of a cohort, and nothing of the patient."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs slicer-core")

import slicer
import vtk
from cohort_cases import bead_image, estimates, places, tilted
from CoWLandmarksLib.__main__ import main
from CoWLandmarksLib.core.artery_map import ArteryMap, ArteryMeasures, ArteryState, ArteryTrace
from CoWLandmarksLib.core.detection import Detection, LandmarkState, Verdict
from CoWLandmarksLib.core.errors import ConfigurationError, OutputError, VolumeError
from CoWLandmarksLib.core.volume import Modality, Volume, apply_affine
from CoWLandmarksLib.files.annotation_files import FileChoice, writing_annotation
from CoWLandmarksLib.files.case_folder import check_pseudonym, free_pseudonym
from CoWLandmarksLib.files.markups import read_annotation, read_review
from CoWLandmarksLib.files.nrrd_file import packing_nrrd
from CoWLandmarksLib.io.volume_io import read_volume
from CoWLandmarksLib.scene.annotation_export import adding_to_cohort, annotation_of, identifying_texts
from CoWLandmarksLib.scene.artery_nodes import add_arteries
from CoWLandmarksLib.scene.nodes import add_detection, add_volume, detection_nodes, volume_node_of
from CoWLandmarksLib.scene.results import SEGMENTATION_ROLE
from CoWLandmarksLib.scene.review import Review
from CoWLandmarksLib.scene.scene_files import create_scene, save_scene
from CoWLandmarksTrainingLib.__main__ import main as train_main
from CoWLandmarksTrainingLib.cohort.reading import read_cohort
from example_detection import ANATOMY

PATIENT = {
    "DICOM.PatientName": "Rosenkranz^Margarethe",
    "DICOM.PatientID": "KIS-4711-0815",
    "DICOM.PatientBirthDate": "19610203",
    "DICOM.StudyDate": "20240506",
}
SECRETS = ("rosenkranz", "margarethe", "4711", "0815", "19610203", "20240506", "1961-02-03", "dr_eisenbart")


def make_scene() -> Any:
    """A scene with a reviewed detection, and the patient's data wherever a scene can carry them."""
    points = places(ANATOMY, np.random.default_rng(5))
    points = apply_affine(tilted(pitch=10.0), points)
    scan = replace(bead_image(points), name="6: TOF Rosenkranz Margarethe 20240506", modality=Modality.MRA)
    landmarks = list(estimates(ANATOMY, points))
    landmarks[2] = replace(landmarks[2], state=LandmarkState.UNCERTAIN, note="asked Dr_Eisenbart, 1961-02-03")
    detection = Detection(
        scan.name, Modality.MRA, Verdict.REVIEW, (scan.name,), tuple(landmarks), np.eye(4), (scan.name,)
    )
    scene = create_scene()
    node = add_volume(scene, scan)
    for key, value in PATIENT.items():
        node.SetAttribute(key, value)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), PATIENT["DICOM.PatientName"])
    for key, value in PATIENT.items():
        hierarchy.SetItemAttribute(patient, key, value)
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), patient)
    nodes = add_detection(scene, node, detection, ANATOMY)
    add_arteries(scene, node, make_arteries(scan), ANATOMY, nodes.folder)
    return scene


def make_arteries(scan: Volume) -> ArteryMap:
    """The first two arteries as blocks of voxels, the others absent."""
    labels = np.zeros((4, 6, 8), np.uint8)
    labels[1:3, 2:4, 1:3] = ANATOMY.arteries[0].label
    labels[0, 0, 5] = ANATOMY.arteries[19].label
    measures = ArteryMeasures(12.5, 1.25, 2.5, 2.0, 3.0, 40.0, None)
    traces = [ArteryTrace(artery.code, ArteryState.ABSENT, "made up", 0.5) for artery in ANATOMY.arteries]
    traces[0] = replace(traces[0], state=ArteryState.PRESENT, measures=measures)
    return ArteryMap(tuple(traces), labels, (20, 11, 7), scan.grid, "a summary")


def markups_in(scene: Any) -> Any:
    return detection_nodes(scene)[0]


def review_all(scene: Any, initials: str = "AB") -> None:
    review = Review(markups_in(scene), ANATOMY, initials, now=lambda: "2030-01-02T03:04:05Z")
    for code in ANATOMY.codes:
        review.accept(code)


def finish(steps: Iterator[float]) -> list[float]:
    return list(steps)


def written_bytes(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, its path included, unpacked where it is packed."""
    found = {}
    for path in sorted(folder.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        if b"encoding: gzip" in content[:2000]:
            head, _, packed = content.partition(b"\n\n")
            content += head + gzip.decompress(packed)
        found[str(path.relative_to(folder))] = content
    return found


def assert_no_secret(folder: Path) -> None:
    files = written_bytes(folder)
    assert files
    for name, content in files.items():
        everything = name.encode() + content
        for secret in SECRETS:
            for encoding in ("utf-8", "utf-16-le"):
                assert secret.encode(encoding) not in everything.lower(), (name, secret)


def test_a_case_is_what_the_training_reads(tmp_path: Path) -> None:
    scene = make_scene()
    review_all(scene)
    done = finish(adding_to_cohort(markups_in(scene), ANATOMY, tmp_path / "cohort", "case-001", "patient-7"))
    assert done == sorted(done) and done[-1] == 1.0
    folder = tmp_path / "cohort" / "case-001"
    assert {path.name for path in folder.iterdir()} == {"case.json", "landmarks.mrk.json", "scan.nrrd", "vessels.nrrd"}
    description = json.loads((folder / "case.json").read_text())
    assert description == {
        "schema": "cow-case/1",
        "case": "case-001",
        "patient": "patient-7",
        "modality": "mra",
        "role": "case",
        "image": "scan.nrrd",
        "landmarks": "landmarks.mrk.json",
        "vessel_mask": "vessels.nrrd",
        "anatomy": ANATOMY.name,
        "annotator": "AB",
        "reviewed": True,
        "reviewed_at": "2030-01-02T03:04:05Z",
    }
    cohort = read_cohort([tmp_path / "cohort"], ANATOMY)
    (case,) = cohort.scans
    assert cohort.problems == ()
    assert (case.name, case.patient, case.modality, case.annotator, case.reviewed) == (
        "case-001",
        "patient-7",
        Modality.MRA,
        "AB",
        True,
    )
    detection = Review(markups_in(scene), ANATOMY).detection()
    np.testing.assert_allclose(
        case.positions(ANATOMY), [estimate.position for estimate in detection.landmarks], atol=1e-4
    )
    read = case.read_volume()
    node = volume_node_of(markups_in(scene))
    np.testing.assert_array_equal(read.voxels, slicer.util.arrayFromVolume(node))
    mask = case.read_vessel_mask()
    np.testing.assert_allclose(mask.ijk_to_ras, read.ijk_to_ras)
    np.testing.assert_array_equal(mask.voxels, make_arteries(read).label_volume("").voxels)


def test_nothing_of_the_patient_is_in_any_byte_of_a_case(tmp_path: Path) -> None:
    scene = make_scene()
    review_all(scene)
    finish(adding_to_cohort(markups_in(scene), ANATOMY, tmp_path / "cohort", "case-001"))
    assert_no_secret(tmp_path / "cohort")


def test_nothing_of_a_file_header_reaches_a_case(tmp_path: Path) -> None:
    """A scan file whose header carries names, loaded by Slicer's own reader and exported."""
    scan = tmp_path / "in" / "rosenkranz_19610203.nrrd"
    scan.parent.mkdir()
    points = places(ANATOMY, np.random.default_rng(5))
    finish(packing_nrrd(scan, bead_image(points), {key.replace(".", "_"): value for key, value in PATIENT.items()}))
    assert b"Rosenkranz" in scan.read_bytes()
    scene = create_scene()
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Rosenkranz")
    storage = scene.AddNewNodeByClass("vtkMRMLNRRDStorageNode")
    storage.SetFileName(str(scan))
    assert storage.ReadData(node)
    node.SetAndObserveStorageNodeID(storage.GetID())
    detection = Detection("Rosenkranz", Modality.MRA, Verdict.OK, (), estimates(ANATOMY, points), np.eye(4))
    nodes = add_detection(scene, node, detection, ANATOMY)
    finish(adding_to_cohort(nodes.markups, ANATOMY, tmp_path / "out", "case-001", initials="CD"))
    assert_no_secret(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "case-001" / "case.json").read_text())["annotator"] == "CD"
    np.testing.assert_array_equal(read_volume(tmp_path / "out/case-001/scan.nrrd").voxels, read_volume(scan).voxels)


@pytest.mark.parametrize("name", ["margarethe-1", "KIS-4711-0815", "x_Rosenkranz", "19610203"])
def test_a_pseudonym_that_holds_the_patient_s_name_or_id_is_refused(tmp_path: Path, name: str) -> None:
    scene = make_scene()
    assert "Rosenkranz^Margarethe" in identifying_texts(volume_node_of(markups_in(scene)))
    for names in ((name, ""), ("case-001", name)):
        with pytest.raises(ConfigurationError, match="holds a name or an ID of the patient"):
            finish(adding_to_cohort(markups_in(scene), ANATOMY, tmp_path / "cohort", *names))
    assert not (tmp_path / "cohort").exists()


@pytest.mark.parametrize("name", ["", " ", "a b", "-x", "a/b", "../x", "ä", "x" * 61])
def test_pseudonyms_are_plain_names(name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be a pseudonym"):
        check_pseudonym(name)


def test_a_case_is_never_replaced(tmp_path: Path) -> None:
    scene = make_scene()
    finish(adding_to_cohort(markups_in(scene), ANATOMY, tmp_path, "Case-1"))
    before = written_bytes(tmp_path)
    with pytest.raises(OutputError, match="has a case 'case-1' already, which is not replaced"):
        finish(adding_to_cohort(markups_in(scene), ANATOMY, tmp_path, "case-1"))
    assert written_bytes(tmp_path) == before


def test_an_export_that_is_broken_off_leaves_nothing(tmp_path: Path) -> None:
    scene = make_scene()
    steps = adding_to_cohort(markups_in(scene), ANATOMY, tmp_path / "cohort", "case-1")
    assert any(done > 0 for done in steps)
    assert any((tmp_path / "cohort").iterdir())
    steps.close()
    assert not (tmp_path / "cohort").exists() or not any((tmp_path / "cohort").iterdir())


def test_a_change_of_the_scene_during_an_export_does_not_matter(tmp_path: Path) -> None:
    scene = make_scene()
    node = volume_node_of(markups_in(scene))
    before = np.array(slicer.util.arrayFromVolume(node))
    steps = adding_to_cohort(markups_in(scene), ANATOMY, tmp_path, "case-1")
    assert any(done > 0 for done in steps)
    slicer.util.arrayFromVolume(node)[:] = 0
    scene.RemoveNode(markups_in(scene))
    finish(steps)
    np.testing.assert_array_equal(read_volume(tmp_path / "case-1" / "scan.nrrd").voxels, before)


def test_the_next_free_pseudonym_is_one_that_no_folder_of_the_cohort_has(tmp_path: Path) -> None:
    assert free_pseudonym(tmp_path / "new") == "case-001"
    (tmp_path / "train" / "Case-001").mkdir(parents=True)
    (tmp_path / "case-002").mkdir()
    assert free_pseudonym(tmp_path) == "case-003"


def test_an_annotation_without_its_scan_cannot_become_a_case(tmp_path: Path) -> None:
    scene = make_scene()
    markups = markups_in(scene)
    scene.RemoveNode(volume_node_of(markups))
    with pytest.raises(VolumeError, match="is not in the scene"):
        finish(adding_to_cohort(markups, ANATOMY, tmp_path / "cohort", "case-1"))


def test_files_to_hand_on_are_read_back(tmp_path: Path) -> None:
    scene = make_scene()
    review = Review(markups_in(scene), ANATOMY, "AB", now=lambda: "2030-01-02T03:04:05Z")
    review.mark_absent("L-A1-A2")
    review.accept("R-A1-A2")
    annotation = annotation_of(markups_in(scene), ANATOMY)
    finish(writing_annotation(tmp_path, "one", annotation, ANATOMY, FileChoice()))
    assert {path.name for path in tmp_path.iterdir()} == {
        "one.mrk.json",
        "one.csv",
        "one-arteries.csv",
        "one-arteries.seg.nrrd",
    }
    read = {estimate.code: estimate for estimate in read_annotation(tmp_path / "one.mrk.json", ANATOMY)}
    assert read["L-A1-A2"].state is LandmarkState.ABSENT and read["L-A1-A2"].reviewed
    assert read["R-A1-A2"].note.startswith("asked")  # a person's own words stay in a person's own file
    assert read_review(tmp_path / "one.mrk.json") == {"annotator": "AB", "reviewed_at": "2030-01-02T03:04:05Z"}
    rows = list(csv.DictReader((tmp_path / "one.csv").open(encoding="utf-8")))
    assert list(rows[0])[-4:] == ["corrected", "reviewed", "reviewer", "reviewed_at"]
    assert [list(row.values())[-4:] for row in rows[2:4]] == [
        ["0", "1", "AB", "2030-01-02T03:04:05Z"],
        ["1", "1", "AB", "2030-01-02T03:04:05Z"],
    ]
    artery = next(csv.DictReader((tmp_path / "one-arteries.csv").open(encoding="utf-8")))
    assert (artery["state"], artery["length_mm"], artery["tortuosity"], artery["side_ratio"]) == (
        "present",
        "12.50",
        "1.250",
        "",
    )


def test_nothing_of_the_patient_is_in_any_byte_of_the_files(tmp_path: Path) -> None:
    scene = make_scene()
    code = ANATOMY.codes[2]
    points = markups_in(scene)
    text = points.GetNthControlPointDescription(2).partition(" |")[0]  # without the person's own words
    points.SetNthControlPointDescription(2, text)
    review_all(scene)
    annotation = annotation_of(points, ANATOMY)
    assert annotation.detection.landmark(code).note == ""
    finish(writing_annotation(tmp_path / "out", "case-7", annotation, ANATOMY, FileChoice()))
    assert_no_secret(tmp_path / "out")


def test_slicer_reads_the_point_list_and_the_segmentation(tmp_path: Path) -> None:
    scene = make_scene()
    annotation = annotation_of(markups_in(scene), ANATOMY)
    finish(writing_annotation(tmp_path, "one", annotation, ANATOMY, FileChoice(tables=False)))
    points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    storage = slicer.vtkMRMLMarkupsJsonStorageNode()
    storage.SetFileName(str(tmp_path / "one.mrk.json"))
    assert storage.ReadData(points) and points.GetNumberOfControlPoints() == 19
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(tmp_path / "one-arteries.seg.nrrd"))
    assert storage.ReadData(segmentation)
    segments = segmentation.GetSegmentation()
    assert [segments.GetNthSegment(n).GetName() for n in range(segments.GetNumberOfSegments())] == [
        artery.code for artery in ANATOMY.arteries
    ]
    assert segments.GetNthSegment(3).GetColor() == pytest.approx(np.array(ANATOMY.arteries[3].rgb) / 255, abs=1e-5)
    markups_in(scene).SetNodeReferenceID(SEGMENTATION_ROLE, segmentation.GetID())
    again = annotation_of(markups_in(scene), ANATOMY).arteries
    np.testing.assert_array_equal(again.label_volume("").voxels, annotation.arteries.label_volume("").voxels)
    assert np.count_nonzero(again.labels) == 9


def test_files_are_not_replaced_without_being_asked(tmp_path: Path) -> None:
    annotation = annotation_of(markups_in(make_scene()), ANATOMY)
    (tmp_path / "one.csv").write_text("mine")
    with pytest.raises(OutputError, match=r"holds one\.csv already"):
        finish(writing_annotation(tmp_path, "one", annotation, ANATOMY, FileChoice()))
    assert [path.name for path in tmp_path.iterdir()] == ["one.csv"]
    finish(writing_annotation(tmp_path, "one", annotation, ANATOMY, FileChoice(), overwrite=True))
    assert (tmp_path / "one.csv").read_text() != "mine"


def test_a_segmentation_under_a_transform_is_exported_where_it_is_seen() -> None:
    scene = make_scene()
    segmentation = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 1.6 * 3)  # three voxels to the right
    transform.SetMatrixTransformToParent(matrix)
    segmentation.SetAndObserveTransformNodeID(transform.GetID())
    arteries = annotation_of(markups_in(scene), ANATOMY).arteries
    expected = np.roll(make_arteries(Volume(np.zeros((48, 62, 64)), np.eye(4))).label_volume("").voxels, 3, axis=2)
    np.testing.assert_array_equal(arteries.label_volume("").voxels, expected)


def test_the_command_exports_a_saved_scene_that_the_training_accepts(tmp_path: Path, capsys: Any) -> None:
    scene = make_scene()
    review_all(scene)
    save_scene(scene, tmp_path / "scene.mrb")
    assert main(["export", str(tmp_path / "scene.mrb"), "--to", str(tmp_path / "cohort"), "--patient", "p1"]) == 0
    assert "case-001: 19 of 19 landmarks reviewed" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "scene.mrb"), "--to", str(tmp_path / "cohort"), "--case", "next"]) == 0
    assert_no_secret(tmp_path / "cohort")
    description = json.loads((tmp_path / "cohort" / "case-001" / "case.json").read_text())
    assert (description["annotator"], description["reviewed"], description["patient"]) == ("AB", True, "p1")
    shutil.rmtree(tmp_path / "cohort" / "next")  # the same scan twice would rightly be an error
    capsys.readouterr()
    assert train_main(["check", str(tmp_path / "cohort")]) == 0
    out = capsys.readouterr().out
    assert "| case-001 | p1 | mra | case |" in out and "1 without errors; 0 errors" in out


def test_the_command_warns_of_what_nobody_reviewed_and_takes_moved_points(tmp_path: Path, capsys: Any) -> None:
    scene = make_scene()
    points = markups_in(scene)
    points.SetNthControlPointPosition(0, 1.0, 2.0, 3.0)
    save_scene(scene, tmp_path / "scene.mrb")
    arguments = [
        "export",
        str(tmp_path / "scene.mrb"),
        "--to",
        str(tmp_path / "c"),
        "--annotator",
        "CD",
        "--case",
        "x1",
    ]
    assert main(arguments) == 0
    output = capsys.readouterr().err
    assert "Only 0 of 19 landmarks are reviewed by a person" in output
    description = json.loads((tmp_path / "c" / "x1" / "case.json").read_text())
    assert (description["annotator"], description["reviewed"]) == ("CD", False)
    first = read_annotation(tmp_path / "c" / "x1" / "landmarks.mrk.json", ANATOMY)[0]
    assert first.position == (1.0, 2.0, 3.0) and first.corrected


def test_the_command_says_which_detection_it_cannot_choose(tmp_path: Path, capsys: Any) -> None:
    scene = make_scene()
    volume = volume_node_of(markups_in(scene))
    second = add_detection(scene, volume, Review(markups_in(scene), ANATOMY).detection(), ANATOMY)
    second.markups.SetName("second")
    save_scene(scene, tmp_path / "scene.mrb")
    arguments = ["export", str(tmp_path / "scene.mrb"), "--to", str(tmp_path / "c")]
    assert main(arguments) == 1
    assert "choose with --landmarks" in capsys.readouterr().err
    assert main([*arguments, "--landmarks", "second"]) == 0
    assert main([*arguments, "--landmarks", "third"]) == 1
    assert "no detection called 'third'" in capsys.readouterr().err
    Review(second.markups, ANATOMY, "AB").accept("BA-T")
    save_scene(scene, tmp_path / "scene.mrb")
    assert main(arguments) == 0
    assert (tmp_path / "c" / "case-002").is_dir()


def test_the_command_refuses_what_is_no_scene(tmp_path: Path, capsys: Any) -> None:
    save_scene(create_scene(), tmp_path / "empty.mrb")
    assert main(["export", str(tmp_path / "empty.mrb"), "--to", str(tmp_path / "c")]) == 1
    assert "holds no detection" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "none.mrb"), "--to", str(tmp_path / "c")]) == 1
    assert "does not exist" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_the_secrets_are_where_a_scene_carries_them(tmp_path: Path) -> None:
    """Otherwise the tests above would prove nothing."""
    save_scene(make_scene(), tmp_path / "scene.mrb")
    with zipfile.ZipFile(tmp_path / "scene.mrb") as bundle:
        mrml = bundle.read("scene/scene.mrml").lower()
    assert all(secret.encode() in mrml for secret in ("rosenkranz", "margarethe", "4711", "19610203", "20240506"))
