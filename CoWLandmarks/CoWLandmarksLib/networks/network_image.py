"""A scan in network units that is converted in chunks, so that large scans cost little memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..core.intensity import IntensityRule
from ..core.volume import Grid
from .resampling import averaging_factors, needed_part, resample

_MOST_VOXELS = 32_000_000
"""Scan voxels that are converted to float32 at a time (128 MB)."""


@dataclass(frozen=True)
class NetworkImage:
    """Voxels [k, j, i] of a scan and how they become network input: `rule` with `scale`, after `offset` is taken away.

    Without a `rule` the voxels are network input already. Only the part that a target grid needs is converted and
    moved to `device`; the scan itself is not copied.
    """

    voxels: np.ndarray
    grid: Grid
    device: torch.device
    rule: IntensityRule | None = None
    scale: float = 1.0
    offset: float = 0.0

    @property
    def padding(self) -> float:
        """Network input beyond the scan."""
        return 0.0 if self.rule is None else self.rule.padding()

    def sampled(self, target: Grid) -> torch.Tensor:
        """Network input float32 [k, j, i] on `target` (its world is the scan's RAS), trilinear; on `device`.

        Beyond the scan it is `padding`.
        """
        chunks = []
        first = 0
        while first < target.shape[0]:
            rows = target.shape[0] - first
            while rows > 1 and self._needed(target, first, rows)[0] > _MOST_VOXELS:
                rows = -(-rows // 2)
            chunks.append(self._sampled_rows(target, first, rows))
            first += rows
        return chunks[0] if len(chunks) == 1 else torch.cat(chunks)

    def _sampled_rows(self, target: Grid, first: int, rows: int) -> torch.Tensor:
        _, low, high = self._needed(target, first, rows)
        part = np.asarray(self.voxels[low[2] : high[2], low[1] : high[1], low[0] : high[0]], dtype=np.float32)
        if self.offset:
            part = part - np.float32(self.offset)
        image = torch.from_numpy(np.array(part, order="C", copy=part.base is not None)).to(self.device)
        size = high - low
        source = self.grid.window((int(low[0]), int(low[1]), int(low[2])), (int(size[2]), int(size[1]), int(size[0])))
        rowwise = _rows(target, first, rows)
        units = image if self.rule is None else self.rule.apply(image, self.scale)
        return resample(units, source, rowwise, padding=self.padding)

    def _needed(self, target: Grid, first: int, rows: int) -> tuple[int, np.ndarray, np.ndarray]:
        """Number of voxels, first and end voxel (i, j, k) of the part of the scan that some rows of `target` need."""
        factors = averaging_factors(self.grid, target)
        low, high = needed_part(self.grid, _rows(target, first, rows), factors)
        return int(np.prod(high - low)), low, high


def _rows(target: Grid, first: int, rows: int) -> Grid:
    return target.window((0, 0, first), (rows, *target.shape[1:]))
