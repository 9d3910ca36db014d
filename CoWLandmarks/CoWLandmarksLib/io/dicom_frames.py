"""Frames and pixels of single DICOM files, classic and enhanced multi-frame.

Pixels are decoded by GDCM (SimpleITK), which needs no further packages for JPEG, JPEG-LS, JPEG 2000 and RLE.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import SimpleITK as sitk

from ..core.coordinates import swap_lps_ras
from ..core.errors import VolumeError, libraries_silenced
from ..core.scan_files import check_readable_name
from .dicom_header import DicomFile, damage_reported, read_elements, values_of

if TYPE_CHECKING:
    from pydicom import Dataset

_FUNCTIONAL_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
T = TypeVar("T")


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


def frames_of(file: DicomFile) -> list[Frame]:
    """The images of a file with their places. Raises VolumeError where a place is not recorded."""
    if file.classic:
        return [_frame(file, 0, file.position, file.orientation, file.pixel_spacing, file.image_type)]
    with damage_reported(file.path):
        data, *_ = read_elements(file.path, _FUNCTIONAL_GROUPS)
        if data.file_meta.get("TransferSyntaxUID") == _BIG_ENDIAN:
            raise VolumeError(f"'{file.path}' is stored big-endian; export it again as explicit little-endian DICOM.")
        shared, each = (list(data.get(keyword) or ()) for keyword in _FUNCTIONAL_GROUPS)
        if file.frames == 1 and not each:
            return [_frame(file, 0, file.position, file.orientation, file.pixel_spacing, file.image_type)]
        if len(each) != file.frames:
            raise VolumeError(
                f"'{file.path}' holds {file.frames} frames without the place of each; export it as single slices."
            )
        first = _scale([*each[:1], *shared])
        return [_frame_of_groups(file, index, [own, *shared], first) for index, own in enumerate(each)]


def _frame_of_groups(file: DicomFile, index: int, groups: Sequence[Dataset], first: tuple[float, float]) -> Frame:
    """A frame as its own and the shared functional groups (PS3.3 C.7.6.16) say; `first` is the first one's scale."""
    kind = _in_group(groups, "MRImageFrameTypeSequence", "FrameType", str)
    kind = kind or _in_group(groups, "CTImageFrameTypeSequence", "FrameType", str)
    slope, intercept = _scale(groups)
    factor = slope / first[0]
    return _frame(
        file,
        index,
        _in_group(groups, "PlanePositionSequence", "ImagePositionPatient", float),
        _in_group(groups, "PlaneOrientationSequence", "ImageOrientationPatient", float),
        _in_group(groups, "PixelMeasuresSequence", "PixelSpacing", float),
        tuple(part.upper() for part in kind) or file.image_type,
        (factor, intercept - factor * first[1]),
    )


def read_pixels(frames: Sequence[Frame], series: str) -> np.ndarray:
    """Rescaled values [k, j, i] of `frames` in their order, in the smallest type that holds them.

    Raises VolumeError naming the file that cannot be read, and its series.
    """
    voxels = np.empty((0, 0, 0))
    multi_frame: dict[Path, np.ndarray] = {}
    for k, frame in enumerate(frames):
        if frame.file.frames == 1:
            plane = _pixels(frame.file, series)[0]
        else:
            if frame.file.path not in multi_frame:
                multi_frame[frame.file.path] = _pixels(frame.file, series)
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


def _pixels(file: DicomFile, series: str) -> np.ndarray:
    """All frames of a file as [k, j, i], rescaled by GDCM."""
    check_readable_name(file.path)
    try:
        with libraries_silenced():
            pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(file.path), imageIO="GDCMImageIO"))
        if pixels.size != file.frames * file.shape[0] * file.shape[1]:
            raise RuntimeError("other pixels than the header says")
    except RuntimeError as error:
        raise damaged([file.path], series) from error
    # GDCM rescales 16-bit images into 32 bits, which they seldom need.
    return compact(pixels.reshape(file.frames, *file.shape), widest=2)


def damaged(paths: Sequence[Path], series: str) -> VolumeError:
    """The error about files of which the pixels cannot be read."""
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return VolumeError(
        f"'{paths[0]}'{more} is damaged, cut off or packed in an unknown way; export series {series} again."
    )


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


def _scale(groups: Sequence[Dataset]) -> tuple[float, float]:
    """Rescale slope and intercept of a frame."""
    slope = _in_group(groups, "PixelValueTransformationSequence", "RescaleSlope", float)
    intercept = _in_group(groups, "PixelValueTransformationSequence", "RescaleIntercept", float)
    return (slope[0], intercept[0]) if slope and intercept and slope[0] != 0 else (1.0, 0.0)


def _in_group(groups: Sequence[Dataset], sequence: str, keyword: str, kind: Callable[[Any], T]) -> tuple[T, ...]:
    """Values of an element in the first item of `sequence`, in the first of `groups` that has it."""
    for group in groups:
        for item in (group.get(sequence) or ())[:1]:
            if keyword in item:
                return values_of(item, keyword, kind)
    return ()
