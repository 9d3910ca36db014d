"""What both command lines share: wrong usage and missing libraries as sentences."""

from __future__ import annotations

import argparse
from typing import NoReturn


class UsageError(Exception):
    """Wrong usage, as a sentence."""


class Parser(argparse.ArgumentParser):
    """Raises UsageError where argparse would print and leave with exit code 2, which means something else here."""

    def error(self, message: str) -> NoReturn:
        """Raise the message as a UsageError."""
        raise UsageError(f"{message} (try '{self.prog} --help')")


def missing_library(error: ModuleNotFoundError) -> str:
    """One sentence that says what to install."""
    if error.name == "torch":
        return "PyTorch is not installed; run 'pip install torch', or in 3D Slicer install the PyTorch extension."
    return f"The Python library '{error.name}' is not installed; install CoW Landmarks with 'pip install .' again."
