"""Tables and figures of the comparison from results that are given: intervals, tests, curves, cases, the document."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from CoWLandmarksLib.core.errors import AnnotationError, ConfigurationError
from CoWLandmarksTrainingLib.__main__ import main
from CoWLandmarksTrainingLib.experiments.comparison_cohort import FORWARD, arteries_of_case
from CoWLandmarksTrainingLib.experiments.comparison_report import cases_at, renew_document
from CoWLandmarksTrainingLib.experiments.comparison_rows import BASELINE, CONTROL
from CoWLandmarksTrainingLib.experiments.data_curve import data_curves, data_table
from CoWLandmarksTrainingLib.experiments.row_statistics import differences, estimates, holm, signed_rank_p
from CoWLandmarksTrainingLib.experiments.row_table import comma_separated, latex, markdown, table_lines
from row_results import row_result

NAN = np.nan


class TestStatistics:
    """By hand."""

    def test_scans_are_drawn_with_the_points_of_all_seeds(self) -> None:
        # scan means over both seeds: 2 and 6, so that a drawn pair has a mean of 2, 4 or 6
        found = estimates([row_result("d-mra", 1, [[1.0], [7.0]]), row_result("d-mra", 2, [[3.0], [5.0]])], "subvoxel")
        assert found["mre_mm"].value == pytest.approx(4.0)
        assert found["mre_mm"].interval == (2.0, 6.0)
        # beyond 6 mm: no point of the first scan, one of two of the second
        assert found["beyond_6mm"].value == pytest.approx(0.25)
        assert found["beyond_6mm"].interval == (0.0, 0.5)

    def test_seeds_are_kept_in_pairs_and_those_without_a_partner_left_out(self) -> None:
        own = [
            row_result("d-mra", 2, [[2.0], [2.0]]),
            row_result("d-mra", 1, [[9.0], [1.0]]),
            row_result("d-mra", 3, [[0.0], [0.0]]),
        ]
        control = [row_result(CONTROL, 1, [[5.0], [1.0]]), row_result(CONTROL, 2, [[4.0], [4.0]])]
        found = differences(own, control, "subvoxel")
        # scan by scan: (4 - 2) / 2 = 1 and (0 - 2) / 2 = -1
        assert found["mre_mm"].value == pytest.approx(0.0)
        assert found["mre_mm"].interval == (-1.0, 1.0)
        assert found["beyond_6mm"].value == pytest.approx(0.25)
        assert differences(own, [row_result(CONTROL, 4, [[1.0], [1.0]])], "subvoxel") == {}

    def test_a_point_that_one_lacks_does_not_count(self) -> None:
        found = differences([row_result("d-mra", 1, [[1.0, NAN]])], [row_result(CONTROL, 1, [[2.0, 9.0]])], "subvoxel")
        assert found["mre_mm"].value == pytest.approx(-1.0)
        assert found["mre_mm"].interval is None

    def test_other_test_scans_are_not_compared(self) -> None:
        other = replace(row_result(CONTROL, 1, [[1.0]]), cases=("another",))
        with pytest.raises(AnnotationError, match="different test scans"):
            differences([row_result("d-mra", 1, [[1.0]])], [other], "subvoxel")
        with pytest.raises(AnnotationError, match="different test scans"):
            estimates([other, row_result(CONTROL, 2, [[1.0]])], "subvoxel")

    def test_five_differences_of_one_sign_have_the_p_of_two_in_thirty_two(self) -> None:
        assert signed_rank_p(np.array([1.0, 2.0, 3.0, 4.0, 5.0])) == pytest.approx(2 / 32)
        assert signed_rank_p(np.array([1.0, 0.0, 2.0, 3.0, 4.0, 5.0])) == pytest.approx(2 / 32)
        assert signed_rank_p(np.zeros(4)) == 1.0

    def test_p_is_corrected_step_by_step(self) -> None:
        # sorted: 0.01 x 4, 0.02 x 3, 0.03 x 2 (not below the one before), 0.8 x 1
        assert holm([0.03, 0.01, 0.8, 0.02]) == pytest.approx([0.06, 0.04, 0.8, 0.06])
        assert holm([0.6, 0.5]) == [1.0, 1.0]
        assert holm([]) == []


class TestTables:
    """What stands in them."""

    RESULTS = (
        row_result(CONTROL, 1, [[2.0, 2.0], [4.0, 4.0]]),
        row_result("d-mra", 1, [[1.0, 1.0], [4.0, 7.0]]),
        row_result("d-mra", 2, [[0.0, 0.0], [0.0, 0.0]]),
    )

    def test_a_row_is_compared_with_the_control_of_the_same_seeds(self) -> None:
        control, adversarial = table_lines(self.RESULTS, "subvoxel")
        assert control.differences == {}
        assert adversarial.seeds == (1, 2)
        assert adversarial.figures["mre_mm"] == pytest.approx(13 / 8)
        assert adversarial.differences["mre_mm"].value == pytest.approx((-1 - 1 + 0 + 3) / 4)
        assert adversarial.differences["mre_mm"].p_holm == adversarial.differences["mre_mm"].p

    def test_the_table_of_the_paper_stands_first_and_what_is_sure_second(self) -> None:
        first, caption, second = markdown(table_lines(self.RESULTS, "subvoxel")).split("\n\n")
        assert (
            first.splitlines()[3] == "| D-MRA | 2 | 1.62 (1.12) | 75.0 | 75.0 | 87.5 | 87.5 | 87.5 | 12.5 % | 25.0 % |"
        )
        assert "Wilcoxon" in caption
        cells = second.splitlines()[3].strip("| ").split(" | ")
        assert cells[1:3] == ["1.62 (0.50 to 2.75)", "12.5 % (0.0 to 25.0)"]
        assert cells[3:] == ["+0.25 (-1.00 to +1.50)", "1.00", "+25.0 % (+0.0 to +50.0)", "1.00"]

    def test_all_figures_are_in_the_csv_file_and_latex_escapes_what_it_must(self) -> None:
        lines = table_lines(self.RESULTS, "argmax")
        rows = list(csv.DictReader(io.StringIO(comma_separated(lines))))
        assert [row["seeds"] for row in rows] == ["1", "1 2"]
        assert float(rows[1]["mre_mm"]) == pytest.approx(13 / 8 + 1, rel=1e-5)
        assert float(rows[1]["mre_mm_difference"]) == pytest.approx(0.25)
        assert float(rows[1]["beyond_6mm_high_of_difference"]) == pytest.approx(0.5)
        assert rows[0]["mre_mm_p"] == ""
        text = latex(lines)
        assert text.count(r"\begin{tabular}") == 2
        assert text.count(r"\\") == 6
        assert not any("%" in line.replace(r"\%", "") for line in text.splitlines() if line.endswith(r"\\"))


def test_the_curve_of_the_training_data_takes_the_seeds_that_all_its_rows_have() -> None:
    results = [
        row_result(BASELINE, 1, [[2.0], [2.0]]),
        row_result(BASELINE, 2, [[9.0], [9.0]]),
        row_result("baseline-75", 1, [[3.0], [3.0]]),
        row_result("baseline-50", 1, [[4.0], [8.0]]),
        row_result("tan-50", 1, [[1.0], [1.0]]),
    ]
    curves = data_curves(results, "subvoxel")
    [baseline] = curves["MRE, mm"].values()
    assert [(point.at, point.value) for point in baseline] == [(50.0, 6.0), (75.0, 3.0), (100.0, 2.0)]
    assert baseline[0].interval == (4.0, 8.0)
    assert data_table(curves).splitlines()[2:] == [
        "| 100 % | 2.00 (2.00 to 2.00) | 0.00 (0.00 to 0.00) |",
        "| 75 % | 3.00 (3.00 to 3.00) | 0.00 (0.00 to 0.00) |",
        "| 50 % | 6.00 (4.00 to 8.00) | 50.00 (0.00 to 100.00) |",
    ]
    assert data_curves(results[:2], "subvoxel") == {}


def test_the_cases_shown_are_at_percentiles_of_the_mean_error() -> None:
    means = [5.0, 1.0, 9.0, 3.0, 7.0, 2.0, 10.0, 4.0, 8.0, 6.0]
    assert [means[n] for n in cases_at((10, 50, 90), row_result(CONTROL, 1, [[m] for m in means]))] == [1.0, 5.0, 9.0]


def test_tables_are_renewed_in_a_document_and_what_stands_around_them_stays(tmp_path: Path) -> None:
    document = tmp_path / "text.md"
    document.write_text("# A\n<!-- begin one -->\nold\n<!-- end one -->\nB\n", encoding="utf-8")
    renew_document(document, {"one": "| new \\1 |\n", "two": "not asked for"})
    assert document.read_text() == "# A\n<!-- begin one -->\n\n| new \\1 |\n\n<!-- end one -->\nB\n"
    with pytest.raises(ConfigurationError, match="has no place for a table"):
        renew_document(document, {"two": "x"})
    with pytest.raises(ConfigurationError, match="cannot be read"):
        renew_document(tmp_path / "none.md", {"two": "x"})


def test_a_report_is_made_of_results_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, _ = arteries_of_case(FORWARD, "test-mra-0000")
    places = np.stack([truth, truth])
    for row, shift in ((CONTROL, 1.0), ("layouts-longer", 7.0), ("tan-75", 2.0), ("d-mra-cta-places", 2.0)):
        one = row_result(row, 1, np.where(np.isfinite(places[..., 0]), shift, NAN).tolist())
        replace(one, found=places + np.array([0.0, 0.0, shift]), truth=places).write(tmp_path / "r" / one.file_name)
    command = ["experiments", "--report", str(tmp_path / "r"), "--out", str(tmp_path / "out")]
    document = tmp_path / "text.md"
    document.write_text("<!-- begin forward-subvoxel -->\n<!-- end forward-subvoxel -->\n")
    assert main([*command, "--document", str(document)]) == 0
    assert "4 results" in capsys.readouterr().out
    assert "D-MRA-CTA" in document.read_text()
    pictures = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert pictures == {"forward-landmarks.png", "forward-cases.png", "forward-training-data.png"}
    assert len(list((tmp_path / "out" / "results").glob("*.json"))) == 4
    assert main(["experiments", "--report", str(tmp_path), "--out", str(tmp_path / "none")]) != 0
    assert "There are no results" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
