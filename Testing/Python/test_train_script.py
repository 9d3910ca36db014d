"""The script for Slicer without a window: it runs with plain Python as well, imports no Qt, and its exit code tells."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cohort_cases import write_cohort
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.atomic_files import write_json
from CoWLandmarksTrainingLib.cli import run_command
from CoWLandmarksTrainingLib.records.aligned_folder import AlignedCohort

SCRIPT = Path(__file__).resolve().parents[2] / "CoWLandmarksTraining" / "Scripts" / "train.py"
_LOADED = runpy.run_path(str(SCRIPT), run_name="train")
COMMAND_OF, DISPLAY_NOTE = _LOADED["command_of"], _LOADED["display_note"]
IN_SLICER = """
import runpy, sys, slicer
for name in ("qt", "ctk", "PythonQt"):
    sys.modules[name] = None
slicer.app = object()
codes = []
slicer.util.exit = codes.append
sys.argv = [{script!r}, *{arguments!r}]
runpy.run_path({script!r}, run_name="__main__")
print("exit", codes)
"""


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ([], ["run"]),
        (["--config", "f.toml"], ["run", "--config", "f.toml"]),
        (["--", "--config", "f.toml"], ["run", "--config", "f.toml"]),
        (["check", "cohort"], ["check", "cohort"]),
        (["--", "split", "cohort"], ["split", "cohort"]),
    ],
)
def test_the_arguments_behind_the_script_mean_a_command(arguments: list[str], command: list[str]) -> None:
    assert COMMAND_OF(arguments) == command


def outside(code: str, *arguments: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    left_out = ("PYTHONPATH", "DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM", "XAUTHORITY")
    environment = {name: value for name, value in os.environ.items() if name not in left_out} | more
    command = [sys.executable, *(["-c", code] if code else [str(SCRIPT)]), *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_with_plain_python_the_exit_code_is_that_of_the_command(tmp_path: Path) -> None:
    done = outside("", "--", "check", "missing", folder=tmp_path)
    assert done.returncode == 1
    assert "'missing' does not exist" in done.stderr


@pytest.mark.slow
def test_in_the_application_it_leaves_through_the_application_without_qt(tmp_path: Path) -> None:
    write_cohort(tmp_path / "cohort", default_anatomy(), 2)
    done = outside(IN_SLICER.format(script=str(SCRIPT), arguments=["--", "check", "cohort"]), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 cases read; 2 without errors" in done.stdout
    assert done.stdout.splitlines()[-1] == "exit [0]"


@pytest.mark.slow
def test_help_says_how_to_run_without_a_display(tmp_path: Path) -> None:
    done = outside("", "--help", folder=tmp_path)
    assert done.returncode == 0
    assert "QT_QPA_PLATFORM=offscreen Slicer --no-main-window --python-script train.py" in done.stdout
    assert "xvfb-run" in done.stdout
    assert "--config FILE" in done.stdout
    assert "offscreen" not in outside("", "check", "--help", folder=tmp_path).stdout


@pytest.mark.parametrize(
    ("environment", "platform", "warned"),
    [
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"DISPLAY": ":0", "QT_QPA_PLATFORM": "offscreen"}, "linux", False),
        ({"DISPLAY": ":99", "XAUTHORITY": "/tmp/xvfb-run.Ab12/Xauthority"}, "linux", False),
        ({}, "linux", False),
        ({"DISPLAY": ":0"}, "win32", False),
        ({"DISPLAY": ":0"}, "darwin", False),
    ],
)
def test_slicer_with_a_display_is_warned_that_it_ends_with_it(
    environment: dict[str, str], platform: str, warned: bool
) -> None:
    note = DISPLAY_NOTE(environment, platform)
    assert ("QT_QPA_PLATFORM=offscreen" in note) == warned
    assert len(note.splitlines()) == warned


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only there Slicer ends with its display")
def test_the_note_comes_in_the_application_only(tmp_path: Path) -> None:
    arguments = ["--", "check", "missing"]
    code = IN_SLICER.format(script=str(SCRIPT), arguments=arguments)
    assert "display ':7'" in outside(code, folder=tmp_path, DISPLAY=":7").stderr
    assert "display" not in outside("", *arguments, folder=tmp_path, DISPLAY=":7").stderr
    assert "display" not in outside(code, folder=tmp_path).stderr


@pytest.mark.slow
def test_run_aligns_and_then_trains_with_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The training itself is tested elsewhere: here it is enough to see what it is asked for."""
    from CoWLandmarksTrainingLib.__main__ import main
    from CoWLandmarksTrainingLib.cli import training_commands

    write_cohort(tmp_path / "cohort", default_anatomy(), 3)
    align = {"by": "landmarks", "shape": [16, 16, 16], "spacing_mm": [5.0, 5.0, 5.0], "processes": 1}
    write_json(tmp_path / "training.json", {"align": align})
    asked = []
    monkeypatch.setattr(training_commands, "_train", lambda arguments, _: asked.append(arguments) or 75)
    assert main(["run", "--config", str(tmp_path / "training.json"), "--resume", "--device", "cpu"]) == 75
    [arguments] = asked
    cohort = AlignedCohort.read(arguments.aligned)
    assert len(cohort.cases()) == 3
    assert np.isfinite(cohort.cases()[0].landmarks).all()
    assert (arguments.out, arguments.config) == (tmp_path / "training", tmp_path / "training.json")
    assert (arguments.resume, arguments.device, arguments.preset) == (True, "cpu", "cpu")


def test_run_stops_where_nothing_could_be_aligned(tmp_path: Path) -> None:
    (tmp_path / "cohort").mkdir()
    write_json(tmp_path / "training.json", {})
    codes = {"align": 1, "train": 0}
    asked = []

    def main(command: list[str]) -> int:
        asked.append(command[0])
        return codes[command[0]]

    import argparse

    parser = argparse.ArgumentParser()
    run_command.add_run_command(parser.add_subparsers(), main)
    arguments = parser.parse_args(["run", "--config", str(tmp_path / "training.json")])
    assert arguments.run(arguments) == 1
    assert asked == ["align"]
    codes["align"] = 2
    assert arguments.run(arguments) == 2
    assert asked == ["align", "align", "train"]


def test_a_mistake_in_the_configuration_is_reported_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from CoWLandmarksTrainingLib.__main__ import main

    write_cohort(tmp_path / "cohort", default_anatomy(), 1, with_image=False)
    write_json(tmp_path / "training.json", {"training": {"sed": 3}})
    assert main(["run", "--config", str(tmp_path / "training.json")]) == 1
    assert "did you mean 'seed'?" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cohort", "training.json"]
