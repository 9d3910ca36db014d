"""The fine step: exact landmarks in windows of the reference grid, guided by where they are expected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from ..core.alignment import ShapePosterior
from ..core.volume import Grid, apply_affine
from ..networks.generator import HeatmapReader
from ..networks.global_to_local import GlobalToLocalConfig, decode_points
from ..networks.heatmap import decode_argmax, decode_parabola, decode_subvoxel, encode
from ..networks.heatmap_peaks import HeatmapPeaks, heatmap_peaks
from ..networks.network_image import NetworkImage
from ..networks.spatial_configuration import SpatialConfigurationConfig
from .model import Model

_MARGIN_MM = 8.0
DECODING_SLACK_MM = 5.0
"""How far from its expected place, beside the doubt of the shape model, a landmark may well lie."""
HEATMAP_REACH_MM = 12.0
CANDIDATES, CANDIDATES_APART_MM = 3, 3.0


@dataclass(frozen=True)
class Window:
    """Part of the reference grid: first voxel `start` (i, j, k) and the landmarks read from it."""

    start: tuple[int, int, int]
    landmarks: tuple[int, ...]


@dataclass(frozen=True)
class HeatmapPart:
    """Part of a landmark's heatmap: `voxels` [k, j, i] on `grid`, in mm of the reference frame."""

    voxels: np.ndarray
    grid: Grid


@dataclass(frozen=True)
class FineLandmarks:
    """`positions` and `argmax_positions` (n, 3) mm in the reference frame, NaN where no window was read;
    `peaks` (n,) height of the heatmap at the position, weighted by the prior where the model decodes with it;
    `heatmaps` by landmark index, as the network gave them near the position; `candidates` (n, CANDIDATES) are the
    highest peaks, weighted likewise, CANDIDATES_APART_MM and more from each other, the first of them the position (none
    for other methods than heatmap regression)."""

    positions: np.ndarray
    argmax_positions: np.ndarray
    peaks: np.ndarray
    candidates: HeatmapPeaks
    heatmaps: Mapping[int, HeatmapPart] = field(default_factory=dict)


def choose_windows(expected: np.ndarray, grid: Grid, shape: tuple[int, int, int]) -> list[Window]:
    """Few windows of `shape` (K, J, I) so that every expected landmark (n, 3; NaN: none) lies well inside one.

    A window as large as the grid is the grid.
    """
    if shape == grid.shape:
        known = tuple(int(n) for n in np.nonzero(np.isfinite(expected).all(axis=1))[0])
        return [Window((0, 0, 0), known)] if known else []
    extent = np.array(shape[::-1]) * grid.spacing - 2.0 * _MARGIN_MM
    left = [n for n in range(len(expected)) if np.isfinite(expected[n]).all()]
    windows = []
    while left:
        groups = [_group(expected, left, seed, extent) for seed in left]
        group = max(groups, key=len)
        centre = (expected[group].min(axis=0) + expected[group].max(axis=0)) / 2.0
        first = np.rint(apply_affine(grid.ras_to_ijk, centre) - np.array(shape[::-1]) / 2.0).astype(int)
        windows.append(Window((int(first[0]), int(first[1]), int(first[2])), tuple(group)))
        left = [n for n in left if n not in group]
    return windows


def _group(expected: np.ndarray, left: list[int], seed: int, extent: np.ndarray) -> list[int]:
    """Landmarks that fit into one window together with `seed`, nearest first."""
    group = [seed]
    for other in sorted(left, key=lambda n: float(np.linalg.norm(expected[n] - expected[seed]))):
        points = expected[[*group, other]]
        if other != seed and (points.max(axis=0) - points.min(axis=0) <= extent).all():
            group.append(other)
    return group


