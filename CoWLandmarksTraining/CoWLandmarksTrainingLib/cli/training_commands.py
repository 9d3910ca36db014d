"""The commands train, default, calibrate and evaluate."""

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

from CoWLandmarksLib.core.atomic_files import write_json
from CoWLandmarksLib.core.errors import AnnotationError, ConfigurationError, CoWLandmarksError, ExitCode, StoppedError

from ..cohort.splits import SPLITS_FILE
from ..config.config_file import settings_of_options
from ..config.presets import DEFAULT_PRESET, OWN_PLAN, PRESETS
from ..config.settings import DEFAULT_START, STAGE_NAMES
from ..config.training_config import read_config
from ..config.training_plan import TRAINING_SECTIONS, TrainingPlan
from ..records.aligned_folder import AlignedCohort
from ..records.improvement import improvement_of_reports

FEW_SCANS = 30
_DEFAULT_DESCRIPTION = "CoW Landmarks default model."
_DEFAULT_LICENCE = "Apache-2.0"


class StopRequest(Protocol):
    """Whether a signal asked to stop."""

    made: bool


WatchForStop = Callable[[], AbstractContextManager[StopRequest]]


def add_training_commands(commands: Any, stop_request: WatchForStop) -> None:
    """Add the sub-parsers to argparse's sub-parsers action `commands`; `stop_request` watches for signals."""
    train = commands.add_parser("train", help="train a model on an aligned cohort (made by align)")
    train.add_argument("aligned", type=Path, metavar="ALIGNED", help="folder that align has written")
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="model, checkpoints, log and pictures")
    _add_plan(train)
    train.set_defaults(run=lambda arguments: _train(arguments, stop_request))

    default = commands.add_parser("default", help="train on phantoms alone, as the model that ships was made")
    default.add_argument(
        "--out",
        type=Path,
        default=Path("work"),
        metavar="DIR",
        help="model, phantoms, checkpoints, log (default: work)",
    )
    _add_plan(default)
    default.set_defaults(run=lambda arguments: _train(arguments, stop_request), aligned=None)

    calibrate = commands.add_parser("calibrate", help="measure a model's confidences on a site's own annotated scans")
    calibrate.add_argument("model", type=Path, metavar="MODEL", help="model file; it stays as it is")
    calibrate.add_argument("cohort", type=Path, nargs="+", metavar="COHORT", help="folders with cases, or scenes")
    calibrate.add_argument("--out", type=Path, required=True, metavar="FILE", help="the calibrated model (.cow.pt)")
    calibrate.add_argument("--split", choices=["train", "validation"], help="cases of this split (default: validation)")
    calibrate.add_argument(
        "--splits", type=Path, metavar="FILE", help="splits file (default: splits.json in the first)"
    )
    calibrate.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    calibrate.set_defaults(run=_calibrate)

    evaluate = commands.add_parser("evaluate", help="errors of a model on annotated scans, with tables and pictures")
    evaluate.add_argument("model", type=Path, metavar="MODEL", help="model file")
    evaluate.add_argument("cohort", type=Path, nargs="+", metavar="COHORT", help="folders with cases, or scenes")
    evaluate.add_argument("--split", choices=["train", "validation", "test"], help="only the cases of this split")
    evaluate.add_argument("--splits", type=Path, metavar="FILE", help="splits file (default: splits.json in the first)")
    evaluate.add_argument("--out", type=Path, metavar="DIR", help="folder for the report (or FILE.json: figures)")
    evaluate.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], default="auto")
    evaluate.add_argument("--debug", action="store_true", help="show where an error comes from")
    evaluate.set_defaults(run=_evaluate)

    compare = commands.add_parser("compare", help="two models on the same scans, paired, by their reports of evaluate")
    compare.add_argument("old", type=Path, metavar="OLD", help="report of one model")
    compare.add_argument("new", type=Path, metavar="NEW", help="report of the other")
    compare.set_defaults(run=_compare)


