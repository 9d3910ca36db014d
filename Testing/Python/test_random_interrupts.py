"""Signals at random moments: a result is there as a whole or not at all, and nothing is left beside it."""

from __future__ import annotations

import ast
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fixed_detector import write_scan

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(map(str, [ROOT / "CoWLandmarks", ROOT / "Testing"])),
    "OMP_NUM_THREADS": "1",
}
pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="signals to a process are POSIX")]


def test_many_interrupted_calls_leave_whole_results_only(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "Testing" / "interrupted_runs.py"), str(tmp_path), "120", "11"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    codes = ast.literal_eval(done.stdout)
    assert sum(codes.values()) == 120
    assert {1, 2} <= set(codes), "the signals came too late or too early to show anything"


@pytest.mark.parametrize("seed", range(2))
def test_a_process_interrupted_while_it_delivers_everything(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    scan, out = write_scan(tmp_path / "head.nii"), tmp_path / "out"
    command = [sys.executable, str(ROOT / "Testing" / "fixed_detector.py"), "detect", str(scan), "--out", str(out)]
    arguments = [*command, "--no-arteries", "--json-progress"]
    with subprocess.Popen(
        arguments, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()  # from now on signals are awaited
        time.sleep(draw.uniform(0.0, 3.0))
        process.send_signal(draw.choice([signal.SIGINT, signal.SIGTERM]))
        _, output = process.communicate(timeout=120)
    assert "Traceback" not in output
    there = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    files = ("detection.json", "landmarks.csv", "landmarks.mrk.json", "report.png", "scene.mrb")
    whole = sorted(["head.nii", "out", "out/head", *(f"out/head/{name}" for name in files)])
    assert (process.returncode, there) in [(0, whole), (1, ["head.nii"]), (2, whole)], output
