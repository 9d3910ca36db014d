"""Several processes share one batch: nothing lost, nothing done twice, whoever is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from CoWLandmarksLib.__main__ import main
from CoWLandmarksLib.jobs.process_lock import process_lock
from dicom_files import axial_positions, write_series
from fixed_detector import AWAKE, REFUSED, SLOW, UNTRUSTED, make_fixed_detector, write_scan

FEW = ("--no-scene", "--no-arteries", "--no-pictures", "--with-paths")
DETECTOR = Path(__file__).resolve().parents[1] / "fixed_detector.py"


def detect(scans: list[Path], out: Path, shard: str, *options: str) -> int:
    return main(["detect", *map(str, scans), "--out", str(out), "--shard", shard, *FEW, *options], make_fixed_detector)


def collected(out: Path, code: int = 0) -> dict[str, Any]:
    assert main(["collect", str(out), "--with-paths"]) == code
    content: dict[str, Any] = json.loads((out / "run.json").read_text(encoding="utf-8"))
    return content


def made(out: Path) -> dict[str, int]:
    """When the record of each result was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("*/record.json")}


@pytest.fixture
def scans(tmp_path: Path) -> list[Path]:
    """Five scans, two of the same name, one refused."""
    names = {"a/head.nii": 900, "b/head.nii": 899, "c.nii": UNTRUSTED, "d.nii": REFUSED, "e.nii": 905}
    return [write_scan(tmp_path / "in" / name, value) for name, value in names.items()]


@pytest.mark.parametrize("order", [1, -1])
def test_shards_make_what_one_call_makes_in_any_order(tmp_path: Path, scans: list[Path], order: int) -> None:
    main(["detect", *map(str, scans), "--out", str(tmp_path / "one"), *FEW], make_fixed_detector)
    codes = {shard: detect(scans[::order], tmp_path / "out", shard) for shard in ("2/3", "3/3", "1/3")[::order]}
    assert codes == {"1/3": 2, "2/3": 0, "3/3": 3}
    run = collected(tmp_path / "out", 2)
    one = json.loads((tmp_path / "one" / "run.json").read_text(encoding="utf-8"))
    kept = ("number", "path", "result", "sha256", "verdict", "landmarks", "error")
    assert [[entry[key] for key in kept] for entry in run["scans"]] == [[e[key] for key in kept] for e in one["scans"]]
    assert run["options"] == one["options"] and run["model"] == one["model"]
    for file in (tmp_path / "one").glob("*/detection.json"):
        assert (tmp_path / "out" / file.parent.name / file.name).read_bytes() == file.read_bytes()


def test_a_shard_without_scans_is_done_at_once(tmp_path: Path, scans: list[Path]) -> None:
    assert [detect(scans[:2], tmp_path / "out", f"{number}/3") for number in (1, 2, 3)] == [0, 0, 0]
    assert len(collected(tmp_path / "out")["scans"]) == 2


def test_series_of_the_same_number_keep_apart(tmp_path: Path) -> None:
    series = [tmp_path / "in" / patient for patient in "ab"]
    for number, folder in enumerate(series):
        write_series(folder, axial_positions(18, 1.5 + 0.1 * number))
    assert [detect(series, tmp_path / "out", f"{number}/2") for number in (1, 2)] == [0, 0]
    assert [entry["path"] for entry in collected(tmp_path / "out")["scans"]] == list(map(str, series))


