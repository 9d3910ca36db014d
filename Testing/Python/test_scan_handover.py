"""A scan handed to a child process: every voxel type, oblique axes, changes meanwhile, and what is left behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from CoWLandmarksLib.errors import OutputError
from CoWLandmarksLib.scan_handover import ScanHandover, write_plain_nrrd
from CoWLandmarksLib.volume import Volume
from CoWLandmarksLib.volume_io import read_volume

OBLIQUE = np.array([[-0.48, 0.05, 0.14, 31.0], [0.02, 0.5, -0.12, -22.5], [0.14, 0.11, 0.77, 8.25], [0, 0, 0, 1]])


def make_volume(dtype: str = "int16", name: str = "scan") -> Volume:
    voxels = np.random.default_rng(5).integers(0, 2 if dtype == "bool" else 100, (9, 10, 11)).astype(dtype)
    return Volume(voxels, OBLIQUE, name)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "uint16", "int16", ">i2", "int32", "float16", "float64"])
def test_every_voxel_type_is_read_back_at_its_place(tmp_path: Path, dtype: str) -> None:
    volume = make_volume(dtype)
    write_plain_nrrd(tmp_path / "scan.nrrd", volume)
    back = read_volume(tmp_path / "scan.nrrd")
    np.testing.assert_array_equal(back.voxels, volume.voxels)
    np.testing.assert_allclose(back.ijk_to_ras, OBLIQUE, atol=1e-12)


def test_a_part_of_a_larger_array_is_written_as_it_is(tmp_path: Path) -> None:
    volume = make_volume()
    part = replace(volume, voxels=volume.voxels[:, ::2, 1:])
    write_plain_nrrd(tmp_path / "scan.nrrd", part)
    np.testing.assert_array_equal(read_volume(tmp_path / "scan.nrrd").voxels, part.voxels)


def test_colour_and_complex_voxels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="grey scan"):
        write_plain_nrrd(tmp_path / "scan.nrrd", make_volume("complex64"))


def test_a_scan_that_changes_while_it_is_written_is_written_again(tmp_path: Path) -> None:
    volume = make_volume()
    asked = 0

    def changes() -> int:
        nonlocal asked
        asked += 1
        if asked == 3:  # after the file was written
            volume.voxels[:] = 7
        return min(asked, 3)

    handover = ScanHandover(volume, tmp_path, changes)
    handover.write()
    assert (read_volume(handover.path).voxels == 7).all()


def test_the_folder_holds_everything_and_goes_with_it(tmp_path: Path) -> None:
    handover = ScanHandover(make_volume(name="Größe: a/b"), tmp_path)
    handover.write()
    assert handover.path.is_file() and handover.path.parent == handover.folder
    results = {handover.next_result(), handover.next_result()}
    assert len(results) == 2 and {path.parent for path in results} == {handover.folder}
    handover.write()  # stands already
    handover.discard()
    handover.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_missing_temporary_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="temporary folder"):
        ScanHandover(make_volume(), tmp_path / "missing")
