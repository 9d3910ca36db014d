"""Losses of the generator and of the discriminator (Tan et al. 2023, Eqs. 2 to 4, and their known alternatives)."""

from __future__ import annotations

import torch
from torch.nn import functional

from ..config.settings import Objective


def weighted_errors(prediction: torch.Tensor, target: torch.Tensor, alpha: float = 1000.0) -> torch.Tensor:
    """The heatmap loss (Eq. 2), alpha^H (H - G)^2 averaged over the voxels.

    Returns (B, n) for `prediction` G and `target` H, both (B, n, K, J, I).
    """
    weight = torch.exp(target * float(torch.log(torch.tensor(alpha))))
    return (weight * (target - prediction) ** 2).mean(dim=(2, 3, 4))


def discriminator_loss(
    real: torch.Tensor, fake: torch.Tensor, objective: Objective = Objective.LOGISTIC, label_smoothing: float = 0.0
) -> torch.Tensor:
    """L_D of logits (B,): -log D(real) - log(1 - D(fake)) with D = sigmoid(logit) (Eq. 4), or its alternative.

    `label_smoothing` s gives real sets the label 1 - s (one-sided).
    """
    if objective is Objective.LEAST_SQUARES:
        return 0.5 * ((real - (1.0 - label_smoothing)) ** 2).mean() + 0.5 * (fake**2).mean()
    smoothed = (1.0 - label_smoothing) * functional.softplus(-real) + label_smoothing * functional.softplus(real)
    return smoothed.mean() + functional.softplus(fake).mean()


def adversarial_losses(fake: torch.Tensor, objective: Objective = Objective.LOGISTIC) -> torch.Tensor:
    """What the generator pays per sample, before lambda: -log D(G(I)) of logits (B,) (Eq. 3), or its alternative."""
    if objective is Objective.LEAST_SQUARES:
        return 0.5 * (fake - 1.0) ** 2
    return functional.softplus(-fake)


def r1_penalty(real: torch.Tensor, judged: torch.Tensor) -> torch.Tensor:
    """Half the squared norm of the discriminator's gradient on real input, mean over the batch (Mescheder et al. 2018).

    `real` (B,) are the logits of `judged` (B, C, K, J, I), which must require gradients.
    """
    [gradient] = torch.autograd.grad(real.sum(), judged, create_graph=True)
    return 0.5 * gradient.square().flatten(1).sum(dim=1).mean()
