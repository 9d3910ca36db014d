"""The drawn circle of Willis: complete, mirrored, and with no point on top of another."""

from __future__ import annotations

import itertools
import math

import pytest
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.schematic import schematic_lines, schematic_point

ANATOMY = default_anatomy()


def point(code: str) -> tuple[float, float]:
    found = schematic_point(code)
    assert found is not None
    return found


@pytest.mark.parametrize("code", ANATOMY.codes)
def test_every_landmark_is_drawn_and_lies_in_the_picture(code: str) -> None:
    x, y = point(code)
    assert 0 < x < 1 and 0 < y < 1


@pytest.mark.parametrize("landmark", ANATOMY.landmarks, ids=lambda landmark: landmark.code)
def test_the_patient_s_right_is_on_the_left_and_sides_are_mirrored(landmark: object) -> None:
    (x, y), (other_x, other_y) = point(landmark.code), point(landmark.mirror)
    assert (1 - x, y) == pytest.approx((other_x, other_y))
    assert (x < 0.5) == (landmark.side == "right") or x == 0.5


def test_no_two_landmarks_are_drawn_on_top_of_each_other() -> None:
    closest = min(math.dist(point(a), point(b)) for a, b in itertools.combinations(ANATOMY.codes, 2))
    assert closest > 0.08


def test_every_artery_is_drawn_between_its_landmarks() -> None:
    lines = schematic_lines(ANATOMY)
    assert [line.code for line in lines] == [artery.code for artery in ANATOMY.arteries]
    for line, artery in zip(lines, ANATOMY.arteries, strict=True):
        assert line.end == point(artery.end)
        assert artery.start is None or line.start == point(artery.start)


def test_landmarks_of_another_set_are_not_drawn() -> None:
    assert schematic_point("R-C9-C10") is None and schematic_point("heart") is None
