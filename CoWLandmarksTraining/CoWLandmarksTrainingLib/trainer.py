"""The trainer: heatmap regression with the exponentially weighted L2 loss (phase 1 of the method).

Checkpoints hold everything (weights, averaged weights, optimiser, step, random state) and are written
atomically; the log is one JSON object per line.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from CoWLandmarksLib.errors import ConfigurationError, StoppedError
from CoWLandmarksLib.generator import Generator

from .losses import exponentially_weighted_l2
from .samples import Batch, Sampler


@dataclass(frozen=True)
class TrainerConfig:
    """Settings of one training run. alpha and learning rate 1e-4 are the paper's; a higher rate with decay
    learns faster at small budgets (our choice). `average_decay` is the weight averaging (EMA)."""

    steps: int
    learning_rate: float = 1e-4
    final_learning_rate: float = 1e-5
    warm_up_steps: int = 100
    alpha: float = 1000.0
    average_decay: float = 0.995
    gradient_norm: float = 1.0
    mixed_precision: bool = True
    checkpoint_seconds: float = 60.0
    log_every: int = 25
    time_limit_seconds: float = math.inf
    seed: int = 0

    def learning_rate_at(self, progress: float, step: int) -> float:
        """Cosine decay over `progress` in [0, 1] after a linear warm-up."""
        decay = self.final_learning_rate + 0.5 * (self.learning_rate - self.final_learning_rate) * (
            1 + math.cos(math.pi * progress)
        )
        return decay * min(1.0, (step + 1) / max(1, self.warm_up_steps))


class Trainer:
    """Trains one generator on batches from a sampler; `run` returns when steps or time are used up."""

    def __init__(
        self, generator: Generator, sampler: Sampler, config: TrainerConfig, folder: Path, device: torch.device
    ) -> None:
        self.config = config
        self.folder = folder
        self.device = device
        self.sampler = sampler
        self.generator = generator.to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.average = {name: value.detach().clone() for name, value in self.generator.state_dict().items()}
        self.optimiser = torch.optim.Adam(self.generator.parameters(), lr=config.learning_rate)
        self.rng = np.random.Generator(np.random.Philox(config.seed))
        self.step = 0
        self.seconds_before = 0.0

    @property
    def checkpoint_file(self) -> Path:
        """Where the state is kept."""
        return self.folder / "checkpoint.pt"

    def run(
        self,
        on_log: Callable[[dict[str, Any]], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Train until the configured steps or seconds (over all resumed pieces) are used up.

        `should_stop` is asked between steps; when it says so, a checkpoint is written and StoppedError raised.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        started = saved = time.monotonic()
        losses: list[float] = []
        while not self._finished(time.monotonic() - started):
            elapsed = self.seconds_before + time.monotonic() - started
            rate = self.config.learning_rate_at(self._progress(elapsed), self.step)
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            losses.append(self.train_step(self.sampler(self.rng)))
            if self.step % self.config.log_every == 0:
                entry = {
                    "schema": "cow-training-log/1",
                    "step": self.step,
                    "loss": float(np.mean(losses)),
                    "learning_rate": rate,
                    "seconds": round(elapsed, 1),
                }
                losses.clear()
                with (self.folder / "log.jsonl").open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(entry) + "\n")
                if on_log:
                    on_log(entry)
            if should_stop():
                self.seconds_before += time.monotonic() - started
                self.save_checkpoint(self.seconds_before)
                raise StoppedError(
                    f"Stopped at step {self.step}; the same command goes on from '{self.checkpoint_file}'."
                )
            if time.monotonic() - saved > self.config.checkpoint_seconds:
                self.save_checkpoint(elapsed)
                saved = time.monotonic()
        self.seconds_before += time.monotonic() - started
        self.save_checkpoint(self.seconds_before)

    def train_step(self, batch: Batch) -> float:
        """One optimiser step; returns the loss. Raises ConfigurationError when it is not finite."""
        image = batch.image.to(self.device, memory_format=torch.channels_last_3d)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.mixed_precision):
            prediction = self.generator(image)
        loss = exponentially_weighted_l2(
            prediction.float(), batch.heatmaps.to(self.device), self.config.alpha, batch.channel_mask.to(self.device)
        )
        if not torch.isfinite(loss):
            kept = "the last checkpoint is kept" if self.checkpoint_file.exists() else "no checkpoint was written yet"
            raise ConfigurationError(
                f"The loss is not finite at step {self.step} ({kept} in '{self.folder}'); use a lower learning rate."
            )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.generator.parameters(), self.config.gradient_norm)
        self.optimiser.step()
        self.step += 1
        decay = min(self.config.average_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.generator.state_dict().items():
                self.average[name].lerp_(value, 1 - decay)
        return float(loss.detach())

    def averaged_generator(self) -> Generator:
        """A copy of the generator with the averaged weights, for inference."""
        copy = Generator(self.generator.config)
        copy.load_state_dict(self.average)
        return copy.eval()

    def save_checkpoint(self, seconds: float) -> None:
        """Write the whole state atomically."""
        state = {
            "config": asdict(self.config),
            "generator_config": self.generator.config.to_dict(),
            "generator": self.generator.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "rng": json.dumps(self.rng.bit_generator.state, default=np.ndarray.tolist),
            "step": self.step,
            "seconds": seconds,
        }
        temporary = self.checkpoint_file.with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(self.checkpoint_file)

    def resume(self) -> bool:
        """Continue from the checkpoint in the folder; False when there is none. Raises ConfigurationError."""
        if not self.checkpoint_file.exists():
            return False
        try:
            state = torch.load(self.checkpoint_file, map_location=self.device, weights_only=True)
            self.generator.load_state_dict(state["generator"])
            self.average = {name: value.to(self.device) for name, value in state["average"].items()}
            self.optimiser.load_state_dict(state["optimiser"])
            saved = json.loads(state["rng"])
            saved["state"] = {name: np.array(value, dtype=np.uint64) for name, value in saved["state"].items()}
            saved["buffer"] = np.array(saved["buffer"], dtype=np.uint64)
            self.rng.bit_generator.state = saved
            self.step, self.seconds_before = int(state["step"]), float(state["seconds"])
        except Exception as error:
            reason = " ".join(str(error).split())[:160]
            raise ConfigurationError(
                f"The checkpoint '{self.checkpoint_file}' cannot be used ({reason}); delete it to start again."
            ) from error
        return True

    def _progress(self, elapsed: float) -> float:
        by_time = elapsed / self.config.time_limit_seconds
        return min(1.0, max(self.step / self.config.steps, by_time))

    def _finished(self, elapsed: float) -> bool:
        return self.step >= self.config.steps or self.seconds_before + elapsed >= self.config.time_limit_seconds
