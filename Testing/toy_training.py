"""A training so small that it can be repeated, killed and split among processes in a test.

    python toy_training.py FOLDER [STEPS] [ACCUMULATE]      also under torchrun

Both phases, with noise on real heatmaps and R1; the weights go to FOLDER/weights.pt.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from CoWLandmarksLib.generator import Generator, GeneratorConfig
from CoWLandmarksLib.heatmap import encode
from CoWLandmarksLib.model import GridSpec
from CoWLandmarksTrainingLib.adversary import Adversary
from CoWLandmarksTrainingLib.batch import Batch, RealSets, stacked
from CoWLandmarksTrainingLib.discriminator import DiscriminatorConfig
from CoWLandmarksTrainingLib.processes import Processes, joined
from CoWLandmarksTrainingLib.trainer import Trainer, TrainerConfig

CPU = torch.device("cpu")
GRID = GridSpec((8, 12, 12), (0.8, 0.8, 0.8), (0.0, 0.0, 0.0))
SIGMA_MM = 1.2
NETWORK = GeneratorConfig(out_channels=2, base_width=8, levels=2)
DISCRIMINATOR = DiscriminatorConfig(base_width=4, layers=2, learning_rate=1e-3, instance_noise=0.05, r1=0.1)
CONFIG = TrainerConfig(
    steps=8,
    learning_rate=2e-3,
    warm_up_steps=2,
    mixed_precision=False,
    checkpoint_seconds=0.0,
    log_every=2,
    adversarial_from=4,
)


class ToySampler:
    """Two bright points on noise, the second always 4 mm further right; every process makes its share of the batch."""

    def __init__(self, batch_size: int = 4, processes: Processes | None = None) -> None:
        self.batch_size, self.processes, self.position = batch_size, processes or Processes(), 0

    def __call__(self, rng: np.random.Generator) -> Batch:
        """One batch."""
        seeds = rng.integers(2**62, size=self.batch_size)
        numbers = np.arange(self.position, self.position + self.batch_size)
        self.position += self.batch_size
        size = self.batch_size // self.processes.world
        mine = slice(self.processes.rank * size, (self.processes.rank + 1) * size)
        made = [self._sample(int(seed), int(number)) for seed, number in zip(seeds[mine], numbers[mine], strict=True)]
        return stacked(made, names=tuple(f"case-{number}" for number in numbers[mine]))

    def _sample(self, seed: int, number: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng(seed)
        first = rng.uniform(-1.5, 0.0, 3)
        heatmaps = encode(np.stack([first, first + np.array([4.0, 0.0, 0.0])]), GRID.grid(), SIGMA_MM)
        noise = torch.from_numpy(rng.normal(0, 0.1, GRID.shape).astype(np.float32))
        image = (heatmaps[0] + 0.6 * heatmaps[1] + noise + 0.01 * (number % 3))[None]
        return image, heatmaps, torch.tensor([1.0, float(number % 4 != 0)])

    def real(self, rng: np.random.Generator) -> RealSets:
        """Annotated sets for the discriminator, drawn like a batch."""
        batch = ToySampler(self.batch_size, self.processes)(rng)  # its own, as this one may be busy in a thread
        return RealSets(batch.heatmaps, torch.ones_like(batch.channel_mask))


def toy_trainer(
    folder: Path,
    processes: Processes | None = None,
    discriminator: DiscriminatorConfig = DISCRIMINATOR,
    weights: int = 1,
    **changes: Any,
) -> Trainer:
    """A trainer of both phases."""
    torch.manual_seed(weights)
    sampler, config = ToySampler(processes=processes), replace(CONFIG, **changes)
    adversary = Adversary(2, discriminator, GRID, SIGMA_MM, sampler.real, CPU, seed=config.seed, processes=processes)
    return Trainer(Generator(NETWORK), sampler, config, folder, CPU, adversary=adversary, processes=processes)


def everything(trainer: Trainer) -> dict[str, torch.Tensor]:
    """All that a training has learnt and would go on with."""
    assert trainer.adversary is not None
    found = {f"generator.{name}": value for name, value in trainer.generator.state_dict().items()}
    found |= {f"average.{name}": value for name, value in trainer.average.items()}
    found |= {f"discriminator.{name}": value for name, value in trainer.adversary.discriminator.state_dict().items()}
    for name, optimiser in (("generator", trainer.optimiser), ("discriminator", trainer.adversary.optimiser)):
        for number, moments in optimiser.state_dict()["state"].items():
            found |= {f"{name} optimiser.{number}.{key}": value for key, value in moments.items()}
    found["random"] = torch.tensor([int(rng.integers(2**40)) for rng in (trainer.rng, trainer.adversary.rng)])
    found["lambda"] = torch.tensor(trainer.adversary.weight, dtype=torch.float64)
    return found


def main(folder: Path, steps: int, accumulate: int) -> None:
    """Train, or go on training."""
    torch.set_num_threads(1)
    with joined(CPU) as (processes, _):
        trainer = toy_trainer(folder, processes, steps=steps, accumulate=accumulate)
        trainer.resume()
        trainer.run()
        if processes.first:
            torch.save(everything(trainer), folder / "weights.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(int(word) for word in [*sys.argv[2:], "8", "1"][:2]))
