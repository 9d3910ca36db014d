"""The output folder of a training: its plan (`plan.json`), by which it can go on, and its model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from CoWLandmarksLib.core.atomic_files import write_json
from CoWLandmarksLib.core.errors import ConfigurationError

SCHEMA, FORMER_SCHEMA = "cow-training-plan/2", "cow-training-plan/1"
PLAN_FILE, MODEL_FILE = "plan.json", "model.cow.pt"


def plan_content(plan: Mapping[str, Any], cases: list[list[Any]]) -> dict[str, Any]:
    """What a plan file says of the settings and of what must be the same when the training goes on."""
    return {"schema": SCHEMA, "plan": plan, "cases": cases}


def write_plan(folder: Path, content: Mapping[str, Any], images: Mapping[str, str]) -> None:
    """Write `plan_content` with the hashes of images, which may be replaced on the way; raises OutputError."""
    write_json(folder / PLAN_FILE, {**content, "images": images})


def read_plan(folder: Path) -> Any:
    """The content of the plan file, unchecked; None where there is none. Raises ConfigurationError for no JSON."""
    path = folder / PLAN_FILE
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"'{path}' is damaged ({error}); choose another --out.") from error
