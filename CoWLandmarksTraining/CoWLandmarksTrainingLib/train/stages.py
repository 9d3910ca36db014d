"""A recipe: the stages of a model in the order in which a detector runs them, as a training sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np
from CoWLandmarksLib.core.alignment import CIRCLE_SHAPE, CIRCLE_SPACING_MM
from CoWLandmarksLib.core.errors import ConfigurationError
from CoWLandmarksLib.core.volume import Grid
from CoWLandmarksLib.detect.circle import circle_grid
from CoWLandmarksLib.detect.coarse import POOLED_SPACING_MM, WINDOW
from CoWLandmarksLib.detect.model import GridSpec, NetworkPart
from CoWLandmarksLib.networks.generator import GeneratorConfig
from CoWLandmarksLib.networks.global_to_local import GlobalToLocalConfig
from CoWLandmarksLib.networks.network_config import HEATMAPS, METHODS, NetworkConfig
from CoWLandmarksLib.networks.spatial_configuration import SpatialConfigurationConfig

from ..config.settings import STAGE_NAMES, FineSettings, StageSettings
from ..config.training_plan import TrainingPlan
from ..records.aligned_folder import AlignedFrame
from .methods import HeatmapRegression, Method
from .noothout import GLOBAL_SPACING_MM, LOCAL_SPACING_MM, BlockRegression, pooling
from .payer import SpatialConfigurationRegression


class Posing(Enum):
    """How cases are laid before a stage: FIELD windows of whole scans in any pose; CIRCLE the whole circle, aligned
    with the errors of the stage before; WINDOWS of the reference grid round landmarks; WHOLE reference grid."""

    FIELD = "field"
    CIRCLE = "circle"
    WINDOWS = "windows"
    WHOLE = "whole"


@dataclass(frozen=True)
class Stage:
    """One network of a recipe.

    `grid` is the reference grid that its window moves in (FIELD: unused); `shape` (K, J, I) and `spacing_mm` (3,)
    (R, A, S) are of what it reads; `channels` say what of the image: "mean" and "maximum" over finer voxels, or the
    "image" itself. `priors`: it reads where the stages before expect the landmarks; `after_circle`: these are the
    errors of a circle stage as well. `start` are trained weights to begin with (None: random ones).
    """

    name: str
    settings: StageSettings
    posing: Posing
    method: Method
    config: NetworkConfig
    grid: Grid
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    channels: tuple[str, ...]
    priors: bool = False
    after_circle: bool = False
    start: NetworkPart | None = None

    @property
    def number(self) -> int:
        """Its place among all stages that there are, for seeds."""
        return STAGE_NAMES.index(self.name)

    @property
    def fixed(self) -> bool:
        """Whether it is not trained, but stays as it began."""
        return self.settings.all_steps == 0

    @property
    def in_reference_frame(self) -> bool:
        """Whether places of voxels mean something to a discriminator."""
        return self.posing is not Posing.FIELD


def recipe(
    plan: TrainingPlan, frame: AlignedFrame, landmarks: int, starts: Mapping[str, NetworkPart | None]
) -> tuple[Stage, ...]:
    """The stages of a plan for `landmarks` landmarks in a frame; `starts` are networks to begin with, by stage.

    Raises ConfigurationError where a stage has nothing to be or its window does not fit.
    """
    return tuple(_stage(name, plan, frame, landmarks, starts.get(name)) for name in plan.training.stages)


def _stage(name: str, plan: TrainingPlan, frame: AlignedFrame, landmarks: int, start: NetworkPart | None) -> Stage:
    own = plan.stage(name)
    if own.method not in METHODS:
        raise ConfigurationError(f"[{name}] has an unknown method '{own.method}'; use one of {', '.join(METHODS)}.")
    if own.all_steps == 0 and start is None:
        raise ConfigurationError(f"{name}.steps is 0, and there is no network to begin with; set training.start_from.")
    reference = frame.grid
    posing = Posing.CIRCLE
    channels: tuple[str, ...] = ("mean", "maximum")
    grid, shape = circle_grid(reference.centre), CIRCLE_SHAPE
    spacing = np.full(3, CIRCLE_SPACING_MM)
    prior_sigma_mm: float | None = None
    if name == "coarse":
        posing, shape, spacing = Posing.FIELD, WINDOW, np.full(3, POOLED_SPACING_MM)
    elif isinstance(own, FineSettings):
        whole = min(own.window) == 0 or own.window == reference.shape
        posing, channels = (Posing.WHOLE if whole else Posing.WINDOWS), ("image",)
        grid, shape, spacing = reference, (reference.shape if whole else own.window), reference.spacing
        prior_sigma_mm = own.prior_sigma_mm if own.priors else None
    if own.method != HEATMAPS and (posing is not Posing.WHOLE or prior_sigma_mm is not None):
        raise ConfigurationError(
            f"[{name}] has the method '{own.method}', which reads the whole crop from the image alone; it is one for "
            "the fine stage, with fine.window 0, 0, 0 and without fine.priors."
        )
    if own.method != HEATMAPS and own.adversarial_steps:
        raise ConfigurationError(
            f"[{name}] has the method '{own.method}', which no discriminator can judge; "
            f"set {name}.adversarial_steps to 0."
        )
    step = (float(spacing[0]), float(spacing[1]), float(spacing[2]))
    inputs = len(channels) + (landmarks if prior_sigma_mm is not None else 0)
    config = _network_config(own, inputs, landmarks, step) if start is None else start.config
    _check_shape(name, config, shape, reference)
    method = _method(own, config, shape, step, prior_sigma_mm)
    return Stage(
        name,
        own,
        posing,
        method,
        config,
        grid,
        shape,
        step,
        channels,
        prior_sigma_mm is not None,
        "circle" in plan.training.stages,
        start,
    )


def _network_config(
    own: StageSettings, inputs: int, landmarks: int, spacing: tuple[float, float, float]
) -> NetworkConfig:
    """The network of a method for images of `inputs` channels and voxels of `spacing` mm."""
    if own.method == SpatialConfigurationConfig.method:
        return SpatialConfigurationConfig(inputs, landmarks, own.base_width, own.levels)
    if own.method == GlobalToLocalConfig.method:
        whole, near = pooling(spacing, GLOBAL_SPACING_MM), pooling(spacing, LOCAL_SPACING_MM)
        return GlobalToLocalConfig(inputs, landmarks, own.base_width, global_pool=whole, local_pool=near)
    return GeneratorConfig(inputs, landmarks, own.base_width, own.levels, own.max_width, own.fold)


def _method(
    own: StageSettings,
    config: NetworkConfig,
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    prior_sigma_mm: float | None,
) -> Method:
    """The method that a network belongs to."""
    if isinstance(config, SpatialConfigurationConfig):
        return SpatialConfigurationRegression(config, spacing)
    if isinstance(config, GlobalToLocalConfig):
        return BlockRegression(config, shape, spacing)
    return HeatmapRegression(config, shape, spacing, own.sigma_mm, prior_sigma_mm, own.subvoxel_targets)


def _check_shape(name: str, config: NetworkConfig, shape: tuple[int, int, int], reference: Grid) -> None:
    multiple = config.multiple
    if any(side % multiple for side in shape):
        raise ConfigurationError(
            f"The crop of {shape[2]} x {shape[1]} x {shape[0]} voxels needs sides that are multiples of {multiple}; "
            f"change align.shape, {name}.levels or {name}.fold."
        )
    if name == "fine" and any(side > whole for side, whole in zip(shape, reference.shape, strict=True)):
        raise ConfigurationError(f"fine.window {shape} is larger than the crop {reference.shape}; make it smaller.")


def grid_spec(grid: Grid) -> GridSpec:
    """A grid as a model keeps it."""
    spacing, centre = (tuple(float(v) for v in values) for values in (grid.spacing, grid.centre))
    return GridSpec(grid.shape, (spacing[0], spacing[1], spacing[2]), (centre[0], centre[1], centre[2]))
