"""`cowlandmarks arteries`: the arteries of a scan from given landmarks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.anatomy import default_anatomy
from ..core.errors import AnnotationError, ExitCode
from ..files.result_folders import check_free, result_folder, safe_name
from ..jobs.interruption import Interruption
from ..jobs.progress import Event, EventKind, EventSink
from ..pipeline.scan_memory import ScanMemory
from .command_line import add_debug, add_delivery, add_json_progress, add_series, chosen_delivery, path_argument

if TYPE_CHECKING:
    from ..core.anatomy import Anatomy
    from ..core.detection import LandmarkEstimate
    from ..core.volume import Volume


def add_arteries(commands: Any) -> None:
    """Add the sub-parser."""
    arteries = commands.add_parser(
        "arteries",
        help="arteries of a scan from given (corrected) landmarks",
        description="Trace the arteries of a scan between given landmarks; results go to DIR/<name>/.",
    )
    arteries.add_argument("scan", metavar="SCAN", type=path_argument, help="scan file or DICOM folder")
    arteries.add_argument(
        "landmarks",
        metavar="LANDMARKS.mrk.json",
        type=path_argument,
        help="points labelled with their codes, or landmarks.sr.dcm of an earlier result",
    )
    arteries.add_argument("--out", metavar="DIR", type=path_argument, required=True, help="folder for the result")
    arteries.add_argument(
        "--previous",
        metavar="DIR",
        type=path_argument,
        help="earlier result folder of the scan: trace only what has changed",
    )
    arteries.add_argument(
        "--declare",
        metavar="CODE=WHAT",
        action="append",
        default=[],
        help="what you say of an artery: present, absent, a point R,A,S (mm) that it leads through; auto takes it back",
    )
    arteries.add_argument("--modality", choices=["auto", "mra", "cta"], default="auto", help="default: auto")
    add_series(arteries)
    add_delivery(arteries)
    add_json_progress(arteries)
    arteries.add_argument("--force", action="store_true", help="replace an earlier result")
    add_debug(arteries)
    arteries.set_defaults(run=_arteries)


def _arteries(
    arguments: argparse.Namespace, events: EventSink, _: object, interruption: Interruption, memory: ScanMemory
) -> int:
    from ..core.volume import Modality  # start-up time
    from ..files.markups import read_annotation, read_declared  # start-up time
    from ..pipeline.correction import retraced  # start-up time

    anatomy = default_anatomy()
    delivery = chosen_delivery(arguments, anatomy)
    foreign: list[str] = []
    landmarks = read_annotation(arguments.landmarks, anatomy, foreign)
    events = interruption.watching(events)
    events(Event(EventKind.STAGE, "reading the scan", "read", 0.0))
    volume = memory.read(arguments.scan, arguments.series)
    volume = replace(volume, name=safe_name(volume.name))
    source = delivery.source_of(arguments.scan, arguments.series)
    _check_places(arguments.landmarks, landmarks, volume, anatomy)
    check_free(arguments.out, volume.name, arguments.force)
    modality = None if arguments.modality == "auto" else Modality(arguments.modality)
    events(Event(EventKind.STAGE, "tracing the arteries", "arteries", 0.2))
    declared = read_declared(arguments.landmarks, anatomy)
    detection, found = retraced(
        volume, landmarks, anatomy, modality, arguments.previous, memory, declared, arguments.declare
    )
    for warning in dict.fromkeys((*foreign, *detection.warnings)):
        events(Event(EventKind.WARNING, warning, scan=volume.name))
    left_alone = interruption.deferred
    with result_folder(arguments.out, volume.name, arguments.force, left_alone) as folder, left_alone():
        events(Event(EventKind.STAGE, "writing the result", "write", 0.7))
        left_out = delivery.write(folder, volume, detection, None, found, source)
    for warning in left_out:
        events(Event(EventKind.WARNING, warning, scan=volume.name))
    message = f"Landmarks {detection.verdict_label}. {found.summary}"
    events(Event(EventKind.RESULT, message, fraction=1.0, path=arguments.out / volume.name, scan=volume.name))
    return ExitCode.DELIVERED


def _check_places(path: Path, landmarks: Sequence[LandmarkEstimate], volume: Volume, anatomy: Anatomy) -> None:
    """Raise AnnotationError when no landmark has a position, or none a position in the scan."""
    import numpy as np  # start-up time

    placed = np.array([estimate.position for estimate in landmarks if estimate.position is not None], float)
    if len(placed) == 0:
        raise AnnotationError(f"'{path}' holds no placed landmark of '{anatomy.name}'; place some of them first.")
    beyond = -float(volume.grid.depth_mm(placed).max())
    if beyond > 0:
        raise AnnotationError(
            f"All points of '{path}' lie outside the scan, {beyond:.0f} mm or more; were they placed on another scan?"
        )
