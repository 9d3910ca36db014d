"""`cowlandmarks info`: a model card, or what the program understands of a scan."""

from __future__ import annotations

import argparse
from typing import Any

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
    info.add_argument("--json-progress", action="store_true", help="the text as one JSON event on standard output")
    add_debug(info)
    info.set_defaults(run=_info)


def _info(arguments: argparse.Namespace, events: EventSink, *_: object) -> int:
    from .description import describe_model, describe_scan  # start-up time

    if arguments.path.suffix == ".pt":
        from ..detect.model import load_model  # start-up time

        text = describe_model(load_model(arguments.path), arguments.path.stat().st_size)
    else:
        from ..io.volume_io import read_scan  # start-up time

        text = describe_scan(read_scan(arguments.path, arguments.series))
    if arguments.json_progress:
        events(Event(EventKind.RESULT, text, fraction=1.0))
    else:
        print(text)
    return ExitCode.DELIVERED
