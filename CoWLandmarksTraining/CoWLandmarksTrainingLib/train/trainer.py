"""The trainer: the generator alone (phase 1), then against a discriminator (phase 2; Tan et al. 2023).

Checkpoints hold everything (weights, averaged weights, discriminator, optimisers, step, random states, position in
the epoch) and are written atomically; the log is one JSON object per line.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from CoWLandmarksLib.core.errors import ConfigurationError, OutputError, StoppedError
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import Dataset

from ..config.trainer_config import TrainerConfig
from ..records.training_log import LOG_FILE, TrainingLog
from .adversary import Adversary, Judged
from .batches import Batch
from .checkpoint import read_checkpoint, write_checkpoint
from .memory import enough_memory, memory_mb
from .methods import RATE_FACTOR, Method, Outputs, as_float, detached, method_loss
from .processes import Processes
from .samples import WorkerKilledError, batches
from .unlabelled import UnlabelledTerm

logger = logging.getLogger(__name__)

CHECKPOINT_NAME = "checkpoint.pt"
_DIAGNOSED_EVERY, _EXAMINED_EVERY = 10, 50
"""Steps between measurements of where the discriminator's gradient leads, on the batch and on held-out scans."""
LogSink = Callable[[dict[str, Any]], None]
Validation = Callable[[torch.nn.Module, int], dict[str, Any]]
"""Judges the averaged network at a step; what it returns goes into the log."""


