"""`cowlandmarks-train phantom`: a synthetic cohort, a sample scan, or a page of random cases."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from CoWLandmarksLib.core.errors import ConfigurationError, ExitCode
from CoWLandmarksLib.core.volume import Modality

from ..config.settings import PHANTOM_VERSION, PHANTOM_VERSIONS
from ..phantom.patterns import ANATOMIES


def add_phantom_command(commands: Any) -> None:
    """Add the sub-parser."""
    phantom = commands.add_parser("phantom", help="write a synthetic cohort of annotated cases")
    phantom.add_argument("--mra", type=_count, default=0, metavar="N", help="number of TOF-MRA cases")
    phantom.add_argument("--cta", type=_count, default=0, metavar="N", help="number of CTA cases")
    phantom.add_argument("--validation", type=_count, default=0, metavar="N", help="validation cases of each modality")
    phantom.add_argument("--test", type=_count, default=0, metavar="N", help="test cases of each modality")
    phantom.add_argument("--seed", type=int, help="another seed gives another cohort (default: 1; --page: 2027)")
    families = ["training", "thin-slice", "routine", "exported", "emergency", "test", "site"]
    phantom.add_argument(
        "--family",
        choices=families,
        default="training",
        help="family of appearances; training (the default) has from version 4 on the four that follow in equal "
        "shares, which version 3 does not know",
    )
    phantom.add_argument(
        "--phantom-version",
        type=int,
        choices=list(PHANTOM_VERSIONS),
        default=PHANTOM_VERSION,
        help=f"default: {PHANTOM_VERSION}, which the model that ships has learnt from",
    )
    phantom.add_argument("--pose", choices=["clinical", "training"], default="clinical", help="distribution of poses")
    phantom.add_argument("--enrich", type=float, default=1.0, metavar="F", help="uncommon variants F times as likely")
    phantom.add_argument(
        "--anatomy",
        choices=list(ANATOMIES),
        default="development",
        help="branch patterns of version 4: held-out has other rates and forms, for tests alone",
    )
    phantom.add_argument(
        "--scenes", action="store_true", help="write a Slicer scene (scene.mrb) for every case as well"
    )
    target = phantom.add_mutually_exclusive_group(required=True)
    target.add_argument("--out", type=Path, metavar="DIR", help="folder for the cohort; made if needed")
    target.add_argument("--sample", type=Path, metavar="FILE.nii.gz", help="only write a plain sample scan")
    phantom.add_argument("--modality", choices=["mra", "cta"], default="mra", help="of the --sample (default: mra)")
    target.add_argument(
        "--variants", type=Path, metavar="FILE.png", help="only draw every variant of version 4 by name"
    )
    target.add_argument(
        "--page",
        type=Path,
        metavar="FILE.png",
        help="only draw a page of 24 random cases, or of --mra and --cta",
    )
    target.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="only render training cases, with one thread, into the folder phantoms of a training, which may run "
        "meanwhile; what is there already is left alone",
    )
    phantom.add_argument("--count", type=_count, default=1600, metavar="N", help="cases of --cache (default: 1600)")
    phantom.add_argument(
        "--only", choices=["head", "circle"], help="of --cache: coarse and fine cases alone, or those of the circle"
    )
    phantom.add_argument("--beside", type=Path, metavar="SCAN", help="with --page: show this scan first")
    phantom.set_defaults(run=_phantom)


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is negative")
    return value


def _phantom(arguments: argparse.Namespace) -> int:
    from ..phantom.appearance import Family  # start-up time
    from ..phantom.phantom_cohort import CohortPlan, make_sample, write_cohort  # start-up time

    if arguments.variants:
        _draw_variants(arguments)
        return ExitCode.DELIVERED
    if arguments.sample:
        from CoWLandmarksLib.io.volume_io import write_volume  # start-up time

        write_volume(make_sample(Modality(arguments.modality)).volume, arguments.sample)
        return ExitCode.DELIVERED
    if arguments.page:
        _draw_page(arguments)
        return ExitCode.DELIVERED
    seed = 1 if arguments.seed is None else arguments.seed
    if arguments.cache:
        _fill_cache(arguments, seed)
        return ExitCode.DELIVERED
    plan = CohortPlan(
        seed=seed,
        train={Modality.MRA: arguments.mra, Modality.CTA: arguments.cta},
        validation=arguments.validation,
        test=arguments.test,
        family=Family(arguments.family),
        pose=arguments.pose,
        enrichment=arguments.enrich,
        version=arguments.phantom_version,
        anatomy=arguments.anatomy,
    )
    count = write_cohort(
        plan, arguments.out, with_scenes=arguments.scenes, on_case=lambda name: print(name, flush=True)
    )
    print(f"{count} synthetic cases in '{arguments.out}'.")
    return ExitCode.DELIVERED


def _draw_variants(arguments: argparse.Namespace) -> None:
    """Raises ConfigurationError where the version has no branch patterns."""
    from ..phantom.variant_page import variant_page  # start-up time

    if arguments.phantom_version < 4:
        raise ConfigurationError(
            f"Phantom version {arguments.phantom_version} has no branch patterns to draw; add --phantom-version 4."
        )
    variant_page(ANATOMIES[arguments.anatomy]).write_png(arguments.variants)


def _fill_cache(arguments: argparse.Namespace, seed: int) -> None:
    """Raises ConfigurationError for cases that no training renders."""
    from ..phantom.case_cache import CaseKind, fill  # start-up time

    if (arguments.family, arguments.anatomy) != ("training", "development"):
        raise ConfigurationError(
            "Training cases are of the training family and the development anatomy; leave --family and --anatomy out "
            "with --cache."
        )
    kinds = (CaseKind(arguments.only),) if arguments.only else tuple(CaseKind)
    total = 0
    for there, rendered in fill(arguments.cache, seed, arguments.count, arguments.phantom_version, kinds):
        total += rendered
        if rendered and there % 10 == 0:
            print(f"{there} of {arguments.count} cases", flush=True)
    print(f"{arguments.count} cases are in '{arguments.cache}'; {total} files are new.")


def _draw_page(arguments: argparse.Namespace) -> None:
    from CoWLandmarksLib.io.volume_io import read_volume  # start-up time

    from ..phantom.appearance import Family  # start-up time
    from ..phantom.contact_sheet import CASES, SHEET_SEED, Tile, contact_sheet, random_tiles  # start-up time

    wanted = {Modality.MRA: arguments.mra, Modality.CTA: arguments.cta}
    modalities = tuple(modality for modality in Modality if wanted[modality]) or tuple(Modality)
    tiles = random_tiles(
        SHEET_SEED if arguments.seed is None else arguments.seed,
        sum(wanted.values()) or CASES,
        modalities=modalities,
        family=Family(arguments.family),
        version=arguments.phantom_version,
        anatomy=arguments.anatomy,
    )
    if arguments.beside:
        volume = read_volume(arguments.beside)
        tiles.insert(
            0, Tile("a real scan", volume, volume.modality or Modality.MRA, volume.grid.corners().mean(axis=0))
        )
    contact_sheet(tiles).write_png(arguments.page)
