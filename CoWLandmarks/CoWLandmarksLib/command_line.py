"""What both command lines share: wrong usage and missing libraries as sentences."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import NoReturn


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


def unexpected_problem(error: Exception, stopped: str = "the program") -> str:
    """One sentence about an error that nobody foresaw; `stopped` says what it ended."""
    detail = " ".join(str(error).split())[:200]
    what = f"An unexpected problem stopped {stopped} ({type(error).__name__}: {detail})"
    if logging.getLogger(__package__).isEnabledFor(logging.DEBUG):
        return f"{what}; please report it with the log, which says where (in 3D Slicer: Help > Report a Bug)."
    return f"{what}; run again with --debug to see where."


def missing_library(error: ModuleNotFoundError) -> str:
    """One sentence that says what to install."""
    if error.name == "torch":
        return "PyTorch is not installed; run 'pip install torch', or in 3D Slicer install the PyTorch extension."
    return f"The Python library '{error.name}' is not installed; install CoW Landmarks with 'pip install .' again."
