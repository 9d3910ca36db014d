"""All settings of a training, without torch: the sections of the configuration file, and the presets."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import Enum
from typing import Any, Literal

from CoWLandmarksLib.core.atomic_files import plain
from CoWLandmarksLib.core.errors import ConfigurationError
from CoWLandmarksLib.core.volume import Modality

from .config_file import ConfigFile, setting

ImageModality = Literal["mra", "cta", "both"]
PriorModality = Literal["mra", "cta", "both", "none"]
DEFAULT_START = "default"
STAGE_NAMES = ("coarse", "circle", "fine")
"""Stages in the order in which a detector runs them."""


class Objective(str, Enum):
    """What the discriminator is trained for: LOGISTIC is the paper's (Eqs. 3, 4); LEAST_SQUARES is LSGAN (Mao et al.
    2017)."""

    LOGISTIC = "logistic"
    LEAST_SQUARES = "lsgan"

    @property
    def threshold(self) -> float:
        """The logit above which a heatmap set counts as judged real."""
        return 0.5 if self is Objective.LEAST_SQUARES else 0.0


class DiscriminatorView(str, Enum):
    """How the discriminator sees heatmaps: as they are (paper); squared, which hides the background floor; or
    as Gaussians drawn again at the soft-argmax coordinates, which leaves nothing but the layout."""

    PLAIN = "plain"
    SQUARED = "squared"
    RENDERED = "rendered"


@dataclass(frozen=True)
class DataSettings:
    """Section [data]: what is learnt from."""

    image_modality: ImageModality = setting("mra", "Scans to learn from and to detect in: mra, cta or both.")
    prior: PriorModality = setting(
        "cta", "Modality whose landmark sets the discriminator learns from as well: mra, cta, both or none."
    )
    phantom_share: float = setting(
        0.0, "Share of the samples that are synthetic scans (phantoms) beside those of the cohort, from 0 to below 1."
    )
    phantom_cases: int = setting(1600, "Different phantoms at most; each is rendered once and kept.")
    phantom_reuse: int = setting(4, "A phantom is used about so often before the next one is rendered.")
    phantom_seed: int = setting(0, "Seed of the phantoms; 0: one that no model before this one has learnt from.")

    def __post_init__(self) -> None:
        if self.image_modality == self.prior:
            raise ValueError(f"prior must not be '{self.prior}' as the images are; use another, or none.")
        if not 0.0 <= self.phantom_share < 1.0:
            raise ValueError("phantom_share must be from 0 to below 1; cowlandmarks-train default has phantoms only.")
        if min(self.phantom_cases, self.phantom_reuse) < 1 or self.phantom_seed < 0:
            raise ValueError("phantom_cases and phantom_reuse must be at least 1, phantom_seed not negative.")

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
class TrainingSettings:
    """Section [training]: the recipe, and what holds for all its stages."""

    stages: tuple[str, ...] = setting(
        STAGE_NAMES, "Networks of the model in the order in which they run, out of coarse, circle and fine."
    )
    start_from: str = setting(
        "", "Model file whose networks to begin with; 'default': the one that ships; empty: random weights."
    )
    continued_rate: float = setting(
        0.2,
        "Learning rates are multiplied by this where a network begins with trained weights; alpha is then final_alpha "
        "from the first step.",
    )
    mixed_precision: bool = setting(True, "Compute in bfloat16 where that is safe.")
    checkpoint_activations: bool = setting(False, "Compute activations twice instead of keeping them, to save memory.")
    workers: int = setting(1, "Processes that make batches beside the training; 0: none. The batches are the same.")
    validate_every: int = setting(200, "Steps between validations (figures and a picture); 0: at the end only.")
    log_seconds: float = setting(5.0, "Seconds between lines of the log.")
    checkpoint_seconds: float = setting(60.0, "Seconds between checkpoints.")
    calibration_scans: int = setting(40, "Scans at most, or phantoms, that the confidences are measured on.")
    seed: int = setting(1, "Another seed is another training.")

    def __post_init__(self) -> None:
        if not self.stages or any(name not in STAGE_NAMES for name in self.stages):
            raise ValueError(f"stages must be some of {', '.join(STAGE_NAMES)}.")
        if self.stages != tuple(name for name in STAGE_NAMES if name in self.stages):
            raise ValueError(f"stages must be in the order {', '.join(STAGE_NAMES)}, each once.")
        if not {"coarse", "fine"} <= set(self.stages):
            raise ValueError("stages must hold coarse and fine; a scan that is not aligned cannot be read otherwise.")
        if self.calibration_scans < 1 or min(self.workers, self.validate_every, self.seed) < 0:
            raise ValueError("calibration_scans must be at least 1; workers, validate_every and seed not below 0.")
        if self.continued_rate <= 0 or min(self.log_seconds, self.checkpoint_seconds) < 0:
            raise ValueError("continued_rate must be above zero, log_seconds and checkpoint_seconds not below it.")


@dataclass(frozen=True)
class StageSettings:
    """One network: its size, its targets and its optimisation. The paper gives neither depth, width nor the width of
    the targets."""

    method: str = setting("heatmaps", "How landmarks are learnt: heatmaps (the paper's).")
    steps: int = setting(2400, "Phase 1: steps of the network alone; 0: it stays as in start_from.")
    adversarial_steps: int = setting(0, "Phase 2: steps of network and discriminator in turn; 0: phase 1 only.")
    minutes: float = setting(0.0, "The schedule ends after so many minutes, if its steps are not done; 0: never.")
    batch_size: int = setting(2, "Samples in a step, over all processes.")
    accumulate: int = setting(1, "Compute a batch in so many parts, to save memory.")
    learning_rate: float = setting(1e-3, "Adam's rate at the start; the paper has 1e-4.")
    final_learning_rate: float = setting(1e-5, "Rate at the end of the cosine decay; the paper has none.")
    warm_up_steps: int = setting(50, "Steps in which the rate rises from zero.")
    alpha: float = setting(1000.0, "Base of the exponential weight of Eq. 2 (the paper's).")
    final_alpha: float = setting(10.0, "What alpha falls to between 40 and 70 % of the steps; 0: it stays (paper).")
    average_decay: float = setting(0.995, "Averaging of the weights over steps (EMA); 0: none.")
    gradient_norm: float = setting(1.0, "Longest gradient; 0: any.")
    base_width: int = setting(32, "Channels of the first level; doubled with every level.")
    levels: int = setting(4, "Levels of the U-Net.")
    max_width: int = setting(256, "Channels of the deepest level, at most.")
    fold: int = setting(2, "Blocks of fold^3 voxels are folded into channels, for speed; 1: none, as in the paper.")
    sigma_mm: float = setting(1.5, "Width of the target heatmaps.")
    subvoxel_targets: bool = setting(True, "Targets centred between voxels; false: on the nearest voxel.")
    learn_absence: bool = setting(
        True, "A landmark that does not exist is an empty heatmap to learn; false: its channel does not count."
    )

    def __post_init__(self) -> None:
        if min(self.base_width, self.levels, self.max_width, self.fold, self.batch_size, self.accumulate) < 1:
            raise ValueError("base_width, levels, max_width, fold, batch_size and accumulate must be at least 1.")
        if self.batch_size % self.accumulate:
            raise ValueError("accumulate must divide batch_size.")
        if min(self.steps, self.adversarial_steps, self.warm_up_steps) < 0 or self.minutes < 0:
            raise ValueError("steps, adversarial_steps, warm_up_steps and minutes must not be negative.")
        if min(self.sigma_mm, self.learning_rate, self.alpha) <= 0 or self.final_alpha < 0:
            raise ValueError("sigma_mm, learning_rate and alpha must be above zero, final_alpha not below it.")
        if not 0 <= self.average_decay < 1:
            raise ValueError("average_decay must be from 0 to below 1.")
        if self.minutes and self.adversarial_steps:
            raise ValueError(
                "minutes must be 0 where there are adversarial_steps; phase 2 begins after phase 1's steps."
            )

    @property
    def all_steps(self) -> int:
        """Steps of both phases."""
        return self.steps + self.adversarial_steps


@dataclass(frozen=True)
class CoarseSettings(StageSettings):
    """Section [coarse]: the network that finds the circle in whole scans; not part of the paper's method."""

    steps: int = setting(800, "Phase 1: steps of the network alone; 0: it stays as in start_from.")
    sigma_mm: float = setting(4.0, "Width of the target heatmaps.")
    pitch_deg: float = setting(25.0, "Scans of a cohort are pitched by up to this, beside how they lie.")
    roll_yaw_deg: float = setting(15.0, "Scans of a cohort are rolled and turned by up to this.")
    scale: float = setting(0.1, "Scans of a cohort are made smaller or larger by up to this share.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.pitch_deg, self.roll_yaw_deg, self.scale) < 0:
            raise ValueError("pitch_deg, roll_yaw_deg and scale must not be negative.")
        if self.adversarial_steps:
            raise ValueError("adversarial_steps must be 0; the discriminator judges layouts in the reference frame.")


@dataclass(frozen=True)
class CircleSettings(StageSettings):
    """Section [circle]: the network that reads the whole circle at 1 mm; not part of the paper's method."""

    batch_size: int = setting(1, "Samples in a step, over all processes.")
    sigma_mm: float = setting(2.5, "Width of the target heatmaps.")


@dataclass(frozen=True)
class FineSettings(StageSettings):
    """Section [fine]: the last network; with the whole crop as its only input it is the paper's."""

    window: tuple[int, int, int] = setting(
        (48, 64, 64), "Voxels (S, A, R) that the network sees at once; 0, 0, 0: the whole crop, as in the paper."
    )
    priors: bool = setting(True, "Tell the network where the stages before expect the landmarks; the paper does not.")
    prior_sigma_mm: float = setting(5.0, "Width of these prior heatmaps.")
    decode_with_prior: bool = setting(True, "A maximum far from where the landmark is expected counts less.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prior_sigma_mm <= 0:
            raise ValueError("prior_sigma_mm must be above zero.")
        multiple = self.fold * 2 ** (self.levels - 1)
        if any(side % multiple for side in self.window):
            raise ValueError(f"the sides of window must be multiples of {multiple} (fold x 2^(levels - 1)).")


@dataclass(frozen=True)
class DiscriminatorSettings:
    """Section [discriminator]. Layers, width, lambda and all cures are our choice: the paper gives none of them."""

    coordinates: bool = setting(True, "Three input channels with normalised R, A, S coordinates, as in the paper.")
    distance: bool = setting(True, "One input channel with the distance to the grid's centre, as in the paper.")
    objective: Objective = setting(Objective.LEAST_SQUARES, "logistic (the paper's) or lsgan.")
    view: DiscriminatorView = setting(
        DiscriminatorView.SQUARED,
        "What it sees: plain heatmaps (the paper's), squared, or rendered again from coordinates.",
    )
    base_width: int = setting(16, "Channels of the first layer; doubled with every layer, up to 8 times.")
    layers: int = setting(4, "Convolutions of stride 2.")
    learning_rate: float = setting(1e-4, "Adam's rate (the paper's).")
    steps_per_update: int = setting(1, "Discriminator steps for each generator step.")
    weight: float = setting(0.0, "lambda_adv (Eq. 3) as a number; 0: gradient_share sets it.")
    gradient_share: float = setting(
        0.05, "lambda_adv such that the norm of its gradient has this share of that of the heatmap loss."
    )
    instance_noise: float = setting(0.0, "SD of noise added to annotated heatmaps.")
    label_smoothing: float = setting(0.0, "Annotated sets get the label 1 minus this.")
    r1: float = setting(0.1, "Weight of the R1 gradient penalty on annotated sets.")
    sharpness: float = setting(4.0, "View rendered: the power of the heatmaps before the soft-argmax.")

    def __post_init__(self) -> None:
        if min(self.base_width, self.layers, self.steps_per_update) < 1 or min(self.learning_rate, self.sharpness) <= 0:
            raise ValueError("base_width, layers, steps_per_update, learning_rate and sharpness must be above zero.")
        if min(self.weight, self.gradient_share, self.instance_noise, self.label_smoothing, self.r1) < 0:
            raise ValueError("weights, noise and smoothing must not be negative.")

    @property
    def extra_channels(self) -> int:
        """Number of channels beside the heatmaps."""
        return 3 * self.coordinates + self.distance


@dataclass(frozen=True)
class AugmentationSettings:
    """Section [augmentation]. The paper uses tiny random translations only; the rest goes beyond it."""

    translation_mm: float = setting(4.0, "Random translation along each axis, at most; the paper has tiny ones.")
    mirror: bool = setting(True, "Mirror every second sample, with left and right landmarks exchanged.")
    rotation_deg: float = setting(10.0, "Random rotation about each axis, at most.")
    scale: float = setting(0.08, "Random change of size, at most (0.08: 8 percent).")
    elastic_mm: float = setting(1.0, "SD of a random smooth displacement.")
    elastic_spacing_mm: float = setting(32.0, "Distance of the control points of that displacement.")
    gain: float = setting(0.12, "SD of the logarithm of a random gain.")
    gamma: float = setting(0.12, "SD of the logarithm of a random gamma.")
    noise: float = setting(0.03, "Random noise, its SD at most, in network units.")
    intensity: bool = setting(
        True, "Change tone, brightness, texture, sharpness and noise of every sample at random, far beyond its scanner."
    )

    def __post_init__(self) -> None:
        numbers = (self.translation_mm, self.rotation_deg, self.scale, self.elastic_mm)
        if min(*numbers, self.gain, self.gamma, self.noise) < 0 or self.elastic_spacing_mm <= 0:
            raise ValueError("augmentation must not be negative.")
        if self.elastic_mm > 0.1 * self.elastic_spacing_mm:
            raise ValueError("elastic_mm must be at most a tenth of elastic_spacing_mm, or space would fold.")

    @property
    def whole_voxels(self) -> bool:
        """Whether nothing but a translation happens, which is then rounded to voxels and needs no interpolation."""
        return self.rotation_deg == 0 and self.scale == 0 and self.elastic_mm == 0


ONLY_TRANSLATIONS = AugmentationSettings(
    translation_mm=2.0,
    mirror=False,
    rotation_deg=0.0,
    scale=0.0,
    elastic_mm=0.0,
    gain=0.0,
    gamma=0.0,
    noise=0.0,
    intensity=False,
)
"""The paper's."""

TRAINING_SECTIONS: dict[str, type] = {
    "data": DataSettings,
    "training": TrainingSettings,
    "coarse": CoarseSettings,
    "circle": CircleSettings,
    "fine": FineSettings,
    "discriminator": DiscriminatorSettings,
    "augmentation": AugmentationSettings,
}
FORMER_SETTINGS: dict[str, tuple[str, ...]] = {
    "generator": (),
    "training": ("image_modality", "prior", "pretrain_steps", "adversarial_steps", "batch_size", "alpha", "log_every"),
    "coarse": ("start_from",),
}
"""Sections and keys that tell a configuration file of an earlier version."""


@dataclass(frozen=True)
class TrainingPlan:
    """All settings of a training; `name` is that of the preset they came from."""

    data: DataSettings = field(default_factory=DataSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    coarse: CoarseSettings = field(default_factory=CoarseSettings)
    circle: CircleSettings = field(default_factory=CircleSettings)
    fine: FineSettings = field(default_factory=FineSettings)
    discriminator: DiscriminatorSettings = field(default_factory=DiscriminatorSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    name: str = "cpu"

    def stage(self, name: str) -> StageSettings:
        """The settings of a stage; raises KeyError."""
        stages: dict[str, StageSettings] = {"coarse": self.coarse, "circle": self.circle, "fine": self.fine}
        return stages[name]

    @property
    def adversarial(self) -> bool:
        """Whether a stage has an adversarial phase."""
        return any(self.stage(name).adversarial_steps for name in self.training.stages)

    def value(self, name: str) -> Any:
        """The value of a setting such as "fine.batch_size"; raises AttributeError."""
        section, _, key = name.partition(".")
        return getattr(getattr(self, section), key)

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


def explanation(name: str) -> str:
    """What a setting such as "fine.batch_size" means; raises KeyError."""
    section, _, key = name.partition(".")
    entries = {entry.name: entry for entry in fields(TRAINING_SECTIONS[section])}
    return str(entries[key].metadata.get("help", ""))


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


_ALPHA_FALLS = (0.4, 0.7)
"""Parts of a training between which alpha falls to its last value."""


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


_CPU = TrainingPlan()
_GPU = TrainingPlan(
    name="gpu",
    data=DataSettings(phantom_cases=12000),
    training=TrainingSettings(workers=12, validate_every=1000, calibration_scans=128),
    coarse=CoarseSettings(steps=12000, batch_size=16),
    circle=CircleSettings(steps=40000, batch_size=8),
    fine=FineSettings(steps=40000, batch_size=16),
)
_PAPER = TrainingPlan(
    name="paper",
    training=TrainingSettings(
        stages=("coarse", "fine"), continued_rate=1.0, mixed_precision=False, workers=8, validate_every=500
    ),
    coarse=CoarseSettings(steps=12000, batch_size=8),
    fine=FineSettings(
        steps=20000,
        adversarial_steps=10000,
        learning_rate=1e-4,
        final_learning_rate=1e-4,
        warm_up_steps=0,
        final_alpha=0.0,
        average_decay=0.0,
        gradient_norm=0.0,
        base_width=16,
        levels=5,
        max_width=192,
        fold=1,
        window=(0, 0, 0),
        priors=False,
        decode_with_prior=False,
        subvoxel_targets=False,
    ),
    discriminator=DiscriminatorSettings(objective=Objective.LOGISTIC, view=DiscriminatorView.PLAIN, r1=0.0),
    augmentation=ONLY_TRANSLATIONS,
)
_SMALL = TrainingPlan(
    name="small",
    data=DataSettings(phantom_cases=4),
    training=TrainingSettings(workers=0, validate_every=0, log_seconds=0.0, calibration_scans=2),
    coarse=CoarseSettings(steps=4, batch_size=1, base_width=8, levels=2),
    circle=CircleSettings(steps=4, batch_size=1, base_width=8, levels=2),
    fine=FineSettings(steps=4, batch_size=1, base_width=8, levels=2),
)
PRESETS = {plan.name: plan for plan in (_CPU, _GPU, _PAPER, _SMALL)}
"""cpu: about an hour on one core, from the model that ships or from nothing. gpu: the same networks and batches for a
graphics card. paper: the paper where it is explicit (whole crop as the only input after registration to a template,
Eqs. 2 to 4, alpha, Adam 1e-4, coordinate and distance channels, tiny translations), after a coarse network. small: a
few steps, to try the commands."""
DEFAULT_PRESET = "cpu"
OWN_PLAN = "own"
"""Name of a plan of which a configuration file sets everything."""
