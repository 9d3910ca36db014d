"""A scan handed to a child process as a temporary file, together with the place for the results made from it.

Writes plain NRRD without SimpleITK, straight from the caller's voxels: 3D Slicer's own process uses this.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .errors import OutputError
from .outputs import safe_name
from .volume import Volume

_TYPES = {
    ("i", 1): "int8",
    ("u", 1): "uint8",
    ("i", 2): "int16",
    ("u", 2): "uint16",
    ("i", 4): "int32",
    ("u", 4): "uint32",
    ("i", 8): "int64",
    ("u", 8): "uint64",
    ("f", 4): "float",
    ("f", 8): "double",
}


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
            self.folder = Path(tempfile.mkdtemp(prefix="cow-landmarks-", dir=parent))
        except OSError as error:
            raise OutputError(
                f"No temporary folder can be made ({error.strerror}); make room on the disk, or choose another "
                "temporary folder in the settings of the application."
            ) from error
        self.path = self.folder / f"{safe_name(volume.name)}.nrrd"

    def write(self) -> None:
        """Write the file unless it stands already; raises OutputError. Takes a while: not for a GUI thread."""
        while self._volume is not None:
            self.state_of_voxels = self._changes()
            write_plain_nrrd(self.path, self._volume)
            if self._changes() == self.state_of_voxels:
                self._volume = None  # a scan that leaves the scene shall leave the memory

    def next_result(self) -> Path:
        """A new folder name for the next result."""
        self._results += 1
        return self.folder / f"result-{self._results}"

    def discard(self) -> None:
        """Remove the folder with everything in it."""
        self._volume = None
        shutil.rmtree(self.folder, ignore_errors=True)


def write_plain_nrrd(path: Path, volume: Volume) -> None:
    """Write a scan as uncompressed NRRD in RAS mm; raises OutputError."""
    voxels = volume.voxels.view(np.uint8) if volume.voxels.dtype == np.bool_ else volume.voxels
    if voxels.dtype == np.float16:
        voxels = voxels.astype(np.float32)
    kind = _TYPES.get((voxels.dtype.kind, voxels.dtype.itemsize))
    if kind is None or voxels.ndim != 3:
        raise OutputError(f"'{volume.name}' holds {voxels.dtype} values in {voxels.ndim} dimensions; give a grey scan.")
    matrix = np.asarray(volume.ijk_to_ras, float)
    vectors = [f"({','.join(repr(float(value)) for value in vector)})" for vector in matrix[:3, :].T]
    header = [
        "NRRD0004",
        f"type: {kind}",
        "dimension: 3",
        "space: right-anterior-superior",
        f"sizes: {' '.join(str(n) for n in voxels.shape[::-1])}",
        f"space directions: {' '.join(vectors[:3])}",
        "kinds: domain domain domain",
        f"endian: {'big' if voxels.dtype.newbyteorder('=').str[0] == '>' else 'little'}",
        "encoding: raw",
        f"space origin: {vectors[3]}",
    ]
    try:
        with path.open("wb") as file:
            file.write(("\n".join(header) + "\n\n").encode("ascii"))
            # Writing a whole buffer leaves other threads in peace, converting it would not.
            file.write(np.ascontiguousarray(voxels, voxels.dtype.newbyteorder("=")).data)
    except OSError as error:
        raise OutputError(
            f"'{path}' cannot be written: {error.strerror or error}; make room on the disk of the temporary folder."
        ) from error
