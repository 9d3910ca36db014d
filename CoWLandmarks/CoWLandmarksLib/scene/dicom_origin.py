"""Which DICOM files a volume of the scene was read from. No Qt; the DICOM database is 3D Slicer's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..core.errors import VolumeError
from ..files.dicom_source import DicomOrigin
from .annotation_export import scan_of
from .nodes import volume_node_of

_INSTANCES = "DICOM.instanceUIDs"
"""Attribute in which Slicer keeps, with spaces between them, the UIDs of the images that a volume was read from."""


def from_dicom(volume_node: Any | None) -> bool:
    """Whether a volume was read from DICOM."""
    return volume_node is not None and bool(_instances(volume_node))


def dicom_origin(markups_node: Any, file_for_instance: Callable[[str], str] | None) -> DicomOrigin:
    """The source files of the scan of an annotation, and its grid as it lies in the scene now.

    `file_for_instance` is that of the DICOM database: the path of an image by its UID, empty where it is not known;
    None where there is no database. Raises VolumeError for a scan that was not read from DICOM, or whose files are
    gone.
    """
    scan = scan_of(markups_node)
    instances = _instances(volume_node_of(markups_node))
    if not instances:
        raise VolumeError(f"'{scan.name}' was not loaded from DICOM; leave out the DICOM files.")
    files = [Path(file_for_instance(uid) or "") if file_for_instance is not None else Path() for uid in instances]
    missing = sum(not file.is_file() for file in files)
    if missing:
        raise VolumeError(
            f"Slicer's DICOM database lacks {missing} of the {len(files)} images of '{scan.name}'; import the series "
            "there again, or leave out the DICOM files."
        )
    return DicomOrigin(tuple(dict.fromkeys(files)), scan.grid)


def _instances(volume_node: Any) -> list[str]:
    return (volume_node.GetAttribute(_INSTANCES) or "").split()
