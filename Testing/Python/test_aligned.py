"""Aligned cohorts: what is written is read again, and damage and changed inputs are reported."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from beads import bead_model
from CoWLandmarksLib.core.errors import AnnotationError
from CoWLandmarksLib.core.intensity import DEFAULT_INTENSITY_RULES
from CoWLandmarksLib.core.volume import Modality, axis_aligned_grid
from CoWLandmarksLib.detect.circle import circle_grid
from CoWLandmarksTrainingLib.records.aligned_folder import (
    ALIGNED_FILE,
    FORMER_SCHEMA,
    AlignedCase,
    AlignedCohort,
    AlignedFrame,
    write_arrays,
)
from CoWLandmarksTrainingLib.records.input_files import InputFile

ANATOMY = bead_model().anatomy
COUNT = len(ANATOMY)
GRID = axis_aligned_grid(np.array([1.0, 14.0, 2.5]), np.array([0.5, 0.6, 0.8]), (6, 8, 10))
COARSE = axis_aligned_grid(np.array([5.0, -3.0, 40.0]), np.ones(3), (4, 6, 8))
REGION_MM = 4.0


def written(folder: Path, source: Path) -> AlignedCohort:
    """A cohort of one scan and one set of landmarks, written into `folder`."""
    rng = np.random.default_rng(5)
    source.write_text("as it was", encoding="utf-8")
    turned = np.array([[0.0, -1.1, 0.0, 3.0], [1.1, 0.0, 0.0, -7.0], [0.0, 0.0, 1.1, 2.0], [0.0, 0.0, 0.0, 1.0]])
    status = np.ones(COUNT, np.int8)
    status[1:3] = (0, -1)
    landmarks = np.where(status[:, None] == 1, rng.normal(0, 20, (COUNT, 3)), np.nan)
    frame = AlignedFrame(GRID, rng.normal(0, 9, (COUNT, 3)), "template", ("No patient has both.",), REGION_MM)
    write_arrays(folder / "scan", rng.random(GRID.shape), rng.random(frame.region.shape), rng.random(COARSE.shape))
    scan = AlignedCase(
        "scan", "p1", Modality.MRA, "train", landmarks, status, turned, 1.5,
        folder=folder / "scan", coarse_grid=COARSE, inputs=(InputFile.of(source, folder),),
    )  # fmt: skip
    points = AlignedCase("points", "p2", Modality.CTA, "test", landmarks + 1.0, status, np.eye(4), 2.0)
    failed = AlignedCase(
        "failed", "p3", Modality.CTA, "train", landmarks, status, np.eye(4), float("nan"), False, "It lies upside down."
    )
    cohort = AlignedCohort(ANATOMY, frame, DEFAULT_INTENSITY_RULES, (scan, points, failed), folder)
    cohort.write(folder)
    return cohort


def test_a_cohort_is_read_as_it_was_written(tmp_path: Path) -> None:
    before = written(tmp_path / "aligned", tmp_path / "source.txt")
    after = AlignedCohort.read(tmp_path / "aligned")
    assert after.anatomy == before.anatomy
    assert after.rules == before.rules
    assert after.frame.notes == before.frame.notes
    np.testing.assert_allclose(after.frame.grid.ijk_to_ras, GRID.ijk_to_ras)
    np.testing.assert_allclose(after.frame.region.ijk_to_ras, before.frame.region.ijk_to_ras)
    np.testing.assert_allclose(after.frame.mean_landmarks, before.frame.mean_landmarks)
    for old, new in zip(before.all_cases, after.all_cases, strict=True):
        assert (new.name, new.patient, new.modality, new.split) == (old.name, old.patient, old.modality, old.split)
        assert (new.accepted, new.reason, new.has_image, new.inputs) == (
            old.accepted, old.reason, old.has_image, old.inputs,
        )  # fmt: skip
        np.testing.assert_allclose(new.landmarks, old.landmarks)
        np.testing.assert_array_equal(new.status, old.status)
        np.testing.assert_allclose(new.ras_to_reference, old.ras_to_reference)
        np.testing.assert_allclose(new.residual_mm, old.residual_mm)


def test_arrays_are_mapped_float16_in_their_grids(tmp_path: Path) -> None:
    written(tmp_path / "aligned", tmp_path / "source.txt")
    cohort = AlignedCohort.read(tmp_path / "aligned")
    [case] = cohort.cases(split="train", modality=Modality.MRA)
    assert isinstance(case.crop(), np.memmap)
    assert (case.crop().dtype, case.crop().shape) == (np.float16, cohort.frame.grid.shape)
    assert (case.region().dtype, case.region().shape) == (np.float16, cohort.frame.region.shape)
    assert case.coarse_grid is not None
    assert (case.coarse().dtype, case.coarse().shape) == (np.float16, case.coarse_grid.shape)


def test_the_region_holds_what_the_circle_network_reads_and_a_margin(tmp_path: Path) -> None:
    region = written(tmp_path / "aligned", tmp_path / "source.txt").frame.region
    np.testing.assert_allclose(region.centre, GRID.centre)
    reads = circle_grid(GRID.centre)
    low, high = reads.corners().min(axis=0), reads.corners().max(axis=0)
    assert (region.corners().min(axis=0) < low - 5.0).all()
    assert (region.corners().max(axis=0) > high + 5.0).all()


def test_landmarks_go_back_into_the_scan(tmp_path: Path) -> None:
    [scan, *_] = written(tmp_path / "aligned", tmp_path / "source.txt").all_cases
    back = scan.landmarks_in_scan()
    # by hand: x' = -1.1 y + 3, y' = 1.1 x - 7, z' = 1.1 z + 2
    np.testing.assert_allclose(scan.landmarks[:, 0], -1.1 * back[:, 1] + 3.0)
    np.testing.assert_allclose(scan.landmarks[:, 1], 1.1 * back[:, 0] - 7.0)
    np.testing.assert_allclose(scan.landmarks[:, 2], 1.1 * back[:, 2] + 2.0)


def test_failed_cases_are_never_handed_out(tmp_path: Path) -> None:
    cohort = written(tmp_path / "aligned", tmp_path / "source.txt")
    assert [case.name for case in cohort.cases()] == ["scan", "points"]
    assert [case.name for case in cohort.cases(has_image=False)] == ["points"]
    assert [case.name for case in cohort.cases(split="train", has_image=True)] == ["scan"]
    assert [case.name for case in cohort.rejected()] == ["failed"]


def test_a_case_without_image_has_no_arrays(tmp_path: Path) -> None:
    cohort = written(tmp_path / "aligned", tmp_path / "source.txt")
    with pytest.raises(AnnotationError, match="'points' has landmarks only"):
        cohort.all_cases[1].crop()


def test_a_changed_input_is_noticed(tmp_path: Path) -> None:
    written(tmp_path / "aligned", tmp_path / "source.txt")
    (tmp_path / "source.txt").write_text("as it is!", encoding="utf-8")  # of the same length
    os.utime(tmp_path / "source.txt", ns=(1, 1))
    with pytest.raises(AnnotationError, match=r"changed since .*\(cases scan\); run cowlandmarks-train align again"):
        AlignedCohort.read(tmp_path / "aligned")
    assert AlignedCohort.read(tmp_path / "aligned", check_inputs=False).cases()


@pytest.mark.parametrize("after", ["touched", "gone"])
def test_an_input_that_was_only_copied_or_left_behind_is_no_change(tmp_path: Path, after: str) -> None:
    written(tmp_path / "aligned", tmp_path / "source.txt")
    if after == "touched":
        os.utime(tmp_path / "source.txt", ns=(1, 1))
    else:
        (tmp_path / "source.txt").unlink()
    assert AlignedCohort.read(tmp_path / "aligned").cases()


@pytest.mark.parametrize("damage", ["missing", "cut", "schema", "split", "landmarks"])
def test_damage_is_one_sentence(tmp_path: Path, damage: str) -> None:
    written(tmp_path / "aligned", tmp_path / "source.txt")
    path = tmp_path / "aligned" / ALIGNED_FILE
    content = json.loads(path.read_text(encoding="utf-8"))
    if damage == "schema":
        content["schema"] = "cow-aligned/9"
    elif damage == "split":
        content["cases"][0]["split"] = "everything"
    elif damage == "landmarks":
        content["cases"][0]["landmarks"].pop()
    text = json.dumps(content)
    path.write_text(text[: len(text) // 2] if damage == "cut" else text, encoding="utf-8")
    if damage == "missing":
        path.unlink()
    with pytest.raises(AnnotationError, match="cowlandmarks-train align"):
        AlignedCohort.read(tmp_path / "aligned")


def test_a_folder_of_an_earlier_version_is_one_sentence(tmp_path: Path) -> None:
    written(tmp_path / "aligned", tmp_path / "source.txt")
    path = tmp_path / "aligned" / ALIGNED_FILE
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["frame"]["region_spacing_mm"]
    path.write_text(json.dumps({**content, "schema": FORMER_SCHEMA}), encoding="utf-8")
    with pytest.raises(AnnotationError, match=r"earlier version.*; run cowlandmarks-train align again\.$") as raised:
        AlignedCohort.read(tmp_path / "aligned")
    assert FORMER_SCHEMA == "cow-aligned/1"
    assert "damaged" not in str(raised.value)


def test_a_missing_or_cut_off_array_is_one_sentence(tmp_path: Path) -> None:
    written(tmp_path / "aligned", tmp_path / "source.txt")
    [case, *_] = AlignedCohort.read(tmp_path / "aligned").cases()
    for name, read in (("crop", case.crop), ("region", case.region), ("coarse", case.coarse)):
        array = tmp_path / "aligned" / "scan" / f"{name}.npy"
        array.write_bytes(array.read_bytes()[:200])
        with pytest.raises(AnnotationError, match=rf"{name}\.npy' is missing or damaged"):
            read()
        array.unlink()
        with pytest.raises(AnnotationError, match=rf"{name}\.npy' is missing or damaged"):
            read()
