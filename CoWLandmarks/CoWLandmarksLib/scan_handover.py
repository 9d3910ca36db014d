"""A scan handed to a child process as a temporary file, together with the place for the results made from it.

The file is plain NRRD, straight from the caller's voxels: 3D Slicer's own process uses this. Each folder says which
process it belongs to, so that what a killed one left behind (scans of patients) can be removed later.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from .errors import OutputError
from .nrrd_file import write_plain_nrrd
from .outputs import safe_name
from .process_identity import still_lives, this_process
from .volume import Grid, Volume

OWNER_FILE = "owner.json"
OWNER_SCHEMA = "cow-handover/1"
MOST_DAYS = 7.0
"""A folder in which nothing changed for so long goes, where nobody can tell whether its process lives."""
_PREFIX = "cow-landmarks-"
_FOLDER_NAME = re.compile(_PREFIX + r"[a-z0-9_]{8}")
_CONTENT = re.compile(r"owner.*\.json|.+\.nrrd|hint\.mrk\.json|\.?result-.+")
"""What earlier versions, which did not write the owner, put into such a folder."""
_MOST_WRITES = 5


def _unchanged() -> int:
    return 0


class ScanHandover:
    """The file of a scan, in a folder of its own below `parent` that holds the results, too, until `discard`.

    The voxels are not copied: `changes` returns a number that grows when they change, and the file is written again
    if that happens meanwhile. Use from one thread at a time.
    """

    def __init__(self, volume: Volume, parent: Path | None = None, changes: Callable[[], int] = _unchanged) -> None:
        self._volume: Volume | None = volume
        self._changes = changes
        self._results = 0
        self.state_of_voxels = changes()
        self.grid = volume.grid
        try:
            self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            owner = {"schema": OWNER_SCHEMA, **this_process()}
            (self.folder / OWNER_FILE).write_text(json.dumps(owner), encoding="utf-8")
        except OSError as error:
            raise OutputError(
                f"No temporary folder can be made ({error.strerror}); make room on the disk, or choose another "
                "temporary folder in the settings of the application."
            ) from error
        self.path = self.folder / f"{safe_name(volume.name)}.nrrd"

    def write(self) -> None:
        """Write the file unless it stands already; raises OutputError. Takes a while: not for a GUI thread."""
        for _ in range(_MOST_WRITES):
            if self._volume is None:
                return
            self.state_of_voxels = self._changes()
            write_plain_nrrd(self.path, self._volume)
            if self._changes() == self.state_of_voxels:
                self._volume = None  # a scan that leaves the scene shall leave the memory
        if self._volume is not None:
            raise OutputError(f"The voxels of '{self._volume.name}' keep changing; try again when they are at rest.")

    def still_shows(self, grid: Grid, changes: int) -> bool:
        """Whether the file is that of a scan with this geometry and this number of changes."""
        same_grid = grid.shape == self.grid.shape and np.array_equal(grid.ijk_to_ras, self.grid.ijk_to_ras)
        return same_grid and changes == self.state_of_voxels

    def next_result(self) -> Path:
        """A new folder name for the next result."""
        self._results += 1
        return self.folder / f"result-{self._results}"

    def discard(self) -> None:
        """Remove the folder with everything in it."""
        self._volume = None
        shutil.rmtree(self.folder, ignore_errors=True)


def remove_orphans(parent: Path, now: float | None = None) -> list[Path]:
    """Remove the folders below `parent` whose process is gone without having removed them; returns those.

    Where that cannot be told (another computer, a folder of an earlier version) those go in which nothing changed for
    MOST_DAYS. Folders of living processes, of other users, and whatever is not ours, stay. Raises nothing.
    """
    removed = []
    for folder in _folders(parent):
        lives = still_lives(_owner(folder))
        if lives is None:
            lives = _newest(folder) > (time.time() if now is None else now) - MOST_DAYS * 86400.0
        if not lives:
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder)
    return removed


def _folders(parent: Path) -> list[Path]:
    """Hand-over folders of this user."""
    found = []
    with suppress(OSError):
        for folder in sorted(parent.iterdir()):
            with suppress(OSError):
                if _FOLDER_NAME.fullmatch(folder.name) and not folder.is_symlink() and _is_ours(folder):
                    found.append(folder)
    return found


def _is_ours(folder: Path) -> bool:
    if not folder.is_dir() or (hasattr(os, "getuid") and folder.stat().st_uid != os.getuid()):
        return False
    return bool(_owner(folder)) or all(_CONTENT.fullmatch(path.name) for path in folder.iterdir())


def _owner(folder: Path) -> dict[str, Any]:
    """What the owner file says; empty where there is none that can be read."""
    try:
        content = json.loads((folder / OWNER_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and content.get("schema") == OWNER_SCHEMA else {}


def _newest(folder: Path) -> float:
    """When something changed in a folder, in seconds since 1970."""
    newest = 0.0
    with suppress(OSError):  # somebody else may be removing it
        for path in (folder, *folder.iterdir()):
            newest = max(newest, path.stat().st_mtime)
    return newest
