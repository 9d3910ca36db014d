"""The command line with real files and a detector without a network: exit codes, results, messages."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from CoWLandmarksLib import __version__
from CoWLandmarksLib.__main__ import main
from CoWLandmarksLib.cli.detect_command import SAMPLE_FILE
from CoWLandmarksLib.core.anatomy import Anatomy, default_anatomy
from CoWLandmarksLib.core.detection import LandmarkEstimate, LandmarkState
from CoWLandmarksLib.files.markups import read_annotation, write_annotation
from CoWLandmarksLib.files.result_folders import BATCH_FILES, RECORD_FILE
from dicom_files import axial_positions, write_series
from fixed_detector import BROKEN, REFUSED, SLOW, UNTRUSTED, FixedDetector, make_fixed_detector, write_scan

ROOT = Path(__file__).resolve().parents[2]
ANATOMY = default_anatomy()
FEW_FILES = ["--no-scene", "--no-pictures", "--no-arteries"]
PLAIN_RESULT = ["detection.json", "landmarks.csv", "landmarks.mrk.json"]


def detect(*arguments: object, out: Path) -> int:
    return main(["detect", *map(str, arguments), "--out", str(out), *FEW_FILES], make_fixed_detector)


def names_in(directory: Path) -> list[str]:
    """What lies in a directory, without what a batch keeps of itself (test_run_manifest.py)."""
    return sorted({entry.name for entry in directory.iterdir()} - {*BATCH_FILES, RECORD_FILE})


def command(*arguments: object) -> tuple[list[str], dict[str, str]]:
    """Command and environment of a process that runs the command line with the fixed detector."""
    folders = [ROOT / "CoWLandmarks", ROOT / "Testing"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders)), "OMP_NUM_THREADS": "1"}
    return [sys.executable, str(ROOT / "Testing" / "fixed_detector.py"), *map(str, arguments)], environment


@pytest.mark.slow
def test_one_scan_gives_every_file_and_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = write_scan(tmp_path / "head.nii.gz")
    assert main(["detect", str(scan), "--out", str(tmp_path / "out")], make_fixed_detector) == 0
    assert names_in(tmp_path / "out") == ["head"]
    assert names_in(tmp_path / "out" / "head") == sorted(
        [*PLAIN_RESULT, "arteries.csv", "arteries.graph.json", "arteries.seg.nrrd", "report.png", "scene.mrb"]
    )
    landmarks = read_annotation(tmp_path / "out" / "head" / "landmarks.mrk.json", ANATOMY)
    assert [estimate.code for estimate in landmarks] == list(ANATOMY.codes)
    written = capsys.readouterr()
    assert written.out.splitlines()[1].split()[:2] == ["head", "ok"]
    assert f"picture: {tmp_path / 'out' / 'head' / 'report.png'}" in written.out
    assert "head.nii.gz: reading the scan" in written.err


def test_the_detection_is_called_like_its_folder(tmp_path: Path) -> None:
    scans = [write_scan(tmp_path / folder / "head.nii.gz") for folder in ("a", "b")]
    assert detect(*scans, out=tmp_path / "out") == 0
    content = json.loads((tmp_path / "out" / "head-2" / "detection.json").read_text(encoding="utf-8"))
    assert content["scan"] == "head-2"


def test_three_scans_of_one_name_are_numbered(tmp_path: Path) -> None:
    scans = [write_scan(tmp_path / name) for name in ("a/head.nii.gz", "b/head.nrrd", "c/head.mha")]
    assert detect(*scans, out=tmp_path / "out") == 0
    assert names_in(tmp_path / "out") == ["head", "head-2", "head-3"]


def test_a_bids_path_keeps_its_labels(tmp_path: Path) -> None:
    scan = write_scan(tmp_path / "sub-07" / "ses-1" / "anat" / "angio.nii.gz")
    assert detect(scan, out=tmp_path / "out") == 0
    assert names_in(tmp_path / "out") == ["sub-07_ses-1_angio"]


def test_a_dicom_folder_is_named_by_modality_and_series_never_by_its_path(tmp_path: Path) -> None:
    folders = [tmp_path / "Doe^John", tmp_path / "Doe^Jane"]
    for folder in folders:
        write_series(folder, axial_positions(24), number=7)
    assert detect(*folders, out=tmp_path / "out") == 0
    assert names_in(tmp_path / "out") == ["MR-series7", "MR-series7-2"]
    assert not any(b"Doe" in file.read_bytes() for file in (tmp_path / "out").rglob("*.*") if file.is_file())


@pytest.mark.parametrize("behaviour", [REFUSED, BROKEN])
def test_one_bad_scan_of_three_does_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], behaviour: int
) -> None:
    scans = [
        write_scan(tmp_path / f"{name}.nii.gz", value) for name, value in (("a", 900), ("b", behaviour), ("c", 900))
    ]
    assert detect(*scans, out=tmp_path / "out") == 2
    assert names_in(tmp_path / "out") == ["a", "c"]
    written = capsys.readouterr()
    errors = [line for line in written.err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "Traceback" not in written.err
    assert ("--debug" in errors[0]) == (behaviour == BROKEN)
    assert [line.split()[1] for line in written.out.splitlines() if line[:1] in "abc"] == ["ok", "failed", "ok"]


def test_the_number_of_a_name_does_not_depend_on_which_scan_fails(tmp_path: Path) -> None:
    scans = [write_scan(tmp_path / folder / "head.nii.gz", value) for folder, value in (("a", REFUSED), ("b", 900))]
    assert detect(*scans, out=tmp_path / "out") == 2
    assert names_in(tmp_path / "out") == ["head-2"]


def test_a_damaged_file_and_a_missing_one_deliver_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "damaged.nii.gz").write_bytes(b"no scan")
    assert detect(tmp_path / "damaged.nii.gz", tmp_path / "missing.nii.gz", out=tmp_path / "out") == 1
    assert not (tmp_path / "out").exists()
    errors = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("error:") and "damaged.nii.gz" in line for line in errors) == 1
    assert sum(line.startswith("error:") and "missing.nii.gz" in line for line in errors) == 1


def test_a_scan_that_is_not_to_be_trusted_gives_exit_code_3_and_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scans = [write_scan(tmp_path / "head.nii.gz"), write_scan(tmp_path / "knee.nii.gz", UNTRUSTED)]
    assert detect(*scans, out=tmp_path / "out") == 3
    assert names_in(tmp_path / "out") == ["head", "knee"]
    table = capsys.readouterr().out
    assert "do not trust" in table
    assert "This is a knee." in table


def test_a_failed_scan_weighs_more_than_one_not_to_be_trusted(tmp_path: Path) -> None:
    scans = [write_scan(tmp_path / "a.nii.gz", REFUSED), write_scan(tmp_path / "b.nii.gz", UNTRUSTED)]
    assert detect(*scans, out=tmp_path / "out") == 2


def test_an_earlier_result_is_kept_without_force_and_replaced_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = write_scan(tmp_path / "head.nii.gz")
    assert detect(scan, out=tmp_path / "out") == 0
    note = tmp_path / "out" / "head" / "old.txt"
    note.write_text("old", encoding="utf-8")
    assert detect(scan, out=tmp_path / "out") == 1
    assert "--force" in capsys.readouterr().err
    assert note.exists()
    assert detect(scan, "--force", out=tmp_path / "out") == 0
    assert names_in(tmp_path / "out") == ["head"]
    assert names_in(tmp_path / "out" / "head") == PLAIN_RESULT


def test_json_progress_is_json_only_and_ends_with_the_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = write_scan(tmp_path / "head.nii.gz")
    assert detect(scan, "--json-progress", out=tmp_path / "out") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert list(dict.fromkeys(line["stage"] for line in lines if "stage" in line)) == [
        "read",
        "align",
        "refine",
        "write",
    ]
    fractions = [line["fraction"] for line in lines if "fraction" in line]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0.0
    assert fractions[-1] == 1.0
    assert lines[-1]["event"] == "result"
    assert Path(lines[-1]["path"]) == tmp_path / "out" / "head"


def test_json_progress_of_several_scans_ends_with_the_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scans = [write_scan(tmp_path / "a.nii.gz"), write_scan(tmp_path / "b.nii.gz", REFUSED)]
    assert detect(*scans, "--json-progress", out=tmp_path / "out") == 2
    written = capsys.readouterr()
    lines = [json.loads(line) for line in written.out.splitlines()]
    ends = [(line["event"], line.get("scan")) for line in lines if line["event"] in ("result", "error")]
    assert ends == [("result", "a.nii.gz"), ("error", "b.nii.gz"), ("result", None)]
    assert lines[-1]["message"] == "1 of 2 scans delivered"
    assert "error: " in written.err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["detect"],
        ["detect", "head.nii"],
        ["detect", "--out", "out"],
        ["detect", "head.nii", "--out", "out", "--device", "abacus"],
        ["detect", "head.nii", "--out", "out", "--modality", "pet"],
        ["detect", "head.nii", "--out", "out", "--sample"],
        ["detect", "a.nii", "b.nii", "--out", "out", "--hint", "points.mrk.json"],
        ["detect", "head.nii", "--out", "out", "--no-such-option"],
        ["wash"],
        ["info"],
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_1(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments, make_fixed_detector) == 1
    written = capsys.readouterr()
    assert written.out == ""
    assert len(written.err.splitlines()) == 1
    assert written.err.startswith("error: ")
    assert names_in(tmp_path) == []


def test_wrong_usage_with_json_progress_ends_with_an_error_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detect", "--json-progress"], make_fixed_detector) == 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["event"] == "error"


@pytest.mark.slow
def test_help_and_version_come_without_loading_torch(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out
    assert main(["detect", "--help"]) == 0
    assert "--no-arteries" in capsys.readouterr().out
    probe = (
        "import sys; from CoWLandmarksLib.__main__ import main; main(['--help']); main(['detect']); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'SimpleITK', 'vtk')))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "CoWLandmarks")}
    assert (
        subprocess.run([sys.executable, "-c", probe], env=environment, capture_output=True, check=False).returncode == 0
    )


def test_a_missing_model_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = write_scan(tmp_path / "head.nii.gz")
    arguments = ["detect", str(scan), "--out", str(tmp_path / "out"), "--model", str(tmp_path / "none.cow.pt")]
    assert main(arguments) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert "none.cow.pt" in errors[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("trouble", [RuntimeError("CUDA error:\nno kernel image"), MemoryError()])
def test_a_device_that_cannot_take_the_model_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], trouble: Exception
) -> None:
    def make(arguments: argparse.Namespace) -> tuple[FixedDetector, Anatomy]:
        raise trouble

    assert main(["detect", "head.nii", "--out", str(tmp_path / "out")], make) == 1
    [error] = capsys.readouterr().err.splitlines()
    assert "try --device cpu" in error


def hint_file(path: Path, count: int, found_by_program: int = 0) -> Path:
    """Points of which the first `count` are a person's, the others the program's."""
    points = [
        LandmarkEstimate(code, (1.0, 2.0, 3.0), LandmarkState.FOUND, 1.0, 0.0, corrected=number < count)
        for number, code in enumerate(ANATOMY.codes[: count + found_by_program])
    ]
    write_annotation(path, points, ANATOMY)
    return path


def test_a_hint_reaches_the_detector_in_ras(tmp_path: Path) -> None:
    scan, detector = write_scan(tmp_path / "head.nii.gz"), FixedDetector(ANATOMY)
    hint = hint_file(tmp_path / "hint.mrk.json", 3)
    command = [
        "detect",
        str(scan),
        "--out",
        str(tmp_path / "out"),
        "--hint",
        str(hint),
        "--modality",
        "cta",
        *FEW_FILES,
    ]
    assert main(command, lambda arguments: (detector, ANATOMY)) == 0
    [(name, modality, points)] = detector.calls
    assert (name, modality and modality.value) == ("head", "cta")
    assert points is not None
    assert {code: tuple(point) for code, point in points.items()} == dict.fromkeys(ANATOMY.codes[:3], (1.0, 2.0, 3.0))


def test_of_a_result_given_back_as_hint_only_corrected_points_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan, detector = write_scan(tmp_path / "head.nii.gz"), FixedDetector(ANATOMY)
    hint = hint_file(tmp_path / "landmarks.mrk.json", 4, found_by_program=15)
    command = ["detect", str(scan), "--out", str(tmp_path / "out"), "--hint", str(hint), *FEW_FILES]
    assert main(command, lambda arguments: (detector, ANATOMY)) == 0
    [(_, _, points)] = detector.calls
    assert points is not None
    assert tuple(points) == ANATOMY.codes[:4]
    assert "4 of the 19 points" in capsys.readouterr().err


def test_an_uncorrected_result_is_no_hint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hint = hint_file(tmp_path / "landmarks.mrk.json", 0, found_by_program=19)
    assert detect(write_scan(tmp_path / "head.nii.gz"), "--hint", hint, out=tmp_path / "out") == 1
    [error] = capsys.readouterr().err.splitlines()
    assert "0 landmarks" in error
    assert "corrected=1" in error


def test_a_hint_of_two_points_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = write_scan(tmp_path / "head.nii.gz")
    assert detect(scan, "--hint", hint_file(tmp_path / "hint.mrk.json", 2), out=tmp_path / "out") == 1
    assert "3 or more" in capsys.readouterr().err


def test_unicode_names_travel_through(tmp_path: Path) -> None:
    scan = write_scan(tmp_path / "größe 脳 ß.nii.gz")
    assert detect(scan, out=tmp_path / "aus gabe ü") == 0
    assert names_in(tmp_path / "aus gabe ü") == ["größe 脳 ß"]


@pytest.mark.slow
def test_a_console_that_knows_ascii_only_does_not_stop_the_work(tmp_path: Path) -> None:
    scan = write_scan(tmp_path / "größe.nii.gz")
    arguments, environment = command("detect", scan, "--out", tmp_path / "out", *FEW_FILES)
    environment |= {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert names_in(tmp_path / "out" / "größe") == PLAIN_RESULT


def test_a_very_long_file_name_gets_a_shorter_folder(tmp_path: Path) -> None:
    scan = write_scan(tmp_path / ("x" * 240 + ".nii.gz"))
    assert detect(scan, out=tmp_path / "out") == 0
    [name] = names_in(tmp_path / "out")
    assert len(name) < 200


def test_a_path_longer_than_the_system_allows_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = tmp_path.joinpath(*["x" * 200] * 30, "head.nii.gz")
    assert detect(scan, out=tmp_path / "out") == 1
    assert sum(line.startswith("error:") for line in capsys.readouterr().err.splitlines()) == 1


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that even the administrator cannot write")
def test_an_output_that_cannot_be_written_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert detect(write_scan(tmp_path / "head.nii.gz"), out=Path("/proc/out")) == 1
    [error] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert "/proc/out/head" in error
    assert "cannot be written" in error


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals to a process are POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_earlier_results_and_nothing_half_written(tmp_path: Path, number: signal.Signals) -> None:
    scans = [write_scan(tmp_path / "a.nii.gz"), write_scan(tmp_path / "slow.nii.gz", SLOW)]
    out = tmp_path / "out"
    arguments, environment = command("detect", *scans, "--out", out, "--json-progress", *FEW_FILES)
    with subprocess.Popen(
        arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while '"refine"' not in (line := process.stdout.readline()) or "slow" not in line:
            assert line, "the process ended early"
        time.sleep(0.2)
        assert len(names_in(out)) == 2
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 2
    assert names_in(out) == ["a"]
    assert json.loads(stdout.splitlines()[-1])["event"] == "error"
    assert "Traceback" not in stderr
    assert "nothing half-written" in stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals to a process are POSIX")
def test_an_interrupt_before_anything_is_delivered_gives_exit_code_1(tmp_path: Path) -> None:
    scans = [write_scan(tmp_path / "bad.nii.gz", REFUSED), write_scan(tmp_path / "slow.nii.gz", SLOW)]
    arguments, environment = command("detect", *scans, "--out", tmp_path / "out", "--json-progress", *FEW_FILES)
    with subprocess.Popen(
        arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while '"refine"' not in (line := process.stdout.readline()) or "slow" not in line:
            assert line, "the process ended early"
        process.send_signal(signal.SIGINT)
        stdout, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert json.loads(stdout.splitlines()[-1])["event"] == "error"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_listener_that_is_gone_or_full_does_not_end_in_a_traceback(tmp_path: Path) -> None:
    arguments, environment = command(
        "detect", write_scan(tmp_path / "head.nii.gz"), "--out", tmp_path / "out", *FEW_FILES
    )
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(arguments, env=environment, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert names_in(tmp_path / "out") == ["head"]


@pytest.mark.slow
def test_debug_shows_where_an_error_comes_from(tmp_path: Path) -> None:
    scan = write_scan(tmp_path / "head.nii.gz", BROKEN)
    arguments, environment = command("detect", scan, "--out", tmp_path / "out", "--debug")
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "Traceback" in done.stderr


def test_without_slicer_core_the_rest_is_delivered_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "slicer", None)
    scan = write_scan(tmp_path / "head.nii.gz")
    arguments = ["detect", str(scan), "--out", str(tmp_path / "out"), "--no-pictures", "--no-arteries"]
    assert main(arguments, make_fixed_detector) == 0
    assert names_in(tmp_path / "out" / "head") == PLAIN_RESULT
    assert "warning: head.nii.gz: scene.mrb was left out" in capsys.readouterr().err


def test_the_sample_comes_with_the_program(tmp_path: Path) -> None:
    if not SAMPLE_FILE.is_file():
        pytest.skip("the sample is not there yet")
    assert detect("--sample", out=tmp_path / "out") == 0
    assert names_in(tmp_path / "out") == [SAMPLE_FILE.name.removesuffix(".nii.gz")]


def test_info_tells_what_is_understood_of_a_scan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = write_scan(tmp_path / "head.nrrd")
    assert main(["info", str(scan)]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert rows["size"] == "24 x 28 x 20 voxels (i, j, k)"
    assert rows["spacing"] == "2.000 x 2.000 x 2.500 mm"
    assert rows["orientation"] == "LPS"
    assert rows["modality"].startswith("MRA")


def test_info_of_what_is_no_scan_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(__file__, tmp_path / "notes.txt")
    assert main(["info", str(tmp_path / "notes.txt")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
