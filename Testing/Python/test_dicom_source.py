"""The series that DICOM results refer to: where its images lie, and what is refused. Needs no highdicom."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from CoWLandmarksLib.core.errors import ConfigurationError, VolumeError
from CoWLandmarksLib.core.volume import Grid
from CoWLandmarksLib.files.dicom_object import made_now
from CoWLandmarksLib.files.dicom_source import HIGHDICOM, DicomOrigin, check_highdicom, read_source
from CoWLandmarksLib.io.dicom import read_dicom, read_source_series
from dicom_files import FRAME_OF_REFERENCE, IN_A_FRAME, axial_positions, write_enhanced, write_series

COUNT = 16


def edited(folder: Path, edit: Callable[[pydicom.Dataset], None]) -> list[Path]:
    """A sound series of which `edit` has changed every file."""
    files = write_series(folder, axial_positions(COUNT), tags=IN_A_FRAME)
    for file in files:
        header = pydicom.dcmread(file)
        edit(header)
        header.save_as(file)
    return files


def without(*keywords: str) -> Callable[[pydicom.Dataset], None]:
    def edit(header: pydicom.Dataset) -> None:
        for keyword in keywords:
            if keyword in header:
                del header[keyword]

    return edit


def test_the_frames_of_a_series_lie_on_the_slices_of_its_volume_in_whatever_order_they_are_stored(
    tmp_path: Path,
) -> None:
    write_series(tmp_path, axial_positions(COUNT)[::-1], tags=IN_A_FRAME)
    source, volume = read_source_series(tmp_path), read_dicom(tmp_path)
    assert (source.frame_of_reference, source.shape, len(source.headers)) == (FRAME_OF_REFERENCE, (24, 32), COUNT)
    for k, plane in enumerate(source.planes):
        ijk = volume.grid.ras_to_ijk @ plane @ np.array([3.0, 5.0, 0.0, 1.0])
        slice_number = k if source.planes[0][2, 3] < source.planes[-1][2, 3] else COUNT - 1 - k
        assert ijk[:3] == pytest.approx([3.0, 5.0, slice_number], abs=1e-4)
    assert source.fits(volume.grid)


@pytest.mark.parametrize("change", ["moved", "cropped", "turned"])
def test_a_scan_that_was_changed_since_no_longer_fits(tmp_path: Path, change: str) -> None:
    files = write_series(tmp_path, axial_positions(COUNT), tags=IN_A_FRAME)
    grid = read_dicom(tmp_path).grid
    matrix = grid.ijk_to_ras.copy()
    if change == "moved":
        matrix[0, 3] += 0.2
    elif change == "turned":
        matrix[:3, :3] = np.array([[0.999, -0.045, 0], [0.045, 0.999, 0], [0, 0, 1]]) @ matrix[:3, :3]
    shape = (COUNT, 24, 31) if change == "cropped" else grid.shape
    assert DicomOrigin(tuple(files), grid).read().fits(grid)
    with pytest.raises(VolumeError, match="moved, cropped or resampled") as error:
        DicomOrigin(tuple(files), Grid(shape, matrix)).read()
    assert "Doe" not in str(error.value)


def test_a_series_without_frame_of_reference_is_one_sentence(tmp_path: Path) -> None:
    edited(tmp_path, without("FrameOfReferenceUID"))
    with pytest.raises(VolumeError, match="no frame of reference"):
        read_source_series(tmp_path)


def test_a_missing_slice_thickness_is_the_distance_of_the_slices(tmp_path: Path) -> None:
    edited(tmp_path, without("SliceThickness"))
    assert {float(header.SliceThickness) for header in read_source_series(tmp_path).headers} == {0.7}


def test_an_enhanced_file_gives_one_plane_a_frame_and_gets_a_slice_thickness(tmp_path: Path) -> None:
    file = write_enhanced(tmp_path / "enhanced.dcm", axial_positions(COUNT))
    with pytest.raises(VolumeError, match="no frame of reference"):
        read_source([file])
    header = pydicom.dcmread(file)
    header.FrameOfReferenceUID = FRAME_OF_REFERENCE
    header.save_as(file)
    source = read_source_series(file)
    assert len(source.headers) == 1 and len(source.planes) == COUNT and source.fits(read_dicom(file).grid)
    shared = source.headers[0].SharedFunctionalGroupsSequence[0]
    assert float(shared.PixelMeasuresSequence[0].SliceThickness) == pytest.approx(0.7)


def test_several_enhanced_files_are_refused(tmp_path: Path) -> None:
    files = []
    for number in (1, 2):
        files.append(write_enhanced(tmp_path / f"{number}.dcm", axial_positions(COUNT), number=number))
        header = pydicom.dcmread(files[-1])
        header.FrameOfReferenceUID, header.SeriesInstanceUID = FRAME_OF_REFERENCE, "1.2.3.9"
        header.save_as(files[-1])
    with pytest.raises(VolumeError, match="2 multi-frame files"):
        read_source(files)


def test_what_an_anonymised_header_lacks_or_spoils_is_empty(tmp_path: Path) -> None:
    def edit(header: pydicom.Dataset) -> None:
        without("PatientID", "StudyID", "StudyTime")(header)
        header.PatientSex, header.PatientBirthDate, header.StudyDate = "X", "1961", "20240506"

    header = read_source(edited(tmp_path, edit)).headers[0]
    assert [header[name].value for name in ("PatientID", "StudyTime", "PatientSex", "PatientBirthDate")] == [""] * 4
    assert (header.PatientName, header.StudyDate) == ("Doe^Jane", "20240506")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (without("SOPInstanceUID"), "lacks SOPInstanceUID"),
        (without("ImagePositionPatient"), "does not record where its images lie"),
        (without("PixelSpacing"), "does not record where its images lie"),
    ],
)
def test_headers_to_which_nothing_can_refer_are_one_sentence(
    tmp_path: Path, edit: Callable[[pydicom.Dataset], None], message: str
) -> None:
    with pytest.raises(VolumeError, match=message):
        read_source(edited(tmp_path, edit))


def test_files_of_two_series_and_no_files_are_refused(tmp_path: Path) -> None:
    files = write_series(tmp_path / "a", axial_positions(COUNT), tags=IN_A_FRAME)
    other = write_series(tmp_path / "b", axial_positions(COUNT), tags=IN_A_FRAME, number=6)
    with pytest.raises(VolumeError, match="differ in SeriesInstanceUID"):
        read_source([*files, other[0]])
    with pytest.raises(VolumeError, match="No DICOM files"):
        read_source([])


def test_a_file_that_is_no_dicom_is_refused(tmp_path: Path) -> None:
    (tmp_path / "head.nii.gz").write_bytes(b"no DICOM" * 40)
    with pytest.raises(VolumeError, match=r"is no DICOM series.*leave out --dicom"):
        read_source_series(tmp_path / "head.nii.gz")


@pytest.mark.parametrize("version", [None, "0.26.1", "0.x"])
def test_highdicom_that_is_missing_or_too_old_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, version: str | None
) -> None:
    def found(name: str) -> str:
        if version is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(importlib.metadata, "version", found)
    with pytest.raises(ConfigurationError, match=r"'highdicom' 0\.27 or later, which is not installed; run "):
        check_highdicom()


@pytest.mark.parametrize("version", ["0.27.0", "0.28.2", "1.0.0rc1"])
def test_highdicom_that_will_do_is_taken(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    check_highdicom()


def test_everybody_asks_for_the_same_version_of_highdicom() -> None:
    project = (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    wanted = f'"highdicom>={".".join(map(str, HIGHDICOM))}"'
    panel = Path(__file__).resolve().parents[2] / "CoWLandmarks" / "CoWLandmarksPanel" / "dicom_setup.py"
    assert project.count(wanted) == 2 and wanted in panel.read_text(encoding="utf-8")


def test_the_time_of_results_can_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert made_now().isoformat() == "2023-11-14T22:13:20"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(ConfigurationError, match="SOURCE_DATE_EPOCH is 'yesterday', which is no time"):
        made_now()
