"""Synthetic cohorts: the same case for the same numbers, true states, valid case folders."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.detection import LandmarkState
from CoWLandmarksLib.core.errors import ConfigurationError, OutputError
from CoWLandmarksLib.core.volume import Modality, apply_affine, axis_aligned_grid, validated
from CoWLandmarksLib.files.markups import read_annotation
from CoWLandmarksLib.io.volume_io import read_volume
from CoWLandmarksTrainingLib.cohort.reading import read_cohort
from CoWLandmarksTrainingLib.evaluate.evaluation_cases import annotated_volume, evaluation_cases
from CoWLandmarksTrainingLib.phantom import phantom_cohort as cohort
from CoWLandmarksTrainingLib.phantom.geometry import sample_phantom
from CoWLandmarksTrainingLib.phantom.phantom_cohort import (
    CohortPlan,
    PhantomCase,
    make_case,
    scan_grid,
    write_case,
    write_cohort,
)
from CoWLandmarksTrainingLib.phantom.variants import VariantRates
from quick_phantoms import coarse_scan_grid

ANATOMY = default_anatomy()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cohort, "scan_grid", coarse_scan_grid)


@cache
def case(modality: Modality, version: int = 3) -> PhantomCase:
    return make_case(5, 2, modality, version=version)


class TestCase:
    """One synthetic scan."""

    @pytest.mark.parametrize("modality", Modality)
    def test_the_same_numbers_give_exactly_the_same_case(self, modality: Modality) -> None:
        again = make_case(5, 2, modality)
        np.testing.assert_array_equal(again.volume.voxels, case(modality).volume.voxels)
        np.testing.assert_array_equal(again.labels.voxels, case(modality).labels.voxels)
        np.testing.assert_array_equal(again.volume.ijk_to_ras, case(modality).volume.ijk_to_ras)
        assert again.truth == case(modality).truth
        assert again.record == case(modality).record

    @pytest.mark.slow
    def test_the_held_out_anatomy_gives_another_head_and_says_so(self) -> None:
        held_out = make_case(5, 2, Modality.MRA, version=4, anatomy="held-out")
        assert held_out.record["anatomy"] == held_out.record["variants"]["anatomy"] == "held-out"
        assert held_out.truth != case(Modality.MRA, 4).truth

    def test_an_anatomy_that_version_3_lacks_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="version 3 has no anatomy 'held-out'; use version 4"):
            make_case(5, 2, Modality.MRA, version=3, anatomy="held-out")

    def test_other_numbers_or_another_modality_give_another_head(self) -> None:
        poses = [case(modality).scene.pose for modality in Modality]
        poses += [make_case(*numbers, Modality.MRA).scene.pose for numbers in ((5, 3), (6, 2))]
        assert len({pose.tobytes() for pose in poses}) == 4

    @pytest.mark.parametrize("version", [3, 5])
    @pytest.mark.parametrize("modality", Modality)
    def test_the_scan_is_sound_and_says_what_it_is(self, modality: Modality, version: int) -> None:
        volume = validated(case(modality, version).volume)
        assert volume.warnings == ()
        acquisition = case(modality, version).scene.appearance.acquisition
        assert (acquisition is None) == (version == 3)
        assert volume.voxels.dtype == (np.uint8 if acquisition and acquisition.eight_bit else np.int16)
        assert volume.modality is modality
        assert volume.name == f"{modality.value}-5-0002"
        assert case(modality, version).labels.voxels.dtype == np.uint8
        assert case(modality, version).labels.voxels.shape == volume.voxels.shape

    @pytest.mark.parametrize("modality", Modality)
    def test_the_truth_is_the_geometry_in_the_scan(self, modality: Modality) -> None:
        made = case(modality)
        places = apply_affine(made.scene.pose, made.scene.phantom.landmarks)
        assert [e.code for e in made.truth] == list(ANATOMY.codes)
        for estimate, place, rule in zip(made.truth, places, made.scene.phantom.by_rule, strict=True):
            if estimate.position is not None:
                np.testing.assert_allclose(estimate.position, place)
                assert estimate.by_rule == bool(rule)
        assert sum(e.position is not None for e in made.truth) >= 15

    def test_absent_and_cut_landmarks_have_their_states(self) -> None:
        places = np.tile([0.0, 0.0, 0.0], (len(ANATOMY), 1))
        places[3] = np.nan
        places[4] = (0.0, 0.0, 19.5)
        places[5] = (0.0, 0.0, 17.5)
        places[6] = (0.0, -400.0, 0.0)
        grid = axis_aligned_grid(np.zeros(3), np.ones(3), (40, 40, 40))
        by_rule = np.ones(len(ANATOMY), bool)
        truth = cohort._truth(places, by_rule, grid, ANATOMY)
        states = {n: truth[n].state for n in range(3, 8)}
        assert states == {
            3: LandmarkState.ABSENT,
            4: LandmarkState.OUTSIDE,
            5: LandmarkState.FOUND,
            6: LandmarkState.OUTSIDE,
            7: LandmarkState.FOUND,
        }
        assert [truth[n].by_rule for n in range(3, 8)] == [False, False, True, False, True]
        assert truth[3].position is truth[4].position is None

    def test_a_head_without_an_artery_has_absent_landmarks(self) -> None:
        rates = VariantRates().enriched(8.0)
        heads = [sample_phantom(np.random.Generator(np.random.Philox(n)), rates=rates) for n in range(12)]
        grid = axis_aligned_grid(np.array([0.0, 14.0, 2.5]), np.ones(3), (400, 400, 400))
        absent = 0
        for head in heads:
            truth = cohort._truth(head.landmarks, head.by_rule, grid, ANATOMY)
            missing = ~np.isfinite(head.landmarks).all(axis=1)
            assert [e.state is LandmarkState.ABSENT for e in truth] == missing.tolist()
            absent += int(missing.sum())
        assert absent > 0


class TestScanGrid:
    """Clinical fields of view."""

    def test_extent_and_spacing_are_clinical_and_the_circle_is_near_the_middle(self) -> None:
        rng = np.random.default_rng(1)
        for _ in range(50):
            centre = rng.uniform(-30, 30, 3)
            grid = scan_grid(rng, centre)
            extent = grid.size * grid.spacing
            assert (extent > (109, 119, 59)).all()
            assert (extent < (161, 171, 111)).all()
            assert 0.4 <= grid.spacing[0] == grid.spacing[1] <= 0.65
            assert 0.5 <= grid.spacing[2] <= 1.0
            assert (np.abs(grid.centre - centre) <= (5.1, 15.1, 8.1)).all()


class TestCaseFolder:
    """What is written can be read by everybody else."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        write_case(case(Modality.CTA), tmp_path / "cohort" / "one")
        return tmp_path / "cohort" / "one"

    def test_its_files_hold_the_case(self, folder: Path) -> None:
        made = case(Modality.CTA)
        assert sorted(p.name for p in folder.iterdir()) == [
            "arteries.nii.gz",
            "case.json",
            "image.nii.gz",
            "landmarks.mrk.json",
        ]
        assert [p.name for p in folder.parent.iterdir()] == ["one"]
        image, labels = read_volume(folder / "image.nii.gz"), read_volume(folder / "arteries.nii.gz")
        for read, written in ((image, made.volume), (labels, made.labels)):
            np.testing.assert_array_equal(read.voxels, written.voxels)
            np.testing.assert_allclose(read.ijk_to_ras, written.ijk_to_ras, atol=1e-4)
        for read_estimate, written_estimate in zip(
            read_annotation(folder / "landmarks.mrk.json", ANATOMY), made.truth, strict=True
        ):
            assert (read_estimate.code, read_estimate.state) == (written_estimate.code, written_estimate.state)
            if written_estimate.position is not None:
                np.testing.assert_allclose(read_estimate.position, written_estimate.position, atol=1e-4)

    def test_its_description_follows_the_contract(self, folder: Path) -> None:
        made = case(Modality.CTA)
        content = json.loads((folder / "case.json").read_text(encoding="utf-8"))
        assert content["schema"] == "cow-case/1"
        assert content["case"] == content["patient"] == made.name
        assert (content["modality"], content["role"], content["reviewed"]) == ("cta", "case", True)
        for key in ("image", "landmarks", "vessel_mask"):
            assert (folder / content[key]).is_file()
        np.testing.assert_allclose(np.array(content["transform"]) @ made.scene.pose, np.eye(4), atol=1e-9)
        assert content["phantom"]["seed"] == 5
        assert content["phantom"]["artery_present"].keys() == {a.code for a in ANATOMY.arteries}

    def test_the_evaluation_reads_it(self, folder: Path) -> None:
        [scan] = read_cohort([folder.parent], ANATOMY).scans
        read = annotated_volume(scan, ANATOMY)
        assert read.traits["population"] == case(Modality.CTA).record["population"]
        assert (read.volume.name, read.volume.modality, read.group) == (case(Modality.CTA).name, Modality.CTA, "cta")

    def test_the_runners_up_are_written_and_read_back_in_scan_ras(self, tmp_path: Path) -> None:
        made, folder = case(Modality.CTA, 4), tmp_path / "cohort" / "one"
        write_case(made, folder)
        written = json.loads((folder / "case.json").read_text(encoding="utf-8"))["phantom"]["alternatives"]
        head = made.scene.phantom
        assert written.keys() == head.alternatives.keys() != set()
        [scan] = read_cohort([folder.parent], ANATOMY).scans
        read = annotated_volume(scan, ANATOMY).alternatives
        for code, many in head.alternatives.items():
            assert [one["reason"] for one in written[code]] == [one.reason for one in many]
            places = apply_affine(made.scene.pose, np.array([one.position for one in many]))
            np.testing.assert_allclose(read[code], places, atol=1e-3)

    def test_a_folder_that_holds_something_is_left_alone(self, folder: Path) -> None:
        before = (folder / "case.json").read_bytes()
        with pytest.raises(OutputError, match="is not empty"):
            write_case(case(Modality.MRA), folder)
        assert (folder / "case.json").read_bytes() == before

    @pytest.mark.parametrize("text", ["", "[]", "7", "{}", '{"modality": "xray"}'])
    def test_a_damaged_description_is_reported(self, folder: Path, text: str) -> None:
        (folder / "case.json").write_text(text, encoding="utf-8")
        [failure] = evaluation_cases(folder.parent, ANATOMY).failed
        assert "case.json" in failure["error"]


