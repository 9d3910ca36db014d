"""Command line: `cowlandmarks detect`, `arteries`, `export` and `info`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from . import __version__
from .command_line import Parser, UsageError, missing_library, path_argument, unexpected_problem
from .errors import AnnotationError, ConfigurationError, CoWLandmarksError
from .export_commands import add_export
from .interruption import Interruption
from .modality import Modality
from .progress import Event, EventKind, EventSink, JsonLines, terminal_progress
from .scan_memory import ScanMemory

# Nothing above imports torch, so that --help and wrong usage answer at once; commands import what they need.
if TYPE_CHECKING:
    from .anatomy import Anatomy
    from .arteries import ArteryMap
    from .batch import ArteryFinder, LandmarkDetector
    from .detection import Detection, LandmarkEstimate
    from .volume import Volume

SAMPLE_FILE = Path(__file__).parent / "Resources" / "sample_mra.nii.gz"
DELIVERED, FAILED, PARTLY_FAILED = 0, 1, 2

DetectorFactory = Callable[[argparse.Namespace], "tuple[LandmarkDetector, Anatomy]"]
"""Makes the detector that the options ask for, and the landmark set that it finds."""


def main(argv: Sequence[str] | None = None, make_detector: DetectorFactory | None = None) -> int:
    """Run the command line; returns the exit code of Docs/conventions.md (0, 1, 2, 3).

    `make_detector` takes the place of the one that loads a model file. Without `argv` the process is taken to end
    with the call.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    _survive_any_file_name(sys.stdout, sys.stderr)
    events = JsonLines(sys.stdout, sys.stderr) if "--json-progress" in words else terminal_progress(sys.stderr)
    return run(words, events, make_detector or load_detector, last=argv is None)


def run(
    words: Sequence[str],
    events: EventSink,
    make_detector: DetectorFactory,
    memory: ScanMemory | None = None,
    *,
    only_load: bool = False,
    last: bool = False,
) -> int:
    """Run the command line `words`, telling `events`; returns the exit code.

    `memory` keeps the last scan for the next call. `only_load`: make the detector that a `detect` with these words
    would use, and nothing else. `last`: the process ends after this call, so that signals that come after the work
    are ignored.
    """
    try:
        with Interruption(last=last) as interruption:
            arguments = _parser().parse_args(words)
            if arguments.debug:
                logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
            if only_load:
                _made(make_detector, arguments)
                return DELIVERED
            kept = memory or ScanMemory(keeps=False)
            code: int = arguments.run(arguments, events, make_detector, interruption, kept)
        _flush(sys.stdout)
        return code
    except SystemExit as stop:  # --help and --version
        return int(stop.code or 0)
    except UsageError as error:
        events(Event(EventKind.ERROR, str(error)))
    except ModuleNotFoundError as error:
        logging.getLogger(__name__).debug("stopped", exc_info=True)
        events(Event(EventKind.ERROR, missing_library(error)))
    except CoWLandmarksError as error:
        logging.getLogger(__name__).debug("stopped", exc_info=True)
        events(Event(EventKind.ERROR, str(error)))
    except KeyboardInterrupt:
        events(Event(EventKind.ERROR, "Stopped; results of earlier scans stand, and nothing half-written remains."))
    except OSError as error:  # whoever started this and listened is gone, or standard output is full
        _flush(sys.stdout)
        with suppress(OSError):
            sys.stderr.write(
                f"error: The output cannot be written ({error.strerror or error}); the work was stopped.\n"
            )
    except Exception as error:
        logging.getLogger(__name__).debug("stopped", exc_info=True)
        events(Event(EventKind.ERROR, unexpected_problem(error)))
    return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="cowlandmarks", description="Landmarks of the Circle of Willis on MR and CT angiograms.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

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
    _add_series(detect)
    detect.add_argument(
        "--hint", metavar="FILE.mrk.json", type=path_argument, help="3 or more landmarks placed by a person"
    )
    detect.add_argument("--no-arteries", action="store_true", help="landmarks only: do not trace the arteries")
    detect.add_argument(
        "--heatmaps", action="store_true", help="also write what the network saw round uncertain landmarks"
    )
    detect.add_argument("--no-scene", action="store_true", help="do not write scene.mrb")
    detect.add_argument(
        "--surfaces", action="store_true", help="also write the arteries' closed surfaces, for 3D Slicer's panel"
    )
    detect.add_argument("--no-pictures", action="store_true", help="do not write report.png")
    detect.add_argument("--json-progress", action="store_true", help="one JSON line per event on standard output")
    detect.add_argument("--force", action="store_true", help="replace earlier results")
    _add_debug(detect)
    detect.set_defaults(run=_detect)

    arteries = commands.add_parser(
        "arteries",
        help="arteries of a scan from given (corrected) landmarks",
        description="Trace the arteries of a scan between given landmarks; results go to DIR/<name>/.",
    )
    arteries.add_argument("scan", metavar="SCAN", type=path_argument, help="scan file or DICOM folder")
    arteries.add_argument(
        "landmarks", metavar="LANDMARKS.mrk.json", type=path_argument, help="points labelled with their codes"
    )
    arteries.add_argument("--out", metavar="DIR", type=path_argument, required=True, help="folder for the result")
    arteries.add_argument(
        "--previous",
        metavar="DIR",
        type=path_argument,
        help="earlier result folder of the scan: trace only what has changed",
    )
    arteries.add_argument("--modality", choices=["auto", "mra", "cta"], default="auto", help="default: auto")
    _add_series(arteries)
    arteries.add_argument("--no-scene", action="store_true", help="do not write scene.mrb")
    arteries.add_argument(
        "--surfaces", action="store_true", help="also write the arteries' closed surfaces, for 3D Slicer's panel"
    )
    arteries.add_argument("--no-pictures", action="store_true", help="do not write report.png")
    arteries.add_argument("--json-progress", action="store_true", help="one JSON line per event on standard output")
    arteries.add_argument("--force", action="store_true", help="replace an earlier result")
    _add_debug(arteries)
    arteries.set_defaults(run=_arteries)

    add_export(commands)

    info = commands.add_parser(
        "info",
        help="show a model card, or what the program understands of a scan",
        description="Show the card of a model file, or what the program understands of a scan (no patient data).",
    )
    info.add_argument(
        "path", metavar="MODEL-or-SCAN", type=path_argument, help="model file (.pt), scan file or DICOM folder"
    )
    _add_series(info)
    info.add_argument("--json-progress", action="store_true", help="the text as one JSON event on standard output")
    _add_debug(info)
    info.set_defaults(run=_info)
    return parser


