"""Operations on centrelines: polylines of shape (n, 3) in mm."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

STEP_MM = 0.5


def arc_length(points: np.ndarray) -> np.ndarray:
    """Length (n,) along the polyline up to every vertex."""
    steps = points[1:] - points[:-1]
    along = np.empty(len(points))
    along[0] = 0.0
    np.sqrt((steps**2).sum(axis=1)).cumsum(out=along[1:])
    return along


def length(points: np.ndarray) -> float:
    """Length of the polyline."""
    return float(np.sqrt(((points[1:] - points[:-1]) ** 2).sum(axis=1)).sum())


def at_arc(points: np.ndarray, positions: np.ndarray | float) -> np.ndarray:
    """Points (..., 3) at these arc lengths, clamped to the ends."""
    return _at(points, arc_length(points), positions)


def _at(points: np.ndarray, along: np.ndarray, positions: np.ndarray | float) -> np.ndarray:
    result = np.empty((*np.shape(positions), 3))
    for axis in range(3):
        result[..., axis] = np.interp(positions, along, points[:, axis])
    return result


def resampled(points: np.ndarray, step: float = STEP_MM) -> np.ndarray:
    """Evenly spaced vertices about `step` apart; both ends stay where they are."""
    along = arc_length(points)
    count = max(int(np.ceil(along[-1] / step)), 1) + 1
    new = _at(points, along, np.linspace(0.0, along[-1], count))
    new[0], new[-1] = points[0], points[-1]
    return new


def natural_cubic(knots: np.ndarray, values: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Natural cubic spline through `values` (n, d) at increasing `knots` (n,), evaluated at `positions` (m,).

    Written out because scipy's checks cost ten times the arithmetic on curves of a dozen points.
    """
    gaps = knots[1:] - knots[:-1]
    slopes = (values[1:] - values[:-1]) / gaps[:, None]
    curvature = np.zeros_like(values)
    inner = len(knots) - 2
    if inner > 0:
        matrix = np.zeros((inner, inner))
        matrix.flat[:: inner + 1] = 2 * (gaps[:-1] + gaps[1:])
        matrix.flat[1 :: inner + 1] = gaps[1:-1]
        matrix.flat[inner :: inner + 1] = gaps[1:-1]
        curvature[1:-1] = np.linalg.solve(matrix, 6 * (slopes[1:] - slopes[:-1]))
    left = (np.searchsorted(knots, positions, side="right") - 1).clip(0, len(gaps) - 1)
    gap = gaps[left][:, None]
    b = (positions - knots[left])[:, None] / gap
    a = 1 - b
    bend = (a**3 - a) * curvature[left] + (b**3 - b) * curvature[left + 1]
    return a * values[left] + b * values[left + 1] + bend * gap**2 / 6


def spline(control: np.ndarray, step: float = STEP_MM) -> np.ndarray:
    """Natural cubic spline through `control` (centripetal parameter), evenly spaced about `step` apart."""
    gaps = np.sqrt(((control[1:] - control[:-1]) ** 2).sum(axis=1))
    keep = np.concatenate(([True], gaps > 1e-3))
    kept = control[keep]
    parameter = np.concatenate(([0.0], np.cumsum(gaps[keep[1:]] ** 0.5)))
    count = max(int(np.ceil(gaps.sum() / step)) * 3, 8)
    dense = natural_cubic(parameter, kept, np.linspace(0.0, parameter[-1], count))
    dense[0], dense[-1] = control[0], control[-1]
    return resampled(dense, step)


def smoothed(points: np.ndarray, sigma_mm: float) -> np.ndarray:
    """Gaussian smoothing along an evenly spaced polyline; both ends stay where they are."""
    sigma = sigma_mm / max(length(points) / (len(points) - 1), 1e-6)
    reach = min(int(4 * sigma) + 1, len(points) - 1)
    head = 2 * points[0] - points[reach:0:-1]
    tail = 2 * points[-1] - points[-2 : -reach - 2 : -1]
    padded = np.concatenate((head, points, tail))
    return gaussian_filter1d(padded, sigma, axis=0, truncate=4.0, mode="nearest")[reach : reach + len(points)]


def joined(*parts: np.ndarray) -> np.ndarray:
    """Polylines one after the other, each beginning where the last one ended."""
    return np.concatenate([parts[0], *(part[1:] for part in parts[1:])])


def with_vertex(points: np.ndarray, position: float) -> tuple[np.ndarray, int]:
    """The same polyline with a vertex at this arc length (no change of shape), and the index of that vertex."""
    along = arc_length(points)
    index = int(np.searchsorted(along, position))
    for near in (index - 1, index):
        if 0 <= near < len(points) and abs(along[near] - position) < 1e-9:
            return points, near
    index = min(max(index, 1), len(points) - 1)
    return np.insert(points, index, at_arc(points, position), axis=0), index


def nearest_vertex(points: np.ndarray, target: np.ndarray, first: int = 0, last: int | None = None) -> int:
    """Index of the vertex nearest to `target`, searched from `first` to `last` (inclusive)."""
    stop = len(points) if last is None else last + 1
    return first + int(np.argmin(np.sum((points[first:stop] - target) ** 2, axis=1)))