class TestCohort:
    """Several cases."""

    def test_splits_never_share_a_case(self) -> None:
        plan = CohortPlan(1, {Modality.MRA: 3, Modality.CTA: 2}, validation=2, test=4)
        planned = list(plan.cases())
        assert len(planned) == len({case[1:] for case in planned}) == 3 + 2 + 2 * 2 + 2 * 4
        for split, count in (("train", 5), ("validation", 4), ("test", 8)):
            assert sum(name == split for name, _, _ in planned) == count

    def test_a_plan_is_written_by_split(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def renamed(seed: int, index: int, modality: Modality, **_: object) -> PhantomCase:
            return replace(case(modality), name=f"{modality.value}-{seed}-{index}")

        monkeypatch.setattr(cohort, "make_case", renamed)
        written: list[str] = []
        count = write_cohort(CohortPlan(4, {Modality.MRA: 1}, test=1), tmp_path, on_case=written.append)
        found = sorted(file.parent.relative_to(tmp_path).as_posix() for file in tmp_path.glob("**/case.json"))
        assert found == ["test/cta-4-200000", "test/mra-4-200000", "train/mra-4-0"]
        assert count == len(written) == 3

    def test_an_empty_plan_is_reported(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match="No case was asked for"):
            write_cohort(CohortPlan(1, {}), tmp_path)
