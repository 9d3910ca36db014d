"""A scan handed to a child process as a temporary file, together with the place for the results made from it.

The file is plain NRRD, straight from the caller's voxels: 3D Slicer's own process uses this.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..core.errors import OutputError
from ..core.volume import Grid, Volume
from ..files.nrrd_file import write_plain_nrrd
from ..files.result_folders import safe_name
from .temporary_folders import SCAN, make_owned_folder

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
            self.folder = make_owned_folder(SCAN, parent)
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
