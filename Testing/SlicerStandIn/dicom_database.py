"""`slicer.dicomDatabase`: where the files of DICOM images are. No part of the dump (see DICOM_DATABASE in api.py)."""

from __future__ import annotations


class DicomDatabase:
    """ctkDICOMDatabase; a test puts paths by SOP instance UID into `_files`."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}

    def fileForInstance(self, uid: str) -> str:
        """The path of an image, empty for one that is not known."""
        return self._files.get(uid, "")
