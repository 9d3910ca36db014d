"""What was begun in an output folder, so that only the same training goes on there."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from CoWLandmarksLib.core.errors import ConfigurationError, OutputError

from ..config.training_plan import TrainingPlan
from ..records.training_folder import FORMER_SCHEMA, PLAN_FILE, plan_content, read_plan, write_plan

if TYPE_CHECKING:
    from .training import Training

logger = logging.getLogger(__name__)

_MAY_CHANGE = {"training": ("workers", "log_seconds", "checkpoint_seconds")}
"""Settings that change nothing of what is learnt; they may differ when a training goes on."""


def claim(training: Training, resume: bool) -> None:
    """Note what is trained in `training.out`, or make sure that it is the same as what was begun there.

    Raises OutputError when something was begun and `resume` is not wanted, ConfigurationError when it was another
    training. Images that have been replaced since, as after a repair, are named in a warning.
    """
    path = training.out / PLAN_FILE
    now = plan_content(training.plan.to_dict(), training.data.fingerprint())
    if path.exists():
        if not resume:
            raise OutputError(f"'{training.out}' holds a training; go on with --resume, or choose another --out.")
        before = read_plan(training.out)
        if isinstance(before, dict) and before.get("schema") == FORMER_SCHEMA:
            raise ConfigurationError(
                f"'{training.out}' was begun by an earlier version, whose trainings cannot be resumed; choose another "
                "--out (--start-from begins from its model, if it was finished)."
            )
        images = before.pop("images", {}) if isinstance(before, dict) else {}
        if _essence(_completed(before)) != _essence(json.loads(json.dumps(now))):
            raise ConfigurationError(
                f"Settings or cases differ from those that '{training.out}' was begun with; "
                "use the same ones to resume, or choose another --out."
            )
        present = training.data.images()
        replaced = sorted(name for name, content in present.items() if images.get(name, content) != content)
        if replaced:
            logger.warning(
                "Images replaced since the training was begun are learnt from now on: %s.", ", ".join(replaced)
            )
    training.processes.wait()
    if training.processes.first and not path.exists():
        write_plan(training.out, now, training.data.images())
    training.processes.wait()


def _completed(content: Any) -> Any:
    """A plan file with the settings that have come since, whose defaults stand for what was done before."""
    if not isinstance(content, dict) or not isinstance(content.get("plan"), dict):
        return content
    defaults = TrainingPlan().to_dict()
    sections = {
        section: {**defaults[section], **values} if isinstance(defaults.get(section), dict) else values
        for section, values in content["plan"].items()
    }
    return {**content, "plan": sections}


def _essence(content: Any) -> Any:
    """A plan file without what may change."""
    if not isinstance(content, dict) or not isinstance(content.get("plan"), dict):
        return content
    plan = {
        section: {key: value for key, value in values.items() if key not in _MAY_CHANGE.get(section, ())}
        if isinstance(values, dict)
        else values
        for section, values in content["plan"].items()
    }
    return {**content, "plan": plan}
