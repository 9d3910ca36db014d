"""Compares Resources/presets.json, which the panel reads, with the presets of the trainer; `--write` renews it."""

from __future__ import annotations

import sys
from dataclasses import fields
from typing import Any

from CoWLandmarksLib.files import write_json
from CoWLandmarksTrainingLib.preset_values import PRESETS_FILE, SCHEMA, preset_values
from CoWLandmarksTrainingLib.training_plan import PRESETS, TRAINING_SECTIONS


def presets_of_the_trainer() -> dict[str, Any]:
    """What the file has to hold."""
    presets = {}
    for name, plan in PRESETS.items():
        values = plan.to_dict()
        presets[name] = {section: values[section] for section in TRAINING_SECTIONS}
    explanations = {
        section: {field.name: field.metadata.get("help", "") for field in fields(kind)}
        for section, kind in TRAINING_SECTIONS.items()
    }
    return {"schema": SCHEMA, "presets": presets, "explanations": explanations}


if __name__ == "__main__":
    wanted = presets_of_the_trainer()
    if "--write" in sys.argv[1:]:
        write_json(PRESETS_FILE, wanted)
    values = preset_values()
    same = values.presets == wanted["presets"] and values.explanations == wanted["explanations"]
    print("The presets agree." if same else "The presets differ; run again with --write.")
    sys.exit(0 if same else 1)
