"""Alignment by templates: every scan lands in one frame, MRA and CTA through one patient, failures are told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from cohort_cases import places, tilted, write_case
from CoWLandmarksLib.anatomy import default_anatomy
from CoWLandmarksLib.errors import AnnotationError, ConfigurationError
from CoWLandmarksLib.modality import Modality
from CoWLandmarksLib.volume import Grid, apply_affine
from CoWLandmarksLib.volume_io import write_volume
from CoWLandmarksTrainingLib import template
from CoWLandmarksTrainingLib.align import AlignPlan, align_cohort
from CoWLandmarksTrainingLib.aligned import AlignedCohort
from CoWLandmarksTrainingLib.alignment_choice import aligner_of
from CoWLandmarksTrainingLib.cohort import read_cohort
from CoWLandmarksTrainingLib.splits import draw_splits
from CoWLandmarksTrainingLib.template_choice import Candidates, chosen_template
from CoWLandmarksTrainingLib.training_config import AlignConfig
from head_images import HEAD_GRID, head_image

sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
ANATOMY = default_anatomy()
CONFIG = AlignConfig(
    by="template", shape=(36, 48, 56), spacing_mm=(1.7, 1.7, 2.0), pitch_starts_deg=(0.0,),
    registration_spacing_mm=2.5, processes=1,
)  # fmt: skip


def write_head(
    folder: Path, pose: np.ndarray, modality: str, *, person: int = 1, grid: Grid = HEAD_GRID, **description: object
) -> np.ndarray:
    """A case of a head in a pose; returns its landmarks in the scan."""
    points = places(ANATOMY, np.random.default_rng(person))
    image = head_image(points, pose, Modality(modality), grid, seed=person)
    write_case(folder, ANATOMY, apply_affine(pose, points), modality=modality, image=image, **description)
    return apply_affine(pose, points)


def aligned(folder: Path, out: Path, config: AlignConfig = CONFIG) -> AlignedCohort:
    cohort = read_cohort([folder], ANATOMY)
    assert cohort.problems == ()
    splits = draw_splits(cohort.scans, validation_share=0.0, test_share=0.0)
    return align_cohort(AlignPlan(cohort, splits, aligner_of(config, out), config, out))


def test_both_modalities_land_in_one_frame_through_the_vessels_of_one_patient(tmp_path: Path) -> None:
    """The CTA of another person with other beads still lies where the MRA do, because the tissue was registered."""
    folder = tmp_path / "cohort"
    write_head(folder / "m-pair", tilted(pitch=-5.0), "mra", patient="both")
    write_head(folder / "c-pair", tilted(pitch=6.0, yaw=3.0), "cta", patient="both")
    write_head(folder / "m-other", tilted(pitch=9.0, roll=4.0), "mra", person=2)
    cohort = aligned(folder, tmp_path / "out")
    notes = " ".join(cohort.frame.notes)
    assert "MRA and CTA were aligned by the vessels of patient 'both'" in notes
    assert "template is 'm-pair', the medoid" in notes
    assert len(cohort.cases()) == 3
    cases = {case.name: case for case in cohort.cases()}
    # One person in two scans: the same landmarks in the frame.
    apart = np.linalg.norm(cases["m-pair"].landmarks - cases["c-pair"].landmarks, axis=1)
    assert np.nanmean(apart) < 2.0
    # Two people in one head: what is left between them is how their landmarks differ, not how they lay.
    people = [places(ANATOMY, np.random.default_rng(person)) for person in (1, 2)]
    gap = cases["m-other"].landmarks - cases["m-pair"].landmarks
    scale = np.cbrt(np.linalg.det(cases["m-pair"].ras_to_reference[:3, :3]))
    own = np.linalg.norm(scale * (people[1] - people[0]), axis=1)
    assert np.linalg.norm(gap, axis=1).mean() < own.mean() + 2.0
    np.testing.assert_allclose(cohort.frame.grid.centre, cohort.frame.mean_landmarks.mean(axis=0), atol=1e-6)


def test_without_a_patient_of_both_the_report_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "cohort"
    write_head(folder / "m", tilted(pitch=-5.0), "mra")
    write_head(folder / "c", tilted(pitch=6.0), "cta", person=2)
    cohort = aligned(folder, tmp_path / "out")
    assert "aligned with each other by landmarks, not by the vessels of one patient" in " ".join(cohort.frame.notes)
    assert len(cohort.cases()) == 2


def test_a_failed_registration_is_told_and_left_out_or_replaced_by_the_landmarks(tmp_path: Path) -> None:
    folder = tmp_path / "cohort"
    write_head(folder / "a", tilted(), "mra", role="template")
    write_head(folder / "upside-down", tilted(pitch=150.0), "mra", person=2)
    cohort = aligned(folder, tmp_path / "out", replace(CONFIG, when_failed="leave_out"))
    [failed] = cohort.rejected()
    assert failed.name == "upside-down"
    assert "the registration has failed: its landmarks lie" in failed.reason
    assert not failed.has_image
    assert "1 of 2 scans were registered well" in " ".join(cohort.frame.notes)
    rescued = aligned(folder, tmp_path / "out")
    assert rescued.rejected() == ()
    case = rescued.cases()[1]
    assert case.has_image
    assert case.residual_mm < 4.0
    assert "the registration has failed" in case.reason
    assert "aligned by its landmarks instead" in case.reason


def test_registrations_are_kept_until_an_image_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cohort"
    write_head(folder / "a", tilted(), "mra", role="template")
    write_head(folder / "b", tilted(pitch=4.0), "mra", person=2)
    first = aligned(folder, tmp_path / "out")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("registered again")

    monkeypatch.setattr(template, "register", refuse)
    again = aligned(folder, tmp_path / "out")
    np.testing.assert_array_equal(again.all_cases[1].ras_to_reference, first.all_cases[1].ras_to_reference)
    points = places(ANATOMY, np.random.default_rng(2))
    write_volume(head_image(points, tilted(pitch=4.0), Modality.MRA, seed=77), folder / "b" / "image.nrrd")
    with pytest.raises(AssertionError, match="registered again"):
        aligned(folder, tmp_path / "out")


def test_landmarks_alone_come_in_by_their_transform_or_by_a_fit(tmp_path: Path) -> None:
    folder = tmp_path / "cohort"
    write_head(folder / "m", tilted(), "mra")
    pose = tilted(pitch=30.0, scale=1.1)
    points = places(ANATOMY, np.random.default_rng(3))
    carried = np.linalg.inv(pose)
    for name, transform in (("with", carried.tolist()), ("without", None)):
        moved = apply_affine(pose, points + (0.5 if transform is None else 0.0))
        write_case(folder / name, ANATOMY, moved, modality="cta", with_image=False, transform=transform)
    cohort = aligned(folder, tmp_path / "out")
    cases = {case.name: case for case in cohort.cases(has_image=False)}
    np.testing.assert_allclose(cases["with"].ras_to_reference, carried, atol=1e-9)
    assert np.nanmean(np.linalg.norm(cases["without"].landmarks - cohort.frame.mean_landmarks, axis=1)) < 4.0
    assert "1 cases with landmarks only carry no transform" in " ".join(cohort.frame.notes)


def test_the_user_chooses_the_template(tmp_path: Path) -> None:
    folder = tmp_path / "cohort"
    for person in (1, 2, 3):
        write_head(folder / f"m{person}", tilted(), "mra", person=person)
    scans = read_cohort([folder], ANATOMY).scans
    mean = places(ANATOMY, np.random.default_rng(2))
    candidates = Candidates(scans, ANATOMY, mean, HEAD_GRID)
    assert chosen_template(candidates, "m3", Modality.MRA)[0].name == "m3"
    with pytest.raises(ConfigurationError, match="'m9' is no MRA case for training with an image"):
        chosen_template(candidates, "m9", Modality.MRA)


def test_the_medoid_has_the_least_distance_to_the_others_and_is_not_masked(tmp_path: Path) -> None:
    folder = tmp_path / "cohort"
    shifts = {"near": 0.0, "far": 9.0, "middle": 3.0, "other": 6.0}
    for name, shift in shifts.items():
        points = places(ANATOMY, np.random.default_rng(1))
        points[4] += (shift, 0.0, 0.0)  # one landmark moves; the fits leave nearly all of it
        image = head_image(points, tilted(), Modality.MRA)
        write_case(folder / name, ANATOMY, points, image=image)
    scans = read_cohort([folder], ANATOMY).scans
    grid = replace(HEAD_GRID, shape=(20, 30, 28))
    candidates = Candidates(scans, ANATOMY, places(ANATOMY, np.random.default_rng(1)), grid)
    first, sentence = chosen_template(candidates, "", Modality.MRA)
    assert first.name in ("middle", "other")
    assert "the medoid" in sentence
    image = first.read_volume()
    masked = np.where(image.voxels > 300, image.voxels, 0).astype(np.int16)
    write_volume(replace(image, voxels=masked), folder / first.name / "image.nrrd")
    assert chosen_template(candidates, "", Modality.MRA)[0].name == ({"middle", "other"} - {first.name}).pop()


def test_landmarks_alone_have_no_template(tmp_path: Path) -> None:
    for person in (1, 2):
        points = places(ANATOMY, np.random.default_rng(person))
        write_case(tmp_path / "cohort" / f"c{person}", ANATOMY, points, modality="cta", with_image=False)
    with pytest.raises(AnnotationError, match="align the cohort by landmarks instead"):
        aligned(tmp_path / "cohort", tmp_path / "out")
