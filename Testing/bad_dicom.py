"""DICOM folders that must be refused: damaged, incomplete, ambiguous, or of something that is no angiogram."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom
from bad_input import BadCase, Maker, detect
from dicom_files import axial_positions, write_enhanced, write_series
from fixed_detector import write_scan
from pydicom.dataset import Dataset, FileMetaDataset

SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
SMALL = (16, 16)
"""Rows and columns of most series here; a series is 16 images or more."""

Change = Callable[[list[Path]], object]


def series(change: Change = lambda files: None, count: int = 16, **options: object) -> Maker:
    """A sound series that is then changed."""

    def make(folder: Path) -> Sequence[object]:
        files = write_series(folder / "series", axial_positions(count), **{"shape": SMALL, **options})  # type: ignore[arg-type]
        change(files)
        return detect(folder, folder / "series")

    return make


def two_series(second: dict[str, object], *more: object) -> Maker:
    """Two series in one folder."""

    def make(folder: Path) -> Sequence[object]:
        write_series(folder / "series", axial_positions(16), shape=SMALL, number=3)
        write_series(folder / "series", axial_positions(16), **{"shape": SMALL, "number": 4, **second})  # type: ignore[arg-type]
        return detect(folder, folder / "series", *more)

    return make


def tags(which: slice, **values: object) -> Change:
    """Gives header fields of some files other values; None deletes them."""

    def change(files: list[Path]) -> None:
        for path in files[which]:
            header = pydicom.dcmread(path)
            for name, value in values.items():
                if value is None:
                    delattr(header, name)
                else:
                    setattr(header, name, value)
            header.save_as(path)

    return change


def bytes_of(which: int, change: Callable[[bytes], bytes]) -> Change:
    """Changes the bytes of one file."""
    return lambda files: files[which].write_bytes(change(files[which].read_bytes()))


def enhanced(change: Callable[[bytes], bytes] = lambda content: content, **options: object) -> Maker:
    """A multi-frame file whose bytes are changed."""

    def make(folder: Path) -> Sequence[object]:
        path = write_enhanced(folder / "scan.dcm", axial_positions(16), **{"shape": SMALL, **options})  # type: ignore[arg-type]
        path.write_bytes(change(path.read_bytes()))
        return detect(folder, path)

    return make


def _report(folder: Path) -> Sequence[object]:
    """A structured report: DICOM without an image."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = "1.2.9.88"
    header.PatientName, header.Modality, header.SeriesInstanceUID = "Doe^Jane", "SR", "1.2.3.88"
    header.save_as(folder / "report.dcm", enforce_file_format=True)
    return detect(folder, folder / "report.dcm")


def _colour(files: list[Path]) -> None:
    for path in files:
        header = pydicom.dcmread(path)
        header.SamplesPerPixel, header.PhotometricInterpretation, header.PlanarConfiguration = 3, "RGB", 0
        header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 8, 8, 7, 0
        header.PixelData = bytes(3 * header.Rows * header.Columns)
        header.save_as(path)


def _unknown_packing(files: list[Path]) -> None:
    for path in files:
        header = pydicom.dcmread(path)
        header.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"  # MPEG-4
        header.PixelData = pydicom.encaps.encapsulate([b"\0" * 64])
        header["PixelData"].VR = "OB"
        header["PixelData"].is_undefined_length = True
        header.save_as(path)


def _big_endian(folder: Path) -> Sequence[object]:
    path = write_enhanced(folder / "scan.dcm", axial_positions(16), shape=SMALL)
    header = pydicom.dcmread(path)
    other = Dataset()
    other.update(header)
    other.file_meta = header.file_meta
    other.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
    other.PixelData = np.frombuffer(header.PixelData, "<i2").astype(">i2").tobytes()
    other.save_as(path, implicit_vr=False, little_endian=False, enforce_file_format=True)
    return detect(folder, path)


def _scout_only(folder: Path) -> Sequence[object]:
    write_series(folder / "series", axial_positions(3), shape=SMALL, description="Localizer")
    return detect(folder, folder / "series")


def _chosen(wanted: str) -> Maker:
    def make(folder: Path) -> Sequence[object]:
        write_series(folder / "series", axial_positions(16), shape=SMALL, number=3)
        return detect(folder, folder / "series", "--series", wanted)

    return make


def _repeated(folder: Path) -> Sequence[object]:
    for prefix in "abc":
        write_series(folder / "series", axial_positions(16), shape=SMALL, prefix=prefix)
    return detect(folder, folder / "series")


def _without(lost: set[int]) -> Maker:
    def make(folder: Path) -> Sequence[object]:
        kept = [place for number, place in enumerate(axial_positions(30)) if number not in lost]
        write_series(folder / "series", kept, shape=SMALL)
        return detect(folder, folder / "series")

    return make


def _sheared(step: float) -> Maker:
    def make(folder: Path) -> Sequence[object]:
        places = [(-8.0, -6.0 + step * k, 0.7 * k) for k in range(16)]
        write_series(folder / "series", places, shape=SMALL)
        return detect(folder, folder / "series")

    return make


def _scattered(folder: Path) -> Sequence[object]:
    shift = np.random.default_rng(2).normal(0.0, 2.0, 16)
    write_series(folder / "series", [(-8.0, float(shift[k]), 0.7 * k) for k in range(16)], shape=SMALL)
    return detect(folder, folder / "series")


