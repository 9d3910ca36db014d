"""Headers, frames and pixels of single DICOM files, classic and enhanced multi-frame, through SimpleITK (GDCM)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..core.coordinates import swap_lps_ras
from ..core.errors import VolumeError, libraries_silenced
from ..core.scan_files import check_readable_name, is_readable_name
from .dicom_sequences import PIXEL_DATA, Item, read_sequences, read_what_is_there

_SHARED_GROUPS, _FRAME_GROUPS = 0x52009229, 0x52009230
_PLANE_POSITION, _PLANE_ORIENTATION = 0x00209113, 0x00209116
_PIXEL_MEASURES, _VALUE_TRANSFORMATION = 0x00289110, 0x00289145
_MR_FRAME_TYPE, _CT_FRAME_TYPE = 0x00189226, 0x00189329
_OPENED = (
    _SHARED_GROUPS,
    _FRAME_GROUPS,
    _PLANE_POSITION,
    _PLANE_ORIENTATION,
    _PIXEL_MEASURES,
    _VALUE_TRANSFORMATION,
    _MR_FRAME_TYPE,
    _CT_FRAME_TYPE,
)
_POSITION, _ORIENTATION, _PIXEL_SPACING = 0x00200032, 0x00200037, 0x00280030
_INTERCEPT, _SLOPE, _FRAME_TYPE = 0x00281052, 0x00281053, 0x00080007
_IMAGE_CLASSES = {f"1.2.840.10008.5.1.4.1.1.{kind}" for kind in ("2", "2.1", "2.2", "4", "4.1", "4.4")}
"""CT and MR images, classic, enhanced and converted (DICOM PS3.4 B.5)."""
_DICOM_SUFFIXES = {"", ".dcm", ".ima", ".dicom", ".img"}


@dataclass(frozen=True)
class DicomFile:
    """What is needed of a file's header; nothing in it identifies the patient."""

    path: Path
    instance: str
    series_uid: str
    series_number: int | None
    modality: str
    description: str
    image_type: tuple[str, ...]
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    pixel_spacing: tuple[float, ...]
    shape: tuple[int, int] = (0, 0)
    frames: int = 1
    grayscale: bool = True
    damaged: bool = False

    @property
    def classic(self) -> bool:
        """One image that knows its own place (otherwise its frames know theirs)."""
        return self.frames == 1 and len(self.position) == 3


