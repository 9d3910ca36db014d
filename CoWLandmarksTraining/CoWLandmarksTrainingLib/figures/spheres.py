"""Spheres drawn in three dimensions without a graphics card: tubes and arrows are rows of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from CoWLandmarksLib.pictures.canvas import Colour

_LIGHT = np.array([-0.4, -0.55, 0.73])
"""Where the light comes from: left, top, front (x, y down, towards the viewer)."""
_AMBIENT = 0.45


@dataclass(frozen=True)
class View:
    """A parallel projection seen from the front, turned by `azimuth_deg` to the patient's left and `elevation_deg` up.

    `centre` (3,) RAS mm lies in the middle; R is on the left of the picture, S above, A towards the viewer.
    """

    centre: np.ndarray
    azimuth_deg: float
    elevation_deg: float
    pixels_per_mm: float
    width: int
    height: int

    def project(self, points: np.ndarray) -> np.ndarray:
        """(n, 3) pixels x, y and depth towards the viewer of points (n, 3) RAS mm."""
        a, e = np.radians((self.azimuth_deg, self.elevation_deg))
        right, front, up = (np.asarray(points, float).reshape(-1, 3) - self.centre).T
        x, forward = -right * np.cos(a) - front * np.sin(a), front * np.cos(a) - right * np.sin(a)
        y, depth = -(up * np.cos(e) - forward * np.sin(e)), forward * np.cos(e) + up * np.sin(e)
        middle = np.array([self.width / 2, self.height / 2, 0.0])
        return np.asarray(np.stack([x, y, depth], axis=1) * self.pixels_per_mm + middle)


class SpherePicture:
    """Lit spheres with hidden parts removed; `layer` gives colour and coverage to lay over another picture."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._depth = np.full((view.height, view.width), -np.inf, np.float32)
        self._colour = np.zeros((view.height, view.width, 3), np.float32)

    def add(self, points: np.ndarray, radii: np.ndarray, colour: Colour) -> None:
        """Spheres at `points` (n, 3) RAS mm with `radii` (n,) mm; what is not finite is left out."""
        points = np.asarray(points, float).reshape(-1, 3)
        placed = self._view.project(points)
        for (x, y, depth), radius in zip(placed, radii * self._view.pixels_per_mm, strict=True):
            if np.isfinite(x + y + depth):
                self._draw(float(x), float(y), float(depth), float(radius), np.array(colour, np.float32))

    def _draw(self, x: float, y: float, depth: float, radius: float, colour: np.ndarray) -> None:
        left, top = max(0, int(x - radius)), max(0, int(y - radius))
        right, bottom = min(self._view.width, int(x + radius) + 2), min(self._view.height, int(y + radius) + 2)
        if left >= right or top >= bottom:
            return
        across = (np.arange(left, right, dtype=np.float32)[None, :] - x) / radius
        down = (np.arange(top, bottom, dtype=np.float32)[:, None] - y) / radius
        forward2 = 1.0 - across**2 - down**2
        forward = np.sqrt(np.maximum(forward2, 0.0))
        there = depth + radius * forward
        seen = (forward2 > 0.0) & (there > self._depth[top:bottom, left:right])
        light = np.maximum(0.0, _LIGHT[0] * across + _LIGHT[1] * down + _LIGHT[2] * forward)
        lit = colour * (_AMBIENT + (1.0 - _AMBIENT) * light)[..., None]
        self._depth[top:bottom, left:right][seen] = there[seen]
        self._colour[top:bottom, left:right][seen] = lit[seen]

    def over(self, below: np.ndarray, opacity: float = 1.0) -> np.ndarray:
        """The spheres laid over a picture [row, column, 3] (0..255)."""
        covered = (np.isfinite(self._depth) * opacity)[..., None]
        return np.asarray(below * (1.0 - covered) + self._colour * covered)


def row_of_spheres(start: np.ndarray, end: np.ndarray, apart_mm: float) -> np.ndarray:
    """(n, 3) points from `start` to `end`, both included, at most `apart_mm` from one to the next."""
    steps = max(1, int(np.ceil(np.linalg.norm(end - start) / apart_mm)))
    return np.asarray(start + np.linspace(0.0, 1.0, steps + 1)[:, None] * (end - start))
