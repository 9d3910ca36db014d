"""The settings of a training: a dataclass for each section of the configuration file."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

from CoWLandmarksLib.core.volume import Modality

from .config_file import setting

ImageModality = Literal["mra", "cta", "both"]
PriorModality = Literal["mra", "cta", "both", "none"]
DEFAULT_START = "default"
PHANTOM_VERSIONS = (3, 4, 5)
"""Versions that can be drawn: 3, which the shipped model was trained on; 4, with the branch patterns and scans that
mislead; 5, with the clivus in front of the basilar artery, which runs through it in the others. Raised whenever the
same seed gives another case; every record of a synthetic cohort has it."""
PHANTOM_VERSION = 3
"""The one drawn where none is asked for."""
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
    """How the discriminator sees heatmaps: as they are (paper); squared, which hides the background floor; as
    Gaussians drawn again at the soft-argmax coordinates, which leaves nothing but the layout; or as the displacements
    between all pairs of these coordinates."""

    PLAIN = "plain"
    SQUARED = "squared"
    RENDERED = "rendered"
    DISPLACEMENTS = "displacements"

    @property
    def of_coordinates(self) -> bool:
        """Whether nothing but the soft-argmax coordinates is seen."""
        return self in (DiscriminatorView.RENDERED, DiscriminatorView.DISPLACEMENTS)


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
    phantom_version: int = setting(
        PHANTOM_VERSION, "Version of the phantoms: 3, which the model that ships has learnt from, 4 or 5."
    )
    phantom_seed: int = setting(0, "Seed of the phantoms; 0: one that no model before this one has learnt from.")

    def __post_init__(self) -> None:
        if self.image_modality == self.prior:
            raise ValueError(f"prior must not be '{self.prior}' as the images are; use another, or none.")
        if not 0.0 <= self.phantom_share < 1.0:
            raise ValueError("phantom_share must be from 0 to below 1; cowlandmarks-train default has phantoms only.")
        if min(self.phantom_cases, self.phantom_reuse) < 1 or self.phantom_seed < 0:
            raise ValueError("phantom_cases and phantom_reuse must be at least 1, phantom_seed not negative.")
        if self.phantom_version not in PHANTOM_VERSIONS:
            raise ValueError(f"phantom_version must be one of {', '.join(map(str, PHANTOM_VERSIONS))}.")

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

    method: str = setting(
        "heatmaps",
        "How landmarks are learnt: heatmaps (the paper's), or, by a fine stage of the whole crop without priors, payer "
        "(Payer et al. 2019) or noothout (Noothout et al. 2020).",
    )
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
    base_width: int = setting(32, "Channels of the first level; doubled with every level (payer: of every level).")
    levels: int = setting(4, "Levels of the U-Net (noothout: always 4).")
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
        "What it sees: plain heatmaps (the paper's), squared, rendered again from coordinates, or displacements.",
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
    sharpness: float = setting(4.0, "rendered and displacements: the power of the heatmaps before the soft-argmax.")
    spectral_norm: bool = setting(False, "Bound the spectral norm of all its layers.")
    jitter: bool = setting(
        False, "Move annotated points by the errors of predictions on validation scans (below 6 mm)."
    )
    corrupted: bool = setting(
        False, "Show it annotated sets with two neighbours exchanged or merged as false ones, too."
    )
    ambiguous_only: bool = setting(False, "Act only on heatmaps with a second peak, 4 mm away and half as high.")
    rest_above: float = setting(1.0, "It rests while it is right in more than this share of pairs of validation scans.")

    def __post_init__(self) -> None:
        if min(self.base_width, self.layers, self.steps_per_update) < 1 or min(self.learning_rate, self.sharpness) <= 0:
            raise ValueError("base_width, layers, steps_per_update, learning_rate and sharpness must be above zero.")
        if min(self.weight, self.gradient_share, self.instance_noise, self.label_smoothing, self.r1) < 0:
            raise ValueError("weights, noise and smoothing must not be negative.")
        if not 0.5 <= self.rest_above <= 1.0:
            raise ValueError("rest_above must be from 0.5 to 1.")

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
