"""Cohorts: every way to store a case is read, and every problem is reported, not only the first."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cohort_cases import bead_image, estimates, places, seven_points, write_case, write_cohort
from CoWLandmarksLib.core.anatomy import Anatomy, default_anatomy
from CoWLandmarksLib.core.atomic_files import write_json
from CoWLandmarksLib.core.detection import Detection, LandmarkState, Verdict
from CoWLandmarksLib.core.errors import AnnotationError
from CoWLandmarksLib.core.volume import Modality
from CoWLandmarksLib.files.case_description import Role
from CoWLandmarksLib.files.markups import write_annotation
from CoWLandmarksLib.io.volume_io import write_volume
from CoWLandmarksLib.scene.nodes import ATTRIBUTE, add_detection, add_volume
from CoWLandmarksLib.scene.scene_files import create_scene, save_scene
from CoWLandmarksTrainingLib.__main__ import main
from CoWLandmarksTrainingLib.cohort.annotated_cases import AnnotatedScan, Cohort
from CoWLandmarksTrainingLib.cohort.annotation_check import annotation_problems
from CoWLandmarksTrainingLib.cohort.annotation_geometry import absurd_distances, swapped_sides
from CoWLandmarksTrainingLib.cohort.check import CohortReport, check_cohort
from CoWLandmarksTrainingLib.cohort.problems import Problem, Severity
from CoWLandmarksTrainingLib.cohort.reading import read_cohort
from CoWLandmarksTrainingLib.cohort.splits import content_hash

ANATOMY = default_anatomy()
POINTS = places(ANATOMY, np.random.default_rng(1))


def checked(folder: Path, anatomy: Anatomy = ANATOMY) -> CohortReport:
    return check_cohort(read_cohort([folder], anatomy))


def messages(problems: Sequence[Problem], case: str, severity: Severity) -> str:
    return "\n".join(p.sentence for p in problems if p.case == case and p.severity is severity)


def relabel(folder: Path, old: str, new: str) -> None:
    path = folder / "landmarks.mrk.json"
    text = path.read_text(encoding="utf-8")
    assert f'"label": "{old}"' in text
    path.write_text(text.replace(f'"label": "{old}"', f'"label": "{new}"'), encoding="utf-8")


class TestReading:
    """Where cases are found, and what is taken from names."""

    def test_a_case_folder(self, tmp_path: Path) -> None:
        transform = np.diag([1.1, 1.1, 1.1, 1.0]).tolist()
        write_case(
            tmp_path / "train" / "one",
            ANATOMY,
            POINTS,
            modality="cta",
            role="template",
            transform=transform,
            patient="p7",
        )
        [scan] = read_cohort([tmp_path], ANATOMY).scans
        assert (scan.name, scan.patient, scan.modality, scan.role) == ("one", "p7", Modality.CTA, Role.TEMPLATE)
        assert (scan.split, scan.reviewed, scan.annotator) == ("train", True, "test")
        np.testing.assert_allclose(scan.positions(ANATOMY), POINTS, atol=1e-4)
        np.testing.assert_allclose(scan.transform, transform)
        volume = scan.read_volume()
        assert (volume.name, volume.modality) == ("one", Modality.CTA)
        assert {file.name for file in scan.files} == {"case.json", "landmarks.mrk.json", "image.nrrd"}

    def test_a_folder_with_a_volume_and_points_is_known_by_its_names(self, tmp_path: Path) -> None:
        folder = tmp_path / "p12_tof"
        folder.mkdir()
        write_annotation(folder / "points.mrk.json", estimates(ANATOMY, POINTS), ANATOMY)
        write_volume(bead_image(POINTS), folder / "scan.nii.gz")
        write_volume(bead_image(POINTS), folder / "vessel_mask.nii.gz")
        cohort = read_cohort([tmp_path], ANATOMY)
        [scan] = cohort.scans
        assert (scan.name, scan.patient, scan.modality) == ("p12_tof", "p12", Modality.MRA)
        assert scan.image is not None
        assert scan.vessel_mask is not None
        assert (scan.image.path.name, scan.vessel_mask.path.name) == ("scan.nii.gz", "vessel_mask.nii.gz")
        assert "taken for MRA by its name" in messages(cohort.problems, "p12_tof", Severity.NOTE)

    def test_many_point_lists_of_one_folder_belong_to_the_volumes_of_their_name(self, tmp_path: Path) -> None:
        for name in ("sub-01_cta", "sub-02_cta"):
            write_annotation(tmp_path / f"{name}.mrk.json", estimates(ANATOMY, POINTS), ANATOMY)
        write_volume(bead_image(POINTS), tmp_path / "sub-02_cta.nrrd")
        first, second = read_cohort([tmp_path], ANATOMY).scans
        assert (first.patient, first.image) == ("sub-01", None)
        assert second.image is not None
        assert second.image.path.name == "sub-02_cta.nrrd"

    def test_legacy_fcsv(self, tmp_path: Path) -> None:
        folder = tmp_path / "old_cta"
        folder.mkdir()
        rows = [
            f"id{n},{p[0]},{p[1]},{p[2]},0,0,0,1,1,1,0,{c},,"
            for n, (c, p) in enumerate(zip(ANATOMY.codes, POINTS, strict=True))
        ]
        head = "# Markups fiducial file version = 4.6\n# CoordinateSystem = 0\n"
        (folder / "points.fcsv").write_text(head + "\n".join(rows) + "\n", encoding="utf-8")
        [scan] = read_cohort([tmp_path], ANATOMY).scans
        np.testing.assert_allclose(scan.positions(ANATOMY), POINTS)

    @pytest.mark.parametrize("attributes", [True, False], ids=["by attributes", "by names"])
    def test_a_scene(self, tmp_path: Path, attributes: bool) -> None:
        scene = create_scene()
        points = POINTS.copy()
        points[3] = np.nan
        volume = replace(bead_image(points), name="angio")
        detection = Detection("scan", Modality.MRA, Verdict.OK, (), estimates(ANATOMY, points), np.eye(4))
        nodes = add_detection(scene, add_volume(scene, volume), detection, ANATOMY)
        nodes.markups.SetAttribute(ATTRIBUTE + "modality", None)
        if attributes:
            for key, value in {"case": "c9", "patient": "p9", "modality": "mra", "role": "template"}.items():
                nodes.markups.SetAttribute(ATTRIBUTE + key, value)
        save_scene(scene, tmp_path / "p9_tof.mrb")
        cohort = read_cohort([tmp_path], ANATOMY)
        [scan] = cohort.scans
        expected = ("c9", "p9", Role.TEMPLATE) if attributes else ("p9_tof", "p9", Role.CASE)
        assert (scan.name, scan.patient, scan.role) == expected
        assert bool(cohort.problems) is not attributes
        np.testing.assert_allclose(scan.positions(ANATOMY), points, atol=1e-3)
        assert scan.status(ANATOMY)[3] == 0
        again = scan.read_volume()
        np.testing.assert_array_equal(again.voxels, volume.voxels)
        np.testing.assert_allclose(again.ijk_to_ras, volume.ijk_to_ras, atol=1e-6)

    def test_the_voxels_of_a_scene_count_in_its_hash_and_saving_it_again_does_not(self, tmp_path: Path) -> None:
        hashes = []
        for number, change in enumerate((0, 0, 1)):
            scene, volume = create_scene(), replace(bead_image(POINTS), name="angio")
            volume.voxels[5, 5, 5] += change
            detection = Detection("scan", Modality.MRA, Verdict.OK, (), estimates(ANATOMY, POINTS), np.eye(4))
            add_detection(scene, add_volume(scene, volume), detection, ANATOMY)
            (tmp_path / str(number)).mkdir()
            save_scene(scene, tmp_path / str(number) / "p9_tof.mrb")
            hashes.append(content_hash(read_cohort([tmp_path / str(number)], ANATOMY).scans[0]))
        assert hashes[0] == hashes[1] != hashes[2]

    def test_what_a_person_drew_by_hand_in_a_scene(self, tmp_path: Path) -> None:
        import slicer
        import vtk

        scene = create_scene()
        add_volume(scene, replace(bead_image(POINTS), name="CTA head"))
        node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "F")
        for code, point in zip(ANATOMY.codes[:5], POINTS, strict=False):
            node.AddControlPoint(vtk.vtkVector3d(*point), code)
        node.AddControlPoint(vtk.vtkVector3d(0, 0, 0), ANATOMY.codes[0])
        shift = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        matrix = np.eye(4)
        matrix[:3, 3] = (1.0, 2.0, 3.0)
        shift.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
        node.SetAndObserveTransformNodeID(shift.GetID())
        save_scene(scene, tmp_path / "someone.mrb")
        cohort = read_cohort([tmp_path], ANATOMY)
        [scan] = cohort.scans
        assert scan.modality is Modality.CTA
        np.testing.assert_allclose(scan.positions(ANATOMY)[1:5], POINTS[1:5] + np.array([1.0, 2.0, 3.0]), atol=1e-3)
        assert f"'{ANATOMY.codes[0]}' is listed 2 times" in messages(cohort.problems, "someone", Severity.ERROR)

    def test_aligned_folders_and_hidden_files_are_no_cases(self, tmp_path: Path) -> None:
        write_case(tmp_path / "one", ANATOMY, POINTS, with_image=False)
        write_json(tmp_path / "aligned" / "aligned.json", {})
        write_case(tmp_path / "aligned" / "copy", ANATOMY, POINTS, with_image=False)
        write_case(tmp_path / ".case-part" / "half", ANATOMY, POINTS, with_image=False)
        assert [scan.name for scan in read_cohort([tmp_path], ANATOMY).scans] == ["one"]

    def test_two_cases_of_one_name_get_two_names(self, tmp_path: Path) -> None:
        write_case(tmp_path / "a" / "one", ANATOMY, POINTS, with_image=False)
        write_case(tmp_path / "b" / "one", ANATOMY, POINTS + 1, with_image=False)
        cohort = read_cohort([tmp_path], ANATOMY)
        assert [scan.name for scan in cohort.scans] == ["one", "one-2"]
        assert "is called 'one' too" in messages(cohort.problems, "one-2", Severity.WARNING)

    @pytest.mark.parametrize("place", ["empty", "missing", "file.txt"])
    def test_no_case_at_all_is_one_sentence(self, tmp_path: Path, place: str) -> None:
        (tmp_path / "empty").mkdir()
        (tmp_path / "file.txt").write_text("", encoding="utf-8")
        with pytest.raises(AnnotationError, match=r"no annotated case|does not exist|is no cohort"):
            read_cohort([tmp_path / place], ANATOMY)

    def test_unreadable_cases_are_reported_and_the_others_read(self, tmp_path: Path) -> None:
        for name in ("good", "no-json", "no-points", "bad-points", "bad-role", "no-image"):
            write_case(tmp_path / name, ANATOMY, POINTS + np.random.default_rng(len(name)).normal(0, 1, 3))
        (tmp_path / "no-json" / "case.json").write_text("{", encoding="utf-8")
        (tmp_path / "no-points" / "landmarks.mrk.json").unlink()
        (tmp_path / "bad-points" / "landmarks.mrk.json").write_text("[]", encoding="utf-8")
        content = json.loads((tmp_path / "bad-role" / "case.json").read_text(encoding="utf-8"))
        write_json(tmp_path / "bad-role" / "case.json", {**content, "role": "queen"})
        (tmp_path / "no-image" / "image.nrrd").unlink()
        (tmp_path / "cut.mrb").write_bytes(b"PK\x03\x04 cut off")
        cohort = read_cohort([tmp_path], ANATOMY)
        assert [scan.name for scan in cohort.usable()] == ["good"]
        for name, message in {
            "no-json": "no readable case description",
            "no-points": "cannot be read",
            "bad-points": "no Slicer markups file",
            "bad-role": "'queen'",
            "no-image": "does not exist",
            "cut": "cannot be opened",
        }.items():
            assert message in messages(cohort.problems, name, Severity.ERROR)


class TestChecks:
    """What `check` finds."""

    def test_a_clean_cohort_has_no_problem(self, tmp_path: Path) -> None:
        write_cohort(tmp_path, ANATOMY, 6)
        report = checked(tmp_path)
        assert report.problems == ()
        assert "6 cases read; 6 without errors" in report.text()
        assert (
            "| mra00 | p-mra00 | mra | case |  | 64 x 62 x 48, 1.60 x 1.60 x 1.80 mm | 19 | 0 | 0 | 0 |  |"
            in report.text()
        )

    def test_every_problem_of_a_case_is_reported(self, tmp_path: Path) -> None:
        write_cohort(tmp_path, ANATOMY, 6)
        points = POINTS.copy()
        points[[4, 5]] = points[[5, 4]]
        points[0] = [0.0, 14.0, 200.0]
        points[12] = points[8] + 0.01
        write_case(tmp_path / "bad", ANATOMY, points)
        relabel(tmp_path / "bad", "R-ICA-T", "r-ica-t")
        relabel(tmp_path / "bad", "L-ICA-T", "L-C4-C5")
        report = checked(tmp_path)
        errors, warnings = (messages(report.problems, "bad", s) for s in (Severity.ERROR, Severity.WARNING))
        assert "'R-M1-M2' lies to the left of its counterpart" in errors
        assert "'R-A2-A3' lies 150.8 mm outside the scan" in errors
        assert "'L-C4-C5' is listed 2 times" in errors
        assert "point 'r-ica-t' is no landmark" in warnings
        assert "is 'R-ICA-T' meant?" in warnings
        assert "R-ICA-T, L-ICA-T, L-C4-C5 not annotated" in warnings
        assert "'BA-T' and 'L-P2A-P2P' lie at the same place" in warnings
        assert "'R-A2-A3': its distances to the other landmarks" in warnings
        assert [scan.name for scan in report.cohort.usable()] == [f"mra0{n}" for n in range(6)]

    def test_a_mirrored_case_is_reported(self) -> None:
        mirrored = POINTS * np.array([-1.0, 1.0, 1.0])
        assert swapped_sides(mirrored, ANATOMY).whole
        assert not swapped_sides(POINTS, ANATOMY).whole

    @pytest.mark.parametrize("angle", [-40.0, 40.0])
    def test_a_turned_head_is_not_taken_for_swapped_sides(self, angle: float) -> None:
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        yaw = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        roll = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
        for turn in (yaw, roll):
            found = swapped_sides(POINTS @ turn.T, ANATOMY)
            assert (found.whole, found.pairs) == (False, ())

    def test_half_annotated_and_empty_cases(self, tmp_path: Path) -> None:
        few, none = POINTS.copy(), np.full_like(POINTS, np.nan)
        few[5:] = np.nan
        for name, points in (("half", few), ("empty", none)):
            write_case(tmp_path / name, ANATOMY, POINTS)
            kept = [e for e in estimates(ANATOMY, points) if e.position is not None]
            write_annotation(tmp_path / name / "landmarks.mrk.json", kept, ANATOMY)
        report = checked(tmp_path)
        assert "only half annotated: L-M1-M2" in messages(report.problems, "half", Severity.WARNING)
        assert messages(report.problems, "half", Severity.ERROR) == ""
        assert messages(report.problems, "empty", Severity.ERROR) == "no landmark is placed."

    def test_another_landmark_set_is_reported(self, tmp_path: Path) -> None:
        write_case(tmp_path / "seven", seven_points(), places(seven_points(), np.random.default_rng(0)))
        write_case(tmp_path / "nineteen", ANATOMY, POINTS)
        for anatomy, foreign in ((ANATOMY, "seven"), (seven_points(), "nineteen")):
            report = checked(tmp_path, anatomy)
            assert "annotated with another landmark set" in messages(report.problems, foreign, Severity.ERROR)
            assert len(report.cohort.usable()) == 1

    def test_a_patient_in_two_splits_and_a_scan_under_two_names(self, tmp_path: Path) -> None:
        write_case(tmp_path / "train" / "a", ANATOMY, POINTS, patient="same")
        write_case(tmp_path / "test" / "b", ANATOMY, POINTS + 1.0, patient="same")
        write_case(tmp_path / "train" / "c", ANATOMY, POINTS, patient="other")
        report = checked(tmp_path)
        for name in ("a", "b"):
            assert "patient 'same' has cases in test and train" in messages(report.problems, name, Severity.ERROR)
        assert "has the same landmarks as 'a'" in messages(report.problems, "c", Severity.ERROR)

    def test_one_patient_is_too_few(self, tmp_path: Path) -> None:
        write_case(tmp_path / "one", ANATOMY, POINTS)
        assert "there is one patient" in messages(checked(tmp_path).problems, "", Severity.WARNING)

    def test_points_nobody_reviewed_are_reported(self) -> None:
        doubtful = [
            replace(e, state=LandmarkState.UNCERTAIN) if e.code == "BA-T" else e for e in estimates(ANATOMY, POINTS)
        ]
        scan = AnnotatedScan("x", "p", Modality.MRA, tuple(doubtful), ())
        assert "BA-T: uncertain" in messages(annotation_problems(scan, ANATOMY, None), "x", Severity.WARNING)
        reviewed = replace(scan, reviewed=True)
        assert annotation_problems(reviewed, ANATOMY, None) == []

    def test_the_wrong_modality_and_a_broken_image_are_reported(self, tmp_path: Path) -> None:
        hounsfield = bead_image(POINTS, background=40.0)
        voxels = hounsfield.voxels.copy()
        voxels[:20], voxels[46:] = -1000, 700  # air and bone
        write_case(tmp_path / "ct", ANATOMY, POINTS, modality="mra")
        write_volume(replace(hounsfield, voxels=voxels), tmp_path / "ct" / "image.nrrd")
        write_case(tmp_path / "cut", ANATOMY, POINTS + 1)
        (tmp_path / "cut" / "image.nrrd").write_bytes(b"NRRD0004\n")
        report = checked(tmp_path)
        assert "called MRA, but its values look like CTA" in messages(report.problems, "ct", Severity.WARNING)
        assert "image.nrrd" in messages(report.problems, "cut", Severity.ERROR)

    def test_two_templates_of_one_modality_are_too_many(self, tmp_path: Path) -> None:
        for number in range(2):
            write_case(tmp_path / f"c{number}", ANATOMY, POINTS + number, role="template")
        assert "are all the MRA template" in messages(checked(tmp_path).problems, "", Severity.ERROR)


def test_robust_scores_accuse_the_wrong_point_alone() -> None:
    rng = np.random.default_rng(4)
    configurations = [places(ANATOMY, rng) for _ in range(8)]
    configurations[3][7] += (0.0, 25.0, 0.0)
    assert [(found.case, found.index) for found in absurd_distances(configurations)] == [(3, 7)]
    assert absurd_distances(configurations[:4]) == []


def test_robust_score_by_hand() -> None:
    # Five points on a line; in the last case the fifth is 30 mm off along it: 30 mm / 1 mm (least SD) = 30.
    line = np.array([[10.0 * n, 0.0, 0.0] for n in range(5)])
    cases = [line.copy() for _ in range(6)]
    cases[5][4, 0] += 30.0
    [found] = absurd_distances(cases)
    assert (found.case, found.index) == (5, 4)
    assert (found.z, found.off_mm) == pytest.approx((30.0, 30.0))


@pytest.mark.parametrize(("damage", "code"), [(None, 0), ("one", 2), ("all", 1)])
def test_the_command_tells_by_its_exit_code(
    tmp_path: Path, damage: str | None, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cohort(tmp_path / "cohort", ANATOMY, 2, with_image=True)
    for name in {"one": ["mra00"], "all": ["mra00", "mra01"]}.get(damage or "", []):
        (tmp_path / "cohort" / name / "landmarks.mrk.json").write_text("{}", encoding="utf-8")
    assert main(["check", str(tmp_path / "cohort")]) == code
    assert f"{2 - {'one': 1, 'all': 2}.get(damage or '', 0)} without errors" in capsys.readouterr().out


def test_a_cohort_keeps_its_scans_when_problems_are_added() -> None:
    cohort = Cohort(ANATOMY, ())
    assert cohort.with_problems([Problem("a", Severity.NOTE, "x")]).problems[0].case == "a"


def test_a_copied_cohort_reads_the_same(tmp_path: Path) -> None:
    write_case(tmp_path / "here" / "one", ANATOMY, POINTS)
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    [first], [second] = (read_cohort([tmp_path / place], ANATOMY).scans for place in ("here", "there"))
    assert first.landmarks == second.landmarks
