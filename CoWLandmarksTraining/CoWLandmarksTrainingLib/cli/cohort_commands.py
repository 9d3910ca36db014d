"""The researcher's commands before training: init, check, split, align, reject."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from CoWLandmarksLib.core.errors import (
    AnnotationError,
    ConfigurationError,
    CoWLandmarksError,
    ExitCode,
    OutputError,
    StoppedError,
)

from ..cohort.annotation_check import with_checked_annotations
from ..cohort.check import check_cohort
from ..cohort.problems import Severity
from ..cohort.splits import Splits, draw_splits
from ..config.presets import DEFAULT_PRESET, PRESETS
from ..config.training_config import AlignConfig, CohortConfig, read_config, write_initial_config
from ..records.aligned_folder import OVERVIEW_PICTURE, SPLITS, AlignedCohort
from ..records.rejection import rejected_names, write_rejected
from .training_commands import StopRequest


def add_cohort_commands(commands: Any, stop_request: Callable[[], AbstractContextManager[StopRequest]]) -> None:
    """Add the sub-parsers to argparse's sub-parsers action `commands`; `stop_request` watches for signals."""
    init = commands.add_parser("init", help="write a configuration file with every setting and its explanation")
    init.add_argument("config", type=Path, metavar="FILE", help="name of the file, .toml or .json")
    init.add_argument("--force", action="store_true", help="replace the file if it exists")
    init.add_argument("--preset", choices=list(PRESETS), default=DEFAULT_PRESET, help="whose values it holds")
    init.set_defaults(run=_init)

    check = commands.add_parser("check", help="list the cases of a cohort and every problem in them")
    _add_cohort(check)
    check.add_argument("--json", type=Path, metavar="FILE", help="write table and problems as JSON as well")
    check.set_defaults(run=_check)

    split = commands.add_parser("split", help="divide the patients into training, validation and sealed test")
    _add_cohort(split)
    split.add_argument("--out", type=Path, metavar="FILE", help="splits file (default: splits.json in the cohort)")
    split.add_argument("--seed", type=int, help="another seed draws other splits")
    split.add_argument("--validation", type=float, metavar="SHARE", help="share of the patients for validation")
    split.add_argument("--test", type=float, metavar="SHARE", help="share of the patients for the test")
    again = split.add_mutually_exclusive_group()
    again.add_argument("--extend", action="store_true", help="keep the splits and give new patients one")
    again.add_argument("--force", action="store_true", help="draw again, which breaks the seal of the test split")
    split.set_defaults(run=_split)

    align = commands.add_parser("align", help="bring all cases into one frame and cache their crops")
    _add_cohort(align)
    align.add_argument("--out", type=Path, metavar="DIR", help="folder for the aligned cohort; made if needed")
    align.add_argument("--by", choices=["template", "landmarks"], help="way of alignment (default: template)")
    align.add_argument("--processes", type=int, metavar="N", help="processes side by side (default: all cores)")
    for modality in ("mra", "cta"):
        align.add_argument(f"--{modality}-template", metavar="CASE", help=f"name of the {modality.upper()} template")
    align.set_defaults(run=lambda arguments: _align(arguments, stop_request))

    reject = commands.add_parser("reject", help="leave cases of an aligned folder out, after a look at their pictures")
    reject.add_argument("aligned", type=Path, metavar="ALIGNED", help="folder that align has written")
    reject.add_argument("cases", nargs="*", metavar="CASE", help="names of cases (none: only list what is rejected)")
    reject.add_argument("--undo", action="store_true", help="take these cases back in")
    reject.set_defaults(run=_reject)


def _add_cohort(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "cohort", type=Path, nargs="+", metavar="COHORT", help="folders with cases, or one configuration file"
    )
    parser.add_argument("--anatomy", type=Path, metavar="FILE.json", help="another landmark set")


