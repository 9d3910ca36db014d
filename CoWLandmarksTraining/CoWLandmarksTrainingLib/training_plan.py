"""What a training on an aligned cohort is made of: sections of the configuration file, and the presets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from CoWLandmarksLib.errors import ConfigurationError
from CoWLandmarksLib.files import plain
from CoWLandmarksLib.modality import Modality

from .augmentation import ONLY_TRANSLATIONS, AugmentationConfig
from .config_file import ConfigFile, setting
from .discriminator import DiscriminatorConfig, View
from .losses import Objective
from .trainer import TrainerConfig

ImageModality = Literal["mra", "cta", "both"]
PriorModality = Literal["mra", "cta", "both", "none"]
DEFAULT_START = "default"


@dataclass(frozen=True)
class GeneratorSettings:
    """Section [generator]: the fine network. The paper gives neither depth, width nor the width of the targets."""

    base_width: int = setting(32, "Channels of the first level; doubled with every level.")
    levels: int = setting(4, "Levels of the U-Net.")
    max_width: int = setting(256, "Channels of the deepest level, at most.")
    fold: int = setting(2, "Blocks of fold^3 voxels are folded into channels, for speed; 1: none, as in the paper.")
    window: tuple[int, int, int] = setting(
        (48, 64, 64), "Voxels (S, A, R) that the network sees at once; 0, 0, 0: the whole crop, as in the paper."
    )
    priors: bool = setting(True, "Tell the network where the coarse step expects the landmarks; the paper does not.")
    prior_sigma_mm: float = setting(5.0, "Width of these prior heatmaps.")
    decode_with_prior: bool = setting(True, "A maximum far from where the landmark is expected counts less.")
    sigma_mm: float = setting(1.5, "Width of the target heatmaps.")
    subvoxel_targets: bool = setting(True, "Targets centred between voxels; false: on the nearest voxel.")
    learn_absence: bool = setting(
        True, "A landmark that does not exist is an empty heatmap to learn; false: its channel does not count."
    )

    def __post_init__(self) -> None:
        if min(self.base_width, self.levels, self.fold) < 1 or min(self.sigma_mm, self.prior_sigma_mm) <= 0:
            raise ValueError("base_width, levels, fold and the widths of heatmaps must be above zero.")
        multiple = self.fold * 2 ** (self.levels - 1)
        if any(side % multiple for side in self.window):
            raise ValueError(f"the sides of window must be multiples of {multiple} (fold x 2^(levels - 1)).")


@dataclass(frozen=True)
class TrainingSettings:
    """Section [training]: data, steps and optimiser of the fine network."""

    image_modality: ImageModality = setting("mra", "Scans to learn from and to detect in: mra, cta or both.")
    prior: PriorModality = setting(
        "cta", "Modality whose landmark sets the discriminator learns from as well: mra, cta, both or none."
    )
    pretrain_steps: int = setting(600, "Phase 1: steps of the generator alone.")
    adversarial_steps: int = setting(200, "Phase 2: steps of generator and discriminator in turn; 0: phase 1 only.")
    batch_size: int = setting(2, "Samples in a step, over all processes.")
    accumulate: int = setting(1, "Compute a batch in so many parts, to save memory.")
    learning_rate: float = setting(5e-4, "Adam's rate at the start; the paper has 1e-4.")
    final_learning_rate: float = setting(1e-5, "Rate at the end of the cosine decay; the paper has none.")
    warm_up_steps: int = setting(50, "Steps in which the rate rises from zero.")
    alpha: float = setting(1000.0, "Base of the exponential weight of Eq. 2 (the paper's).")
    final_alpha: float = setting(0.0, "What alpha falls to between 40 and 70 % of the steps; 0: it stays (paper).")
    average_decay: float = setting(0.995, "Averaging of the weights over steps (EMA); 0: none.")
    gradient_norm: float = setting(1.0, "Longest gradient; 0: any.")
    deep_supervision: int = setting(0, "Coarser levels of the decoder that predict heatmaps as well.")
    mixed_precision: bool = setting(True, "Compute in bfloat16 where that is safe.")
    checkpoint_activations: bool = setting(False, "Compute activations twice instead of keeping them, to save memory.")
    ahead: int = setting(0, "Batches that a thread makes in advance.")
    validate_every: int = setting(100, "Steps between validations (figures and a picture); 0: at the end only.")
    log_every: int = setting(10, "Steps between lines of the log.")
    checkpoint_seconds: float = setting(60.0, "Seconds between checkpoints.")
    seed: int = setting(1, "Another seed is another training.")
    start_from: str = setting(
        "",
        "Model file whose fine network to begin with; 'default': the one that ships; empty: none.",
    )

    def __post_init__(self) -> None:
        if self.pretrain_steps < 0 or self.adversarial_steps < 0 or self.pretrain_steps + self.adversarial_steps < 1:
            raise ValueError("pretrain_steps and adversarial_steps must not be negative and not both be zero.")
        if min(self.batch_size, self.accumulate, self.log_every) < 1 or self.batch_size % self.accumulate:
            raise ValueError("batch_size and log_every must be at least 1 and accumulate must divide batch_size.")
        if self.learning_rate <= 0 or self.alpha <= 0 or self.final_alpha < 0 or not 0 <= self.average_decay < 1:
            raise ValueError(
                "learning_rate and alpha must be above zero, final_alpha not below it, average_decay from 0 to below 1."
            )
        if self.image_modality == self.prior:
            raise ValueError(f"prior must not be '{self.prior}' as the images are; use another, or none.")

    @property
    def image_modalities(self) -> tuple[Modality, ...]:
        """Modalities of the scans."""
        return tuple(Modality) if self.image_modality == "both" else (Modality(self.image_modality),)

    @property
    def real_modalities(self) -> tuple[Modality, ...]:
        """Modalities of the annotated sets that the discriminator learns from: those of the scans and the prior."""
        if self.prior == "none":
            return self.image_modalities
        prior = tuple(Modality) if self.prior == "both" else (Modality(self.prior),)
        return tuple(m for m in Modality if m in self.image_modalities or m in prior)


@dataclass(frozen=True)
class CoarseSettings:
    """Section [coarse]: the network that finds the circle in whole scans; not part of the paper's method."""

    base_width: int = setting(32, "Channels of the first level.")
    levels: int = setting(4, "Levels of the U-Net.")
    fold: int = setting(2, "As in [generator].")
    sigma_mm: float = setting(4.0, "Width of the target heatmaps.")
    steps: int = setting(500, "Training steps; 0 with start_from: that network as it is.")
    start_from: str = setting("", "Model file whose coarse network to begin with; 'default': the model that ships.")
    batch_size: int = setting(2, "Samples in a step, over all processes.")
    learning_rate: float = setting(5e-4, "Adam's rate at the start; it falls to 1e-5.")
    pitch_deg: float = setting(25.0, "Scans are pitched by up to this.")
    roll_yaw_deg: float = setting(15.0, "Scans are rolled and turned by up to this.")
    scale: float = setting(0.1, "Scans are made smaller or larger by up to this share.")

    def __post_init__(self) -> None:
        if min(self.base_width, self.levels, self.fold, self.batch_size) < 1 or self.steps < 0:
            raise ValueError("base_width, levels, fold and batch_size must be at least 1, steps not negative.")
        if self.steps == 0 and not self.start_from:
            raise ValueError("steps must be at least 1 where there is no start_from.")
        if min(self.sigma_mm, self.learning_rate) <= 0 or min(self.pitch_deg, self.roll_yaw_deg, self.scale) < 0:
            raise ValueError("sigma_mm and learning_rate must be above zero, the pose not negative.")


