"""The recipe of the default model at toy size, end to end: phantoms, two networks, model file, command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from beads import bead_model
from CoWLandmarksLib.__main__ import main as detect_main
from CoWLandmarksLib.detection import LandmarkState
from CoWLandmarksLib.errors import ConfigurationError
from CoWLandmarksLib.model import DEFAULT_MODEL_FILE, load_model
from CoWLandmarksLib.report import read_detection_json
from CoWLandmarksLib.volume import Volume, axis_aligned_grid
from CoWLandmarksLib.volume_io import write_volume
from CoWLandmarksTrainingLib import default_calibration
from CoWLandmarksTrainingLib.__main__ import main as train_main
from CoWLandmarksTrainingLib.default_calibration import RECOGNITION_SLACK, least_recognition
from CoWLandmarksTrainingLib.default_model import make_trainer, phantom_shape_model, render_cases, run_recipe
from CoWLandmarksTrainingLib.default_presets import PRESETS, continued
from CoWLandmarksTrainingLib.evaluation import CaseResult
from CoWLandmarksTrainingLib.phantom.atlas import default_atlas


@pytest.fixture(scope="module")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file made by the command with the smallest preset."""
    work = tmp_path_factory.mktemp("work")
    assert train_main(["default", "--preset", "small", "--work", str(work), "--out", str(work / "small.cow.pt")]) == 0
    return work / "small.cow.pt"


def test_the_recipe_makes_a_model_file_that_knows_where_it_comes_from(small_model: Path) -> None:
    model = load_model(small_model)
    assert model.provenance["preset"] == "small"
    assert model.provenance["cases"] == PRESETS["small"].cases
    assert model.provenance["fine"]["steps"] == PRESETS["small"].training.steps
    assert "not a medical device" in model.card.replace("\n", " ")
    assert all(torch.isfinite(value).all() for value in model.fine.weights.values())


def test_the_recipe_keeps_what_is_done_and_resumes(small_model: Path) -> None:
    work = small_model.parent
    before = {path: path.stat().st_mtime_ns for path in (work / "cases").glob("*.npz")}
    assert before
    run_recipe(PRESETS["small"], work, work / "unused.cow.pt", torch.device("cpu"), only="cases")
    assert {path: path.stat().st_mtime_ns for path in (work / "cases").glob("*.npz")} == before


def test_rendering_tells_how_many_cases_are_done(small_model: Path) -> None:
    told: list[dict[str, object]] = []
    render_cases(PRESETS["small"], small_model.parent / "cases", on_log=told.append, log_seconds=0.0)
    count = PRESETS["small"].cases
    assert len(told) > 1
    assert told[-1] == {"stage": "cases", "done": count, "of": count}


def test_a_model_without_trained_parts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not trained yet"):
        run_recipe(PRESETS["small"], tmp_path, tmp_path / "m.cow.pt", torch.device("cpu"), only="assemble")
    assert not (tmp_path / "m.cow.pt").exists()


def test_training_goes_on_from_the_weights_of_a_model_with_new_cases(small_model: Path, tmp_path: Path) -> None:
    start = load_model(small_model)
    preset = continued(PRESETS["small"], start)
    assert preset.seed == PRESETS["small"].seed + 1
    assert (preset.coarse, preset.fine) == (start.coarse.config, start.fine.config)
    assert preset.training.learning_rate < PRESETS["small"].training.learning_rate
    for part, network in (("coarse", start.coarse), ("fine", start.fine)):
        trainer = make_trainer(part, preset, tmp_path, tmp_path / part, torch.device("cpu"), start)
        assert trainer.step == 0
        for weights in (trainer.generator.state_dict(), trainer.average):
            for name, value in network.weights.items():
                torch.testing.assert_close(weights[name], value.to(torch.float32))


def test_a_network_that_was_not_trained_again_stays_that_of_the_first_model(small_model: Path, tmp_path: Path) -> None:
    start = load_model(small_model)
    shutil.copytree(small_model.parent / "cases", tmp_path / "cases")
    for step in ("fine", "assemble"):
        run_recipe(PRESETS["small"], tmp_path, tmp_path / "m.cow.pt", torch.device("cpu"), only=step, start=start)
    model = load_model(tmp_path / "m.cow.pt")
    coarse, fine = model.coarse.weights, model.fine.weights
    assert all(torch.equal(coarse[name], value) for name, value in start.coarse.weights.items())
    assert any(not torch.equal(fine[name], value) for name, value in start.fine.weights.items())


