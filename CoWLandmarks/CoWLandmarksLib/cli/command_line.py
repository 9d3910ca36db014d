"""What both command lines share: wrong usage and missing libraries as sentences."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ..core.errors import ConfigurationError

if TYPE_CHECKING:
    from ..core.anatomy import Anatomy
    from ..pipeline.delivery import Delivery


class UsageError(Exception):
    """Wrong usage, as a sentence."""


class Parser(argparse.ArgumentParser):
    """Raises UsageError where argparse would print and leave with exit code 2, which means something else here."""

    def error(self, message: str) -> NoReturn:
        """Raise the message as a UsageError."""
        raise UsageError(f"Wrong usage: {message}; try '{self.prog} --help'.")


def path_argument(text: str) -> Path:
    """A path from the command line; an empty one, which `--out "$UNSET"` gives, would mean the present folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the name is empty")
    return Path(text)


def missing_library(error: ModuleNotFoundError) -> str:
    """One sentence that says what to install."""
    if error.name == "torch":
        return "PyTorch is not installed; run 'pip install torch', or in 3D Slicer install the PyTorch extension."
    return f"The Python library '{error.name}' is not installed; install CoW Landmarks with 'pip install .' again."


def add_series(parser: argparse.ArgumentParser) -> None:
    """Add the option --series."""
    parser.add_argument("--series", metavar="NAME", help="which series of a DICOM folder that holds several")


def add_debug(parser: argparse.ArgumentParser) -> None:
    """Add the option --debug."""
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")


def add_delivery(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which files a result consists of."""
    parser.add_argument("--no-scene", action="store_true", help="do not write scene.mrb")
    parser.add_argument(
        "--surfaces", action="store_true", help="also write the arteries' closed surfaces, for 3D Slicer's panel"
    )
    parser.add_argument(
        "--labels", metavar="SCHEME", help="also write the arteries in the classes of another data set: topcow"
    )
    parser.add_argument("--vtp", action="store_true", help="also write centrelines with radii, for VMTK and 3D Slicer")
    parser.add_argument(
        "--dicom",
        action="store_true",
        help="also write DICOM objects that refer to the DICOM series of the scan: a structured report of the "
        "landmarks and a segmentation of the arteries; they name the patient as the series does",
    )
    parser.add_argument("--no-pictures", action="store_true", help="do not write report.png")


def chosen_delivery(arguments: argparse.Namespace, anatomy: Anatomy, heatmaps: bool = False) -> Delivery:
    """What the options of `add_delivery` ask for; raises ConfigurationError for what cannot be had."""
    from ..core.label_scheme import read_label_scheme  # start-up time
    from ..pipeline.delivery import Delivery  # start-up time

    scheme = None if arguments.labels is None else read_label_scheme(arguments.labels)
    if scheme is not None:
        scheme.lookup(anatomy)
    if arguments.vtp and importlib.util.find_spec("vtkmodules") is None:
        raise ConfigurationError("--vtp needs the Python library 'vtk', which is not installed; run 'pip install vtk'.")
    if arguments.dicom:
        from ..files.dicom_object import made_now  # start-up time
        from ..files.dicom_source import check_highdicom  # start-up time

        check_highdicom()
        made_now()
    return Delivery(
        anatomy,
        pictures=not arguments.no_pictures,
        scene=not arguments.no_scene,
        heatmaps=heatmaps,
        surfaces=arguments.surfaces,
        centerlines=arguments.vtp,
        labels=scheme,
        dicom=arguments.dicom,
    )


def add_json_progress(parser: argparse.ArgumentParser) -> None:
    """Add the option --json-progress."""
    parser.add_argument("--json-progress", action="store_true", help="one JSON line per event on standard output")
