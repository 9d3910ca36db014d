"""Two annotations of one scan compared: numbers worked out by hand, tables, and what cannot be compared."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import pytest
from CoWLandmarksLib.core.comparison import COLUMNS, compare, write_comparison_csv
from CoWLandmarksLib.core.detection import NOT_PLACED, LandmarkEstimate, LandmarkState
from CoWLandmarksLib.core.errors import AnnotationError
from example_detection import ANATOMY

FOUND, ABSENT, OUTSIDE = LandmarkState.FOUND, LandmarkState.ABSENT, LandmarkState.OUTSIDE


def at(code: str, *position: float, state: LandmarkState = FOUND) -> LandmarkEstimate:
    return LandmarkEstimate(code, (position[0], position[1], position[2]), state, 1.0, 0.0)


def without(code: str, state: LandmarkState, note: str = "") -> LandmarkEstimate:
    return LandmarkEstimate(code, None, state, 1.0, 0.0, note=note)


FIRST = (
    at("R-A2-A3", 0, 0, 0),
    at("L-A2-A3", 0, 0, 0, state=LandmarkState.UNCERTAIN),
    at("R-A1-A2", 10, 0, 0),
    without("L-A1-A2", ABSENT),
    without("R-M1-M2", OUTSIDE),
    at("L-M1-M2", 5, 5, 5),
)
SECOND = (
    at("R-A2-A3", 3, 4, 0),
    at("L-A2-A3", 0, 0, 1),
    at("R-A1-A2", 10, 0, 3),
    without("L-A1-A2", ABSENT),
    without("R-M1-M2", ABSENT),
    without("L-M1-M2", OUTSIDE, NOT_PLACED),
)


def test_distances_and_their_summary_are_those_worked_out_by_hand() -> None:
    found = compare(FIRST, SECOND, ANATOMY, ("AB", "CD"))
    assert [row.code for row in found.landmarks] == list(ANATOMY.codes)
    assert found.distances.tolist() == [5.0, 1.0, 3.0]
    assert (found.mean_mm, found.median_mm, found.sd_mm, found.largest_mm) == (3.0, 3.0, 2.0, 5.0)
    assert (found.compared, found.same_states) == (5, 4)
    assert found.summary() == (
        "3 landmarks placed in both: 3.00 ± 2.00 mm (mean ± SD), median 3.00 mm, largest 5.00 mm. "
        "Same state in 4 of 5 landmarks."
    )


def test_what_one_did_not_annotate_is_no_disagreement() -> None:
    row = next(row for row in compare(FIRST, SECOND, ANATOMY).landmarks if row.code == "L-M1-M2")
    assert (row.first, row.second, row.annotated, row.distance_mm) == ("placed", "not annotated", False, None)


def test_the_order_of_the_two_does_not_matter_for_the_numbers() -> None:
    one, other = compare(FIRST, SECOND, ANATOMY), compare(SECOND, FIRST, ANATOMY)
    assert one.distances.tolist() == other.distances.tolist() and one.same_states == other.same_states


def test_the_landmarks_that_are_farther_apart_than_usual_are_named_the_farthest_first() -> None:
    assert compare(FIRST, SECOND, ANATOMY).farthest() == "R-A2-A3 5.0 mm, R-A1-A2 3.0 mm"
    assert compare(FIRST, SECOND, ANATOMY).farthest(most=1) == "R-A2-A3 5.0 mm and 1 more"
    assert compare(FIRST, FIRST, ANATOMY).farthest() == ""


def test_one_common_landmark_has_no_spread_and_none_has_no_mean() -> None:
    single = compare(FIRST[:1], SECOND[:1], ANATOMY)
    assert single.mean_mm == 5.0 and math.isnan(single.sd_mm)
    assert single.summary().startswith("1 landmark placed in both: 5.00 mm. Same state in 1 of 1")
    none = compare(FIRST[:1], SECOND[1:2], ANATOMY)
    assert math.isnan(none.mean_mm) and none.summary().startswith("No landmark is placed in both.")


def test_an_annotation_that_says_nothing_is_refused() -> None:
    with pytest.raises(AnnotationError, match="'CD' holds no landmark"):
        compare(FIRST, [replace(SECOND[5])], ANATOMY, ("AB", "CD"))


def test_the_file_has_a_row_for_every_landmark_and_the_summary_below(tmp_path: Path) -> None:
    write_comparison_csv(tmp_path / "table.csv", compare(FIRST, SECOND, ANATOMY, ("Äb", "C, D")))
    rows = list(csv.reader((tmp_path / "table.csv").open(encoding="utf-8")))
    assert rows[0] == ["code", "name", "state: Äb", "state: C, D", "same_state", "distance_mm", "expected_mm"]
    assert len(rows) == 1 + 19 + 4 + 1 and all(len(row) == len(COLUMNS) for row in rows)
    assert rows[1][2:] == ["placed", "placed", "yes", "5.00", "2.00"]
    assert rows[5][2:6] == ["outside", "absent", "no", ""]
    assert rows[6][2:6] == ["placed", "not annotated", "", ""]
    assert [(row[0], row[5]) for row in rows[20:24]] == [
        ("mean", "3.00"),
        ("median", "3.00"),
        ("sd", "2.00"),
        ("largest", "5.00"),
    ]
    assert rows[24][4] == "4 of 5"
