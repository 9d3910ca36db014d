"""What a process that does one job after the other keeps of the last scan, so that a correction is quick."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

# Nothing heavy is imported before a scan is read: the worker shall listen at once.
if TYPE_CHECKING:
    from ..arteries.surroundings import Surroundings
    from ..core.volume import Volume

_WHOLE_SCANS = (".nii", ".nii.gz", ".nrrd", ".mha")


class ScanMemory:
    """Reads scans and keeps the last one, with what was made ready for tracing in it, while its file stays the same.

    Only files that hold the whole scan are kept, not DICOM series or headers with data beside them, whose change would
    go unnoticed. `surroundings` belongs to the scan that was read last and may be set by whoever traces in it. With
    `keeps` false nothing is kept beyond the next reading.
    """

    def __init__(self, *, keeps: bool = True) -> None:
        self._keeps = keeps
        self._identity: tuple[object, ...] | None = None
        self._volume: Volume | None = None
        self.surroundings: Surroundings | None = None

    def read(self, path: Path, series: str | None = None) -> Volume:
        """The validated scan of a file or DICOM folder; raises VolumeError."""
        from ..io.volume_io import read_scan  # start-up time

        identity = _identity(path) if self._keeps else None
        if identity is not None and identity == self._identity and self._volume is not None:
            return self._volume
        self._identity = self._volume = self.surroundings = None  # not two scans in memory at once
        volume = read_scan(path, series)
        if identity is not None and identity == _identity(path):  # not written to meanwhile
            self._identity, self._volume = identity, volume
        return volume


def _identity(path: Path) -> tuple[object, ...] | None:
    """Place, time of change and size of a file; None where that does not tell whether the scan is the same."""
    if not path.name.lower().endswith(_WHOLE_SCANS):
        return None
    try:
        state = path.stat()
        return (path.resolve(), state.st_mtime_ns, state.st_size, state.st_ino)
    except OSError:
        return None  # reading it will say what is wrong
