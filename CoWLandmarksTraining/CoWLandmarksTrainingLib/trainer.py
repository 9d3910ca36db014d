"""The trainer: the generator alone (phase 1), then against a discriminator (phase 2; Tan et al. 2023).

Checkpoints hold everything (weights, averaged weights, discriminator, optimisers, step, random states, position in
the epoch) and are written atomically; the log is one JSON object per line.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from CoWLandmarksLib.errors import ConfigurationError, OutputError, StoppedError, is_out_of_memory
from CoWLandmarksLib.generator import Generator
from torch.nn.parallel import DistributedDataParallel

from .adversary import Adversary
from .batch import Batch, Sampler
from .checkpoint import read_checkpoint, write_checkpoint
from .deep_supervision import SupervisedGenerator, supervised_targets
from .feed import Feed, Place
from .losses import exponentially_weighted_l2, weighted_errors
from .processes import Processes
from .training_log import TrainingLog, memory_mb

logger = logging.getLogger(__name__)

CHECKPOINT_NAME = "checkpoint.pt"
_ALPHA_FALLS = (0.4, 0.7)
"""Parts of a training between which alpha falls to its last value."""


@dataclass(frozen=True)
class TrainerConfig:
    """Settings of one training run. alpha and learning rate 1e-4 are the paper's; a higher rate with decay
    learns faster at small budgets (our choice). `average_decay` is the weight averaging (EMA; 0: none).

    `adversarial_from` is the step at which the discriminator comes in (None: never). A batch is computed in
    `accumulate` parts. `ahead` batches are made in advance by a thread.
    """

    steps: int
    learning_rate: float = 1e-4
    final_learning_rate: float = 1e-5
    warm_up_steps: int = 100
    alpha: float = 1000.0
    final_alpha: float = 0.0
    average_decay: float = 0.995
    gradient_norm: float = 1.0
    mixed_precision: bool = True
    checkpoint_seconds: float = 60.0
    log_every: int = 25
    time_limit_seconds: float = math.inf
    seed: int = 0
    adversarial_from: int | None = None
    accumulate: int = 1
    checkpoint_activations: bool = False
    deep_supervision: int = 0
    validate_every: int = 0
    ahead: int = 0

    def alpha_at(self, progress: float) -> float:
        """Base of the weight of Eq. 2: `alpha`, falling from 40 to 70 % of the training to `final_alpha` (0: it stays).

        With alpha = 1000 the best answer to a landmark that lies at a place with probability p is a peak of
        1000 p / (1000 p + 1 - p) there: 0.91 where p is 1 %. Such peaks find landmarks soon, but do not tell which of
        two places is the more likely, nor that a landmark is absent; with a smaller alpha they do.
        """
        if not self.final_alpha:
            return self.alpha
        share = float(np.clip((progress - _ALPHA_FALLS[0]) / (_ALPHA_FALLS[1] - _ALPHA_FALLS[0]), 0.0, 1.0))
        return float(self.alpha ** (1.0 - share) * self.final_alpha**share)

    def learning_rate_at(self, progress: float, step: int) -> float:
        """Cosine decay over `progress` in [0, 1] after a linear warm-up."""
        decay = self.final_learning_rate + 0.5 * (self.learning_rate - self.final_learning_rate) * (
            1 + math.cos(math.pi * progress)
        )
        return decay * min(1.0, (step + 1) / max(1, self.warm_up_steps))


FINE_MEMORY_ADVICE = (
    "raise training.accumulate, or use training.checkpoint_activations, mixed_precision, a smaller batch_size or "
    "generator.base_width"
)
COARSE_MEMORY_ADVICE = "use a smaller coarse.batch_size or coarse.base_width"


@contextmanager
def enough_memory(what: str, advice: str = FINE_MEMORY_ADVICE) -> Iterator[None]:
    """ConfigurationError in place of torch's words when there is too little memory for `what` happens inside."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise ConfigurationError(f"There is too little memory for {what}; {advice}.") from error


LogSink = Callable[[dict[str, Any]], None]
Validation = Callable[[Generator, int], dict[str, Any]]
"""Judges the averaged generator at a step; what it returns goes into the log."""


