"""The report picture: the right side, the right way up, the right place, and readable labels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.detection import Detection, LandmarkEstimate, LandmarkState, Verdict
from CoWLandmarksLib.core.errors import OutputError
from CoWLandmarksLib.core.volume import Modality, Volume, apply_affine, axis_aligned_grid
from CoWLandmarksLib.pictures.canvas import Canvas, shortened, text_width, wrapped
from CoWLandmarksLib.pictures.label_placement import Box, place_labels
from CoWLandmarksLib.pictures.projection import REGION_MM, maximum_intensity_views
from CoWLandmarksLib.pictures.report_picture import draw_picture, write_picture

ANATOMY = default_anatomy()
ATLAS = Path("/work/shared/data/anatomy/atlas.json")
COARSE_MM = 2.0  # samples of the pictures drawn here: a sixty-fourth of the work
DOT = np.array([30.0, 41.0, 20.0])  # patient's right, in front, above
QUARTER_TURN = np.array([[0, 1, 0, 3], [-1, 0, 0, -2], [0, 0, 1, 4], [0, 0, 0, 1]], float)


def volume_with_dot(
    centre: np.ndarray, ijk_to_ras: np.ndarray, shape: tuple[int, int, int] = (110, 140, 150)
) -> Volume:
    """Zeros but for a 5 x 5 x 5 block of 500 whose middle voxel is the one nearest to `centre` (RAS mm)."""
    voxels = np.zeros(shape, np.int16)
    i, j, k = np.rint(apply_affine(np.linalg.inv(ijk_to_ras), centre)).astype(int)
    voxels[k - 2 : k + 3, j - 2 : j + 3, i - 2 : i + 3] = 500
    return Volume(voxels, ijk_to_ras, "dot")


def detection(
    points: dict[str, tuple[float, float, float]],
    modality: Modality = Modality.MRA,
    ras_to_reference: np.ndarray | None = None,
    state: LandmarkState = LandmarkState.FOUND,
) -> Detection:
    landmarks = tuple(
        LandmarkEstimate(code, points[code], state, 0.9, 1.0)
        if code in points
        else LandmarkEstimate(code, None, LandmarkState.ABSENT, 0.9, 0.0)
        for code in ANATOMY.codes
    )
    return Detection(
        "dot", modality, Verdict.OK, (), landmarks, np.eye(4) if ras_to_reference is None else ras_to_reference
    )


def whole_region() -> np.ndarray:
    """ijk_to_ras of a 1 mm grid (150, 140, 110) around the shown region."""
    return axis_aligned_grid(REGION_MM.mean(axis=1), np.ones(3), (110, 140, 150)).ijk_to_ras


@pytest.mark.parametrize("modality", list(Modality))
@pytest.mark.parametrize("storage", ["RAS", "LPS", "axes swapped"])
def test_a_dot_on_the_right_in_front_and_above_is_seen_left_and_up(modality: Modality, storage: str) -> None:
    to_ras = whole_region()
    shape = (110, 140, 150)
    if storage == "LPS":
        to_ras = to_ras @ np.array([[-1, 0, 0, 149], [0, -1, 0, 139], [0, 0, 1, 0], [0, 0, 0, 1]], float)
    elif storage == "axes swapped":
        to_ras, shape = to_ras[:, [2, 0, 1, 3]], (140, 150, 110)
    found = detection({}, modality)
    for view, (column, row) in zip(
        maximum_intensity_views(volume_with_dot(DOT, to_ras, shape), found, ANATOMY, COARSE_MM),
        ((0, 1), (0, 2), (1, 2)),
        strict=True,
    ):
        middle = np.argwhere(view.image > 0.5 * view.image.max()).mean(axis=0)
        # The first picture column is the largest R (or A), the first row the largest A (or S).
        expected = [REGION_MM[row, 1] - DOT[row], REGION_MM[column, 1] - DOT[column]]
        np.testing.assert_allclose((middle + 0.5) * COARSE_MM, expected, atol=1.1)
        assert middle[0] < view.image.shape[0] / 2 and middle[1] < view.image.shape[1] / 2
        np.testing.assert_allclose(view.pixel_of(DOT)[0], expected[::-1])
        assert view.letters[0] == ("R" if column == 0 else "A") and view.letters[2] == ("A" if row == 1 else "S")


def test_the_views_are_those_of_the_reference_frame() -> None:
    """A scan lying a quarter turn askew is shown upright."""
    in_scan = apply_affine(np.linalg.inv(QUARTER_TURN), DOT)
    askew = np.linalg.inv(QUARTER_TURN) @ whole_region()
    volume = volume_with_dot(in_scan, askew)
    axial = maximum_intensity_views(volume, detection({}, ras_to_reference=QUARTER_TURN), ANATOMY, COARSE_MM)[0]
    middle = (np.argwhere(axial.image > 0.5).mean(axis=0) + 0.5) * COARSE_MM
    np.testing.assert_allclose(middle, [REGION_MM[1, 1] - DOT[1], REGION_MM[0, 1] - DOT[0]], atol=1.1)


def test_what_lies_beyond_the_scan_is_marked() -> None:
    half = axis_aligned_grid(np.array([-30.0, 14.0, 0.0]), np.ones(3), (100, 120, 60)).ijk_to_ras  # R from -60 to 0
    volume = Volume(np.ones((100, 120, 60), np.float32), half)
    axial, coronal, sagittal = maximum_intensity_views(volume, detection({}), ANATOMY, COARSE_MM)
    for view in (axial, coronal):
        seen = ~view.outside.all(axis=0)
        assert not seen[:28].any() and seen[28:].all()  # the patient's right half is missing
    assert not sagittal.outside[4:-4, 4:-4].any()


def test_the_region_grows_to_hold_a_stray_point() -> None:
    views = maximum_intensity_views(
        Volume(np.zeros((4, 4, 4), np.float32), np.eye(4)), detection({"BA-T": (70.0, 0.0, 0.0)}), ANATOMY, COARSE_MM
    )
    assert views[0].pixel_of(np.array([70.0, 0, 0]))[0, 0] == pytest.approx(6.0)


def test_bone_does_not_hide_a_vessel_in_cta() -> None:
    """A vessel of 350 HU in front of a bone of 1200 HU: dark around the vessel, bright on it."""
    voxels = np.full((110, 140, 150), 30, np.int16)
    to_ras = whole_region()
    i, j, k = np.rint(apply_affine(np.linalg.inv(to_ras), np.zeros(3))).astype(int)
    voxels[k - 1 : k + 2, j - 1 : j + 2, i - 15 : i + 16] = 350
    voxels[k + 5 : k + 15, j - 20 : j + 20, i - 20 : i + 20] = 1200
    points = {"R-ICA-T": (12.0, 0.0, 0.0), "R-M1-M2": (-12.0, 0.0, 0.0)}
    axial = maximum_intensity_views(Volume(voxels, to_ras), detection(points, Modality.CTA), ANATOMY, 1.0)[0]
    column, row = np.rint(axial.pixel_of(np.zeros(3))[0] / 1.0).astype(int)
    assert axial.image[row, column] > 0.6
    assert axial.image[row + 8, column] < 0.35  # 8 mm behind the vessel, below the bone


def colour_positions(canvas: Canvas, colour: tuple[int, int, int]) -> np.ndarray:
    """(n, 2) pixels (x, y) of exactly this colour in the axial panel (upper left of the page)."""
    part = canvas.pixels[104:880, :935]
    rows, columns = np.nonzero((np.abs(part - np.array(colour)) < 1.5).all(axis=2))
    return np.stack([columns, rows + 104], axis=1)


def test_markers_are_drawn_where_the_points_are() -> None:
    points = {"R-M1-M2": (30.0, 19.0, 2.0), "L-M1-M2": (-30.0, 19.0, 2.0), "BA-T": (0.0, 0.0, 0.0)}
    canvas = draw_picture(volume_with_dot(DOT, whole_region()), detection(points), ANATOMY, COARSE_MM)
    right = np.median(colour_positions(canvas, ANATOMY.landmark("R-M1-M2").rgb), axis=0)
    left = np.median(colour_positions(canvas, ANATOMY.landmark("L-M1-M2").rgb), axis=0)
    pixels_per_mm = (1800 - 2 * 28 - 16) / 208.0  # 112 mm + 96 mm side by side
    assert right[0] < left[0]  # radiological: R on the left
    np.testing.assert_allclose(left - right, [60 * pixels_per_mm, 0], atol=2)
    np.testing.assert_allclose(right, [28 + 26 * pixels_per_mm, 104 + 43 * pixels_per_mm], atol=2)


def test_uncertain_points_are_hollow_and_absent_ones_are_not_drawn() -> None:
    volume = volume_with_dot(DOT, whole_region())
    sure = draw_picture(volume, detection({"BA-T": (0.0, 0.0, 0.0)}), ANATOMY, COARSE_MM)
    unsure = draw_picture(
        volume, detection({"BA-T": (0.0, 0.0, 0.0)}, state=LandmarkState.UNCERTAIN), ANATOMY, COARSE_MM
    )
    centre = (round(28 + 56 * 1728 / 208), round(104 + 62 * 1728 / 208))
    np.testing.assert_allclose(sure.pixels[centre[1], centre[0]], ANATOMY.landmark("BA-T").rgb, atol=1)
    assert unsure.pixels[centre[1], centre[0]].max() < 40  # the scan shows through
    assert len(colour_positions(unsure, (255, 150, 20))) > 20
    assert len(colour_positions(draw_picture(volume, detection({}), ANATOMY, COARSE_MM), (255, 150, 20))) == 0


@pytest.mark.parametrize("verdict", [None, *Verdict])
def test_only_a_judged_scan_without_a_problem_has_a_green_header(verdict: Verdict | None) -> None:
    volume = volume_with_dot(DOT, whole_region())
    found = replace(detection({"BA-T": (0.0, 0.0, 0.0)}), verdict=verdict)
    red, green, blue = draw_picture(volume, found, ANATOMY, 4 * COARSE_MM).pixels[2, 2]
    assert (green > red and green > blue) == (verdict is Verdict.OK)


@pytest.mark.slow
def test_the_picture_is_written_the_same_every_time_and_any_text_fits(tmp_path: Path) -> None:
    found = replace(
        detection({"BA-T": (0.0, 0.0, 0.0)}),
        scan="x" * 400,
        verdict=Verdict.DO_NOT_TRUST,
        reasons=("A very long reason. " * 40,) * 8,
        provenance={"model": "m" * 300},
    )
    volume = volume_with_dot(DOT, whole_region())
    write_picture(tmp_path / "bericht ü.png", volume, found, ANATOMY)
    write_picture(tmp_path / "b.png", volume, found, ANATOMY)
    first, second = (path.read_bytes() for path in sorted(tmp_path.iterdir()))
    assert first == second and first.startswith(b"\x89PNG")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OutputError):
        write_picture(tmp_path / "folder.png", volume, found, ANATOMY)


@pytest.mark.skipif(not ATLAS.exists(), reason="needs /work/shared/data")
def test_labels_of_the_mean_circle_do_not_overlap() -> None:
    mean = np.array([entry["mean_patients"] for entry in json.loads(ATLAS.read_text())["landmarks"]])
    for axes in ((0, 1), (0, 2), (1, 2)):
        points = [tuple((REGION_MM[list(axes), 1] - point) * 8.3) for point in mean[:, list(axes)]]
        size = tuple(np.rint((REGION_MM[list(axes), 1] - REGION_MM[list(axes), 0]) * 8.3).astype(int))
        boxes = place_labels(points, [(90.0, 21.0)] * 19, np.zeros(size[::-1]), 5.5)
        assert not any(a.overlaps(b) for n, a in enumerate(boxes) for b in boxes[:n])
        assert all(b.left >= 0 and b.left + 90 <= size[0] and b.top >= 0 and b.top + 21 <= size[1] for b in boxes)
        assert max(np.hypot(*np.subtract(b.nearest(p), p)) for p, b in zip(points, boxes, strict=True)) < 130


def test_one_label_goes_to_the_dark_side() -> None:
    background = np.zeros((200, 300))
    background[:, 150:] = 1.0
    (box,) = place_labels([(150.0, 100.0)], [(60.0, 20.0)], background, 5.0)
    assert box.left + box.width <= 150
    assert place_labels([], [], background, 5.0) == []


def test_boxes_know_whether_they_overlap() -> None:
    assert Box(0, 0, 10, 10).overlaps(Box(9, 9, 5, 5))
    assert not Box(0, 0, 10, 10).overlaps(Box(10, 0, 5, 5))


def test_shapes_are_drawn_where_they_are_asked_for_even_at_the_edge() -> None:
    canvas = Canvas(40, 30, (0, 0, 0))
    canvas.disc((10.0, 20.0), 3.0, (255, 0, 0))
    canvas.line((-5.0, 5.0), (50.0, 5.0), (0, 255, 0), 1.0)
    canvas.ring((30.0, 20.0), 5.0, (0, 0, 255), 2.0)
    canvas.rectangle(38, 28, 50, 50, (9, 9, 9))
    assert canvas.pixels[20, 10].tolist() == [255, 0, 0] and canvas.pixels[20, 14, 0] == 0
    assert (canvas.pixels[5, :, 1] > 254).all()
    assert canvas.pixels[20, 35].tolist() == [0, 0, 255] and canvas.pixels[20, 30].tolist() == [0, 0, 0]
    assert canvas.pixels[29, 39].tolist() == [9, 9, 9]


def test_text_stands_upright_at_its_place() -> None:
    canvas = Canvas(60, 40, (0, 0, 0))
    canvas.text(10, 20, "L", 30, (255, 255, 255))
    rows, columns = np.nonzero(canvas.pixels[..., 0] > 128)
    assert columns.min() in range(10, 15) and abs((rows.min() + rows.max()) / 2 - 20) <= 2
    assert (rows > 20).sum() > (rows < 20).sum()  # the foot of an L is below
    assert text_width("WW", 20) > text_width("ii", 20) > 0 == text_width("", 20) - 1


def test_long_text_is_wrapped_or_shortened() -> None:
    lines = wrapped("one two three four five six", 20, 90)
    assert " ".join(lines) == "one two three four five six"
    assert len(lines) > 1 and all(text_width(line, 20) <= 90 for line in lines)
    assert shortened("short", 20, 500) == "short"
    assert text_width(shortened("w" * 99, 20, 100), 20) <= 100
