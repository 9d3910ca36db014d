"""Both phases of the training: exact resuming, several processes, and everything that can go wrong on the way."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from CoWLandmarksLib.core.errors import ConfigurationError, OutputError, StoppedError
from CoWLandmarksTrainingLib.config.settings import DiscriminatorView, Objective
from CoWLandmarksTrainingLib.records.training_log import TrainingLog
from CoWLandmarksTrainingLib.train.checkpoint import previous
from CoWLandmarksTrainingLib.train.samples import WorkerKilledError
from CoWLandmarksTrainingLib.train.trainer import Trainer
from toy_training import (
    BATCH_SIZE,
    CONFIG,
    CPU,
    DISCRIMINATOR,
    METHOD,
    ToySamples,
    everything,
    targets,
    toy_batch,
    toy_trainer,
)

SCRIPT = Path(__file__).resolve().parents[1] / "toy_training.py"
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """As in the child processes: with more threads sums come out otherwise in the last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trained(folder: Path, **changes: Any) -> dict[str, torch.Tensor]:
    trainer = toy_trainer(folder, **changes)
    trainer.run()
    return everything(trainer)


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], tolerance: float = 0.0) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(
            other[name], value, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """An uninterrupted training."""
    return trained(tmp_path_factory.mktemp("whole"))


def log_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


class TestPhases:
    """The generator alone, then both."""

    def test_the_discriminator_rests_in_phase_1_and_learns_in_phase_2(self, tmp_path: Path) -> None:
        trainer = toy_trainer(tmp_path, adversarial_from=3)
        assert trainer.adversary is not None
        start = trainer.adversary.discriminator.head[0].weight.detach().clone()
        batches = trainer.batches()
        for step in range(4):
            rests = torch.equal(trainer.adversary.discriminator.head[0].weight, start)
            assert rests == (step <= 3)
            assert trainer.adversarial == (step == 3)
            trainer.train_step(next(batches))
        assert not torch.equal(trainer.adversary.discriminator.head[0].weight, start)

    def test_the_first_steps_of_phase_1_do_not_depend_on_what_follows(self, tmp_path: Path) -> None:
        alone = toy_trainer(tmp_path / "a", steps=4, adversarial_from=None)
        before = toy_trainer(tmp_path / "b", steps=4, adversarial_from=4)
        alone.run()
        before.run()
        assert_same(everything(alone), everything(before))

    def test_the_generator_s_gradient_is_that_of_equation_3(self, tmp_path: Path) -> None:
        config = replace(DISCRIMINATOR, weight=70.0, learning_rate=1e-12, instance_noise=0.0, r1=0.0)
        trainer = toy_trainer(tmp_path, discriminator=config, adversarial_from=0, gradient_norm=1e9)
        assert trainer.adversary is not None
        batch = toy_batch()
        trainer.train_step(batch)
        taken = [parameter.grad.clone() for parameter in trainer.generator.parameters() if parameter.grad is not None]
        again = toy_trainer(tmp_path, discriminator=config)
        assert again.adversary is not None
        prediction, truth = again.generator(batch.image), targets(batch)
        seen = again.adversary._shown(prediction, batch.channel_mask, None)
        weight = torch.exp(truth * np.log(1000.0))
        errors = (weight * (truth - prediction) ** 2).mean(dim=(2, 3, 4)) * batch.channel_mask
        heat = errors.sum() / batch.channel_mask.sum()
        (heat - 70.0 * torch.log(torch.sigmoid(again.adversary.discriminator(seen))).mean()).backward()
        for parameter, gradient in zip(again.generator.parameters(), taken, strict=True):
            assert parameter.grad is not None
            torch.testing.assert_close(gradient, parameter.grad, rtol=1e-3, atol=1e-5)

    def test_what_is_not_annotated_in_one_set_is_hidden_in_its_partner(self, tmp_path: Path) -> None:
        trainer = toy_trainer(tmp_path, discriminator=replace(DISCRIMINATOR, r1=0.0))
        assert trainer.adversary is not None
        seen: list[torch.Tensor] = []
        trainer.adversary.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        batch = toy_batch()
        assert batch.channel_mask[:, 1].tolist() == [0.0, 1.0, 1.0, 1.0]
        trainer.adversary.update([trainer.adversary.predicted(batch, targets(batch) + 0.1)])
        real, fake = seen
        for sets in (real, fake):
            empty = [float(channel.abs().max()) == 0.0 for channel in sets[:, 1]]
            assert empty == [True, False, False, False]
            assert float(sets[:, 0].flatten(1).abs().amax(dim=1).min()) > 0.5

    def test_lambda_keeps_the_share_of_the_gradient(self, tmp_path: Path) -> None:
        trainer = toy_trainer(tmp_path, discriminator=replace(DISCRIMINATOR, gradient_share=0.2), adversarial_from=0)
        assert trainer.adversary is not None
        assert trainer.adversary.weight == 0.0
        trainer.adversary.observe(torch.tensor(9.0), torch.tensor(4.0))
        assert trainer.adversary.weight == pytest.approx(0.2 * 3.0 / 2.0)
        trainer.adversary.observe(torch.tensor(1.0), torch.tensor(4.0))
        assert trainer.adversary.weight == pytest.approx(0.2 * (0.95 * 3.0 + 0.05 * 1.0) / 2.0)

    def test_the_log_shows_what_the_discriminator_does(self, tmp_path: Path) -> None:
        trained(tmp_path)
        lines = log_of(tmp_path)
        assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6, 7, 8]
        assert [line["phase"] for line in lines] == [1, 1, 1, 1, 2, 2, 2, 2]
        last = lines[-1]
        assert 0.0 <= last["discriminator_accuracy"] <= 1.0
        assert last["lambda_adv"] * last["gradient_ratio"] == pytest.approx(DISCRIMINATOR.gradient_share)
        assert last["confused_points"] == 0 or -1.0 <= last["cosine_to_truth"] <= 1.0
        assert "discriminator_loss" not in lines[0]

    def test_between_lines_by_time_the_ends_of_both_phases_are_reported(self, tmp_path: Path) -> None:
        trained(tmp_path, log_seconds=1e9)
        assert [(line["step"], line["phase"]) for line in log_of(tmp_path)] == [(1, 1), (4, 1), (8, 2)]

    @pytest.mark.parametrize("objective", list(Objective))
    @pytest.mark.parametrize("view", [DiscriminatorView.SQUARED, DiscriminatorView.RENDERED])
    def test_every_cure_trains(self, tmp_path: Path, objective: Objective, view: DiscriminatorView) -> None:
        config = replace(DISCRIMINATOR, objective=objective, view=view, label_smoothing=0.1, steps_per_update=2)
        state = trained(tmp_path, discriminator=config, steps=3, adversarial_from=1)
        assert all(bool(value.isfinite().all()) for value in state.values())
        assert float(state["lambda"]) > 0.0

    def test_the_cosine_is_one_where_the_gradient_asks_for_the_right_change(self, tmp_path: Path) -> None:
        trainer = toy_trainer(tmp_path)
        assert trainer.adversary is not None
        batch = replace(toy_batch(1), channel_mask=torch.ones(1, 2))
        truth = targets(batch)
        swapped = truth[:, [1, 0]]
        trainer.adversary.diagnose(batch, truth, swapped, -(truth - swapped))
        right = trainer.adversary.log()
        assert right["confused_points"] == 2
        assert right["cosine_to_truth"] == pytest.approx(1.0, abs=0.02)
        trainer.adversary.diagnose(batch, truth, swapped, truth - swapped)
        assert trainer.adversary.log()["cosine_to_truth"] == pytest.approx(-1.0, abs=0.02)
        trainer.adversary.diagnose(batch, truth, truth, truth)
        assert trainer.adversary.log()["confused_points"] == 0


