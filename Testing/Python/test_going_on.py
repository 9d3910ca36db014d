"""A training that was stopped, cut into sessions or killed goes on to the very same weights, here or elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from aligned_beads import write_bead_cohort
from CoWLandmarksLib.core.errors import ConfigurationError, OutputError, StoppedError
from CoWLandmarksLib.detect.model import load_model
from CoWLandmarksTrainingLib.__main__ import main
from CoWLandmarksTrainingLib.config.config_file import ConfigFile
from CoWLandmarksTrainingLib.config.presets import PRESETS
from CoWLandmarksTrainingLib.config.settings import STAGE_NAMES
from CoWLandmarksTrainingLib.records.aligned_folder import AlignedCohort
from CoWLandmarksTrainingLib.train import light_state
from CoWLandmarksTrainingLib.train.cohort_data import CohortData
from CoWLandmarksTrainingLib.train.light_state import LARGEST_FILE, take_over, write_light_states
from CoWLandmarksTrainingLib.train.phantom_data import PhantomData
from CoWLandmarksTrainingLib.train.training import Training, train
from killed_trainings import KILLED_IN_STEP, differences
from tiny_training import tiny_sections

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
STEPS = {"coarse": 3, "circle": 2, "fine": 4}
TOY = tiny_sections(
    training={"stages": list(STAGE_NAMES)},
    coarse={"steps": 3},
    circle={"steps": 2},
    fine={"steps": 2, "adversarial_steps": 2},
)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an aligned cohort, a configuration and, in `whole`, a training that nothing interrupted."""
    folder = tmp_path_factory.mktemp("here")
    write_bead_cohort(folder / "aligned", mra=2, sets=1, validation=0)
    (folder / "toy.json").write_text(json.dumps(TOY), encoding="utf-8")
    assert main(arguments(folder, folder / "whole")) == 0
    return folder


def arguments(here: Path, out: Path, *more: str) -> list[str]:
    config = str(here / "toy.json")
    return ["train", str(here / "aligned"), "--out", str(out), "--config", config, "--device", "cpu", *more]


def training_in(here: Path, out: Path, **changes: dict[str, Any]) -> Training:
    plan = PRESETS["cpu"].with_file(ConfigFile(Path("toy"), TOY)).with_values(**changes)
    return Training(CohortData(AlignedCohort.read(here / "aligned"), plan), plan, out, CPU)


def steps_of(out: Path, stage: str) -> list[int]:
    log = out / stage / "log.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return [entry["step"] for entry in map(json.loads, lines) if "loss" in entry]


def stopped_at(training: Training, stage: str, step: int, **options: Any) -> None:
    """Train until so many steps of a stage are made."""

    def reached() -> bool:
        return len(steps_of(training.out, stage)) >= step

    with pytest.raises(StoppedError):
        train(training, should_stop=reached, **options)


