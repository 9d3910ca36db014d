"""Pictures of errors: points lie where they belong, R and A grow to the left and up, errors are joined and named."""

from __future__ import annotations

import numpy as np
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.volume import axis_aligned_grid
from CoWLandmarksTrainingLib.figures.bar_figure import draw_bars
from CoWLandmarksTrainingLib.figures.error_picture import draw_errors

ANATOMY = default_anatomy()
GRID = axis_aligned_grid(np.array([0.0, 10.0, 0.0]), np.array([1.0, 1.0, 2.0]), (22, 44, 44))
"""44 mm along every axis, shown on 440 pixels: 10 pixels a millimetre."""
LEFT, TOP = 8, 40
RED = np.array([255, 90, 80])


def points(**places: tuple[float, float, float]) -> np.ndarray:
    found = np.full((len(ANATOMY), 3), np.nan)
    for code, place in places.items():
        found[ANATOMY.index(code.replace("_", "-"))] = place
    return found


def test_a_true_point_is_a_ring_and_an_estimate_a_disc_at_their_places() -> None:
    truth, found = points(BA_T=(5.0, 20.0, 0.0)), points(BA_T=(5.0, 20.0, 0.0))
    pixels = draw_errors(np.zeros(GRID.shape), GRID, truth, found, ANATOMY, "title").pixels
    # axial view: R 22 and A 32 at the upper left corner
    x, y = LEFT + round(10 * (22 - 5.0)), TOP + round(10 * (32 - 20.0))
    colour = np.array(ANATOMY.landmark("BA-T").rgb)
    assert np.abs(pixels[y, x] - colour).max() < 3
    assert np.abs(pixels[y, x + 5] - colour).max() < 60
    assert np.abs(pixels[y, x + 12]).max() < 40


def test_a_point_that_is_far_off_is_joined_to_the_truth_in_red() -> None:
    truth, found = points(BA_T=(0.0, 10.0, 0.0)), points(BA_T=(10.0, 10.0, 0.0))
    pixels = draw_errors(np.zeros(GRID.shape), GRID, truth, found, ANATOMY, "title").pixels
    between = pixels[TOP + 220, LEFT + round(10 * (22 - 5.0))]
    assert np.abs(between - RED).max() < 30
    near = draw_errors(np.zeros(GRID.shape), GRID, truth, truth + 1.0, ANATOMY, "title").pixels
    assert not (np.abs(near - RED).max(axis=2) < 10).any()


def test_bright_voxels_lie_under_their_points() -> None:
    image = np.zeros(GRID.shape)
    image[5:17, 30, 8] = 1.0  # A = 10 - 21.5 + 30 = 18.5, R = -21.5 + 8 = -13.5
    pixels = draw_errors(image, GRID, points(), points(), ANATOMY, "title").pixels
    assert pixels[TOP + round(10 * (32 - 18.5)), LEFT + round(10 * (22 + 13.5))].min() > 200
    assert pixels[TOP + round(10 * (32 - 18.5)), LEFT + round(10 * (22 - 13.5))].max() < 60


def test_a_bar_is_as_long_as_the_mean_error() -> None:
    rows = {
        "BA-T": {"mre_mm": 2.0, "median_mm": 1.0, "n": 3},
        "R-ICA-T": {"mre_mm": 4.0, "median_mm": 1.0, "n": 3},
    }
    pixels = draw_bars(rows, ANATOMY, "title").pixels
    # rows come in the order of the anatomy: R-ICA-T first
    lengths = []
    for row, code in enumerate(("R-ICA-T", "BA-T")):
        line = pixels[64 + 30 * row + 8, 120:]
        colour = 255 + 0.85 * (np.array(ANATOMY.landmark(code).rgb) - 255.0)
        lengths.append(int((np.abs(line - colour).max(axis=1) < 12).sum()))
    assert abs(lengths[0] - 2 * lengths[1]) < 12
