"""`cowlandmarks-train phantom`: a synthetic cohort, a sample scan, or a page of random cases."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from CoWLandmarksLib.core.errors import ExitCode


def add_phantom_command(commands: Any) -> None:
    """Add the sub-parser."""
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


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is negative")
    return value


def _phantom(arguments: argparse.Namespace) -> int:
    from CoWLandmarksLib.core.volume import Modality  # start-up time

    from ..phantom.appearance import Family  # start-up time
    from ..phantom.phantom_cohort import CohortPlan, make_sample, write_cohort  # start-up time

    if arguments.sample:
        from CoWLandmarksLib.io.volume_io import write_volume  # start-up time

        write_volume(make_sample(Modality(arguments.modality)).volume, arguments.sample)
        return ExitCode.DELIVERED
    if arguments.page:
        _draw_page(arguments.page, arguments.beside)
        return ExitCode.DELIVERED
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
    return ExitCode.DELIVERED


def _draw_page(path: Path, beside: Path | None) -> None:
    from CoWLandmarksLib.core.volume import Modality  # start-up time
    from CoWLandmarksLib.io.volume_io import read_volume  # start-up time

    from ..phantom.contact_sheet import Tile, contact_sheet, random_tiles  # start-up time

    tiles = random_tiles()
    if beside:
        volume = read_volume(beside)
        tiles.insert(
            0, Tile("a real scan", volume, volume.modality or Modality.MRA, volume.grid.corners().mean(axis=0))
        )
    contact_sheet(tiles).write_png(path)
