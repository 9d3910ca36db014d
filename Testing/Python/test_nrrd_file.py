"""NRRD written without SimpleITK, packed a little at a time, read back by SimpleITK."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from CoWLandmarksLib.core.errors import OutputError, VolumeError
from CoWLandmarksLib.core.volume import Volume
from CoWLandmarksLib.files import nrrd_file
from CoWLandmarksLib.files.nrrd_file import packing_nrrd, read_own_nrrd, read_plain_nrrd, write_plain_nrrd
from CoWLandmarksLib.io.volume_io import read_volume
from example_detection import OBLIQUE


def make_volume(dtype: str) -> Volume:
    voxels = np.random.default_rng(1).integers(0, 2 if dtype == "bool" else 120, (9, 10, 11)).astype(dtype)
    return Volume(voxels, OBLIQUE, "scan")


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint8", "int16", "uint16", ">i2", "int32", "float16", "float32", ">f4", "float64"]
)
def test_every_type_is_read_back_as_it_was(tmp_path: Path, dtype: str) -> None:
    volume = make_volume(dtype)
    list(packing_nrrd(tmp_path / "scan.nrrd", volume))
    back = read_volume(tmp_path / "scan.nrrd")
    np.testing.assert_array_equal(back.voxels, volume.voxels)
    np.testing.assert_allclose(back.ijk_to_ras, OBLIQUE, atol=1e-9)


def test_voxels_that_are_not_contiguous_are_written_in_their_order(tmp_path: Path) -> None:
    whole = make_volume("int16")
    part = Volume(whole.voxels[:, ::-1, 1:], OBLIQUE, "scan")
    list(packing_nrrd(tmp_path / "scan.nrrd", part))
    np.testing.assert_array_equal(read_volume(tmp_path / "scan.nrrd").voxels, part.voxels)


def test_the_part_done_grows_and_the_file_appears_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nrrd_file, "_CHUNK_BYTES", 200)
    path = tmp_path / "scan.nrrd"
    done = []
    for fraction in packing_nrrd(path, make_volume("int16")):
        assert not path.exists()
        done.append(fraction)
    assert len(done) == 10 and done == sorted(done) and path.exists()
    assert [file.name for file in tmp_path.iterdir()] == ["scan.nrrd"]


def test_an_earlier_file_stays_when_writing_is_broken_off(tmp_path: Path) -> None:
    path = tmp_path / "scan.nrrd"
    path.write_bytes(b"before")
    steps = packing_nrrd(path, make_volume("int16"))
    next(steps)
    steps.close()
    assert path.read_bytes() == b"before" and len(list(tmp_path.iterdir())) == 1


def test_the_same_scan_makes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.nrrd", "b.nrrd"):
        list(packing_nrrd(tmp_path / name, make_volume("int16")))
    assert (tmp_path / "a.nrrd").read_bytes() == (tmp_path / "b.nrrd").read_bytes()


def test_what_nrrd_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="complex64"):
        list(packing_nrrd(tmp_path / "scan.nrrd", make_volume("complex64")))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_what_is_written_here_is_read_here_plain_or_packed(tmp_path: Path, dtype: str) -> None:
    volume = make_volume(dtype)
    list(packing_nrrd(tmp_path / "packed.nrrd", volume, {"Segment0_Tags": "name:left MCA: M1|"}))
    write_plain_nrrd(tmp_path / "plain.nrrd", volume)
    for name in ("packed.nrrd", "plain.nrrd"):
        voxels, header = read_own_nrrd(tmp_path / name)
        np.testing.assert_array_equal(voxels, volume.voxels)
        assert voxels.dtype == volume.voxels.dtype
        assert header.pairs == ({"Segment0_Tags": "name:left MCA: M1|"} if name == "packed.nrrd" else {})
    back = read_plain_nrrd(tmp_path / "plain.nrrd", "heatmap")
    np.testing.assert_array_equal(back.voxels, volume.voxels)
    np.testing.assert_array_equal(back.ijk_to_ras, OBLIQUE)


@pytest.mark.parametrize("content", [b"", b"NRRD0004\ntype: uint8\nsizes: 2 2 2\nencoding: gzip\n\nno gzip", b"\n\n"])
def test_a_file_that_is_none_of_ours_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.nrrd").write_bytes(content)
    with pytest.raises(VolumeError, match="run the detection again"):
        read_plain_nrrd(tmp_path / "x.nrrd", "x")
