"""The commands train and evaluate."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from CoWLandmarksLib.errors import StoppedError

from .config_file import settings_of_options

DELIVERED, FAILED, PARTLY_FAILED = 0, 1, 2
PRESET_NAMES = ("paper", "cpu", "gpu")
DEFAULT_PRESET = "cpu"
OWN_PLAN = "own"
"""Name of a plan of which a configuration file sets everything."""


class StopRequest(Protocol):
    """Whether a signal asked to stop."""

    made: bool


def add_training_commands(commands: Any, stop_request: Callable[[], AbstractContextManager[StopRequest]]) -> None:
    """Add the sub-parsers to argparse's sub-parsers action `commands`; `stop_request` watches for signals."""
    train = commands.add_parser("train", help="train a model on an aligned cohort (made by align)")
    _add_plan(train)
    train.add_argument("--resume", action="store_true", help="go on where a training in DIR was stopped")
    train.set_defaults(run=lambda arguments: _train(arguments, stop_request))

    study = commands.add_parser("study", help="does the discriminator help? every arm of the comparison, several seeds")
    _add_plan(study)
    study.add_argument("--seeds", type=int, default=3, metavar="N", help="trainings of every arm (default: 3)")
    study.add_argument("--split", choices=["validation", "test"], default="validation", help="scans to compare on")
    study.add_argument("--arm", action="append", metavar="NAME", help="only this row of the table (can be repeated)")
    study.set_defaults(run=lambda arguments: _study(arguments, stop_request))
    evaluate = commands.add_parser("evaluate", help="errors of a model on annotated scans, with tables and pictures")
    evaluate.add_argument("model", type=Path, metavar="MODEL", help="model file")
    evaluate.add_argument("cohort", type=Path, nargs="+", metavar="COHORT", help="folders with cases, or scenes")
    evaluate.add_argument("--split", choices=["train", "validation", "test"], help="only the cases of this split")
    evaluate.add_argument("--splits", type=Path, metavar="FILE", help="splits file (default: splits.json in the first)")
    evaluate.add_argument("--out", type=Path, metavar="DIR", help="folder for the report (or FILE.json: figures)")
    evaluate.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], default="auto")
    evaluate.add_argument("--debug", action="store_true", help="show where an error comes from")
    evaluate.set_defaults(run=_evaluate)


def _add_plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("aligned", type=Path, metavar="ALIGNED", help="folder that align has written")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="model, checkpoints, log and pictures")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings that differ from the preset")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="one setting (can be repeated)"
    )
    parser.add_argument(
        "--preset", choices=PRESET_NAMES, default=DEFAULT_PRESET, help="where settings come from (default: %(default)s)"
    )
    parser.add_argument("--image-modality", choices=["mra", "cta", "both"], help="scans to learn from and to detect in")
    parser.add_argument(
        "--prior", choices=["mra", "cta", "both", "none"], help="whose landmark sets the discriminator sees as well"
    )
    parser.add_argument("--seed", type=int, help="another seed is another training")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--json-progress", action="store_true", help="print the log as JSON lines")


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
        try:
            path = train(training, resume=arguments.resume, on_log=show, should_stop=lambda: stop.made)
        except StoppedError as stopped:
            raise StoppedError(
                f"The training in '{arguments.out}' was stopped; the same command with --resume goes on."
            ) from stopped
        if processes.first:
            print(f"The model is '{path}'.")
    return DELIVERED


def _study(arguments: argparse.Namespace, stop_request: Callable[[], AbstractContextManager[StopRequest]]) -> int:
    from CoWLandmarksLib.detector import choose_device

    from .adversary_study import run_study, study_table
    from .aligned import AlignedCohort
    from .processes import Processes
    from .training import CohortTraining

    plan = chosen_plan(arguments)
    cohort = AlignedCohort.read(arguments.aligned)
    base = CohortTraining(cohort, plan, arguments.out, choose_device(arguments.device), Processes())
    seeds = [plan.training.seed + n for n in range(max(1, arguments.seeds))]
    with stop_request() as stop:
        report = run_study(
            base,
            seeds,
            arguments.split,
            chosen=arguments.arm,
            on_log=_Show(arguments.json_progress),
            should_stop=lambda: stop.made,
        )
    print(study_table(report))
    return DELIVERED


def _evaluate(arguments: argparse.Namespace) -> int:
    from CoWLandmarksLib.detector import Detector
    from CoWLandmarksLib.files import write_json
    from CoWLandmarksLib.model import load_model

    from .evaluation_cases import evaluation_cases
    from .evaluation_report import evaluation_report, markdown_table, write_report

    if arguments.debug:
        logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    model = load_model(arguments.model)
    cases = evaluation_cases(arguments.cohort, model.anatomy, arguments.split, arguments.splits)
    known = model.provenance.get("test_seal")
    if cases.seal is not None and known is not None and cases.seal != known:
        print(
            "warning: the model was trained with other splits; what is a test case here may have taught it.",
            file=sys.stderr,
        )
    if cases.sets:
        print(f"{cases.sets} landmark sets without an image are left out.")
    whole = arguments.out is not None and arguments.out.suffix.lower() != ".json"
    report = evaluation_report(
        Detector(model, arguments.device),
        cases,
        " and ".join(folder.resolve().name for folder in arguments.cohort),
        split=arguments.split,
        pictures=arguments.out / "failures" if whole else None,
        on_case=lambda result: print(result.name, result.verdict, flush=True),
    )
    if report["figures"]:
        for which in ("subvoxel", "argmax"):
            print(f"\n{which}\n\n{markdown_table(report['figures'][which])}")
        print(f"presence {report['presence']}")
    failed = report["failed"]
    for failure in failed:
        print(f"error: {failure['case']}: {failure['error']}", file=sys.stderr)
    if whole:
        write_report(report, arguments.out, model.anatomy)
        print(f"The report is '{arguments.out / 'evaluation.md'}'.")
    elif arguments.out is not None:
        write_json(arguments.out, report)
    if not report["figures"]:
        if not failed:
            print("error: there is no scan with landmarks to evaluate; add annotated scans.", file=sys.stderr)
        return FAILED
    return PARTLY_FAILED if failed else DELIVERED


def chosen_plan(arguments: argparse.Namespace) -> Any:
    """The preset, changed by the configuration file, changed by the options; raises ConfigurationError."""
    from .training_config import read_config
    from .training_plan import PRESETS, TRAINING_SECTIONS

    plan = PRESETS[arguments.preset]
    if arguments.config is not None:
        config = read_config(arguments.config)
        plan = plan.with_file(config)
        if all(replace(preset.with_file(config), name=plan.name) == plan for preset in PRESETS.values()):
            plan = replace(plan, name=OWN_PLAN)
            if arguments.preset != DEFAULT_PRESET:
                print(
                    f"warning: '{arguments.config}' sets everything; --preset {arguments.preset} changes nothing.",
                    file=sys.stderr,
                )
    if arguments.set:
        plan = plan.with_file(settings_of_options(arguments.set, TRAINING_SECTIONS))
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