def _mixed(**other: object) -> Maker:
    """One more image of the same series that does not fit the others."""

    def make(folder: Path) -> Sequence[object]:
        write_series(folder / "series", axial_positions(16), shape=SMALL)
        write_series(folder / "series", [(-8.0, -6.0, 20.0)], prefix="z", **{"shape": SMALL, **other})  # type: ignore[arg-type]
        return detect(folder, folder / "series")

    return make


def _beside_a_nifti(folder: Path) -> Sequence[object]:
    write_series(folder / "series", axial_positions(16), shape=SMALL)
    write_scan(folder / "series" / "tof.nii.gz")
    (folder / "series" / "005_0003.dcm").write_bytes(b"")
    return detect(folder, folder / "series")


def _claims(rows: int) -> Change:
    return tags(slice(None), Rows=rows, Columns=rows)


DICOM: tuple[BadCase, ...] = (
    BadCase("a slice cut off in its header", series(bytes_of(8, lambda c: c[:380])), ("0008.dcm", "cut off")),
    BadCase("a slice cut off in its pixels", series(bytes_of(8, lambda c: c[:-200])), ("0008.dcm", "export series 5")),
    BadCase("an empty slice", _beside_a_nifti, ("005_0003.dcm", "is empty")),
    BadCase("slices without position", series(tags(slice(None), ImagePositionPatient=None)), ("series", "position")),
    BadCase("a slice without position", series(tags(slice(4, 5), ImagePositionPatient=None)), ("0004.dcm", "position")),
    BadCase("slices without orientation", series(tags(slice(None), ImageOrientationPatient=None)), ("orientation",)),
    BadCase("slices without pixel size", series(tags(slice(None), PixelSpacing=None)), ("pixel size",)),
    BadCase("a pixel size of zero", series(tags(slice(None), PixelSpacing=[0, 0.5])), ("pixel size",)),
    BadCase("pixels of two metres", series(tags(slice(None), PixelSpacing=[2000, 2000])), ("voxels of 2000 x 2000",)),
    BadCase(
        "senseless directions", series(tags(slice(None), ImageOrientationPatient=[1, 0, 0, 1, 0, 0])), ("directions",)
    ),
    BadCase("directions of zero", series(tags(slice(None), ImageOrientationPatient=[0] * 6)), ("directions",)),
    BadCase("all slices at one place", series(tags(slice(None), ImagePositionPatient=[0, 0, 0])), ("16",)),
    BadCase("three slices lost in a row", _without({10, 11, 12}), ("slices missing", "complete series")),
    BadCase("every fourth slice lost", _without(set(range(3, 28, 4))), ("slices missing",)),
    BadCase("three time points", _repeated, ("3 images at each position", "its own series")),
    BadCase("slices stacked steeply aslant", _sheared(0.9), ("aslant",)),
    BadCase("slices displaced at random", _scattered, ("displaced sideways",)),
    BadCase("images of two sizes", _mixed(shape=(20, 20)), ("different sizes",)),
    BadCase("images of two voxel sizes", _mixed(spacing=(0.7, 0.7)), ("different voxel sizes",)),
    BadCase("images of two orientations", _mixed(orientation=SAGITTAL), ("different orientations",)),
    BadCase("colour images", series(_colour), ("no MR or CT stack",)),
    BadCase("pixels packed in an unknown way", series(_unknown_packing), ("series",)),
    BadCase("pixels of PET only", series(modality="PT"), ("no MR or CT stack", "original slices")),
    BadCase("a scout only", _scout_only, ("no MR or CT stack", "Localizer")),
    BadCase("five images only", series(count=5), ("at least 16",)),
    BadCase("one image only", series(count=1), ("at least 16",)),
    BadCase(
        "two series that could be meant", two_series({"description": "TOF lower"}), ("--series NUMBER", "TOF lower")
    ),
    BadCase("a series that is not there", _chosen("9"), ("no series '9'", "--series NUMBER")),
    BadCase("an empty name of a series", _chosen(""), ("series",)),
    BadCase(
        "a number that two series have",
        two_series({"number": 3, "uid": "1.2.99", "prefix": "other"}, "--series", "3"),
        ("--series UID",),
    ),
    BadCase("a structured report", _report, ("report.dcm", "without an image")),
    BadCase("the same value in all pixels", series(field=lambda ras: ras[..., 0] * 0 + 70), ("same value",)),
    BadCase("slices that claim 65535 rows", series(_claims(65535)), ("series",)),
    BadCase("slices of no rows", series(_claims(0)), ("series",)),
    BadCase("a multi-frame file cut off in its header", enhanced(lambda c: c[:700]), ("scan.dcm",)),
    BadCase("a multi-frame file cut off in its pixels", enhanced(lambda c: c[: len(c) // 2]), ("scan.dcm",)),
    BadCase(
        "a multi-frame file of time points",
        lambda folder: detect(folder, write_enhanced(folder / "scan.dcm", axial_positions(16) * 2, shape=SMALL)),
        ("2 images at each position",),
    ),
    BadCase("a multi-frame file stored big-endian", _big_endian, ("scan.dcm", "big-endian")),
    BadCase(
        "a preamble and nothing else",
        lambda folder: detect(folder, _written(folder / "head.dcm", bytes(128) + b"DICM")),
        ("head.dcm",),
    ),
    BadCase(
        "a preamble and noise",
        lambda folder: detect(folder, _written(folder / "head.dcm", bytes(128) + b"DICM" + b"\x07\x03noise" * 99)),
        ("head.dcm",),
    ),
)


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
