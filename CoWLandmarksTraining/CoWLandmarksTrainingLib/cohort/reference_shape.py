"""The mean landmark configuration of a cohort, and the axes and origin of the frame it rests in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from CoWLandmarksLib.core.alignment import ShapeModel, fit_similarity_robustly
from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.core.errors import AnnotationError
from CoWLandmarksLib.core.volume import apply_affine

from ..phantom.atlas import default_atlas

_EXTRA_SD_MM = 0.5
FEWEST_POINTS = 4
"""Fewer placed landmarks do not say how a head lies."""


def reference_shape(
    configurations: Sequence[np.ndarray], transforms: Sequence[np.ndarray | None], anatomy: Anatomy
) -> tuple[np.ndarray, str]:
    """Mean shape (n, 3) RAS mm in an AC-PC-like frame, and a sentence that says where the frame comes from.

    `configurations` (n, 3) RAS mm of the scans, NaN where unknown; `transforms` (4, 4) scan -> reference frame, where
    cases carry one. The frame is that of the program's atlas if it knows all landmarks, else that of the cases'
    transforms, else the mean of the scans' own axes with left and right on both sides of R = 0. Raises
    AnnotationError where no configuration has enough points or a landmark is annotated nowhere.
    """
    enough = [
        (points, matrix)
        for points, matrix in zip(configurations, transforms, strict=True)
        if np.isfinite(points).all(axis=1).sum() >= FEWEST_POINTS
    ]
    if not enough:
        raise AnnotationError(
            f"No case for training has {FEWEST_POINTS} placed landmarks or more; nothing can be aligned."
        )
    points, matrices = [entry[0] for entry in enough], [entry[1] for entry in enough]
    start, sentence = _start(points, matrices, anatomy)
    never = [code for code, place in zip(anatomy.codes, start, strict=True) if not np.isfinite(place).all()]
    if never:
        raise AnnotationError(
            f"The landmarks {', '.join(never)} are annotated in no case for training; annotate them, or use a "
            "landmark set without them (--anatomy)."
        )
    if len(points) == 1:
        return start, sentence
    with np.errstate(invalid="ignore"):
        mean = shape_model_of(np.array(points), start).mean
    return np.where(np.isfinite(mean), mean, start), sentence


def _start(
    points: Sequence[np.ndarray], matrices: Sequence[np.ndarray | None], anatomy: Anatomy
) -> tuple[np.ndarray, str]:
    atlas = default_atlas()
    if set(anatomy.codes) <= set(atlas.landmarks):
        order = [atlas.landmarks.index(code) for code in anatomy.codes]
        return atlas.shape_models["patients"].mean[order], "The frame is that of the program's atlas."
    carried = [apply_affine(matrix, p) for p, matrix in zip(points, matrices, strict=True) if matrix is not None]
    if carried:
        mean = _mean_of(carried)
        if np.isfinite(mean).all():
            return mean, f"The frame is that of the transforms which {len(carried)} cases carry."
    return _from_scan_axes(points, anatomy), (
        "The frame has the mean axes of the scans, because neither atlas nor cases know another one."
    )


def _from_scan_axes(points: Sequence[np.ndarray], anatomy: Anatomy) -> np.ndarray:
    """Mean of the configurations laid onto the most complete one, its left-right axis turned to R, centred at 0."""

    counts = [int(np.isfinite(p).all(axis=1).sum()) for p in points]
    first = points[int(np.argmax(counts))]
    laid = [first]
    for other in points:
        if other is not first and (np.isfinite(other) & np.isfinite(first)).all(axis=1).sum() >= 3:
            laid.append(apply_affine(fit_similarity_robustly(other, first).transform, other))
    mean = _mean_of(laid)
    mirrored = np.array(anatomy.mirror_permutation)
    paired = np.nonzero(mirrored != np.arange(len(mirrored)))[0]
    right = [i for i in paired if anatomy.landmarks[i].side.lower().startswith("r")]
    if right:
        across = np.nanmean(mean[right] - mean[mirrored[right]], axis=0)
        axis = across / np.linalg.norm(across)
        middle = np.nanmean((mean[right] + mean[mirrored[right]]) / 2.0, axis=0)
        return (mean - middle) @ _turning_to_r(axis).T
    return mean - np.nanmean(mean, axis=0)


def _turning_to_r(axis: np.ndarray) -> np.ndarray:
    """(3, 3) rotation that takes the unit vector `axis` to (1, 0, 0) by the shortest way (Rodrigues)."""
    r = np.array([1.0, 0.0, 0.0])
    v, c = np.cross(axis, r), float(axis @ r)
    if c < -0.999:
        return np.diag([-1.0, -1.0, 1.0])
    skew = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + skew + skew @ skew / (1.0 + c)


def _mean_of(configurations: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    stacked = np.array(configurations)
    known = np.isfinite(stacked).all(axis=2)
    total = np.where(known[:, :, None], stacked, 0.0).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: np.ndarray = total / known.sum(axis=0)[:, None]
    return mean


def shape_model_of(configurations: np.ndarray, start: np.ndarray) -> ShapeModel:
    """Mean and covariance of configurations after similarity alignment to their mean.

    `configurations` (m, n, 3) mm, NaN where absent (left out of the fit, filled with the mean); `start` (n, 3)
    is the reference the mean is laid onto, so that the model stays in its frame, and the mean of what nobody has.
    """
    mean = start
    for _ in range(2):
        aligned = np.array(
            [apply_affine(fit_similarity_robustly(points, mean).transform, points) for points in configurations]
        )
        mean = _mean_of(aligned)
        back = fit_similarity_robustly(mean, start).transform
        mean, aligned = apply_affine(back, mean), apply_affine(back, aligned)
        mean = np.where(np.isfinite(mean), mean, start)
    residuals = np.nan_to_num((aligned - mean).reshape(len(aligned), -1))
    covariance = residuals.T @ residuals / len(residuals) + _EXTRA_SD_MM**2 * np.eye(residuals.shape[1])
    return ShapeModel(mean, covariance)
