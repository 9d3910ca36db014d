"""What the trainer of one stage needs of all settings."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .training_plan import TrainingPlan

_ALPHA_FALLS = (0.4, 0.7)
"""Parts of a training between which alpha falls to its last value."""


@dataclass(frozen=True)
class TrainerConfig:
    """What a trainer needs of the settings of its stage (see `trainer_config`).

    `adversarial_from` is the step at which the discriminator comes in (None: never).
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
    log_seconds: float = 5.0
    time_limit_seconds: float = math.inf
    seed: int = 0
    adversarial_from: int | None = None
    accumulate: int = 1
    checkpoint_activations: bool = False
    validate_every: int = 0

    def alpha_at(self, progress: float) -> float:
        """Base of the weight of Eq. 2: `alpha`, falling from 40 to 70 % of the training to `final_alpha` (0: it stays).

        With alpha = 1000 the best answer to a landmark that lies at a place with probability p is a peak of
        1000 p / (1000 p + 1 - p) there: 0.91 where p is 1 %. Such peaks find landmarks soon, but do not tell which of
        two places is the more likely, nor that a landmark is absent; with a smaller alpha they do.
        """
        if not self.final_alpha:
            return self.alpha
        share = min(1.0, max(0.0, (progress - _ALPHA_FALLS[0]) / (_ALPHA_FALLS[1] - _ALPHA_FALLS[0])))
        return float(self.alpha ** (1.0 - share) * self.final_alpha**share)

    def learning_rate_at(self, progress: float, step: int) -> float:
        """Cosine decay over `progress` in [0, 1] after a linear warm-up."""
        decay = self.final_learning_rate + 0.5 * (self.learning_rate - self.final_learning_rate) * (
            1 + math.cos(math.pi * progress)
        )
        return decay * min(1.0, (step + 1) / max(1, self.warm_up_steps))


def trainer_config(plan: TrainingPlan, name: str, *, continued: bool) -> TrainerConfig:
    """Settings of the trainer of a stage; `continued`: it begins with trained weights."""
    own, common = plan.stage(name), plan.training
    rate = common.continued_rate if continued else 1.0
    return TrainerConfig(
        steps=own.all_steps,
        learning_rate=rate * own.learning_rate,
        final_learning_rate=min(own.final_learning_rate, rate * own.learning_rate),
        warm_up_steps=min(own.warm_up_steps, own.all_steps // 4),
        alpha=own.final_alpha if continued and own.final_alpha else own.alpha,
        final_alpha=own.final_alpha,
        average_decay=own.average_decay,
        gradient_norm=own.gradient_norm or math.inf,
        mixed_precision=common.mixed_precision,
        checkpoint_seconds=common.checkpoint_seconds,
        log_seconds=common.log_seconds,
        time_limit_seconds=60.0 * own.minutes or math.inf,
        seed=common.seed,
        adversarial_from=own.steps if own.adversarial_steps else None,
        accumulate=own.accumulate,
        checkpoint_activations=common.checkpoint_activations,
        validate_every=common.validate_every,
    )
