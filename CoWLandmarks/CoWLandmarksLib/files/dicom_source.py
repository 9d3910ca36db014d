"""The DICOM series that a result refers to: the headers of its files and the place of every frame. Without SimpleITK.

3D Slicer's own process uses this, with the files that its DICOM database names.
"""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.coordinates import swap_lps_ras, swap_lps_ras_matrix
from ..core.errors import ConfigurationError, VolumeError
from ..core.volume import Grid

if TYPE_CHECKING:
    from pydicom import Dataset

_NEEDED = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "Rows", "Columns")


def _read_as(kind: str) -> Callable[[Any], bool]:
    def usable(value: Any) -> bool:
        from pydicom import valuerep  # start-up time

        try:
            getattr(valuerep, kind)(value)
        except (TypeError, ValueError):
            return False
        return True

    return usable


_MAY_BE_EMPTY: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("PatientName", "PatientID", "StudyID", "AccessionNumber"), lambda value: True),
    "ReferringPhysicianName": lambda value: True,
    "PatientSex": lambda value: value in ("M", "F", "O"),
    "PatientBirthDate": _read_as("DA"),
    "StudyDate": _read_as("DA"),
    "StudyTime": _read_as("TM"),
}
"""What every object has to have, if only empty: empty where an anonymised file lacks it, or holds no usable value."""
_SAME_PLACE = 0.1
"""Parts of a voxel by which the frames of a series may miss the voxels of a scan that was read from it."""


@dataclass(frozen=True)
class SourceSeries:
    """A series: its headers without pixels, and `planes`, of every frame the (4, 4) matrix from (i, j, 0) to RAS mm.

    Frames are in the order of the headers, in a multi-frame file in that of the file; `shape` is (rows, columns).
    """

    headers: tuple[Dataset, ...]
    planes: tuple[np.ndarray, ...]
    shape: tuple[int, int]
    frame_of_reference: str

    def fits(self, grid: Grid) -> bool:
        """Whether every frame is a slice of this grid: the scan was neither moved nor resampled since it was read."""
        rows, columns = self.shape
        corners = np.array([[i, j, 0, 1] for i in (0, columns - 1) for j in (0, rows - 1)], float).T
        found = np.stack([(grid.ras_to_ijk @ plane @ corners)[:3] for plane in self.planes])
        inside = (found > -0.5).all() and (found < (grid.size - 0.5)[:, None]).all()
        return bool(inside and np.abs(found - np.rint(found)).max() < _SAME_PLACE)


@dataclass(frozen=True)
class DicomOrigin:
    """The files of the series that a scan was read from, and the grid of the scan as it is now."""

    files: tuple[Path, ...]
    grid: Grid

    def read(self) -> SourceSeries:
        """The series; raises VolumeError as `read_source` does, and where the scan no longer lies on its images."""
        source = read_source(self.files)
        if not source.fits(self.grid):
            raise VolumeError(
                f"The scan was moved, cropped or resampled since it was read from '{self.files[0].parent}', so nothing "
                "of it lies on the images there; leave out the DICOM files, or load the series again."
            )
        return source


HIGHDICOM = (0, 27)
"""The oldest version of highdicom that will do."""


def highdicom_installed() -> bool:
    """Whether the package that writes DICOM results is there; does not load it."""
    try:
        major, minor = importlib.metadata.version("highdicom").split(".")[:2]
        return (int(major), int(minor)) >= HIGHDICOM
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return False


def check_highdicom() -> None:
    """Raise ConfigurationError where the package that writes DICOM results is missing, or too old."""
    if not highdicom_installed():
        needed = ".".join(map(str, HIGHDICOM))
        raise ConfigurationError(
            f"DICOM results need the Python library 'highdicom' {needed} or later, which is not installed; run "
            f"'pip install \"highdicom>={needed}\"'."
        )


def read_source(files: Sequence[Path]) -> SourceSeries:
    """The series in these files, one image in each, or all in one multi-frame file.

    Raises VolumeError where they are not of one series, do not record where they lie, or have no frame of reference.
    """
    headers = [_header(file) for file in files]
    _check(headers, files)
    for header in headers:
        for keyword, usable in _MAY_BE_EMPTY.items():
            if keyword not in header or not usable(header[keyword].value):
                setattr(header, keyword, "")
    try:
        planes = _frame_planes(headers[0]) if len(headers) == 1 else [_plane(header) for header in headers]
        along = [float(plane[:3, 3] @ planes[0][:3, 2]) for plane in planes]
        if len(headers) > 1:
            order = np.argsort(along, kind="stable")
            headers, planes = [headers[index] for index in order], [planes[index] for index in order]
        if len(along) > 1:
            _set_distance(headers, float(np.median(np.diff(np.sort(along)))))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise VolumeError(
            f"'{files[0]}' does not record where its images lie; no DICOM result can refer to them."
        ) from error
    shape = (int(headers[0].Rows), int(headers[0].Columns))
    return SourceSeries(tuple(headers), tuple(planes), shape, str(headers[0].FrameOfReferenceUID))