def _add_plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings that differ from the preset")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="one setting (can be repeated)"
    )
    parser.add_argument(
        "--preset",
        choices=list(PRESETS),
        default=DEFAULT_PRESET,
        help="where settings come from (default: %(default)s)",
    )
    parser.add_argument(
        "--start-from",
        metavar="MODEL",
        help=f"begin with the networks of a model file, of the model that ships ('{DEFAULT_START}'), or with 'nothing'",
    )
    parser.add_argument("--image-modality", choices=["mra", "cta", "both"], help="scans to learn from and to detect in")
    parser.add_argument(
        "--prior", choices=["mra", "cta", "both", "none"], help="whose landmark sets the discriminator sees as well"
    )
    parser.add_argument(
        "--phantoms", type=float, metavar="SHARE", help="share of phantoms beside the scans of a cohort"
    )
    parser.add_argument("--seed", type=int, help="another seed is another training")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--resume", action="store_true", help="go on where a training in DIR was stopped")
    parser.add_argument(
        "--minutes",
        type=float,
        metavar="N",
        help="stop after N minutes with checkpoints (exit code 75), to go on later",
    )
    parser.add_argument("--only", choices=STAGE_NAMES, help="train this network alone, to train several side by side")
    parser.add_argument(
        "--state-from", type=Path, metavar="DIR", help="go on from the light states that --state-to left on a machine"
    )
    parser.add_argument(
        "--state-to", type=Path, metavar="DIR", help="leave light states here (averaged weights, under 16 MiB a file)"
    )
    parser.add_argument("--json-progress", action="store_true", help="print the log as JSON lines")


def _train(arguments: argparse.Namespace, stop_request: WatchForStop) -> int:
    from CoWLandmarksLib.detect.devices import choose_device  # start-up time

    from ..train.processes import joined  # start-up time
    from ..train.training import train  # start-up time

    plan = chosen_plan(arguments)
    with stop_request() as stop, joined(choose_device(arguments.device)) as (processes, device):
        training = _training(arguments, plan, device, processes)
        show = _Show(arguments.json_progress) if processes.first else None
        if processes.first and arguments.aligned is not None and _few_scans_alone(training):
            training.data.check()
            assert training.stages  # what is wrong with data or settings is all there is to say
            print(
                f"note: so few scans ({len(training.data.train_cases)}) alone can make a model worse than the one it "
                "began from; --phantoms 0.5 mixes synthetic scans in.",
                file=sys.stderr,
            )
        try:
            path = train(
                training,
                resume=arguments.resume,
                on_log=show,
                should_stop=lambda: stop.made,
                minutes=arguments.minutes,
                only=arguments.only,
                state_from=arguments.state_from,
                state_to=arguments.state_to,
            )
        except StoppedError as stopped:
            raise StoppedError(
                f"The training in '{arguments.out}' was stopped; the same command with --resume goes on."
            ) from stopped
        if processes.first:
            print(f"The {arguments.only} network is trained." if path is None else f"The model is '{path}'.")
    return ExitCode.DELIVERED


def _training(arguments: argparse.Namespace, plan: TrainingPlan, device: Any, processes: Any) -> Any:
    """The training that the arguments ask for: on an aligned cohort, or on phantoms alone."""
    from ..train.cohort_data import CohortData  # start-up time
    from ..train.phantom_data import PhantomData  # start-up time
    from ..train.training import Training  # start-up time

    if arguments.aligned is not None:
        data = CohortData(AlignedCohort.read(arguments.aligned), plan)
        return Training(data, plan, arguments.out, device, processes)
    own = Training(PhantomData(plan), plan, arguments.out, device, processes)
    return replace(own, name=f"default-{plan.name}", licence=_DEFAULT_LICENCE, description=_DEFAULT_DESCRIPTION)


def _few_scans_alone(training: Any) -> bool:
    """Whether a training on a cohort goes on from a model with few scans and no phantoms (Docs/research/site.md)."""
    plan = training.plan
    if not plan.training.start_from or plan.data.phantom_share or plan.name == "paper":
        return False
    return bool(training.data.cohort.has_default_landmarks and len(training.data.train_cases) < FEW_SCANS)


