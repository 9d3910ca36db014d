"""A picture of errors: three maximum-intensity views with true points as rings and estimates as discs."""

from __future__ import annotations

from os import PathLike

import numpy as np
from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.core.volume import Grid
from CoWLandmarksLib.pictures.canvas import Canvas, Colour, shortened
from scipy import ndimage

_HEIGHT, _GAP, _HEADER = 440, 8, 40
_BACKGROUND: Colour = (18, 22, 28)
_WHITE: Colour = (240, 243, 246)
_WRONG: Colour = (255, 90, 80)
_WRONG_MM = 3.0


def draw_errors(
    image: np.ndarray, grid: Grid, truth: np.ndarray, estimated: np.ndarray, anatomy: Anatomy, title: str
) -> Canvas:
    """Axial, coronal and sagittal view of `image` [k, j, i] on `grid` (i, j, k along R, A, S).

    `truth`, `estimated` (n, 3) RAS mm, NaN for none. Points more than 3 mm off are joined to the truth and named.
    R, A and S grow towards the left and upper edge.
    """
    low, high = _window(image)
    grey = np.clip((image - low) / max(high - low, 1e-6), 0.0, 1.0)
    views = [(2, 0, 1, "RA"), (1, 0, 2, "RS"), (0, 1, 2, "AS")]  # looked along, across, down: 0 R, 1 A, 2 S
    extent = grid.size * grid.spacing
    scales = [_HEIGHT / extent[down] for _, _, down, _ in views]
    widths = [round(extent[across] * scale) for (_, across, _, _), scale in zip(views, scales, strict=True)]
    canvas = Canvas(sum(widths) + _GAP * (len(views) + 1), _HEADER + _HEIGHT + _GAP, _BACKGROUND)
    canvas.text(_GAP, _HEADER / 2, shortened(title, 19, canvas.pixels.shape[1] - 2 * _GAP), 19, _WHITE)
    left = _GAP
    for (along, across, down, letters), scale, width in zip(views, scales, widths, strict=True):
        view = grey.max(axis=2 - along)[::-1, ::-1]
        zoom = (_HEIGHT / view.shape[0], width / view.shape[1])
        enlarged = np.clip(ndimage.zoom(view, zoom, order=1, grid_mode=True, mode="nearest"), 0, 1)[:_HEIGHT, :width]
        canvas.image(left, _HEADER, np.repeat(255.0 * enlarged[..., None], 3, axis=2))
        canvas.text(left + 6, _HEADER + _HEIGHT / 2, letters[0], 18, _WHITE, bold=True)
        canvas.text(left + width / 2, _HEADER + 14, letters[1], 18, _WHITE, bold=True, align=0.5)
        corner = grid.corners().max(axis=0)[[across, down]]
        true_xy, found_xy = ((corner - points[:, [across, down]]) * scale for points in (truth, estimated))
        _draw_points(canvas, (left, _HEADER), true_xy, found_xy, np.linalg.norm(estimated - truth, axis=1), anatomy)
        left += width + _GAP
    return canvas


def _window(image: np.ndarray) -> tuple[float, float]:
    """Values shown black and white: the median and the brightest of what is not background."""
    if np.ptp(image) == 0:
        return 0.0, 1.0
    low, high = np.quantile(image[image > image.min()], (0.5, 0.998))
    return (float(low), float(high)) if high > low else (float(image.min()), float(high))


def _draw_points(
    canvas: Canvas, corner: tuple[int, int], truth: np.ndarray, found: np.ndarray, errors: np.ndarray, anatomy: Anatomy
) -> None:
    """`truth`, `found` (n, 2) pixels from `corner`, NaN for none; `errors` (n,) mm."""
    for number, landmark in enumerate(anatomy.landmarks):
        wrong = bool(errors[number] > _WRONG_MM)
        places = [tuple(float(v) for v in points[number] + corner) for points in (truth, found)]
        there = [bool(np.isfinite(points[number]).all()) for points in (truth, found)]
        if all(there) and wrong:
            canvas.line(places[0], places[1], _WRONG, 1.5)  # type: ignore[arg-type]
        if there[0]:
            canvas.ring(places[0], 5.0, _WRONG if wrong else landmark.rgb)  # type: ignore[arg-type]
        if there[1]:
            canvas.disc(places[1], 2.5, _WRONG if wrong else landmark.rgb)  # type: ignore[arg-type]
        if there[0] and wrong:
            canvas.text(places[0][0] + 8, places[0][1], landmark.code, 13, _WHITE)


def write_error_picture(
    path: str | PathLike[str],
    image: np.ndarray,
    grid: Grid,
    truth: np.ndarray,
    estimated: np.ndarray,
    anatomy: Anatomy,
    title: str,
) -> None:
    """`draw_errors` as a PNG file, all at once; raises OutputError."""
    draw_errors(image, grid, truth, estimated, anatomy, title).write_png(path)
