"""Figures of the comparison: bars, curves and spheres lie where their values say."""

from __future__ import annotations

import numpy as np
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksTrainingLib.figures.case_figure import CasePanel, draw_cases
from CoWLandmarksTrainingLib.figures.chart import SERIES, even_step
from CoWLandmarksTrainingLib.figures.curve_figure import CurvePoint, draw_curves
from CoWLandmarksTrainingLib.figures.landmark_figure import draw_landmark_errors
from CoWLandmarksTrainingLib.figures.spheres import SpherePicture, View, row_of_spheres

ANATOMY = default_anatomy()


def test_axes_have_even_steps() -> None:
    assert [even_step(longest) for longest in (0.5, 4.0, 7.9, 30.0, 100.0)] == [0.1, 0.5, 1.0, 5.0, 20.0]


def test_a_bar_of_every_method_is_as_long_as_its_figure() -> None:
    methods = [
        ("one", {"BA-T": {"mre_mm": 2.0, "beyond_6mm": 0.5}, "R-ICA-T": {"mre_mm": 4.0, "beyond_6mm": 0.25}}),
        ("two", {"BA-T": {"mre_mm": 1.0, "beyond_6mm": 0.0}}),
    ]
    pixels = draw_landmark_errors(methods, ANATOMY, "title").pixels[110:]
    lengths = []
    for colour in SERIES[:2]:
        drawn = np.abs(pixels - np.array(colour, np.float32)).max(axis=2) < 3
        lengths.append(sorted(round(float(n)) for n in drawn[:, :811].sum(axis=1) if n > 20))
    assert set(lengths[0]) == {350, 700}
    assert set(lengths[1]) == {175}


def test_a_value_lies_at_its_height_and_its_interval_above_and_below() -> None:
    curves = {"one": [CurvePoint(50.0, 2.0, (1.0, 3.0)), CurvePoint(100.0, 4.0, None)]}
    pixels = draw_curves({"mm": curves}, "scans", "title").pixels
    drawn = np.abs(pixels[104:] - np.array(SERIES[0], np.float32)).max(axis=2) < 3
    rows, columns = np.nonzero(drawn)
    first, last = columns < columns.min() + 8, columns > columns.max() - 9
    # one step of a millimetre is a quarter of 320 pixels
    assert abs((rows[first].max() - rows[first].min()) - 2 * 80) <= 4
    assert abs(rows[last].mean() - (rows[first].max() + rows[first].min()) / 2 + 2 * 80) <= 4


class TestSpheres:
    """The projection and what is hidden."""

    def test_r_is_on_the_left_s_above_and_a_in_front(self) -> None:
        view = View(np.zeros(3), 0.0, 0.0, 2.0, 100, 100)
        placed = view.project(np.array([[5.0, 0, 0], [0, 5.0, 0], [0, 0, 5.0]]))
        np.testing.assert_allclose(placed, [[40, 50, 0], [50, 50, 10], [50, 40, 0]], atol=1e-9)

    def test_seen_from_above_what_lies_in_front_moves_down(self) -> None:
        placed = View(np.zeros(3), 0.0, 30.0, 2.0, 100, 100).project(np.array([[0.0, 10.0, 0.0]]))
        np.testing.assert_allclose(placed, [[50, 60, 10 * np.sqrt(3)]])

    def test_lengths_are_kept_by_every_turn(self) -> None:
        placed = View(np.ones(3), 18.0, 28.0, 3.0, 10, 10).project(np.vstack([np.ones(3), np.eye(3) + 1.0]))
        np.testing.assert_allclose((placed[1:] - placed[0]) @ (placed[1:] - placed[0]).T, 9.0 * np.eye(3), atol=1e-9)

    def test_the_nearer_sphere_hides_the_other(self) -> None:
        view = View(np.zeros(3), 0.0, 0.0, 4.0, 40, 40)
        for order in ((0, 1), (1, 0)):
            picture = SpherePicture(view)
            for number in order:
                place, colour = ((0.0, -3.0, 0.0), (255, 0, 0)), ((0.0, 3.0, 0.0), (0, 255, 0))
                point, rgb = (place, colour)[number]
                picture.add(np.array([point]), np.array([2.0]), rgb)
            middle = picture.over(np.full((40, 40, 3), 255.0))[20, 20]
            assert middle[1] > 100 and middle[0] == 0

    def test_points_of_a_row_are_no_further_apart_than_said(self) -> None:
        points = row_of_spheres(np.zeros(3), np.array([0.0, 0.0, 1.0]), 0.3)
        np.testing.assert_allclose(points[:, 2], [0, 0.25, 0.5, 0.75, 1.0])


def test_truth_is_red_prediction_green_and_only_large_errors_have_an_arrow() -> None:
    rng = np.random.default_rng(1)
    truth = rng.uniform(-30.0, 30.0, (len(ANATOMY), 3))
    truth[4] = np.nan

    def drawn(far: float) -> tuple[int, int, int]:
        found = truth + np.array([0.0, 0.0, 1.0])
        found[4], found[8] = 0.0, truth[8] + (0.0, 0.0, far)
        pixels = draw_cases([("case", [CasePanel(truth, found)])], ["method"], ANATOMY, "title").pixels[180:]
        red = (pixels[..., 0] > 150) & (pixels[..., 1] < 60)
        green = (pixels[..., 1] > 110) & (pixels[..., 0] < 60)
        black = pixels.max(axis=2) < 60
        return int(red.sum()), int(green.sum()), int(black.sum())

    near, far = drawn(5.9), drawn(12.0)
    assert min(near[:2]) > 300
    assert far[2] > near[2] + 60, "an arrow, and a name"
