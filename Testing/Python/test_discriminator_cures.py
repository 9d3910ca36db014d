"""Ways to give the discriminator something to teach: by hand, and in a whole training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from CoWLandmarksLib.core.errors import ConfigurationError
from CoWLandmarksLib.networks.heatmap import encode
from CoWLandmarksTrainingLib.config.settings import DiscriminatorSettings, DiscriminatorView
from CoWLandmarksTrainingLib.train.adversary import Adversary
from CoWLandmarksTrainingLib.train.confused_points import ambiguous_points
from CoWLandmarksTrainingLib.train.discriminator import discriminator_for, displacements
from CoWLandmarksTrainingLib.train.landmark_sets import corrupted_sets, jittered_sets
from CoWLandmarksTrainingLib.train.processes import Processes
from CoWLandmarksTrainingLib.train.trainer import Trainer
from CoWLandmarksTrainingLib.train.unlabelled import UnlabelledTerm
from torch import nn
from toy_training import (
    BATCH_SIZE,
    CONFIG,
    CPU,
    DISCRIMINATOR,
    GRID,
    METHOD,
    SIGMA_MM,
    ToySamples,
    ToySets,
    everything,
    targets,
    toy_batch,
)

ALL = replace(
    DISCRIMINATOR,
    view=DiscriminatorView.DISPLACEMENTS,
    instance_noise=0.0,
    spectral_norm=True,
    jitter=True,
    corrupted=True,
    ambiguous_only=True,
)


def adversary(config: DiscriminatorSettings, held_out: int = 3) -> Adversary:
    batches = [toy_batch(1, 100 + 2 * number + 1) for number in range(held_out)]
    return Adversary(2, config, GRID, SIGMA_MM, METHOD, ToySets(Processes()), CPU, seed=3, held_out=batches)


def learner(folder: Path, config: DiscriminatorSettings, samples: ToySamples | None = None) -> Trainer:
    """A training in which scans without annotation are judged, too."""
    term = UnlabelledTerm(ToySamples(seed=9), BATCH_SIZE)
    settings = replace(CONFIG, steps=6, adversarial_from=2)
    network = METHOD.network(1)
    return Trainer(
        METHOD,
        network,
        samples or ToySamples(),
        BATCH_SIZE,
        settings,
        folder,
        CPU,
        adversary=adversary(config),
        unlabelled=term,
    )


def test_displacements_by_hand() -> None:
    points = torch.tensor([[[0.0, 0.0, 0.0], [10.0, 0.0, 5.0], [0.0, 40.0, 0.0]]])
    shown = displacements(points, torch.tensor([[1.0, 1.0, 0.0]]), (2.0, 1.0, 4.0))
    # pairs (0, 1), (0, 2), (1, 2): 20 mm along R and along S are 1; what misses a point is 0
    assert shown.tolist() == [[1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0]]
    assert discriminator_for(3, ALL)(shown).shape == (1,)


def test_displacements_do_not_tell_where_the_circle_lies() -> None:
    points = torch.rand(1, 4, 3)
    one, moved = (displacements(each, torch.ones(1, 4), (1.0, 1.0, 1.0)) for each in (points, points + 3.0))
    torch.testing.assert_close(one, moved)


def test_sets_are_jittered_by_the_residuals_of_each_landmark() -> None:
    residuals = np.full((3, 2, 3), np.nan)
    residuals[1, 0] = (1.0, 2.0, 3.0)
    moved = jittered_sets(torch.zeros(4, 2, 3), residuals, np.random.default_rng(0))
    assert moved[:, 0].tolist() == [[1.0, 2.0, 3.0]] * 4
    assert float(moved[:, 1].abs().max()) == 0.0


def test_corrupted_sets_exchange_or_merge_two_neighbours_that_count() -> None:
    sets = torch.tensor([[[0.0, 0.0, 0.0], [10.0, 0.0, 0.0], [5.0, 0.0, 0.0], [99.0, 0.0, 0.0]]]).repeat(40, 1, 1)
    keep = torch.tensor([[1.0, 1.0, 0.0, 1.0]]).repeat(40, 1)
    changed = corrupted_sets(sets, keep, np.random.default_rng(1))[:, :, 0]
    assert {tuple(row) for row in changed.tolist()} == {
        (10.0, 0.0, 5.0, 99.0),
        (10.0, 10.0, 5.0, 99.0),
        (0.0, 0.0, 5.0, 99.0),
    }


def test_points_with_a_second_peak_far_enough_and_high_enough_are_ambiguous() -> None:
    grid = GRID.grid()
    first, near, far = (encode(np.array([[x, 0.0, 0.0]]), grid, 0.6)[0] for x in (-2.4, 0.0, 2.8))
    heatmaps = torch.stack([first, first + 0.6 * far, first + 0.4 * far, first + 0.9 * near])[None]
    assert ambiguous_points(heatmaps, GRID.spacing).tolist() == [[False, True, False, False]]


def test_the_spectral_norm_of_every_layer_is_bounded() -> None:
    network = discriminator_for(2, replace(ALL, base_width=2))
    for _ in range(50):
        network(torch.randn(3, 5))
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            assert float(torch.linalg.matrix_norm(layer.weight.detach(), 2)) <= 1.05


class TestHeldOutScans:
    """What is measured on scans that nothing is learnt from."""

    def test_the_errors_of_predictions_are_what_sets_are_jittered_by(self) -> None:
        opponent = adversary(ALL)
        shifts = iter((torch.tensor([0.8, 0.0, 0.0]), torch.tensor([0.0, 0.8, 0.0]), torch.tensor([0.0, 0.0, 0.8])))
        opponent.examine(lambda batch: METHOD.targets(batch.landmarks + next(shifts)))
        found = opponent.state()["residuals"]
        np.testing.assert_allclose(found[:, 0], 0.8 * np.eye(3), atol=0.08)

    def test_one_that_is_right_too_often_rests(self) -> None:
        opponent = adversary(replace(ALL, rest_above=0.5, jitter=False))
        batch = toy_batch()
        fakes = [opponent.predicted(batch, targets(batch).roll(3, dims=4))]
        before = [parameter.detach().clone() for parameter in opponent.discriminator.parameters()]
        opponent._held_out_accuracy = 0.6
        opponent.update(fakes)
        same = [torch.equal(a, b) for a, b in zip(before, opponent.discriminator.parameters(), strict=True)]
        assert all(same)
        opponent._held_out_accuracy = 0.5
        opponent.update(fakes)
        same = [torch.equal(a, b) for a, b in zip(before, opponent.discriminator.parameters(), strict=True)]
        assert not any(same)

    def test_without_such_scans_the_settings_that_need_them_are_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="need validation scans"):
            adversary(ALL, held_out=0)


def test_a_gradient_acts_on_ambiguous_points_only() -> None:
    grid = GRID.grid()
    heatmaps = encode(np.array([[-2.4, 0.0, 0.0], [2.4, 0.0, 0.0]]), grid, 0.8)[None]
    heatmaps[:, 0] += 0.6 * encode(np.array([[3.0, 1.0, 0.0]]), grid, 0.8)[0]
    for only in (False, True):
        opponent = adversary(replace(ALL, ambiguous_only=only))
        judged = opponent.predicted(toy_batch(1), heatmaps, annotated=False)
        assert judged.keep.tolist() == [[1.0, 1.0]]
        acts = opponent.gradient(judged, 1).abs().amax(dim=(2, 3, 4))[0] > 0.0
        assert acts.tolist() == [True, not only]


@pytest.mark.parametrize("view", [DiscriminatorView.DISPLACEMENTS, DiscriminatorView.RENDERED])
def test_a_training_with_all_of_them_resumes_exactly(tmp_path: Path, view: DiscriminatorView) -> None:
    config = replace(ALL, view=view, ambiguous_only=False)
    whole = learner(tmp_path / "whole", config)
    whole.run()
    expected = everything(whole)
    assert expected["lambda"] > 0.0
    stopped = learner(tmp_path / "parts", config)
    with pytest.raises(Exception, match="Stopped at step 4"):
        stopped.run(should_stop=lambda: stopped.step == 4)
    resumed = learner(tmp_path / "parts", config)
    assert resumed.resume()
    resumed.run()
    found = everything(resumed)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    entries = resumed.log.path.read_text(encoding="utf-8").splitlines()  # type: ignore[union-attr]
    assert "held_out_accuracy" in entries[-1]


def test_scans_without_annotation_change_what_a_discriminator_teaches(tmp_path: Path) -> None:
    config = replace(ALL, ambiguous_only=False, jitter=False)
    both, alone = learner(tmp_path / "a", config), learner(tmp_path / "b", config)
    alone.unlabelled = None
    for trainer in (both, alone):
        trainer.run()
    weights = [dict(trainer.generator.state_dict()) for trainer in (both, alone)]
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
