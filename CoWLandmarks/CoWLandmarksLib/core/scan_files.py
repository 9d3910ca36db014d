"""The scans in a folder. Without torch and SimpleITK: 3D Slicer's own process uses this."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import VolumeError

ENDINGS = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
_DICOM_MARK = b"DICM"
_DICOM_MARK_AT = 128
_LOOKED_AT = 3


def is_readable_name(path: Path) -> bool:
    """Whether a path is text. Image libraries end the process on names whose bytes are no UTF-8 (Latin-1, old CDs)."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def check_readable_name(path: Path) -> None:
    """Raise VolumeError where an image library would end the process on this path (see `is_readable_name`)."""
    if not is_readable_name(path):
        raise VolumeError(f"The name of {str(path)!a} holds bytes that are no text (UTF-8); rename it.")


def find_scans(folder: Path, leave_out: Path | None = None) -> list[Path]:
    """Scan files, and folders of DICOM slices, in `folder` and below, sorted by path.

    Segmentations (`.seg.nrrd`, `.seg.dcm`), reports (`.sr.dcm`), hidden files and everything in `leave_out` (earlier
    results) do not count. Raises VolumeError where the folder cannot be read or holds none.
    """
    if not folder.is_dir():
        raise VolumeError(f"The folder '{folder}' does not exist; choose another one.")
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(name for name in folders if name[:1] != "." and not _same(here / name, leave_out))
        names = sorted(name for name in names if name[:1] != ".")
        scans = [here / name for name in names if _is_scan_name(name)]
        found += scans
        images = [name for name in names if not _is_result_name(name)]
        if not scans and any(_is_dicom(here / name) for name in images[:_LOOKED_AT]):
            found.append(here)
    if not found:
        raise VolumeError(f"The folder '{folder}' holds no scan (NIfTI, NRRD, MetaImage or DICOM); choose another one.")
    return found


def _is_scan_name(name: str) -> bool:
    return name.lower().endswith(ENDINGS) and not name.lower().endswith(".seg.nrrd")


def _is_result_name(name: str) -> bool:
    return name.lower().endswith((".seg.dcm", ".sr.dcm"))


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(_DICOM_MARK_AT + 4)[_DICOM_MARK_AT:] == _DICOM_MARK
    except OSError:
        return False


def _same(path: Path, other: Path | None) -> bool:
    return other is not None and path.resolve() == other.resolve()
