"""`--dicom` on the command line: what is delivered, refused and said, with highdicom and without it."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from CoWLandmarksLib.__main__ import main
from CoWLandmarksLib.core.scan_files import find_scans
from CoWLandmarksLib.files import dicom_source
from CoWLandmarksLib.files.detection_files import read_detection_json
from CoWLandmarksLib.files.dicom_source import highdicom_installed
from dicom_files import IN_A_FRAME, axial_positions, write_series
from fixed_detector import make_fixed_detector, write_scan

HIGHDICOM = highdicom_installed()
with_highdicom = pytest.mark.skipif(not HIGHDICOM, reason="needs highdicom (pip install highdicom)")
FEW = ("--no-scene", "--no-pictures")
OBJECTS = {"landmarks.sr.dcm", "arteries.seg.dcm"}


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where highdicom is missing, the command goes on as if it were there, for refusals that come later."""
    if not HIGHDICOM:
        monkeypatch.setattr(dicom_source, "check_highdicom", lambda: None)


def detect(*arguments: object, out: Path) -> int:
    return main(["detect", *map(str, arguments), "--out", str(out), "--dicom", *FEW], make_fixed_detector)


def errors(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]


def test_without_highdicom_the_command_says_what_to_install_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dicom_source, "highdicom_installed", lambda: False)
    write_series(tmp_path / "scan", axial_positions(24), tags=IN_A_FRAME)
    assert detect(tmp_path / "scan", out=tmp_path / "out") == 1
    (error,) = errors(capsys)
    assert "pip install" in error and "highdicom" in error and not (tmp_path / "out").exists()


@pytest.mark.usefixtures("pretended")
def test_a_nifti_scan_is_refused_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert detect(write_scan(tmp_path / "head.nii.gz"), out=tmp_path / "out") == 1
    (error,) = errors(capsys)
    assert "head.nii.gz' is no DICOM series" in error and "leave out --dicom" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("pretended")
def test_a_series_without_frame_of_reference_is_refused_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in write_series(tmp_path / "scan", axial_positions(24), tags=IN_A_FRAME):
        header = pydicom.dcmread(file)
        del header.FrameOfReferenceUID
        header.save_as(file)
    assert detect(tmp_path / "scan", out=tmp_path / "out") == 1
    (error,) = errors(capsys)
    assert "no frame of reference" in error and not (tmp_path / "out").exists()


@pytest.mark.usefixtures("pretended")
def test_a_time_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "noon")
    assert detect(tmp_path / "scan", out=tmp_path / "out") == 1
    assert "'noon', which is no time" in errors(capsys)[0]


@with_highdicom
def test_one_scan_of_a_batch_that_is_no_dicom_does_not_stop_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_series(tmp_path / "scan", axial_positions(24), tags=IN_A_FRAME, number=7)
    other = write_scan(tmp_path / "head.nii.gz")
    assert detect(other, tmp_path / "scan", "--no-arteries", out=tmp_path / "out") == 2
    assert len(errors(capsys)) == 1
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_dir()] == ["MR-series7"]
    written = {path.name for path in (tmp_path / "out" / "MR-series7").iterdir()}
    assert written - {"record.json"} == {"landmarks.mrk.json", "landmarks.csv", "detection.json", "landmarks.sr.dcm"}


@with_highdicom
def test_a_report_opens_again_and_its_arteries_are_traced_and_delivered(tmp_path: Path) -> None:
    scan = tmp_path / "scan"
    write_series(scan, axial_positions(24), tags=IN_A_FRAME)
    assert detect(scan, "--no-arteries", out=tmp_path / "first") == 0
    first = tmp_path / "first" / "MR-series5"
    again = ["arteries", str(scan), str(first / "landmarks.sr.dcm"), "--out", str(tmp_path / "again"), "--dicom", *FEW]
    assert main(again) == 0
    one, other = (
        read_detection_json(folder / "MR-series5" / "detection.json") for folder in (first.parent, tmp_path / "again")
    )
    for before, after in zip(one.landmarks, other.landmarks, strict=True):
        assert (after.code, after.state) == (before.code, before.state)
        assert after.position == pytest.approx(before.position, abs=1e-3)
    assert other.verdict is None and (tmp_path / "again" / "MR-series5" / "landmarks.sr.dcm").is_file()


@with_highdicom
def test_a_folder_with_results_beside_the_slices_is_read_as_before(tmp_path: Path) -> None:
    scan = tmp_path / "scan"
    write_series(scan, axial_positions(24), tags=IN_A_FRAME)
    assert detect(scan, "--no-arteries", out=scan) == 0
    assert detect(scan, "--no-arteries", "--force", out=tmp_path / "again") == 0
    assert [path.name for path in (tmp_path / "again").iterdir()] == ["MR-series5"]


def test_our_objects_are_no_scans_of_a_folder(tmp_path: Path) -> None:
    write_series(tmp_path / "scan", axial_positions(1))
    content = next((tmp_path / "scan").iterdir()).read_bytes()
    (tmp_path / "result").mkdir()
    for name in OBJECTS:
        (tmp_path / "result" / name).write_bytes(content)
    assert find_scans(tmp_path) == [tmp_path / "scan"]
