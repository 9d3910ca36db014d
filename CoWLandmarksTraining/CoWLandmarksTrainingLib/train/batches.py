"""What a trainer is fed with: batches of images and landmarks, and who makes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from CoWLandmarksLib.core.errors import ConfigurationError


@dataclass(frozen=True)
class Sample:
    """One training sample on the grid of a stage.

    `image` (C, K, J, I) in network units; `landmarks` (n, 3) mm from the first voxel along i, j, k, NaN where a
    landmark is absent or unknown; `mask` (n,) 0 for landmarks that do not count; `expected` (n, 3), like `landmarks`,
    where the stages before expect them (None: it is not read); `origin_mm` (3,) place of the first voxel in
    the reference frame, NaN where the stage knows none; `name` of the case, for messages.
    """

    image: torch.Tensor
    landmarks: torch.Tensor
    mask: torch.Tensor
    expected: torch.Tensor | None
    origin_mm: torch.Tensor
    name: str


@dataclass(frozen=True)
class Batch:
    """Samples of one stage stacked: `image` (B, C, K, J, I), `landmarks` (B, n, 3), `channel_mask` (B, n), `expected`
    (B, n, 3) or None, `origin_mm` (B, 3), `names` (B)."""

    image: torch.Tensor
    landmarks: torch.Tensor
    channel_mask: torch.Tensor
    expected: torch.Tensor | None = None
    origin_mm: torch.Tensor | None = None
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return int(self.image.shape[0])

    def to(self, device: torch.device) -> Batch:
        """The batch with its tensors on a device."""
        return replace(
            self,
            image=self.image.to(device, memory_format=torch.channels_last_3d),
            landmarks=self.landmarks.to(device),
            channel_mask=self.channel_mask.to(device),
            expected=None if self.expected is None else self.expected.to(device),
            origin_mm=None if self.origin_mm is None else self.origin_mm.to(device),
        )

    def pin_memory(self) -> Batch:
        """The batch in memory that a graphics card reads directly; for torch's DataLoader."""
        return replace(
            self,
            image=self.image.pin_memory(),
            landmarks=self.landmarks.pin_memory(),
            channel_mask=self.channel_mask.pin_memory(),
            expected=None if self.expected is None else self.expected.pin_memory(),
            origin_mm=None if self.origin_mm is None else self.origin_mm.pin_memory(),
        )

    def split(self, parts: int) -> list[Batch]:
        """Equal parts in order; raises ConfigurationError when the batch cannot be divided so."""
        if len(self) % parts:
            raise ConfigurationError(f"A batch of {len(self)} cannot be divided by accumulate = {parts}.")
        size = len(self) // parts
        return [self._part(slice(first, first + size)) for first in range(0, len(self), size)]

    def _part(self, rows: slice) -> Batch:
        return Batch(
            self.image[rows],
            self.landmarks[rows],
            self.channel_mask[rows],
            None if self.expected is None else self.expected[rows],
            None if self.origin_mm is None else self.origin_mm[rows],
            self.names[rows],
        )


def stacked(samples: Sequence[Sample]) -> Batch:
    """A batch of samples of one stage."""
    expected = [sample.expected for sample in samples if sample.expected is not None]
    return Batch(
        torch.stack([sample.image for sample in samples]),
        torch.stack([sample.landmarks for sample in samples]),
        torch.stack([sample.mask for sample in samples]),
        torch.stack(expected) if expected else None,
        torch.stack([sample.origin_mm for sample in samples]),
        tuple(sample.name for sample in samples),
    )


@dataclass(frozen=True)
class RealSets:
    """Annotated landmark sets for the discriminator: `landmarks` (B, n, 3) mm from the first voxel, NaN where there is
    none; `keep` (B, n), 0 where it must not judge; `origin_mm` (B, 3) as in Batch."""

    landmarks: torch.Tensor
    keep: torch.Tensor
    origin_mm: torch.Tensor | None = None


RealSampler = Callable[[np.random.Generator], RealSets]
"""Gives a batch of annotated sets (in a training of several processes, this process's share of one)."""
