"""`cowlandmarks-train import labels`: a folder of scans with label maps as an annotated cohort."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from CoWLandmarksLib.cli.command_line import path_argument
from CoWLandmarksLib.core.anatomy import default_anatomy, read_anatomy
from CoWLandmarksLib.core.errors import AnnotationError, ConfigurationError, ExitCode, VolumeError
from CoWLandmarksLib.core.label_scheme import read_label_scheme


def add_import_command(commands: Any) -> None:
    """Add the sub-parsers to argparse's sub-parsers action `commands`."""
    importing = commands.add_parser("import", help="annotated cohort from what other data sets provide")
    kinds = importing.add_subparsers(title="what", required=True, metavar="WHAT")
    labels = kinds.add_parser("labels", help="landmarks from label maps of the arteries")
    labels.add_argument("folder", type=path_argument, metavar="DIR", help="folder of the data set")
    labels.add_argument("--scheme", required=True, metavar="NAME", help="label scheme: topcow, or a .json file")
    labels.add_argument(
        "--out", type=path_argument, required=True, metavar="COHORT", help="folder of the cohort; made if needed"
    )
    labels.add_argument("--anatomy", type=Path, metavar="FILE.json", help="another landmark set")
    labels.set_defaults(run=_import_labels)


def _import_labels(arguments: argparse.Namespace) -> int:
    from ..cohort.label_import import check_target, find_labelled_scans, import_case  # start-up time

    scheme = read_label_scheme(arguments.scheme)
    anatomy = default_anatomy() if arguments.anatomy is None else read_anatomy(arguments.anatomy)
    scheme.lookup(anatomy)
    if not arguments.folder.is_dir():
        raise ConfigurationError(f"'{arguments.folder}' is no folder; give that of the data set.")
    scans = find_labelled_scans(arguments.folder, scheme)
    check_target(scans, arguments.out)
    imported = 0
    for scan in scans:
        try:
            landmarks = import_case(scan, scheme, anatomy, arguments.out)
        except (AnnotationError, VolumeError) as problem:
            print(f"error: {scan.case}: {problem}", file=sys.stderr, flush=True)
            continue
        imported += 1
        placed = sum(estimate.position is not None for estimate in landmarks)
        by_rule = sum(estimate.by_rule for estimate in landmarks)
        print(f"{scan.case} (patient {scan.patient}): {placed} landmarks, {by_rule} of them by rule", flush=True)
    print(f"{imported} of {len(scans)} scans are cases of '{arguments.out}'; check tells what each landmark rests on.")
    if imported == 0:
        return ExitCode.FAILED
    return ExitCode.DELIVERED if imported == len(scans) else ExitCode.PARTLY_FAILED