TRAINING_SECTIONS: dict[str, type] = {
    "generator": GeneratorSettings,
    "discriminator": DiscriminatorConfig,
    "training": TrainingSettings,
    "augmentation": AugmentationConfig,
    "coarse": CoarseSettings,
}


@dataclass(frozen=True)
class TrainingPlan:
    """All settings of a training."""

    generator: GeneratorSettings = field(default_factory=GeneratorSettings)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    coarse: CoarseSettings = field(default_factory=CoarseSettings)
    name: str = "cpu"

    def with_file(self, file: ConfigFile) -> TrainingPlan:
        """This plan with the values that a configuration file gives; raises ConfigurationError."""
        changed = {}
        for name, kind in TRAINING_SECTIONS.items():
            given: Mapping[str, Any] = file.tables.get(name, {})
            read: Any = file.section(name, kind)
            values = {key: getattr(read, key) for key in given}
            if values.get("start_from") not in (None, "", DEFAULT_START):
                values["start_from"] = str(file.path.parent / values["start_from"])
            changed[name] = self._replaced(name, values, f"'{file.path}'")
        return replace(self, **changed)

    def with_values(self, **sections: Mapping[str, Any]) -> TrainingPlan:
        """This plan with some values of some sections changed; raises ConfigurationError."""
        return replace(self, **{n: self._replaced(n, v, "this combination") for n, v in sections.items()})

    def _replaced(self, name: str, values: Mapping[str, Any], where: str) -> Any:
        try:
            return replace(getattr(self, name), **values)
        except ValueError as error:
            raise ConfigurationError(f"[{name}] of {where} cannot be used: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as kept beside the training and in the model."""
        content: dict[str, Any] = plain(json.loads(json.dumps(asdict(self), default=str)))
        return content

    def trainer_config(self) -> TrainerConfig:
        """Settings of the fine network's trainer."""
        own = self.training
        steps = own.pretrain_steps + own.adversarial_steps
        return TrainerConfig(
            steps=steps,
            adversarial_from=own.pretrain_steps if own.adversarial_steps else None,
            gradient_norm=own.gradient_norm if own.gradient_norm > 0 else float("inf"),
            **{
                name: getattr(own, name)
                for name in (f.name for f in fields(TrainerConfig))
                if hasattr(own, name) and name not in ("steps", "gradient_norm")
            },
        )

    def coarse_trainer_config(self) -> TrainerConfig:
        """Settings of the coarse network's trainer."""
        own = self.training
        return TrainerConfig(
            steps=self.coarse.steps,
            learning_rate=self.coarse.learning_rate,
            final_alpha=own.final_alpha,
            warm_up_steps=min(50, self.coarse.steps // 4),
            mixed_precision=own.mixed_precision,
            checkpoint_seconds=own.checkpoint_seconds,
            log_every=own.log_every,
            validate_every=own.validate_every,
            ahead=own.ahead,
            seed=own.seed,
        )


_CURED = DiscriminatorConfig(objective=Objective.LEAST_SQUARES, view=View.SQUARED, r1=0.1)
"""The cure of the study with three seeds. A sweep on validation cases showed none to be better than another, and that a
larger gradient_share does harm (Docs/training.md, "Does the discriminator help?")."""

_CPU = TrainingPlan(discriminator=_CURED, training=TrainingSettings(final_alpha=10.0))
_GPU = TrainingPlan(
    name="gpu",
    generator=GeneratorSettings(
        base_width=16, levels=5, max_width=192, fold=1, window=(0, 0, 0), priors=False, decode_with_prior=False
    ),
    discriminator=_CURED,
    training=TrainingSettings(
        pretrain_steps=20000,
        adversarial_steps=10000,
        learning_rate=1e-3,
        final_alpha=10.0,
        warm_up_steps=200,
        ahead=4,
        validate_every=500,
        log_every=25,
    ),
    coarse=CoarseSettings(base_width=24, steps=12000, batch_size=8, learning_rate=1e-3),
)
_PAPER = TrainingPlan(
    name="paper",
    generator=replace(_GPU.generator, subvoxel_targets=False),
    discriminator=DiscriminatorConfig(),
    training=TrainingSettings(
        pretrain_steps=20000,
        adversarial_steps=10000,
        learning_rate=1e-4,
        final_learning_rate=1e-4,
        warm_up_steps=0,
        average_decay=0.0,
        gradient_norm=0.0,
        mixed_precision=False,
        ahead=4,
        validate_every=500,
        log_every=25,
    ),
    augmentation=ONLY_TRANSLATIONS,
    coarse=_GPU.coarse,
)
PRESETS = {plan.name: plan for plan in (_CPU, _GPU, _PAPER)}
"""cpu: small, windows with priors. gpu: whole crop, all augmentations. paper: the paper where it is explicit (whole
crop as the only channel, Eqs. 2 to 4, alpha, Adam 1e-4, coordinate and distance channels, tiny translations)."""


def start_model_path(start_from: str) -> Path | None:
    """The model file that a `start_from` names; None for none."""
    if start_from == DEFAULT_START:
        from CoWLandmarksLib.model import DEFAULT_MODEL_FILE

        return DEFAULT_MODEL_FILE
    return Path(start_from) if start_from else None
