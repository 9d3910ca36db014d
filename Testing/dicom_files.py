"""DICOM series for tests: classic slices written by GDCM, enhanced multi-frame files by pydicom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.1"
FRAME_OF_REFERENCE = "1.2.3.99"
IN_A_FRAME = {"0020|0052": FRAME_OF_REFERENCE}
"""`tags` of a series that results can refer to."""
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

Field = Callable[[np.ndarray], np.ndarray]


def linear_field(ras: np.ndarray) -> np.ndarray:
    """Values (...) at RAS points (..., 3) that trilinear interpolation reproduces exactly: 20 per mm and more."""
    return ras @ np.array([20.0, -25.0, 30.0]) + 3000.0


def plane(
    position: Sequence[float],
    orientation: Sequence[float],
    spacing: tuple[float, float],
    shape: tuple[int, int],
    field: Field,
) -> np.ndarray:
    """`field` on one slice [j, i]; `position` and `orientation` in LPS as DICOM has them, `spacing` along i, j."""
    j, i = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    lps = np.array(position) + i[..., None] * spacing[0] * row + j[..., None] * spacing[1] * column
    return field(lps * (-1.0, -1.0, 1.0))


def write_series(
    folder: Path,
    positions: Sequence[Sequence[float]],
    *,
    number: int = 5,
    modality: str = "MR",
    description: str = "TOF 3D",
    orientation: Sequence[float] = AXIAL,
    spacing: tuple[float, float] = (0.5, 0.6),
    shape: tuple[int, int] = (24, 32),
    field: Field = linear_field,
    slope: float = 1.0,
    intercept: float = 0.0,
    uid: str | None = None,
    tags: dict[str, str] | None = None,
    prefix: str = "",
) -> list[Path]:
    """Write one slice per position (LPS mm), in the order given; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, position in enumerate(positions):
        stored = (plane(position, orientation, spacing, shape, field) - intercept) / slope
        image = sitk.GetImageFromArray(np.rint(stored).astype(np.int16))
        image.SetSpacing(spacing)
        meta = {
            "0008|0008": "ORIGINAL\\PRIMARY\\AXIAL",
            "0008|0016": CT_IMAGE if modality == "CT" else MR_IMAGE,
            "0008|0060": modality,
            "0008|103e": description,
            "0010|0010": "Doe^Jane",
            "0010|0020": "SECRET-ID",
            "0020|000d": "1.2.3",
            "0020|000e": uid or f"1.2.3.{number}",
            "0020|0011": str(number),
            "0020|0013": str(index + 1),
            "0020|0032": "\\".join(f"{value:.8g}" for value in position),
            "0020|0037": "\\".join(f"{value:.8g}" for value in orientation),
            **(tags or {}),
        }
        for tag, value in meta.items():
            image.SetMetaData(tag, value)
        path = folder / f"{prefix}{number:03d}_{index:04d}.dcm"
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(path))
        writer.Execute(image)
        if (slope, intercept) != (1.0, 0.0):
            # GDCM's writer would divide the values itself; a scanner stores them as they are.
            header = pydicom.dcmread(path)
            header.RescaleSlope, header.RescaleIntercept = f"{slope:g}", f"{intercept:g}"
            header.save_as(path)
        paths.append(path)
    return paths


def axial_positions(
    count: int, step: float = 0.7, origin: tuple[float, float, float] = (-8.0, -6.0, -5.0)
) -> list[tuple[float, float, float]]:
    """`count` positions (LPS mm) straight up from `origin`."""
    return [(origin[0], origin[1], origin[2] + step * k) for k in range(count)]


def write_enhanced(
    path: Path,
    positions: Sequence[Sequence[float]],
    *,
    orientation: Sequence[float] = AXIAL,
    spacing: tuple[float, float] = (0.5, 0.6),
    shape: tuple[int, int] = (24, 32),
    field: Field = linear_field,
    scales: Sequence[tuple[float, float]] | None = None,
    implicit: bool = False,
    number: int = 9,
) -> Path:
    """Write an enhanced MR multi-frame file with one frame per position (LPS mm), `scales` (slope, intercept)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scales = scales or [(1.0, 0.0)] * len(positions)
    frames = [
        np.rint((plane(position, orientation, spacing, shape, field) - intercept) / slope)
        for position, (slope, intercept) in zip(positions, scales, strict=True)
    ]
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = (
        pydicom.uid.ImplicitVRLittleEndian if implicit else pydicom.uid.ExplicitVRLittleEndian
    )
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = ENHANCED_MR_IMAGE
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = f"1.2.9.{number}"
    header.StudyInstanceUID, header.SeriesInstanceUID = "1.2.3", f"1.2.3.{number}"
    header.Modality, header.SeriesNumber, header.SeriesDescription = "MR", number, "TOF enhanced"
    header.ImageType = ["ORIGINAL", "PRIMARY", "ANGIO", "NONE"]
    header.Rows, header.Columns, header.NumberOfFrames = *shape, len(frames)
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 1
    shared, measures, directions = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [spacing[1], spacing[0]]
    directions.ImageOrientationPatient = list(orientation)
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [directions]
    header.SharedFunctionalGroupsSequence = [shared]
    header.PerFrameFunctionalGroupsSequence = []
    for position, (slope, intercept) in zip(positions, scales, strict=True):
        groups, place, values = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [f"{value:.8g}" for value in position]
        values.RescaleSlope, values.RescaleIntercept, values.RescaleType = f"{slope:g}", f"{intercept:g}", "US"
        groups.PlanePositionSequence, groups.PixelValueTransformationSequence = [place], [values]
        header.PerFrameFunctionalGroupsSequence.append(groups)
    header.PixelData = np.stack(frames).astype("<i2").tobytes()
    header.save_as(path, enforce_file_format=True)
    return path
