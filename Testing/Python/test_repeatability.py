"""The same scan gives the same files, byte by byte, in this process and in another one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bad_models import sound_model
from CoWLandmarksLib.__main__ import main
from fixed_detector import make_fixed_detector, write_scan

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
DELIVERED, NOT_TO_BE_TRUSTED = 0, 3
IN_ANOTHER_PROCESS = """
import sys
from pathlib import Path
from test_repeatability import run
run(Path(sys.argv[1]), sys.argv[2])
"""


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def run(folder: Path, out: str) -> None:
    """All files from fixed landmarks, and the landmarks of networks, which untrained find no circle."""
    scan, model = str(folder / "head.nii.gz"), str(folder / "tiny.cow.pt")
    assert main(["detect", scan, "--out", str(folder / out)], make_fixed_detector) == DELIVERED
    few = ["--no-arteries", "--no-scene", "--no-pictures", "--device", "cpu"]
    assert main(["detect", scan, "--out", str(folder / out / "net"), "--model", model, *few]) == NOT_TO_BE_TRUSTED


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan, a model of untrained networks, and the results of a first run in `first`."""
    folder = tmp_path_factory.mktemp("repeat")
    write_scan(folder / "head.nii.gz")
    (folder / "tiny.cow.pt").write_bytes(sound_model())
    run(folder, "first")
    return folder


def test_everything_is_delivered_and_compared(folder: Path) -> None:
    assert set(files(folder / "first" / "head")) == {
        "landmarks.mrk.json",
        "landmarks.csv",
        "detection.json",
        "arteries.seg.nrrd",
        "arteries.csv",
        "arteries.graph.json",
        "report.png",
        "scene.mrb",
    }


def test_a_second_run_gives_the_same_bytes(folder: Path) -> None:
    run(folder, "second")
    assert files(folder / "second") == files(folder / "first")


def test_a_run_in_another_process_gives_the_same_bytes(folder: Path) -> None:
    places = [ROOT / "CoWLandmarks", ROOT / "CoWLandmarksTraining", ROOT / "Testing", ROOT / "Testing" / "Python"]
    # Another order of sets, in case one of them gets into a file.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places)), "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS, str(folder), "elsewhere"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert files(folder / "elsewhere") == files(folder / "first")
