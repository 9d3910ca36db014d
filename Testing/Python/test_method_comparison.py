"""The comparison of the paper's Table 1: rows, results and tables, and a whole one at a size for tests."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.errors import AnnotationError, ConfigurationError, StoppedError
from CoWLandmarksLib.core.intensity import DEFAULT_INTENSITY_RULES
from CoWLandmarksLib.core.volume import Modality
from CoWLandmarksLib.networks.heatmap_peaks import HeatmapPeaks
from CoWLandmarksTrainingLib.config.presets import PRESETS
from CoWLandmarksTrainingLib.experiments.comparison_cohort import (
    FORWARD,
    REVERSE,
    SPECIFICATIONS,
    cohort_at_scale,
    read_or_write,
    registered_pose,
)
from CoWLandmarksTrainingLib.experiments.comparison_rows import BASELINE, CONTROL, CURES, ROWS, chosen_rows
from CoWLandmarksTrainingLib.experiments.comparison_scale import SCALES, ComparisonScale
from CoWLandmarksTrainingLib.experiments.layout_decoding import WEIGHTS, best_of_peaks, fitted_decoder
from CoWLandmarksTrainingLib.experiments.method_comparison import MethodComparison
from CoWLandmarksTrainingLib.experiments.row_result import RowResult, measured
from CoWLandmarksTrainingLib.experiments.screening import Screening
from CoWLandmarksTrainingLib.experiments.smoke_run import StepTimes, few_cases
from CoWLandmarksTrainingLib.phantom.geometry import sample_phantom
from CoWLandmarksTrainingLib.records.aligned_folder import AlignedCase, AlignedCohort
from CoWLandmarksTrainingLib.train.aligned_source import usable
from CoWLandmarksTrainingLib.train.phantom_data import phantom_frame
from row_results import row_result

CPU = torch.device("cpu")
SMALL = SCALES["small"]
TINY = ComparisonScale(
    "tiny",
    (16, 28, 32),
    6,
    replace(
        SMALL.plan,
        fine=replace(SMALL.plan.fine, steps=4, base_width=4, levels=2, warm_up_steps=1),
        training=replace(SMALL.plan.training, validate_every=0, log_seconds=0.0),
    ),
    3,
    3e-4,
    (0.1, 0.2),
)
FEW = replace(FORWARD, train=4, validation=1, test=2, unlabelled=1, sets=4)


class TestRows:
    """What is trained on what."""

    def test_rows_that_others_begin_from_come_first_and_exist(self) -> None:
        names = list(ROWS)
        for row in ROWS.values():
            if row.begins_from:
                assert names.index(row.begins_from) < names.index(row.name)

    def test_a_row_brings_those_that_it_begins_from(self) -> None:
        assert [row.name for row in chosen_rows(["tan-50"])] == ["baseline-50", "tan-50"]
        with pytest.raises(ConfigurationError, match="no row 'unet'"):
            chosen_rows(["unet"])

    def test_every_row_that_goes_on_takes_as_many_steps(self) -> None:
        for scale in SCALES.values():
            trained = [row for row in ROWS.values() if not row.layouts and not row.small_steps]
            assert {row.steps(scale) for row in trained if row.begins_from} == {(0, scale.phase_2_steps)}
            assert {row.steps(scale) for row in ROWS.values() if row.layouts} == {(0, 0)}
            for row in trained:
                plan = row.plan(scale, "mra", 1)
                phase_2 = scale.phase_2_steps if row.begins_from else 0
                assert plan.fine.all_steps == scale.plan.fine.steps + phase_2
                assert bool(plan.fine.adversarial_steps) == (row.sets is not None)

    def test_the_methods_of_others_have_their_own_widths_and_rates_and_our_steps(self) -> None:
        for method in ("payer", "noothout"):
            fine, own = ROWS[method].plan(SMALL, "mra", 1).fine, PRESETS[method].fine
            assert (fine.method, fine.base_width, fine.learning_rate) == (method, own.base_width, own.learning_rate)
            assert (fine.steps, fine.batch_size) == (ROWS[method].steps(SMALL)[0], SMALL.plan.fine.batch_size)
        assert ROWS["payer"].steps(SMALL) == (1500, 0)
        assert ROWS["payer"].steps(SCALES["paper"]) == (SCALES["paper"].plan.fine.steps, 0)

    def test_the_discriminator_learns_from_the_sets_that_the_row_names(self) -> None:
        assert ROWS["d-mra"].plan(SMALL, "mra", 1).data.real_modalities == (Modality.MRA,)
        assert ROWS["d-mra-cta"].plan(SMALL, "mra", 1).data.real_modalities == (Modality.MRA, Modality.CTA)
        assert ROWS["d-mra-cta-places"].plan(SMALL, "cta", 1).data.prior == "mra"
        assert ROWS["d-mra"].plan(SMALL, "mra", 1).discriminator.extra_channels == 0
        assert ROWS["d-mra-places"].plan(SMALL, "mra", 1).discriminator.extra_channels == 4


class TestResults:
    """Figures and tables by hand."""

    def test_figures_are_those_of_the_errors(self) -> None:
        figures = row_result(BASELINE, 1, [[1.0, 3.0], [8.0, np.nan]]).figures("subvoxel")
        assert figures["mre_mm"] == pytest.approx(4.0)
        assert figures["sd_mm"] == pytest.approx(3.0)
        assert figures["median_mm"] == pytest.approx(3.0)
        assert figures["beyond_6mm"] == pytest.approx(1 / 3)
        assert figures["confusion"] == pytest.approx(1 / 3)
        assert figures["sdr"] == {"2": pytest.approx(1 / 3), **dict.fromkeys("3456", pytest.approx(2 / 3))}

    def test_a_result_is_read_as_it_was_written(self, tmp_path: Path) -> None:
        places = np.arange(12.0).reshape(2, 2, 3)
        one = replace(row_result(BASELINE, 2, [[1.25, np.nan], [0.5, 7.0]]), found=places + 0.1, truth=places)
        one.write(tmp_path / "one.json")
        again = RowResult.read(tmp_path / "one.json")
        assert again.cases == one.cases
        assert again.seed == 2
        np.testing.assert_array_equal(again.errors["subvoxel"], one.errors["subvoxel"])
        np.testing.assert_array_equal(again.found, one.found)
        np.testing.assert_array_equal(again.truth, one.truth)
        (tmp_path / "one.json").write_text("{}")
        with pytest.raises(AnnotationError, match="no result of a row"):
            RowResult.read(tmp_path / "one.json")

    def test_confusions_and_errors_of_points(self) -> None:
        truth = np.array([[0.0, 0, 0], [10.0, 0, 0], [np.nan] * 3])
        found = np.array([[9.0, 0, 0], [10.0, 0, 1], [5.0, 5, 5]])
        errors, confused = measured({"subvoxel": [found]}, [truth])
        np.testing.assert_allclose(errors["subvoxel"], [[9.0, 1.0, np.nan]])
        assert confused == {"subvoxel": 1}


class TestLayouts:
    """Peaks chosen together."""

    @staticmethod
    def sets() -> list[AlignedCase]:
        """Heads of three landmarks in a row, 10 mm apart, shifted as a whole."""
        rng = np.random.default_rng(3)
        row = np.array([[0.0, 0, 0], [10.0, 0, 0], [20.0, 0, 0]])
        return [
            AlignedCase(
                f"set-{n}", "", Modality.CTA, "train", row + rng.normal(0, 1, 3), np.ones(3, np.int8), np.eye(4), 0.0
            )
            for n in range(40)
        ]

    def test_a_peak_out_of_the_row_gives_way_and_is_no_label(self) -> None:
        positions = np.full((3, 2, 3), np.nan)
        positions[:, 0] = [[0, 0, 0], [10, 0, 0], [60, 0, 0]]
        heights = np.array([[0.9, 0.0], [0.9, 0.0], [0.9, 0.0]])
        only_wrong = HeatmapPeaks(positions.copy(), heights.copy())
        positions[2, 1], heights[2, 1] = (20, 0, 0), 0.4
        both = HeatmapPeaks(positions, heights)
        truth = np.array([[0.0, 0, 0], [10.0, 0, 0], [20.0, 0, 0]])
        decoder = fitted_decoder(self.sets(), [both], [truth])
        np.testing.assert_allclose(decoder.chosen(both).positions, truth)
        assert decoder.record["sets"] == 40
        assert decoder.weight == min(WEIGHTS, key=lambda w: decoder.record["validation_mre_mm"][f"{w:g}"])
        np.testing.assert_allclose(decoder.chosen(only_wrong).positions[2], [20, 0, 0], atol=1.5)
        assert np.isnan(decoder.labels(only_wrong)[2]).all()
        np.testing.assert_allclose(decoder.labels(only_wrong)[:2], truth[:2])
        assert best_of_peaks([only_wrong], [truth]) == {
            "mre_mm": pytest.approx(40 / 3),
            "beyond_6mm": pytest.approx(1 / 3),
        }
        assert best_of_peaks([both], [truth]) == {"mre_mm": 0.0, "beyond_6mm": 0.0}


class TestCohort:
    """The populations and poses."""

    def test_the_two_cohorts_are_fixed_and_differ(self) -> None:
        assert [each.name for each in SPECIFICATIONS] == ["forward", "reverse"]
        assert FORWARD.seed != REVERSE.seed
        assert (FORWARD.train, FORWARD.validation, FORWARD.test) == (70, 16, 64)
        assert FORWARD.sets_modality is Modality.CTA
        assert REVERSE.sets_modality is Modality.MRA

    def test_a_registration_errs_by_degrees_and_millimetres(self) -> None:
        turns, sizes = [], []
        for seed in range(60):
            rng = np.random.Generator(np.random.Philox(seed))
            phantom = sample_phantom(rng, version=4)
            matrix = registered_pose(phantom, rng)[:3, :3]
            size = np.cbrt(np.linalg.det(matrix))
            sizes.append(size)
            turns.append(np.degrees(np.arccos(np.clip((np.trace(matrix / size) - 1.0) / 2.0, -1.0, 1.0))))
        assert 4.0 < np.mean(turns) < 12.0
        assert 0.03 < np.std(sizes) < 0.12


class TestOwnCohort:
    """A cohort that `align` has made, at another scale."""

    @staticmethod
    def aligned(folder: Path) -> Path:
        """Two scans, one of them to test, and a landmark set."""
        frame = phantom_frame()
        cases = []
        for name, split, imaged in (("a", "train", True), ("b", "test", True), ("c", "train", False)):
            own = folder / name if imaged else None
            if own is not None:
                own.mkdir(parents=True)
                np.save(own / "crop.npy", np.ones(frame.grid.shape, np.float16))
            status = np.ones(19, np.int8)
            cases.append(
                AlignedCase(name, name, Modality.MRA, split, frame.mean_landmarks, status, np.eye(4), 0.0, folder=own)
            )
        AlignedCohort(default_anatomy(), frame, DEFAULT_INTENSITY_RULES, tuple(cases)).write(folder)
        return folder

    def test_it_is_resampled_once(self, tmp_path: Path) -> None:
        aligned, out = self.aligned(tmp_path / "aligned"), tmp_path / "out"
        first = cohort_at_scale(aligned, TINY, out)
        assert first.cases("test")[0].crop().shape == TINY.shape
        before = {path: path.stat().st_mtime_ns for path in out.rglob("*.*")}
        again = cohort_at_scale(aligned, TINY, out)
        assert {path: path.stat().st_mtime_ns for path in out.rglob("*.*")} == before
        assert [case.name for case in again.all_cases] == ["a", "b", "c"]
        np.testing.assert_allclose(again.frame.grid.spacing, first.frame.grid.spacing)
        with pytest.raises(AnnotationError, match="another scale"):
            cohort_at_scale(aligned, SMALL, out)
        np.save(aligned / "a" / "crop.npy", np.zeros((96, 160, 192), np.float16))
        with pytest.raises(AnnotationError, match="was made from another cohort"):
            cohort_at_scale(aligned, TINY, out)

    def test_a_smoke_run_takes_a_few_cases_of_every_kind(self, tmp_path: Path) -> None:
        cohort = AlignedCohort.read(self.aligned(tmp_path / "aligned"))
        scan, test, alone = cohort.all_cases
        unknown = replace(scan, name="u", status=np.full(19, -1, np.int8))
        many = (*[replace(scan, name=f"a{n}") for n in range(15)], *[unknown] * 5, *[test] * 5, *[alone] * 20)
        few = few_cases(replace(cohort, all_cases=many)).all_cases
        assert [case.name for case in few] == [*(f"a{n}" for n in range(10)), *"bb", *"uu", *"cccccccc"]


class TestSmokeRun:
    """A few steps of everything."""

    def test_every_row_has_a_few_steps_and_one_seed_in_a_folder_of_its_own(self, tmp_path: Path) -> None:
        rows = chosen_rows(["payer", "d-mra", "layouts"])
        comparison = MethodComparison(SMALL, rows, tmp_path, 3, smoke=True)
        assert {seed for _, _, seed in comparison.jobs} == {1}
        assert {row.steps(comparison.run_scale) for row in rows} == {(3, 0), (0, 3), (0, 0)}
        assert comparison.run_scale.shape == SMALL.shape
        assert comparison.run_specifications[0].train == 10
        text = comparison.dry_run()
        assert "SMOKE RUN" in text
        assert "minutes" in text
        assert str(tmp_path / "smoke") in text.replace("\n", "")

    def test_hours_are_those_of_the_last_steps(self) -> None:
        times = StepTimes()
        for step, seconds in ((1, 30.0), (2, 31.0), (3, 33.0)):
            times.take("forward-baseline", {"step": step, "seconds": seconds, "loss": 1.0})
        times.take("forward-baseline", {"step": 3, "validation": {}})
        rows = [("forward-baseline", ROWS[BASELINE]), ("forward-payer", ROWS["payer"])]
        assert times.hours(rows, SMALL) == pytest.approx(4200 * 2.0 / 3600.0)


@pytest.mark.slow
def test_a_whole_comparison_is_stopped_resumed_and_gives_the_table_of_an_uninterrupted_one(tmp_path: Path) -> None:
    names = [CONTROL, "d-mra-cta-places", "layouts", "labels-peaks", "energy"]
    rows = chosen_rows(names)
    comparison = MethodComparison(TINY, rows, tmp_path / "one", 1, (FEW,))
    assert "baseline-longer" in comparison.dry_run()
    said: list[str] = []
    steps: list[int] = []

    def stop_in_the_middle() -> bool:
        return len(steps) >= 6

    def count(entry: dict[str, object]) -> None:
        if "loss" in entry:
            steps.append(1)

    with pytest.raises(StoppedError):
        comparison.run(CPU, count, said.append, stop_in_the_middle)
    results = comparison.run(CPU, lambda entry: None, said.append)
    assert [r.row for r in results] == [
        "baseline",
        "baseline-longer",
        "d-mra-cta-places",
        "layouts",
        "labels-peaks",
        "energy",
    ]
    assert results[4].training["scans"] == 5, "four with annotation, and one that was given labels"
    assert results[3].training["layouts"]["sets"] == 8
    assert "argmax" not in results[3].errors
    assert results[0].errors["subvoxel"].shape == (2, 19)
    assert "discriminator" in results[2].training
    assert results[2].training["step"] == 7
    for name in ("subvoxel.md", "argmax.csv", "subvoxel.tex", "landmarks.png", "cases.png"):
        assert (tmp_path / "one" / f"forward-{name}").stat().st_size > 100
    assert "(done)" in comparison.dry_run()

    cohort = read_or_write(FEW, TINY, tmp_path / "one" / "cohort-forward")
    assert len(usable(cohort.cases("train", has_image=True))) == 4
    assert len(cohort.cases("train", has_image=True)) == 5, "one without annotation"
    assert len(cohort.cases("train", Modality.CTA, has_image=False)) == 4
    with pytest.raises(AnnotationError, match="another cohort"):
        read_or_write(replace(FEW, seed=1), TINY, tmp_path / "one" / "cohort-forward")

    (tmp_path / "two").mkdir()
    (tmp_path / "one" / "cohort-forward").rename(tmp_path / "two" / "cohort-forward")
    again = replace(comparison, out=tmp_path / "two").run(CPU, lambda entry: None, said.append)
    for before, after in zip(results, again, strict=True):
        np.testing.assert_array_equal(before.errors["subvoxel"], after.errors["subvoxel"])
    cures = tuple(cure for cure in CURES if cure.name in ("displacements-corrupted", "energy-0.0001"))
    screening = Screening(TINY, tmp_path / "two", "forward", cures)
    cohort = read_or_write(FEW, TINY, tmp_path / "two" / "cohort-forward")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("CoWLandmarksTrainingLib.experiments.screening.SCREENING_STEPS", 2)
        screened = screening.run(cohort, CPU, lambda entry: None, said.append)
    assert [(r.row, len(r.cases)) for r in screened] == [("energy-0.0001", 1), ("displacements-corrupted", 1)]
    assert screened[1].training["discriminator"]["held_out_accuracy"] is not None
    assert "(a, c, d)" in (tmp_path / "two" / "screening.md").read_text(encoding="utf-8")

    content = json.loads((tmp_path / "two" / "results" / "forward-baseline-seed-1.json").read_text())
    assert content["figures"]["argmax"]["scans"] == 2