class Trainer:
    """Trains one network on batches of samples; `run` returns when steps or time are used up.

    `samples` gives sample number n, counted from 0; each step takes the next `batch_size` of them, made by `workers`
    processes beside this one. Among several `processes` each takes its share of a batch; only the first writes files.
    """

    def __init__(
        self,
        method: Method,
        network: torch.nn.Module,
        samples: Dataset,  # type: ignore[type-arg]
        batch_size: int,
        config: TrainerConfig,
        folder: Path,
        device: torch.device,
        *,
        adversary: Adversary | None = None,
        unlabelled: UnlabelledTerm | None = None,
        processes: Processes | None = None,
        workers: int = 0,
        memory_advice: str = "use a smaller batch_size",
    ) -> None:
        self.config = config
        torch.backends.cudnn.benchmark |= device.type == "cuda"  # every step has the shapes of the first
        self.memory_advice = memory_advice
        self.folder = folder
        self.device = device
        self.method = method
        self.samples, self.batch_size, self.workers = samples, batch_size, workers
        self.processes = processes or Processes()
        self.adversary = adversary
        self.unlabelled = unlabelled
        self._unlabelled_losses: list[float] = []
        if config.adversarial_from is not None and adversary is None:
            raise ConfigurationError("An adversarial phase needs a discriminator; give one, or leave the phase out.")
        if unlabelled is not None and self.processes.world > 1:
            raise ConfigurationError("Scans without annotation are learnt from by one process; use a single device.")
        if adversary is not None and not method.heatmaps:
            raise ConfigurationError("A discriminator judges heatmaps, and this method has none; leave the phase out.")
        self.generator = network.to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        if config.checkpoint_activations:
            self.generator.checkpoint_activations = True
        self.network: torch.nn.Module = self.generator
        if self.processes.world > 1:
            self.network = DistributedDataParallel(self.generator)
            if adversary is not None:
                self._same_start(adversary.discriminator)
        self.average = {name: value.detach().clone() for name, value in self.generator.state_dict().items()}
        self.optimiser = method.optimiser(self.generator, config.learning_rate)
        self.log = TrainingLog(self.folder / LOG_FILE if self.processes.first else None)
        self.step = 0
        self.seconds_before = 0.0
        self.alpha = config.alpha_at(0.0)

    @property
    def checkpoint_file(self) -> Path:
        """Where the state is kept."""
        return self.folder / CHECKPOINT_NAME

    @property
    def adversarial(self) -> bool:
        """Whether the next step belongs to phase 2."""
        return self.config.adversarial_from is not None and self.step >= self.config.adversarial_from

    def run(
        self,
        on_log: LogSink | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        validate: Validation | None = None,
    ) -> None:
        """Train until the configured steps or seconds (over all resumed sessions) are used up.

        `should_stop` is asked between steps; when it says so, a checkpoint is written and StoppedError raised.
        `validate` judges the averaged network every `validate_every` steps and at the end. Raises
        ConfigurationError when the loss is not finite or the memory is used up, and OutputError when the last
        checkpoint cannot be written; one on the way that cannot be written is only warned of.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        report = on_log or (lambda entry: None)
        started = saved = logged = time.monotonic()
        losses: list[float] = []
        phase_2 = self.config.adversarial_from
        waited = 0.0
        feed: Iterator[Batch] | None = None
        beside: Iterator[Batch] | None = None
        try:
            while True:
                elapsed = self.seconds_before + time.monotonic() - started
                stop, elapsed = self.processes.agreed(should_stop(), elapsed, self.device)
                if self._finished(elapsed):
                    break
                if stop:
                    self._stop(elapsed)
                self.alpha = self.config.alpha_at(self._progress(elapsed))
                rate = self.config.learning_rate_at(self._progress(elapsed), self.step)
                for group in self.optimiser.param_groups:
                    group["lr"] = rate * group.get(RATE_FACTOR, 1.0)
                before = time.monotonic()
                with enough_memory(f"step {self.step}", self.memory_advice):
                    if feed is None:
                        feed = self.batches()
                    try:
                        batch = next(feed)
                    except WorkerKilledError:
                        if should_stop():  # who stops everything at once kills the workers as well
                            self._stop(elapsed)
                        raise
                    if beside is None and self._judges_unlabelled:
                        beside = self.unlabelled_batches()
                    waited += time.monotonic() - before
                    if self.adversarial and self.adversary is not None and self._to_be_examined:
                        self._examine()
                    losses.append(self.train_step(batch, None if beside is None else next(beside)))
                now = time.monotonic()
                if now - logged >= self.config.log_seconds or self.step in (1, self.config.steps, phase_2):
                    report(self._log_entry(losses, rate, elapsed, now - logged, waited))
                    losses.clear()
                    logged, waited = now, 0.0
                if validate and self.config.validate_every and self.step % self.config.validate_every == 0:
                    self._validate(validate, report)
                if time.monotonic() - saved > self.config.checkpoint_seconds:
                    self._save_if_possible(elapsed)
                    saved = time.monotonic()
            if validate and not (self.config.validate_every and self.step % self.config.validate_every == 0):
                self._validate(validate, report)
        finally:
            del feed, beside  # ends the processes that make batches
        self.seconds_before = elapsed
        self.save_checkpoint(self.seconds_before)
        self.processes.wait()

    def batches(self) -> Iterator[Batch]:
        """The batches from the present step on."""
        return batches(
            self.samples,
            self.batch_size,
            self.step * self.batch_size,
            workers=self.workers,
            processes=self.processes,
            pin_memory=self.device.type == "cuda",
        )

    @property
    def _to_be_examined(self) -> bool:
        return (self.step - (self.config.adversarial_from or 0)) % _EXAMINED_EVERY == 0

    @property
    def _judges_unlabelled(self) -> bool:
        return self.unlabelled is not None and self.step >= self.unlabelled.first_step

    def unlabelled_batches(self) -> Iterator[Batch]:
        """Batches of scans without annotation from the present step on."""
        assert self.unlabelled is not None
        size = self.unlabelled.batch_size
        first = (self.step - self.unlabelled.first_step) * size
        return batches(self.unlabelled.samples, size, first, workers=self.workers, processes=self.processes)

    def train_step(self, batch: Batch, unlabelled: Batch | None = None) -> float:
        """One optimiser step on a batch, and on one without annotation; returns the loss of the former.

        Raises ConfigurationError when it is not finite.
        """
        torch.manual_seed(self._random_seed())
        parts = batch.to(self.device).split(self.config.accumulate)
        channels = self.processes.sum(batch.channel_mask.sum().to(self.device))
        samples = len(batch) * self.processes.world
        opponent = self.adversary if self.adversarial else None
        ready: list[torch.Tensor] = []
        fakes: list[Judged] = []
        beside = None if unlabelled is None else self._unlabelled_part(unlabelled.to(self.device), opponent)
        if opponent is not None:
            if len(parts) == 1:
                ready = [self._predict_heatmaps(parts[0])]
                shown = ready
            else:  # the same predictions again below: memory for one part at a time, for one more forward pass
                with torch.no_grad():
                    shown = [self._predict_heatmaps(part) for part in parts]
            self._check_predictions(shown, parts)
            fakes = [opponent.predicted(part, heatmaps) for part, heatmaps in zip(parts, shown, strict=True)]
            opponent.update([*fakes, *([beside] if isinstance(beside, Judged) else [])])
        self.optimiser.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.device)
        squares = torch.zeros(2, device=self.device)
        for number, part in enumerate(parts):
            with self._synchronised(last=number == len(parts) - 1):
                outputs = ready[number] if ready else self._predict(part)
                targets = self.method.targets(part.landmarks)
                heat = method_loss(self.method, outputs, targets, self.alpha, part.channel_mask, channels)
                self._check(heat, outputs, targets, part)
                loss = heat
                if opponent is not None:
                    assert isinstance(outputs, torch.Tensor)  # heatmaps
                    judged = replace(fakes[number], heatmaps=outputs)
                    wish, heat_square = self._adversarial_gradient(opponent, judged, part, targets, channels, samples)
                    squares += torch.stack([heat_square, wish.square().sum()])
                    loss = heat + opponent.weight * (outputs * wish).sum()  # whose gradient is that of Eq. 3
                (loss * self.processes.world).backward()
            total += heat.detach()
        if isinstance(beside, torch.Tensor) and beside.requires_grad:
            beside.backward()
        elif opponent is not None and isinstance(beside, Judged):
            wish = opponent.gradient(beside, len(beside.keep))
            squares[1] += wish.square().sum()
            (opponent.weight * (beside.heatmaps * wish).sum()).backward()
        norm = torch.nn.utils.clip_grad_norm_(self.generator.parameters(), self.config.gradient_norm)
        if not torch.isfinite(norm):
            raise self._not_finite("gradient", batch.names)
        self.optimiser.step()
        if opponent is not None:
            opponent.observe(squares[0], squares[1])
        self.step += 1
        self._update_average()
        return float(self.processes.sum(total))

    def _unlabelled_part(self, batch: Batch, opponent: Adversary | None) -> torch.Tensor | Judged | None:
        """Of scans without annotation: the loss times its weight, or what the discriminator is to judge."""
        assert self.unlabelled is not None and batch.origin_mm is not None
        if self.unlabelled.loss is None:
            if opponent is None:
                return None
            return opponent.predicted(batch, self._predict_heatmaps(batch), annotated=False)
        outputs = self._predict_heatmaps(batch)
        loss = self.unlabelled.loss(outputs, torch.ones_like(batch.channel_mask), batch.origin_mm)
        self._unlabelled_losses.append(float(loss.detach()))
        return self.unlabelled.weight * loss

    def _examine(self) -> None:
        """Let the discriminator be measured on scans that nothing is learnt from."""
        assert self.adversary is not None
        self.generator.eval()
        self.adversary.examine(self._predict_heatmaps)
        self.generator.train()

    def averaged_generator(self) -> torch.nn.Module:
        """A copy of the network with the averaged weights, for inference."""
        copy = deepcopy(self.generator)
        copy.load_state_dict(self.average)
        return copy.eval()

    def save_checkpoint(self, seconds: float) -> None:
        """Write the whole state atomically; raises OutputError, and then the older checkpoint is as it was."""
        if not self.processes.first:
            return
        write_checkpoint(
            self.checkpoint_file,
            {
                "config": asdict(self.config),
                "generator": self.generator.state_dict(),
                "average": self.average,
                "optimiser": self.optimiser.state_dict(),
                "adversary": self.adversary.state() if self.adversary else None,
                "step": self.step,
                "seconds": seconds,
            },
        )

    def resume(self) -> bool:
        """Continue from the checkpoint in the folder (or the one before, if that is damaged); False when there is
        none. Raises ConfigurationError when none of them fits."""
        if not read_checkpoint(self.checkpoint_file, self.device, self._restore):
            return False
        self.log.cut_after(self.step)
        return True

    def _restore(self, state: dict[str, Any]) -> None:
        self.generator.load_state_dict(state["generator"])
        self.average = {name: value.to(self.device) for name, value in state["average"].items()}
        self.optimiser.load_state_dict(state["optimiser"])
        if self.adversary is not None and state.get("adversary") is not None:
            self.adversary.restore(state["adversary"])
        self.step, self.seconds_before = int(state["step"]), float(state["seconds"])

    def _predict(self, part: Batch) -> Outputs:
        image, *more = self.method.training_inputs(part)
        image = image.contiguous(memory_format=torch.channels_last_3d)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.mixed_precision):
            outputs: Outputs = self.network(image, *more)
        return as_float(outputs)

    def _predict_heatmaps(self, part: Batch) -> torch.Tensor:
        heatmaps = self._predict(part)
        assert isinstance(heatmaps, torch.Tensor)
        return heatmaps

    def _random_seed(self) -> int:
        """Of what is random in a step (dropout): the same whenever the step is taken, another for every process."""
        number = (self.config.seed << 32) + self.step
        return (number * self.processes.world + self.processes.rank) % 2**63

    def _adversarial_gradient(
        self,
        opponent: Adversary,
        judged: Judged,
        part: Batch,
        targets: torch.Tensor,
        channels: torch.Tensor,
        samples: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The discriminator's gradient at the output, and the squared norm of L_heat's there."""
        prediction = judged.heatmaps
        wish = opponent.gradient(judged, samples)
        leaf = prediction.detach().requires_grad_()
        loss = method_loss(self.method, leaf, targets, self.alpha, part.channel_mask, channels)
        [heat] = torch.autograd.grad(loss, leaf)
        if self.step % _DIAGNOSED_EVERY == 0:
            opponent.diagnose(part, targets, prediction, wish)
        return wish, heat.square().sum()

    def _synchronised(self, last: bool) -> Any:
        """Processes exchange gradients in the last part of a step only."""
        if last or not isinstance(self.network, DistributedDataParallel):
            return nullcontext()
        return self.network.no_sync()

    def _check(self, heat: torch.Tensor, prediction: Outputs, targets: torch.Tensor, part: Batch) -> None:
        if torch.isfinite(self.processes.sum(heat.detach())):
            return
        errors = self.method.errors(detached(prediction), targets, self.alpha).sum(dim=1)
        guilty = [name for name, error in zip(part.names, errors.isfinite().tolist(), strict=False) if not error]
        raise self._not_finite("loss", tuple(guilty))

    def _check_predictions(self, predictions: list[torch.Tensor], parts: list[Batch]) -> None:
        """Before the discriminator sees them, which would only say that its own loss is not finite."""
        finite = [prediction.detach().flatten(1).isfinite().all(dim=1) for prediction in predictions]
        wrong = torch.stack([(~each).sum() for each in finite]).sum()
        if int(self.processes.sum(wrong)) == 0:
            return
        pairs = zip((name for part in parts for name in part.names), torch.cat(finite).tolist(), strict=False)
        raise self._not_finite("prediction", tuple(name for name, good in pairs if not good))

    def _not_finite(self, what: str, names: tuple[str, ...]) -> ConfigurationError:
        kept = "the last checkpoint is kept" if self.checkpoint_file.exists() else "no checkpoint was written yet"
        case = f" with case {', '.join(names)}" if names else ""
        return ConfigurationError(
            f"The {what} is not finite at step {self.step}{case} ({kept} in '{self.folder}'); "
            "look at that case, or use a lower learning rate."
        )

    def _update_average(self) -> None:
        decay = min(self.config.average_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.generator.state_dict().items():
                if value.is_floating_point():
                    self.average[name].lerp_(value, 1 - decay)
                else:  # how many batches a normalisation has seen
                    self.average[name].copy_(value)

    def _same_start(self, module: torch.nn.Module) -> None:
        for value in module.state_dict().values():
            torch.distributed.broadcast(value, 0)

    def _log_entry(
        self, losses: list[float], rate: float, elapsed: float, interval: float, waited: float
    ) -> dict[str, Any]:
        memory = memory_mb(self.device)
        entry = {
            "step": self.step,
            "steps": self.config.steps,
            "loss": float(np.mean(losses)),
            "learning_rate": rate,
            **({"alpha": round(self.alpha, 2)} if self.config.final_alpha else {}),
            "seconds": round(elapsed, 1),
            "seconds_per_step": round(interval / max(1, len(losses)), 4),
            "waiting_share": round(waited / max(interval, 1e-9), 3),
            "memory_mb": None if memory is None else round(memory),
        }
        if self._unlabelled_losses:
            entry["unlabelled_loss"] = float(np.mean(self._unlabelled_losses))
            self._unlabelled_losses.clear()
        if self.adversary is not None and self.config.adversarial_from is not None:
            entry["phase"] = 2 if self.step > self.config.adversarial_from else 1
            entry |= self.adversary.log() if entry["phase"] == 2 else {}
        return self.log.append(entry)

    def _validate(self, validate: Validation, report: LogSink) -> None:
        if self.processes.first:
            with enough_memory(f"the validation after step {self.step}", self.memory_advice):
                result = validate(self.averaged_generator().to(self.device), self.step)
            report(self.log.append({"step": self.step, "validation": result}))
        self.processes.wait()

    def _stop(self, elapsed: float) -> None:
        self.seconds_before = elapsed
        self.save_checkpoint(elapsed)
        self.processes.wait()
        raise StoppedError(f"Stopped at step {self.step}; the same command goes on from '{self.checkpoint_file}'.")

    def _save_if_possible(self, elapsed: float) -> None:
        try:
            self.save_checkpoint(elapsed)
        except OutputError as error:
            logger.warning("%s The last checkpoint is kept and training goes on.", error)

    def _progress(self, elapsed: float) -> float:
        by_time = elapsed / self.config.time_limit_seconds
        return min(1.0, max(self.step / self.config.steps, by_time))

    def _finished(self, elapsed: float) -> bool:
        return self.step >= self.config.steps or elapsed >= self.config.time_limit_seconds