def command(arguments: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own; what may end it is set in the environment."""
    return subprocess.run(
        [sys.executable, str(Path(KILLED_IN_STEP)), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def carried(here: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the light states of a training that was stopped in its last stage, in `out`."""
    folder = tmp_path_factory.mktemp("carried")
    stopped_at(training_in(here, folder / "out"), "fine", 2, state_to=folder / "states")
    return folder


class TestStopping:
    """Stopping costs nothing."""

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
    def test_a_terminated_training_goes_on_to_the_same_weights(
        self, here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        done = command(arguments(here, tmp_path), END_WITH="TERM", END_IN="fine 3")
        assert done.returncode == 75, done.stderr
        assert "the same command with --resume goes on" in done.stderr
        assert steps_of(tmp_path, "fine") == [1, 2, 3]
        assert main(arguments(here, tmp_path)) == 1
        assert "go on with --resume" in capsys.readouterr().err
        assert main(arguments(here, tmp_path, "--resume")) == 0
        assert differences(tmp_path, here / "whole") == []

    @pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
    @pytest.mark.parametrize("moment", ["coarse 2", "circle 1", "fine checkpoint 3"])
    def test_a_killed_training_goes_on_to_the_same_weights(self, here: Path, tmp_path: Path, moment: str) -> None:
        """Between two steps, and while a checkpoint is written."""
        done = command(arguments(here, tmp_path), END_WITH="KILL", END_IN=moment)
        assert done.returncode == -9, done.stderr
        assert not (tmp_path / "model.cow.pt").exists()
        assert main(arguments(here, tmp_path, "--resume")) == 0
        assert differences(tmp_path, here / "whole") == []
        for stage, steps in STEPS.items():
            assert steps_of(tmp_path, stage) == list(range(1, steps + 1)), "no step is missing and none is there twice"

    def test_a_session_of_no_minutes_ends_with_code_75_and_sessions_make_the_same_weights(
        self, here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(arguments(here, tmp_path, "--minutes", "0")) == 75
        assert "the same command with --resume goes on" in capsys.readouterr().err
        assert not (tmp_path / "model.cow.pt").exists()
        assert main(arguments(here, tmp_path, "--resume", "--minutes", "0")) == 75
        stopped_at(training_in(here, tmp_path), "circle", 1, resume=True)
        assert main(arguments(here, tmp_path, "--resume", "--minutes", "600")) == 0
        assert differences(tmp_path, here / "whole") == []

    def test_time_that_is_over_after_the_last_step_leaves_the_calibration_for_the_next_session(
        self, here: Path, tmp_path: Path
    ) -> None:
        shutil.copytree(here / "whole", tmp_path / "out")
        (tmp_path / "out" / "model.cow.pt").unlink()
        with pytest.raises(StoppedError, match="goes on with the calibration"):
            train(training_in(here, tmp_path / "out"), resume=True, should_stop=lambda: True)
        assert main(arguments(here, tmp_path / "out", "--resume")) == 0
        assert differences(tmp_path / "out", here / "whole") == []

    def test_a_finished_training_and_other_settings_are_reported(
        self, here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "plan.json").write_text("{}", encoding="utf-8")
        assert main(arguments(here, tmp_path)) == 1
        assert "holds a training; go on with --resume" in capsys.readouterr().err
        assert main(arguments(here, tmp_path, "--resume")) == 1
        assert "Settings or cases differ" in capsys.readouterr().err

    def test_what_changes_nothing_of_what_is_learnt_may_change_on_the_way(self, here: Path, tmp_path: Path) -> None:
        stopped_at(training_in(here, tmp_path), "fine", 3)
        other = {"workers": 1, "log_seconds": 3.0, "checkpoint_seconds": 90.0}
        train(training_in(here, tmp_path, training=other), resume=True)
        assert differences(tmp_path, here / "whole") == []
        with pytest.raises(ConfigurationError, match="Settings or cases differ"):
            train(training_in(here, tmp_path, fine={"sigma_mm": 2.0}), resume=True)

    def test_a_training_that_was_begun_before_a_setting_came_goes_on_with_its_default(
        self, here: Path, tmp_path: Path
    ) -> None:
        shutil.copytree(here / "whole", tmp_path / "out")
        file = tmp_path / "out" / "plan.json"
        content = json.loads(file.read_text(encoding="utf-8"))
        del content["plan"]["discriminator"]["jitter"]
        file.write_text(json.dumps(content), encoding="utf-8")
        train(training_in(here, tmp_path / "out"), resume=True)
        with pytest.raises(ConfigurationError, match="Settings or cases differ"):
            train(training_in(here, tmp_path / "out", discriminator={"jitter": True}), resume=True)


class TestOneStageAlone:
    """--only."""

    def test_stages_that_are_trained_one_by_one_make_the_same_model(
        self, here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for stage in STAGE_NAMES:
            assert main(arguments(here, tmp_path, "--only", stage)) == 0
            assert f"The {stage} network is trained." in capsys.readouterr().out
            assert not (tmp_path / "model.cow.pt").exists()
        assert main(arguments(here, tmp_path, "--resume")) == 0
        assert differences(tmp_path, here / "whole") == []

    def test_the_order_is_no_matter_to_stages_that_do_not_begin_with_another(self, here: Path, tmp_path: Path) -> None:
        """The circle network begins with the weights of the coarse one, where that is there."""
        for stage in ("fine", "coarse"):
            assert main(arguments(here, tmp_path, "--only", stage)) == 0
        assert differences(tmp_path, here / "whole", ("coarse", "fine"), model=False) == []

    def test_a_stage_that_the_recipe_lacks_is_one_sentence(
        self, here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        two = ["--set", 'training.stages=["coarse", "fine"]']
        assert main(arguments(here, tmp_path, *two, "--only", "circle")) == 1
        [error] = capsys.readouterr().err.splitlines()
        assert "has no stage 'circle'; it has coarse, fine." in error


class TestTravelling:
    """--state-to and --state-from: what goes from one machine to another."""

    def test_the_files_are_small_and_hold_where_every_stage_stood(self, carried: Path) -> None:
        files = {path.name: path.stat().st_size for path in (carried / "states").iterdir()}
        assert files.keys() == {f"{kind}" for s in STAGE_NAMES for kind in (f"state-{s}.pt", f"log-{s}.jsonl")}
        assert max(files.values()) < LARGEST_FILE
        for stage, step in {**STEPS, "fine": 2}.items():
            state = torch.load(carried / "states" / f"state-{stage}.pt", weights_only=True)
            assert state["step"] == step
            assert all(value.dtype is torch.float16 for value in state["average"].values())
            checkpoint = carried / "out" / stage / "checkpoint.pt"
            assert (carried / "states" / f"state-{stage}.pt").stat().st_size < checkpoint.stat().st_size / 4

    def test_a_bare_machine_goes_on_from_them_to_a_model(self, here: Path, carried: Path, tmp_path: Path) -> None:
        out, states = tmp_path / "elsewhere", str(carried / "states")
        assert main(arguments(here, out, "--state-from", states, "--state-to", str(tmp_path / "states"))) == 0
        assert steps_of(out, "fine") == [1, 2, 3, 4]  # the log comes along
        for stage in ("coarse", "circle"):
            assert steps_of(out, stage) == steps_of(carried / "out", stage)
        whole, model = load_model(here / "whole" / "model.cow.pt"), load_model(out / "model.cow.pt")
        assert {stage: model.provenance[stage]["steps"] for stage in STAGE_NAMES} == STEPS
        for name, value in whole.coarse.weights.items():  # trained to the end where it came from; fp16 on the way
            torch.testing.assert_close(model.coarse.weights[name], value, rtol=0.02, atol=0.002)
        assert torch.load(tmp_path / "states" / "state-fine.pt", weights_only=True)["step"] == 4

    def test_weights_and_clock_are_those_that_were_carried(self, here: Path, carried: Path, tmp_path: Path) -> None:
        training = training_in(here, tmp_path)
        before = training_in(here, carried / "out").trainer(training.stage("fine"))
        after = training.trainer(training.stage("fine"), carried / "states")
        assert after.step == before.step == 2
        assert after.seconds_before == pytest.approx(before.seconds_before)
        for name, value in before.average.items():
            torch.testing.assert_close(after.average[name], value.half().to(value.dtype), rtol=0, atol=0)
            assert torch.equal(after.generator.state_dict()[name], after.average[name])

    def test_what_is_further_counts_more(self, here: Path, carried: Path, tmp_path: Path) -> None:
        own = training_in(here, tmp_path)
        own.trainer(own.stage("fine")).save_checkpoint(0.0)
        assert own.trainer(own.stage("fine")).step == 0
        assert own.trainer(own.stage("fine"), carried / "states").step == 2

    def test_what_the_machine_has_itself_counts_more_where_it_is_as_far(self, here: Path, carried: Path) -> None:
        training = training_in(here, carried / "out")
        exact = training.trainer(training.stage("fine"))
        again = training.trainer(training.stage("fine"), carried / "states")
        assert all(torch.equal(value, again.average[name]) for name, value in exact.average.items())
        assert any((value.half().to(value.dtype) != value).any() for value in exact.average.values())

    def test_a_schedule_by_wall_clock_time_counts_the_time_of_all_machines(
        self, here: Path, carried: Path, tmp_path: Path
    ) -> None:
        """Its time is used up on the first machine: on the second one nothing is left to train."""
        state = torch.load(carried / "states" / "state-fine.pt", weights_only=True)
        (tmp_path / "states").mkdir()
        torch.save({**state, "seconds": 61.0}, tmp_path / "states" / "state-fine.pt")
        own = training_in(here, tmp_path / "out", fine={"minutes": 1.0, "steps": 4, "adversarial_steps": 0})
        assert train(own, only="fine", state_from=tmp_path / "states") is None
        assert steps_of(tmp_path / "out", "fine") == []

    @pytest.mark.parametrize("content", ["no state", "another network"])
    def test_a_state_that_cannot_be_used_is_one_sentence(
        self, here: Path, carried: Path, tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "states").mkdir()
        state = tmp_path / "states" / "state-coarse.pt"
        if content == "no state":
            state.write_bytes(b"something else")
        else:
            shutil.copy(carried / "states" / "state-fine.pt", state)
        assert main(arguments(here, tmp_path / "out", "--state-from", str(tmp_path / "states"))) == 1
        [error] = capsys.readouterr().err.splitlines()
        assert "is no state of this training" in error
        assert error.endswith("carry another.")

    def test_a_training_that_fails_leaves_its_states_too(self, here: Path, carried: Path, tmp_path: Path) -> None:
        shutil.copytree(carried / "out", tmp_path / "out")
        for checkpoint in (tmp_path / "out" / "fine").glob("checkpoint*.pt"):
            checkpoint.write_bytes(b"no checkpoint")
        with pytest.raises(ConfigurationError, match="delete it to start again"):
            train(training_in(here, tmp_path / "out"), resume=True, state_to=tmp_path / "states", only="fine")
        assert {path.name for path in (tmp_path / "states").glob("*.pt")} >= {"state-coarse.pt", "state-circle.pt"}

    def test_a_file_that_is_too_large_to_travel_is_reported(
        self, carried: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(light_state, "LARGEST_FILE", 1000)
        tmp_path.joinpath("states").mkdir()
        with pytest.raises(OutputError, match="too much to travel"):
            write_light_states(carried / "out", tmp_path / "states", STAGE_NAMES)
        assert list((tmp_path / "states").iterdir()) == []

    @pytest.mark.parametrize("preset", ["cpu", "gpu"])
    def test_the_networks_of_the_presets_travel_in_their_files(self, preset: str, tmp_path: Path) -> None:
        plan = PRESETS[preset]
        for stage in Training(PhantomData(plan), plan, tmp_path, CPU).stages:
            weights = sum(value.numel() for value in stage.method.network(1).parameters())
            assert 2 * weights < 0.98 * LARGEST_FILE  # half precision, and little else

    def test_nothing_is_taken_over_where_nothing_was_carried(self, here: Path, tmp_path: Path) -> None:
        training = training_in(here, tmp_path / "out")
        trainer = training.trainer(training.stage("coarse"))
        assert not take_over(trainer, tmp_path, "coarse")
        assert trainer.step == 0
        assert replace(training, out=tmp_path).trainer(training.stage("coarse"), tmp_path).step == 0
