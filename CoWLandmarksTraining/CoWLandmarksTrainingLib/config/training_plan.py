"""All settings of a training together."""

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
    AugmentationSettings,
    CircleSettings,
    CoarseSettings,
    DataSettings,
    DiscriminatorSettings,
    FineSettings,
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
