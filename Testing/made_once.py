"""Results that several tests look at, made by the first of all processes of a test run that wants them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock


def made_once(shared: Path, name: str, make: Callable[[Path], None]) -> Path:
    """The folder `name` in a folder that all processes of a run share; `make` fills it when it is wanted first.

    Nobody may change what lies in it: a test that has to works on a copy.
    """
    folder, finished = shared / name, shared / f"{name}.finished"
    with FileLock(shared / f"{name}.lock"):
        if not finished.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            finished.touch()
    return folder
