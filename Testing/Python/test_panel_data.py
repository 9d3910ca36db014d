"""What the training panel reads and shows without torch: presets, command lines, logs, checks, rejected cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aligned_beads import write_bead_cohort
from cohort_cases import write_cohort
from CoWLandmarksLib.anatomy import default_anatomy
from CoWLandmarksLib.errors import AnnotationError, ConfigurationError
from CoWLandmarksTrainingLib.__main__ import main
from CoWLandmarksTrainingLib.aligned import AlignedCohort
from CoWLandmarksTrainingLib.config_file import settings_of_options
from CoWLandmarksTrainingLib.log_following import FollowedLog, FollowedTraining, PlannedSteps
from CoWLandmarksTrainingLib.panel_data import read_aligned, read_checked
from CoWLandmarksTrainingLib.preset_values import preset_values
from CoWLandmarksTrainingLib.rejection import REJECTED_FILE
from CoWLandmarksTrainingLib.training_command import (
    MODALITIES,
    SETTINGS,
    TrainingChoices,
    resuming_words,
    same_value,
    shown,
)
from CoWLandmarksTrainingLib.training_commands import add_training_commands, chosen_plan
from CoWLandmarksTrainingLib.training_plan import PRESETS, TRAINING_SECTIONS
from list_presets import presets_of_the_trainer

ANATOMY = default_anatomy()


def plan_of(words: list[str]) -> Any:
    """The plan that a command line means."""
    from argparse import ArgumentParser

    parser = ArgumentParser()
    add_training_commands(parser.add_subparsers(), lambda: None)  # type: ignore[arg-type, return-value]
    return chosen_plan(parser.parse_args(words))


class TestPresets:
    """Presets without torch."""

    def test_the_packaged_values_are_those_of_the_trainer(self) -> None:
        wanted = presets_of_the_trainer()
        assert preset_values().presets == wanted["presets"], "run python Testing/list_presets.py --write"
        assert preset_values().explanations == wanted["explanations"]

    @pytest.mark.parametrize("setting", SETTINGS)
    def test_every_setting_of_the_panel_is_explained(self, setting: str) -> None:
        assert preset_values().explanation(setting).endswith(".")


class TestCommandLine:
    """What is shown is what is meant."""

    @pytest.mark.parametrize("preset", PRESETS)
    @pytest.mark.parametrize("modality", MODALITIES)
    def test_the_choices_of_the_panel_give_the_plan_they_name(self, preset: str, modality: str) -> None:
        values = {setting: preset_values().value(preset, setting) for setting in SETTINGS}
        words = TrainingChoices(Path("a"), Path("o"), preset, modality, "cpu", values).words()
        assert "--set" not in words, "values of the preset need no option"
        plan = plan_of(words)
        assert (plan.training.image_modality, plan.training.prior) == MODALITIES[modality]
        image, prior = MODALITIES[modality]
        assert plan == PRESETS[preset].with_values(training={"image_modality": image, "prior": prior})

    def test_changed_settings_reach_the_plan(self) -> None:
        values = {"discriminator.weight": 0.02, "training.seed": 7, "discriminator.coordinates": False}
        plan = plan_of(TrainingChoices(Path("a"), Path("o"), values=values).words())
        assert (plan.discriminator.weight, plan.training.seed, plan.discriminator.coordinates) == (0.02, 7, False)

    def test_a_path_with_blanks_can_be_copied(self) -> None:
        assert "'my cases'" in shown(TrainingChoices(Path("my cases"), Path("o")).words()) or '"my cases"' in shown(
            TrainingChoices(Path("my cases"), Path("o")).words()
        )

    def test_resuming_twice_says_so_once(self) -> None:
        assert resuming_words(resuming_words(["train", "a"])) == ["train", "a", "--resume"]

    @pytest.mark.parametrize(
        ("one", "other", "same"),
        [(1e-4, 0.0001, True), (1, 1.0, True), (0.1, 0.2, False), (True, True, True), (True, 1, True), (0, 0.0, True)],
    )
    def test_values_of_spin_boxes_are_compared_as_numbers(self, one: Any, other: Any, same: bool) -> None:
        assert same_value(one, other) is same

    @pytest.mark.parametrize(
        ("option", "told"),
        [
            ("training.seed", "SECTION.KEY=VALUE"),
            ("seed=3", "SECTION.KEY=VALUE"),
            ("trainin.seed=3", "training"),
            ("training.sed=3", "seed"),
            ("training.seed=many", "a whole number is needed"),
        ],
    )
    def test_a_wrong_setting_is_one_sentence(self, option: str, told: str) -> None:
        with pytest.raises(ConfigurationError, match=told):
            settings_of_options([option], TRAINING_SECTIONS)


class TestLogs:
    """Following a log while it is written."""

    def write(self, path: Path, steps: list[int], **more: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as stream:
            for step in steps:
                stream.write(json.dumps({"step": step, "loss": 1.0 / step, **more}) + "\n")

    def test_only_whole_lines_are_read_and_the_rest_when_it_is_there(self, tmp_path: Path) -> None:
        path = tmp_path / "log.jsonl"
        log = FollowedLog(path)
        assert not log.update()
        self.write(path, [1, 2])
        with path.open("a", encoding="utf-8") as stream:
            stream.write('{"step": 3, "lo')
        assert log.update()
        assert [entry["step"] for entry in log.entries] == [1, 2]
        assert not log.update()
        with path.open("a", encoding="utf-8") as stream:
            stream.write('ss": 0.5}\n')
        assert log.update()
        assert [entry["step"] for entry in log.entries] == [1, 2, 3]

    def test_a_log_that_was_cut_by_a_resumed_training_is_read_anew(self, tmp_path: Path) -> None:
        path = tmp_path / "log.jsonl"
        log = FollowedLog(path)
        self.write(path, list(range(1, 50)))
        log.update()
        path.unlink()
        self.write(path, list(range(1, 20)))
        assert log.update()
        assert [entry["step"] for entry in log.entries] == list(range(1, 20))
        path.unlink()
        assert log.update()
        assert log.entries == []

    def test_a_long_log_is_read_in_pieces(self, tmp_path: Path) -> None:
        path = tmp_path / "log.jsonl"
        self.write(path, list(range(1, 6001)), note="x" * 100)
        log = FollowedLog(path)
        assert log.update()
        assert 0 < len(log.entries) < 3000
        while log.update():
            pass
        assert [entry["step"] for entry in log.entries] == list(range(1, 6001))

    def test_phases_are_told_apart_and_what_comes_later_ends_what_was_before(self, tmp_path: Path) -> None:
        training, planned = FollowedTraining(tmp_path), PlannedSteps(pretraining=100, adversarial=50, coarse=25)
        self.write(tmp_path / "coarse" / "log.jsonl", [10, 20])
        training.update()
        progress = training.progress(planned)
        assert (progress.coarse.step, progress.pretraining.step, progress.adversarial.step) == (20, 0, 0)
        assert progress.current is progress.coarse
        self.write(tmp_path / "fine" / "log.jsonl", [30, 90], phase=1)
        training.update()
        progress = training.progress(planned)
        assert (progress.coarse.step, progress.pretraining.step, progress.adversarial.step) == (25, 90, 0)
        assert progress.current is progress.pretraining
        self.write(tmp_path / "fine" / "log.jsonl", [120], phase=2, discriminator_accuracy=0.6)
        training.update()
        progress = training.progress(planned)
        assert (progress.pretraining.step, progress.adversarial.step) == (100, 20)
        assert progress.adversarial.figures["discriminator_accuracy"] == 0.6
        assert progress.pretraining.figures["loss"] == pytest.approx(1 / 90)


class TestRejection:
    """Cases that a person leaves out."""

    def test_a_rejected_case_is_left_out_until_it_is_taken_back(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_bead_cohort(tmp_path, mra=2, sets=1)
        name = AlignedCohort.read(tmp_path).cases("train")[0].name
        assert main(["reject", str(tmp_path), name]) == 0
        assert name in capsys.readouterr().out
        cohort = AlignedCohort.read(tmp_path)
        assert [case.name for case in cohort.rejected()] == [name]
        [row] = [row for row in read_aligned(tmp_path) if row.name == name]
        assert (row.accepted, row.rejected) == (False, True)
        assert main(["reject", str(tmp_path), name, "--undo"]) == 0
        assert AlignedCohort.read(tmp_path).rejected() == ()

    def test_a_name_that_is_not_there_is_refused(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write_bead_cohort(tmp_path, mra=1, sets=1)
        assert main(["reject", str(tmp_path), "nobody"]) == 1
        assert "nobody" in capsys.readouterr().err
        assert not (tmp_path / REJECTED_FILE).exists()

    def test_a_damaged_list_is_not_taken_for_an_empty_one(self, tmp_path: Path) -> None:
        write_bead_cohort(tmp_path, mra=1, sets=1)
        (tmp_path / REJECTED_FILE).write_text("{}", encoding="utf-8")
        with pytest.raises(AnnotationError, match="damaged"):
            AlignedCohort.read(tmp_path)

    def test_rejected_cases_stay_rejected_when_align_runs_again(self, tmp_path: Path) -> None:
        write_cohort(tmp_path / "mra", ANATOMY, 3)
        align = ["align", str(tmp_path / "mra"), "--out", str(tmp_path / "aligned"), "--by", "landmarks"]
        assert main([*align, "--processes", "1"]) == 0
        assert main(["reject", str(tmp_path / "aligned"), "mra01"]) == 0
        assert main([*align, "--processes", "1"]) == 2
        assert [case.name for case in AlignedCohort.read(tmp_path / "aligned").rejected()] == ["mra01"]
        pictures = {row.name: row.picture for row in read_aligned(tmp_path / "aligned")}
        assert all(path is not None and path.stat().st_size > 10_000 for path in pictures.values())


def test_check_tells_where_the_cases_lie_and_which_patients_are_pairs(tmp_path: Path) -> None:
    write_cohort(tmp_path / "mra", ANATOMY, 2)
    write_cohort(tmp_path / "cta", ANATOMY, 2, modality="cta", seed=4)
    description = tmp_path / "cta" / "cta00" / "case.json"
    content = json.loads(description.read_text(encoding="utf-8"))
    description.write_text(json.dumps({**content, "patient": "p-mra00"}), encoding="utf-8")
    report = tmp_path / "check.json"
    assert main(["check", str(tmp_path / "mra"), str(tmp_path / "cta"), "--json", str(report)]) == 0
    cohort = read_checked(report)
    assert cohort.names("cta") == ["cta00", "cta01"]
    assert cohort.pairs() == ["p-mra00"]
    case = cohort.case("mra01")
    assert case is not None and case.volume is not None and case.annotation is not None
    assert case.volume.is_file() and case.annotation.is_file()
    assert not case.failed
