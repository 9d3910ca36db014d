"""The Python interpreter for child processes."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import slicer


def pythonExecutable() -> str:
    """Slicer's own Python for the command line (PythonSlicer), which knows Slicer's packages.

    Slicer puts its folder on the PATH; where that was changed it lies in `bin` of Slicer's home. A Python outside
    Slicer (the tests) is its own interpreter.
    """
    found = shutil.which("PythonSlicer")
    if found is not None:
        return found
    for name in ("PythonSlicer", "PythonSlicer.exe"):
        path = Path(slicer.app.slicerHome) / "bin" / name
        if path.is_file():
            return str(path)
    return sys.executable