def _calibrate(arguments: argparse.Namespace) -> int:
    from CoWLandmarksLib.detect.detector import Detector  # start-up time
    from CoWLandmarksLib.detect.model import load_model, save_model  # start-up time

    from ..evaluate.evaluation import CaseResult, evaluate  # start-up time
    from ..evaluate.evaluation_cases import annotated_volume, evaluation_cases  # start-up time
    from ..evaluate.fit_calibration import calibrated  # start-up time

    model = load_model(arguments.model)
    if not arguments.out.name.endswith(".cow.pt"):
        raise ConfigurationError(f"'{arguments.out}' does not end in .cow.pt; choose another --out.")
    first: Path = arguments.cohort[0]
    drawn = arguments.splits is not None or ((first if first.is_dir() else first.parent) / SPLITS_FILE).is_file()
    split = arguments.split or ("validation" if drawn else None)
    if split and not arguments.split:
        print("Only the validation cases of the splits are used; --split chooses others.", flush=True)
    cases = evaluation_cases(arguments.cohort, model.anatomy, split, arguments.splits)
    failed = {failure["case"]: failure["error"] for failure in cases.failed}
    for name, sentence in failed.items():
        print(f"error: {name}: {sentence}", file=sys.stderr)

    def read(trial: Any) -> list[CaseResult]:
        detector = Detector(trial, arguments.device)
        results: list[CaseResult] = []
        for scan in cases.scans:
            if scan.name in failed:
                continue
            try:
                [result] = evaluate(detector, [annotated_volume(scan, model.anatomy)])
            except CoWLandmarksError as error:
                failed[scan.name] = str(error)
                print(f"error: {scan.name}: {error}", file=sys.stderr)
                continue
            print(result.name, result.verdict, flush=True)
            results.append(result)
        return results

    again = calibrated(model, read, before=model)
    scans = sum(scan.name not in failed for scan in cases.scans)
    if not scans:
        raise AnnotationError("There is no annotated scan to calibrate on; add some, or choose another --split.")
    record = {"scans": scans, "of": "a site's own annotated scans", "before": model.name}
    again = replace(again, provenance={**again.provenance, "recalibration": record})
    save_model(again, arguments.out, eight_bit=model.eight_bit)
    print(f"The model with confidences measured on {scans} scans is '{arguments.out}'.")
    return ExitCode.PARTLY_FAILED if failed else ExitCode.DELIVERED


def _compare(arguments: argparse.Namespace) -> int:
    found = improvement_of_reports(arguments.old, arguments.new)
    if found is None:
        raise AnnotationError("The two reports have no scan in common; evaluate both models on the same cohort.")
    print(found.sentence())
    return ExitCode.DELIVERED


def _evaluate(arguments: argparse.Namespace) -> int:
    from CoWLandmarksLib.detect.detector import Detector  # start-up time
    from CoWLandmarksLib.detect.model import load_model  # start-up time

    from ..evaluate.evaluation_cases import evaluation_cases  # start-up time
    from ..evaluate.evaluation_report import evaluation_report, markdown_table, write_report  # start-up time

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
        return ExitCode.FAILED
    return ExitCode.PARTLY_FAILED if failed else ExitCode.DELIVERED


def chosen_plan(arguments: argparse.Namespace) -> TrainingPlan:
    """The preset, changed by the configuration file, changed by the options; raises ConfigurationError."""
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
    data = {
        name: value
        for name, value in (
            ("image_modality", arguments.image_modality),
            ("prior", arguments.prior),
            ("phantom_share", arguments.phantoms),
        )
        if value is not None
    }
    if data.get("image_modality") == plan.data.prior and "prior" not in data:
        data["prior"] = {"mra": "cta", "cta": "mra"}.get(str(plan.data.prior), "none")
    training: dict[str, Any] = {} if arguments.seed is None else {"seed": arguments.seed}
    if arguments.start_from is not None:
        training["start_from"] = "" if arguments.start_from == "nothing" else arguments.start_from
    return plan.with_values(data=data, training=training)


class _Show:
    """Prints log entries: JSON lines, or a line with a bar for people."""

    _SHOWN = (
        "loss",
        "discriminator_accuracy",
        "lambda_adv",
        "cosine_to_truth",
        "learning_rate",
        "seconds_per_step",
        "waiting_share",
    )

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json

    def __call__(self, entry: dict[str, Any]) -> None:
        """Print one entry."""
        if self._as_json:
            print(json.dumps(entry), flush=True)
            return
        stage = entry["stage"]
        if "step" not in entry:
            print(f"{stage}: {entry['message']}", flush=True)
            return
        values = entry.get("validation") or {name: entry[name] for name in self._SHOWN if name in entry}
        figures = "  ".join(f"{name} {_number(value)}" for name, value in values.items() if value is not None)
        label = "validation  " if "validation" in entry else ""
        steps = f"{entry['step']}/{entry['steps']}" if "steps" in entry else str(entry["step"])
        done = entry["step"] / entry["steps"] if "steps" in entry else None
        bar = "" if done is None else "[" + ("#" * round(20 * done)).ljust(20, ".") + "] "
        print(f"{stage} {bar}{steps}  {label}{figures}", flush=True)


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
