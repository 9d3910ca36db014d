"""The report picture: verdict first, three views with labelled points, and a table of all landmarks."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
from scipy import ndimage

from ..core.anatomy import Anatomy
from ..core.artery_map import ArteryMap
from ..core.circle_variant import summary_line
from ..core.detection import Detection, LandmarkEstimate, LandmarkState, Verdict
from ..core.volume import Modality, Volume, apply_affine
from .canvas import Canvas, Colour, shortened, text_width, wrapped
from .label_placement import place_labels
from .projection import SAMPLE_MM, Projection, maximum_intensity_views

PAGE_WIDTH = 1800
_MARGIN, _GAP, _HEADER, _FOOTER = 28, 16, 104, 58
_BACKGROUND: Colour = (18, 22, 28)
_PANEL: Colour = (28, 34, 42)
_WHITE: Colour = (240, 243, 246)
_GREY: Colour = (150, 160, 170)
_ORANGE: Colour = (255, 150, 20)
_MARKER_RADIUS = 5.5
_TINT = 0.8
"""How much of an artery's colour covers the image."""
_LABEL_SIZE = 17
_VERDICTS: dict[Verdict | None, Colour] = {
    None: (74, 90, 107),
    Verdict.OK: (38, 128, 74),
    Verdict.REVIEW: (176, 98, 0),
    Verdict.DO_NOT_TRUST: (178, 34, 34),
}
_MODALITIES = {Modality.MRA: "TOF-MRA", Modality.CTA: "CTA"}
DISCLAIMER = "Research use only - not a medical device"


def write_picture(
    path: str | PathLike[str],
    volume: Volume,
    detection: Detection,
    anatomy: Anatomy,
    arteries: ArteryMap | None = None,
) -> None:
    """Write the report picture as a PNG file, all at once; needs no display. Raises OutputError."""
    draw_picture(volume, detection, anatomy, arteries=arteries).write_png(path)


def draw_picture(
    volume: Volume,
    detection: Detection,
    anatomy: Anatomy,
    sample_mm: float = SAMPLE_MM,
    arteries: ArteryMap | None = None,
) -> Canvas:
    """The report picture: axial view over coronal view, sagittal view to the right of it, the table above that.

    With `arteries` their lumens are shown in their colours.
    """
    axial, coronal, sagittal = maximum_intensity_views(volume, detection, anatomy, sample_mm, arteries)
    millimetres = axial.image.shape[1] + sagittal.image.shape[1]
    scale = (PAGE_WIDTH - 2 * _MARGIN - _GAP) / millimetres
    left, top = _MARGIN, _HEADER
    right = left + round(axial.image.shape[1] * scale) + _GAP
    below = top + round(axial.image.shape[0] * scale) + _GAP
    height = below + round(coronal.image.shape[0] * scale) + _FOOTER
    canvas = Canvas(PAGE_WIDTH, height, _BACKGROUND)
    _draw_header(canvas, detection, () if arteries is None else arteries.absent)
    for view, x, y in ((axial, left, top), (coronal, left, below), (sagittal, right, below)):
        _draw_view(canvas, view, x, y, scale, detection, anatomy)
    _draw_table(canvas, right, top, PAGE_WIDTH - _MARGIN - right, below - _GAP - top, detection, anatomy)
    _draw_footer(canvas, detection)
    return canvas


def _draw_header(canvas: Canvas, detection: Detection, absent: Sequence[str]) -> None:
    headline, colour = detection.headline, _VERDICTS[detection.verdict]
    canvas.rectangle(0, 0, PAGE_WIDTH, _HEADER - _GAP, colour)
    canvas.text(_MARGIN, 31, headline, 34, _WHITE, bold=True)
    summary = summary_line(detection.landmarks, absent)
    canvas.text(_MARGIN, 67, shortened(summary, 20, PAGE_WIDTH - 2 * _MARGIN), 20, _WHITE)
    scan = f"{detection.scan}  ({_MODALITIES[detection.modality]})"
    free = PAGE_WIDTH - 3 * _MARGIN - text_width(headline, 34, bold=True)
    canvas.text(PAGE_WIDTH - _MARGIN, 31, shortened(scan, 26, free), 26, _WHITE, align=1.0)


