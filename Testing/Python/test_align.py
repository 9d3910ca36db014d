"""Alignment by landmarks: case folders become crops in one frame, whatever the landmark set."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from cohort_cases import GRID, bead_image, estimates, places, seven_points, tilted, write_case, write_cohort
from CoWLandmarksLib import PROGRAM
from CoWLandmarksLib.core.anatomy import Anatomy, default_anatomy
from CoWLandmarksLib.core.atomic_files import write_json
from CoWLandmarksLib.core.errors import AnnotationError
from CoWLandmarksLib.core.volume import Grid, Modality, apply_affine
from CoWLandmarksLib.files.markups import write_annotation
from CoWLandmarksTrainingLib.__main__ import main
from CoWLandmarksTrainingLib.align.align_cohort import AlignPlan, align_cohort
from CoWLandmarksTrainingLib.align.alignment_picture import write_alignment_picture
from CoWLandmarksTrainingLib.align.landmark_alignment import LandmarkAligner
from CoWLandmarksTrainingLib.cohort.reading import read_cohort
from CoWLandmarksTrainingLib.cohort.splits import draw_splits
from CoWLandmarksTrainingLib.config.training_config import AlignConfig
from CoWLandmarksTrainingLib.records.aligned_folder import AlignedCase, AlignedCohort

CONFIG = AlignConfig(by="landmarks", shape=(36, 48, 56), spacing_mm=(1.7, 1.7, 2.0), processes=1)


def aligned(folder: Path, anatomy: Anatomy, out: Path, config: AlignConfig = CONFIG) -> AlignedCohort:
    cohort = read_cohort([folder], anatomy)
    splits = draw_splits(cohort.scans, validation_share=0.0, test_share=0.0)
    return align_cohort(AlignPlan(cohort, splits, LandmarkAligner(config.largest_residual_mm), config, out))


def peak_near(array: np.ndarray, grid: Grid, point: np.ndarray, reach_mm: float = 4.0) -> np.ndarray:
    """RAS mm of the brightest voxel within `reach_mm` of a point."""
    middle = apply_affine(grid.ras_to_ijk, point)
    reach = reach_mm / grid.spacing
    low = np.clip(np.floor(middle - reach), 0, grid.size).astype(int)
    high = np.clip(np.ceil(middle + reach) + 1, 0, grid.size).astype(int)
    i, j, k = np.meshgrid(*(np.arange(*ends) for ends in zip(low, high, strict=True)), indexing="ij")
    ras = apply_affine(grid.ijk_to_ras, np.stack([i, j, k], axis=-1))
    near = np.linalg.norm(ras - point, axis=-1) <= reach_mm
    values = np.where(near, array[k, j, i], -1.0)
    return ras[np.unravel_index(np.argmax(values), values.shape)]


def assert_beads_lie_at_landmarks(cohort: AlignedCohort, case: AlignedCase, tolerance_mm: float) -> None:
    """Of beads that stand alone: where two melt into one, the peak lies between them."""
    between = np.linalg.norm(case.landmarks[:, None] - case.landmarks[None], axis=-1)
    alone = np.sort(between, axis=1)[:, 1] > 9.0
    assert alone.sum() >= 4
    assert case.coarse_grid is not None
    for array, grid, points in (
        (np.asarray(case.crop(), np.float32), cohort.frame.grid, case.landmarks),
        (np.asarray(case.region(), np.float32), cohort.frame.region, case.landmarks),
        (np.asarray(case.coarse(), np.float32), case.coarse_grid, case.landmarks_in_scan()),
    ):
        for point in points[alone]:
            assert np.linalg.norm(peak_near(array, grid, point) - point) < tolerance_mm


@pytest.mark.slow
@pytest.mark.parametrize("anatomy", [default_anatomy(), seven_points()], ids=["19", "7"])
def test_crops_and_landmarks_agree_in_the_common_frame(tmp_path: Path, anatomy: Anatomy) -> None:
    points = write_cohort(tmp_path / "cohort", anatomy, 3, modality="cta")
    cohort = aligned(tmp_path / "cohort", anatomy, tmp_path / "out")
    again = AlignedCohort.read(tmp_path / "out")
    assert len(cohort.cases()) == len(again.cases()) == 3
    assert again.anatomy == anatomy
    for case, in_scan in zip(again.cases(), points, strict=True):
        np.testing.assert_allclose(case.landmarks_in_scan(), in_scan, atol=1e-3)
        assert (case.status == 1).all()
        assert case.residual_mm < 3.0
        assert_beads_lie_at_landmarks(again, case, tolerance_mm=2.0)
    mean = np.mean([case.landmarks for case in again.cases(split="train")], axis=0)
    np.testing.assert_allclose(mean, again.frame.mean_landmarks, atol=1.0)


@pytest.mark.slow
def test_the_frame_of_another_landmark_set_has_left_and_right_on_their_sides(tmp_path: Path) -> None:
    anatomy = seven_points()
    write_cohort(tmp_path / "cohort", anatomy, 3)
    mean = aligned(tmp_path / "cohort", anatomy, tmp_path / "out").frame.mean_landmarks
    right = mean[[0, 2, 5]]
    left = mean[[1, 3, 6]]
    assert (right[:, 0] > 5.0).all()
    np.testing.assert_allclose(right[:, 0], -left[:, 0], atol=3.0)


@pytest.mark.slow
def test_transforms_of_the_cases_give_the_frame_of_another_landmark_set(tmp_path: Path) -> None:
    anatomy = seven_points()
    pose = tilted(pitch=20.0)
    for number in range(3):
        points = places(anatomy, np.random.default_rng(number))
        inverse = np.linalg.inv(pose).tolist()
        write_case(tmp_path / "cohort" / f"mra{number}", anatomy, apply_affine(pose, points), transform=inverse)
    cohort = aligned(tmp_path / "cohort", anatomy, tmp_path / "out")
    expected = np.mean([places(anatomy, np.random.default_rng(number)) for number in range(3)], axis=0)
    np.testing.assert_allclose(cohort.frame.mean_landmarks, expected, atol=1.0)
    assert "transforms which 3 cases carry" in cohort.frame.notes[0]


def test_landmarks_without_image_are_aligned_and_have_no_arrays(tmp_path: Path) -> None:
    anatomy = default_anatomy()
    write_cohort(tmp_path / "cohort", anatomy, 1)
    write_cohort(tmp_path / "cohort", anatomy, 3, seed=4, modality="cta", with_image=False)
    cohort = aligned(tmp_path / "cohort", anatomy, tmp_path / "out")
    assert len(cohort.cases(modality=Modality.CTA, has_image=False)) == 3
    assert not (tmp_path / "out" / "cta00").exists()
    assert all(case.split == "train" for case in cohort.cases(has_image=False))


def test_absent_points_and_points_at_the_edge_have_their_status(tmp_path: Path) -> None:
    anatomy = default_anatomy()
    write_cohort(tmp_path / "cohort", anatomy, 1)
    points = places(anatomy, np.random.default_rng(8))
    points[4] = np.nan
    low, high = GRID.corners().min(axis=0), GRID.corners().max(axis=0)
    points[2] = [points[2][0], points[2][1], high[2] - 1.0]  # 1 mm deep: within the edge
    points[3] = [low[0] + 3.0, points[3][1], points[3][2]]
    write_case(tmp_path / "cohort" / "mra99", anatomy, points)
    case = next(c for c in aligned(tmp_path / "cohort", anatomy, tmp_path / "out").all_cases if c.name == "mra99")
    assert (case.status[4], case.status[2], case.status[3], case.status[0]) == (0, -1, 1, 1)
    assert np.isnan(case.landmarks[[2, 4]]).all()


@pytest.mark.slow
def test_a_case_that_does_not_fit_is_reported_and_left_out(tmp_path: Path) -> None:
    anatomy = default_anatomy()
    write_cohort(tmp_path / "cohort", anatomy, 4)
    points = places(anatomy, np.random.default_rng(8))
    rng = np.random.default_rng(5)
    write_case(tmp_path / "cohort" / "shuffled", anatomy, points[rng.permutation(len(points))])
    few = points.copy()
    few[3:] = np.nan
    write_case(tmp_path / "cohort" / "three", anatomy, few)
    cohort = aligned(tmp_path / "cohort", anatomy, tmp_path / "out", replace(CONFIG, largest_residual_mm=8.0))
    reasons = {case.name: case.reason for case in cohort.rejected()}
    assert reasons.keys() == {"shuffled", "three"}
    assert "left and right above all" in reasons["shuffled"]
    assert reasons["three"] == "it has 3 placed landmarks; 4 are needed to align it."


@pytest.mark.slow
def test_a_case_with_a_landmark_outside_its_scan_is_left_out(tmp_path: Path) -> None:
    anatomy = default_anatomy()
    written = write_cohort(tmp_path / "cohort", anatomy, 2)
    points = written[0].copy()
    image = bead_image(points)
    points[0] += (0.0, 0.0, 70.0)
    write_case(tmp_path / "cohort" / "slipped", anatomy, points, image=image)
    cohort = aligned(tmp_path / "cohort", anatomy, tmp_path / "out", replace(CONFIG, largest_residual_mm=100.0))
    assert len(cohort.cases()) == 2
    [failed] = cohort.rejected()
    assert failed.name == "slipped"
    assert "outside the scan" in failed.reason


def test_a_scan_that_misses_the_crop_is_left_out(tmp_path: Path) -> None:
    write_cohort(tmp_path / "cohort", default_anatomy(), 2)
    config = replace(CONFIG, smallest_overlap=0.999)
    cohort = aligned(tmp_path / "cohort", default_anatomy(), tmp_path / "out", config)
    assert "of the crop lie inside the scan" in cohort.rejected()[0].reason


@pytest.mark.slow
def test_an_unreadable_image_does_not_stop_the_others(tmp_path: Path) -> None:
    write_cohort(tmp_path / "cohort", default_anatomy(), 3)
    image = tmp_path / "cohort" / "mra01" / "image.nrrd"
    image.write_bytes(image.read_bytes()[:2000])
    cohort = aligned(tmp_path / "cohort", default_anatomy(), tmp_path / "out")
    assert [case.name for case in cohort.rejected()] == ["mra01"]
    assert "image.nrrd" in cohort.rejected()[0].reason
    assert len(AlignedCohort.read(tmp_path / "out").cases()) == 2


@pytest.mark.slow
def test_only_what_has_changed_is_made_again(tmp_path: Path) -> None:
    folder, out = tmp_path / "cohort", tmp_path / "out"
    write_cohort(folder, default_anatomy(), 2)
    aligned(folder, default_anatomy(), out)
    written = {path: path.stat().st_mtime_ns for path in out.rglob("*.npy")}
    assert len(written) == 6
    for path in written:
        os.utime(path, ns=(1, 1))
    aligned(folder, default_anatomy(), out)
    assert all(path.stat().st_mtime_ns == 1 for path in written)
    aligned(folder, default_anatomy(), out, replace(CONFIG, spacing_mm=(1.8, 1.7, 2.0)))
    assert all(path.stat().st_mtime_ns != 1 for path in written)


@pytest.mark.slow
def test_a_cohort_that_changes_under_its_crops_is_noticed(tmp_path: Path) -> None:
    folder, out = tmp_path / "cohort", tmp_path / "out"
    points = write_cohort(folder, default_anatomy(), 2)
    aligned(folder, default_anatomy(), out)
    moved = points[0] + np.array([1.0, 0.0, 0.0])
    write_annotation(folder / "mra00" / "landmarks.mrk.json", estimates(default_anatomy(), moved), default_anatomy())
    with pytest.raises(AnnotationError, match=r"changed since .*cases mra00"):
        AlignedCohort.read(out)
    aligned(folder, default_anatomy(), out)
    assert AlignedCohort.read(out).cases()


@pytest.mark.slow
def test_parallel_processes_write_the_same_as_one(tmp_path: Path) -> None:
    folder = tmp_path / "cohort"
    write_cohort(folder, default_anatomy(), 2)
    aligned(folder, default_anatomy(), tmp_path / "one")
    aligned(folder, default_anatomy(), tmp_path / "two", replace(CONFIG, processes=2))
    for path in (tmp_path / "one").rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


def test_nothing_usable_is_one_sentence(tmp_path: Path) -> None:
    anatomy = default_anatomy()
    write_case(tmp_path / "cohort" / "none", anatomy, np.full((len(anatomy), 3), np.nan))
    with pytest.raises(AnnotationError, match="nothing can be aligned"):
        aligned(tmp_path / "cohort", anatomy, tmp_path / "out")


@pytest.mark.slow
def test_the_command_aligns_a_cohort_with_a_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cohort(tmp_path / "cohort", default_anatomy(), 3)
    shape = {"by": "landmarks", "shape": [24, 32, 40], "spacing_mm": [2.5, 2.5, 3.0], "processes": 1}
    write_json(tmp_path / "training.json", {"cohort": {"test_share": 0.0}, "align": shape})
    assert main(["align", str(tmp_path / "training.json")]) == 0
    assert "3 of 3 cases" in capsys.readouterr().out
    cohort = AlignedCohort.read(tmp_path / "aligned")
    assert cohort.frame.grid.shape == (24, 32, 40)
    assert cohort.provenance["program"] == PROGRAM
    assert (tmp_path / "aligned" / "aligned.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "splits.json").exists()
    content = {"cohort": {"folders": ["../cohort"], "test_share": 0.0}, "align": {**shape, "folder": "here"}}
    write_json(tmp_path / "below" / "training.json", content)
    monkeypatch.chdir(tmp_path)
    assert main(["align", "below/training.json"]) == 0
    assert len(AlignedCohort.read(tmp_path / "below" / "here").cases()) == 3
    assert main(["split", str(tmp_path / "training.json")]) == 1
    assert "exists" in capsys.readouterr().err


def test_the_picture_shows_landmarks_where_they_are(tmp_path: Path) -> None:
    """The right M1-M2 lies in the left half of the axial view (looked at from below), in the colour of its landmark."""
    anatomy = default_anatomy()
    write_cohort(tmp_path / "cohort", anatomy, 1, with_image=False)
    cohort = aligned(tmp_path / "cohort", anatomy, tmp_path / "out")
    write_alignment_picture(tmp_path / "picture.png", cohort)
    pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "picture.png"))).astype(int)
    width = round(420 * 56 * 1.7 / (48 * 1.7))  # of the axial view
    colour = np.array(anatomy.landmark("R-M1-M2").rgb)
    columns = np.nonzero(np.abs(pixels[:, : 8 + width] - 0.8 * colour).max(axis=-1) < 30)[1]
    assert len(columns) > 0
    assert columns.mean() < 8 + width / 2


def test_half_annotated_cases_are_aligned_and_what_they_lack_is_masked(tmp_path: Path) -> None:
    anatomy = default_anatomy()
    write_cohort(tmp_path / "cohort", anatomy, 2, with_image=False)
    given = estimates(anatomy, places(anatomy, np.random.default_rng(8)))[:8]
    write_annotation(tmp_path / "cohort" / "mra01" / "landmarks.mrk.json", given, anatomy)
    case = aligned(tmp_path / "cohort", anatomy, tmp_path / "out").all_cases[1]
    assert case.accepted
    assert case.status.tolist() == [1] * 8 + [-1] * 11


def test_the_commands_take_another_landmark_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    anatomy = seven_points()
    write_cohort(tmp_path / "cohort", anatomy, 4, with_image=False)
    write_json(tmp_path / "seven.json", anatomy.source)
    arguments = [str(tmp_path / "cohort"), "--anatomy", str(tmp_path / "seven.json")]
    assert main(["check", *arguments]) == 0
    assert main(["split", *arguments, "--test", "0.25"]) == 0
    assert main(["align", *arguments, "--by", "landmarks", "--out", str(tmp_path / "out")]) == 0
    assert len(AlignedCohort.read(tmp_path / "out").cases()) == 4
    assert main(["align", str(tmp_path / "cohort"), "--by", "landmarks", "--out", str(tmp_path / "again")]) == 1
    assert "annotated with another landmark set" in capsys.readouterr().err
