"""`cowlandmarks detect`: the landmarks of one or several scans."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import ConfigurationError, ExitCode
from ..jobs.interruption import Interruption
from ..jobs.progress import Event, EventKind, EventSink
from ..pipeline.scan_memory import ScanMemory
from .command_line import (
    UsageError,
    add_debug,
    add_delivery,
    add_json_progress,
    add_series,
    chosen_delivery,
    path_argument,
)
from .run_options import add_run_options, doubts_about_settings

if TYPE_CHECKING:
    from ..core.anatomy import Anatomy
    from ..core.artery_map import ArteryMap
    from ..core.detection import Detection
    from ..core.volume import Volume
    from ..pipeline.batch import ArteryFinder, BatchOptions, LandmarkDetector, ScanBatch
    from ..pipeline.outcome import ScanOutcome
    from .batch_run import BatchRun

SAMPLE_FILE = Path(__file__).parent.parent / "Resources" / "sample_mra.nii.gz"


DetectorFactory = Callable[[argparse.Namespace], "tuple[LandmarkDetector, Anatomy]"]
"""Makes the detector that the options ask for, and the landmark set that it finds."""


def add_detect(commands: Any, settings: Path | None = None) -> None:
    """Add the sub-parser; the options in a file of `settings` become its defaults."""
    detect = commands.add_parser(
        "detect",
        help="find the landmarks of one or several scans",
        description="Find the landmarks of scans (NIfTI, NRRD, MetaImage, DICOM folder); results go to DIR/<name>/.",
        epilog="Exit codes: 0 all delivered, 1 nothing delivered or wrong usage, 2 some scans failed, "
        "3 delivered but at least one scan carries the verdict 'do not trust'.",
    )
    detect.add_argument("scans", metavar="SCAN", type=path_argument, nargs="*", help="scan file or DICOM folder")
    detect.add_argument("--sample", action="store_true", help="use the sample that comes with the program as SCAN")
    detect.add_argument(
        "--out", metavar="DIR", type=path_argument, required=True, help="folder for the results; made if needed"
    )
    detect.add_argument(
        "--model", metavar="FILE", type=path_argument, help="model file (default: the one that is shipped)"
    )
    detect.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], default="auto", help="default: auto")
    detect.add_argument("--decoding", choices=["subvoxel", "argmax"], default="subvoxel", help="default: subvoxel")
    detect.add_argument("--modality", choices=["auto", "mra", "cta"], default="auto", help="default: auto (recognised)")
    add_series(detect)
    detect.add_argument(
        "--hint", metavar="FILE.mrk.json", type=path_argument, help="3 or more landmarks placed by a person"
    )
    detect.add_argument("--no-arteries", action="store_true", help="landmarks only: do not trace the arteries")
    detect.add_argument(
        "--heatmaps", action="store_true", help="also write what the network saw round uncertain landmarks"
    )
    add_delivery(detect)
    add_json_progress(detect)
    detect.add_argument("--force", action="store_true", help="replace earlier results")
    add_debug(detect)
    add_run_options(detect, settings)
    detect.set_defaults(run=_detect)


def _detect(
    arguments: argparse.Namespace,
    events: EventSink,
    make_detector: DetectorFactory,
    interruption: Interruption,
    memory: ScanMemory,
) -> int:
    scans = _scans(arguments)
    if arguments.no_arteries and (arguments.labels is not None or arguments.vtp):
        raise UsageError("--labels and --vtp are of the arteries; leave out --no-arteries.")
    for doubt in doubts_about_settings(arguments):
        events(Event(EventKind.WARNING, doubt))
    from ..pipeline.batch import ScanBatch  # start-up time
    from .batch_run import batch_run  # start-up time

    detector, anatomy = made_detector(make_detector, arguments)
    delivery = chosen_delivery(arguments, anatomy, arguments.heatmaps)
    options = _batch_options(arguments, anatomy, events)
    with batch_run(arguments, scans, anatomy) as run:
        batch = ScanBatch(
            detector,
            delivery,
            options,
            interruption.watching(events),
            memory.read,
            uninterrupted=interruption.deferred,
            find_arteries=None if arguments.no_arteries else _artery_finder(anatomy, memory),
            layout=run.layout,
            records=run.records,
        )
        return _worked_through(batch, run, arguments, events, interruption)


def _worked_through(
    batch: ScanBatch, run: BatchRun, arguments: argparse.Namespace, events: EventSink, interruption: Interruption
) -> ExitCode:
    """Run the batch and say what became of it; after an interrupt, what stands by then."""
    from ..pipeline.outcome import overall  # start-up time

    try:
        outcomes = batch.run(run.scans, run.part)
        with interruption.deferred():
            run.finish()
    except KeyboardInterrupt:
        if not any(outcome.delivered for outcome in batch.outcomes):
            raise
        run.finish()
        done = f"{overall(batch.outcomes)} before the stop; those results stand, and nothing half-written remains."
        events(Event(EventKind.ERROR, done, path=arguments.out))
        return ExitCode.PARTLY_FAILED
    return _report(arguments, events, outcomes)


def _batch_options(arguments: argparse.Namespace, anatomy: Anatomy, events: EventSink) -> BatchOptions:
    from ..core.volume import Modality  # start-up time
    from ..pipeline.batch import BatchOptions  # start-up time

    return BatchOptions(
        out=arguments.out,
        modality=None if arguments.modality == "auto" else Modality(arguments.modality),
        series=arguments.series,
        hint=None if arguments.hint is None else _read_hint(arguments.hint, anatomy, events),
        force=arguments.force,
    )


def _report(arguments: argparse.Namespace, events: EventSink, outcomes: Sequence[ScanOutcome]) -> ExitCode:
    """Say what became of the scans; returns the exit code. Where there are more shards than scans, some have none."""
    from ..pipeline.outcome import exit_code, overall, summary_table  # start-up time

    code = exit_code(outcomes) if outcomes else ExitCode.DELIVERED
    if outcomes and not arguments.json_progress:
        print(summary_table(outcomes))
    elif len(outcomes) != 1:
        kind = EventKind.ERROR if code == ExitCode.FAILED else EventKind.RESULT
        events(Event(kind, overall(outcomes), fraction=1.0, path=arguments.out))
    return code


def _artery_finder(anatomy: Anatomy, memory: ScanMemory) -> ArteryFinder:
    from ..pipeline.traced_detection import traced_detection  # start-up time

    def find(volume: Volume, detection: Detection) -> tuple[Detection, ArteryMap]:
        return traced_detection(volume, detection, anatomy, memory)

    return find


def made_detector(make_detector: DetectorFactory, arguments: argparse.Namespace) -> tuple[LandmarkDetector, Anatomy]:
    """What `make_detector` makes; trouble of the device becomes a ConfigurationError."""
    try:
        return make_detector(arguments)
    except (RuntimeError, MemoryError) as error:  # torch reports every trouble of a device as a RuntimeError
        detail = " ".join(str(error).split())[:200] or "out of memory"
        raise ConfigurationError(
            f"The model cannot be used on device '{arguments.device}' ({detail}); try --device cpu."
        ) from error


def _scans(arguments: argparse.Namespace) -> list[Path]:
    scans: list[Path] = list(arguments.scans)
    if arguments.sample:
        if scans:
            raise UsageError("--sample takes the place of SCAN; give one of the two.")
        if not SAMPLE_FILE.is_file():
            raise ConfigurationError("This installation holds no sample scan; give a SCAN instead of --sample.")
        return [SAMPLE_FILE]
    if not scans:
        raise UsageError("no SCAN is given; name at least one scan, or use --sample.")
    if arguments.hint is not None and len(scans) > 1:
        raise UsageError("--hint holds the points of one scan; give a single SCAN with it.")
    return scans


def load_detector(arguments: argparse.Namespace) -> tuple[LandmarkDetector, Anatomy]:
    """The detector of the model file that the options name, and its landmark set."""
    from ..detect.detector import Detector  # start-up time
    from ..detect.model import DEFAULT_MODEL_FILE, load_model  # start-up time

    model = load_model(arguments.model or DEFAULT_MODEL_FILE)
    return Detector(model, device=arguments.device, decoding=arguments.decoding), model.anatomy


def _read_hint(path: Path, anatomy: Anatomy, events: EventSink) -> dict[str, Any]:
    """RAS mm of the landmarks that a person placed in a markups file, by code; raises ConfigurationError for too few.

    Points that the program found itself do not count: they would only confirm what it thought before.
    """
    import numpy as np  # start-up time

    from ..detect.hint import MIN_HINTS  # start-up time
    from ..files.markups import read_annotation, read_placed_by_person  # start-up time

    foreign: list[str] = []
    chosen = read_placed_by_person(path, anatomy, foreign)
    placed = sum(estimate.position is not None for estimate in read_annotation(path, anatomy, []))
    for warning in foreign:
        events(Event(EventKind.WARNING, warning))
    if len(chosen) < MIN_HINTS:
        left_out = (
            f" ({placed - len(chosen)} others were found by the program; write corrected=1 or reviewed=1 into the "
            "description of those you moved or checked)"
            if placed > len(chosen)
            else ""
        )
        raise ConfigurationError(
            f"'{path}' holds {len(chosen)} landmarks of '{anatomy.name}' placed by a person{left_out}; "
            f"a hint needs {MIN_HINTS} or more."
        )
    if placed > len(chosen):
        counted = (
            f"{len(chosen)} of the {placed} points of '{path}' were placed by a person; only they are used as hint."
        )
        events(Event(EventKind.WARNING, counted))
    return {estimate.code: np.array(estimate.position, float) for estimate in chosen}
