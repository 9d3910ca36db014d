"""A scan has one hash, which changes with any of the files that hold its voxels."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from CoWLandmarksLib.io.scan_hash import scan_sha256
from CoWLandmarksLib.io.volume_io import read_volume
from fixed_detector import write_scan

NRRD = """NRRD0004
type: short
dimension: 3
space: left-posterior-superior
sizes: 4 4 3
space directions: (2,0,0) (0,2,0) (0,0,2)
kinds: domain domain domain
endian: little
encoding: raw
space origin: (0,0,0)
data file: """
META = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
TransformMatrix = 1 0 0 0 1 0 0 0 1
Offset = 0 0 0
ElementSpacing = 2 2 2
DimSize = 4 4 3
ElementType = MET_SHORT
ElementDataFile = """
LISTED = "LIST\nslice 07.raw\nslice 08.raw\nslice 09.raw\n"


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("scan.nhdr", NRRD + LISTED),
        ("scan.nhdr", NRRD + "slice_%02d.raw 7 9 1\n"),
        ("scan.mhd", META + LISTED),
        ("scan.mhd", META + "slice_%02d.raw 7 9 1\n"),
    ],
)
def test_voxels_in_several_files_count(tmp_path: Path, name: str, header: str) -> None:
    voxels = np.arange(48, dtype="<i2").reshape(3, 4, 4)
    for number, plane in zip((7, 8, 9), voxels, strict=True):
        for pattern in ("slice_%02d.raw", "slice %02d.raw"):
            (tmp_path / (pattern % number)).write_bytes(plane.tobytes())
    (tmp_path / name).write_text(header, encoding="ascii")
    assert np.array_equal(read_volume(tmp_path / name).voxels, voxels), "these are the files that are read"
    before = scan_sha256(tmp_path / name)
    for part in tmp_path.glob("slice?09.raw"):
        part.write_bytes(bytes(32))
    assert scan_sha256(tmp_path / name) != before


def test_a_single_file_has_the_hash_that_other_programs_print(tmp_path: Path) -> None:
    path = write_scan(tmp_path / "head.nii.gz")
    assert scan_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "content", ["NRRD0004\ndata file: s%02d.raw one\n\n", "ElementDataFile\n", "ElementDataFile ="]
)
@pytest.mark.parametrize("name", ["scan.nhdr", "scan.mhd"])
def test_a_header_that_names_no_file_stands_for_itself(tmp_path: Path, content: str, name: str) -> None:
    (tmp_path / name).write_text(content, encoding="ascii")
    assert scan_sha256(tmp_path / name) == hashlib.sha256(content.encode("ascii")).hexdigest()