def test_a_scan_goes_from_file_to_scene_with_the_new_model(small_model: Path, tmp_path: Path) -> None:
    grid = axis_aligned_grid(np.zeros(3), np.array([1.0, 1.0, 1.5]), (40, 70, 60))
    voxels = np.random.default_rng(0).integers(0, 300, grid.shape).astype(np.int16)
    write_volume(Volume(voxels, grid.ijk_to_ras, "noise"), tmp_path / "noise.nii.gz")
    out = tmp_path / "out"
    code = detect_main(["detect", str(tmp_path / "noise.nii.gz"), "--model", str(small_model), "--out", str(out)])
    assert code in (0, 3)
    names = {"landmarks.mrk.json", "landmarks.csv", "detection.json", "report.png", "scene.mrb"}
    names |= {"arteries.seg.nrrd", "arteries.csv"}
    assert {path.name for path in (out / "noise").iterdir()} == names
    detection = read_detection_json(out / "noise" / "detection.json")
    assert len(detection.landmarks) == 19
    assert all(
        (e.position is None) == (e.state in (LandmarkState.ABSENT, LandmarkState.OUTSIDE)) for e in detection.landmarks
    )
    content = json.loads((out / "noise" / "detection.json").read_text(encoding="utf-8"))
    assert content["schema"] == "cow-detection/2"


def test_the_shape_model_stays_in_the_frame_of_the_atlas() -> None:
    shape = phantom_shape_model(3, 60)
    atlas = default_atlas().shape_models["patients"].mean
    assert np.linalg.norm(shape.mean.mean(axis=0) - atlas.mean(axis=0)) < 0.5
    assert np.linalg.norm(shape.mean - atlas, axis=1).max() < 6.0
    assert np.linalg.eigvalsh(shape.covariance).min() > 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_a_terminated_training_leaves_a_checkpoint_and_exit_code_75(small_model: Path, tmp_path: Path) -> None:
    command = ["-m", "CoWLandmarksTrainingLib", "default", "--preset", "cpu", "--only", "coarse", "--device", "cpu"]
    shutil.copytree(small_model.parent / "cases", tmp_path / "cases")
    process = subprocess.Popen(
        [sys.executable, *command, "--work", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    checkpoint = tmp_path / "coarse" / "checkpoint.pt"
    for _ in range(1200):
        if (tmp_path / "coarse").exists():
            break
        time.sleep(0.1)
    time.sleep(2.0)
    process.terminate()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 75, errors
    assert checkpoint.exists()
    assert "goes on from" in errors


def test_the_limit_of_recognition_lies_just_below_the_worst_recognised_heads() -> None:
    def scan(coarse: float, fine: float) -> CaseResult:
        places = np.zeros((3, 3))
        truth = places.copy()
        truth[2] = np.nan  # not in the scan: does not count, whatever its peaks
        peaks, coarse_peaks = np.array([fine, fine, 0.0]), np.array([coarse, coarse, 0.0])
        return CaseResult(
            "scan", "mra", truth, np.zeros(3, bool), places, places, places, peaks, places, coarse_peaks,
            ("found",) * 3, "ok", places,
        )  # fmt: skip

    model = bead_model()  # peaks 0, 0.3, 1 mean a confidence of 0, 0.5, 1; below 0.5 a point is uncertain
    good = [scan(1.0, 1.0) for _ in range(49)]
    assert least_recognition(model, good) == pytest.approx(2.0 - RECOGNITION_SLACK)
    worst = least_recognition(model, [*good, scan(0.3, 0.1)])
    # 0.5 + 0 and 49 times 2: the quantile 0.02 of 50 values lies at 0.98 of the way from the first to the second.
    assert worst == pytest.approx(0.5 + 0.98 * 1.5 - RECOGNITION_SLACK)


def test_absence_is_told_by_the_circle_network_with_a_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    """From results as of 30 scans: present landmarks have peaks of 0.5 and more, one in five is absent with less."""
    rng = np.random.default_rng(3)
    model = load_model(DEFAULT_MODEL_FILE)
    assert model.circle is not None

    def results(*_: object) -> list[CaseResult]:
        made = []
        for _scan in range(30):
            absent = rng.random(19) < 0.2
            truth = np.where(absent[:, None], np.nan, rng.normal(0, 20, (19, 3)))
            near = np.nan_to_num(truth) + rng.normal(0, 0.5, (19, 3))
            circle = np.where(absent, rng.uniform(0.1, 0.45, 19), rng.uniform(0.5, 1.0, 19))
            fine = rng.uniform(0.4, 1.0, 19)
            states = ("found",) * 19
            made.append(
                CaseResult(
                    "a", "mra", truth, absent, near, near, near, fine, near, circle, states, "ok", ~absent,
                    circle=near, circle_peaks=circle,
                )
            )  # fmt: skip
        return made

    monkeypatch.setattr(default_calibration, "_results", results)
    again = default_calibration.calibrated(model, 30)
    assert again.circle is not None
    assert again.fine.calibration.absent_below == 0.0
    limit = again.circle.calibration.absent_below / default_calibration.ABSENCE_MARGIN
    assert limit == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("provenance", "seed"),
    [
        ({}, 1),
        ({"seed": None, "fine": "by hand"}, 1),
        ({"seed": "x", "circle": {"seed": [4, "6", None], "case_seeds": {"mra": 5}}}, 6),
        ({"seed": 2, "history": [{"seed": 7}], "calibration": {"seed": 7001}, "started_from": {"case_seeds": [3]}}, 8),
    ],
)
def test_training_on_takes_a_seed_above_all_that_a_model_tells(provenance: dict[str, object], seed: int) -> None:
    assert continued(PRESETS["cpu"], replace(bead_model(), provenance=provenance)).seed == seed
