"""The trainer: it learns, resumes exactly, and stops with a sentence."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from CoWLandmarksLib.core.errors import ConfigurationError, OutputError
from CoWLandmarksLib.core.volume import axis_aligned_grid
from CoWLandmarksLib.networks.generator import GeneratorConfig
from CoWLandmarksTrainingLib.config.trainer_config import TrainerConfig
from CoWLandmarksTrainingLib.phantom.tubes import capsules_of_polyline, joined, rasterise
from CoWLandmarksTrainingLib.train.batches import Batch, Sample, stacked
from CoWLandmarksTrainingLib.train.checkpoint import previous
from CoWLandmarksTrainingLib.train.losses import weighted_errors
from CoWLandmarksTrainingLib.train.methods import HeatmapRegression
from CoWLandmarksTrainingLib.train.trainer import Trainer
from CoWLandmarksTrainingLib.train.unlabelled import UnlabelledTerm
from torch.utils.data import Dataset

CPU = torch.device("cpu")
GRID = axis_aligned_grid(np.zeros(3), np.full(3, 0.8), (8, 12, 12))
NETWORK = GeneratorConfig(out_channels=2, base_width=8, levels=2)
METHOD = HeatmapRegression(NETWORK, GRID.shape, (0.8, 0.8, 0.8), 1.2)
CONFIG = TrainerConfig(
    steps=6, learning_rate=5e-3, warm_up_steps=2, mixed_precision=False, checkpoint_seconds=0.0, log_seconds=0.0
)


def bifurcation() -> Sample:
    """A window with a vessel that forks; the landmarks are the fork and an end."""
    fork, ends = np.array([0.3, -0.4, 0.2]), np.array([(-4.0, -4.0, 0.0), (3.0, 3.0, 1.0), (-2.0, 3.5, -2.0)])
    segments = [capsules_of_polyline(np.stack([fork, e]), np.full(2, 0.7), np.ones(2), 1) for e in ends]
    image = rasterise(joined(segments), GRID, CPU).coverage[None]
    origin = GRID.ijk_to_ras[:3, 3]
    landmarks = torch.from_numpy((np.stack([fork, ends[1]]) - origin).astype(np.float32))
    return Sample(image, landmarks, torch.ones(2), None, torch.from_numpy(origin.astype(np.float32)), "bifurcation")


def batch() -> Batch:
    return stacked([bifurcation()])


@dataclass(frozen=True)
class NoisySamples(Dataset):  # type: ignore[type-arg]
    """The window with noise of its own in every sample; from number `failing_from` on it goes through `failure`."""

    seed: int = 0
    noise: float = 0.1
    failing_from: float = math.inf
    failure: Callable[[Sample], Sample] = field(default=lambda sample: sample)

    def __getitem__(self, number: int) -> Sample:
        sample = bifurcation()
        rng = np.random.Generator(np.random.Philox(key=[self.seed, number]))
        noise = torch.from_numpy(rng.normal(0, 1.0, sample.image.shape).astype(np.float32))
        sample = replace(sample, image=sample.image + self.noise * noise)
        return self.failure(sample) if number >= self.failing_from else sample


def trainer(folder: Path, samples: NoisySamples | None = None, **changes: Any) -> Trainer:
    network = METHOD.network(changes.pop("weights", 1))
    config = replace(CONFIG, **changes)
    return Trainer(METHOD, network, samples or NoisySamples(config.seed), 1, config, folder, CPU)


def failing_after(steps: int, failure: Callable[[Sample], Sample]) -> NoisySamples:
    """The noisy samples, which fail after so many steps."""
    return NoisySamples(failing_from=steps, failure=failure)


def interrupt(sample: Sample) -> Sample:
    raise KeyboardInterrupt


def spoil(sample: Sample) -> Sample:
    return replace(sample, image=sample.image * math.nan)


@pytest.mark.slow
def test_one_window_is_learnt_by_heart(tmp_path: Path) -> None:
    learner = trainer(tmp_path, NoisySamples(noise=0.0), steps=120, checkpoint_seconds=1e9)
    losses: list[float] = []
    learner.run(lambda entry: losses.append(entry["loss"]))
    assert losses[-1] < 0.1 * losses[0]
    with torch.inference_mode():
        heatmaps = learner.generator.eval()(batch().image)[0]
    assert [int(h.argmax()) for h in heatmaps] == [int(h.argmax()) for h in METHOD.targets(batch().landmarks)[0]]


def test_a_resumed_training_equals_an_uninterrupted_one_bit_for_bit(tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole")
    whole.run()
    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path / "parts", failing_after(3, interrupt)).run()
    resumed = trainer(tmp_path / "parts", weights=99)
    assert resumed.resume()
    assert resumed.step == 3
    resumed.run()
    assert resumed.step == whole.step == 6
    for name, value in whole.generator.state_dict().items():
        assert torch.equal(resumed.generator.state_dict()[name], value), name
        assert torch.equal(resumed.average[name], whole.average[name]), name
    moments = [t.optimiser.state_dict()["state"] for t in (resumed, whole)]
    assert all(torch.equal(moments[0][n][key], moments[1][n][key]) for n in moments[1] for key in moments[1][n])


def empty_heatmaps(heatmaps: torch.Tensor, mask: torch.Tensor, first_voxel_mm: torch.Tensor) -> torch.Tensor:
    """A loss that asks for no landmark anywhere."""
    assert mask.shape == heatmaps.shape[:2]
    assert first_voxel_mm.shape == (len(heatmaps), 3)
    return heatmaps.square().mean()


def test_scans_without_annotation_teach_by_a_loss_of_their_own_and_resume_exactly(tmp_path: Path) -> None:
    def learner(folder: Path, samples: NoisySamples | None = None, weight: float = 10.0) -> Trainer:
        term = UnlabelledTerm(NoisySamples(seed=7), 1, empty_heatmaps, weight, first_step=2)
        network = METHOD.network(1)
        return Trainer(METHOD, network, samples or NoisySamples(), 1, CONFIG, folder, CPU, unlabelled=term)

    entries: list[dict[str, Any]] = []
    whole, plain = learner(tmp_path / "whole"), learner(tmp_path / "plain", weight=0.0)
    whole.run(entries.append)
    plain.run()
    assert ["unlabelled_loss" in entry for entry in entries] == [False, False, True, True, True, True]
    image = batch().image
    with torch.inference_mode():
        loud, quiet = (t.generator.eval()(image).square().mean() for t in (plain, whole))
    assert quiet < loud
    with pytest.raises(KeyboardInterrupt):
        learner(tmp_path / "parts", failing_after(4, interrupt)).run()
    resumed = learner(tmp_path / "parts")
    assert resumed.resume()
    assert resumed.step == 4
    resumed.run()
    for name, value in whole.generator.state_dict().items():
        assert torch.equal(resumed.generator.state_dict()[name], value), name


def test_another_seed_is_another_training(tmp_path: Path) -> None:
    one, other = trainer(tmp_path / "a", steps=2), trainer(tmp_path / "b", steps=2, seed=5)
    one.run()
    other.run()
    assert not torch.equal(one.generator.head.weight, other.generator.head.weight)


def test_a_loss_that_is_no_number_stops_with_a_sentence_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"not finite at step 3 with case bifurcation \(the last checkpoint is kept in .*\.$"
    ):
        trainer(tmp_path, failing_after(3, spoil)).run()
    again = trainer(tmp_path)
    assert again.resume()
    assert again.step == 3
    assert all(bool(value.isfinite().all()) for value in again.generator.state_dict().values())


def test_it_does_not_speak_of_a_checkpoint_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no checkpoint was written yet"):
        trainer(tmp_path, failing_after(0, spoil)).run()


def test_an_interrupted_write_keeps_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = trainer(tmp_path, steps=2)
    first.run()

    def broken(state: object, path: Path) -> None:
        Path(path).write_bytes(b"half a check")
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", broken)
        with pytest.raises(OutputError, match="no space"):
            first.save_checkpoint(1.0)
    again = trainer(tmp_path, weights=3)
    assert again.resume()
    assert torch.equal(again.generator.head.weight, first.generator.head.weight)


def test_there_is_nothing_to_resume_in_an_empty_folder(tmp_path: Path) -> None:
    assert not trainer(tmp_path).resume()


@pytest.mark.parametrize("damage", ["truncated", "another network"])
def test_a_checkpoint_that_cannot_be_used_is_reported(tmp_path: Path, damage: str) -> None:
    learner = trainer(tmp_path, steps=1)
    learner.run()
    if damage == "truncated":
        for file in (learner.checkpoint_file, previous(learner.checkpoint_file)):
            file.write_bytes(learner.checkpoint_file.read_bytes()[:500])
    else:
        other = replace(METHOD, config=replace(NETWORK, base_width=4))
        learner = Trainer(other, other.network(1), NoisySamples(), 1, CONFIG, tmp_path, CPU)
    with pytest.raises(ConfigurationError, match=r"checkpoint .* cannot be used .* delete it to start again\.$"):
        learner.resume()


def test_the_log_is_one_json_object_per_line(tmp_path: Path) -> None:
    trainer(tmp_path).run()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert {line["schema"] for line in lines} == {"cow-training-log/1"}


def test_the_learning_rate_warms_up_and_then_falls_as_a_cosine() -> None:
    config = TrainerConfig(steps=100, learning_rate=1.0, final_learning_rate=0.2, warm_up_steps=10)
    assert config.learning_rate_at(0.0, 0) == pytest.approx(0.1)
    assert config.learning_rate_at(0.0, 9) == pytest.approx(1.0)
    assert config.learning_rate_at(0.5, 50) == pytest.approx(0.6)
    assert config.learning_rate_at(1.0, 99) == pytest.approx(0.2)


def test_the_first_average_is_mostly_the_new_weights(tmp_path: Path) -> None:
    learner = trainer(tmp_path)
    before = learner.generator.head.weight.detach().clone()
    learner.train_step(batch())
    after = learner.generator.head.weight.detach()
    # decay after the first step: min(0.995, 2 / 11)
    torch.testing.assert_close(learner.average["head.weight"], before * (2 / 11) + after * (9 / 11))
    torch.testing.assert_close(learner.averaged_generator().head.weight.detach(), learner.average["head.weight"])


def test_used_up_time_ends_a_training_and_counts_over_resumed_sessions(tmp_path: Path) -> None:
    learner = trainer(tmp_path, time_limit_seconds=100.0)
    learner.seconds_before = 100.0
    learner.run()
    assert learner.step == 0
    again = trainer(tmp_path, time_limit_seconds=100.0)
    assert again.resume()
    assert again.seconds_before >= 100.0


def test_masked_landmarks_do_not_teach(tmp_path: Path) -> None:
    learner = trainer(tmp_path)
    before = learner.generator.head.weight.detach().clone()
    learner.train_step(replace(batch(), channel_mask=torch.tensor([[1.0, 0.0]])))
    change = (learner.generator.head.weight.detach() - before).abs().flatten(1).sum(dim=1)
    assert float(change[0]) > 0.0
    assert float(change[1]) == 0.0


def test_alpha_falls_from_forty_to_seventy_percent_of_the_training() -> None:
    config = TrainerConfig(steps=100, alpha=1000.0, final_alpha=10.0)
    assert [round(config.alpha_at(p), 6) for p in (0.0, 0.4, 0.55, 0.7, 1.0)] == [1000.0, 1000.0, 100.0, 10.0, 10.0]
    assert TrainerConfig(steps=100).alpha_at(1.0) == 1000.0


@pytest.mark.parametrize(("alpha", "height"), [(1000.0, 1000 / 1003), (10.0, 10 / 13), (1.0, 1 / 4)])
def test_the_best_answer_to_a_landmark_that_may_be_elsewhere_depends_on_alpha(alpha: float, height: float) -> None:
    """A landmark at one place in one case of four: the peak that costs least there is alpha p / (alpha p + 1 - p)."""
    target = torch.tensor([1.0, 0.0, 0.0, 0.0]).reshape(4, 1, 1, 1, 1)
    heights = torch.linspace(0.0, 1.0, 2001)
    costs = [float(weighted_errors(torch.full_like(target, float(h)), target, alpha).mean()) for h in heights]
    assert float(heights[int(np.argmin(costs))]) == pytest.approx(height, abs=1e-3)
