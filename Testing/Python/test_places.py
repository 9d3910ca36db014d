"""Places that are full, read-only, somebody else's, or used by two calls at once."""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bad_calls import THREE, point_list
from bad_models import sound_model
from CoWLandmarksLib.__main__ import main
from CoWLandmarksLib.core import atomic_files as files
from CoWLandmarksLib.core.anatomy import Anatomy, default_anatomy
from CoWLandmarksLib.core.atomic_files import write_json
from CoWLandmarksLib.core.detection import Detection
from CoWLandmarksLib.core.volume import Volume
from dicom_files import axial_positions, write_series
from fixed_detector import FixedDetector, make_fixed_detector, write_scan

ROOT_ON_LINUX = sys.platform == "linux" and os.geteuid() == 0
FEW = ["--no-arteries", "--no-scene", "--no-pictures"]
NOBODY = 65534


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Bytes of each file of a full delivery, in the order in which they are written; libraries are loaded by then."""
    folder = tmp_path_factory.mktemp("sizes")
    arguments = ["detect", str(write_scan(folder / "head.nii")), "--out", str(folder / "out"), "--no-arteries"]
    assert main(arguments, make_fixed_detector) == 0
    entries = sorted((folder / "out" / "head").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    return {entry.name: entry.stat().st_size for entry in entries}


@contextmanager
def small_disk(folder: Path, size_kib: int, *more: str) -> Iterator[Path]:
    """A disk in memory of this size."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", ",".join([f"size={size_kib}k", *more]), "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets nobody mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def one_error(capfd: pytest.CaptureFixture[str]) -> str:
    printed = capfd.readouterr().err
    errors = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, printed
    noise = [
        line for line in printed.splitlines() if not line.startswith(("error: ", "head.nii: ", "series: ", "study: "))
    ]
    assert noise == []
    assert errors[0].endswith(".")
    return errors[0]


