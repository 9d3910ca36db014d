"""Whether a training helped: two models on the same scans, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from CoWLandmarksTrainingLib.evaluate.evaluation import CaseResult
from CoWLandmarksTrainingLib.records.improvement import Improvement, improvement


def read(*errors_mm: float) -> CaseResult:
    """A scan whose landmarks are so far off; NaN: not annotated."""
    errors = np.array(errors_mm)
    truth = np.where(np.isfinite(errors)[:, None], np.arange(3 * len(errors)).reshape(-1, 3) * 5.0, np.nan)
    found = np.nan_to_num(truth) + np.nan_to_num(errors)[:, None] * np.array([0.0, 0.0, 1.0])
    nothing, heights = np.zeros((len(errors), 3)), np.ones(len(errors))
    return CaseResult(
        "scan", "mra", truth, np.zeros(len(errors), bool), found, nothing, nothing, heights, nothing, heights,
        ("found",) * len(errors), "ok", truth,
    )  # fmt: skip


def compared(old: list[CaseResult], new: list[CaseResult]) -> Improvement:
    found = improvement(old, new)
    assert found is not None
    return found


def test_the_means_are_over_landmarks_and_the_difference_is_paired() -> None:
    old, new = [read(4.0, 2.0), read(3.0, np.nan)], [read(1.0, 2.0), read(2.0, np.nan)]
    found = compared(old, new)
    assert (found.scans, found.landmarks) == (2, 3)
    assert found.old_mre_mm == pytest.approx(3.0)
    assert found.new_mre_mm == pytest.approx(5.0 / 3.0)
    # scan 1 changes by -3 and 0, scan 2 by -1. Two scans are drawn with replacement: both the first (mean -1.5), both
    # the second (-1), or one of each (-4/3); the quantiles 2.5 and 97.5 % are the outermost of these.
    assert found.difference_mm == pytest.approx(-4.0 / 3.0)
    assert found.interval_mm == pytest.approx((-1.5, -1.0))
    assert found.better
    assert not found.sure  # the interval of two scans is their span, and lies on one side by chance too often
    assert found.sentence() == (
        "On 2 scans the new model has a mean error of 1.67 mm, the old one 3.00 mm (difference -1.33 mm, "
        "95 % interval -1.50 to -1.00). WARNING: so few scans do not show that it is better; "
        "evaluate both on more scans."
    )


def test_pairing_sees_what_the_spread_between_scans_would_hide() -> None:
    easy, hard = np.linspace(0.5, 1.5, 19), np.linspace(8.0, 12.0, 19)
    old = [read(*easy), read(*hard), read(*(easy + 1.0)), read(*(hard + 1.0)), read(*easy), read(*hard)]
    new = [read(*(easy - 0.2)), read(*(hard - 0.3)), read(*(easy + 0.8)), read(*(hard + 0.7))]
    new += [read(*(easy - 0.2)), read(*(hard - 0.3))]
    found = compared(old, new)
    assert found.difference_mm == pytest.approx(-0.25)
    assert found.interval_mm is not None
    assert -0.301 < found.interval_mm[0] < -0.26
    assert -0.24 < found.interval_mm[1] < -0.199
    assert found.sure
    assert "WARNING" not in found.sentence()


def test_a_landmark_that_one_model_alone_was_judged_on_does_not_count() -> None:
    found = compared([read(4.0, np.nan, 2.0)], [read(np.nan, 1.0, 3.0)])
    assert (found.scans, found.landmarks) == (1, 1)
    assert (found.old_mre_mm, found.new_mre_mm) == (pytest.approx(2.0), pytest.approx(3.0))


def test_a_change_that_may_be_chance_is_warned_of() -> None:
    found = compared([read(2.0), read(2.0), read(2.0)], [read(1.0), read(0.5), read(3.0)])
    assert found.difference_mm == pytest.approx(-0.5)
    assert found.interval_mm == pytest.approx((-1.5, 1.0))  # three times the best, three times the worst scan
    assert found.better
    assert not found.sure
    assert found.sentence().endswith(
        "(difference -0.50 mm, 95 % interval -1.50 to +1.00). WARNING: so few scans do not show that it is better; "
        "evaluate both on more scans."
    )


@pytest.mark.parametrize("new", [3.0, 2.0])
def test_a_model_that_is_worse_or_the_same_is_warned_of(new: float) -> None:
    found = compared([read(2.0), read(2.0)], [read(new), read(new)])
    assert not found.better
    assert found.sentence().endswith("WARNING: the new model is not better; keep the old one.")


def test_one_scan_has_no_interval_and_shows_nothing() -> None:
    found = compared([read(3.0, 3.0)], [read(1.0, 1.0)])
    assert found.interval_mm is None
    assert not found.sure
    assert found.sentence() == (
        "On 1 scan the new model has a mean error of 1.00 mm, the old one 3.00 mm (difference -2.00 mm). "
        "WARNING: so few scans do not show that it is better; evaluate both on more scans."
    )


def test_without_a_landmark_in_common_nothing_is_reported() -> None:
    assert improvement([read(np.nan, 1.0)], [read(1.0, np.nan)]) is None
    assert improvement([], []) is None


def test_the_plain_values_are_those_of_the_sentence() -> None:
    content = compared([read(4.0, 2.0), read(3.0, np.nan)], [read(1.0, 2.0), read(2.0, np.nan)])
    assert content.to_dict() == {
        "scans": 2,
        "landmarks": 3,
        "old_mre_mm": 3.0,
        "new_mre_mm": 1.6667,
        "difference_mm": -1.3333,
        "interval_mm": [-1.5, -1.0],
        "better": True,
        "sure": False,
    }