class Trainer:
    """Trains one generator on batches from a sampler; `run` returns when steps or time are used up.

    Among several `processes` each has a sampler that gives its share of the batch; only the first writes files.
    """

    def __init__(
        self,
        generator: Generator,
        sampler: Sampler,
        config: TrainerConfig,
        folder: Path,
        device: torch.device,
        *,
        adversary: Adversary | None = None,
        processes: Processes | None = None,
        memory_advice: str = FINE_MEMORY_ADVICE,
    ) -> None:
        self.config = config
        torch.backends.cudnn.benchmark |= device.type == "cuda"  # every step has the shapes of the first
        self.memory_advice = memory_advice
        self.folder = folder
        self.device = device
        self.sampler = sampler
        self.processes = processes or Processes()
        self.adversary = adversary
        if config.adversarial_from is not None and adversary is None:
            raise ConfigurationError("An adversarial phase needs a discriminator; give one, or leave the phase out.")
        self.generator = generator.to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.generator.checkpoint_activations = config.checkpoint_activations
        self.supervised = SupervisedGenerator(self.generator, config.deep_supervision).to(device)
        self.network: torch.nn.Module = self.supervised
        if self.processes.world > 1:
            self.network = DistributedDataParallel(self.supervised)
            if adversary is not None:
                self._same_start(adversary.discriminator)
        self.average = {name: value.detach().clone() for name, value in self.generator.state_dict().items()}
        self.optimiser = torch.optim.Adam(self.supervised.parameters(), lr=config.learning_rate)
        self.rng = np.random.Generator(np.random.Philox(config.seed))
        self.feed = Feed(sampler, self.rng, config.ahead)
        self.log = TrainingLog(self.folder / "log.jsonl" if self.processes.first else None)
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
        """Train until the configured steps or seconds (over all resumed pieces) are used up.

        `should_stop` is asked between steps; when it says so, a checkpoint is written and StoppedError raised.
        `validate` judges the averaged generator every `validate_every` steps and at the end. Raises
        ConfigurationError when the loss is not finite or the memory is used up, and OutputError when the last
        checkpoint cannot be written; one on the way that cannot be written is only warned of.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        tell = on_log or (lambda entry: None)
        started = saved = logged = time.monotonic()
        losses: list[float] = []
        waited = 0.0
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
                    group["lr"] = rate
                before = time.monotonic()
                with enough_memory(f"step {self.step}", self.memory_advice):
                    batch = next(self.feed)
                    waited += time.monotonic() - before
                    losses.append(self.train_step(batch))
                if self.step % self.config.log_every == 0:
                    now = time.monotonic()
                    tell(self._log_entry(losses, rate, elapsed, now - logged, waited))
                    losses.clear()
                    logged, waited = now, 0.0
                if validate and self.config.validate_every and self.step % self.config.validate_every == 0:
                    self._validate(validate, tell)
                if time.monotonic() - saved > self.config.checkpoint_seconds:
                    self._save_if_possible(elapsed)
                    saved = time.monotonic()
            if validate and not (self.config.validate_every and self.step % self.config.validate_every == 0):
                self._validate(validate, tell)
        finally:
            self.feed.close()
        self.seconds_before = elapsed
        self.save_checkpoint(self.seconds_before)
        self.processes.wait()

    def train_step(self, batch: Batch) -> float:
        """One optimiser step; returns the loss. Raises ConfigurationError when it is not finite."""
        parts = batch.split(self.config.accumulate)
        channels = self.processes.sum(batch.channel_mask.sum().to(self.device))
        samples = len(batch) * self.processes.world
        opponent = self.adversary if self.adversarial else None
        ready: list[tuple[torch.Tensor, ...]] = []
        if opponent is not None:
            if len(parts) == 1:
                ready = [self._predict(parts[0])]
                shown = [ready[0][0]]
            else:  # the same predictions again below: memory for one part at a time, for one more forward pass
                with torch.no_grad():
                    shown = [self._predict(part)[0] for part in parts]
            self._check_predictions(shown, parts)
            opponent.update(parts, shown)
        self.optimiser.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.device)
        squares = torch.zeros(2, device=self.device)
        for number, part in enumerate(parts):
            with self._synchronised(last=number == len(parts) - 1):
                outputs = ready[number] if ready else self._predict(part)
                heat = self._heat_loss(outputs, part, channels)
                self._check(heat, outputs[0], part)
                loss = heat
                if opponent is not None:
                    wish, heat_square = self._adversarial_gradient(opponent, part, outputs[0], channels, samples)
                    squares += torch.stack([heat_square, wish.square().sum()])
                    loss = heat + opponent.weight * (outputs[0] * wish).sum()  # whose gradient is that of Eq. 3
                (loss * self.processes.world).backward()
            total += heat.detach()
        norm = torch.nn.utils.clip_grad_norm_(self.supervised.parameters(), self.config.gradient_norm)
        if not torch.isfinite(norm):
            raise self._not_finite("gradient", batch.names)
        self.optimiser.step()
        if opponent is not None:
            opponent.observe(squares[0], squares[1])
        self.step += 1
        self._update_average()
        return float(self.processes.sum(total))

    def averaged_generator(self) -> Generator:
        """A copy of the generator with the averaged weights, for inference."""
        copy = Generator(self.generator.config)
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
                "generator_config": self.generator.config.to_dict(),
                "generator": self.generator.state_dict(),
                "heads": self.supervised.heads.state_dict(),
                "average": self.average,
                "optimiser": self.optimiser.state_dict(),
                "adversary": self.adversary.state() if self.adversary else None,
                "rng": self.feed.place.random,
                "position": self.feed.place.position,
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
        self.supervised.heads.load_state_dict(state.get("heads", {}))
        self.average = {name: value.to(self.device) for name, value in state["average"].items()}
        self.optimiser.load_state_dict(state["optimiser"])
        if self.adversary is not None and state.get("adversary") is not None:
            self.adversary.restore(state["adversary"])
        self.feed.go_to(Place(state["rng"], state.get("position")))
        self.step, self.seconds_before = int(state["step"]), float(state["seconds"])

    def _predict(self, part: Batch) -> tuple[torch.Tensor, ...]:
        image = part.image.to(self.device, memory_format=torch.channels_last_3d)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.mixed_precision):
            outputs = self.network(image)
        return tuple(output.float() for output in outputs)

    def _heat_loss(self, outputs: tuple[torch.Tensor, ...], part: Batch, channels: torch.Tensor) -> torch.Tensor:
        """This part's share of L_heat, the supervised levels included."""
        mask = part.channel_mask.to(self.device)
        targets = supervised_targets(part.heatmaps.to(self.device), len(outputs) - 1)
        losses = [
            weight * exponentially_weighted_l2(output, target, self.alpha, mask, channels)
            for output, (weight, target) in zip(outputs, targets, strict=True)
        ]
        return torch.stack(losses).sum()

    def _adversarial_gradient(
        self, opponent: Adversary, part: Batch, prediction: torch.Tensor, channels: torch.Tensor, samples: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The discriminator's gradient at the output, and the squared norm of L_heat's there."""
        wish = opponent.gradient(part, prediction, samples)
        leaf = prediction.detach().requires_grad_()
        [heat] = torch.autograd.grad(self._heat_loss((leaf,), part, channels), leaf)
        if (self.step + 1) % self.config.log_every == 0:
            opponent.diagnose(part, prediction, wish)
        return wish, heat.square().sum()

    def _synchronised(self, last: bool) -> Any:
        """Processes exchange gradients in the last part of a step only."""
        if last or not isinstance(self.network, DistributedDataParallel):
            return nullcontext()
        return self.network.no_sync()

    def _check(self, heat: torch.Tensor, prediction: torch.Tensor, part: Batch) -> None:
        if torch.isfinite(self.processes.sum(heat.detach())):
            return
        errors = weighted_errors(prediction.detach(), part.heatmaps.to(self.device), self.alpha).sum(dim=1)
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
                self.average[name].lerp_(value, 1 - decay)

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
        if self.adversary is not None and self.config.adversarial_from is not None:
            entry["phase"] = 2 if self.step > self.config.adversarial_from else 1
            entry |= self.adversary.log() if entry["phase"] == 2 else {}
        return self.log.append(entry)

    def _validate(self, validate: Validation, tell: LogSink) -> None:
        if self.processes.first:
            with enough_memory(f"the validation after step {self.step}", self.memory_advice):
                result = validate(self.averaged_generator().to(self.device), self.step)
            tell(self.log.append({"step": self.step, "validation": result}))
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