def _add_series(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--series", metavar="NAME", help="which series of a DICOM folder that holds several")


def _add_debug(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")


def _detect(
    arguments: argparse.Namespace,
    events: EventSink,
    make_detector: DetectorFactory,
    interruption: Interruption,
    memory: ScanMemory,
) -> int:
    scans = _scans(arguments)
    from .batch import Batch, BatchOptions
    from .delivery import Delivery
    from .outcome import exit_code, overall, summary_table

    detector, anatomy = _made(make_detector, arguments)
    options = BatchOptions(
        out=arguments.out,
        modality=None if arguments.modality == "auto" else Modality(arguments.modality),
        series=arguments.series,
        hint=None if arguments.hint is None else _read_hint(arguments.hint, anatomy, events),
        force=arguments.force,
    )
    delivery = Delivery(
        anatomy,
        pictures=not arguments.no_pictures,
        scene=not arguments.no_scene,
        heatmaps=arguments.heatmaps,
        surfaces=arguments.surfaces,
    )
    batch = Batch(
        detector,
        delivery,
        options,
        interruption.watching(events),
        memory.read,
        uninterrupted=interruption.deferred,
        find_arteries=None if arguments.no_arteries else _artery_finder(anatomy, memory),
    )
    try:
        outcomes = batch.run(scans)
    except KeyboardInterrupt:
        if not any(outcome.delivered for outcome in batch.outcomes):
            raise
        done = f"{overall(batch.outcomes)} before the stop; those results stand, and nothing half-written remains."
        events(Event(EventKind.ERROR, done, path=arguments.out))
        return PARTLY_FAILED
    code = exit_code(outcomes)
    if not arguments.json_progress:
        print(summary_table(outcomes))
    elif len(outcomes) > 1:
        kind = EventKind.ERROR if code == FAILED else EventKind.RESULT
        events(Event(kind, overall(outcomes), fraction=1.0, path=arguments.out))
    return code


def _arteries(
    arguments: argparse.Namespace, events: EventSink, _: object, interruption: Interruption, memory: ScanMemory
) -> int:
    from dataclasses import replace

    from .anatomy import default_anatomy
    from .correction import retraced
    from .delivery import Delivery
    from .markups import read_annotation
    from .outputs import check_free, result_folder, safe_name

    anatomy = default_anatomy()
    foreign: list[str] = []
    landmarks = read_annotation(arguments.landmarks, anatomy, foreign)
    events = interruption.watching(events)
    events(Event(EventKind.STAGE, "reading the scan", "read", 0.0))
    volume = memory.read(arguments.scan, arguments.series)
    volume = replace(volume, name=safe_name(volume.name))
    _check_places(arguments.landmarks, landmarks, volume, anatomy)
    check_free(arguments.out, volume.name, arguments.force)
    modality = None if arguments.modality == "auto" else Modality(arguments.modality)
    events(Event(EventKind.STAGE, "tracing the arteries", "arteries", 0.2))
    detection, found = retraced(volume, landmarks, anatomy, modality, arguments.previous, memory)
    for warning in dict.fromkeys((*foreign, *detection.warnings)):
        events(Event(EventKind.WARNING, warning, scan=volume.name))
    delivery = Delivery(
        anatomy,
        pictures=not arguments.no_pictures,
        scene=not arguments.no_scene,
        surfaces=arguments.surfaces,
    )
    left_alone = interruption.deferred
    with result_folder(arguments.out, volume.name, arguments.force, left_alone) as folder, left_alone():
        events(Event(EventKind.STAGE, "writing the result", "write", 0.7))
        left_out = delivery.write(folder, volume, detection, None, found)
    for warning in left_out:
        events(Event(EventKind.WARNING, warning, scan=volume.name))
    said = f"Landmarks {detection.verdict_word}. {found.summary}"
    events(Event(EventKind.RESULT, said, fraction=1.0, path=arguments.out / volume.name, scan=volume.name))
    return DELIVERED


def _check_places(path: Path, landmarks: Sequence[LandmarkEstimate], volume: Volume, anatomy: Anatomy) -> None:
    """Raise AnnotationError when no landmark has a position, or none a position in the scan."""
    import numpy as np

    placed = np.array([estimate.position for estimate in landmarks if estimate.position is not None], float)
    if len(placed) == 0:
        raise AnnotationError(f"'{path}' holds no placed landmark of '{anatomy.name}'; place some of them first.")
    beyond = -float(volume.grid.depth_mm(placed).max())
    if beyond > 0:
        raise AnnotationError(
            f"All points of '{path}' lie outside the scan, {beyond:.0f} mm or more; were they placed on another scan?"
        )


def _artery_finder(anatomy: Anatomy, memory: ScanMemory) -> ArteryFinder:
    from .arteries_tracer import ArteryTracer

    def find(volume: Volume, detection: Detection) -> ArteryMap:
        tracer = ArteryTracer(volume, detection.modality, anatomy, surroundings=memory.surroundings)
        found = tracer.trace(detection.landmarks)
        memory.surroundings = tracer.surroundings
        return found

    return find


def _made(make_detector: DetectorFactory, arguments: argparse.Namespace) -> tuple[LandmarkDetector, Anatomy]:
    try:
        return make_detector(arguments)
    except (RuntimeError, MemoryError) as error:  # torch reports every trouble of a device as a RuntimeError
        detail = " ".join(str(error).split())[:200] or "out of memory"
        raise ConfigurationError(
            f"The model cannot be used on device '{arguments.device}' ({detail}); try --device cpu."
        ) from error


def _info(arguments: argparse.Namespace, events: EventSink, *_: object) -> int:
    from .info import describe_model, describe_scan

    if arguments.path.suffix == ".pt":
        from .model import load_model

        text = describe_model(load_model(arguments.path), arguments.path.stat().st_size)
    else:
        from .volume import validated
        from .volume_io import read_volume

        text = describe_scan(validated(read_volume(arguments.path, arguments.series)))
    if arguments.json_progress:
        events(Event(EventKind.RESULT, text, fraction=1.0))
    else:
        print(text)
    return DELIVERED


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
    from .detector import Detector
    from .model import DEFAULT_MODEL_FILE, load_model

    model = load_model(arguments.model or DEFAULT_MODEL_FILE)
    return Detector(model, device=arguments.device, decoding=arguments.decoding), model.anatomy


def _read_hint(path: Path, anatomy: Anatomy, events: EventSink) -> dict[str, Any]:
    """RAS mm of the landmarks that a person placed in a markups file, by code; raises ConfigurationError for too few.

    Points that the program found itself do not count: they would only confirm what it thought before.
    """
    import numpy as np

    from .detector import MIN_HINTS
    from .markups import read_annotation, read_placed_by_person

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


def _flush(stream: TextIO) -> None:
    """Write out what waits; where nobody takes it any more (`| head`, full disk) drop it, the results stand."""
    try:
        stream.flush()
    except OSError:
        # Without this the interpreter would try again at exit and complain with a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _survive_any_file_name(*streams: TextIO) -> None:
    for stream in streams:
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    sys.exit(main())