def _draw_footer(canvas: Canvas, detection: Detection) -> None:
    y = canvas.pixels.shape[0] - _FOOTER / 2 + 1
    canvas.text(_MARGIN, y, DISCLAIMER, 22, _WHITE, bold=True)
    parts = [f"Model: {_model_name(detection.provenance.get('model'))}", str(detection.provenance.get("program", ""))]
    free = PAGE_WIDTH - 3 * _MARGIN - text_width(DISCLAIMER, 22, bold=True)
    text = shortened("  |  ".join(part for part in parts if part), 19, free)
    canvas.text(PAGE_WIDTH - _MARGIN, y, text, 19, _GREY, align=1.0)


def _model_name(model: Any) -> str:
    if isinstance(model, dict):
        model = model.get("name")
    return str(model) if model else "not recorded"


def _draw_view(
    canvas: Canvas, view: Projection, x: int, y: int, scale: float, detection: Detection, anatomy: Anatomy
) -> None:
    """One view with its frame of letters, points and labels; (x, y) is its upper left corner, `scale` px/sample."""
    width, height = round(view.image.shape[1] * scale), round(view.image.shape[0] * scale)
    image = _enlarged(view.image, width, height)
    outside = _enlarged(view.outside.astype(np.float32), width, height) > 0.5
    canvas.image(x, y, _tinted(_coloured(image, outside), view, image, anatomy))
    letters = _draw_letters(canvas, view, x, y, width, height)
    _draw_scale_bar(canvas, x + width - 16, y + height - 16, scale / view.sample_mm)
    estimates = [estimate for estimate in detection.landmarks if estimate.position is not None]
    if not estimates:
        return
    reference = apply_affine(detection.ras_to_reference, np.array([estimate.position for estimate in estimates]))
    pixels = view.pixel_of(reference) * scale / view.sample_mm
    points = [(float(px), float(py)) for px, py in pixels]
    texts = [_label(estimate) for estimate in estimates]
    sizes = [(text_width(text, _LABEL_SIZE, bold=True) + 8.0, _LABEL_SIZE + 4.0) for text in texts]
    busy = image.copy()
    for box_x, box_y, box_width, box_height in letters:  # keep labels off the letters
        busy[box_y : box_y + box_height, box_x : box_x + box_width] = 8.0
    boxes = place_labels(points, sizes, busy, _MARKER_RADIUS)
    colours = [_colour(estimate, anatomy) for estimate in estimates]
    for point, box, colour in zip(points, boxes, colours, strict=True):
        end = np.array(box.nearest(point))
        length = float(np.hypot(*(end - point)))
        start = point + (end - point) * min(1.0, _MARKER_RADIUS / max(length, 1e-9))  # a hollow marker stays hollow
        for line_colour, line_width in ((_BACKGROUND, 4.0), (colour, 1.8)):
            canvas.line((x + start[0], y + start[1]), (x + end[0], y + end[1]), line_colour, line_width, opacity=0.9)
    for point, estimate, colour in zip(points, estimates, colours, strict=True):
        _draw_marker(canvas, (x + point[0], y + point[1]), estimate.state, colour)
    for text, box, colour in zip(texts, boxes, colours, strict=True):
        canvas.rectangle(x + box.left, y + box.top, box.width, box.height, _BACKGROUND, opacity=0.72)
        middle = (x + box.left + box.width / 2, y + box.top + box.height / 2)
        canvas.text(*middle, text, _LABEL_SIZE, _readable(colour), bold=True, align=0.5)


