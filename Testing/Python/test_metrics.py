"""Figures of merit, by hand."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from CoWLandmarksTrainingLib.records.metrics import (
    SUCCESS_RADII_MM,
    bootstrap_interval,
    confused_with,
    confusions,
    error_figures,
    errors_of_points,
    figures_by_landmark,
    mean_radial_error,
    radial_errors,
    successful_detection_rate,
)

NAN = np.nan


def test_the_radial_error_is_the_euclidean_distance() -> None:
    estimated = np.array([[3.0, 4.0, 0.0], [1.0, 2.0, 2.0], [NAN, 0.0, 0.0]])
    errors = radial_errors(estimated, np.zeros((3, 3)))
    assert errors[:2].tolist() == [5.0, 3.0]
    assert np.isnan(errors[2])


def test_the_mean_is_over_landmarks_and_the_sd_over_scans() -> None:
    # scan means: (1 + 3) / 2 = 2, 6 (one landmark does not count), 1; the third scan's all count
    errors = np.array([[1.0, 3.0, NAN], [NAN, 6.0, NAN], [1.0, 1.0, 1.0]])
    mre, sd = mean_radial_error(errors)
    assert mre == pytest.approx((1 + 3 + 6 + 1 + 1 + 1) / 6)
    # population SD of (2, 6, 1): mean 3, squared deviations 1 + 9 + 4
    assert sd == pytest.approx(np.sqrt(14 / 3))


def test_a_scan_without_a_known_landmark_does_not_count() -> None:
    assert mean_radial_error(np.array([[2.0, 4.0], [NAN, NAN]])) == (3.0, 0.0)


def test_a_detection_at_the_very_radius_is_a_success() -> None:
    errors = np.array([[2.0, 2.0000001, NAN], [0.0, 6.0, 7.0]])
    assert successful_detection_rate(errors, 2.0) == pytest.approx(2 / 5)
    assert successful_detection_rate(errors, 6.0) == pytest.approx(4 / 5)
    assert SUCCESS_RADII_MM == (2.0, 3.0, 4.0, 5.0, 6.0)


@pytest.mark.parametrize(
    ("estimate", "other", "confused"),
    [
        ((8.0, 0.0, 0.0), (10.0, 0.0, 0.0), True),
        ((4.0, 0.0, 0.0), (6.1, 0.0, 0.0), False),
        ((4.0, 0.0, 0.0), (6.0, 0.0, 0.0), False),
        ((4.0, 0.0, 0.0), (5.9, 0.0, 0.0), True),
        ((3.0, 0.0, 0.0), (3.5, 0.0, 0.0), False),
        ((3.01, 0.0, 0.0), (3.5, 0.0, 0.0), True),
        ((9.0, 0.0, 0.0), (NAN, NAN, NAN), False),
        ((NAN, NAN, NAN), (0.0, 0.0, 0.0), False),
    ],
    ids=[
        "on the neighbour",
        "more than half the error away",
        "at half the error",
        "less than half the error away",
        "an error of three millimetres",
        "just above three millimetres",
        "neighbour absent",
        "estimate absent",
    ],
)
def test_a_confusion_is_a_large_error_close_to_another_landmark(
    estimate: tuple[float, ...], other: tuple[float, ...], confused: bool
) -> None:
    truth = np.array([(0.0, 0.0, 0.0), other])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = confusions(np.array([estimate, other]), truth)
    assert result.tolist() == [confused, False]


def test_a_landmark_without_truth_is_never_confused() -> None:
    truth = np.array([(NAN, NAN, NAN), (5.0, 0.0, 0.0)])
    assert confusions(np.array([(5.0, 0.0, 0.0), (5.0, 0.0, 0.0)]), truth).tolist() == [False, False]


def test_swapped_sides_are_two_confusions() -> None:
    truth = np.array([(8.0, 0.0, 0.0), (-8.0, 0.0, 0.0)])
    assert confusions(truth[::-1], truth).tolist() == [True, True]


def test_coinciding_true_landmarks_are_not_confused_with_each_other() -> None:
    truth = np.zeros((2, 3))
    assert confusions(np.full((2, 3), 9.0), truth).tolist() == [False, False]


def test_a_single_landmark_cannot_be_confused() -> None:
    assert confusions(np.array([(50.0, 0.0, 0.0)]), np.zeros((1, 3))).tolist() == [False]


def test_a_bootstrap_interval_of_two_scans_reaches_from_one_to_the_other() -> None:
    # two scans of means 1 and 3: a drawn pair is (1, 1), (1, 3) or (3, 3), so the mean is 1, 2 or 3
    errors = np.array([[1.0, 1.0], [3.0, 3.0], [NAN, NAN]])
    assert bootstrap_interval(errors) == (1.0, 3.0)
    assert bootstrap_interval(errors[[0, 2]]) is None


def test_a_bootstrap_interval_covers_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(60):
        errors = np.random.default_rng(seed).exponential(2.0, (30, 1))
        interval = bootstrap_interval(errors, samples=300, seed=seed)
        assert interval is not None
        covered += interval[0] <= 2.0 <= interval[1]
    assert 50 <= covered <= 60


def test_scans_are_drawn_whole() -> None:
    errors = np.array([[0.0] * 100, [2.0] * 100] * 5)
    interval = bootstrap_interval(errors)
    assert interval is not None
    assert interval[1] - interval[0] > 1.0  # single landmarks would give about 0.12


def test_it_is_reported_with_which_landmark_an_estimate_was_confused() -> None:
    truth = np.array([(8.0, 0.0, 0.0), (-8.0, 0.0, 0.0), (0.0, 30.0, 0.0)])
    estimated = np.array([(-7.5, 0.0, 0.0), (-8.0, 0.0, 0.0), (NAN, NAN, NAN)])
    assert confused_with(estimated, truth).tolist() == [1, -1, -1]


def test_all_figures_of_the_points_of_two_scans() -> None:
    truth = [np.array([[0.0, 0, 0], [10.0, 0, 0], [NAN] * 3]), np.array([[0.0, 0, 0], [NAN] * 3, [NAN] * 3])]
    found = [np.array([[9.0, 0, 0], [10.0, 0, 3], [5.0, 5, 5]]), np.zeros((3, 3))]
    errors, confused = errors_of_points(found, truth)
    np.testing.assert_allclose(errors, [[9.0, 3.0, NAN], [0.0, NAN, NAN]])
    assert confused == 1
    row = error_figures(errors, confused)
    assert (row["scans"], row["landmarks"], row["mre_mm"], row["sd_mm"], row["median_mm"]) == (2, 3, 4.0, 3.0, 3.0)
    assert row["p95_mm"] == pytest.approx(3.0 + 0.9 * 6.0)
    assert row["beyond_6mm"] == row["confusion"] == pytest.approx(1 / 3)
    assert row["sdr"] == pytest.approx({"2": 1 / 3, "3": 2 / 3, "4": 2 / 3, "5": 2 / 3, "6": 2 / 3})
    assert error_figures(np.full((2, 3), NAN), 0) == {"scans": 2, "landmarks": 0}
    assert figures_by_landmark(errors, ("a", "b", "c")) == {
        "a": {"mre_mm": 4.5, "median_mm": 4.5, "beyond_6mm": 0.5, "n": 2},
        "b": {"mre_mm": 3.0, "median_mm": 3.0, "beyond_6mm": 0.0, "n": 1},
    }
