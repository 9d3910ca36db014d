"""Reliability tables by hand, and their figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from CoWLandmarksLib.core.calibration import Calibration
from CoWLandmarksTrainingLib.evaluate.evaluation import CaseResult
from CoWLandmarksTrainingLib.evaluate.reliability import reliability
from CoWLandmarksTrainingLib.figures.reliability_figure import draw_reliability, write_reliability

TABLE = Calibration(np.array([0.0, 1.0]), np.array([10.0, 0.0]), np.array([0.0, 1.0]))
"""The peak is the confidence; the expected error is 10 mm times what is missing to 1."""


def scan(errors: list[float], peaks: list[float]) -> CaseResult:
    n = len(errors)
    truth = np.where(np.isnan(errors)[:, None], np.nan, np.zeros((n, 3)))
    found = np.zeros((n, 3))
    found[:, 1] = np.nan_to_num(errors)
    return CaseResult(
        "scan", "mra", truth, np.zeros(n, bool), found, found, found, np.array(peaks), found, np.ones(n),
        ("found",) * n, "ok", found,
    )  # fmt: skip


def test_each_group_compares_what_was_said_with_what_was_measured() -> None:
    results = [scan([1.0, 5.0, np.nan], [0.9, 0.2, 0.9]), scan([2.0, 20.0, 3.0], [0.8, 0.1, 0.7])]
    table = reliability(results, TABLE, bins=2)
    low, high = table["confidence"]
    # sorted by confidence: 0.1 (20 mm), 0.2 (5 mm), 0.7 (3 mm) | 0.8 (2 mm), 0.9 (1 mm)
    assert (low["n"], high["n"]) == (3, 2)
    assert low["said"] == pytest.approx(1.0 / 3.0)
    assert low["measured"] == pytest.approx(1.0 / 3.0)
    assert high["said"] == pytest.approx(0.85)
    assert high["measured"] == 1.0
    assert table["calibration_error"] == pytest.approx(2 * 0.15 / 5)
    sure, doubtful = table["error"]
    # expected 1, 2, 3 mm | 8, 9 mm; 20 mm count as 15
    assert sure == {"said": pytest.approx(2.0), "measured": pytest.approx(2.0), "n": 3}
    assert doubtful == {"said": pytest.approx(8.5), "measured": pytest.approx(10.0), "n": 2}


def test_fewer_points_than_groups_make_fewer_rows() -> None:
    assert len(reliability([scan([1.0], [0.5])], TABLE)["confidence"]) == 1


def test_the_curve_of_perfect_figures_lies_on_the_diagonal(tmp_path: Path) -> None:
    rows = [{"said": v, "measured": v, "n": 10} for v in (0.1, 0.5, 0.9)]
    table = {"confidence": rows, "error": [{"said": 1.0, "measured": 1.0, "n": 10}], "calibration_error": 0.0}
    picture = draw_reliability(table, "model on cohort").pixels
    blue = (picture[..., 2] - picture[..., 0] > 100) & (np.arange(picture.shape[1]) < 480)
    y, x = np.nonzero(blue)
    assert len(y) > 300
    assert np.abs((x - 90) - (90 + 380 - y)).max() < 12
    write_reliability(tmp_path / "r.png", table, "t")
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