def _header(file: Path) -> Dataset:
    from pydicom import dcmread  # start-up time

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return dcmread(file, stop_before_pixels=True, force=True)
    except Exception as error:  # a damaged byte makes pydicom fail in any way
        raise VolumeError(f"'{file}' is a damaged DICOM file; export it again.") from error


def _set_distance(headers: Sequence[Dataset], distance: float) -> None:
    """Record the distance of the slices (mm), also as their thickness where there is none: a segmentation takes both.

    A distance that the scan records may be wrong (GDCM writes 1), and readers of a segmentation rely on it.
    """
    for header in headers:
        if "PerFrameFunctionalGroupsSequence" not in header:
            measures = [header]
        else:
            groups = (*header.SharedFunctionalGroupsSequence, *header.PerFrameFunctionalGroupsSequence)
            measures = [group.PixelMeasuresSequence[0] for group in groups if "PixelMeasuresSequence" in group]
        for item in measures:
            item.SpacingBetweenSlices = f"{distance:.6g}"
            if not item.get("SliceThickness"):
                item.SliceThickness = item.SpacingBetweenSlices


def plane_matrix(position: Sequence[float], orientation: Sequence[float], spacing: Sequence[float]) -> np.ndarray:
    """(4, 4) from (i, j, 0) to RAS mm; `position`, `orientation` (LPS) and `spacing` (rows first) as DICOM has them."""
    row, column = np.array(orientation[:3], float), np.array(orientation[3:6], float)
    matrix = np.eye(4)
    matrix[:3, 0] = row * float(spacing[1])
    matrix[:3, 1] = column * float(spacing[0])
    matrix[:3, 2] = np.cross(row, column)
    matrix[:3, 3] = np.array(position, float)
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-6:
        raise ValueError("no plane")
    return swap_lps_ras_matrix(matrix)


def group_planes(frames: Sequence[Dataset], shared: Dataset) -> list[np.ndarray]:
    """`plane_matrix` of every frame of a multi-frame file, from its own or the shared functional groups."""

    def of(frame: Dataset, sequence: str) -> Dataset:
        return (frame if sequence in frame else shared)[sequence].value[0]

    return [
        plane_matrix(
            of(frame, "PlanePositionSequence").ImagePositionPatient,
            of(frame, "PlaneOrientationSequence").ImageOrientationPatient,
            of(frame, "PixelMeasuresSequence").PixelSpacing,
        )
        for frame in frames
    ]


def nearest_voxels(grid: Grid, plane: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """(3, n) the voxels (i, j, k) of a grid at pixels (n,) of a plane; a pixel half-way always goes the same way."""
    pixels = np.stack([i, j, np.zeros(len(i)), np.ones(len(i))])
    return np.floor((grid.ras_to_ijk @ plane @ pixels)[:3] + 0.5001).astype(int)


def pixels_of(plane: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(n, 2) pixels (i, j) of a plane, not rounded, below RAS mm points (n, 3)."""
    homogeneous = np.column_stack([points, np.ones(len(points))])
    return (np.linalg.inv(plane) @ homogeneous.T)[:2].T


def points_to_lps(position: Sequence[float]) -> np.ndarray:
    """(1, 3) a point (RAS mm) as DICOM has it."""
    return swap_lps_ras(np.array([position], float))


def _plane(header: Dataset) -> np.ndarray:
    return plane_matrix(header.ImagePositionPatient, header.ImageOrientationPatient, header.PixelSpacing)


def _frame_planes(header: Dataset) -> list[np.ndarray]:
    if "PerFrameFunctionalGroupsSequence" in header:
        return group_planes(header.PerFrameFunctionalGroupsSequence, header.SharedFunctionalGroupsSequence[0])
    return [_plane(header)]


def _check(headers: Sequence[Dataset], files: Sequence[Path]) -> None:
    if not headers:
        raise VolumeError("No DICOM files are given; choose a scan that was read from DICOM.")
    for header, file in zip(headers, files, strict=True):
        missing = [keyword for keyword in _NEEDED if not header.get(keyword)]
        if missing:
            raise VolumeError(f"'{file}' lacks {', '.join(missing)}; no DICOM result can refer to it.")
        if not header.get("FrameOfReferenceUID"):
            raise VolumeError(
                f"'{file}' has no frame of reference (FrameOfReferenceUID), in which points would lie; leave out the "
                "DICOM files, or export the series from the archive again."
            )
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Rows", "Columns"):
            if header.get(keyword) != headers[0].get(keyword):
                raise VolumeError(f"'{file}' and '{files[0]}' differ in {keyword}; give the files of one series.")
    if len(headers) > 1 and any("PerFrameFunctionalGroupsSequence" in header for header in headers):
        raise VolumeError(
            f"The series of '{files[0]}' is spread over {len(headers)} multi-frame files, to which no DICOM "
            "segmentation can refer; leave out the DICOM files."
        )
