"""The training of the model that ships at toy size, end to end: phantoms, three networks, model file, command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from CoWLandmarksLib.__main__ import main as detect_main
from CoWLandmarksLib.core.detection import LandmarkState
from CoWLandmarksLib.core.errors import ConfigurationError
from CoWLandmarksLib.core.volume import Volume, axis_aligned_grid
from CoWLandmarksLib.detect.model import Model, load_model
from CoWLandmarksLib.files.detection_files import read_detection_json
from CoWLandmarksLib.io.volume_io import write_volume
from CoWLandmarksTrainingLib.config.presets import PRESETS
from CoWLandmarksTrainingLib.config.trainer_config import trainer_config
from CoWLandmarksTrainingLib.config.training_plan import TrainingPlan
from CoWLandmarksTrainingLib.phantom.atlas import default_atlas
from CoWLandmarksTrainingLib.train import phantom_data
from CoWLandmarksTrainingLib.train.model_provenance import known_seeds
from CoWLandmarksTrainingLib.train.phantom_data import PhantomData
from CoWLandmarksTrainingLib.train.trained_model import trained_model
from CoWLandmarksTrainingLib.train.training import Training, train
from trained_elsewhere import PHANTOMS

pytestmark = pytest.mark.slow
CPU = torch.device("cpu")
SMALL = PRESETS["small"].with_values(data={"phantom_cases": PHANTOMS}, training={"calibration_scans": 1})


@pytest.fixture(scope="module")
def small_model(default_training: Path) -> Path:
    """A model file made by the command with the smallest preset."""
    return default_training / "work" / "model.cow.pt"


def training_in(out: Path, plan: TrainingPlan = SMALL, **changes: Mapping[str, Any]) -> Training:
    plan = plan.with_values(**changes)
    return Training(PhantomData(plan), plan, out, CPU)


def weights_of(model: Model, name: str) -> Mapping[str, torch.Tensor]:
    return dict(model.stages)[name].weights


def test_it_makes_a_model_file_that_knows_where_it_comes_from(small_model: Path) -> None:
    model = load_model(small_model)
    recorded = model.provenance
    assert recorded["preset"] == "small"
    assert recorded["plan"]["data"]["phantom_cases"] == PHANTOMS
    assert recorded["case_seeds"] == [SMALL.training.seed]
    for name in ("coarse", "circle", "fine"):
        assert recorded[name]["steps"] == SMALL.stage(name).steps
        assert all(torch.isfinite(value).all() for value in weights_of(model, name).values())
    assert "not a medical device" in model.description.replace("\n", " ")
    assert model.name == "default-small"
    assert model.licence == "Apache-2.0"


def test_it_leaves_a_checkpoint_and_a_log_of_every_stage_and_no_more_phantoms_than_wanted(small_model: Path) -> None:
    out = small_model.parent
    for name in ("coarse", "circle", "fine"):
        assert {path.name for path in (out / name).iterdir()} >= {"checkpoint.pt", "log.jsonl"}
        lines = [json.loads(line) for line in (out / name / "log.jsonl").read_text(encoding="utf-8").splitlines()]
        assert [line["step"] for line in lines] == [1, 2, 3, 4]
    numbers = {int(path.stem.split("-")[-1]) for path in (out / "phantoms").iterdir()}
    assert numbers <= set(range(PHANTOMS))


def test_it_keeps_what_is_done_and_resumes(small_model: Path, tmp_path: Path) -> None:
    shutil.copytree(small_model.parent, tmp_path / "again")
    files = [path for path in (tmp_path / "again").rglob("*") if path.suffix in (".npz", ".pt")]
    before = {path: path.stat().st_mtime_ns for path in files if path.name != small_model.name}
    assert len(before) >= 5
    for name in ("coarse", "circle", "fine"):
        trainer = training_in(tmp_path / "again").trainer(training_in(tmp_path / "again").stage(name))
        assert trainer.step == 4
    assert train(training_in(tmp_path / "again"), only="fine") is None
    after = {path: path.stat().st_mtime_ns for path in before if path.parent.name != "fine"}
    assert after == {path: moment for path, moment in before.items() if path.parent.name != "fine"}


def test_a_model_without_trained_parts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not trained yet"):
        trained_model(training_in(tmp_path))


def test_training_goes_on_from_the_weights_of_a_model_with_new_cases(small_model: Path, tmp_path: Path) -> None:
    start = load_model(small_model)
    training = training_in(tmp_path, training={"start_from": str(small_model)}, fine={"base_width": 16})
    assert training.phantom_seed == SMALL.training.seed + 1
    for name, network in start.stages:
        stage = training.stage(name)
        assert stage.config == network.config
        rates = [trainer_config(SMALL, name, continued=continued).learning_rate for continued in (True, False)]
        assert rates[0] < rates[1]
        trainer = training.trainer(stage)
        assert trainer.config.learning_rate == rates[0]
        assert trainer.step == 0
        for weights in (trainer.generator.state_dict(), trainer.average):
            for key, value in network.weights.items():
                torch.testing.assert_close(weights[key], value.to(torch.float32))


def test_a_network_that_is_not_trained_again_stays_that_of_the_first_model(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phantom_data, "SHAPE_SAMPLES", 10)
    start = load_model(small_model)
    shutil.copytree(small_model.parent / "phantoms", tmp_path / "phantoms")
    training = training_in(
        tmp_path,
        training={"start_from": str(small_model)},
        data={"phantom_seed": SMALL.training.seed},
        coarse={"steps": 0},
        circle={"steps": 0},
    )
    assert train(training, only="fine") is None
    model = trained_model(training)
    for name in ("coarse", "circle"):
        assert all(torch.equal(weights_of(model, name)[key], value) for key, value in weights_of(start, name).items())
    fine = weights_of(model, "fine")
    assert any(not torch.equal(fine[key], value) for key, value in weights_of(start, "fine").items())
    assert not (tmp_path / "coarse").exists()


def test_a_scan_goes_from_file_to_scene_with_the_new_model(small_model: Path, tmp_path: Path) -> None:
    grid = axis_aligned_grid(np.zeros(3), np.array([1.0, 1.0, 1.5]), (40, 70, 60))
    voxels = np.random.default_rng(0).integers(0, 300, grid.shape).astype(np.int16)
    write_volume(Volume(voxels, grid.ijk_to_ras, "noise"), tmp_path / "noise.nii.gz")
    out = tmp_path / "out"
    code = detect_main(["detect", str(tmp_path / "noise.nii.gz"), "--model", str(small_model), "--out", str(out)])
    assert code in (0, 3)
    names = {"landmarks.mrk.json", "landmarks.csv", "detection.json", "report.png", "scene.mrb"}
    names |= {"arteries.seg.nrrd", "arteries.csv", "arteries.graph.json"}
    assert {path.name for path in (out / "noise").iterdir()} == names
    detection = read_detection_json(out / "noise" / "detection.json")
    assert len(detection.landmarks) == 19
    assert all(
        (e.position is None) == (e.state in (LandmarkState.ABSENT, LandmarkState.OUTSIDE)) for e in detection.landmarks
    )
    content = json.loads((out / "noise" / "detection.json").read_text(encoding="utf-8"))
    assert content["schema"] == "cow-detection/2"


def test_the_shape_model_stays_in_the_frame_of_the_atlas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phantom_data, "SHAPE_SAMPLES", 60)
    shape = PhantomData(SMALL.with_values(training={"seed": 3})).shape_model()
    atlas = default_atlas().shape_models["patients"].mean
    assert np.linalg.norm(shape.mean.mean(axis=0) - atlas.mean(axis=0)) < 0.5
    assert np.linalg.norm(shape.mean - atlas, axis=1).max() < 6.0
    assert np.linalg.eigvalsh(shape.covariance).min() > 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
@pytest.mark.parametrize("everything", [False, True])
def test_a_terminated_training_leaves_a_checkpoint_and_exit_code_75(
    small_model: Path, tmp_path: Path, everything: bool
) -> None:
    """Whether the signal comes to the training alone, or, as from the panel, to all that belongs to it."""
    shutil.copytree(small_model.parent / "phantoms", tmp_path / "phantoms")
    command = ["-m", "CoWLandmarksTrainingLib", "default", "--preset", "small", "--only", "coarse", "--device", "cpu"]
    for setting in ("data.phantom_seed=1", "coarse.steps=1000000", "training.workers=1"):
        command += ["--set", setting]
    process = subprocess.Popen(
        [sys.executable, *command, "--out", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while process.poll() is None and not (tmp_path / "coarse" / "log.jsonl").exists():
        time.sleep(0.05)  # until a step is done, however long that takes
    if everything:
        os.killpg(process.pid, signal.SIGTERM)
    else:
        process.terminate()
    _, errors = process.communicate()
    assert process.returncode == 75, errors
    assert "Traceback" not in errors
    assert "the same command with --resume goes on" in errors
    stopped = torch.load(tmp_path / "coarse" / "checkpoint.pt", weights_only=True)["step"]
    last = (tmp_path / "coarse" / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    assert stopped == json.loads(last)["step"] > 0  # no step is lost


@pytest.mark.parametrize(
    ("provenance", "seed"),
    [
        ({}, 1),
        ({"seed": None, "fine": "by hand"}, 1),
        ({"seed": "x", "circle": {"seed": [4, "6", None], "case_seeds": {"mra": 5}}}, 6),
        ({"seed": 2, "history": [{"seed": 7}], "calibration": {"seed": 7001}, "started_from": {"case_seeds": [3]}}, 8),
        ({"seed": 2, "plan": {"training": {"seed": 50}}, "case_seeds": [4]}, 5),
    ],
)
def test_training_on_takes_a_seed_above_all_that_a_model_tells(provenance: dict[str, object], seed: int) -> None:
    assert 1 + max(known_seeds(provenance), default=0) == seed
