"""Alignment by templates: every scan lands in one frame, MRA and CTA through one patient, failures are reported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from cohort_cases import places, seven_points, tilted, write_case
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.errors import AnnotationError, ConfigurationError
from CoWLandmarksLib.core.volume import Grid, Modality, Volume, apply_affine
from CoWLandmarksLib.io.volume_io import write_volume
from CoWLandmarksTrainingLib.align import scan_registration
from CoWLandmarksTrainingLib.align.align_cohort import AlignPlan, align_cohort
from CoWLandmarksTrainingLib.align.template_alignment import aligner_of
from CoWLandmarksTrainingLib.align.template_choice import Candidates, chosen_template
from CoWLandmarksTrainingLib.cohort.annotated_cases import AnnotatedScan
from CoWLandmarksTrainingLib.cohort.reading import read_cohort
from CoWLandmarksTrainingLib.cohort.splits import draw_splits
from CoWLandmarksTrainingLib.config.training_config import AlignConfig
from CoWLandmarksTrainingLib.records.aligned_folder import AlignedCohort
from head_images import HEAD_GRID, head_image

sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)

pytestmark = pytest.mark.slow
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
    assert "template is 'm-pair', the only one that could be" in notes
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


def test_a_failed_registration_is_reported_and_left_out_or_replaced_by_the_landmarks(tmp_path: Path) -> None:
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

    monkeypatch.setattr(scan_registration, "register", refuse)
    again = aligned(folder, tmp_path / "out")
    np.testing.assert_array_equal(again.all_cases[1].ras_to_reference, first.all_cases[1].ras_to_reference)
    points = places(ANATOMY, np.random.default_rng(2))
    write_volume(head_image(points, tilted(pitch=4.0), Modality.MRA, seed=77), folder / "b" / "image.nrrd")
    with pytest.raises(AssertionError, match="registered again"):
        aligned(folder, tmp_path / "out")


def test_the_template_is_read_once_for_all_scans_that_are_registered_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cohort"
    write_head(folder / "a", tilted(), "mra", role="template")
    for person, name in ((2, "b"), (3, "c")):
        write_head(folder / name, tilted(pitch=4.0), "mra", person=person)
    read, original = [], AnnotatedScan.read_volume

    def counted(scan: AnnotatedScan) -> Volume:
        read.append(scan.name)
        return original(scan)

    monkeypatch.setattr(AnnotatedScan, "read_volume", counted)
    aligned(folder, tmp_path / "out")
    assert {name: read.count(name) for name in "abc"} == {"a": 2, "b": 2, "c": 2}, "to register it and to cut it out"


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
    assert chosen_template(candidates, "m3", Modality.MRA, no_trial)[0].name == "m3"
    with pytest.raises(ConfigurationError, match="'m9' is no MRA case for training with an image"):
        chosen_template(candidates, "m9", Modality.MRA, no_trial)


class Trials:
    """Residuals by a table of templates; remembers what was tried."""

    def __init__(self, residuals: dict[str, tuple[float, ...]]) -> None:
        self.residuals = residuals
        self.pairs: list[tuple[str, str]] = []

    def __call__(self, pairs: Sequence[tuple[AnnotatedScan, AnnotatedScan]]) -> list[float]:
        self.pairs = [(template.name, scan.name) for template, scan in pairs]
        given = {name: iter(values) for name, values in self.residuals.items()}
        return [next(given[template.name]) for template, _ in pairs]


def no_trial(pairs: Sequence[tuple[AnnotatedScan, AnnotatedScan]]) -> list[float]:
    raise AssertionError("nothing had to be tried")


def heads(folder: Path, **changed: Callable[[np.ndarray], np.ndarray]) -> Candidates:
    """Four scans of one head, some with changed voxels."""
    points = places(ANATOMY, np.random.default_rng(1))
    for name in ("a", "b", "c", "d"):
        image = head_image(points, tilted(), Modality.MRA)
        if name in changed:
            image = replace(image, voxels=changed[name](np.asarray(image.voxels)))
        write_case(folder / name, ANATOMY, points, image=image)
    grid = replace(HEAD_GRID, shape=(20, 30, 28))
    return Candidates(read_cohort([folder], ANATOMY).scans, ANATOMY, points, grid)


def test_the_scan_to_which_most_others_are_registered_well_is_the_template(tmp_path: Path) -> None:
    candidates = heads(tmp_path / "cohort")
    trials = Trials({"a": (3.0, 30.0, 3.0), "b": (6.0, 6.0, 6.0), "c": (4.0, 4.0), "d": (float("inf"),) * 3})
    chosen, sentence = chosen_template(candidates, "", Modality.MRA, trials)
    assert chosen.name == "c"  # as many as b, and closer in the middle
    assert "chosen among 4 by trials: 2 of 2 other scans were registered to it well (landmarks 4.0 mm off)" in sentence
    assert all(template != scan for template, scan in trials.pairs)


def test_masked_thresholded_and_zeroed_scans_are_no_template(tmp_path: Path) -> None:
    def thresholded(voxels: np.ndarray) -> np.ndarray:
        return np.where(voxels > 300, voxels, 0).astype(np.int16)

    def zeroed(voxels: np.ndarray) -> np.ndarray:
        return np.where(voxels > np.quantile(voxels, 0.5), voxels, 0).astype(np.int16)

    candidates = heads(tmp_path / "cohort", a=thresholded, b=zeroed)
    trials = Trials({"c": (5.0,) * 3, "d": (4.0,) * 3})
    chosen, sentence = chosen_template(candidates, "", Modality.MRA, trials)
    assert {template for template, _ in trials.pairs} == {"c", "d"}
    assert {scan for _, scan in trials.pairs} >= {"a", "b"}  # they have to be registered all the same
    assert chosen.name == "d"
    assert "2 scans were refused because they are masked, thresholded or zeroed" in sentence
    every = heads(tmp_path / "all", a=zeroed, b=zeroed, c=zeroed, d=zeroed)
    assert "as all scans looked at are; registrations may fail" in chosen_template(every, "", Modality.MRA, no_trial)[1]
    assert chosen_template(every, "b", Modality.MRA, no_trial)[0].name == "b"  # the user's choice stands


def test_trials_are_registrations_and_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cohort"
    write_head(folder / "upright", tilted(), "mra")
    write_head(folder / "other", tilted(pitch=5.0), "mra", person=2)
    first = aligned(folder, tmp_path / "out")
    assert "chosen among 2 by trials: 1 of 1 other scans" in " ".join(first.frame.notes)
    monkeypatch.setattr(scan_registration, "register", None)
    assert aligned(folder, tmp_path / "out").frame.notes == first.frame.notes


def test_another_landmark_set_is_aligned_by_templates(tmp_path: Path) -> None:
    """Seven points that the program's atlas does not know; the tissue of the heads does the work."""
    anatomy = seven_points()
    poses = {"a": tilted(), "b": tilted(pitch=9.0, roll=-4.0), "c": tilted(pitch=-7.0, yaw=5.0)}
    for person, (name, pose) in enumerate(poses.items()):
        points = places(anatomy, np.random.default_rng(person))
        image = head_image(points, pose, Modality.MRA, seed=person)
        write_case(tmp_path / "cohort" / name, anatomy, apply_affine(pose, points), image=image)
    cohort = read_cohort([tmp_path / "cohort"], anatomy)
    assert cohort.problems == ()
    splits = draw_splits(cohort.scans, validation_share=0.0, test_share=0.0)
    config = replace(CONFIG, when_failed="leave_out")
    result = align_cohort(AlignPlan(cohort, splits, aligner_of(config, tmp_path / "out"), config, tmp_path / "out"))
    assert len(result.cases()) == 3
    assert "3 of 3 scans were registered well" in " ".join(result.frame.notes)
    assert result.frame.mean_landmarks.shape == (7, 3)
    right, left = anatomy.codes.index("R-A"), anatomy.codes.index("L-A")
    for case in result.cases():
        assert case.landmarks[right, 0] > case.landmarks[left, 0]
        assert case.residual_mm < 4.0
        assert case.crop().shape == CONFIG.shape


def test_landmarks_alone_have_no_template(tmp_path: Path) -> None:
    for person in (1, 2):
        points = places(ANATOMY, np.random.default_rng(person))
        write_case(tmp_path / "cohort" / f"c{person}", ANATOMY, points, modality="cta", with_image=False)
    with pytest.raises(AnnotationError, match="align the cohort by landmarks instead"):
        aligned(tmp_path / "cohort", tmp_path / "out")
