"""The training command line: wrong usage, missing libraries and unusable places are one sentence and exit code 1."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from CoWLandmarksTrainingLib.__main__ import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["wash"],
        ["phantom"],
        ["phantom", "--out", "cohort", "--mra", "-1"],
        ["phantom", "--out", "cohort", "--no-such-option"],
        ["default", "--preset", "huge"],
        ["default", "--preset", "small", "--set", "fine.stps=3"],
        ["default", "--preset", "small", "--only", "medium"],
        ["train", "aligned", "--out", "training", "--phantoms", "1.5"],
        ["train", "aligned", "--out", "training", "--start-from", "no-model.cow.pt"],
        ["study", "aligned", "--out", "study"],
        ["calibrate", "model.cow.pt"],
        ["calibrate", "model.cow.pt", "cohort", "--out", "new.cow.pt"],
        ["evaluate", "model.cow.pt"],
        ["evaluate", "model.cow.pt", "cohort"],
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_1(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    written = capsys.readouterr()
    assert written.out == ""
    assert len(written.err.splitlines()) == 1
    assert written.err.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


def test_help_and_version_are_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert main(["evaluate", "--help"]) == 0
    assert "COHORT" in capsys.readouterr().out


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    assert main(["default", "--preset", "small", "--out", str(tmp_path / "file" / "below"), "--device", "cpu"]) == 1
    [error] = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ")
    assert str(tmp_path / "file" / "below") in error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("CoWLandmarksTrainingLib", ["evaluate", "m.cow.pt", "cohort"]),
        ("CoWLandmarksTrainingLib", ["default", "--preset", "small"]),
        ("CoWLandmarksTrainingLib", ["phantom", "--mra", "1", "--out", "cohort"]),
        ("CoWLandmarksLib", ["detect", "head.nii", "--out", "out"]),
        ("CoWLandmarksLib", ["info", "m.cow.pt"]),
    ],
)
def test_without_torch_one_sentence_says_what_to_install(module: str, arguments: list[str], tmp_path: Path) -> None:
    probe = (
        f"import sys; sys.modules['torch'] = None; from {module}.__main__ import main; sys.exit(main({arguments!r}))"
    )
    folders = [str(ROOT / "CoWLandmarks"), str(ROOT / "CoWLandmarksTraining")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    done = subprocess.run(
        [sys.executable, "-c", probe], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    [error] = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert "pip install torch" in error
