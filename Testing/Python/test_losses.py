"""The loss of the generator, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from CoWLandmarksTrainingLib.losses import exponentially_weighted_l2


def toy() -> tuple[torch.Tensor, torch.Tensor]:
    """One channel of 3 x 3 x 3: truth 1 in the middle and 0.5 beside it, prediction 0.8, 0.1 and -0.2 in a corner."""
    target = torch.zeros(1, 1, 3, 3, 3)
    target[0, 0, 1, 1, 1], target[0, 0, 1, 1, 2] = 1.0, 0.5
    prediction = torch.zeros(1, 1, 3, 3, 3)
    prediction[0, 0, 1, 1, 1], prediction[0, 0, 1, 1, 2], prediction[0, 0, 0, 0, 0] = 0.8, 0.1, -0.2
    return prediction, target


@pytest.mark.parametrize("alpha", [1000.0, 10.0, 1.0])
def test_the_loss_of_three_by_three_by_three_voxels(alpha: float) -> None:
    # Eq. 2: alpha^1 * 0.2^2 + alpha^0.5 * 0.4^2 + alpha^0 * 0.2^2, mean over 27 voxels
    expected = (alpha * 0.04 + np.sqrt(alpha) * 0.16 + 0.04) / 27
    assert float(exponentially_weighted_l2(*toy(), alpha)) == pytest.approx(expected, rel=1e-5)


def test_the_paper_s_alpha_is_a_thousand() -> None:
    # (1000 * 0.04 + 31.6228 * 0.16 + 0.04) / 27
    assert float(exponentially_weighted_l2(*toy())) == pytest.approx(1.670357, rel=1e-5)


def test_a_perfect_prediction_costs_nothing() -> None:
    _, target = toy()
    assert float(exponentially_weighted_l2(target, target)) == 0.0


def test_a_masked_channel_counts_neither_above_nor_below_the_fraction() -> None:
    prediction, target = toy()
    bad = torch.full_like(prediction, 7.0)
    both = exponentially_weighted_l2(
        torch.cat([prediction, bad], 1), target.expand(-1, 2, -1, -1, -1), 1000.0, torch.tensor([[1.0, 0.0]])
    )
    assert float(both) == pytest.approx(float(exponentially_weighted_l2(prediction, target)))


def test_the_mean_is_over_channels_and_batch() -> None:
    prediction, target = toy()
    two = exponentially_weighted_l2(torch.cat([prediction, target]), torch.cat([target, target]))
    assert float(two) == pytest.approx(0.5 * float(exponentially_weighted_l2(prediction, target)))
    masked = exponentially_weighted_l2(
        torch.cat([prediction, target]), torch.cat([target, target]), 1000.0, torch.ones(2, 1)
    )
    assert float(masked) == pytest.approx(float(two))


def test_a_batch_of_masked_channels_only_is_worth_nothing_and_has_a_gradient() -> None:
    prediction, target = toy()
    prediction.requires_grad_()
    loss = exponentially_weighted_l2(prediction, target, 1000.0, torch.zeros(1, 1))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert prediction.grad is not None
    assert float(prediction.grad.abs().max()) == 0.0


def test_the_gradient_points_to_the_truth() -> None:
    prediction, target = toy()
    prediction.requires_grad_()
    exponentially_weighted_l2(prediction, target).backward()
    assert prediction.grad is not None
    # d/dG alpha^H (H - G)^2 / 27 at the centre: -2 * 1000 * 0.2 / 27
    assert float(prediction.grad[0, 0, 1, 1, 1]) == pytest.approx(-400 / 27, rel=1e-4)
    assert float(prediction.grad[0, 0, 0, 0, 0]) == pytest.approx(-0.4 / 27, rel=1e-4)
