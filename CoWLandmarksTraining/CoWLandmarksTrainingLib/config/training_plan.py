"""All settings of a training together, and the presets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from CoWLandmarksLib.core.atomic_files import plain
from CoWLandmarksLib.core.errors import ConfigurationError

from .config_file import ConfigFile
from .settings import (
    DEFAULT_START,
    ONLY_TRANSLATIONS,
    AugmentationSettings,
    CircleSettings,
    CoarseSettings,
    DataSettings,
    DiscriminatorSettings,
    DiscriminatorView,
    FineSettings,
    Objective,
    StageSettings,
    TrainingSettings,
)

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
"""cpu: about an hour and a quarter on two cores, from the model that ships or from nothing. gpu: the same networks and
batches for a graphics card. paper: the paper where it is explicit (whole crop as the only input after registration to a
template, Eqs. 2 to 4, alpha, Adam 1e-4, coordinate and distance channels, tiny translations), after a coarse network.
small: a few steps, to try the commands."""
DEFAULT_PRESET = "cpu"
OWN_PLAN = "own"
"""Name of a plan of which a configuration file sets everything."""
