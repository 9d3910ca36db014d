"""Command line of the training library: from annotated scans, or phantoms, to a model."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from CoWLandmarksLib import __version__
from CoWLandmarksLib.command_line import Parser, UsageError, missing_library
from CoWLandmarksLib.errors import CoWLandmarksError, StoppedError, is_out_of_memory

from .cohort_commands import add_cohort_commands
from .run_command import add_run_command
from .training_commands import add_training_commands

DELIVERED, FAILED, RESUMABLE = 0, 1, 75


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code of Docs/conventions.md.

    0 all delivered, 1 nothing or wrong usage, 2 some cases failed, 75 stopped with a checkpoint to resume from.
    """
    try:
        arguments = _parser().parse_args(argv)
        code: int = arguments.run(arguments)
        return code
    except SystemExit as stop:  # --help and --version
        return int(stop.code or 0)
    except StoppedError as stopped:
        print(f"stopped: {stopped}", file=sys.stderr)
        return RESUMABLE
    except (UsageError, CoWLandmarksError) as error:
        sentence = str(error)
    except ModuleNotFoundError as error:
        sentence = missing_library(error)
    except OSError as error:
        place = f"'{error.filename}'" if error.filename else "A file"
        sentence = f"{place} cannot be used ({error.strerror or error}); check the place and its permissions."
    except KeyboardInterrupt:
        sentence = "Stopped before all was delivered."
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        sentence = "The memory is full; close other programs, or use a smaller batch, smaller crops or fewer processes."
    print(f"error: {sentence}", file=sys.stderr)
    return FAILED


class _StopRequest:
    """Turns Ctrl-C and a scheduler's SIGTERM into a request that training heeds between two steps."""

    def __init__(self) -> None:
        self.made = False

    def __enter__(self) -> _StopRequest:
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, *_: object) -> None:
        if self.made:
            raise KeyboardInterrupt
        self.made = True


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="cowlandmarks-train",
        description="Synthetic cohorts and training for CoW Landmarks. Research use only; not a medical device.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    phantom = commands.add_parser("phantom", help="write a synthetic cohort of annotated cases")
    phantom.add_argument("--mra", type=_count, default=0, metavar="N", help="number of TOF-MRA cases")
    phantom.add_argument("--cta", type=_count, default=0, metavar="N", help="number of CTA cases")
    phantom.add_argument("--validation", type=_count, default=0, metavar="N", help="validation cases of each modality")
    phantom.add_argument("--test", type=_count, default=0, metavar="N", help="test cases of each modality")
    phantom.add_argument("--seed", type=int, default=1, help="another seed gives another cohort (default: 1)")
    families = ["training", "test", "site"]
    phantom.add_argument("--family", choices=families, default="training", help="family of appearances")
    phantom.add_argument("--pose", choices=["clinical", "training"], default="clinical", help="distribution of poses")
    phantom.add_argument("--enrich", type=float, default=1.0, metavar="F", help="uncommon variants F times as likely")
    phantom.add_argument(
        "--scenes", action="store_true", help="write a Slicer scene (scene.mrb) for every case as well"
    )
    target = phantom.add_mutually_exclusive_group(required=True)
    target.add_argument("--out", type=Path, metavar="DIR", help="folder for the cohort; made if needed")
    target.add_argument("--sample", type=Path, metavar="FILE.nii.gz", help="only write a plain sample scan")
    phantom.add_argument("--modality", choices=["mra", "cta"], default="mra", help="of the --sample (default: mra)")
    target.add_argument("--page", type=Path, metavar="FILE.png", help="only draw a page of 24 random cases")
    phantom.add_argument("--beside", type=Path, metavar="SCAN", help="with --page: show this scan first")
    phantom.set_defaults(run=_phantom)

    add_cohort_commands(commands, _StopRequest)
    add_training_commands(commands, _StopRequest)
    add_run_command(commands, main)
    return parser


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is negative")
    return value


def _phantom(arguments: argparse.Namespace) -> int:
    from CoWLandmarksLib.modality import Modality

    from .phantom.appearance import Family
    from .phantom.cohort import CohortPlan, make_sample, write_cohort

    if arguments.sample:
        from CoWLandmarksLib.volume_io import write_volume

        write_volume(make_sample(Modality(arguments.modality)).volume, arguments.sample)
        return DELIVERED
    if arguments.page:
        _draw_page(arguments.page, arguments.beside)
        return DELIVERED
    plan = CohortPlan(
        seed=arguments.seed,
        train={Modality.MRA: arguments.mra, Modality.CTA: arguments.cta},
        validation=arguments.validation,
        test=arguments.test,
        family=Family(arguments.family),
        pose=arguments.pose,
        enrichment=arguments.enrich,
    )
    count = write_cohort(
        plan, arguments.out, with_scenes=arguments.scenes, on_case=lambda name: print(name, flush=True)
    )
    print(f"{count} synthetic cases in '{arguments.out}'.")
    return DELIVERED


def _draw_page(path: Path, beside: Path | None) -> None:
    from CoWLandmarksLib.modality import Modality
    from CoWLandmarksLib.volume_io import read_volume

    from .phantom.contact_sheet import Tile, contact_sheet, random_tiles

    tiles = random_tiles()
    if beside:
        volume = read_volume(beside)
        tiles.insert(
            0, Tile("a real scan", volume, volume.modality or Modality.MRA, volume.grid.corners().mean(axis=0))
        )
    contact_sheet(tiles).write_png(path)


if __name__ == "__main__":
    sys.exit(main())
