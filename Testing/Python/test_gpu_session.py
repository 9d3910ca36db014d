"""Training the default model in pieces on a borrowed machine: it goes on, on the same machine or on a bare one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from CoWLandmarksLib.errors import ConfigurationError, OutputError
from CoWLandmarksLib.generator import Generator
from CoWLandmarksLib.model import DEFAULT_MODEL_FILE, NetworkPart, load_model, save_model
from CoWLandmarksTrainingLib import gpu_session
from CoWLandmarksTrainingLib.default_model import make_trainer
from CoWLandmarksTrainingLib.default_presets import PRESETS, continued
from CoWLandmarksTrainingLib.gpu_session import LARGEST_FILE, Piece, pack, read_record, restore, run_piece

SCRIPT = Path(__file__).resolve().parents[2] / "CoWLandmarksTraining" / "Scripts" / "gpu_session.py"
CPU = torch.device("cpu")
SMALL = replace(PRESETS["small"], training=replace(PRESETS["small"].training, log_every=1))
BLOCKED = """
import runpy, sys
for name in ("SimpleITK", "vtk", "vtkmodules", "slicer", "qt", "ctk", "mrml"):
    sys.modules[name] = None
sys.argv = [{script!r}, *{words!r}]
runpy.run_path({script!r}, run_name="__main__")
"""


def piece(folder: Path, **changes: object) -> Piece:
    return replace(
        Piece(SMALL, folder / "work", folder / "out", CPU, minutes=30.0, fewest_cases=4, evaluated=1),
        **changes,  # type: ignore[arg-type]
    )


def stopped_after(folder: Path, steps: int) -> Piece:
    """A session whose first call ended during the training of the coarse network."""
    own = piece(folder)
    assert not run_piece(own, should_stop=lambda: _step(own) >= steps)
    return own


def _step(own: Piece) -> int:
    log = own.work / "coarse" / "log.jsonl"
    return len(log.read_text(encoding="utf-8").splitlines()) if log.exists() else 0


def script(*words: str) -> subprocess.CompletedProcess[str]:
    """The script where SimpleITK, vtk and Slicer are missing."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    code = BLOCKED.format(script=str(SCRIPT), words=["--preset", "small", "--device", "cpu", *words])
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=900)


