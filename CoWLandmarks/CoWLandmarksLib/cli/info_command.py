"""`cowlandmarks info`: a model card, or what the program understands of a scan."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ..core.atomic_files import plain
from ..core.errors import ExitCode
from ..jobs.progress import Event, EventKind, EventSink
from .command_line import add_debug, add_series, path_argument


def add_info(commands: Any) -> None:
    """Add the sub-parser."""
    info = commands.add_parser(
        "info",
        help="show a model card, or what the program understands of a scan",
        description="Show the model card of a model file, or what the program understands of a scan (no patient data).",
    )
    info.add_argument(
        "path", metavar="MODEL-or-SCAN", type=path_argument, help="model file (.pt), scan file or DICOM folder"
    )
    add_series(info)
    form = info.add_mutually_exclusive_group()
    form.add_argument("--json-progress", action="store_true", help="the text as one JSON event on standard output")
    form.add_argument("--json", action="store_true", help="the facts as one JSON object on standard output")
    add_debug(info)
    info.set_defaults(run=_info)


def _info(arguments: argparse.Namespace, events: EventSink, *_: object) -> int:
    from .description import describe_model, describe_scan, model_facts, scan_facts  # start-up time

    path = arguments.path
    if path.suffix == ".pt":
        from ..detect.model import load_model  # start-up time
        from ..files.result_record import file_sha256  # start-up time

        model, size = load_model(path), path.stat().st_size
        found = model_facts(model, size, file_sha256(path)) if arguments.json else describe_model(model, size)
    else:
        from ..io.scan_hash import scan_sha256  # start-up time
        from ..io.volume_io import read_scan  # start-up time

        volume = read_scan(path, arguments.series)
        found = scan_facts(volume, scan_sha256(path)) if arguments.json else describe_scan(volume)
    if isinstance(found, dict):
        print(json.dumps(plain(found), indent=1))
    elif arguments.json_progress:
        events(Event(EventKind.RESULT, found, fraction=1.0))
    else:
        print(found)
    return ExitCode.DELIVERED
