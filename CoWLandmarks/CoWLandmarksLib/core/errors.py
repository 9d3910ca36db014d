"""The exceptions a user may see; every message says what is wrong, with which file, and what to do."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from pathlib import Path

_LONGEST_PATH = 300
_MEMORY_MESSAGES = (
    "out of memory",
    "alloc_failed",
    "not_initialized",
    "can't allocate memory",
    "not enough memory",
)


def short_path(path: Path) -> str:
    """A path as sentences show it: very long ones without their middle."""
    text = str(path)
    half = _LONGEST_PATH // 2
    return text if len(text) <= _LONGEST_PATH else f"{text[:half]}...{text[-half:]}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether more memory was asked for than there is: Python, or torch, cuDNN, cuBLAS or Apple's backend."""
    if isinstance(error, MemoryError):
        return True
    message = str(error).lower()
    return isinstance(error, RuntimeError) and any(known in message for known in _MEMORY_MESSAGES)


class ExitCode(IntEnum):
    """What both command lines return."""

    DELIVERED = 0
    FAILED = 1
    """Nothing was delivered, or the usage was wrong."""
    PARTLY_FAILED = 2
    NOT_TO_BE_TRUSTED = 3
    """All was delivered, but at least one scan carries the verdict 'do not trust'."""
    RESUMABLE = 75
    """A training was stopped with a checkpoint; the same command with --resume goes on."""


class CoWLandmarksError(Exception):
    """Base of all errors that are reported to the user as one sentence."""


class VolumeError(CoWLandmarksError):
    """A scan cannot be read or cannot be used."""


class ModelError(CoWLandmarksError):
    """A model file is missing, damaged, foreign or of another format version."""


class AnnotationError(CoWLandmarksError):
    """A landmark annotation cannot be read or written."""


class OutputError(CoWLandmarksError):
    """Results cannot be written where they were asked for."""


class StoppedError(CoWLandmarksError):
    """Long work was asked to stop; what is needed to go on later was saved."""


class JobError(CoWLandmarksError):
    """Work in a child process cannot be started or followed."""


class ConfigurationError(CoWLandmarksError):
    """An option or a configuration value is wrong."""


def unexpected_problem(error: Exception, stopped: str = "the program") -> str:
    """One sentence about an error that nobody foresaw; `stopped` says what it ended."""
    detail = " ".join(str(error).split())[:200]
    what = f"An unexpected problem stopped {stopped} ({type(error).__name__}: {detail})"
    if logging.getLogger(__package__).isEnabledFor(logging.DEBUG):
        return f"{what}; please report it with the log, which says where (in 3D Slicer: Help > Report a Bug)."
    return f"{what}; run again with --debug to see where."


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
