"""Peak heights to expected errors and confidences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from CoWLandmarksLib.core.calibration import (
    UNCALIBRATED,
    Calibration,
    _isotonic,
    blended,
    calibration_from_dict,
    corrected_by_landmark,
    fit_calibration,
)


@pytest.mark.parametrize(
    ("values", "fitted"),
    [
        ([1, 2, 3], [1, 2, 3]),
        ([3, 1, 2], [2, 2, 2]),
        ([1, 3, 2, 4], [1, 2.5, 2.5, 4]),
        ([4, 3, 2, 1], [2.5, 2.5, 2.5, 2.5]),
        # 5 and 1 pool to 3; 2 pulls the three to 8/3; 6 and 4 pool to 5
        ([0, 5, 1, 2, 6, 4], [0, 8 / 3, 8 / 3, 8 / 3, 5, 5]),
        ([7], [7]),
    ],
)
def test_isotonic_regression_pools_neighbours_that_fall(values: list[float], fitted: list[float]) -> None:
    np.testing.assert_allclose(_isotonic(np.array(values, float)), fitted)


def test_tables_are_interpolated_and_end_flat() -> None:
    table = Calibration(np.array([0.2, 0.6]), np.array([8.0, 2.0]), np.array([0.1, 0.9]))
    np.testing.assert_allclose(table.expected_error_mm(np.array([0.0, 0.2, 0.4, 0.6, 2.0])), [8, 8, 5, 2, 2])
    np.testing.assert_allclose(table.confidence_of(np.array([0.0, 0.3, 0.6, 9.0])), [0.1, 0.3, 0.9, 0.9])


def validation(count: int = 600, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Peaks, and errors that fall from about 8 mm to 1 mm as the peak rises, with much scatter."""
    rng = np.random.default_rng(seed)
    peaks = rng.uniform(0, 1, count)
    return peaks, rng.exponential(8.0 - 7.0 * peaks)


def test_a_fitted_table_is_monotone_and_tells_the_truth_on_average() -> None:
    peaks, errors = validation()
    table = fit_calibration(peaks, errors, np.empty(0))
    assert (np.diff(table.peak) > 0).all()
    assert (np.diff(table.error_mm) <= 1e-12).all()
    assert (np.diff(table.confidence) >= -1e-12).all()
    assert table.absent_below == 0.0
    assert table.expected_error_mm(peaks).mean() == pytest.approx(np.minimum(errors, 15.0).mean(), rel=0.06)
    # P(error <= 3 mm) of an exponential of mean 8 - 7 * 0.9 = 1.7 mm is 83 %, of mean 7.3 mm (0.1) 34 %.
    assert float(table.confidence_of(np.array([0.9]))[0]) == pytest.approx(0.83, abs=0.1)
    assert float(table.confidence_of(np.array([0.1]))[0]) == pytest.approx(0.34, abs=0.12)


def test_three_millimetres_are_still_within() -> None:
    table = fit_calibration(np.linspace(0, 1, 10), np.full(10, 3.0), np.empty(0))
    assert table.confidence.tolist() == [0.0, 1.0]


def test_the_threshold_for_absence_sacrifices_three_present_landmarks_in_a_thousand() -> None:
    peaks = np.linspace(0.0, 1.0, 1001)
    table = fit_calibration(peaks, np.ones(1001), np.full(10, 0.005))
    assert table.absent_below == pytest.approx(0.003)
    assert (peaks < table.absent_below).mean() <= 0.004


def test_too_few_absent_landmarks_give_no_threshold() -> None:
    assert fit_calibration(np.linspace(0.4, 1.0, 100), np.ones(100), np.zeros(9)).absent_below == 0.0


def test_a_peak_of_zero_means_no_confidence() -> None:
    table = fit_calibration(np.linspace(0.5, 1.0, 100), np.ones(100), np.empty(0))
    assert table.confidence_of(np.array([0.0])).tolist() == [0.0]
    assert table.expected_error_mm(np.array([0.0])).tolist() == [15.0]