class TestFullDisk:
    """A disk that fills up while a result is written."""

    @pytest.mark.slow
    @pytest.mark.skipif(not ROOT_ON_LINUX, reason="only the administrator of a Linux machine can mount a small disk")
    @pytest.mark.parametrize(
        "last",
        ["landmarks.mrk.json", "landmarks.csv", "detection.json", "report.png", "scene.mrb"],
    )
    def test_the_file_that_no_longer_fits_is_named_and_nothing_stays(
        self, tmp_path: Path, sizes: dict[str, int], last: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        before = list(sizes)[: list(sizes).index(last)]
        room = sum(4096 * -(-sizes[name] // 4096) for name in before) // 1024 + 4 * (last != "landmarks.mrk.json")
        with small_disk(tmp_path / "disk", max(4, room)) as disk:
            arguments = ["detect", str(write_scan(tmp_path / "head.nii")), "--out", str(disk / "out"), "--no-arteries"]
            assert main(arguments, make_fixed_detector) == 1
            assert list(disk.iterdir()) == []
        sentence = one_error(capfd)
        assert str(tmp_path / "disk" / "out" / "head") in sentence
        assert "cannot be written" in sentence
        assert "make room" in sentence

    def test_a_fake_full_disk_is_one_sentence_everywhere(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        def full(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(files.Path, "write_text", full)
        scan = write_scan(tmp_path / "head.nii")
        assert main(["detect", str(scan), "--out", str(tmp_path / "out"), *FEW], make_fixed_detector) == 1
        assert os.strerror(errno.ENOSPC) in one_error(capfd)
        assert [entry.name for entry in tmp_path.iterdir()] == ["head.nii"]

    @pytest.mark.skipif(not ROOT_ON_LINUX, reason="only the administrator of a Linux machine can mount a small disk")
    def test_an_earlier_result_survives_a_full_disk(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        with small_disk(tmp_path / "disk", 64) as disk:
            arguments = ["detect", str(write_scan(tmp_path / "head.nii")), "--out", str(disk / "out"), *FEW]
            assert main(arguments, make_fixed_detector) == 0
            earlier = {path.name: path.read_bytes() for path in (disk / "out" / "head").iterdir()}
            with (disk / "filler").open("wb") as filler, pytest.raises(OSError, match="space"):
                filler.write(bytes(1 << 20))
            capfd.readouterr()
            assert main([*arguments, "--force"], make_fixed_detector) == 1
            assert {path.name: path.read_bytes() for path in (disk / "out" / "head").iterdir()} == earlier
            assert [entry.name for entry in (disk / "out").iterdir()] == ["head"]
        assert "cannot be written" in one_error(capfd)


@pytest.mark.skipif(not ROOT_ON_LINUX, reason="only the administrator of a Linux machine can mount a disk")
def test_a_read_only_disk_is_one_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with small_disk(tmp_path / "disk", 64, "ro") as disk:
        arguments = ["detect", str(write_scan(tmp_path / "head.nii")), "--out", str(disk / "out"), *FEW]
        assert main(arguments, make_fixed_detector) == 1
    sentence = one_error(capfd)
    assert "Read-only file system" in sentence
    assert "--out" in sentence


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="cow-places-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the administrator's rights, for whom permissions mean nothing."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def _scan(folder: Path) -> tuple[list[object], Path]:
    path = write_scan(folder / "head.nii")
    return [path], path


def _series(folder: Path) -> tuple[list[object], Path]:
    write_series(folder / "series", axial_positions(16), shape=(16, 16))
    return [folder / "series"], folder / "series"


def _slice(folder: Path) -> tuple[list[object], Path]:
    written = write_series(folder / "series", axial_positions(16), shape=(16, 16))
    return [folder / "series"], written[7]


def _inner_folder(folder: Path) -> tuple[list[object], Path]:
    write_series(folder / "study" / "series", axial_positions(16), shape=(16, 16))
    return [folder / "study"], folder / "study" / "series"


def _closed_way(folder: Path) -> tuple[list[object], Path]:
    return [write_scan(folder / "closed" / "head.nii")], folder / "closed"


def _hint(folder: Path) -> tuple[list[object], Path]:
    write_json(folder / "hint.mrk.json", point_list(THREE))
    return [write_scan(folder / "head.nii"), "--hint", folder / "hint.mrk.json"], folder / "hint.mrk.json"


def _model(folder: Path) -> tuple[list[object], Path]:
    (folder / "m.cow.pt").write_bytes(sound_model())
    return [write_scan(folder / "head.nii"), "--model", folder / "m.cow.pt"], folder / "m.cow.pt"


def _output(folder: Path) -> tuple[list[object], Path]:
    (folder / "out").mkdir()
    return [write_scan(folder / "head.nii")], folder / "out"


@pytest.mark.skipif(os.name != "posix", reason="permissions of Windows are others")
@pytest.mark.parametrize(
    "make", [_scan, _series, _slice, _inner_folder, _closed_way, _hint, _model, _output], ids=lambda make: make.__name__
)
def test_what_may_not_be_used_is_one_sentence_that_names_it(
    make: Callable[[Path], tuple[list[object], Path]],
    shared: Path,
    sizes: dict[str, int],
    capfd: pytest.CaptureFixture[str],
) -> None:
    arguments, closed = make(shared)
    closed.chmod(0)
    capfd.readouterr()
    call = ["detect", *map(str, arguments), "--out", str(shared / "out"), *FEW]
    with as_nobody():
        code = main(call, None if make is _model else make_fixed_detector)
    closed.chmod(0o755)
    assert code == 1
    sentence = one_error(capfd)
    assert closed.name in sentence
    assert "ermission" in sentence
    assert not [entry for entry in shared.glob("out/**/*") if entry.is_file()]


class TestTwoCalls:
    """Two calls that deliver into one folder: the second one comes while the first one is at work."""

    @staticmethod
    def meanwhile(command: list[str]) -> Callable[[argparse.Namespace], tuple[FixedDetector, Anatomy]]:
        class Slow(FixedDetector):
            def detect(self, volume: Volume, **options: object) -> Detection:  # type: ignore[override]
                assert main(command, make_fixed_detector) == 0
                return super().detect(volume, **options)  # type: ignore[arg-type]

        return lambda arguments: (Slow(default_anatomy()), default_anatomy())

    def test_the_later_one_says_that_a_result_is_there(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        arguments = ["detect", str(write_scan(tmp_path / "head.nii")), "--out", str(tmp_path / "out"), *FEW]
        assert main(arguments, self.meanwhile(arguments)) == 1
        assert "already holds a result" in one_error(capfd)
        assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["head"]

    def test_with_force_the_last_one_stays(self, tmp_path: Path) -> None:
        arguments = ["detect", str(write_scan(tmp_path / "head.nii")), "--out", str(tmp_path / "out"), *FEW, "--force"]
        assert main(arguments, self.meanwhile(arguments)) == 0
        assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["head"]
        assert len(list((tmp_path / "out" / "head").iterdir())) == 3

    def test_different_scans_share_a_folder(self, tmp_path: Path) -> None:
        arguments = [
            ["detect", str(write_scan(tmp_path / name)), "--out", str(tmp_path / "out"), *FEW]
            for name in ("a.nii", "b.nii")
        ]
        assert main(arguments[0], self.meanwhile(arguments[1])) == 0
        assert sorted(entry.name for entry in (tmp_path / "out").iterdir()) == ["a", "b"]
