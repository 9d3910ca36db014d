"""A picture of an alignment: the mean of all crops of a modality, with the landmarks of every case on it.

Where the alignment is good the large arteries stay sharp in the mean and the landmarks lie in small clouds.
"""

from __future__ import annotations

from os import PathLike

import numpy as np
from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.core.volume import Grid, Modality
from CoWLandmarksLib.pictures.canvas import Canvas, Colour, shortened
from scipy import ndimage

from ..records.aligned_folder import AlignedCase, AlignedCohort

_HEIGHT, _GAP, _HEADER = 420, 8, 34
_BACKGROUND: Colour = (18, 22, 28)
_WHITE: Colour = (240, 243, 246)
_LETTER: Colour = (255, 190, 40)
_MOST_CASES = 60
_VIEWS = ((2, 0, 1), (1, 0, 2), (0, 1, 2))
"""Looked along, across, down: 0 R, 1 A, 2 S."""


def write_alignment_picture(path: str | PathLike[str], cohort: AlignedCohort) -> None:
    """Write the picture as PNG, all at once; one row of axial, coronal and sagittal views for each modality.

    Raises OutputError when it cannot be written, AnnotationError when a crop cannot be read.
    """
    grid = cohort.frame.grid
    extent = grid.size * grid.spacing
    scales = [_HEIGHT / extent[down] for _, _, down in _VIEWS]
    widths = [round(extent[across] * scale) for (_, across, _), scale in zip(_VIEWS, scales, strict=True)]
    rows = [(m, cases) for m in Modality if (cases := cohort.cases(modality=m))]
    height = _HEADER + _HEIGHT + _GAP
    canvas = Canvas(sum(widths) + _GAP * (len(widths) + 1), max(1, len(rows)) * height, _BACKGROUND)
    for number, (modality, cases) in enumerate(rows):
        top = number * height + _HEADER
        canvas.text(_GAP, top - _HEADER / 2, _title(cohort, modality, cases), 18, _WHITE)
        mean = _mean_crop(cases, grid)
        left = _GAP
        for view, scale, width in zip(_VIEWS, scales, widths, strict=True):
            canvas.image(left, top, _projected(mean, view, width))
            canvas.text(left + 6, top + _HEIGHT / 2, "RAS"[view[1]], 18, _LETTER, bold=True)
            canvas.text(left + width / 2, top + 14, "RAS"[view[2]], 18, _LETTER, bold=True, align=0.5)
            _draw_landmarks(canvas, (left, top), cases, cohort.anatomy, grid, view, scale)
            left += width + _GAP
    canvas.write_png(path)


def _title(cohort: AlignedCohort, modality: Modality, cases: tuple[AlignedCase, ...]) -> str:
    residual = float(np.nanmean([case.residual_mm for case in cases]))
    text = (
        f"{modality.value.upper()}: mean of {sum(case.has_image for case in cases)} scans aligned by "
        f"{cohort.frame.method}; landmarks of {len(cases)} cases, {residual:.1f} mm from their mean places"
    )
    return shortened(text, 18, 1e6)


def _mean_crop(cases: tuple[AlignedCase, ...], grid: Grid) -> np.ndarray:
    """float32 [k, j, i] mean in network units; zeros where no case has an image."""
    with_image = [case for case in cases if case.has_image][:_MOST_CASES]
    total = np.zeros(grid.shape, np.float32)
    for case in with_image:
        total += np.clip(case.crop().astype(np.float32), 0.0, None)
    return total / max(1, len(with_image))


def _projected(mean: np.ndarray, view: tuple[int, int, int], width: int) -> np.ndarray:
    """RGB of the maximum along one axis; R, A and S grow towards the left and upper edge."""
    flat = mean.max(axis=2 - view[0])[::-1, ::-1]
    low, high = np.quantile(flat, (0.02, 0.998)) if np.ptp(flat) > 0 else (0.0, 1.0)
    grey = np.clip((flat - low) / max(float(high - low), 1e-6), 0.0, 1.0)
    zoom = (_HEIGHT / grey.shape[0], width / grey.shape[1])
    enlarged = np.clip(ndimage.zoom(grey, zoom, order=1, grid_mode=True, mode="nearest"), 0.0, 1.0)
    return np.repeat(255.0 * enlarged[:_HEIGHT, :width, None], 3, axis=2)


def _draw_landmarks(
    canvas: Canvas,
    corner: tuple[int, int],
    cases: tuple[AlignedCase, ...],
    anatomy: Anatomy,
    grid: Grid,
    view: tuple[int, int, int],
    scale: float,
) -> None:
    _, across, down = view
    edge = grid.corners().max(axis=0)[[across, down]]
    size = (grid.corners().max(axis=0) - grid.corners().min(axis=0))[[across, down]] * scale
    for case in cases:
        for landmark, point in zip(anatomy.landmarks, case.landmarks, strict=True):
            x, y = (edge - point[[across, down]]) * scale
            if np.isfinite(x) and np.isfinite(y) and 2 < x < size[0] - 2 and 2 < y < size[1] - 2:
                canvas.disc((float(corner[0] + x), float(corner[1] + y)), 2.0, landmark.rgb, opacity=0.8)