def sharpest_turn(points: np.ndarray, position: float, reach: float, arm: float) -> int:
    """Vertex where chords of length `arm` to both sides turn most, within `reach` mm of this arc length."""
    along = arc_length(points)
    candidates = np.flatnonzero(
        (np.abs(along - position) <= reach) & (along > 0.3 * arm) & (along < along[-1] - 0.3 * arm)
    )
    if len(candidates) == 0:
        return int(np.argmin(np.abs(along - position)))
    here = points[candidates]
    before = here - at_arc(points, along[candidates] - arm)
    after = at_arc(points, along[candidates] + arm) - here
    norms = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    cosine = np.sum(before * after, axis=1) / np.maximum(norms, 1e-9)
    return int(candidates[np.argmin(cosine)])


def hung(control: np.ndarray, start: np.ndarray, end: np.ndarray, deviation: float = 1.0) -> np.ndarray:
    """Control points moved so that the ends are `start` and `end`; the deviation from the chord is scaled."""
    along = arc_length(control)
    u = (along / along[-1])[:, None]
    chord = control[0] + (control[-1] - control[0]) * u
    return start + (end - start) * u + deviation * (control - chord)


def hung_to_tortuosity(control: np.ndarray, start: np.ndarray, end: np.ndarray, tortuosity: float) -> np.ndarray:
    """Like `hung`, with the deviation (0.3 to 2.5 fold) that gives this length / chord ratio."""
    target = tortuosity * float(np.linalg.norm(end - start))
    factors = np.linspace(0.3, 2.5, 9)
    lengths = np.array([length(hung(control, start, end, factor)) for factor in factors])
    return hung(control, start, end, float(np.interp(target, np.maximum.accumulate(lengths), factors)))


def wavy(points: np.ndarray, rng: np.random.Generator, amplitude: float, wavelength: float) -> np.ndarray:
    """The polyline with smooth random offsets (standard deviation `amplitude`), none at the ends."""
    along = arc_length(points)
    knots = max(round(along[-1] / (0.5 * wavelength)), 2) + 1
    offsets = rng.normal(0.0, amplitude, (knots, 3))
    offsets[0] = offsets[-1] = 0.0
    positions = np.linspace(0.0, along[-1], knots)
    return points + natural_cubic(positions, offsets, along)


def warp(points: np.ndarray, source: np.ndarray, target: np.ndarray, sigma_mm: float = 10.0) -> np.ndarray:
    """Points (n, 3) carried along with landmarks `source` -> `target` (k, 3), fading with the distance to them."""
    squared = np.sum((points[:, None, :] - source[None]) ** 2, axis=2)
    weights = np.exp(-0.5 * squared / sigma_mm**2)
    return points + (weights @ (target - source)) / (weights.sum(axis=1, keepdims=True) + 0.2)


def unit(vector: np.ndarray) -> np.ndarray:
    """The vector at length 1."""
    return vector / max(float(np.linalg.norm(vector)), 1e-9)


def slow_noise(rng: np.random.Generator, count: int, amplitude: float) -> np.ndarray:
    """Smooth random offsets (count, 3) from three half waves."""
    u = np.linspace(0.0, 1.0, count)[:, None]
    waves = np.concatenate([np.sin(np.pi * k * u) / k for k in (1, 2, 3)], axis=1)
    return waves @ rng.normal(0.0, amplitude, (3, 3))


def tangents(points: np.ndarray, reach: int = 4) -> np.ndarray:
    """Unit directions (n, 3) along an evenly spaced polyline, over `reach` vertices to both sides."""
    index = np.arange(len(points))
    step = points[np.minimum(index + reach, len(points) - 1)] - points[np.maximum(index - reach, 0)]
    return step / np.maximum(np.sqrt(np.sum(step**2, axis=1, keepdims=True)), 1e-9)


def clear_of(points: np.ndarray, others: np.ndarray, gap_mm: float, free_mm: float) -> np.ndarray:
    """The polyline pushed away from `others` (m, 3) until it is `gap_mm` off, beyond its first `free_mm`."""
    along = arc_length(points)
    thinned = others[::3]
    # |p - q|^2 by one product of matrices; the norm of p does not change which q is nearest.
    squared = (thinned**2).sum(axis=1) - 2.0 * (points @ thinned.T)
    nearest = thinned[squared.argmin(axis=1)]
    distance = np.sqrt(((points - nearest) ** 2).sum(axis=1))
    missing = np.clip(gap_mm - distance, 0.0, None) * np.clip((along - 0.5 * free_mm) / free_mm, 0.0, 1.0)
    if not missing.any():
        return points
    away = (points - nearest) / np.maximum(distance, 0.3)[:, None]
    moved = smoothed(np.column_stack([along, away * missing[:, None]]), 1.5)[:, 1:]
    return resampled(points + moved)


def beside(
    trunk: np.ndarray, first: int, span_mm: float, directions: np.ndarray, slope: float, away_mm: float
) -> np.ndarray:
    """A curve that leaves the trunk at vertex `first` and runs on beside it, at last `away_mm` off.

    `directions` (n, 3) at every vertex of the trunk; `slope` is the tangent of the angle at which it leaves. Where the
    trunk ends before the span, the curve ends too.
    """
    part = trunk[first:]
    along = arc_length(part)
    stop = max(int(np.searchsorted(along, span_mm)), 4)
    offset = away_mm * -np.expm1(-slope * along / max(away_mm, 0.1))
    curve = (part + offset[:, None] * directions[first:])[:stop]
    curve[0] = trunk[first]
    return curve
