"""The commands train and evaluate."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

DELIVERED, FAILED, PARTLY_FAILED = 0, 1, 2
PRESET_NAMES = ("paper", "cpu", "gpu")


class StopRequest(Protocol):
    """Whether a signal asked to stop."""

    made: bool


def add_training_commands(commands: Any, stop_request: Callable[[], AbstractContextManager[StopRequest]]) -> None:
    """Add the sub-parsers to argparse's sub-parsers action `commands`; `stop_request` watches for signals."""
    train = commands.add_parser("train", help="train a model on an aligned cohort (made by align)")
    train.add_argument("aligned", type=Path, metavar="ALIGNED", help="folder that align has written")
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="model, checkpoints, log and pictures")
    train.add_argument("--config", type=Path, metavar="FILE", help="settings that differ from the preset")
    train.add_argument("--preset", choices=PRESET_NAMES, default="cpu", help="where settings come from (default: cpu)")
    train.add_argument("--image-modality", choices=["mra", "cta", "both"], help="scans to learn from and to detect in")
    train.add_argument(
        "--prior", choices=["mra", "cta", "both", "none"], help="whose landmark sets the discriminator sees as well"
    )
    train.add_argument("--seed", type=int, help="another seed is another training")
    train.add_argument("--resume", action="store_true", help="go on where a training in DIR was stopped")
    train.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    train.add_argument("--json-progress", action="store_true", help="print the log as JSON lines")
    train.set_defaults(run=lambda arguments: _train(arguments, stop_request))


def _train(arguments: argparse.Namespace, stop_request: Callable[[], AbstractContextManager[StopRequest]]) -> int:
    from CoWLandmarksLib.detector import choose_device

    from .aligned import AlignedCohort
    from .processes import joined
    from .training import CohortTraining, train

    plan = chosen_plan(arguments)
    with stop_request() as stop, joined(choose_device(arguments.device)) as (processes, device):
        cohort = AlignedCohort.read(arguments.aligned)
        training = CohortTraining(cohort, plan, arguments.out, device, processes)
        show = _Show(arguments.json_progress) if processes.first else None
        path = train(training, resume=arguments.resume, on_log=show, should_stop=lambda: stop.made)
        if processes.first:
            print(f"The model is '{path}'.")
    return DELIVERED


def chosen_plan(arguments: argparse.Namespace) -> Any:
    """The preset, changed by the configuration file, changed by the options; raises ConfigurationError."""
    from .training_config import read_config
    from .training_plan import PRESETS

    plan = PRESETS[arguments.preset]
    if arguments.config is not None:
        plan = plan.with_file(read_config(arguments.config))
    changes = {
        name: value
        for name, value in (
            ("image_modality", arguments.image_modality),
            ("prior", arguments.prior),
            ("seed", arguments.seed),
        )
        if value is not None
    }
    if changes.get("image_modality") == plan.training.prior and "prior" not in changes:
        changes["prior"] = {"mra": "cta", "cta": "mra"}.get(str(plan.training.prior), "none")
    return plan.with_values(training=changes)


class _Show:
    """Prints log entries: JSON lines, or a line with a bar for people."""

    _SHOWN = ("loss", "discriminator_accuracy", "lambda_adv", "cosine_to_truth", "learning_rate", "seconds_per_step")

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json

    def __call__(self, entry: dict[str, Any]) -> None:
        """Print one entry."""
        if self._as_json:
            print(json.dumps(entry), flush=True)
            return
        network = entry["network"]
        if "stage" in entry:
            print(f"{network}: {entry['stage']}", flush=True)
            return
        values = entry.get("validation") or {name: entry[name] for name in self._SHOWN if name in entry}
        told = "  ".join(f"{name} {_number(value)}" for name, value in values.items() if value is not None)
        label = "validation  " if "validation" in entry else ""
        steps = f"{entry['step']}/{entry['steps']}" if "steps" in entry else str(entry["step"])
        done = entry["step"] / entry["steps"] if "steps" in entry else None
        bar = "" if done is None else "[" + ("#" * round(20 * done)).ljust(20, ".") + "] "
        print(f"{network} {bar}{steps}  {label}{told}", flush=True)


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
