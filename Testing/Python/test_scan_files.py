"""The scans in a folder, and the table of a batch."""

from __future__ import annotations

from pathlib import Path

import pytest
from CoWLandmarksLib.core.errors import VolumeError
from CoWLandmarksLib.core.scan_files import find_scans


def touch(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_scans_are_found_at_any_depth_and_other_files_are_not(tmp_path: Path) -> None:
    expected = [
        touch(tmp_path / name)
        for name in ("a.nii.gz", "B.NII", "c.nrrd", "sub/d.mha", "sub/deep er/é.mhd", "sub/deep er/f.nhdr")
    ]
    for name in ("notes.txt", "a.json", "mask.seg.nrrd", ".hidden.nii", ".cache/g.nii", "f.raw"):
        touch(tmp_path / name)
    assert sorted(find_scans(tmp_path)) == sorted(expected)


def test_a_folder_of_dicom_slices_is_one_scan(tmp_path: Path) -> None:
    for number in range(3):
        touch(tmp_path / "series" / f"IM{number}", bytes(128) + b"DICM" + b"rest")
    assert find_scans(tmp_path) == [tmp_path / "series"]


def test_earlier_results_are_left_out(tmp_path: Path) -> None:
    scan = touch(tmp_path / "a.nii")
    touch(tmp_path / "results" / "a" / "heatmap-BA-T.nrrd")
    assert find_scans(tmp_path, tmp_path / "results") == [scan]
    assert len(find_scans(tmp_path)) == 2


def test_a_folder_without_scans_and_a_missing_one_are_reported(tmp_path: Path) -> None:
    touch(tmp_path / "notes.txt")
    with pytest.raises(VolumeError, match="holds no scan"):
        find_scans(tmp_path)
    with pytest.raises(VolumeError, match="does not exist"):
        find_scans(tmp_path / "missing")
