"""A loss on what the network predicts for scans without annotation, beside that of the annotated ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch.utils.data import Dataset


class UnlabelledLoss(Protocol):
    """Judges heatmaps without knowing the truth; `layout_loss.LayoutLoss` is one."""

    def __call__(self, heatmaps: torch.Tensor, mask: torch.Tensor, first_voxel_mm: torch.Tensor) -> torch.Tensor:
        """Scalar loss of heatmaps (B, n, K, J, I); `mask` (B, n) 0: does not count; `first_voxel_mm` (B, 3) RAS mm."""


@dataclass(frozen=True)
class UnlabelledTerm:
    """From step `first_step` on, every step adds `weight` times `loss` of `batch_size` samples without annotation.

    Without a `loss` the discriminator judges what is predicted for them, beside what is for annotated samples.
    """

    samples: Dataset  # type: ignore[type-arg]
    batch_size: int
    loss: UnlabelledLoss | None = None
    weight: float = 1.0
    first_step: int = 0
