"""Rasterise tubes (vessels, bones) into a voxel grid: capsules in local windows, accumulated by maximum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from CoWLandmarksLib.core.volume import Grid, apply_affine

_RADIUS_CLASSES_MM = (0.35, 0.6, 0.9, 1.3, 1.8, 2.5, 3.5, 5.0, 7.0, 10.0, 14.0, 20.0)
_ELEMENTS_PER_BATCH = 4_000_000


@dataclass(frozen=True)
class Capsules:
    """Straight tube segments: `start`, `end` (n, 3) RAS mm of the grid's world; radii (n,) mm at both ends.

    `signal` (n,) is the brightness of the content, `label` (n,) the value for label maps (0: none).
    """

    start: np.ndarray
    end: np.ndarray
    start_radius: np.ndarray
    end_radius: np.ndarray
    signal: np.ndarray
    label: np.ndarray


def capsules_of_polyline(points: np.ndarray, radii: np.ndarray, signal: np.ndarray, label: int) -> Capsules:
    """Capsules along a polyline: `points` (n, 3), `radii` (n,), `signal` (n,)."""
    n = len(points) - 1
    return Capsules(
        points[:-1],
        points[1:],
        radii[:-1],
        radii[1:],
        (signal[:-1] + signal[1:]) / 2.0,
        np.full(n, label, dtype=np.int64),
    )


def joined(parts: list[Capsules]) -> Capsules:
    """Concatenate capsules."""
    names = ("start", "end", "start_radius", "end_radius", "signal", "label")
    return Capsules(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True)
class TubeImage:
    """`coverage` [k, j, i] share of a voxel inside a tube; `content` coverage times signal; `label` uint8 or None."""

    coverage: torch.Tensor
    content: torch.Tensor
    label: torch.Tensor | None


def rasterise(
    capsules: Capsules, grid: Grid, device: torch.device, *, with_labels: bool = False, edge_mm: float | None = None
) -> TubeImage:
    """Rasterise capsules into `grid`.

    The wall is a linear ramp `edge_mm` wide (default: the mean voxel size), which stands for the partial
    volume; a tube thinner than a voxel is capped at the share of the voxel's cross-section that it fills.
    Labels (where the lumen holds the voxel centre) go to the capsule whose axis is relatively nearest.
    """
    count = int(np.prod(grid.shape))
    coverage = torch.zeros(count, device=device)
    content = torch.zeros(count, device=device)
    keys = torch.zeros(count, dtype=torch.int32, device=device) if with_labels else None
    edge = float(grid.spacing.mean()) if edge_mm is None else edge_mm
    middle = apply_affine(grid.ras_to_ijk, (capsules.start + capsules.end) / 2.0)
    half_length = np.linalg.norm(capsules.end - capsules.start, axis=1) / 2.0
    radius = np.maximum(capsules.start_radius, capsules.end_radius)
    reach = radius + half_length + edge / 2.0
    near = np.all(
        (middle + reach[:, None] / grid.spacing > -1) & (middle - reach[:, None] / grid.spacing < grid.size), axis=1
    )
    classes = np.digitize(reach, np.array(_RADIUS_CLASSES_MM) + 0.5 + edge / 2.0)
    for class_index in np.unique(classes[near]):
        chosen = np.nonzero(near & (classes == class_index))[0]
        _rasterise_class(
            capsules, chosen, middle[chosen], float(reach[chosen].max()), grid, edge, coverage, content, keys
        )
    labels = None if keys is None else (keys & 31).to(torch.uint8).reshape(grid.shape)
    return TubeImage(coverage.reshape(grid.shape), content.reshape(grid.shape), labels)


def _rasterise_class(
    capsules: Capsules,
    chosen: np.ndarray,
    middle: np.ndarray,
    reach: float,
    grid: Grid,
    edge: float,
    coverage: torch.Tensor,
    content: torch.Tensor,
    keys: torch.Tensor | None,
) -> None:
    """Add capsules that share one window size to the accumulators (flat, in place)."""
    device = coverage.device
    half = np.ceil(reach / grid.spacing).astype(int)
    ranges = [torch.arange(-h, h + 1, device=device) for h in half]
    offset_i, offset_j, offset_k = torch.meshgrid(*ranges, indexing="ij")
    offsets = torch.stack([offset_i.flatten(), offset_j.flatten(), offset_k.flatten()], dim=1)
    axes = torch.from_numpy(grid.ijk_to_ras[:3, :3]).to(device, torch.float32)
    offsets_mm = offsets.to(torch.float32) @ axes.T
    keep = offsets_mm.norm(dim=1) <= reach + float(grid.spacing.max())
    offsets, offsets_mm = offsets[keep], offsets_mm[keep]
    size = torch.from_numpy(grid.size).to(device)
    voxel_area = float(np.prod(grid.spacing) ** (2.0 / 3.0))
    step = max(1, _ELEMENTS_PER_BATCH // len(offsets))
    for first in range(0, len(chosen), step):
        batch = chosen[first : first + step]
        centre = np.rint(middle[first : first + step])
        centre_mm = apply_affine(grid.ijk_to_ras, centre)
        begin = torch.from_numpy(capsules.start[batch] - centre_mm).to(device, torch.float32)
        along = torch.from_numpy(capsules.end[batch] - capsules.start[batch]).to(device, torch.float32)
        r0 = torch.from_numpy(capsules.start_radius[batch]).to(device, torch.float32)[:, None]
        r1 = torch.from_numpy(capsules.end_radius[batch]).to(device, torch.float32)[:, None]
        length2 = (along * along).sum(1, keepdim=True).clamp_min(1e-9)
        # squared distance to the axis by dot products, without (n, m, 3) temporaries
        ob = offsets_mm @ begin.T
        oa = offsets_mm @ along.T
        o2 = (offsets_mm * offsets_mm).sum(1, keepdim=True)
        ba = (begin * along).sum(1)
        t = ((oa - ba) / length2.T).clamp_(0.0, 1.0).T
        from_start2 = (o2 - 2.0 * ob + (begin * begin).sum(1)).T
        distance = (from_start2 - 2.0 * t * (oa - ba).T + t * t * length2).clamp_min_(0.0).sqrt_()
        radius = r0 + t * (r1 - r0)
        cap = (torch.pi * radius * radius / voxel_area).clamp_max_(1.0)
        share = ((radius - distance) / edge + 0.5).clamp_(0.0, 1.0).minimum(cap)
        # Only what a tube reaches gets a voxel's number: a fifth of the window, or less.
        row, column = (share > 0).nonzero(as_tuple=True)
        index = torch.from_numpy(centre).to(device, torch.int64)[row] + offsets[column]
        hit = ((index >= 0) & (index < size)).all(dim=1)
        row, column, index = row[hit], column[hit], index[hit]
        flat = (index[:, 2] * grid.shape[1] + index[:, 1]) * grid.shape[2] + index[:, 0]
        share_hit = share[row, column]
        signal = torch.from_numpy(capsules.signal[batch]).to(device, torch.float32)[row]
        coverage.scatter_reduce_(0, flat, share_hit, "amax")
        content.scatter_reduce_(0, flat, share_hit * signal, "amax")
        if keys is not None:
            distance_hit, radius_hit = distance[row, column], radius[row, column]
            inside = distance_hit < radius_hit
            depth = (1.0 - distance_hit / radius_hit.clamp_min(1e-3)).clamp(0.0, 1.0)[inside]
            label = torch.from_numpy(capsules.label[batch]).to(device, torch.int32)[row][inside]
            key = (depth * 1_000_000).to(torch.int32) * 32 + label
            keys.scatter_reduce_(0, flat[inside], key, "amax")