def test_a_session_goes_on_to_a_model_without_simpleitk_vtk_and_slicer(tmp_path: Path) -> None:
    own = stopped_after(tmp_path, 1)
    record = read_record(own.out)
    assert record["stage"] == "coarse"
    assert record["parts"]["coarse"]["step"] == 1
    done = script("--work", str(own.work), "--out", str(own.out), "--minutes", "14", "--evaluate", "1")
    assert done.returncode == 0, done.stderr
    assert "The model is delivered." in done.stdout
    record = read_record(own.out)
    assert record["stage"] == "delivered"
    steps = SMALL.training.steps
    assert [part["step"] for part in record["parts"].values()] == [steps, steps, steps]
    files = {path.name: path.stat().st_size for path in own.out.iterdir()}
    assert len(files) <= 8
    assert {"evaluation.json", "model.cow.pt", "session.json", "state-coarse.pt", "state-fine.pt"} <= files.keys()
    assert max(files.values()) < LARGEST_FILE
    assert load_model(own.out / "model.cow.pt").provenance["fine"]["steps"] == steps
    assert json.loads((own.out / "evaluation.json").read_text(encoding="utf-8"))["scans"] == 2


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with networks of the small preset."""
    shipped, small = load_model(DEFAULT_MODEL_FILE), PRESETS["small"]
    configs = {"coarse": small.coarse, "circle": small.coarse, "fine": small.fine}
    parts = {
        part: NetworkPart(config, Generator(config).state_dict(), 2.0, getattr(shipped, part).calibration)
        for part, config in configs.items()
    }
    path = tmp_path_factory.mktemp("start") / "start.cow.pt"
    save_model(replace(shipped, **parts), path)  # type: ignore[arg-type]
    return path


def test_from_a_model_all_networks_go_on_side_by_side(tmp_path: Path, start: Path) -> None:
    own = replace(piece(tmp_path), preset=continued(SMALL, load_model(start)), start=start)
    done: set[str] = set()

    def note(entry: dict[str, object]) -> None:
        if entry.get("step") == SMALL.training.steps:
            done.add(str(entry["network"]))

    assert not run_piece(own, note, should_stop=lambda: done == {"coarse", "circle", "fine"})
    record = read_record(own.out)
    assert record["stage"] == "model"
    assert [part["step"] for part in record["parts"].values()] == 3 * [SMALL.training.steps]
    begun = load_model(start).fine.weights
    trained = torch.load(own.out / "state-fine.pt", weights_only=True)["average"]
    moved = {name: float((trained[name].float() - value).abs().max()) for name, value in begun.items()}
    assert 0.0 < max(moved.values()) < 0.05  # a few steps from where the model was
    home = replace(own, work=tmp_path / "home", out=tmp_path / "home-out", carried=own.out)
    assert not run_piece(home, should_stop=lambda: True)
    assert read_record(home.out)["stage"] == "model"  # what is trained needs no cases to become a model
    assert not (home.work / "cases").exists()


def test_side_by_side_trainings_stop_together_and_one_that_fails_is_named(tmp_path: Path, start: Path) -> None:
    preset = replace(continued(SMALL, load_model(start)), cases=2)
    preset = replace(preset, training=replace(preset.training, steps=100_000))
    own = replace(piece(tmp_path, fewest_cases=2), preset=preset, start=start)
    assert not run_piece(own, should_stop=lambda: (own.work / "fine" / "log.jsonl").exists())
    assert read_record(own.out)["stage"] == "all networks"
    shutil.rmtree(own.work / "circle")
    (own.work / "circle").write_text("no folder", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"Training the circle network failed"):
        run_piece(own)


def test_a_bare_machine_goes_on_from_what_was_carried(tmp_path: Path) -> None:
    first = stopped_after(tmp_path / "first", 2)
    shutil.copytree(first.out, tmp_path / "carried")
    bare = piece(tmp_path / "bare", carried=tmp_path / "carried")
    assert not restore(bare)
    before = make_trainer("coarse", SMALL, first.work / "cases", first.work / "coarse", CPU)
    after = make_trainer("coarse", SMALL, bare.work / "cases", bare.work / "coarse", CPU)
    assert after.step == before.step == 2
    assert after.seconds_before == pytest.approx(before.seconds_before)
    for name, value in before.average.items():
        torch.testing.assert_close(after.average[name], value.half().to(value.dtype))
        assert torch.equal(after.generator.state_dict()[name], after.average[name])
    limit = after.seconds_before / 60.0
    late = replace(bare, work=tmp_path / "late", part_minutes=(limit, 0.0, 0.0))
    assert restore(late)  # trained to the end by the clock
    restore(replace(bare, carried=None))  # what the machine has counts from now on
    assert make_trainer("coarse", SMALL, bare.work / "cases", bare.work / "coarse", CPU).step == 2


def test_what_cannot_be_gone_on_from_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "carried").mkdir()
    (tmp_path / "carried" / "state-coarse.pt").write_bytes(b"something else")
    with pytest.raises(ConfigurationError, match=r"is no state of this session .* carry another\.$"):
        restore(piece(tmp_path, carried=tmp_path / "carried"))
    with pytest.raises(ConfigurationError, match="holds no state of a session"):
        read_record(tmp_path / "carried")


def test_a_file_that_is_too_large_to_travel_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = piece(tmp_path)
    trainer = make_trainer("coarse", SMALL, own.work / "cases", own.work / "coarse", CPU)
    trainer.folder.mkdir(parents=True)
    trainer.save_checkpoint(1.0)
    monkeypatch.setattr(gpu_session, "LARGEST_FILE", 1000)
    with pytest.raises(OutputError, match="too much to travel"):
        pack(own, "coarse")


def test_the_networks_of_the_card_s_preset_travel_in_their_files() -> None:
    gpu = PRESETS["gpu"]
    for config in (gpu.coarse, gpu.fine):  # half precision, and little else
        assert 2 * sum(p.numel() for p in Generator(config).parameters()) < 0.98 * LARGEST_FILE


def test_a_call_whose_time_is_over_leaves_a_record_and_asks_to_be_called_again(tmp_path: Path) -> None:
    done = script("--minutes", "0", "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out"))
    assert done.returncode == 75, done.stderr
    assert "Call again to go on." in done.stdout
    assert read_record(tmp_path / "out")["parts"] == {}