@dataclass(frozen=True)
class _Setting:
    """What the cohort arguments of a command mean: sections of the configuration, and where the splits lie."""

    cohort: Any
    align: Any
    configured: bool

    @property
    def splits_file(self) -> Path:
        if self.configured:
            return Path(self.cohort.splits)
        first = Path(self.cohort.folders[0])
        return (first if first.is_dir() else first.parent) / Path(self.cohort.splits).name


def _setting(arguments: argparse.Namespace) -> _Setting:
    paths: Sequence[Path] = arguments.cohort
    if len(paths) == 1 and paths[0].suffix.lower() in (".toml", ".json"):
        file = paths[0].absolute()
        config = read_config(file)
        cohort = config.section("cohort", CohortConfig)
        base = file.parent  # Defaults are paths from the folder of the file as well; those it names are absolute here.
        cohort = replace(cohort, folders=tuple(base / f for f in cohort.folders), splits=base / cohort.splits)
        align = config.section("align", AlignConfig)
        setting = _Setting(cohort, replace(align, folder=base / align.folder), True)
    else:
        setting = _Setting(CohortConfig(folders=tuple(paths)), AlignConfig(), False)
    if arguments.anatomy is not None:
        setting = replace(setting, cohort=replace(setting.cohort, anatomy=arguments.anatomy))
    return setting


def _init(arguments: argparse.Namespace) -> int:
    write_initial_config(arguments.config, replace=arguments.force, preset=arguments.preset)
    print(f"'{arguments.config}' holds every setting with its default; change what you need.")
    return ExitCode.DELIVERED


def _check(arguments: argparse.Namespace) -> int:
    from ..cohort.reading import read_cohort  # start-up time

    setting = _setting(arguments)
    cohort = read_cohort(setting.cohort.folders, setting.cohort.read_anatomy())
    report = check_cohort(cohort, on_case=lambda name: print(f"checked {name}", flush=True) if arguments.json else None)
    print(report.text())
    if arguments.json is not None:
        report.write(arguments.json)
    if setting.splits_file.exists():
        Splits.read(setting.splits_file).check(report.cohort.scans)
        print(f"'{setting.splits_file}' knows every patient; the seal of its test split holds.")
    if not report.cohort.usable():
        return ExitCode.FAILED
    return ExitCode.PARTLY_FAILED if report.count(Severity.ERROR) else ExitCode.DELIVERED


def _split(arguments: argparse.Namespace) -> int:
    from ..cohort.reading import read_cohort  # start-up time

    setting = _setting(arguments)
    out = arguments.out or setting.splits_file
    cohort = read_cohort(setting.cohort.folders, setting.cohort.read_anatomy())
    if not cohort.scans:
        _print_problems(cohort.problems)
        raise AnnotationError("No case of the cohort can be read, so there is nothing to split; run check to see why.")
    keep = None
    if out.exists() and not arguments.force:
        if not arguments.extend:
            raise OutputError(f"'{out}' exists; add new patients with --extend, or draw again with --force.")
        keep = Splits.read(out)
        keep.check([scan for scan in cohort.scans if keep.of(scan) is not None])
    splits = draw_splits(
        cohort.scans,
        setting.cohort.seed if arguments.seed is None else arguments.seed,
        setting.cohort.validation_share if arguments.validation is None else arguments.validation,
        setting.cohort.test_share if arguments.test is None else arguments.test,
        keep,
    )
    splits.write(out)
    _print_problems(cohort.problems)
    print("| split | patients | MRA | CTA | landmarks only |\n|---|---|---|---|---|")
    for split in SPLITS:
        members = [scan for scan in cohort.scans if splits.of(scan) == split]
        kinds = [sum(s.modality.value == kind and s.image is not None for s in members) for kind in ("mra", "cta")]
        only = sum(scan.image is None for scan in members)
        print(f"| {split} | {len(splits.patients[split])} | {kinds[0]} | {kinds[1]} | {only} |")
    print(f"'{out}'; the test split is sealed: {splits.seal[:12]}.")
    return ExitCode.DELIVERED


