"""A model's tables from what it finds in annotated scans, by hand; the tables it had before as prior."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from beads import bead_model, tiny_model
from CoWLandmarksLib.core.calibration import UNCALIBRATED, Calibration
from CoWLandmarksLib.detect.model import Model
from CoWLandmarksTrainingLib.evaluate.evaluation import CaseResult
from CoWLandmarksTrainingLib.evaluate.fit_calibration import (
    ABSENCE_MARGIN,
    FEWEST_FOR_RECOGNITION,
    PRIOR_LANDMARKS,
    RECOGNITION_SLACK,
    calibrated,
    least_recognition,
)

COUNT = 19
SHARE = COUNT / (COUNT + PRIOR_LANDMARKS)
"""Weight of one scan against the tables of before: 19 of 219."""
BEFORE = Calibration(
    np.array([0.0, 0.5]), np.array([15.0, 6.0]), np.array([0.0, 0.25]), absent_below=0.2, uncertain_below=0.6
)


def scan(
    error_mm: float = 2.0, peak: float = 0.5, absent: int = 0, absent_peak: float = 0.1, *, circle: bool = True
) -> CaseResult:
    """A scan in which every network is `error_mm` off everywhere; the first `absent` landmarks do not exist."""
    missing = np.arange(COUNT) < absent
    truth = np.where(missing[:, None], np.nan, np.arange(3 * COUNT).reshape(COUNT, 3) * 7.0)
    near = np.nan_to_num(truth) + np.array([error_mm, 0.0, 0.0])
    peaks = np.where(missing, absent_peak, peak)
    return CaseResult(
        "scan", "mra", truth, missing, near, near, near, peaks, near, peaks, ("found",) * COUNT, "ok", ~missing,
        circle=near if circle else None, circle_peaks=peaks if circle else None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def model() -> Model:
    """A model of three networks, with nothing calibrated."""
    return replace(tiny_model(), least_recognition=0.5)


def with_tables(model: Model, table: Calibration) -> Model:
    return replace(model, **{name: replace(part, calibration=table) for name, part in model.stages})  # type: ignore[arg-type]


def test_one_scan_gives_every_network_the_table_of_its_landmarks(model: Model) -> None:
    made = calibrated(model, lambda trial: [scan()])
    for name, part in made.stages:
        table = part.calibration
        # 19 landmarks are one bin: all 2 mm off, all within 3 mm; a peak of 0 means nothing.
        np.testing.assert_allclose(table.peak, [0.0, 0.5], atol=1e-5, err_msg=name)
        np.testing.assert_allclose(table.error_mm, [15.0, 2.0])
        np.testing.assert_allclose(table.confidence, [0.0, 1.0])
        np.testing.assert_allclose(table.error_factor, np.ones(COUNT))
        np.testing.assert_allclose(table.confidence_logit, np.zeros(COUNT), atol=1e-6)
        assert table.absent_below == 0.0
        for key, value in part.weights.items():
            assert value is dict(model.stages)[name].weights[key]


def test_the_last_networks_are_read_with_the_tables_of_those_before(model: Model) -> None:
    asked: list[Model] = []

    def read(trial: Model) -> list[CaseResult]:
        asked.append(trial)
        return [scan()]

    calibrated(model, read)
    first, second = asked
    assert first.coarse.calibration is UNCALIBRATED
    for _, part in second.stages:
        assert part.calibration.error_mm[-1] == pytest.approx(2.0)


def test_the_tables_of_before_weigh_as_much_as_two_hundred_landmarks(model: Model) -> None:
    made = calibrated(model, lambda trial: [scan()], before=with_tables(model, BEFORE))
    for name, part in made.stages:
        table = part.calibration
        at_half = np.array([0.5])
        # 6 mm before, 2 mm here; a quarter within 3 mm before, all here
        assert float(np.interp(0.5, table.peak, table.error_mm)) == pytest.approx(6.0 - 4.0 * SHARE, abs=1e-3), name
        assert float(np.interp(0.5, table.peak, table.confidence)) == pytest.approx(0.25 + 0.75 * SHARE, abs=1e-3)
        assert float(table.expected_error_mm(at_half)[0]) == pytest.approx(6.0 - 4.0 * SHARE, abs=1e-3)
        assert table.uncertain_below == BEFORE.uncertain_below


def test_ten_scans_are_worth_as_much_as_the_tables_of_before(model: Model) -> None:
    made = calibrated(model, lambda trial: [scan()] * 10, before=with_tables(model, BEFORE))
    expected = 6.0 - 4.0 * 190 / 390
    for _, part in made.stages:
        assert float(part.calibration.expected_error_mm(np.full(COUNT, 0.5))[0]) == pytest.approx(expected, abs=0.01)


class TestAbsence:
    """The limit below which the circle network calls a landmark absent, the fine one where there is none."""

    def test_it_lies_a_margin_below_the_lowest_peaks_of_present_landmarks(self, model: Model) -> None:
        made = calibrated(model, lambda trial: [scan()], lambda trial: [scan(absent=10)])
        assert made.circle is not None
        assert made.circle.calibration.absent_below == pytest.approx(ABSENCE_MARGIN * 0.5)
        assert made.fine.calibration.absent_below == 0.0

    def test_scans_read_for_absence_alone_change_no_other_table(self, model: Model) -> None:
        plain = calibrated(model, lambda trial: [scan()])
        made = calibrated(model, lambda trial: [scan()], lambda trial: [scan(error_mm=9.0, absent=10)])
        for name, part in made.stages:
            np.testing.assert_array_equal(
                part.calibration.error_mm, dict(plain.stages)[name].calibration.error_mm, err_msg=name
            )

    def test_fewer_than_ten_absent_landmarks_tell_nothing(self, model: Model) -> None:
        made = calibrated(model, lambda trial: [scan()], lambda trial: [scan(absent=9)])
        assert all(part.calibration.absent_below == 0.0 for _, part in made.stages)
        again = calibrated(
            model, lambda trial: [scan()], lambda trial: [scan(absent=9)], before=with_tables(model, BEFORE)
        )
        assert again.circle is not None
        assert again.circle.calibration.absent_below == pytest.approx(BEFORE.absent_below)
        assert again.fine.calibration.absent_below == 0.0

    def test_a_few_scans_move_the_limit_of_before_a_little(self, model: Model) -> None:
        made = calibrated(
            model, lambda trial: [scan()], lambda trial: [scan(absent=10)], before=with_tables(model, BEFORE)
        )
        assert made.circle is not None
        expected = (1.0 - SHARE) * 0.2 + SHARE * ABSENCE_MARGIN * 0.5
        assert made.circle.calibration.absent_below == pytest.approx(expected)

    def test_without_a_circle_network_the_fine_one_tells_it(self, model: Model) -> None:
        alone = replace(model, circle=None)
        made = calibrated(alone, lambda trial: [scan(circle=False)], lambda trial: [scan(absent=10, circle=False)])
        assert made.circle is None
        assert made.fine.calibration.absent_below == pytest.approx(0.5)

    def test_the_circle_network_decides_it_with_a_margin(self, model: Model) -> None:
        """From results as of 30 scans: landmarks have peaks of 0.5 and more, one in five is absent with less."""
        rng = np.random.default_rng(3)

        def results(trial: Model) -> list[CaseResult]:
            made = []
            for _ in range(30):
                absent = rng.random(COUNT) < 0.2
                truth = np.where(absent[:, None], np.nan, rng.normal(0, 20, (COUNT, 3)))
                near = np.nan_to_num(truth) + rng.normal(0, 0.5, (COUNT, 3))
                circle = np.where(absent, rng.uniform(0.1, 0.45, COUNT), rng.uniform(0.5, 1.0, COUNT))
                fine = rng.uniform(0.4, 1.0, COUNT)
                made.append(replace(
                    scan(), truth=truth, absent=absent, subvoxel=near, coarse=near, circle=near, peaks=fine,
                    coarse_peaks=circle, circle_peaks=circle,
                ))  # fmt: skip
            return made

        again = calibrated(model, results)
        assert again.circle is not None
        assert again.fine.calibration.absent_below == 0.0
        assert again.circle.calibration.absent_below / ABSENCE_MARGIN == pytest.approx(0.5, abs=0.01)


class TestRecognition:
    """The limit below which a scan does not count as one of a head."""

    def test_it_lies_just_below_the_worst_recognised_heads(self) -> None:
        def read(coarse: float, fine: float) -> CaseResult:
            places = np.zeros((3, 3))
            truth = places.copy()
            truth[2] = np.nan  # not in the scan: does not count, whatever its peaks
            peaks, coarse_peaks = np.array([fine, fine, 0.0]), np.array([coarse, coarse, 0.0])
            return CaseResult(
                "scan", "mra", truth, np.zeros(3, bool), places, places, places, peaks, places, coarse_peaks,
                ("found",) * 3, "ok", places,
            )  # fmt: skip

        model = bead_model()  # peaks 0, 0.3, 1 mean a confidence of 0, 0.5, 1; below 0.5 a point is uncertain
        good = [read(1.0, 1.0) for _ in range(49)]
        assert least_recognition(model, good) == pytest.approx(2.0 - RECOGNITION_SLACK)
        worst = least_recognition(model, [*good, read(0.3, 0.1)])
        # 0.5 + 0 and 49 times 2: the quantile 0.02 of 50 values lies at 0.98 of the way from the first to the second.
        assert worst == pytest.approx(0.5 + 0.98 * 1.5 - RECOGNITION_SLACK)

    def test_too_few_scans_leave_it_as_it_was(self, model: Model) -> None:
        few = [scan()] * (FEWEST_FOR_RECOGNITION - 1)
        assert calibrated(model, lambda trial: few).least_recognition == 0.5
        before = replace(model, least_recognition=1.25)
        assert calibrated(model, lambda trial: few, before=before).least_recognition == 1.25

    def test_enough_scans_measure_it(self, model: Model) -> None:
        many = [scan()] * FEWEST_FOR_RECOGNITION
        made = calibrated(model, lambda trial: many, before=replace(model, least_recognition=1.25))
        assert made.least_recognition == pytest.approx(least_recognition(made, many))
        assert made.least_recognition not in (0.5, 1.25)


def test_without_any_landmark_the_model_stays_as_it_is(model: Model) -> None:
    nothing = replace(scan(), truth=np.full((COUNT, 3), np.nan))
    assert calibrated(model, lambda trial: [nothing]) is model
    assert calibrated(model, lambda trial: []) is model
