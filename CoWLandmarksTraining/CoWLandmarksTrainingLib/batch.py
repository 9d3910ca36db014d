"""What a trainer is fed with: batches of network input and target heatmaps, and who makes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from CoWLandmarksLib.errors import ConfigurationError


@dataclass(frozen=True)
class Batch:
    """`image` (B, C, K, J, I); `heatmaps` (B, n, K, J, I); `channel_mask` (B, n), 0 where not to be judged.

    `origin_mm` (B, 3) is the place of the first voxel in the reference frame (only the discriminator wants it);
    `names` (B) are the cases, for messages.
    """

    image: torch.Tensor
    heatmaps: torch.Tensor
    channel_mask: torch.Tensor
    origin_mm: torch.Tensor | None = None
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return int(self.image.shape[0])

    def split(self, parts: int) -> list[Batch]:
        """Equal parts in order; raises ConfigurationError when the batch cannot be divided so."""
        if len(self) % parts:
            raise ConfigurationError(f"A batch of {len(self)} cannot be divided by accumulate = {parts}.")
        size = len(self) // parts
        return [self._part(slice(first, first + size)) for first in range(0, len(self), size)]

    def _part(self, rows: slice) -> Batch:
        origin = None if self.origin_mm is None else self.origin_mm[rows]
        return Batch(self.image[rows], self.heatmaps[rows], self.channel_mask[rows], origin, self.names[rows])


@dataclass(frozen=True)
class RealSets:
    """Annotated landmark sets for the discriminator: `heatmaps` (B, n, K, J, I); `keep` (B, n), 0 where it must
    not judge; `origin_mm` (B, 3) as in Batch."""

    heatmaps: torch.Tensor
    keep: torch.Tensor
    origin_mm: torch.Tensor | None = None


Sampler = Callable[[np.random.Generator], Batch]
RealSampler = Callable[[np.random.Generator], RealSets]


@runtime_checkable
class EpochSampler(Protocol):
    """A sampler that goes through its cases in epochs; `position` counts the samples given so far."""

    position: int

    def __call__(self, rng: np.random.Generator) -> Batch:
        """One batch."""


def stacked(
    samples: Sequence[tuple[torch.Tensor, torch.Tensor, torch.Tensor]],
    origins: Sequence[np.ndarray] | None = None,
    names: tuple[str, ...] = (),
) -> Batch:
    """A batch of (image, heatmaps, channel mask) samples."""
    images, heatmaps, masks = zip(*samples, strict=True)
    origin = None if origins is None else torch.from_numpy(np.stack(origins).astype(np.float32))
    return Batch(torch.stack(images), torch.stack(heatmaps), torch.stack(masks), origin, names)
