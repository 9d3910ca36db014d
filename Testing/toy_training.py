"""A training so small that it can be repeated, killed and split among processes in a test.

    python toy_training.py FOLDER [STEPS] [ACCUMULATE] [WORKERS]      also under torchrun

Both phases, with noise on real heatmaps and R1; the weights go to FOLDER/weights.pt.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from CoWLandmarksLib.detect.model import GridSpec
from CoWLandmarksLib.networks.generator import GeneratorConfig
from CoWLandmarksLib.networks.heatmap import encode
from CoWLandmarksTrainingLib.config.settings import DiscriminatorSettings, DiscriminatorView, Objective
from CoWLandmarksTrainingLib.config.trainer_config import TrainerConfig
from CoWLandmarksTrainingLib.train.adversary import Adversary
from CoWLandmarksTrainingLib.train.batches import Batch, RealSets, Sample, stacked
from CoWLandmarksTrainingLib.train.memory import MEMORY_ADVICE
from CoWLandmarksTrainingLib.train.methods import HeatmapRegression
from CoWLandmarksTrainingLib.train.processes import Processes, joined
from CoWLandmarksTrainingLib.train.trainer import Trainer
from torch.utils.data import Dataset

CPU = torch.device("cpu")
GRID = GridSpec((8, 12, 12), (0.8, 0.8, 0.8), (0.0, 0.0, 0.0))
SIGMA_MM = 1.2
BATCH_SIZE = 4
NETWORK = GeneratorConfig(out_channels=2, base_width=8, levels=2)
METHOD = HeatmapRegression(NETWORK, GRID.shape, GRID.spacing, SIGMA_MM)
DISCRIMINATOR = DiscriminatorSettings(
    objective=Objective.LOGISTIC,
    view=DiscriminatorView.PLAIN,
    base_width=4,
    layers=2,
    learning_rate=1e-3,
    instance_noise=0.05,
    r1=0.1,
)
CONFIG = TrainerConfig(
    steps=8,
    learning_rate=2e-3,
    warm_up_steps=2,
    mixed_precision=False,
    checkpoint_seconds=0.0,
    log_seconds=0.0,
    adversarial_from=4,
)


@dataclass(frozen=True)
class ToySamples(Dataset):  # type: ignore[type-arg]
    """Two bright points on noise, the second always 4 mm further right and unknown in one sample of four.

    From sample `spoilt_from` on, the third of every four holds no numbers; who is to make sample `killed_at` dies.
    """

    seed: int = 0
    spoilt_from: int | None = None
    killed_at: int | None = None

    def __getitem__(self, number: int) -> Sample:
        """Sample `number`."""
        if number == self.killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        rng = np.random.Generator(np.random.Philox(key=[self.seed, number]))
        grid = GRID.grid()
        first = rng.uniform(-1.5, 0.0, 3)
        points = np.stack([first, first + np.array([4.0, 0.0, 0.0])])
        bright = encode(points, grid, SIGMA_MM)
        noise = torch.from_numpy(rng.normal(0, 0.1, GRID.shape).astype(np.float32))
        image = (bright[0] + 0.6 * bright[1] + noise)[None]
        if self.spoilt_from is not None and number >= self.spoilt_from and number % 4 == 2:
            image[:] = float("nan")
        origin = grid.ijk_to_ras[:3, 3]
        return Sample(
            image,
            torch.from_numpy((points - origin).astype(np.float32)),
            torch.tensor([1.0, float(number % 4 != 0)]),
            None,
            torch.from_numpy(origin.astype(np.float32)),
            f"case-{number}",
        )


def toy_batch(count: int = BATCH_SIZE, first: int = 0) -> Batch:
    """Samples `first` and following."""
    return stacked([ToySamples()[first + number] for number in range(count)])


def targets(batch: Batch) -> torch.Tensor:
    """The heatmaps that a batch asks for."""
    return METHOD.targets(batch.landmarks)


@dataclass(frozen=True)
class ToySets:
    """Annotated sets for the discriminator, drawn like samples; every process makes its share of a batch."""

    processes: Processes

    def __call__(self, rng: np.random.Generator) -> RealSets:
        """This process's share of a batch."""
        numbers = self.processes.share(rng.integers(2**40, size=BATCH_SIZE).tolist())
        batch = stacked([ToySamples(seed=1)[number] for number in numbers])
        return RealSets(batch.landmarks, torch.ones_like(batch.channel_mask))


def toy_trainer(
    folder: Path,
    processes: Processes | None = None,
    discriminator: DiscriminatorSettings = DISCRIMINATOR,
    weights: int = 1,
    workers: int = 0,
    samples: ToySamples | None = None,
    **changes: Any,
) -> Trainer:
    """A trainer of both phases; `weights` is the seed of the first ones."""
    us, config = processes or Processes(), replace(CONFIG, **changes)
    network = METHOD.network(weights)
    adversary = Adversary(
        2, discriminator, GRID, SIGMA_MM, METHOD, ToySets(us), CPU, seed=config.seed, processes=processes
    )
    return Trainer(
        METHOD,
        network,
        samples or ToySamples(config.seed),
        BATCH_SIZE,
        config,
        folder,
        CPU,
        adversary=adversary,
        processes=processes,
        workers=workers,
        memory_advice=MEMORY_ADVICE.format(stage="fine"),
    )


def everything(trainer: Trainer) -> dict[str, torch.Tensor]:
    """All that a training has learnt and would go on with."""
    assert trainer.adversary is not None
    found = {f"generator.{name}": value for name, value in trainer.generator.state_dict().items()}
    found |= {f"average.{name}": value for name, value in trainer.average.items()}
    found |= {f"discriminator.{name}": value for name, value in trainer.adversary.discriminator.state_dict().items()}
    for name, optimiser in (("generator", trainer.optimiser), ("discriminator", trainer.adversary.optimiser)):
        for number, moments in optimiser.state_dict()["state"].items():
            found |= {f"{name} optimiser.{number}.{key}": value for key, value in moments.items()}
    found["random"] = torch.tensor(int(trainer.adversary.rng.integers(2**40)))
    found["step"] = torch.tensor(trainer.step)
    found["lambda"] = torch.tensor(trainer.adversary.weight, dtype=torch.float64)
    return found


def main(folder: Path, steps: int, accumulate: int, workers: int) -> None:
    """Train, or go on training."""
    torch.set_num_threads(1)
    with joined(CPU) as (processes, _):
        trainer = toy_trainer(folder, processes, workers=workers, steps=steps, accumulate=accumulate)
        trainer.resume()
        trainer.run()
        if processes.first:
            torch.save(everything(trainer), folder / "weights.pt")


if __name__ == "__main__":
    given = sys.argv[2:]
    main(Path(sys.argv[1]), *(int(argument) for argument in [*given, *("8", "1", "0")[len(given) :]]))
