"""The SHA-256 of a scan: of its bytes, whatever it is called and wherever it lies."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ..core.errors import VolumeError, short_path
from ..files.result_record import file_sha256
from .dicom_header import is_dicom
from .file_integrity import files_of_image


def scan_sha256(path: Path) -> str:
    """The hash of a scan file, or of a header and its voxels, or of all files of a DICOM folder, in any order.

    A DICOM file stands for its series, and counts with its folder. A file that is the whole scan has the hash that
    `sha256sum` prints. Raises VolumeError where it cannot be read.
    """
    try:
        if path.is_file() and not is_dicom(path):
            return _joined([file_sha256(file) for file in files_of_image(path)])
        folder = path if path.is_dir() else path.parent
        files = [Path(place, name) for place, _, names in os.walk(folder) for name in names]
        chosen = [file_sha256(path)] if path.is_file() else []  # tells the series of a folder apart
        return _joined([*chosen, *sorted(file_sha256(file) for file in files)])
    except OSError as error:
        raise VolumeError(
            f"'{short_path(path)}' cannot be read ({error.strerror or error}); check path and permissions."
        ) from error


def _joined(digests: list[str]) -> str:
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode("ascii")).hexdigest()
