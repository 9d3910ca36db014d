"""Keeps what libraries in C and C++ write to standard error from the people who run the program."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def libraries_silenced() -> Iterator[None]:
    """Nothing that is written to the process's standard error inside the block appears.

    ITK, MetaIO, niftilib and VNL describe damaged files there, over many lines, before they raise; what they raise
    is put into one sentence elsewhere. Where there is no standard error (windowed programs) nothing is done.
    """
    with suppress(AttributeError, ValueError, OSError):
        sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:
        yield
        return
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
