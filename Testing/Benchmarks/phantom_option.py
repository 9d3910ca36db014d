"""The option of benchmarks that make phantoms: of which version."""

from __future__ import annotations

import argparse

from CoWLandmarksTrainingLib.config.settings import PHANTOM_VERSION, PHANTOM_VERSIONS


def add_phantom_version(parser: argparse.ArgumentParser) -> None:
    """Add --phantom-version, as the commands have it."""
    parser.add_argument(
        "--phantom-version",
        type=int,
        choices=list(PHANTOM_VERSIONS),
        default=PHANTOM_VERSION,
        help=f"3 makes the tables again that were made with phantom 3 (default: {PHANTOM_VERSION})",
    )
