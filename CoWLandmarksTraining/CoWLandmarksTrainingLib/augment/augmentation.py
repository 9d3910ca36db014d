"""Augmentation: random deformations of the reference frame, mirror images with exchanged sides, intensities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from CoWLandmarksLib.core.volume import Grid, apply_affine
from scipy.spatial.transform import Rotation
from torch.nn import functional

from ..config.settings import AugmentationSettings


@dataclass(frozen=True)
class Deformation:
    """A map of the reference frame: the augmented image at x shows the original at `source_of`(x).

    `source_of`(x) = M (x - centre) + centre + shift + u(x); `control` (3, K, J, I) mm are cubic B-spline
    coefficients of u on a lattice that begins at `lattice_origin` with `lattice_spacing` mm (None: no u).
    """

    matrix: np.ndarray
    centre: np.ndarray
    shift: np.ndarray
    control: np.ndarray | None = None
    lattice_origin: np.ndarray | None = None
    lattice_spacing: float = 1.0

    def source_of(self, points: np.ndarray) -> np.ndarray:
        """Where points (n, 3) RAS mm of the augmented image come from; NaN rows stay NaN."""
        points = np.asarray(points, float)
        return (points - self.centre) @ self.matrix.T + self.centre + self.shift + self._displacement(points)

    def moved(self, points: np.ndarray) -> np.ndarray:
        """Where original points (n, 3) RAS mm come to lie in the augmented image: the inverse of `source_of`."""
        points = np.asarray(points, float)
        back = np.linalg.inv(self.matrix)
        found = (points - self.centre - self.shift) @ back.T + self.centre
        if self.control is None:
            return found
        for _ in range(30):  # contracts: the displacement changes slowly
            rest = points - self.centre - self.shift - self._displacement(found)
            found = rest @ back.T + self.centre
        return found

    def source_grid(self, grid: Grid, device: torch.device | None = None) -> torch.Tensor:
        """(K, J, I, 3) RAS mm, float32: `source_of` every voxel of a grid with axes along R, A, S."""
        axes = [grid.ijk_to_ras[a, 3] + grid.ijk_to_ras[a, a] * np.arange(grid.size[a]) for a in range(3)]
        parts = [_float(np.outer(axes[a] - self.centre[a], self.matrix[:, a]), device) for a in range(3)]
        total = parts[0] + _float(self.centre + self.shift, device) + parts[1][:, None] + parts[2][:, None, None]
        if self.control is not None:
            i, j, k = (_float(self._basis(axes[a], a), device) for a in range(3))
            moved = torch.einsum("cKJi,jJ->cKji", _float(self.control, device) @ i.T, j)
            total += torch.einsum("cKji,kK->kjic", moved, k)
        return total

    def _displacement(self, points: np.ndarray) -> np.ndarray:
        if self.control is None:
            return np.zeros_like(points)
        known = np.isfinite(points).all(axis=1)
        out = np.full_like(points, np.nan)
        weights = [self._basis(points[known, a], a) for a in range(3)]
        out[known] = np.einsum("cKJI,nK,nJ,nI->nc", self.control, weights[2], weights[1], weights[0], optimize=True)
        return out

    def _basis(self, positions: np.ndarray, axis: int) -> np.ndarray:
        """(m, lattice) cubic B-spline weights of positions (m,) mm along an axis."""
        assert self.control is not None
        assert self.lattice_origin is not None
        knots = np.arange(self.control.shape[3 - axis])
        t = np.abs((positions[:, None] - self.lattice_origin[axis]) / self.lattice_spacing - knots)
        near, far = 2.0 / 3.0 - t**2 + 0.5 * t**3, (2.0 - t) ** 3 / 6.0
        return np.where(t < 1.0, near, np.where(t < 2.0, far, 0.0))


def draw_deformation(rng: np.random.Generator, config: AugmentationSettings, grid: Grid) -> Deformation:
    """A random deformation about the centre of the reference grid."""
    shift = rng.uniform(-1.0, 1.0, 3) * config.translation_mm
    turn = rng.uniform(-1.0, 1.0, 3) * config.rotation_deg
    size = 1.0 + rng.uniform(-1.0, 1.0) * config.scale
    if config.whole_voxels:
        return Deformation(np.eye(3), grid.centre, np.rint(shift / grid.spacing) * grid.spacing)
    matrix = size * Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    if config.elastic_mm == 0:
        return Deformation(matrix, grid.centre, shift)
    corners = grid.corners()
    low, high = corners.min(axis=0), corners.max(axis=0)
    count = np.ceil((high - low) / config.elastic_spacing_mm).astype(int) + 3
    control = rng.normal(0.0, _CONTROL_SD * config.elastic_mm, (3, count[2], count[1], count[0]))
    return Deformation(matrix, grid.centre, shift, control, low - config.elastic_spacing_mm, config.elastic_spacing_mm)


_CONTROL_SD = 3.0
"""SD of independent B-spline coefficients that gives a displacement of SD about 1: the mean over a cell of the
squared basis is 0.479 along each axis, and 0.479^(-3/2) is 3.0."""


def sample_image(
    image: np.ndarray, grid: Grid, target: Grid, deformation: Deformation, device: torch.device | None = None
) -> torch.Tensor:
    """The augmented image on `target`, (K, J, I) float32 on `device`; `image` [k, j, i] lies on `grid`, 0 beyond it.

    Both grids have their axes along R, A, S. A translation by whole voxels of equal size is exact.
    """
    same = np.allclose(grid.spacing, target.spacing)
    if same and deformation.control is None and np.array_equal(deformation.matrix, np.eye(3)):
        first = apply_affine(grid.ras_to_ijk, deformation.source_of(target.ijk_to_ras[None, :3, 3]))[0]
        if np.abs(first - np.rint(first)).max() < 1e-3:
            return _cut(image, np.rint(first).astype(int)[::-1], target.shape).to(device)
    source = deformation.source_grid(target, device)
    low, high = _needed(source, grid)
    if (high <= low).any():
        return torch.zeros(target.shape, device=device)
    part = torch.from_numpy(np.array(image[low[2] : high[2], low[1] : high[1], low[0] : high[0]])).to(device)
    # RAS mm to the [-1, 1] of grid_sample in one step each, in place: these are the largest arrays of a sample.
    count = high - low
    scale = 2.0 / (grid.spacing * count)
    shift = (1.0 - 2.0 * (grid.ijk_to_ras[:3, 3] / grid.spacing + low)) / count - 1.0
    position = source.mul_(_float(scale, device)).add_(_float(shift, device))
    sampled = functional.grid_sample(
        part.float()[None, None], position[None], mode="bilinear", padding_mode="zeros", align_corners=False
    )
    return sampled[0, 0]


def _needed(source: torch.Tensor, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """First and end voxel (i, j, k) of the part of `grid` that the places `source` (K, J, I, 3) mm lie in.

    A deformation does not fold, so the outermost places are those of the outermost voxels.
    """
    faces = [source.select(axis, end).reshape(-1, 3) for axis in range(3) for end in (0, -1)]
    outer = torch.cat(faces)
    low, high = (outer.amin(dim=0).cpu().numpy(), outer.amax(dim=0).cpu().numpy())
    first, last = ((place - grid.ijk_to_ras[:3, 3]) / grid.spacing for place in (low, high))
    return np.maximum(0, np.floor(first).astype(int)), np.minimum(grid.size, np.ceil(last).astype(int) + 2)


def _float(array: np.ndarray, device: torch.device | None) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(device)


def _cut(image: np.ndarray, first: np.ndarray, shape: tuple[int, int, int]) -> torch.Tensor:
    """The part of `image` [k, j, i] that begins at voxel `first` (k, j, i), 0 beyond it."""
    out = torch.zeros(shape)
    low, high = np.maximum(first, 0), np.minimum(first + shape, image.shape)
    if (high > low).all():
        source = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        goal = tuple(slice(int(a), int(b)) for a, b in zip(low - first, high - first, strict=True))
        out[goal] = torch.from_numpy(np.asarray(image[source], np.float32))
    return out


def jittered(
    image: torch.Tensor, rng: np.random.Generator, gain: float = 0.12, gamma: float = 0.12, noise: float = 0.03
) -> torch.Tensor:
    """Random gain and gamma (SD of their logarithms) and noise (SD at most `noise`) on network values.

    The padding value 0 keeps its place: gamma acts on what is above it.
    """
    factor, power = np.exp(rng.normal(0, gain)), np.exp(rng.normal(0, gamma))
    if gamma > 0:
        image = image.clamp_min(0.0).pow(power) + image.clamp_max(0.0)
    strength = rng.uniform(0, noise)
    seed = int(rng.integers(2**62))
    if strength > 0:
        generator = torch.Generator(image.device).manual_seed(seed)
        drawn = torch.randn(image.shape, generator=generator, device=image.device)
        return image * float(factor) + float(strength) * drawn
    return image * float(factor)


def mirrored(
    image: torch.Tensor, landmarks: np.ndarray, status: np.ndarray, width_mm: float, permutation: tuple[int, ...]
) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Left-right mirror of `image` (C, K, J, I) along i with the left and right channels exchanged.

    `landmarks` are mm from the first voxel; `width_mm` is the distance of the first and last voxel centre.
    """
    flipped = landmarks.copy()
    flipped[:, 0] = width_mm - flipped[:, 0]
    order = list(permutation)
    return torch.flip(image, dims=(3,)), flipped[order], status[order]