@dataclass(frozen=True)
class Frame:
    """One image: `position` (3,) RAS mm of its first voxel, `orientation` (6,) RAS along i and j,
    `spacing` (2,) mm along i and j. `correction` (factor, offset) takes GDCM's values to the frame's own scale:
    GDCM rescales all frames of a file like the first.
    """

    file: DicomFile
    index: int
    position: np.ndarray
    orientation: np.ndarray
    spacing: np.ndarray
    image_type: tuple[str, ...]
    correction: tuple[float, float] = (1.0, 0.0)

    @property
    def localizer(self) -> bool:
        """A scout image for planning."""
        return "LOCALIZER" in self.image_type


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

    An image that GDCM cannot read comes back with `damaged` set, so that no slice is lost without a word; its
    `series_uid` is empty where the file is cut off before that.
    """
    reader = _reader(path)
    try:
        with libraries_silenced():
            reader.ReadImageInformation()
    except RuntimeError:
        return _damaged_header(path)
    size = reader.GetSize()
    header = _file(path, lambda tag: reader.GetMetaData(tag) if reader.HasMetaDataKey(tag) else "")
    return replace(
        header,
        shape=(int(size[1]), int(size[0])),
        frames=int(size[2]) if len(size) > 2 else 1,
        grayscale=reader.GetNumberOfComponents() == 1,
    )


def _damaged_header(path: Path) -> DicomFile | None:
    item, whole = read_what_is_there(path)

    def text(tag: str) -> str:
        value = item.get(int(tag.replace("|", ""), 16), b"")
        return value.decode("latin-1") if isinstance(value, bytes) else ""

    # An image whose end is missing has no pixels either; what kind of file it was stands near its beginning.
    kind = (text("0008|0016") or text("0002|0002")).strip(" \0")
    image = PIXEL_DATA in item or (not whole and (not kind or kind in _IMAGE_CLASSES))
    return replace(_file(path, text), damaged=True) if image else None


def _file(path: Path, raw_text: Callable[[str], str]) -> DicomFile:
    def text(tag: str) -> str:
        return raw_text(tag).strip(" \0")

    number = _numbers(text("0020|0011"))
    return DicomFile(
        path=path,
        instance=text("0008|0018") or str(path),
        series_uid=text("0020|000e"),
        series_number=int(number[0]) if number and math.isfinite(number[0]) else None,
        modality=text("0008|0060").upper() or "DICOM",
        description=" ".join(text("0008|103e").split()),
        image_type=tuple(part.strip().upper() for part in text("0008|0008").split("\\")),
        position=_numbers(text("0020|0032")),
        orientation=_numbers(text("0020|0037")),
        pixel_spacing=_numbers(text("0028|0030")),
    )


def frames_of(file: DicomFile) -> list[Frame]:
    """The images of a file with their places. Raises VolumeError where a place is not recorded."""
    if file.classic:
        return [_frame(file, 0, file.position, file.orientation, file.pixel_spacing, file.image_type)]
    header = read_sequences(file.path, _OPENED)
    shared, each = _items(header, _SHARED_GROUPS), _items(header, _FRAME_GROUPS)
    if file.frames == 1 and not each:
        return [_frame(file, 0, file.position, file.orientation, file.pixel_spacing, file.image_type)]
    if len(each) != file.frames:
        raise VolumeError(
            f"'{file.path}' holds {file.frames} frames without the place of each; export it as single slices."
        )
    frames = []
    first_scale = _scale([*each[:1], *shared])
    for index, own in enumerate(each):
        groups = [own, *shared]
        kind = _value(groups, (_MR_FRAME_TYPE, _CT_FRAME_TYPE), _FRAME_TYPE)
        slope, intercept = _scale(groups)
        factor = slope / first_scale[0]
        frames.append(
            _frame(
                file,
                index,
                _numbers(_value(groups, (_PLANE_POSITION,), _POSITION)),
                _numbers(_value(groups, (_PLANE_ORIENTATION,), _ORIENTATION)),
                _numbers(_value(groups, (_PIXEL_MEASURES,), _PIXEL_SPACING)),
                tuple(kind.upper().split("\\")) if kind else file.image_type,
                (factor, intercept - factor * first_scale[1]),
            )
        )
    return frames


def read_pixels(frames: Sequence[Frame]) -> np.ndarray:
    """Rescaled values [k, j, i] of `frames` in their order, in the smallest type that holds them.

    Raises VolumeError naming the file that cannot be read.
    """
    voxels = np.empty((0, 0, 0))
    multi_frame: dict[Path, np.ndarray] = {}
    for k, frame in enumerate(frames):
        if frame.file.frames == 1:
            plane = _pixels(frame.file.path)[0]
        else:
            if frame.file.path not in multi_frame:
                multi_frame[frame.file.path] = _pixels(frame.file.path)
            plane = multi_frame[frame.file.path][frame.index]
        factor, offset = frame.correction
        if (factor, offset) != (1.0, 0.0):
            plane = (plane * factor + offset).astype(np.float32)
        if k == 0:
            voxels = np.empty((len(frames), *plane.shape), plane.dtype)
        elif not np.can_cast(plane.dtype, voxels.dtype):
            voxels = voxels.astype(np.result_type(plane.dtype, voxels.dtype))
        voxels[k] = plane
    return voxels


def compact(voxels: np.ndarray, widest: int = 4) -> np.ndarray:
    """The same values in at most 32 bits; whole numbers wider than `widest` bytes in the smallest type they fit."""
    if voxels.dtype.kind == "f":
        return voxels.astype(np.float32) if voxels.dtype.itemsize > 4 else voxels
    if voxels.dtype.kind not in "iu" or voxels.dtype.itemsize <= widest or voxels.size == 0:
        return voxels
    low, high = voxels.min(), voxels.max()
    for dtype in (np.int16, np.uint16, np.int32):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return voxels.astype(dtype)
    return voxels.astype(np.float32)


def _reader(path: Path) -> sitk.ImageFileReader:
    check_readable_name(path)
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    return reader


def _pixels(path: Path) -> np.ndarray:
    """All frames of a file as [k, j, i], rescaled by GDCM."""
    try:
        with libraries_silenced():
            pixels = sitk.GetArrayFromImage(_reader(path).Execute())
    except RuntimeError as error:
        raise VolumeError(
            f"'{path}' is damaged, cut off or packed in an unknown way; export the series again."
        ) from error
    # GDCM rescales 16-bit images into 32 bits, which they seldom need.
    return compact(pixels if pixels.ndim == 3 else pixels[None], widest=2)


def _frame(
    file: DicomFile,
    index: int,
    position: Sequence[float],
    orientation: Sequence[float],
    pixel_spacing: Sequence[float],
    image_type: tuple[str, ...],
    correction: tuple[float, float] = (1.0, 0.0),
) -> Frame:
    lengths = len(position), len(orientation), len(pixel_spacing)
    numbers = np.array([*position, *orientation, *pixel_spacing])
    if lengths != (3, 6, 2) or not np.isfinite(numbers).all() or min(pixel_spacing) <= 0:
        raise VolumeError(
            f"'{file.path}' does not record its position, orientation and pixel size, so it cannot be placed in "
            "space; export the original images instead of screenshots."
        )
    return Frame(
        file=file,
        index=index,
        position=swap_lps_ras(position),
        orientation=swap_lps_ras(np.reshape(orientation, (2, 3))).ravel(),
        # DICOM gives the distance between rows (along j) first.
        spacing=np.array([pixel_spacing[1], pixel_spacing[0]]),
        image_type=image_type,
        correction=correction,
    )


def _items(item: Item, tag: int) -> list[Item]:
    value = item.get(tag, [])
    return value if isinstance(value, list) else []


def _value(groups: Sequence[Item], sequences: Sequence[int], tag: int) -> str:
    """Text of `tag` in the first item of one of `sequences`, in the first of `groups` that has it."""
    for group in groups:
        for sequence in sequences:
            for item in _items(group, sequence)[:1]:
                value = item.get(tag)
                if isinstance(value, bytes):
                    return value.decode("latin-1").strip(" \0")
    return ""


def _scale(groups: Sequence[Item]) -> tuple[float, float]:
    """Rescale slope and intercept of a frame."""
    slope = _numbers(_value(groups, (_VALUE_TRANSFORMATION,), _SLOPE))
    intercept = _numbers(_value(groups, (_VALUE_TRANSFORMATION,), _INTERCEPT))
    return (slope[0], intercept[0]) if slope and intercept and slope[0] != 0 else (1.0, 0.0)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split("\\")) if text else ()
    except ValueError:
        return ()
