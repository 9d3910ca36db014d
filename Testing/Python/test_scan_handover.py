"""A scan handed to a child process: every voxel type, oblique axes, changes meanwhile, and what is left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from CoWLandmarksLib.core.errors import OutputError
from CoWLandmarksLib.core.volume import Volume
from CoWLandmarksLib.files.nrrd_file import write_plain_nrrd
from CoWLandmarksLib.io.volume_io import read_volume
from CoWLandmarksLib.jobs.process_identity import still_lives, this_process
from CoWLandmarksLib.jobs.scan_handover import ScanHandover
from CoWLandmarksLib.jobs.temporary_folders import MOST_DAYS, OWNER_FILE, SCENE, TRAINING, OwnedFolder, remove_orphans

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


def test_a_missing_temporary_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="temporary folder"):
        ScanHandover(make_volume(), tmp_path / "missing")


HAND_OVER = """
import sys, time
from pathlib import Path
import numpy as np
from CoWLandmarksLib.jobs.scan_handover import ScanHandover
from CoWLandmarksLib.core.volume import Volume

handover = ScanHandover(Volume(np.zeros((4, 4, 4), "int16"), np.eye(4), "patient"), Path(sys.argv[1]))
handover.write()
print(handover.folder, flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_what_a_killed_process_left_behind_goes_and_what_a_living_one_needs_stays(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", HAND_OVER, str(tmp_path)]
    mine = ScanHandover(make_volume(), tmp_path)
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        theirs = Path(process.stdout.readline().strip())
        assert (theirs / "patient.nrrd").is_file()
        assert remove_orphans(tmp_path, time.time() + 99 * 86400.0) == []
        process.terminate()
        if os.name == "posix":
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and not buried yet
            assert remove_orphans(tmp_path) == [theirs]
    remove_orphans(tmp_path)
    assert list(tmp_path.iterdir()) == [mine.folder]
    assert still_lives(this_process()) is True


def owned_by(handover: ScanHandover, **changes: object) -> Path:
    """Its folder, as if it belonged to another process."""
    owner = json.loads((handover.folder / OWNER_FILE).read_text())
    (handover.folder / OWNER_FILE).write_text(json.dumps({**owner, **changes}))
    return handover.folder


def test_a_process_that_got_the_number_of_a_dead_one_does_not_keep_its_scan(tmp_path: Path) -> None:
    folder = owned_by(ScanHandover(make_volume(), tmp_path), started="long ago")
    assert remove_orphans(tmp_path) == [folder] and not folder.exists()


def test_where_nobody_can_tell_whether_the_process_lives_age_decides(tmp_path: Path) -> None:
    elsewhere = owned_by(ScanHandover(make_volume(), tmp_path), host="another computer")
    damaged = ScanHandover(make_volume(), tmp_path).folder
    (damaged / OWNER_FILE).write_text("{")
    hidden = owned_by(ScanHandover(make_volume(), tmp_path), started=None)
    earlier = tmp_path / "cow-landmarks-abcd_123"  # of a version that did not write the owner
    earlier.mkdir(0o700)
    (earlier / "result-1").mkdir()
    (earlier / "scan.nrrd").touch()
    assert remove_orphans(tmp_path, time.time() + (MOST_DAYS - 1) * 86400.0) == []
    gone = remove_orphans(tmp_path, time.time() + (MOST_DAYS + 1) * 86400.0)
    assert set(gone) == {elsewhere, damaged, hidden, earlier}
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_ours_is_never_removed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "scan.nrrd").touch()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    for name in ("somebody", "cow-landmarks-models", "cow-landmarks-abcd_123"):
        (temporary / name).mkdir()
        (temporary / name / "notes.txt").touch()
    (temporary / "cow-landmarks-file_123").touch()
    if os.name == "posix":
        (temporary / "cow-landmarks-link_123").symlink_to(outside, target_is_directory=True)
    before = sorted(temporary.rglob("*"))
    assert remove_orphans(temporary, time.time() + 999 * 86400.0) == []
    assert remove_orphans(tmp_path / "missing") == []
    assert sorted(temporary.rglob("*")) == before and (outside / "scan.nrrd").is_file()


def test_a_persons_folder_of_scans_that_has_such_a_name_is_never_removed(tmp_path: Path) -> None:
    theirs = {
        "cow-training-patients": ["a.nrrd"],
        "cow-training-abcd_123": ["check.json", "a.nrrd"],
        "cow-scene-patients": ["a.nrrd"],
        "cow-landmarks-patients": ["a.nrrd", "b.nrrd"],
        "cow-landmarks-abcd_123": [],
    }
    for name, files in theirs.items():
        (tmp_path / name).mkdir(0o700)
        for file in files:
            (tmp_path / name / file).touch()
    if os.name == "posix":  # ours are private
        (tmp_path / "cow-landmarks-open_123").mkdir(0o755)
        (tmp_path / "cow-landmarks-open_123" / "a.nrrd").touch()
    before = sorted(tmp_path.rglob("*"))
    assert remove_orphans(tmp_path, time.time() + 999 * 86400.0) == []
    assert sorted(tmp_path.rglob("*")) == before
    (tmp_path / "cow-training-left_123").mkdir(0o700)
    (tmp_path / "cow-training-left_123" / "check.json").touch()
    assert remove_orphans(tmp_path, time.time() + 999 * 86400.0) == [tmp_path / "cow-training-left_123"]


SCENE_AND_REPORT = """
import sys, tempfile, time
from pathlib import Path
from CoWLandmarksLib.scene.scene_files import create_scene
from CoWLandmarksLib.jobs.temporary_folders import TRAINING, OwnedFolder

tempfile.tempdir = sys.argv[1]
kept = create_scene(), OwnedFolder(TRAINING, Path(sys.argv[1]))
print("made", flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_unpacked_scenes_and_reports_of_a_killed_process_go_too(tmp_path: Path) -> None:
    pytest.importorskip("slicer", reason="needs slicer-core")
    arguments = [sys.executable, "-c", SCENE_AND_REPORT, str(tmp_path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "made"
        left = sorted(tmp_path.iterdir())
        assert [path.name[: path.name.rindex("-") + 1] for path in left] == [SCENE, TRAINING]
        (left[0] / "patient").mkdir()
        (left[0] / "patient" / "scan.nrrd").write_bytes(b"voxels")
        assert remove_orphans(tmp_path, time.time() + 99 * 86400.0) == []
        process.kill()
        process.wait()
    assert remove_orphans(tmp_path) == left and list(tmp_path.iterdir()) == []


def test_a_folder_goes_with_the_object_that_holds_it(tmp_path: Path) -> None:
    folder = OwnedFolder(SCENE, tmp_path)
    assert folder.path.is_dir()
    del folder
    assert list(tmp_path.iterdir()) == []
