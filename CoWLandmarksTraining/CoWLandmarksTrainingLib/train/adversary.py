"""The adversarial part of a training: updates the discriminator and gives the generator its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from CoWLandmarksLib.core.errors import ConfigurationError
from CoWLandmarksLib.detect.model import GridSpec

from ..config.settings import DiscriminatorSettings, DiscriminatorView
from ..records.metrics import confusions
from .batches import Batch, RealSampler
from .checkpoint import random_state, set_random_state
from .discriminator import Discriminator, discriminator_input
from .losses import adversarial_losses, discriminator_loss, r1_penalty
from .methods import Method
from .processes import Processes

_MEMORY = 0.95
_IN_WINDOW = 0.5
"""A landmark whose heatmap does not reach this lies beyond the window; the view "rendered" cannot show it."""


@dataclass
class Diagnosis:
    """What the discriminator did since the last log entry; sums and numbers of what was summed."""

    loss: float = 0.0
    right: float = 0.0
    judged: float = 0.0
    updates: int = 0
    cosine: float = 0.0
    confused: int = 0


class Adversary:
    """A discriminator in training (phase 2 of the method).

    `real` draws annotated landmark sets, of which `method` makes heatmaps of width `sigma_mm`; `grid` is the reference
    grid. The weight of the adversarial gradient is `config.weight`, or such that its norm is `config.gradient_share` of
    the norm of L_heat's gradient, both taken at the generator's output and averaged over the steps before.
    """

    def __init__(
        self,
        landmarks: int,
        config: DiscriminatorSettings,
        grid: GridSpec,
        sigma_mm: float,
        method: Method,
        real: RealSampler,
        device: torch.device,
        *,
        seed: int = 0,
        processes: Processes | None = None,
    ) -> None:
        self.config = config
        self.objective = config.objective
        self.device = device
        self.processes = processes or Processes()
        self.discriminator = Discriminator(landmarks, config).to(device)
        self.optimiser = torch.optim.Adam(self.discriminator.parameters(), lr=config.learning_rate)
        self.rng = np.random.Generator(np.random.Philox(key=[seed, 2**41]))
        self._grid, self._sigma_mm, self._method, self._real = grid, sigma_mm, method, real
        self._norms = {"heat": 0.0, "adversarial": 0.0}
        self._diagnosis = Diagnosis()

    @property
    def weight(self) -> float:
        """lambda_adv of Eq. 3 at this step."""
        if self.config.weight > 0:
            return self.config.weight
        if self._norms["adversarial"] <= 0:
            return 0.0
        return self.config.gradient_share * self._norms["heat"] / self._norms["adversarial"]

    def update(self, batches: Sequence[Batch], predictions: Sequence[torch.Tensor]) -> None:
        """Discriminator steps (Eq. 4) on annotated sets against the generator's output for `batches`.

        Channels that do not count in one of a pair of sets are empty in both: or it would learn who was annotated
        by halves. Raises ConfigurationError when the loss is not finite.
        """
        keep_fake = torch.cat([self._keep(batch, self._method.targets(batch.landmarks)) for batch in batches])
        for _ in range(self.config.steps_per_update):
            sets = self._real(self.rng)
            heatmaps = self._method.targets(sets.landmarks.to(self.device))
            keep = self._visible(sets.keep.to(self.device), heatmaps)
            if keep.shape == keep_fake.shape:
                keep = keep * keep_fake
            real = self._real_input(heatmaps, keep, sets.origin_mm)
            own = keep if keep.shape == keep_fake.shape else keep_fake
            shares = own.split([len(batch) for batch in batches])
            fakes = [
                self._shown(p.detach(), share, b.origin_mm)
                for b, p, share in zip(batches, predictions, shares, strict=True)
            ]
            self.optimiser.zero_grad(set_to_none=True)
            real.requires_grad_(self.config.r1 > 0)
            real_logits = self.discriminator(real)
            fake_logits = torch.cat([self.discriminator(fake) for fake in fakes])
            loss = discriminator_loss(real_logits, fake_logits, self.objective, self.config.label_smoothing)
            total = loss + self.config.r1 * r1_penalty(real_logits, real) if self.config.r1 > 0 else loss
            if not torch.isfinite(total):
                raise ConfigurationError(
                    "The discriminator's loss is not finite; use a lower discriminator.learning_rate."
                )
            total.backward()
            self.processes.average_gradients(self.discriminator)
            self.optimiser.step()
            self._note_update(float(loss.detach()), real_logits.detach(), fake_logits.detach())

    def gradient(self, batch: Batch, truth: torch.Tensor, prediction: torch.Tensor, samples: int) -> torch.Tensor:
        """Gradient of the adversarial loss (Eq. 3, without lambda) with respect to `prediction` (B, n, K, J, I).

        `truth` are the target heatmaps of the batch; `samples` is the number of samples of the whole step, over which
        the loss is averaged.
        """
        leaf = prediction.detach().requires_grad_()
        logits = self.discriminator(self._shown(leaf, self._keep(batch, truth), batch.origin_mm))
        [gradient] = torch.autograd.grad(adversarial_losses(logits, self.objective).sum() / samples, leaf)
        return gradient

    def observe(self, heat_square: torch.Tensor, adversarial_square: torch.Tensor) -> None:
        """Take in the squared gradient norms of a step (this process's part)."""
        squares = self.processes.sum(torch.stack([heat_square, adversarial_square]).double())
        for name, square in zip(self._norms, squares.tolist(), strict=True):
            before, now = self._norms[name], float(np.sqrt(square))
            self._norms[name] = now if before == 0.0 else _MEMORY * before + (1 - _MEMORY) * now

    def diagnose(self, batch: Batch, truths: torch.Tensor, prediction: torch.Tensor, gradient: torch.Tensor) -> None:
        """Measure, for confused points, whether a step against `gradient` would lead to the truth.

        The cosine is that of the descent direction and of (heatmap at the truth minus the same heatmap at the wrong
        peak): 1 where the discriminator asks for exactly the right change, 0 where it asks for something else.
        """
        for heat, truth, mask, wish in zip(
            prediction.detach().float(), truths, batch.channel_mask, -gradient.float(), strict=True
        ):
            there = ((mask > 0) & (truth.flatten(1).amax(dim=1) > _IN_WINDOW)).cpu().numpy()
            found, right = _peaks_ijk(heat), _peaks_ijk(truth)
            spacing = np.array(self._grid.spacing)
            wrong = confusions(
                np.where(there[:, None], found * spacing, np.nan), np.where(there[:, None], right * spacing, np.nan)
            )
            for channel in np.nonzero(wrong)[0]:
                target = truth[channel].to(heat.device)
                shift = tuple(int(n) for n in (found[channel] - right[channel])[::-1])
                useful = target - _moved(target, shift)
                asked = wish[channel]
                cosine = (useful * asked).sum() / (useful.norm() * asked.norm()).clamp_min(1e-20)
                self._diagnosis.cosine += float(cosine)
                self._diagnosis.confused += 1

    def log(self) -> dict[str, Any]:
        """Entries for the log since the last call: loss, accuracy, lambda, the cosine above, and the norm of the
        adversarial gradient (for lambda = 1) over that of L_heat."""
        d, self._diagnosis = self._diagnosis, Diagnosis()
        heat, adversarial = self._norms["heat"], self._norms["adversarial"]
        return {
            "discriminator_loss": d.loss / d.updates if d.updates else None,
            "discriminator_accuracy": d.right / d.judged if d.judged else None,
            "lambda_adv": self.weight,
            "gradient_ratio": adversarial / heat if heat > 0 else None,
            "confused_points": d.confused,
            "cosine_to_truth": d.cosine / d.confused if d.confused else None,
        }

    def state(self) -> dict[str, Any]:
        """Everything that a checkpoint must hold."""
        return {
            "discriminator": self.discriminator.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "rng": random_state(self.rng),
            "norms": dict(self._norms),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Inverse of `state`; raises what torch raises when it does not fit."""
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimiser.load_state_dict(state["optimiser"])
        set_random_state(self.rng, state["rng"])
        self._norms = {name: float(state["norms"][name]) for name in self._norms}

    def _keep(self, batch: Batch, truth: torch.Tensor) -> torch.Tensor:
        return self._visible(batch.channel_mask.to(truth.device), truth)

    def _visible(self, mask: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """(B, n): what may be judged; re-rendered heatmaps of points beyond the window would be nonsense."""
        if self.config.view is not DiscriminatorView.RENDERED:
            return mask
        return mask * (truth.flatten(2).amax(dim=2) > _IN_WINDOW)

    def _shown(self, heatmaps: torch.Tensor, keep: torch.Tensor, origin_mm: torch.Tensor | None) -> torch.Tensor:
        return discriminator_input(
            heatmaps,
            keep.to(heatmaps.device, heatmaps.dtype),
            self._grid,
            self.config,
            self._sigma_mm,
            origin_mm,
        )

    def _real_input(self, heatmaps: torch.Tensor, keep: torch.Tensor, origin_mm: torch.Tensor | None) -> torch.Tensor:
        if self.config.instance_noise > 0:
            # one stream per sample of the whole batch, so that the number of processes changes nothing
            size = len(heatmaps) * self.processes.world
            seeds = self.rng.integers(2**62, size=size)[len(heatmaps) * self.processes.rank :][: len(heatmaps)]
            noise = [
                torch.randn(heatmaps.shape[1:], generator=torch.Generator().manual_seed(int(seed))) for seed in seeds
            ]
            heatmaps = heatmaps + self.config.instance_noise * torch.stack(noise).to(self.device)
        return self._shown(heatmaps, keep, origin_mm)

    def _note_update(self, loss: float, real: torch.Tensor, fake: torch.Tensor) -> None:
        threshold = self.objective.threshold
        self._diagnosis.right += float((real > threshold).sum() + (fake <= threshold).sum())
        self._diagnosis.judged += len(real) + len(fake)
        self._diagnosis.loss += loss
        self._diagnosis.updates += 1


def _peaks_ijk(heatmaps: torch.Tensor) -> np.ndarray:
    """(n, 3) voxel (i, j, k) of the maximum of every channel of (n, K, J, I)."""
    index = heatmaps.flatten(1).argmax(dim=1).cpu().numpy()
    k, j, i = np.unravel_index(index, tuple(heatmaps.shape[1:]))
    return np.stack([i, j, k], axis=1).astype(float)


def _moved(heatmap: torch.Tensor, shift: tuple[int, ...]) -> torch.Tensor:
    """A heatmap [k, j, i] moved by whole voxels (k, j, i), empty where it comes from beyond."""
    moved = torch.roll(heatmap, shift, dims=(0, 1, 2))
    for axis, step in enumerate(shift):
        lost = slice(0, step) if step > 0 else slice(heatmap.shape[axis] + step, None)
        if step:
            moved[(slice(None),) * axis + (lost,)] = 0.0
    return moved
