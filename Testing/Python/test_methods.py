"""Methods: the heatmaps that ship, and that the trainer can hold one of another kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from aligned_beads import write_bead_cohort
from coordinate_regression import CoordinateRegression
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.errors import ConfigurationError, StoppedError
from CoWLandmarksLib.core.volume import apply_affine, axis_aligned_grid
from CoWLandmarksLib.networks.generator import GeneratorConfig
from CoWLandmarksLib.networks.heatmap import encode
from CoWLandmarksTrainingLib.config.settings import AugmentationSettings
from CoWLandmarksTrainingLib.config.training_plan import TrainingPlan
from CoWLandmarksTrainingLib.train.adversary import Adversary
from CoWLandmarksTrainingLib.train.aligned_source import AlignedSource
from CoWLandmarksTrainingLib.train.batches import Batch
from CoWLandmarksTrainingLib.train.methods import HeatmapRegression, Method, method_loss
from CoWLandmarksTrainingLib.train.processes import Processes
from CoWLandmarksTrainingLib.train.stage_validation import StageValidation
from CoWLandmarksTrainingLib.train.stages import recipe
from CoWLandmarksTrainingLib.train.trainer import Trainer
from toy_training import BATCH_SIZE, CONFIG, CPU, DISCRIMINATOR, GRID, SIGMA_MM, ToySamples, ToySets, toy_batch

SHAPE, SPACING = (10, 12, 14), (0.9, 1.1, 1.3)
PLACE = axis_aligned_grid(np.array([5.0, -3.0, 40.0]), np.array(SPACING), SHAPE)
ORIGIN = PLACE.ijk_to_ras[:3, 3]


def heatmaps(**changes: Any) -> HeatmapRegression:
    config = GeneratorConfig(in_channels=1, out_channels=4, base_width=4, levels=2)
    return replace(HeatmapRegression(config, SHAPE, SPACING, 2.0), **changes)


def points() -> np.ndarray:
    """(4, 3) RAS mm: two between voxels, one beyond the grid, one that does not exist."""
    inside = ORIGIN + np.array([[3.37, 4.21, 5.55], [9.9, 0.3, 1.01]])
    return np.concatenate([inside, [ORIGIN + np.array([-4.0, 5.0, 3.0])], [[np.nan] * 3]])


def local(places: np.ndarray) -> torch.Tensor:
    return torch.from_numpy((places - ORIGIN).astype(np.float32))[None]


class TestHeatmaps:
    """Tan et al. 2023."""

    def test_targets_are_those_of_the_library(self) -> None:
        torch.testing.assert_close(
            heatmaps().targets(local(points()))[0], encode(points(), PLACE, 2.0), rtol=0.0, atol=2e-6
        )

    def test_targets_on_voxels_are_those_of_the_nearest_voxel(self) -> None:
        nearest = apply_affine(PLACE.ijk_to_ras, np.rint(apply_affine(PLACE.ras_to_ijk, points())))
        made = heatmaps(subvoxel=False).targets(local(points()))[0]
        torch.testing.assert_close(made, encode(nearest, PLACE, 2.0), rtol=0.0, atol=2e-6)
        assert float(made[0].max()) == pytest.approx(1.0)

    def test_the_network_reads_the_image_and_where_landmarks_are_expected(self) -> None:
        image = torch.rand(1, 1, *SHAPE)
        batch = Batch(image, local(points()), torch.ones(1, 4), local(points()))
        guided = heatmaps(prior_sigma_mm=5.0).inputs(batch)
        assert torch.equal(guided[:, :1], image)
        torch.testing.assert_close(guided[0, 1:], encode(points(), PLACE, 5.0), rtol=0.0, atol=2e-6)
        assert torch.equal(heatmaps().inputs(batch), image)

    def test_weights_begin_with_the_seed_or_as_they_are_given(self) -> None:
        one, same, other = (heatmaps().network(seed) for seed in (1, 1, 2))
        assert torch.equal(one.head.weight, same.head.weight)
        assert not torch.equal(one.head.weight, other.head.weight)
        half = {name: value.half() for name, value in other.state_dict().items()}
        again = heatmaps().network(1, half)
        assert again.head.weight.dtype == torch.float32
        torch.testing.assert_close(again.head.weight, other.head.weight, rtol=1e-3, atol=1e-4)

    def test_perfect_heatmaps_are_decoded_to_their_landmarks(self) -> None:
        places = ORIGIN + np.array([[3.37, 4.21, 5.55], [7.9, 6.3, 6.01]])
        found, peaks = heatmaps().decode(encode(places, PLACE, 2.0), PLACE)
        np.testing.assert_allclose(found, places, atol=0.02)
        assert (peaks > 0.8).all()
        voxels, _ = heatmaps(subvoxel=False).decode(encode(places, PLACE, 2.0), PLACE)
        np.testing.assert_allclose(
            voxels, apply_affine(PLACE.ijk_to_ras, np.rint(apply_affine(PLACE.ras_to_ijk, places)))
        )

    def test_a_maximum_far_from_where_a_landmark_is_expected_counts_less(self) -> None:
        near, far = ORIGIN + np.array([2.0, 2.0, 2.0]), ORIGIN + np.array([10.0, 10.0, 10.0])
        both = 0.8 * encode(near[None], PLACE, 1.0) + encode(far[None], PLACE, 1.0)
        plain, _ = heatmaps().decode(both, PLACE)
        guided, _ = heatmaps().decode(both, PLACE, near[None])
        np.testing.assert_allclose(plain[0], far, atol=0.5)
        np.testing.assert_allclose(guided[0], near, atol=0.5)

    def test_the_loss_is_the_mean_over_the_channels_that_count(self) -> None:
        method, truth = heatmaps(), heatmaps().targets(local(points()))
        outputs = truth + torch.tensor([0.1, 0.2, 0.3, 0.4])[None, :, None, None, None]
        errors = method.errors(outputs, truth, 1.0)  # alpha = 1: plain squares
        torch.testing.assert_close(errors, torch.tensor([[0.01, 0.04, 0.09, 0.16]]))
        mask = torch.tensor([[1.0, 1.0, 0.0, 1.0]])
        assert float(method_loss(method, outputs, truth, 1.0, mask, mask.sum())) == pytest.approx(0.21 / 3)


METHOD = CoordinateRegression(1, 2)


def trainer(folder: Path, weights: int = 1, workers: int = 0, **changes: Any) -> Trainer:
    config = replace(CONFIG, adversarial_from=None, **changes)
    return Trainer(METHOD, METHOD.network(weights), ToySamples(), BATCH_SIZE, config, folder, CPU, workers=workers)


class TestCoordinates:
    """A method with a network, targets, a loss and a decoder of its own."""

    def test_it_is_a_method(self) -> None:
        method: Method = METHOD
        assert not method.heatmaps

    def test_it_learns_where_the_points_are(self, tmp_path: Path) -> None:
        learner = trainer(tmp_path, steps=150, learning_rate=1e-2, checkpoint_seconds=1e9)
        losses: list[float] = []
        learner.run(lambda entry: losses.append(entry["loss"]))
        assert np.mean(losses[-10:]) < 0.1 * losses[0]
        batch, grid = toy_batch(8, first=10_000), GRID.grid()
        with torch.inference_mode():
            outputs = learner.averaged_generator()(METHOD.inputs(batch))
        found = np.stack([METHOD.decode(output, grid)[0] for output in outputs])
        truth = batch.landmarks.numpy() + grid.ijk_to_ras[:3, 3]
        errors = np.linalg.norm(found - truth, axis=2)
        assert errors.mean() < 1.5
        assert (np.abs(found[:, 1, 0] - found[:, 0, 0] - 4.0) < 1.5).all()

    def test_it_resumes_bit_for_bit(self, tmp_path: Path) -> None:
        whole = trainer(tmp_path / "whole")
        whole.run()
        for stop_at in (3, 5):
            part = trainer(tmp_path / "parts", weights=stop_at if stop_at != 3 else 1)
            part.resume()
            with pytest.raises(StoppedError):
                part.run(should_stop=lambda t=part, s=stop_at: t.step == s)  # type: ignore[misc]
        rest = trainer(tmp_path / "parts", weights=99)
        assert rest.resume()
        assert rest.step == 5
        rest.run()
        for name, value in whole.generator.state_dict().items():
            assert torch.equal(rest.generator.state_dict()[name], value), name
            assert torch.equal(rest.average[name], whole.average[name]), name

    def test_a_batch_in_parts_teaches_the_same(self, tmp_path: Path) -> None:
        one, parts = trainer(tmp_path / "one"), trainer(tmp_path / "parts", accumulate=2)
        one.run()
        parts.run()
        for name, value in one.generator.state_dict().items():
            torch.testing.assert_close(parts.generator.state_dict()[name], value, rtol=2e-5, atol=2e-5)

    def test_an_adversary_is_refused(self, tmp_path: Path) -> None:
        adversary = Adversary(2, DISCRIMINATOR, GRID, SIGMA_MM, METHOD, ToySets(Processes()), CPU)
        with pytest.raises(
            ConfigurationError, match=r"judges heatmaps, and this method has none; leave the phase out\.$"
        ):
            Trainer(METHOD, METHOD.network(1), ToySamples(), BATCH_SIZE, CONFIG, tmp_path, CPU, adversary=adversary)

    def test_a_loss_that_is_no_number_names_the_case(self, tmp_path: Path) -> None:
        config = replace(CONFIG, adversarial_from=None)
        spoilt = ToySamples(spoilt_from=4)
        learner = Trainer(METHOD, METHOD.network(1), spoilt, BATCH_SIZE, config, tmp_path, CPU)
        with pytest.raises(ConfigurationError, match=r"The loss is not finite at step 1 with case case-6 \("):
            learner.run()

    def test_a_stage_of_it_is_validated(self, tmp_path: Path) -> None:
        """A network that says the mean landmarks: its error is how far the case lies from them."""
        cohort = write_bead_cohort(tmp_path, mra=1, sets=0, validation=1)
        plan = TrainingPlan().with_values(fine={"base_width": 8, "levels": 2, "window": (0, 0, 0), "priors": False})
        [stage] = [stage for stage in recipe(plan, cohort.frame, 19, {}) if stage.name == "fine"]
        method = CoordinateRegression(1, len(default_anatomy()))
        network = method.network(1)
        mean = cohort.frame.mean_landmarks - stage.grid.ijk_to_ras[:3, 3]
        with torch.no_grad():
            network.head.weight.zero_()
            network.head.bias.copy_(torch.from_numpy(mean.astype(np.float32)).flatten())
        cases = cohort.cases("validation")[:1]
        source = AlignedSource(cases, cohort.frame, plan.coarse, AugmentationSettings())
        judge = StageValidation(replace(stage, method=method), source, cases, cohort.anatomy, CPU)
        figures = judge(network.eval(), 1)
        assert figures["landmarks"] == 19
        # the validation moves a case by whole voxels of up to 2 mm, the case itself lies 1 to 4 mm off
        errors = np.linalg.norm(cases[0].landmarks - cohort.frame.mean_landmarks, axis=1)
        assert figures["mre_mm"] == pytest.approx(errors.mean(), abs=4.0)
