"""The losses of generator and discriminator, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from CoWLandmarksLib.networks.generator import GeneratorConfig
from CoWLandmarksTrainingLib.config.settings import Objective
from CoWLandmarksTrainingLib.train.losses import adversarial_losses, discriminator_loss, r1_penalty
from CoWLandmarksTrainingLib.train.methods import HeatmapRegression, method_loss

METHOD = HeatmapRegression(GeneratorConfig(), (3, 3, 3), (1.0, 1.0, 1.0), 1.0)


def loss_of(
    prediction: torch.Tensor,
    target: torch.Tensor,
    alpha: float = 1000.0,
    mask: torch.Tensor | None = None,
    channels: float | None = None,
) -> torch.Tensor:
    """The loss of a batch; all channels count where there is no `mask`."""
    counts = torch.ones(prediction.shape[:2]) if mask is None else mask
    return method_loss(METHOD, prediction, target, alpha, counts, counts.sum() if channels is None else channels)


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
    assert float(loss_of(*toy(), alpha)) == pytest.approx(expected, rel=1e-5)


def test_the_paper_s_alpha_is_a_thousand() -> None:
    # (1000 * 0.04 + 31.6228 * 0.16 + 0.04) / 27
    assert float(loss_of(*toy())) == pytest.approx(1.670357, rel=1e-5)


def test_a_perfect_prediction_costs_nothing() -> None:
    _, target = toy()
    assert float(loss_of(target, target)) == 0.0


def test_a_masked_channel_counts_neither_above_nor_below_the_fraction() -> None:
    prediction, target = toy()
    bad = torch.full_like(prediction, 7.0)
    both = loss_of(
        torch.cat([prediction, bad], 1), target.expand(-1, 2, -1, -1, -1), 1000.0, torch.tensor([[1.0, 0.0]])
    )
    assert float(both) == pytest.approx(float(loss_of(prediction, target)))


def test_the_mean_is_over_channels_and_batch() -> None:
    prediction, target = toy()
    two = loss_of(torch.cat([prediction, target]), torch.cat([target, target]))
    assert float(two) == pytest.approx(0.5 * float(loss_of(prediction, target)))
    masked = loss_of(torch.cat([prediction, target]), torch.cat([target, target]), 1000.0, torch.ones(2, 1))
    assert float(masked) == pytest.approx(float(two))


def test_a_batch_of_masked_channels_only_is_worth_nothing_and_has_a_gradient() -> None:
    prediction, target = toy()
    prediction.requires_grad_()
    loss = loss_of(prediction, target, 1000.0, torch.zeros(1, 1))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert prediction.grad is not None
    assert float(prediction.grad.abs().max()) == 0.0


def test_the_gradient_points_to_the_truth() -> None:
    prediction, target = toy()
    prediction.requires_grad_()
    loss_of(prediction, target).backward()
    assert prediction.grad is not None
    # d/dG alpha^H (H - G)^2 / 27 at the centre: -2 * 1000 * 0.2 / 27
    assert float(prediction.grad[0, 0, 1, 1, 1]) == pytest.approx(-400 / 27, rel=1e-4)
    assert float(prediction.grad[0, 0, 0, 0, 0]) == pytest.approx(-0.4 / 27, rel=1e-4)


def test_parts_of_a_batch_add_up_to_the_whole() -> None:
    prediction, target = toy()
    both, truth, mask = torch.cat([prediction, target]), torch.cat([target, target]), torch.ones(2, 1)
    parts = [loss_of(both[n : n + 1], truth[n : n + 1], 1000.0, mask[:1], 2.0) for n in (0, 1)]
    assert float(sum(parts)) == pytest.approx(float(loss_of(both, truth, 1000.0, mask)))


REAL, FAKE = torch.tensor([2.0, 0.0]), torch.tensor([-1.0, 3.0])


def test_the_discriminator_s_loss_is_the_paper_s() -> None:
    # Eq. 4 with D = sigmoid: D(real) = 0.880797, 0.5; D(fake) = 0.268941, 0.952574
    expected = -(np.log(0.880797) + np.log(0.5)) / 2 - (np.log(1 - 0.268941) + np.log(1 - 0.952574)) / 2
    assert float(discriminator_loss(REAL, FAKE)) == pytest.approx(expected, rel=1e-4)


def test_smoothed_labels_mix_both_costs_of_real_sets() -> None:
    d = np.array([0.880797, 0.5])
    real = -(0.9 * np.log(d) + 0.1 * np.log(1 - d)).mean()
    fake = -(np.log(1 - 0.268941) + np.log(1 - 0.952574)) / 2
    assert float(discriminator_loss(REAL, FAKE, label_smoothing=0.1)) == pytest.approx(real + fake, rel=1e-4)


def test_the_least_squares() -> None:
    # ((2 - 1)^2 + (0 - 1)^2) / 4 + (1 + 9) / 4, label 0.8: (1.2^2 + 0.8^2) / 4
    assert float(discriminator_loss(REAL, FAKE, Objective.LEAST_SQUARES)) == pytest.approx(3.0)
    assert float(discriminator_loss(REAL, FAKE, Objective.LEAST_SQUARES, 0.2)) == pytest.approx(0.52 + 2.5)


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (Objective.LOGISTIC, [-np.log(0.268941), -np.log(0.952574)]),
        (Objective.LEAST_SQUARES, [2.0, 2.0]),
    ],
)
def test_what_the_generator_pays(objective: Objective, expected: list[float]) -> None:
    # Eq. 3: -log D(G(I))
    np.testing.assert_allclose(adversarial_losses(FAKE, objective).numpy(), expected, rtol=1e-4)


def test_the_gradient_penalty_of_a_plane() -> None:
    # logit = 3 x + 4 y has gradient (3, 4): half of 25
    judged = torch.zeros(2, 2, 1, 1, 1, requires_grad=True)
    logits = 3.0 * judged[:, 0, 0, 0, 0] + 4.0 * judged[:, 1, 0, 0, 0]
    assert float(r1_penalty(logits, judged).detach()) == pytest.approx(12.5)
