"""The command line of a training as the panel's choices mean it; what is shown is exactly what is started."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from ..config.presets import PRESETS

PROGRAM = "cowlandmarks-train"
MODALITIES: Mapping[str, tuple[str, str]] = {
    "mra-cta": ("mra", "cta"),
    "mra": ("mra", "none"),
    "both": ("both", "none"),
    "cta-mra": ("cta", "mra"),
    "cta": ("cta", "none"),
}
"""Choice -> (--image-modality, --prior)."""

SETTINGS = (
    "coarse.steps",
    "circle.steps",
    "fine.steps",
    "fine.adversarial_steps",
    "fine.learning_rate",
    "fine.batch_size",
    "fine.alpha",
    "fine.sigma_mm",
    "discriminator.weight",
    "discriminator.gradient_share",
    "discriminator.coordinates",
    "discriminator.distance",
    "data.phantom_share",
    "training.start_from",
    "training.seed",
)
"""Settings that the panel offers; all others come from the preset."""
_OPTIONS = {"training.start_from": "--start-from", "data.phantom_share": "--phantoms"}
"""Settings that have an option of their own."""
NOTHING = "nothing"
"""What --start-from has for random weights."""


@dataclass(frozen=True)
class TrainingChoices:
    """What a training is started with; `values` maps settings such as "training.seed" to values."""

    aligned: Path
    out: Path
    preset: str = "cpu"
    modality: str = "mra-cta"
    device: str = "auto"
    values: Mapping[str, Any] = field(default_factory=dict)

    def arguments(self, *, resume: bool = False) -> list[str]:
        """The command `train` with its arguments; a setting appears where it differs from the preset."""
        image, prior = MODALITIES[self.modality]
        arguments = ["train", str(self.aligned), "--out", str(self.out), "--preset", self.preset]
        arguments += ["--image-modality", image, "--prior", prior]
        others: list[str] = []
        for setting, value in self.values.items():
            if same_value(value, _plain(PRESETS[self.preset].value(setting))):
                continue
            if setting in _OPTIONS:
                arguments += [_OPTIONS[setting], str(value) or NOTHING]
            else:
                others += ["--set", f"{setting}={json.dumps(value)}"]
        arguments += ["--device", self.device, *others]
        return [*arguments, "--resume"] if resume else arguments

    def plan(self) -> dict[str, Any]:
        """All settings, as a training keeps them in its plan.json; unchecked."""
        plan = PRESETS[self.preset].to_dict()
        for setting, value in self.values.items():
            section, _, key = setting.partition(".")
            plan[section][key] = value
        plan["data"]["image_modality"], plan["data"]["prior"] = MODALITIES[self.modality]
        return plan


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def same_value(value: Any, other: Any) -> bool:
    """Equal, numbers to 9 digits: what a spin box gives back is rounded."""
    if isinstance(value, bool) or isinstance(other, bool) or not isinstance(value, int | float):
        return bool(value == other)
    return isinstance(other, int | float) and abs(value - other) <= 1e-9 * max(abs(value), abs(other), 1e-3)


def resuming_arguments(arguments: Sequence[str]) -> list[str]:
    """The command of a job that goes on where this one was stopped."""
    return [*arguments] if "--resume" in arguments else [*arguments, "--resume"]


def shown(arguments: Sequence[str]) -> str:
    """A command line to copy into a terminal of this system."""
    line = [PROGRAM, *arguments]
    return subprocess.list2cmdline(line) if os.name == "nt" else shlex.join(line)
