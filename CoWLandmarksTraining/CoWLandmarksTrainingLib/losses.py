"""Losses of the generator and of the discriminator (Tan et al. 2023, Eqs. 2 to 4, and their known alternatives)."""

from __future__ import annotations

from enum import Enum

import torch
from torch.nn import functional


class Objective(str, Enum):
    """What the discriminator is trained for: LOGISTIC is the paper's (Eqs. 3, 4); HINGE is Lim and Ye 2017;
    LEAST_SQUARES is LSGAN (Mao et al. 2017)."""

    LOGISTIC = "logistic"
    HINGE = "hinge"
    LEAST_SQUARES = "lsgan"

    @property
    def threshold(self) -> float:
        """The logit above which a heatmap set counts as judged real."""
        return 0.5 if self is Objective.LEAST_SQUARES else 0.0


def weighted_errors(prediction: torch.Tensor, target: torch.Tensor, alpha: float = 1000.0) -> torch.Tensor:
    """alpha^H (H - G)^2 averaged over the voxels: (B, n) of `prediction` G and `target` H, both (B, n, K, J, I)."""
    weight = torch.exp(target * float(torch.log(torch.tensor(alpha))))
    return (weight * (target - prediction) ** 2).mean(dim=(2, 3, 4))


def exponentially_weighted_l2(
    prediction: torch.Tensor,
    target: torch.Tensor,
    alpha: float = 1000.0,
    channel_mask: torch.Tensor | None = None,
    channels: torch.Tensor | float | None = None,
) -> torch.Tensor:
    """L_heat: mean over voxels, channels and batch of alpha^H (H - G)^2 (Tan et al. 2023, Eq. 2).

    `prediction` G and `target` H in [0, 1] are (B, n, K, J, I); `channel_mask` (B, n) is 0 for landmarks
    beyond the field of view, whose channels then do not count (neither above nor below the fraction).
    `channels` is the number to divide by where this batch is only a part of a larger one.
    """
    loss = weighted_errors(prediction, target, alpha)
    if channel_mask is None and channels is None:
        return loss.mean()
    masked = loss if channel_mask is None else loss * channel_mask
    if channels is None:
        assert channel_mask is not None
        channels = channel_mask.sum()
    return masked.sum() / torch.as_tensor(channels).clamp_min(1.0)


def discriminator_loss(
    real: torch.Tensor, fake: torch.Tensor, objective: Objective = Objective.LOGISTIC, label_smoothing: float = 0.0
) -> torch.Tensor:
    """L_D of logits (B,): -log D(real) - log(1 - D(fake)) with D = sigmoid(logit) (Eq. 4), or its alternative.

    `label_smoothing` s gives real sets the label 1 - s (one-sided; without effect on the hinge).
    """
    if objective is Objective.HINGE:
        return functional.relu(1.0 - real).mean() + functional.relu(1.0 + fake).mean()
    if objective is Objective.LEAST_SQUARES:
        return 0.5 * ((real - (1.0 - label_smoothing)) ** 2).mean() + 0.5 * (fake**2).mean()
    smoothed = (1.0 - label_smoothing) * functional.softplus(-real) + label_smoothing * functional.softplus(real)
    return smoothed.mean() + functional.softplus(fake).mean()


def adversarial_losses(fake: torch.Tensor, objective: Objective = Objective.LOGISTIC) -> torch.Tensor:
    """What the generator pays per sample, before lambda: -log D(G(I)) of logits (B,) (Eq. 3), or its alternative."""
    if objective is Objective.HINGE:
        return -fake
    if objective is Objective.LEAST_SQUARES:
        return 0.5 * (fake - 1.0) ** 2
    return functional.softplus(-fake)


def r1_penalty(real: torch.Tensor, judged: torch.Tensor) -> torch.Tensor:
    """Half the squared norm of the discriminator's gradient on real input, mean over the batch (Mescheder et al. 2018).

    `real` (B,) are the logits of `judged` (B, C, K, J, I), which must require gradients.
    """
    [gradient] = torch.autograd.grad(real.sum(), judged, create_graph=True)
    return 0.5 * gradient.square().flatten(1).sum(dim=1).mean()
