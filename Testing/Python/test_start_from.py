"""A training that begins from a model: which networks it takes over, and whether it says that it helped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from aligned_beads import write_bead_cohort
from CoWLandmarksLib.core.anatomy import anatomy_from_dict
from CoWLandmarksLib.core.errors import ModelError
from CoWLandmarksLib.detect.model import Model, load_model, save_model
from CoWLandmarksTrainingLib.__main__ import main
from CoWLandmarksTrainingLib.config.config_file import ConfigFile
from CoWLandmarksTrainingLib.config.presets import PRESETS
from CoWLandmarksTrainingLib.config.settings import STAGE_NAMES
from CoWLandmarksTrainingLib.config.trainer_config import trainer_config
from CoWLandmarksTrainingLib.records.aligned_folder import AlignedCohort
from CoWLandmarksTrainingLib.records.improvement import Improvement
from CoWLandmarksTrainingLib.train.cohort_data import CohortData
from CoWLandmarksTrainingLib.train.training import Training
from other_anatomy import seven_points
from tiny_training import tiny_sections

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
TOY = tiny_sections(
    training={"stages": list(STAGE_NAMES)},
    coarse={"steps": 1},
    circle={"steps": 1},
    fine={"steps": 12, "learning_rate": 5e-3, "adversarial_steps": 0},
    data={"prior": "none"},
    augmentation={"mirror": False},
)
KEPT = {"coarse": {"steps": 0}, "circle": {"steps": 0}}
NOT_BETTER = {"learning_rate": 50.0, "steps": 1, "gradient_norm": 0.0, "warm_up_steps": 0, "average_decay": 0.0}
"""One leap of the weights to nowhere."""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with aligned cohorts, with and without validation scans, and in `first` a model."""
    folder = tmp_path_factory.mktemp("here")
    write_bead_cohort(folder / "aligned", mra=2, sets=0, validation=2)
    write_bead_cohort(folder / "none-validate", mra=2, sets=0, validation=0)
    assert train(folder, "none-validate", folder / "first", TOY) == 0
    return folder


def train(here: Path, cohort: str, out: Path, settings: dict[str, Any], *more: str) -> int:
    out.mkdir(parents=True, exist_ok=True)
    (out / "toy.json").write_text(json.dumps(settings), encoding="utf-8")
    arguments = ["train", str(here / cohort), "--out", str(out), "--config", str(out / "toy.json"), "--device", "cpu"]
    return main([*arguments, *more])


