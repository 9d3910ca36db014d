"""Labels beside points of a picture, without overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_DISTANCES = (12.0, 20.0, 30.0, 42.0, 56.0, 74.0, 96.0, 122.0, 152.0, 190.0, 240.0)
_ANGLES = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)
_SWEEPS = 4
# What is avoided, from a matter of taste to never.
_PER_PIXEL, _NOT_OUTWARD, _BRIGHT, _LEADER_NEAR_MARKER, _LEADERS_CROSS = 1 / 30, 0.5, 5.0, 3.0, 4.0
_LEADER_UNDER_LABEL, _ON_MARKER, _ON_LABEL = 15.0, 20.0, 40.0


@dataclass(frozen=True)
class Box:
    """Rectangle in pixels, y down."""

    left: float
    top: float
    width: float
    height: float

    def nearest(self, point: tuple[float, float]) -> tuple[float, float]:
        """Point of the box that is nearest to `point`."""
        return (
            min(max(point[0], self.left), self.left + self.width),
            min(max(point[1], self.top), self.top + self.height),
        )

    def overlaps(self, other: Box) -> bool:
        """Whether the two boxes share some area."""
        return (
            abs(self.left + self.width / 2 - other.left - other.width / 2) < (self.width + other.width) / 2
            and abs(self.top + self.height / 2 - other.top - other.height / 2) < (self.height + other.height) / 2
        )


def place_labels(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    background: np.ndarray,
    marker_radius: float,
) -> list[Box]:
    """Boxes for labels of `sizes` (width, height) beside `points` (x, y), inside `background` [row, column].

    A label keeps clear of all markers and other labels; it prefers to be near its point, on dark background
    (0..1), away from the middle of the points, with a leader that crosses nothing. Greedy, the most crowded point
    first, then each label is placed anew with all others in place. Where nothing is free the least bad place wins.
    """
    if not points:
        return []
    positions = np.array(points, float)
    summed = np.pad(background, ((1, 0), (1, 0))).cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
    boxes: dict[int, Box] = {}
    candidates = [
        _candidates(point, size, marker_radius, background.shape) for point, size in zip(positions, sizes, strict=True)
    ]
    fixed_costs = [
        _cost_alone(index, positions, corners, sizes[index], summed, marker_radius)
        for index, corners in enumerate(candidates)
    ]
    order = sorted(range(len(points)), key=lambda index: _crowding(positions, index))
    for _ in range(_SWEEPS):
        for index in order:
            corners, size = candidates[index], np.array(sizes[index])
            cost = fixed_costs[index].copy()
            leader_ends = np.clip(positions[index], corners, corners + size)
            for other, box in boxes.items():
                if other != index:
                    cost += _cost_beside(positions[index], corners, size, leader_ends, positions[other], box)
            left, top = corners[int(np.argmin(cost))]
            boxes[index] = Box(float(left), float(top), float(size[0]), float(size[1]))
    return [boxes[index] for index in range(len(points))]


def _candidates(
    point: np.ndarray, size: tuple[float, float], marker_radius: float, shape: tuple[int, ...]
) -> np.ndarray:
    """(n, 2) upper left corners of boxes around a point, moved into the picture where they stick out."""
    distance, angle = (values.ravel() for values in np.meshgrid(_DISTANCES, _ANGLES, indexing="ij"))
    towards = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    anchor = point + (marker_radius + distance - 8.0)[:, None] * towards
    corners = anchor + (towards - 1.0) * np.array(size) / 2
    return np.clip(corners, 2.0, np.maximum(2.0, np.array(shape[::-1]) - np.array(size) - 2.0))


def _cost_alone(
    index: int,
    positions: np.ndarray,
    corners: np.ndarray,
    size: tuple[float, float],
    summed: np.ndarray,
    marker_radius: float,
) -> np.ndarray:
    """(n,) cost of each candidate that does not depend on other labels."""
    point, extent = positions[index], np.array(size)
    ends = np.clip(point, corners, corners + extent)
    x0, y0 = np.rint(corners).astype(int).T
    x1 = np.minimum(np.rint(corners[:, 0] + size[0]).astype(int), summed.shape[1] - 1)
    y1 = np.minimum(np.rint(corners[:, 1] + size[1]).astype(int), summed.shape[0] - 1)
    brightness = (summed[y1, x1] - summed[y0, x1] - summed[y1, x0] + summed[y0, x0]) / np.maximum(
        1, (x1 - x0) * (y1 - y0)
    )
    outward, away = point - positions.mean(axis=0), corners + extent / 2 - point
    cosine = away @ outward / np.maximum(np.linalg.norm(outward) * np.linalg.norm(away, axis=1), 1e-9)
    cost = _PER_PIXEL * np.linalg.norm(ends - point, axis=1) + _BRIGHT * brightness + _NOT_OUTWARD * (1.0 - cosine)
    for other, marker in enumerate(positions):
        gap = np.abs(np.clip(marker, corners, corners + extent) - marker).max(axis=1)
        cost += _ON_MARKER * (gap < marker_radius + 2)
        if other != index:
            along = np.clip(((marker - point) * (ends - point)).sum(axis=1) / _squared(ends - point), 0.0, 1.0)
            distance = np.linalg.norm(point + along[:, None] * (ends - point) - marker, axis=1)
            cost += _LEADER_NEAR_MARKER * (distance < marker_radius + 1)
    return cost


def _cost_beside(
    point: np.ndarray, corners: np.ndarray, size: np.ndarray, ends: np.ndarray, other_point: np.ndarray, box: Box
) -> np.ndarray:
    """(n,) cost of each candidate because of one label that is already in place."""
    other_corner, other_size = np.array([box.left, box.top]), np.array([box.width, box.height])
    other_end = np.clip(other_point, other_corner, other_corner + other_size)
    apart = np.maximum(other_corner - corners - size, corners - other_corner - other_size).max(axis=1)
    under = _crosses_box(point, ends, other_corner, other_size) | _crosses_box(other_point, other_end, corners, size)
    crossing = _cross(point, ends, other_point, other_end)
    return _ON_LABEL * (apart < 3) + _LEADER_UNDER_LABEL * under + _LEADERS_CROSS * crossing


def _crowding(positions: np.ndarray, index: int) -> float:
    """Mean distance to the four nearest other points."""
    distances = np.sort(np.linalg.norm(positions - positions[index], axis=1))[1:5]
    return float(distances.mean()) if len(distances) else 0.0


def _squared(vectors: np.ndarray) -> np.ndarray:
    return np.maximum((vectors**2).sum(axis=-1), 1e-9)


def _cross(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Whether the segments a-b and c-d cross; every argument is (2,) or (n, 2)."""

    def side(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        return (q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1]) - (q[..., 1] - p[..., 1]) * (r[..., 0] - p[..., 0])

    return (side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)


def _crosses_box(start: np.ndarray, end: np.ndarray, corner: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Whether a segment starts in a box or crosses one of its diagonals."""
    starts_inside = ((start > corner) & (start < corner + size)).all(axis=-1)
    down, up = size * [0, 1], size * [1, 0]
    return starts_inside | _cross(start, end, corner, corner + size) | _cross(start, end, corner + down, corner + up)
