"""Evaluation: figures by hand, and the whole pipeline with a detector whose errors are known."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from beads import COUNT, bead_model, bead_places, bead_scan, sided_places
from CoWLandmarksLib.core.alignment import ShapeModel
from CoWLandmarksLib.core.atomic_files import write_json
from CoWLandmarksLib.core.detection import LandmarkEstimate, LandmarkState
from CoWLandmarksLib.core.errors import AnnotationError
from CoWLandmarksLib.core.volume import Modality, axis_aligned_grid
from CoWLandmarksLib.detect.detector import Detector
from CoWLandmarksLib.detect.model import Model
from CoWLandmarksLib.files.markups import write_annotation
from CoWLandmarksLib.io.volume_io import write_volume
from CoWLandmarksTrainingLib.__main__ import main
from CoWLandmarksTrainingLib.cohort.reading import read_cohort
from CoWLandmarksTrainingLib.cohort.splits import draw_splits
from CoWLandmarksTrainingLib.evaluate.evaluation import (
    AnnotatedVolume,
    CaseResult,
    confusion_pairs,
    errors_on_runners_up,
    evaluate,
    figures,
    per_landmark,
    presence_figures,
)
from CoWLandmarksTrainingLib.evaluate.evaluation_cases import evaluation_cases
from CoWLandmarksTrainingLib.evaluate.evaluation_report import (
    evaluation_report,
    failures,
    landmark_table,
    markdown_report,
    markdown_table,
    write_report,
)

ANATOMY = bead_model().anatomy
GRID = axis_aligned_grid(np.array([2.0, 17.0, 1.0]), np.array([1.7, 1.9, 2.1]), (44, 46, 52))
NAN = np.nan


def result(errors: list[float], *, states: tuple[str, ...] | None = None, absent: tuple[int, ...] = ()) -> CaseResult:
    """A scan of landmarks 20 mm apart on a line, each off by an error across it; NaN: no true point."""
    n = len(errors)
    places = np.stack([20.0 * np.arange(n), np.zeros(n), np.zeros(n)], axis=1)
    truth = np.where(np.isnan(errors)[:, None], NAN, places)
    found = places + np.stack([np.zeros(n), np.nan_to_num(errors), np.zeros(n)], axis=1)
    missing = np.isin(np.arange(n), absent)
    return CaseResult(
        "scan", "mra", truth, missing, found, found + 1.0, found, np.ones(n), found, np.ones(n),
        states or ("found",) * n, "ok", found,
    )  # fmt: skip


class TestFigures:
    """Figures of merit of some scans."""

    def test_a_cohort_of_two_scans(self) -> None:
        row = figures([result([1.0, 2.0, NAN]), result([3.0, 4.0, 10.0])], "subvoxel")
        assert (row["scans"], row["landmarks"]) == (2, 5)
        assert row["mre_mm"] == pytest.approx(20.0 / 5)
        # scan means 1.5 and 17 / 3
        assert row["sd_mm"] == pytest.approx((17 / 3 - 1.5) / 2)
        assert row["median_mm"] == pytest.approx(3.0)
        assert row["sdr"] == pytest.approx({"2": 0.4, "3": 0.6, "4": 0.8, "5": 0.8, "6": 0.8})
        assert row["confusion"] == 0.0

    def test_a_point_on_its_neighbour_is_a_confusion(self) -> None:
        swapped = result([0.0, 0.0, 0.0])
        swapped = replace(swapped, subvoxel=swapped.truth[[1, 0, 2]])
        assert figures([swapped], "subvoxel")["confusion"] == pytest.approx(2 / 3)

    def test_each_kind_of_position_has_its_own_figures(self) -> None:
        assert figures([result([0.0, 0.0])], "argmax")["mre_mm"] == pytest.approx(np.sqrt(3.0))

    def test_presence_counts_placed_points_where_there_are_some_and_where_there_are_none(self) -> None:
        one = result([1, 1, NAN, NAN], states=("found", "absent", "absent", "uncertain"), absent=(2, 3))
        other = result([1, NAN, 1, 1], states=("uncertain", "outside", "outside", "found"), absent=(1,))
        row = presence_figures([one, other])
        assert row == {
            "present": 5,
            "sensitivity": pytest.approx(3 / 5),
            "absent": 3,
            "specificity": pytest.approx(2 / 3),
        }
        assert presence_figures([result([1.0])])["specificity"] is None

    def test_every_landmark_has_its_own_row(self) -> None:
        first = [2.0, NAN, *[1.0] * (COUNT - 2)]
        second = [4.0, NAN, *[1.0] * (COUNT - 2)]
        table = per_landmark([result(first), result(second)], ANATOMY, "subvoxel")
        assert table[ANATOMY.codes[0]] == {"mre_mm": 3.0, "median_mm": 3.0, "beyond_6mm": 0.0, "n": 2}
        assert ANATOMY.codes[1] not in table
        assert len(table) == COUNT - 1

    def test_errors_on_a_runner_up_are_distinguished_from_those_in_the_void(self) -> None:
        codes = ANATOMY.codes
        one = result([9.0, 9.0, 3.9, 9.0, *[0.0] * (COUNT - 4)])
        near, far = one.subvoxel[0] + (0.0, 0.0, 2.9), one.subvoxel[1] + (0.0, 0.0, 3.1)
        one = replace(one, alternatives={codes[0]: np.array([far, near]), codes[1]: far[None], codes[2]: near[None]})
        table = errors_on_runners_up([one, result([9.0] * COUNT)], ANATOMY, "subvoxel")
        assert table == {
            codes[0]: {"beyond": 1, "on_runner_up": 1},
            codes[1]: {"beyond": 1, "on_runner_up": 0},
            codes[3]: {"beyond": 1, "on_runner_up": 0},
        }

    def test_what_was_confused_with_what_is_counted(self) -> None:
        swapped = result([0.0] * COUNT)
        order = list(range(COUNT))
        order[:2] = [1, 0]
        swapped = replace(swapped, subvoxel=swapped.truth[order])
        codes = ANATOMY.codes
        pairs = confusion_pairs([swapped, swapped, result([9.0] * COUNT)], ANATOMY, "subvoxel")
        assert {(p["landmark"], p["taken_for"], p["count"]) for p in pairs} == {
            (codes[0], codes[1], 2),
            (codes[1], codes[0], 2),
        }
        [listed] = failures([swapped], ANATOMY)
        assert [point["taken_for"] for point in listed["landmarks"]] == [codes[1], codes[0]]

    def test_failures_are_landmarks_over_six_millimetres_the_worst_scan_first(self) -> None:
        errors = [1.0] * COUNT
        one, two = list(errors), list(errors)
        one[4], two[4], two[5] = 6.1, 7.0, 9.0
        listed = failures([result(errors), result(one), result(two)], ANATOMY)
        assert [len(entry["landmarks"]) for entry in listed] == [2, 1]
        assert [point["error_mm"] for point in listed[0]["landmarks"]] == [9.0, 7.0]

    def test_the_table_reads_as_in_the_paper(self) -> None:
        table = markdown_table({"all": figures([result([1.0, 2.0]), result([3.0, 2.5])], "subvoxel")})
        lines = table.splitlines()
        assert lines[2].startswith("| all | 2 | 2.12 (0.62) | 2.25 |")
        assert "| 50.0 | 100.0 | 100.0 | 100.0 | 100.0 | 0.00 % |" in lines[2]
        assert len({line.count("|") for line in lines}) == 1


def truth_of(places: np.ndarray) -> tuple[LandmarkEstimate, ...]:
    return tuple(
        LandmarkEstimate(code, (float(p[0]), float(p[1]), float(p[2])), LandmarkState.FOUND, 1.0, 0.0)
        if np.isfinite(p).all()
        else LandmarkEstimate(code, None, LandmarkState.ABSENT, 1.0, 0.0)
        for code, p in zip(ANATOMY.codes, places, strict=True)
    )


class TestPipeline:
    """Detector and annotated scans."""

    def test_known_errors_of_the_annotation_come_out(self) -> None:
        places = bead_places()
        places[5] = NAN
        annotated = places.copy()
        annotated[2] += (0.0, 3.0, 0.0)
        names: list[str] = []
        results = evaluate(
            Detector(bead_model(), "cpu", mirror=False),
            [AnnotatedVolume(bead_scan(GRID, places), truth_of(annotated), "cta")],
            lambda one: names.append(one.name),
        )
        assert names == ["beads"]
        only = results[0]
        errors = np.linalg.norm(only.subvoxel - annotated, axis=1)
        assert errors[2] == pytest.approx(3.0, abs=0.1)
        assert np.nanmax(np.delete(errors, 2)) < 0.1
        assert only.states[5] == "absent"
        assert only.absent.tolist() == [n == 5 for n in range(COUNT)]
        assert np.isnan(only.placed[5]).all()
        assert figures(results, "subvoxel")["mre_mm"] < figures(results, "argmax")["mre_mm"]
        assert presence_figures(results) == {"present": 18, "sensitivity": 1.0, "absent": 1, "specificity": 1.0}

    def test_landmarks_that_an_annotation_does_not_list_are_not_counted(self) -> None:
        listed = truth_of(bead_places())[::-1][:7]
        case = AnnotatedVolume(bead_scan(GRID, bead_places()), listed, "cta")
        [only] = evaluate(Detector(bead_model(), "cpu", mirror=False), [case])
        assert np.isfinite(only.truth).all(axis=1).tolist() == [False] * 12 + [True] * 7
        assert not only.absent.any()
        assert figures([only], "subvoxel")["landmarks"] == 7
        assert figures([only], "subvoxel")["mre_mm"] < 0.1
        assert presence_figures([only])["present"] == 7

    def test_a_cohort_on_disk_is_reported_by_modality(self, tmp_path: Path) -> None:
        for modality in Modality:
            write_case(tmp_path / "test" / modality.value, modality)
        report = report_of(tmp_path)
        assert report["schema"] == "cow-evaluation/1"
        assert report["model"] == "beads"
        assert {name: row["scans"] for name, row in report["figures"]["subvoxel"].items()} == {
            "all": 2,
            "mra": 1,
            "cta": 1,
        }
        assert report["figures"]["subvoxel"]["all"]["sdr"]["2"] == 1.0
        assert report["verdicts"] == {"ok": 2}
        assert report["failed"] == []
        assert len(report["per_landmark"]) == COUNT
        json.dumps(report, allow_nan=False)

    def test_bad_cases_are_listed_and_do_not_stop_the_others(self, tmp_path: Path) -> None:
        for name in ("a", "b", "c", "d"):
            write_case(tmp_path / name, Modality.CTA)
        (tmp_path / "a" / "image.nii.gz").write_bytes(b"no scan")
        (tmp_path / "b" / "case.json").write_text("{}", encoding="utf-8")
        write_annotation(tmp_path / "d" / "landmarks.mrk.json", [], ANATOMY)
        report = report_of(tmp_path)
        assert report["figures"]["subvoxel"]["all"]["scans"] == 1
        assert [failure["case"] for failure in report["failed"]] == ["a", "b", "d"]
        assert "image.nii.gz" in report["failed"][0]["error"]
        assert "no landmark is placed" in report["failed"][2]["error"]

    def test_cases_that_check_calls_unusable_are_listed_and_not_counted(self, tmp_path: Path) -> None:
        places, codes = sided_places(), list(ANATOMY.codes)
        write_case(tmp_path / "a-good", Modality.CTA)
        swapped = places.copy()
        pair = [codes.index("R-ICA-T"), codes.index("L-ICA-T")]
        swapped[pair] = swapped[pair[::-1]]
        write_case(tmp_path / "b-swapped", Modality.CTA, swapped)
        write_case(tmp_path / "c-mirrored", Modality.CTA, places[list(ANATOMY.mirror_permutation)])
        few = places.copy()
        few[3:] = NAN
        write_case(tmp_path / "d-few", Modality.CTA, few)
        outside = places.copy()
        outside[2, 2] += 200.0
        write_case(tmp_path / "e-outside", Modality.CTA, outside)
        shutil.copytree(tmp_path / "a-good", tmp_path / "f-again")
        case = json.loads((tmp_path / "f-again" / "case.json").read_text(encoding="utf-8"))
        write_json(tmp_path / "f-again" / "case.json", {**case, "case": "f-again"})
        report = report_of(tmp_path)
        assert report["figures"]["subvoxel"]["all"]["scans"] == 1
        reasons = {failure["case"]: failure["error"] for failure in report["failed"]}
        assert reasons.keys() == {"b-swapped", "c-mirrored", "d-few", "e-outside", "f-again"}
        assert "lies to the left of its counterpart" in reasons["b-swapped"]
        assert "exchanged in the whole case" in reasons["c-mirrored"]
        assert "only 3 landmarks are placed" in reasons["d-few"]
        assert "mm outside the scan" in reasons["e-outside"]
        assert "same landmarks as 'a-good'" in reasons["f-again"]

    def test_only_the_wanted_split_is_evaluated(self, tmp_path: Path) -> None:
        for split in ("train", "test"):
            write_case(tmp_path / split / f"case-{split}", Modality.CTA)
        cases = evaluation_cases(tmp_path, ANATOMY, "test")
        assert [scan.name for scan in cases.scans] == ["case-test"]
        with pytest.raises(AnnotationError, match="is in the split 'validation'"):
            evaluation_cases(tmp_path, ANATOMY, "validation")

    def test_a_test_split_that_was_changed_is_refused(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            write_case(tmp_path / name, Modality.CTA)
        draw_splits(read_cohort([tmp_path], ANATOMY).scans, 1, 0.0, 0.4).write(tmp_path / "splits.json")
        content = json.loads((tmp_path / "splits.json").read_text(encoding="utf-8"))
        content["patients"] = {"train": ["b"], "validation": [], "test": ["a"]}
        write_json(tmp_path / "splits.json", content)
        assert [scan.name for scan in evaluation_cases(tmp_path, ANATOMY, "train").scans] == ["b"]
        with pytest.raises(AnnotationError, match="seal is broken"):
            evaluation_cases(tmp_path, ANATOMY, "test")

    def test_the_report_has_tables_a_figure_and_pictures_of_failures(self, tmp_path: Path) -> None:
        write_case(tmp_path / "cohort" / "good", Modality.CTA)
        moved = sided_places()
        moved[5] += np.array([0.0, 7.0, 0.0])
        write_case(tmp_path / "cohort" / "moved", Modality.CTA, moved)
        out = tmp_path / "report"
        report = report_of(tmp_path / "cohort", pictures=out / "failures")
        write_report(report, out, ANATOMY)
        assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()) == [
            "evaluation.json",
            "evaluation.md",
            "failures/moved.png",
            "per_landmark.csv",
            "per_landmark.png",
            "reliability.png",
        ]
        [failure] = report["failures"]
        assert failure["case"] == "moved"
        assert failure["landmarks"][0]["landmark"] == ANATOMY.codes[5]
        assert failure["landmarks"][0]["error_mm"] == pytest.approx(7.0, abs=0.1)
        low, high = report["figures"]["subvoxel"]["all"]["interval"]["mre_mm"]
        assert low < report["figures"]["subvoxel"]["all"]["mre_mm"] < high
        text = markdown_report(report)
        assert f"- moved (ok): {ANATOMY.codes[5]} 7.0 mm" in text
        rows = landmark_table(report).splitlines()
        assert len(rows) == COUNT + 1
        assert rows[6].split(",")[0] == ANATOMY.codes[5]
        assert float(rows[6].split(",")[1]) == pytest.approx(3.5, abs=0.1)

    @pytest.mark.slow
    def test_a_model_that_was_trained_with_other_splits_is_reported(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name in ("a", "b", "c"):
            write_case(tmp_path / name, Modality.CTA)
        splits = draw_splits(read_cohort([tmp_path], ANATOMY).scans, 1, 0.0, 0.4)
        splits.write(tmp_path / "splits.json")
        arguments = ["evaluate", "m.cow.pt", str(tmp_path), "--device", "cpu", "--split", "test"]
        for seal, warned in ((splits.seal, False), ("of another cohort", True)):
            model = replace(sided_model(), provenance={"test_seal": seal})
            monkeypatch.setattr("CoWLandmarksLib.detect.model.load_model", lambda _, model=model: model)
            assert main(arguments) == 0
            assert ("trained with other splits" in capsys.readouterr().err) is warned

    @pytest.mark.parametrize(("bad", "code"), [((), 0), (("a",), 2), (("a", "b"), 1)])
    def test_the_command_tells_by_its_exit_code_whether_cases_failed(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        bad: tuple[str, ...],
        code: int,
    ) -> None:
        monkeypatch.setattr("CoWLandmarksLib.detect.model.load_model", lambda path: sided_model())
        for name in ("a", "b"):
            write_case(tmp_path / "cohort" / name, Modality.CTA)
        for name in bad:
            (tmp_path / "cohort" / name / "image.nii.gz").unlink()
        arguments = [
            "evaluate",
            "m.cow.pt",
            str(tmp_path / "cohort"),
            "--device",
            "cpu",
            "--out",
            str(tmp_path / "r.json"),
        ]
        assert main(arguments) == code
        written = capsys.readouterr()
        assert [line.split()[1] for line in written.err.splitlines()] == [f"{name}:" for name in bad]
        report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
        assert [failure["case"] for failure in report["failed"]] == list(bad)
        assert ("| all |" in written.out) == (code != 1)


class TestComparing:
    """Two reports on the same scans, as `compare` pairs them."""

    def reports(self, tmp_path: Path) -> None:
        """Two scans, one without a landmark; the second model is 1 mm and 3 mm better than the first."""
        old = {"a": [4.0] * COUNT, "b": [None, *[5.0] * (COUNT - 1)]}
        new = {"b": [None, *[2.0] * (COUNT - 1)], "a": [3.0] * COUNT, "c": [90.0] * COUNT}
        for name, errors in (("old", old), ("new", new)):
            write_json(tmp_path / name / "evaluation.json", {"schema": "cow-evaluation/1", "errors_mm": errors})

    def test_a_report_holds_the_errors_of_every_scan(self, tmp_path: Path) -> None:
        write_case(tmp_path / "cohort" / "whole", Modality.CTA)
        lacking = sided_places()
        lacking[4] = NAN
        write_case(tmp_path / "cohort" / "lacking", Modality.CTA, lacking)
        report = report_of(tmp_path / "cohort")
        write_report(report, tmp_path / "out", ANATOMY)
        errors = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))["errors_mm"]
        assert errors.keys() == {"whole", "lacking"}
        assert [error is None for error in errors["lacking"]] == [n == 4 for n in range(COUNT)]
        known = [error for scan in errors.values() for error in scan if error is not None]
        assert np.mean(known) == pytest.approx(report["figures"]["subvoxel"]["all"]["mre_mm"], abs=1e-3)

    def test_scans_of_both_reports_are_paired_by_their_names(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.reports(tmp_path)
        assert main(["compare", str(tmp_path / "old"), str(tmp_path / "new")]) == 0
        output = capsys.readouterr().out
        old, new = (4.0 * COUNT + 5.0 * (COUNT - 1)) / 37, (3.0 * COUNT + 2.0 * (COUNT - 1)) / 37
        assert "On 2 scans" in output
        assert f"{new:.2f} mm" in output and f"{old:.2f} mm" in output and f"difference {new - old:+.2f} mm" in output
        assert "interval -3.00 to -1.00" in output
        assert "WARNING: so few scans do not show that it is better" in output
        assert main(["compare", str(tmp_path / "new" / "evaluation.json"), str(tmp_path / "old")]) == 0
        assert "WARNING: the new model is not better" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("wrong", "sentence"),
        [
            ("missing", "is no report with errors by scan"),
            ("damaged", "is no report with errors by scan"),
            ("of before", "is no report with errors by scan"),
            ("other scans", "have no scan in common"),
            ("other landmarks", "have other landmarks"),
        ],
    )
    def test_reports_that_cannot_be_compared_are_one_sentence(
        self, tmp_path: Path, wrong: str, sentence: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.reports(tmp_path)
        path = tmp_path / "new" / "evaluation.json"
        if wrong == "missing":
            path.unlink()
        elif wrong == "damaged":
            path.write_text("{", encoding="utf-8")
        elif wrong == "of before":
            write_json(path, {"schema": "cow-evaluation/1"})
        else:
            scans = {"z": [1.0] * COUNT} if wrong == "other scans" else {"a": [1.0] * 7, "b": [1.0] * 7}
            write_json(path, {"errors_mm": scans})
        assert main(["compare", str(tmp_path / "old"), str(tmp_path / "new")]) == 1
        [error] = capsys.readouterr().err.splitlines()
        assert sentence in error


def sided_model() -> Model:
    """A bead model whose mean shape is `sided_places`."""
    return replace(bead_model(), shape=ShapeModel(sided_places(), 4.0 * np.eye(3 * COUNT)))


def report_of(cohort: Path, **options: Any) -> dict[str, Any]:
    """The report on a cohort of beads."""
    cases = evaluation_cases(cohort, ANATOMY, options.pop("split", None))
    return evaluation_report(Detector(sided_model(), "cpu", mirror=False), cases, cohort.name, **options)


def write_case(folder: Path, modality: Modality, annotated: np.ndarray | None = None) -> None:
    """A case folder with a scan of beads and its landmarks, or those `annotated` (19, 3); all are shifted by less than
    1 mm that depends on the name, for no two scans have the same landmarks."""
    folder.mkdir(parents=True)
    shift = 0.02 * (sum(folder.name.encode()) % 50)
    write_volume(bead_scan(GRID, sided_places() + shift, modality=modality), folder / "image.nii.gz")
    places = sided_places() if annotated is None else annotated
    write_annotation(folder / "landmarks.mrk.json", truth_of(places + shift), ANATOMY)
    names = {"image": "image.nii.gz", "landmarks": "landmarks.mrk.json"}
    write_json(folder / "case.json", {"case": folder.name, "modality": modality.value, **names})