class TestSameWeights:
    """Ways to compute the same training."""

    def test_a_stopped_and_resumed_training_equals_an_uninterrupted_one(
        self, tmp_path: Path, whole: dict[str, torch.Tensor]
    ) -> None:
        for stop_at in (2, 5, 6):
            trainer = toy_trainer(tmp_path, weights=1 if stop_at == 2 else stop_at)
            trainer.resume()
            with pytest.raises(StoppedError, match=f"step {stop_at}; the same command goes on"):
                trainer.run(should_stop=lambda t=trainer, s=stop_at: t.step == s)
        assert_same(trained_on(tmp_path), whole)
        assert [line["step"] for line in log_of(tmp_path)] == [1, 2, 3, 4, 5, 6, 7, 8]

    @pytest.mark.slow
    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no kill -9")
    def test_a_killed_training_equals_an_uninterrupted_one(
        self, tmp_path: Path, whole: dict[str, torch.Tensor]
    ) -> None:
        moments = random.Random(time.time_ns())
        checkpoint = tmp_path / "checkpoint.pt"
        for _ in range(2):
            before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else None
            process = subprocess.Popen([sys.executable, str(SCRIPT), str(tmp_path)], env=ENVIRONMENT)
            while process.poll() is None and not (checkpoint.exists() and checkpoint.stat().st_mtime_ns != before):
                time.sleep(0.005)
            time.sleep(moments.uniform(0.0, 0.15))
            process.kill()
            process.wait()
        assert_same(trained_on(tmp_path), whole)

    def test_a_batch_in_parts_teaches_the_same(self, tmp_path: Path, whole: dict[str, torch.Tensor]) -> None:
        assert_same(trained(tmp_path, accumulate=2), whole, 2e-5)

    def test_activations_computed_again_teach_the_same(self, tmp_path: Path, whole: dict[str, torch.Tensor]) -> None:
        assert_same(trained(tmp_path, checkpoint_activations=True), whole, 1e-6)

    @pytest.mark.slow
    def test_batches_made_by_workers_teach_the_same_and_can_be_resumed(
        self, tmp_path: Path, whole: dict[str, torch.Tensor]
    ) -> None:
        trainer = toy_trainer(tmp_path, workers=2)
        with pytest.raises(StoppedError):
            trainer.run(should_stop=lambda: trainer.step == 5)
        assert_same(trained_on(tmp_path, workers=1), whole)

    @pytest.mark.slow
    def test_two_processes_teach_the_same_as_one(self, tmp_path: Path, whole: dict[str, torch.Tensor]) -> None:
        # Everything stays on this machine's own interface: names of machines may not resolve, or only slowly.
        arguments = ["--standalone", "--local-addr=127.0.0.1", "--nproc_per_node=2", str(SCRIPT), str(tmp_path)]
        environment = {**ENVIRONMENT, **({"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {})}
        done = subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", *arguments],
            env=environment,
            timeout=900,  # three times torch is imported, and the machine may be busy
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout
        assert_same(torch.load(tmp_path / "weights.pt", weights_only=True), whole, 2e-5)


def trained_on(folder: Path, **changes: Any) -> dict[str, torch.Tensor]:
    """The end of a training that goes on in a folder, from another start."""
    trainer = toy_trainer(folder, weights=77, **changes)
    trainer.resume()
    trainer.run()
    return everything(trainer)


class TestTrouble:
    """Nothing is lost."""

    def test_the_case_that_spoils_the_loss_is_named(self, tmp_path: Path) -> None:
        trainer = toy_trainer(tmp_path, samples=ToySamples(spoilt_from=12), adversarial_from=None)
        with pytest.raises(ConfigurationError, match=r"not finite at step 3 with case case-14 \(the last checkpoint"):
            trainer.run()
        again = toy_trainer(tmp_path)
        assert again.resume()
        assert again.step == 3

    def test_in_phase_2_as_well_before_the_discriminator_complains(self, tmp_path: Path) -> None:
        trainer = toy_trainer(tmp_path, samples=ToySamples(spoilt_from=12), adversarial_from=0)
        with pytest.raises(ConfigurationError, match=r"The prediction is not finite at step 3 with case case-14 \("):
            trainer.run()

    @pytest.mark.slow
    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no kill -9")
    @pytest.mark.parametrize("wanted", [False, True])
    def test_a_worker_that_is_killed_ends_the_training_with_a_sentence(
        self, tmp_path: Path, wanted: bool, whole: dict[str, torch.Tensor]
    ) -> None:
        """Alone: too little memory, most likely. With everything else, as at the end of a batch job: a wish to stop."""
        trainer = toy_trainer(tmp_path, samples=ToySamples(killed_at=17), workers=1)
        asked: list[int] = []

        def should_stop() -> bool:
            asked.append(trainer.step)
            return wanted and asked.count(trainer.step) > 1  # twice at the same step: after the worker is gone

        error, sentence = (
            (StoppedError, "^Stopped at step")
            if wanted
            else (WorkerKilledError, r"; use fewer \(training\.workers\)\.$")
        )
        with pytest.raises(error, match=sentence):
            trainer.run(should_stop=should_stop)
        assert_same(trained_on(tmp_path), whole)

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
    def test_a_log_that_cannot_be_written_ends_no_training(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        trainer = toy_trainer(tmp_path, steps=4)
        (tmp_path / "log.jsonl").symlink_to("/dev/full")
        trainer.run()
        assert trainer.step == 4
        assert caplog.text.count("cannot be written") == 1

    def test_an_entry_after_a_broken_one_has_a_line_of_its_own(self, tmp_path: Path) -> None:
        log = TrainingLog(tmp_path / "missing" / "log.jsonl")
        log.append({"step": 1})
        (tmp_path / "missing").mkdir()
        assert log.path is not None
        log.path.write_text('{"step": 1, "los', encoding="utf-8")
        log.append({"step": 2})
        assert json.loads(log.path.read_text(encoding="utf-8").splitlines()[1])["step"] == 2

    def test_a_damaged_checkpoint_is_replaced_by_the_one_before(
        self, tmp_path: Path, whole: dict[str, torch.Tensor], caplog: pytest.LogCaptureFixture
    ) -> None:
        trainer = toy_trainer(tmp_path)
        with pytest.raises(StoppedError):
            trainer.run(should_stop=lambda: trainer.step == 5)
        trainer.checkpoint_file.write_bytes(trainer.checkpoint_file.read_bytes()[:-2000])
        assert_same(trained_on(tmp_path), whole)
        assert "is damaged; training goes on from the one before" in caplog.text

    def test_a_kill_between_the_two_renames_loses_nothing(self, tmp_path: Path, whole: dict[str, torch.Tensor]) -> None:
        trainer = toy_trainer(tmp_path)
        with pytest.raises(StoppedError):
            trainer.run(should_stop=lambda: trainer.step == 5)
        trainer.checkpoint_file.replace(previous(trainer.checkpoint_file))
        assert_same(trained_on(tmp_path), whole)

    def test_a_full_disk_does_not_end_a_training_before_its_end(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        trainer = toy_trainer(tmp_path, steps=6)
        save, calls = torch.save, []

        def full_for_a_while(state: Any, path: Path) -> None:
            calls.append(trainer.step)
            if len(calls) in (3, 4):
                path.write_bytes(b"half a check")
                raise RuntimeError("[enforce fail at inline_container.cc] PytorchStreamWriter failed writing file")
            save(state, path)

        monkeypatch.setattr(torch, "save", full_for_a_while)
        trainer.run()
        assert calls == [1, 2, 3, 4, 5, 6, 6]
        assert "make room on the disk" in caplog.text
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "checkpoint-before.pt",
            "checkpoint.pt",
            "log.jsonl",
        ]

    @pytest.mark.skipif(not Path("/proc").exists(), reason="needs a file size limit")
    def test_a_disk_that_stays_full_keeps_the_last_good_checkpoint(self, tmp_path: Path) -> None:
        trainer = toy_trainer(tmp_path)
        trainer.run()
        before = trainer.checkpoint_file.read_bytes()
        again = toy_trainer(tmp_path)
        again.resume()
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, hard))
        try:
            with pytest.raises(OutputError, match=r"^'"):
                again.save_checkpoint(1.0)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert trainer.checkpoint_file.read_bytes() == before
        assert not list(tmp_path.glob("*.part*"))

    def test_a_full_gpu_is_reported_with_what_to_do(self, tmp_path: Path) -> None:
        trainer = toy_trainer(tmp_path)

        def full(*_: Any) -> None:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

        trainer.generator.register_forward_pre_hook(full)
        trainer.generator.stem.register_forward_pre_hook(full)
        with pytest.raises(ConfigurationError, match=r"too little memory for step 0; raise fine\.accumulate"):
            trainer.run()

    def test_so_is_one_that_is_full_in_a_validation(self, tmp_path: Path) -> None:
        def full(*_: Any) -> dict[str, Any]:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

        trainer = toy_trainer(tmp_path, steps=2, validate_every=1)
        with pytest.raises(ConfigurationError, match="too little memory for the validation after step 1; raise"):
            trainer.run(validate=full)

    def test_a_phase_without_a_discriminator_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="needs a discriminator"):
            Trainer(METHOD, METHOD.network(1), ToySamples(), BATCH_SIZE, CONFIG, tmp_path, CPU)

    def test_a_checkpoint_that_cannot_be_written_at_the_end_is_an_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(state: Any, path: Path) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(torch, "save", full)
        with pytest.raises(OutputError, match="No space left on device"):
            trained(tmp_path, steps=1)

    def test_a_batch_that_cannot_be_divided_is_reported(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"batch of 4 cannot be divided by accumulate = 3\.$"):
            trained(tmp_path, accumulate=3)


def test_validation_is_asked_at_its_turn_and_at_the_end(tmp_path: Path) -> None:
    asked: list[int] = []

    def validate(network: torch.nn.Module, step: int) -> dict[str, Any]:
        assert not network.training
        asked.append(step)
        return {"mre_mm": 1.0}

    toy_trainer(tmp_path, steps=5, validate_every=2).run(validate=validate)
    assert asked == [2, 4, 5]
    assert [line["step"] for line in log_of(tmp_path) if "validation" in line] == [2, 4, 5]
