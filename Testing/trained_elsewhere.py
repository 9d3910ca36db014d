"""Trainings in an interpreter where packages are missing, as on a machine with a GPU that has torch alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
APPLICATION = ("slicer", "slicer_core", "vtk", "vtkmodules", "qt", "ctk", "mrml", "sitkUtils")
WITHOUT_ON_A_GPU_MACHINE = ("SimpleITK", *APPLICATION)
PHANTOMS = 2
PROBE = """
import functools, json, sys
blocked, words = json.loads(sys.argv[1])
sys.modules.update(dict.fromkeys(blocked))
from CoWLandmarksTrainingLib.phantom import phantom_cohort
from CoWLandmarksTrainingLib.train import phantom_data
from quick_phantoms import coarse_scan_grid
phantom_cohort.scan_grid = coarse_scan_grid
phantom_data.SHAPE_SAMPLES = 10
phantom_data.Detector = functools.partial(phantom_data.Detector, mirror=False)
from CoWLandmarksTrainingLib.__main__ import main
sys.exit(main(words))
"""
"""Phantoms are few, of few voxels and read once, so that it is quick."""


def trained_without(blocked: Sequence[str], arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """`cowlandmarks-train WORDS` in a fresh interpreter where `blocked` packages are missing."""
    path = [ROOT / "CoWLandmarks", ROOT / "CoWLandmarksTraining", ROOT / "Testing"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, path))}
    command = [sys.executable, "-c", PROBE, json.dumps([blocked, arguments])]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def train_on_phantoms(folder: Path) -> None:
    """The training of the model that ships with the smallest preset, and fewer phantoms still.

    `folder` gets the training in `work`, the states of its stages in `carried` and what was printed in `printed.txt`.
    """
    arguments = ["default", "--preset", "small", "--out", str(folder / "work"), "--device", "cpu"]
    arguments += ["--set", f"data.phantom_cases={PHANTOMS}", "--set", "training.calibration_scans=1"]
    done = trained_without(WITHOUT_ON_A_GPU_MACHINE, [*arguments, "--state-to", str(folder / "carried")])
    assert done.returncode == 0, done.stderr
    (folder / "printed.txt").write_text(done.stdout, encoding="utf-8")
