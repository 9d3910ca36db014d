"""A lock file that only one process holds; the system opens it when that process ends, however it ends."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
"""What systems answer where another process holds the lock."""


@contextmanager
def process_lock(path: Path) -> Iterator[bool]:
    """Yield whether this process holds the lock file `path`, made if needed and removed when the block ends.

    False only where another process (or another block of this one) holds it. True without a lock where there can be
    none: a folder that cannot be written to, or a file system without locks, as some clusters have.
    """
    try:
        file = _locked(path)
    except BlockingIOError:
        yield False
        return
    except OSError:
        yield True
        return
    try:
        yield True
    finally:
        _release(file, path)


def _locked(path: Path) -> int:
    """The open and locked file; raises BlockingIOError where another process holds it, other OSErrors without locks."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(file)
            if _is_at(file, path):
                return file
        except OSError:
            os.close(file)
            raise
        os.close(file)  # whoever held it before has removed it meanwhile


def _lock(file: int) -> None:
    try:
        if sys.platform == "win32":
            import msvcrt  # Windows only

            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl  # optional

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            raise BlockingIOError(error.errno, "held by another process") from error
        raise


def _is_at(file: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file), path.stat())
    return False


def _release(file: int, path: Path) -> None:
    if sys.platform == "win32":  # an open file cannot be removed there, and not either one that another has opened
        os.close(file)
        with suppress(OSError):
            path.unlink()
        return
    with suppress(OSError):
        path.unlink()  # before others can lock it
    os.close(file)
