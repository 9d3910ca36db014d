"""The presets' values and explanations without torch, for the panel: read from `Resources/presets.json`.

That file is written from `training_plan.PRESETS` by `Testing/list_presets.py --write`; a test compares the two.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

PRESETS_FILE = Path(__file__).parent / "Resources" / "presets.json"
SCHEMA = "cow-presets/1"


@dataclass(frozen=True)
class PresetValues:
    """`presets`: name -> section -> key -> value; `explanations`: section -> key -> sentence."""

    presets: Mapping[str, Mapping[str, Mapping[str, Any]]]
    explanations: Mapping[str, Mapping[str, str]]

    def value(self, preset: str, setting: str) -> Any:
        """The value of a setting such as "training.batch_size"; raises KeyError."""
        section, _, key = setting.partition(".")
        return self.presets[preset][section][key]

    def explanation(self, setting: str) -> str:
        """What a setting means; raises KeyError."""
        section, _, key = setting.partition(".")
        return self.explanations[section][key]


@lru_cache
def preset_values() -> PresetValues:
    """What is packaged."""
    content = json.loads(PRESETS_FILE.read_text(encoding="utf-8"))
    return PresetValues(content["presets"], content["explanations"])
