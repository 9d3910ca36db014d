"""The adversarial part of a training: updates the discriminator and gives the generator its gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from CoWLandmarksLib.core.errors import ConfigurationError
from CoWLandmarksLib.detect.model import GridSpec

from ..config.settings import DiscriminatorSettings
from ..records.metrics import radial_errors
from .batches import Batch, RealSampler
from .checkpoint import random_state, set_random_state
from .confused_points import IN_WINDOW, ambiguous_points, cosines_to_truth
from .discriminator import discriminator_for, discriminator_input
from .landmark_sets import corrupted_sets, jittered_sets
from .losses import adversarial_losses, discriminator_loss, r1_penalty
from .methods import Method
from .processes import Processes
from .soft_argmax import soft_argmax

_MEMORY = 0.95
_LEAST_PEAK = 0.2
"""A predicted heatmap that does not reach this shows no landmark."""
_RESIDUAL_MM = 6.0
"""Larger errors are confusions, which annotated sets must not be jittered by."""


@dataclass(frozen=True)
class Judged:
    """Heatmaps (B, n, K, J, I) that the discriminator is to judge; `keep` (B, n), 0 where it must not; `origin_mm`
    (B, 3) as in Batch."""

    heatmaps: torch.Tensor
    keep: torch.Tensor
    origin_mm: torch.Tensor | None


@dataclass
class Diagnosis:
    """What the discriminator did since the last log entry; sums and numbers of what was summed."""

    loss: float = 0.0
    right: float = 0.0
    judged: float = 0.0
    updates: int = 0
    cosines: list[float] = field(default_factory=list)
    held_out_cosines: list[float] = field(default_factory=list)


class Adversary:
    """A discriminator in training (phase 2 of the method).

    `real` draws annotated landmark sets, of which `method` makes heatmaps of width `sigma_mm`; `grid` is the reference
    grid. The weight of the adversarial gradient is `config.weight`, or such that its norm is `config.gradient_share` of
    the norm of L_heat's gradient, both taken at the generator's output and averaged over the steps before. `held_out`
    are annotated scans, one a batch, that neither network learns from: `examine` measures on them.
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
        held_out: Sequence[Batch] = (),
    ) -> None:
        if (config.jitter or config.rest_above < 1.0) and not held_out:
            raise ConfigurationError("discriminator.jitter and rest_above need validation scans; this cohort has none.")
        self.config = config
        self.objective = config.objective
        self.device = device
        self.processes = processes or Processes()
        self.held_out = held_out
        self.discriminator = discriminator_for(landmarks, config).to(device)
        self.optimiser = torch.optim.Adam(self.discriminator.parameters(), lr=config.learning_rate)
        self.rng = np.random.Generator(np.random.Philox(key=[seed, 2**41]))
        self._grid, self._sigma_mm, self._method, self._real = grid, sigma_mm, method, real
        self._norms = {"heat": 0.0, "adversarial": 0.0}
        self._residuals = np.zeros((0, landmarks, 3))
        self._held_out_accuracy: float | None = None
        self._diagnosis = Diagnosis()

    @property
    def weight(self) -> float:
        """lambda_adv of Eq. 3 at this step."""
        if self.config.weight > 0:
            return self.config.weight
        if self._norms["adversarial"] <= 0:
            return 0.0
        return self.config.gradient_share * self._norms["heat"] / self._norms["adversarial"]

    def predicted(self, batch: Batch, heatmaps: torch.Tensor, *, annotated: bool = True) -> Judged:
        """The generator's output for a batch; where that is not `annotated`, what it shows at all is judged."""
        if annotated:
            keep = self._visible(batch.channel_mask.to(self.device), batch.landmarks)
        else:
            keep = (heatmaps.detach().amax(dim=(2, 3, 4)) > _LEAST_PEAK).float()
        return Judged(heatmaps, keep, batch.origin_mm)

    def update(self, fakes: Sequence[Judged]) -> None:
        """Discriminator steps (Eq. 4) on annotated sets against what the generator predicts.

        Channels that do not count in one of a pair of sets are empty in both: or it would learn who was annotated
        by halves. Raises ConfigurationError when the loss is not finite.
        """
        if self._held_out_accuracy is not None and self._held_out_accuracy > self.config.rest_above:
            return
        keep_fake = torch.cat([fake.keep for fake in fakes])
        for _ in range(self.config.steps_per_update):
            landmarks, keep, origin_mm = self._real_sets(len(keep_fake))
            keep = self._visible(keep, landmarks) * keep_fake
            real = self._real_input(landmarks, keep, origin_mm)
            shares = keep.split([len(fake.keep) for fake in fakes])
            shown = [
                self._shown(fake.heatmaps.detach(), share, fake.origin_mm)
                for fake, share in zip(fakes, shares, strict=True)
            ]
            if self.config.corrupted:
                shown.append(self._real_input(corrupted_sets(landmarks, keep, self.rng), keep, origin_mm))
            self.optimiser.zero_grad(set_to_none=True)
            real.requires_grad_(self.config.r1 > 0)
            real_logits = self.discriminator(real)
            fake_logits = torch.cat([self.discriminator(each) for each in shown])
            loss = discriminator_loss(real_logits, fake_logits, self.objective, self.config.label_smoothing)
            total = loss + self.config.r1 * r1_penalty(real_logits, real) if self.config.r1 > 0 else loss
            if not torch.isfinite(total):
                raise ConfigurationError(
                    "The discriminator's loss is not finite; use a lower discriminator.learning_rate."
                )
            total.backward()
            self.processes.average_gradients(self.discriminator)
            self.optimiser.step()
            self._note_update(float(loss.detach()), real_logits.detach(), fake_logits[: len(keep)].detach())

    def gradient(self, judged: Judged, samples: int) -> torch.Tensor:
        """Gradient of the adversarial loss (Eq. 3, without lambda) with respect to the heatmaps (B, n, K, J, I).

        `samples` is the number of samples of the whole step, over which the loss is averaged.
        """
        leaf = judged.heatmaps.detach().requires_grad_()
        logits = self.discriminator(self._shown(leaf, judged.keep, judged.origin_mm))
        [gradient] = torch.autograd.grad(adversarial_losses(logits, self.objective).sum() / samples, leaf)
        if self.config.ambiguous_only:
            gradient = gradient * ambiguous_points(leaf, self._grid.spacing)[:, :, None, None, None]
        return gradient

    def observe(self, heat_square: torch.Tensor, adversarial_square: torch.Tensor) -> None:
        """Take in the squared gradient norms of a step (this process's part)."""
        squares = self.processes.sum(torch.stack([heat_square, adversarial_square]).double())
        for name, square in zip(self._norms, squares.tolist(), strict=True):
            before, now = self._norms[name], float(np.sqrt(square))
            self._norms[name] = now if before == 0.0 else _MEMORY * before + (1 - _MEMORY) * now

    def diagnose(self, batch: Batch, truths: torch.Tensor, prediction: torch.Tensor, gradient: torch.Tensor) -> None:
        """Measure, for confused points, whether a step against `gradient` would lead to the truth."""
        self._diagnosis.cosines += cosines_to_truth(
            prediction, truths, batch.channel_mask, gradient, self._grid.spacing
        )

    def examine(self, predict: Callable[[Batch], torch.Tensor]) -> None:
        """Measure on the held-out scans: how often each one's truth is told from what the generator `predict`s, where
        the gradient leads at confused points, and the errors that annotated sets are jittered by."""
        residuals, right = [], 0
        for held_out in self.held_out:
            batch = held_out.to(self.device)
            with torch.no_grad():
                heatmaps = predict(batch)
            targets = self._method.targets(batch.landmarks)
            judged = self.predicted(batch, heatmaps)
            residuals.append(self._residuals_of(heatmaps, batch, judged.keep))
            with torch.no_grad():
                landmarks = self._jittered(batch.landmarks)
                real = self.discriminator(self._real_input(landmarks, judged.keep, batch.origin_mm))
                fake = self.discriminator(self._shown(heatmaps, judged.keep, batch.origin_mm))
            right += int(((real > self.objective.threshold).sum() + (fake <= self.objective.threshold).sum()).item())
            self._diagnosis.held_out_cosines += cosines_to_truth(
                heatmaps, targets, batch.channel_mask, self.gradient(judged, 1), self._grid.spacing
            )
        if residuals:
            self._residuals = np.concatenate(residuals)
            self._held_out_accuracy = right / (2 * len(residuals))

    def log(self) -> dict[str, Any]:
        """Entries for the log since the last call: loss, accuracy, lambda, the cosines, and the norm of the
        adversarial gradient (for lambda = 1) over that of L_heat."""
        d, self._diagnosis = self._diagnosis, Diagnosis()
        heat, adversarial = self._norms["heat"], self._norms["adversarial"]
        entry = {
            "discriminator_loss": d.loss / d.updates if d.updates else None,
            "discriminator_accuracy": d.right / d.judged if d.judged else None,
            "lambda_adv": self.weight,
            "gradient_ratio": adversarial / heat if heat > 0 else None,
            "confused_points": len(d.cosines),
            "cosine_to_truth": float(np.mean(d.cosines)) if d.cosines else None,
        }
        if self.held_out:
            entry["held_out_accuracy"] = self._held_out_accuracy
            entry["held_out_confused_points"] = len(d.held_out_cosines)
            entry["held_out_cosine_to_truth"] = float(np.mean(d.held_out_cosines)) if d.held_out_cosines else None
        return entry

    def state(self) -> dict[str, Any]:
        """Everything that a checkpoint must hold."""
        return {
            "discriminator": self.discriminator.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "rng": random_state(self.rng),
            "norms": dict(self._norms),
            "held_out_accuracy": self._held_out_accuracy,
            "residuals": torch.from_numpy(self._residuals),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Inverse of `state`; raises what torch raises when it does not fit."""
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimiser.load_state_dict(state["optimiser"])
        set_random_state(self.rng, state["rng"])
        self._norms = {name: float(state["norms"][name]) for name in self._norms}
        if "residuals" in state:  # not in those of former versions
            self._held_out_accuracy, self._residuals = state["held_out_accuracy"], state["residuals"].cpu().numpy()

    def _real_sets(self, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """`count` annotated sets: landmarks (B, n, 3) mm from the first voxel, what counts (B, n), first voxels."""
        sets = [self._real(self.rng)]
        while sum(len(each.landmarks) for each in sets) < count:
            sets.append(self._real(self.rng))
        landmarks = torch.cat([each.landmarks for each in sets])[:count].to(self.device)
        keep = torch.cat([each.keep for each in sets])[:count].to(self.device)
        origins = [each.origin_mm for each in sets if each.origin_mm is not None]
        return self._jittered(landmarks), keep, torch.cat(origins)[:count] if origins else None

    def _jittered(self, landmarks: torch.Tensor) -> torch.Tensor:
        return jittered_sets(landmarks, self._residuals, self.rng) if self.config.jitter else landmarks

    def _residuals_of(self, heatmaps: torch.Tensor, batch: Batch, keep: torch.Tensor) -> np.ndarray:
        """(B, n, 3) mm from the truth to where the heatmaps show the landmarks, NaN where that is far or not known."""
        spacing = torch.tensor(self._grid.spacing, device=heatmaps.device)
        found = (soft_argmax(heatmaps, self.config.sharpness) * spacing).cpu().numpy()
        truth = batch.landmarks.cpu().numpy()
        near = (radial_errors(found, truth) <= _RESIDUAL_MM) & (keep.cpu().numpy() > 0)
        return np.where(near[..., None], found - truth, np.nan)

    def _visible(self, mask: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
        """(B, n): what may be judged; coordinates of points beyond the window would be nonsense."""
        if not self.config.view.of_coordinates:
            return mask
        return mask * (self._method.targets(landmarks).flatten(2).amax(dim=2) > IN_WINDOW)

    def _shown(self, heatmaps: torch.Tensor, keep: torch.Tensor, origin_mm: torch.Tensor | None) -> torch.Tensor:
        return discriminator_input(
            heatmaps,
            keep.to(heatmaps.device, heatmaps.dtype),
            self._grid,
            self.config,
            self._sigma_mm,
            origin_mm,
        )

    def _real_input(self, landmarks: torch.Tensor, keep: torch.Tensor, origin_mm: torch.Tensor | None) -> torch.Tensor:
        heatmaps = self._method.targets(landmarks)
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