def test_what_is_missing_is_said(tmp_path: Path, scans: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    detect(scans, tmp_path / "out", "1/2")
    (tmp_path / "out" / "head" / "landmarks.csv").unlink()
    collected(tmp_path / "out", 2)
    written = capsys.readouterr().err
    assert "2 scans are not done; start these shards again with --resume: 2/2." in written
    errors = [entry["error"] for entry in json.loads((tmp_path / "out" / "run.json").read_text())["scans"]]
    assert errors == ["The result is not whole; run again with --resume.", None, None]


@pytest.mark.parametrize("option", [["--modality", "cta"], ["--no-such-scan"], ["1/3"]])
def test_shards_of_different_batches_do_not_mix(
    tmp_path: Path, scans: list[Path], capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    detect(scans, tmp_path / "out", "1/2")
    before = made(tmp_path / "out")
    capsys.readouterr()
    shard = option[0] if "/" in option[0] else "2/2"
    others = scans[:-1] if option == ["--no-such-scan"] else scans
    assert detect(others, tmp_path / "out", shard, *(option if option[0] == "--modality" else [])) == 1
    written = capsys.readouterr().err
    assert "Shard 1/2 in" in written and "has other scans, options or another number of shards" in written
    assert made(tmp_path / "out") == before


def test_a_shard_is_worked_on_by_one_process_and_begun_once(
    tmp_path: Path, scans: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    (out / "shards").mkdir(parents=True)
    with process_lock(out / "shards" / "1-of-2.lock"):
        assert detect(scans, out, "1/2", "--resume") == 1
        assert "Another process works on shard 1/2 in" in capsys.readouterr().err
        assert [path.name for path in out.rglob("*")] == ["shards", "1-of-2.lock"]
        assert detect(scans, out, "2/2") == 2, "the other shard is free"
    assert detect(scans, out, "1/2") == 3
    before = made(out)
    capsys.readouterr()
    assert detect(scans, out, "1/2") == 1
    assert "was begun before; use --resume to go on, or --force to make" in capsys.readouterr().err
    assert made(out) == before


def test_what_a_shard_noted_stands_until_it_comes_to_the_scan_again(tmp_path: Path, scans: list[Path]) -> None:
    out = tmp_path / "out"
    detect(scans, out, "1/1")
    before = collected(out, 2)["scans"]
    scans[0].write_bytes(b"damaged")
    scans[1].unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("CoWLandmarksLib.pipeline.batch.ScanBatch.run", _stopped)
        assert detect(scans, out, "1/1", "--resume") == 1
    assert collected(out, 2)["scans"] == before


def _stopped(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("shard", ["0/2", "3/2", "2", "a/b", "1/0", "-1/2", ""])
def test_a_wrong_shard_is_refused(
    tmp_path: Path, scans: list[Path], capsys: pytest.CaptureFixture[str], shard: str
) -> None:
    assert main(["detect", str(scans[0]), "--out", str(tmp_path / "out"), f"--shard={shard}"]) == 1
    assert f"'{shard}' is no shard; give K/N with K from 1 to N, such as 2/8" in capsys.readouterr().err


def test_there_is_nothing_to_collect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["collect", str(tmp_path)]) == 1
    assert "holds no recorded result; a call of detect with several scans" in capsys.readouterr().err
    assert main(["collect", str(tmp_path / "nowhere")]) == 1
    assert "is no folder; give the --out of a batch." in capsys.readouterr().err
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "1-of-2.json").write_text("{", encoding="utf-8")
    assert main(["collect", str(tmp_path)]) == 1
    assert "is damaged or of another version; remove it and start that shard again." in capsys.readouterr().err


def started(scans: list[Path], out: Path, shard: str, **environment: str) -> subprocess.Popen[str]:
    """A process that works on a shard."""
    command = [sys.executable, str(DETECTOR), "detect", *map(str, scans), "--out", str(out), "--shard", shard]
    return subprocess.Popen(
        [*command, *FEW, "--resume"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


def wait_for(out: Path, pattern: str) -> None:
    """Until something of this name is there."""
    end = time.monotonic() + 60
    while not list(out.glob(pattern)):
        assert time.monotonic() < end, pattern
        time.sleep(0.02)


@pytest.mark.slow
def test_a_killed_process_is_started_again_and_nothing_is_lost_or_done_twice(tmp_path: Path) -> None:
    """The scan s4 belongs to shard 1, after s0 and s2; the process is killed in the middle of it."""
    scans = [
        write_scan(tmp_path / "in" / f"s{number}.nii", SLOW if number == 4 else 890 + number) for number in range(8)
    ]
    out = tmp_path / "out"
    first, second = started(scans, out, "1/2"), started(scans, out, "2/2")
    wait_for(out, ".s4.partial-*")
    first.send_signal(signal.SIGKILL)
    first.communicate()
    second.communicate()
    assert (first.returncode, second.returncode) == (-signal.SIGKILL, 0)
    before = made(out)
    assert set(before) == {"s0", "s2", "s1", "s3", "s5", "s7"}
    assert main(["collect", str(out)]) == 2, "two scans are not done"
    again = [started(scans, out, shard, **{AWAKE: "1"}) for shard in ("1/2", "2/2")]
    written = [process.communicate()[0] for process in again]
    assert [process.returncode for process in again] == [0, 0], written
    after = made(out)
    assert {name: after[name] for name in before} == before, "done twice"
    assert set(after) == {f"s{number}" for number in range(8)}, "lost"
    assert written[0].count("done earlier") == 2 and written[1].count("done earlier") == 4
    run = collected(out)
    assert [entry["path"] for entry in run["scans"]] == list(map(str, scans))
    assert [path for path in out.iterdir() if path.name.startswith(".")] == []