def _align(arguments: argparse.Namespace, stop_request: Callable[[], AbstractContextManager[StopRequest]]) -> int:
    from ..align.align_cohort import AlignPlan, align_cohort  # start-up time
    from ..align.template_alignment import aligner_of  # start-up time
    from ..cohort.reading import read_cohort  # start-up time

    setting = _setting(arguments)
    config = setting.align
    if arguments.by:
        config = replace(config, by=arguments.by)
    if arguments.processes is not None:
        config = replace(config, processes=arguments.processes)
    named = {key: name for key in ("mra_template", "cta_template") if (name := getattr(arguments, key)) is not None}
    config = replace(config, **named)
    out = arguments.out or (config.folder if setting.configured else None)
    if out is None:
        raise CoWLandmarksError("--out is missing; name a folder for the aligned cohort.")
    # A case of which check says that it cannot be used as it is must not be trained on.
    cohort = with_checked_annotations(read_cohort(setting.cohort.folders, setting.cohort.read_anatomy()))
    _print_problems(cohort.problems)
    if setting.splits_file.exists():
        splits = Splits.read(setting.splits_file)
        splits.check(cohort.scans)
    else:
        own = setting.cohort
        splits = draw_splits(cohort.scans, own.seed, own.validation_share, own.test_share)
        splits.write(setting.splits_file)
        print(f"Splits were drawn: '{setting.splits_file}'.")
    plan = AlignPlan(cohort, splits, aligner_of(config, out), config, out)
    with stop_request() as stop:

        def on_case(stage: str, name: str) -> None:
            print(f"{stage} {name}", flush=True)
            if stop.made:
                raise StoppedError(f"The alignment was stopped; the same command goes on with what is in '{out}'.")

        aligned = align_cohort(plan, on_case)
    if aligned.cases():
        from ..align.alignment_picture import write_alignment_picture  # start-up time

        write_alignment_picture(out / OVERVIEW_PICTURE, aligned)
    from ..align.case_pictures import write_case_pictures  # start-up time

    write_case_pictures(aligned, out, on_case=lambda name: print(f"picture {name}", flush=True))
    print(f"\n{_alignment_table(aligned)}")
    for note in aligned.frame.notes:
        print(note)
    for case in aligned.all_cases:
        if case.reason:
            print(f"{'warning' if case.accepted else 'error'}: {case.name}: {case.reason}", file=sys.stderr)
    print(f"{len(aligned.cases())} of {len(aligned.all_cases)} cases are in '{out}'.")
    if not aligned.cases():
        return ExitCode.FAILED
    return (
        ExitCode.PARTLY_FAILED if aligned.rejected() or len(cohort.usable()) < len(cohort.scans) else ExitCode.DELIVERED
    )


def _reject(arguments: argparse.Namespace) -> int:

    known = {case.name for case in AlignedCohort.read(arguments.aligned, check_inputs=False).all_cases}
    unknown = sorted(set(arguments.cases) - known)
    if unknown:
        raise ConfigurationError(f"'{arguments.aligned}' has no case {', '.join(unknown)}; look at its table.")
    names = rejected_names(arguments.aligned)
    if arguments.cases:
        names = names - set(arguments.cases) if arguments.undo else names | set(arguments.cases)
        write_rejected(arguments.aligned, names)
    print(f"Rejected by a person: {', '.join(sorted(names)) or 'none'}.")
    return ExitCode.DELIVERED


def _alignment_table(aligned: Any) -> str:
    lines = ["| case | modality | split | image | landmarks | residual mm | |", "|---|---|---|---|---|---|---|"]
    for case in aligned.all_cases:
        inside = int((case.status == 1).sum())
        lines.append(
            f"| {case.name} | {case.modality.value} | {case.split} | {'yes' if case.has_image else 'no'} | "
            f"{inside}/{len(case.status)} | {case.residual_mm:.1f} | {'' if case.accepted else 'left out'} |"
        )
    return "\n".join(lines)


def _print_problems(problems: Sequence[Any]) -> None:
    for problem in problems:
        if problem.severity is not Severity.NOTE:
            print(problem, file=sys.stderr)