def refine(
    read: HeatmapReader,
    model: Model,
    scan: NetworkImage,
    ras_to_reference: np.ndarray,
    prior: ShapePosterior,
    wanted: np.ndarray,
    slack_mm: float | np.ndarray = DECODING_SLACK_MM,
) -> FineLandmarks:
    """Exact landmarks of a scan.

    `scan` is in network units; `prior` says where the landmarks are expected in the reference frame; only
    landmarks with `wanted` (n,) are sought. `slack_mm`, one number or (n,), is how far from there they may well lie.
    A network of the method noothout gives points instead of heatmaps: both positions are these, a peak is the largest
    weight of a block, and there are no heatmaps.
    """
    count = len(prior.mean)
    parts: dict[int, HeatmapPart] = {}
    positions, argmax, peaks = np.full((count, 3), np.nan), np.full((count, 3), np.nan), np.zeros(count)
    candidates = HeatmapPeaks(np.full((count, CANDIDATES, 3), np.nan), np.zeros((count, CANDIDATES)))
    reference = model.grid.grid()
    to_scan = np.linalg.inv(ras_to_reference)
    expected = np.where(wanted[:, None], prior.mean, np.nan)
    slack = np.sqrt(prior.sd_mm**2 + np.asarray(slack_mm) ** 2)
    for window in choose_windows(expected, reference, model.window):
        local = reference.window(window.start, model.window)
        heatmaps = read_window(read, model, scan, local, to_scan, prior.mean)
        chosen = list(window.landmarks)
        own = heatmaps[chosen]
        if isinstance(model.fine.config, GlobalToLocalConfig):
            positions[chosen], peaks[chosen] = decode_points(own, local)
            argmax[chosen] = positions[chosen]
            continue
        guided = own
        if model.decode_with_prior:
            guided = own * encode(prior.mean[chosen], local, slack[chosen], heatmaps.device)
        argmax[chosen], peaks[chosen] = decode_argmax(guided, local)
        if isinstance(model.fine.config, SpatialConfigurationConfig):
            positions[chosen] = decode_parabola(own, local, argmax[chosen])
        else:
            sigma_mm = model.fine.sigma_mm
            positions[chosen], _ = decode_subvoxel(own, local, sigma_mm, argmax[chosen])
            found = heatmap_peaks(
                guided, local, sigma_mm, count=CANDIDATES, apart_mm=CANDIDATES_APART_MM, unweighted=own
            )
            candidates.positions[chosen], candidates.heights[chosen] = found.positions, found.heights
        for index in chosen:
            parts[index] = _part_near(heatmaps[index], local, argmax[index])
    return FineLandmarks(positions, argmax, peaks, candidates, parts)


def _part_near(heatmap: torch.Tensor, grid: Grid, place: np.ndarray) -> HeatmapPart:
    """The part of a heatmap within HEATMAP_REACH_MM of a place (mm in the reference frame)."""
    centre = apply_affine(grid.ras_to_ijk, place)
    reach = HEATMAP_REACH_MM / grid.spacing
    low = np.clip(np.floor(centre - reach), 0, grid.size - 1).astype(int)
    high = np.clip(np.ceil(centre + reach) + 1, low + 1, grid.size).astype(int)
    part = heatmap[low[2] : high[2], low[1] : high[1], low[0] : high[0]].float().cpu().numpy()
    start = (int(low[0]), int(low[1]), int(low[2]))
    return HeatmapPart(part, grid.window(start, (part.shape[0], part.shape[1], part.shape[2])))


def read_window(
    read: HeatmapReader,
    model: Model,
    scan: NetworkImage,
    local: Grid,
    to_scan: np.ndarray,
    expected: np.ndarray,
) -> torch.Tensor:
    """Heatmaps (n, K, J, I) of one window, or its points; `local` is its grid in the reference frame."""
    image = scan.sampled(local.transformed(to_scan))[None]
    if not model.reads_priors:
        return read(image[None])[0]
    prior = encode(expected, local, model.prior_sigma_mm, image.device)
    return read(torch.cat([image, prior])[None])[0]