def toy(start: Path | str, **changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings of a training that begins from a model file."""
    sections = {name: {**TOY.get(name, {}), **changes.get(name, {})} for name in {*TOY, *changes}}
    sections["training"]["start_from"] = str(start)
    return sections


def training(here: Path, start: Path | str, out: Path, **changes: dict[str, Any]) -> Training:
    plan = PRESETS["cpu"].with_file(ConfigFile(Path("toy"), toy(start, **changes)))
    return Training(CohortData(AlignedCohort.read(here / "aligned"), plan), plan, out, CPU)


def model_with(here: Path, path: Path, **changes: Any) -> Path:
    """A file of the first model, changed."""
    save_model(replace(load_model(here / "first" / "model.cow.pt"), **changes), path)
    return path


class TestNetworks:
    """What a training begins with."""

    def test_every_stage_begins_with_the_weights_of_the_model(self, here: Path, tmp_path: Path) -> None:
        first = load_model(here / "first" / "model.cow.pt")
        own = training(here, here / "first" / "model.cow.pt", tmp_path)
        for name, part in first.stages:
            trainer = own.trainer(own.stage(name))
            assert trainer.step == 0
            assert own.stage(name).config == part.config
            for weights in (trainer.generator.state_dict(), trainer.average):
                assert all(torch.equal(weights[key], value.to(torch.float32)) for key, value in part.weights.items())
            settings, anew = trainer.config, trainer_config(own.plan, name, continued=False)
            assert settings.learning_rate == pytest.approx(0.2 * anew.learning_rate)
            assert settings.alpha == anew.final_alpha

    def test_networks_of_another_size_than_the_preset_s_are_taken_as_they_are(self, here: Path, tmp_path: Path) -> None:
        changed = {"base_width": 16, "levels": 3}
        own = training(here, here / "first" / "model.cow.pt", tmp_path, fine=changed, coarse=changed)
        assert own.stage("fine").config == load_model(here / "first" / "model.cow.pt").fine.config

    def test_a_network_can_be_kept(self, here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        start = here / "first" / "model.cow.pt"
        assert train(here, "none-validate", tmp_path, toy(start, **KEPT, fine={"steps": 1})) == 0
        assert "note: so few scans (2) alone can make a model worse" in capsys.readouterr().err
        one, other = load_model(start), load_model(tmp_path / "model.cow.pt")
        assert _same(one, other, "coarse") and _same(one, other, "circle")
        assert not _same(one, other, "fine")
        assert other.provenance["circle"]["steps"] == 0
        assert not (tmp_path / "coarse" / "checkpoint.pt").exists()
        assert "steps: fine 1." in other.description

    @pytest.mark.parametrize("off_mm", [0.0, 20.0])
    def test_networks_that_know_a_frame_are_taken_where_it_is_this_one(
        self, here: Path, tmp_path: Path, off_mm: float, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The coarse network knows no frame and is always taken."""
        shape = load_model(here / "first" / "model.cow.pt").shape
        moved = model_with(here, tmp_path / "start.cow.pt", shape=replace(shape, mean=shape.mean + off_mm))
        taken = {stage.name: stage.start is not None for stage in training(here, moved, tmp_path).stages}
        assert taken == {"coarse": True, "circle": off_mm == 0.0, "fine": off_mm == 0.0}
        assert ("The circle network of the model to begin from knows another frame" in caplog.text) == (off_mm > 0.0)

    def test_a_stage_that_the_model_lacks_begins_anew(self, here: Path, tmp_path: Path) -> None:
        without = model_with(here, tmp_path / "start.cow.pt", circle=None)
        taken = {stage.name: stage.start is not None for stage in training(here, without, tmp_path).stages}
        assert taken == {"coarse": True, "circle": False, "fine": True}

    def test_the_model_that_ships_is_begun_from_as_far_as_it_fits(
        self, here: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        own = training(here, "default", tmp_path)
        taken = {stage.name: stage.start is not None for stage in own.stages}
        assert taken == {"coarse": True, "circle": True, "fine": False}
        assert "The default model reads another input; the fine network begins from nothing." in caplog.text
        anatomy = anatomy_from_dict(seven_points())
        seven = write_bead_cohort(tmp_path / "seven", mra=1, sets=0, validation=0, anatomy=anatomy)
        other = replace(own, data=CohortData(seven, own.plan))
        assert other.start is None
        assert "The default model has other landmarks; the training begins from nothing." in caplog.text

    @pytest.mark.parametrize(
        ("wrong", "sentence"),
        [
            ("missing", "There is no model file"),
            ("damaged", "is damaged or no model of this program"),
            ("another input", "has another input than this training; change start_from"),
            ("other landmarks", "has other landmarks than this cohort; change start_from"),
        ],
    )
    def test_a_model_that_cannot_be_begun_from_is_one_sentence_before_anything_is_trained(
        self, here: Path, tmp_path: Path, wrong: str, sentence: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        start, cohort, changes = tmp_path / "start.cow.pt", "aligned", {}
        if wrong == "damaged":
            start.write_bytes(b"no model")
        elif wrong != "missing":
            model_with(here, start)
        if wrong == "another input":
            changes = {"fine": {"priors": True}}
        if wrong == "other landmarks":
            cohort = str(tmp_path / "seven")
            anatomy = anatomy_from_dict(seven_points())
            write_bead_cohort(tmp_path / "seven", mra=1, sets=0, validation=0, anatomy=anatomy)
        assert train(here, cohort, tmp_path / "out", toy(start, **changes)) == 1
        [error] = capsys.readouterr().err.splitlines()
        assert sentence in error
        assert not (tmp_path / "out" / "plan.json").exists()

    def test_an_option_takes_the_place_of_what_the_file_says(self, here: Path, tmp_path: Path) -> None:
        few = toy("no-such-model.cow.pt", fine={"steps": 1})
        assert train(here, "none-validate", tmp_path / "nothing", few, "--start-from", "nothing") == 0
        assert "started_from" not in load_model(tmp_path / "nothing" / "model.cow.pt").provenance
        with pytest.raises(ModelError, match="no model file"):
            assert training(here, "no-such-model.cow.pt", tmp_path).stages


class TestComparison:
    """Did it help?"""

    def test_a_training_from_a_model_ends_with_new_against_old(
        self, here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        start = model_with(here, tmp_path / "start.cow.pt", circle=None)  # a scan is read in half the time
        two = {"stages": ["coarse", "fine"]}
        settings = toy(start, training=two, coarse=KEPT["coarse"], fine=NOT_BETTER)
        assert train(here, "aligned", tmp_path, settings, "--json-progress") == 0
        printed = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
        comparison = [entry for entry in printed if entry["stage"] == "comparison"][-1]
        content = json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))
        compared = load_model(tmp_path / "model.cow.pt").provenance["compared_with_start"]
        assert content == {"schema": "cow-comparison/1", **compared}
        assert comparison == {"stage": "comparison", "message": comparison["message"], **compared}
        assert (compared["scans"], compared["landmarks"]) == (2, 2 * 19)
        low, high = compared["interval_mm"]
        assert low <= compared["difference_mm"] <= high
        assert compared["difference_mm"] == pytest.approx(compared["new_mre_mm"] - compared["old_mre_mm"], abs=2e-4)
        assert compared["difference_mm"] > 0.0
        assert compared["better"] is False
        assert comparison["message"].startswith("On 2 scans the new model has a mean error of ")
        assert comparison["message"].endswith("WARNING: the new model is not better; keep the old one.")
        before = load_model(start)
        began = load_model(tmp_path / "model.cow.pt").provenance["started_from"]
        assert began["model"] == before.name
        assert began["scans"] == 2
        assert "plan" not in began
        assert "val-mra" not in json.dumps(compared)

    def test_without_a_validation_scan_it_says_that_it_does_not_know(
        self, here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        settings = toy(here / "first" / "model.cow.pt", **KEPT, fine={"steps": 1})
        assert train(here, "none-validate", tmp_path, settings) == 0
        *_, comparison, last = capsys.readouterr().out.splitlines()
        assert comparison.startswith("comparison: There is no validation scan: whether the new model is better")
        assert last == f"The model is '{tmp_path / 'model.cow.pt'}'."
        assert not (tmp_path / "comparison.json").exists()
        model = load_model(tmp_path / "model.cow.pt")
        assert "compared_with_start" not in model.provenance
        assert "There was no validation scan: confidences are those of the model it began from." in model.description
        before = load_model(here / "first" / "model.cow.pt").fine.calibration
        np.testing.assert_array_equal(model.fine.calibration.error_mm, before.error_mm)

    def test_a_training_from_nothing_compares_nothing(self, here: Path) -> None:
        assert not (here / "first" / "comparison.json").exists()
        assert "compared_with_start" not in load_model(here / "first" / "model.cow.pt").provenance

    @pytest.mark.parametrize(
        ("old", "new", "interval", "ending"),
        [
            (3.0, 2.0, (-1.5, -0.5), "interval -1.50 to -0.50)."),
            (
                3.0,
                2.0,
                (-2.0, 0.2),
                "WARNING: so few scans do not show that it is better; evaluate both on more scans.",
            ),
            (3.0, 2.0, None, "WARNING: so few scans do not show that it is better; evaluate both on more scans."),
            (2.0, 3.0, (0.5, 1.5), "WARNING: the new model is not better; keep the old one."),
            (2.0, 2.0, (-0.5, 0.5), "WARNING: the new model is not better; keep the old one."),
        ],
    )
    def test_the_sentence_warns_unless_it_is_surely_better(
        self, old: float, new: float, interval: tuple[float, float] | None, ending: str
    ) -> None:
        comparison = Improvement(6, 114, old, new, interval).sentence()
        assert comparison.endswith(ending)
        assert f"{new:.2f} mm, the old one {old:.2f} mm" in comparison


def _same(one: Model, other: Model, name: str) -> bool:
    weights = [dict(model.stages)[name].weights for model in (one, other)]
    return all(np.allclose(value, weights[1][key], rtol=1e-6, atol=0) for key, value in weights[0].items())