def test_landmarks_beyond_the_scan_count_as_wrong() -> None:
    peaks = np.full(60, 0.5)
    table = fit_calibration(peaks, np.ones(60), np.empty(0), elsewhere_peaks=np.full(60, 0.5))
    assert float(table.confidence_of(np.array([0.6]))[0]) == pytest.approx(0.5, abs=0.01)
    assert float(table.expected_error_mm(np.array([0.6]))[0]) == pytest.approx(8.0, abs=0.2)


def test_one_error_of_half_a_metre_counts_as_fifteen_millimetres() -> None:
    table = fit_calibration(np.full(10, 0.5), np.array([500.0] + [1.0] * 9), np.empty(0))
    assert table.error_mm[-1] == pytest.approx(2.4)


@pytest.mark.parametrize("count", [1, 3, 9, 25])
def test_a_few_validation_points_are_enough_for_a_table(count: int) -> None:
    peaks, errors = validation(count)
    table = fit_calibration(peaks, errors, np.empty(0))
    assert np.isfinite(table.expected_error_mm(np.array([0.5]))).all()
    assert len(table.peak) == 1 + max(1, count // 10)


def test_equal_peaks_give_a_table_that_still_rises() -> None:
    table = fit_calibration(np.full(60, 0.5), np.arange(60.0), np.empty(0))
    assert (np.diff(table.peak) > 0).all()


def test_without_any_peak_the_plain_guess_remains() -> None:
    assert fit_calibration(np.empty(0), np.empty(0), np.zeros(9)) is UNCALIBRATED


def test_a_table_survives_the_round_trip_through_plain_values() -> None:
    table = fit_calibration(*validation(), np.linspace(0, 0.2, 20))
    again = calibration_from_dict(table.to_dict())
    np.testing.assert_array_equal(again.peak, table.peak)
    np.testing.assert_array_equal(again.error_mm, table.error_mm)
    np.testing.assert_array_equal(again.confidence, table.confidence)
    assert (again.absent_below, again.uncertain_below) == (table.absent_below, table.uncertain_below)
    assert all(type(value) is float for value in table.to_dict().values() if not isinstance(value, list))


def test_a_landmark_that_errs_more_than_its_peak_says_is_corrected_with_its_partner() -> None:
    rng = np.random.default_rng(2)
    peaks = rng.uniform(0.2, 1.0, (200, 4))
    errors = rng.exponential(2.0, (200, 4))
    errors[:, 1:3] *= 3.0
    errors[5, 1] = np.nan
    pooled = np.isfinite(errors)
    plain = fit_calibration(peaks[pooled], errors[pooled], np.empty(0))
    table = corrected_by_landmark(plain, peaks, errors, (3, 2, 1, 0))
    assert table.error_factor[1] == table.error_factor[2] > 1.3
    assert table.error_factor[0] == table.error_factor[3] < 0.7
    known = np.isfinite(errors[:, 1:3])
    predicted = table.expected_error_mm(peaks)[:, 1:3][known].mean()
    assert predicted == pytest.approx(np.minimum(errors, 15.0)[:, 1:3][known].mean(), rel=0.1)
    sure = table.confidence_of(peaks)
    assert sure[:, 1:3][known].mean() == pytest.approx((errors[:, 1:3][known] <= 3.0).mean(), abs=0.05)
    assert sure[:, 0].mean() == pytest.approx((errors[:, 0] <= 3.0).mean(), abs=0.05)
    assert ((sure >= 0) & (sure <= 1)).all()


def test_few_cases_correct_little_and_corrections_survive_the_model_file() -> None:
    peaks, errors = np.full((1, 2), 0.5), np.array([[15.0, np.nan]])
    plain = fit_calibration(*validation(), np.empty(0))
    table = corrected_by_landmark(plain, peaks, errors, (0, 1))
    assert table.error_factor[1] == pytest.approx(1.0)
    assert table.confidence_logit[1] == pytest.approx(0.0, abs=1e-6)
    assert 1.0 < table.error_factor[0] < 1.4
    again = calibration_from_dict(table.to_dict())
    np.testing.assert_array_equal(again.error_factor, table.error_factor)
    np.testing.assert_array_equal(again.confidence_logit, table.confidence_logit)
    old = {key: value for key, value in plain.to_dict().items() if key not in ("error_factor", "confidence_logit")}
    np.testing.assert_allclose(calibration_from_dict(old).confidence_of(peaks), plain.confidence_of(peaks))


class TestBlending:
    """Tables that a model had before, and those measured at a site."""

    before = Calibration(np.array([0.0, 0.4, 0.8]), np.array([15.0, 5.0, 1.0]), np.array([0.0, 0.5, 0.9]), 0.1, 0.6)
    measured = Calibration(np.array([0.0, 0.6]), np.array([15.0, 9.0]), np.array([0.0, 0.3]), 0.3, 0.7)

    def test_errors_and_confidences_are_mixed_at_the_heights_of_both(self) -> None:
        table = blended(self.before, self.measured, 0.25)
        np.testing.assert_allclose(table.peak, [0.0, 0.4, 0.6, 0.8])
        # before: 15, 5, 3, 1 and 0, 0.5, 0.7, 0.9; measured: 15, 11, 9, 9 and 0, 0.2, 0.3, 0.3
        np.testing.assert_allclose(table.error_mm, [15.0, 6.5, 4.5, 3.0])
        np.testing.assert_allclose(table.confidence, [0.0, 0.425, 0.6, 0.75])
        assert table.absent_below == pytest.approx(0.15)
        assert table.uncertain_below == 0.6

    @pytest.mark.parametrize(("share", "which"), [(0.0, "before"), (1.0, "measured")])
    def test_at_the_ends_it_is_one_of_both(self, share: float, which: str) -> None:
        table, one = blended(self.before, self.measured, share), getattr(self, which)
        heights = np.linspace(0.0, 1.0, 21)
        np.testing.assert_allclose(table.expected_error_mm(heights), one.expected_error_mm(heights))
        np.testing.assert_allclose(table.confidence_of(heights), one.confidence_of(heights))
        assert table.absent_below == pytest.approx(one.absent_below)

    def test_a_limit_of_absence_that_was_not_measured_stays(self) -> None:
        unknown = replace(self.measured, absent_below=0.0)
        assert blended(self.before, unknown, 0.9).absent_below == 0.1

    def test_corrections_by_landmark_are_mixed_and_none_means_no_correction(self) -> None:
        own = replace(self.before, error_factor=np.array([4.0, 1.0]), confidence_logit=np.array([1.0, -1.0]))
        other = replace(self.measured, error_factor=np.array([1.0, 0.25]), confidence_logit=np.array([0.0, 3.0]))
        table = blended(own, other, 0.5)
        np.testing.assert_allclose(table.error_factor, [2.0, 0.5])  # geometric means
        np.testing.assert_allclose(table.confidence_logit, [0.5, 1.0])
        fading = blended(own, self.measured, 0.5)
        np.testing.assert_allclose(fading.error_factor, [2.0, 1.0])
        np.testing.assert_allclose(fading.confidence_logit, [0.5, -0.5])
        assert blended(self.before, self.measured, 0.5).error_factor.size == 0

    def test_a_blend_of_rising_tables_rises(self) -> None:
        table = blended(
            fit_calibration(*validation(), np.empty(0)), fit_calibration(*validation(90, 4), np.empty(0)), 0.4
        )
        assert (np.diff(table.peak) > 0).all()
        assert (np.diff(table.error_mm) <= 1e-12).all()
        assert (np.diff(table.confidence) >= -1e-12).all()