def _enlarged(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Image [row, column] resized to (height, width); pixel edges stay at the picture's edges."""
    factors = (height / image.shape[0], width / image.shape[1])
    rows = (np.arange(height) + 0.5) / factors[0] - 0.5
    columns = (np.arange(width) + 0.5) / factors[1] - 0.5
    grid = np.meshgrid(rows, columns, indexing="ij")
    enlarged = ndimage.map_coordinates(image.astype(np.float32), grid, order=2, mode="nearest")
    return np.clip(enlarged, 0.0, 1.0)


def _coloured(image: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Grey image as RGB [row, column, 3]; where the scan ends, diagonal stripes."""
    rgb = np.repeat((255.0 * image)[..., None], 3, axis=2)
    row, column = np.ogrid[: image.shape[0], : image.shape[1]]
    stripes = ((row + column) // 7) % 3 == 0
    rgb[outside] = np.where(stripes[outside][:, None], (52.0, 62.0, 78.0), (30.0, 36.0, 46.0))
    return rgb


def _tinted(rgb: np.ndarray, view: Projection, image: np.ndarray, anatomy: Anatomy) -> np.ndarray:
    """The picture with the lumens of the arteries in their colours, as bright as the image is there."""
    if not view.labels.any():
        return rgb
    height, width = image.shape
    colours = np.zeros((256, 3), np.float32)
    for artery in anatomy.arteries:
        colours[artery.label] = artery.rgb
    share = _TINT * _enlarged((view.labels > 0).astype(np.float32), width, height)[..., None]
    tint = np.stack([_enlarged(colours[view.labels][..., c] / 255.0, width, height) for c in range(3)], axis=-1)
    # The tint was blended with black at the edge of the lumen.
    tint = 255.0 * tint / np.maximum(share / _TINT, 0.05) * (0.45 + 0.55 * image[..., None])
    return np.asarray((1.0 - share) * rgb + share * np.clip(tint, 0.0, 255.0))


def _draw_letters(
    canvas: Canvas, view: Projection, x: int, y: int, width: int, height: int
) -> list[tuple[int, int, int, int]]:
    """Title and the letters of the four edges; returns their boxes (x, y, width, height) within the view."""
    title_width = text_width(view.title, 20, bold=True)
    canvas.rectangle(x, y, title_width + 24, 36, _BACKGROUND, opacity=0.6)
    canvas.text(x + 12, y + 18, view.title, 20, _WHITE, bold=True)
    boxes = [(0, 0, title_width + 24, 36), (width - 120, height - 48, 120, 48)]
    left, right, top, bottom = view.letters
    for letter, cx, cy in (
        (left, 20, height / 2),
        (right, width - 20, height / 2),
        (top, width / 2, 20),
        (bottom, width / 2, height - 20),
    ):
        canvas.disc((x + cx, y + cy), 15, _BACKGROUND, opacity=0.6)
        canvas.text(x + cx, y + cy, letter, 26, (255, 220, 90), bold=True, align=0.5)
        boxes.append((round(cx) - 15, round(cy) - 15, 30, 30))
    return boxes


def _draw_scale_bar(canvas: Canvas, right: float, bottom: float, pixels_per_mm: float) -> None:
    length = 10.0 * pixels_per_mm
    canvas.rectangle(right - length - 8, bottom - 30, length + 16, 38, _BACKGROUND, opacity=0.6)
    start = (right - 10.0 * pixels_per_mm, bottom)
    canvas.line(start, (right, bottom), _WHITE, 3.0)
    canvas.text(right - 5.0 * pixels_per_mm, bottom - 16, "10 mm", 16, _WHITE, align=0.5)


def _draw_marker(canvas: Canvas, centre: tuple[float, float], state: LandmarkState, colour: Colour) -> None:
    """Filled where found, hollow where uncertain; both with a dark rim, to be seen on bright vessels."""
    if state is LandmarkState.UNCERTAIN:
        canvas.ring(centre, _MARKER_RADIUS + 1.0, _BACKGROUND, 6.0)
        canvas.ring(centre, _MARKER_RADIUS + 1.0, _ORANGE, 3.0)
        return
    canvas.disc(centre, _MARKER_RADIUS + 2.0, _BACKGROUND)
    canvas.disc(centre, _MARKER_RADIUS, colour)


def _label(estimate: LandmarkEstimate) -> str:
    return f"{estimate.code} ?" if estimate.state is LandmarkState.UNCERTAIN else estimate.code


def _colour(estimate: LandmarkEstimate, anatomy: Anatomy) -> Colour:
    return _ORANGE if estimate.state is LandmarkState.UNCERTAIN else anatomy.landmark(estimate.code).rgb


def _readable(colour: Colour) -> Colour:
    """The colour, as light as text on a dark ground has to be."""
    red, green, blue = (round(value + 0.5 * (255 - value)) for value in colour)
    return red, green, blue


def _draw_table(
    canvas: Canvas, x: int, y: int, width: int, height: int, detection: Detection, anatomy: Anatomy
) -> None:
    """Reasons and one row per landmark, in the free quarter of the page."""
    canvas.rectangle(x, y, width, height, _PANEL)
    left, line, line_height = x + 20, y + 28.0, 24
    remarks = [wrapped(remark, 18, width - 60) for remark in (*detection.reasons, *detection.warnings)]
    lines = [(text, number == 0) for remark in remarks for number, text in enumerate(remark)]
    lines_left = int((height - 120 - 24 * len(detection.landmarks)) // line_height)
    if len(lines) > lines_left:
        lines = [*lines[: max(0, lines_left - 1)], ("more in detection.json ...", True)]
    for text, is_first in lines or [("No remarks.", False)]:
        if is_first:
            canvas.disc((left + 5, line + 1), 3, _WHITE)
        canvas.text(left + (16 if lines else 0), line, text, 18, _WHITE)
        line += line_height
    rows_top = line + 36
    row_height = min(34.0, (y + height - 44 - rows_top) / len(detection.landmarks))
    columns = (left + 26, left + 190, left + 420, left + 590)
    for column, title in zip(columns, ("Landmark", "State", "Confidence", "Expected error"), strict=True):
        canvas.text(column, rows_top - 22, title, 17, _GREY)
    canvas.line((left, rows_top - 7), (x + width - 20, rows_top - 7), _GREY, 1.0, opacity=0.6)
    for number, estimate in enumerate(detection.landmarks):
        middle = rows_top + row_height * (number + 0.5)
        placed = estimate.position is not None
        colour = _WHITE if estimate.state is LandmarkState.FOUND else _ORANGE if placed else _GREY
        if placed:
            _draw_marker(canvas, (left + 9, middle), estimate.state, _colour(estimate, anatomy))
        else:
            canvas.line((left + 4, middle), (left + 14, middle), _GREY, 2.0)
        canvas.text(columns[0], middle, estimate.code, 19, colour, bold=True)
        canvas.text(columns[1], middle, _state_text(estimate), 18, colour)
        if placed:
            canvas.text(columns[2], middle, f"{100 * estimate.confidence:.0f} %", 18, colour)
            canvas.text(columns[3], middle, f"{estimate.error_mm:.1f} mm", 18, colour)
    legend = "Filled: found. Orange ring: uncertain. Stripes: beyond the scan. Dimmed away from the arteries"
    legend += ", no bone." if detection.modality is Modality.CTA else "."
    canvas.text(left, y + height - 22, legend, 15, _GREY)


def _state_text(estimate: LandmarkEstimate) -> str:
    names = {LandmarkState.UNCERTAIN: "uncertain", LandmarkState.OUTSIDE: "outside the scan"}
    text = names.get(estimate.state, estimate.state.value)
    details = [label for label, true in (("by rule", estimate.by_rule), ("corrected", estimate.corrected)) if true]
    return ", ".join([text, *details])
