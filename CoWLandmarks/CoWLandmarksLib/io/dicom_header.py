"""Headers of single DICOM files, read with pydicom."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import SimpleITK as sitk

from ..core.errors import VolumeError, libraries_silenced
from ..core.scan_files import is_readable_name

if TYPE_CHECKING:
    from pydicom import Dataset

_HEADER = (
    "ImageType",
    "SOPClassUID",
    "SOPInstanceUID",
    "Modality",
    "SeriesDescription",
    "SeriesInstanceUID",
    "SeriesNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "PixelSpacing",
)
_FLOAT_PIXELS, _PIXELS = 0x7FE00008, 0x7FE00010
_IMAGE_CLASSES = {f"1.2.840.10008.5.1.4.1.1.{kind}" for kind in ("2", "2.1", "2.2", "4", "4.1", "4.4")}
"""CT and MR images, classic, enhanced and converted (DICOM PS3.4 B.5)."""
_DICOM_SUFFIXES = {"", ".dcm", ".ima", ".dicom", ".img"}
T = TypeVar("T")


class DamagedDicomError(VolumeError):
    """A DICOM file that pydicom cannot read."""


@dataclass(frozen=True)
class DicomFile:
    """What is needed of a file's header; nothing in it identifies the patient."""

    path: Path
    instance: str
    series_uid: str = ""
    series_number: int | None = None
    modality: str = "DICOM"
    description: str = ""
    image_type: tuple[str, ...] = ()
    position: tuple[float, ...] = ()
    orientation: tuple[float, ...] = ()
    pixel_spacing: tuple[float, ...] = ()
    shape: tuple[int, int] = (0, 0)
    frames: int = 1
    grayscale: bool = True
    damaged: bool = False

    @property
    def classic(self) -> bool:
        """One image that knows its own place (otherwise its frames know theirs)."""
        return self.frames == 1 and len(self.position) == 3


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its preamble, or, without one, by its name and GDCM's opinion.

    Raises OSError when the file cannot be opened.
    """
    with path.open("rb") as file:
        start = file.read(132)
    if start[128:] == b"DICM":
        return True
    suffix = path.suffix.lower()
    named_so = suffix in _DICOM_SUFFIXES or suffix[1:].isdigit()
    return bool(len(start) == 132 and named_so and start.strip(b"\0") and _gdcm_can_read(path))


def _gdcm_can_read(path: Path) -> bool:
    """Whether GDCM takes the file for a DICOM image."""
    if not is_readable_name(path):
        return False
    with libraries_silenced():
        return bool(sitk.ImageFileReader.GetImageIOFromFileName(str(path)) == "GDCMImageIO")


def read_header(path: Path) -> DicomFile | None:
    """Header of a DICOM image; None for DICOM files that hold no image (reports, plans, DICOMDIR).

    A file that is cut off before its pixels comes back with `damaged` set, so that no slice is lost silently;
    its `series_uid` is empty where the file is cut off before that.
    """
    try:
        with damage_reported(path):
            data, has_pixels, cut_off = read_elements(path, _HEADER)
            # An image whose end is missing has no pixels either; what kind of file it was stands near its beginning.
            kind = data.get("SOPClassUID") or data.file_meta.get("MediaStorageSOPClassUID")
            image = has_pixels or (cut_off and (not kind or kind in _IMAGE_CLASSES))
            return _header(path, data, has_pixels) if image else None
    except DamagedDicomError:
        return DicomFile(path, str(path), damaged=True)


def _header(path: Path, data: Dataset, has_pixels: bool) -> DicomFile:
    def text(keyword: str) -> str:
        return "\\".join(values_of(data, keyword, str)).strip(" \0")

    shape = _whole(data, "Rows") or 0, _whole(data, "Columns") or 0
    return DicomFile(
        path=path,
        instance=text("SOPInstanceUID") or str(path),
        series_uid=text("SeriesInstanceUID"),
        series_number=_whole(data, "SeriesNumber"),
        modality=text("Modality").upper() or "DICOM",
        description=" ".join(text("SeriesDescription").split()),
        image_type=tuple(part.strip().upper() for part in values_of(data, "ImageType", str)),
        position=values_of(data, "ImagePositionPatient", float),
        orientation=values_of(data, "ImageOrientationPatient", float),
        pixel_spacing=values_of(data, "PixelSpacing", float),
        shape=shape,
        frames=max(1, _whole(data, "NumberOfFrames") or 1),
        grayscale=_whole(data, "SamplesPerPixel") in (None, 1)
        and text("PhotometricInterpretation").upper() != "PALETTE COLOR",
        damaged=not has_pixels or min(shape) < 1,
    )


def values_of(data: Dataset, keyword: str, kind: Callable[[Any], T]) -> tuple[T, ...]:
    """The values of an element; none where it is missing or holds something that its type does not allow."""
    if keyword not in data:
        return ()
    try:
        element = data[keyword]
        return tuple(kind(value) for value in (element.value if element.VM > 1 else [element.value][: element.VM]))
    except Exception:  # pydicom converts values when they are asked for, and each type fails in a way of its own
        return ()


def _whole(data: Dataset, keyword: str) -> int | None:
    number = values_of(data, keyword, float)
    return int(number[0]) if number and math.isfinite(number[0]) else None


def read_elements(path: Path, keywords: Sequence[str]) -> tuple[Dataset, bool, bool]:
    """The named elements of a file that stand before its pixels; whether pixels follow; whether it ends too early."""
    try:
        from pydicom import filereader  # start-up time
        from pydicom.tag import Tag  # start-up time
    except ImportError as error:
        raise VolumeError(
            f"'{path}' is a DICOM file, for which the Python package pydicom is missing; install it (pip install "
            "pydicom), or convert the scan to NIfTI."
        ) from error
    last = end = 0

    def at_pixels(tag: int, _vr: str | None, length: int) -> bool:
        nonlocal last, end
        last, end = tag, file.tell() + length
        return tag >= _FLOAT_PIXELS

    with path.open("rb") as file:
        data = filereader.read_partial(file, at_pixels, force=True, specific_tags=[Tag(name) for name in keywords])
        cut_off = last != _PIXELS and end != file.seek(0, os.SEEK_END)
    if cut_off:
        data.pop(last, None)
    return data, last == _PIXELS, cut_off


@contextmanager
def damage_reported(path: Path) -> Iterator[None]:
    """What pydicom says and raises about a damaged file becomes one DamagedDicomError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (OSError, VolumeError):
        raise
    except Exception as error:  # a damaged byte makes pydicom fail in any way
        raise DamagedDicomError(f"'{path}' is a damaged DICOM file; export it again.") from error
