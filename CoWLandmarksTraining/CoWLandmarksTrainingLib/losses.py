"""Losses of the generator."""

from __future__ import annotations

import torch


def exponentially_weighted_l2(
    prediction: torch.Tensor, target: torch.Tensor, alpha: float = 1000.0, channel_mask: torch.Tensor | None = None
) -> torch.Tensor:
    """L_heat: mean over voxels, channels and batch of alpha^H (H - G)^2 (Tan et al. 2023, Eq. 2).

    `prediction` G and `target` H in [0, 1] are (B, n, K, J, I); `channel_mask` (B, n) is 0 for landmarks
    beyond the field of view, whose channels then do not count (neither above nor below the fraction).
    """
    weight = torch.exp(target * float(torch.log(torch.tensor(alpha))))
    loss = (weight * (target - prediction) ** 2).mean(dim=(2, 3, 4))
    if channel_mask is None:
        return loss.mean()
    return (loss * channel_mask).sum() / channel_mask.sum().clamp_min(1.0)
