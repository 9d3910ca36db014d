"""What the training panel reads and shows without torch: presets, command lines, logs, checks, rejected cases."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aligned_beads import write_bead_cohort
from cohort_cases import write_cohort
from CoWLandmarksLib.core.anatomy import anatomy_from_dict, default_anatomy
from CoWLandmarksLib.core.errors import AnnotationError, ConfigurationError, OutputError
from CoWLandmarksTrainingLib.__main__ import main
from CoWLandmarksTrainingLib.cli.training_commands import add_training_commands, chosen_plan
from CoWLandmarksTrainingLib.config.config_file import settings_of_options
from CoWLandmarksTrainingLib.config.presets import PRESETS
from CoWLandmarksTrainingLib.config.training_plan import TRAINING_SECTIONS, explanation
from CoWLandmarksTrainingLib.panel.log_following import (
    FollowedTraining,
    begun_plan,
    current_part,
    planned_parts,
)
from CoWLandmarksTrainingLib.panel.training_command import (
    MODALITIES,
    SETTINGS,
    TrainingChoices,
    resuming_arguments,
    same_value,
    shown,
)
from CoWLandmarksTrainingLib.panel.training_effort import (
    GPU,
    PROCESSOR,
    effort,
    first_step_seconds,
    phantom_count,
    seconds_left,
    step_seconds,
)
from CoWLandmarksTrainingLib.records.aligned_folder import AlignedCohort, case_picture
from CoWLandmarksTrainingLib.records.checked_cohort import NO_IMAGE, CheckedCase, read_checked, write_checked
from CoWLandmarksTrainingLib.records.evaluation_file import EVALUATION_FILE, read_evaluation
from CoWLandmarksTrainingLib.records.improvement import Improvement, read_comparison, write_comparison
from CoWLandmarksTrainingLib.records.rejection import REJECTED_FILE
from CoWLandmarksTrainingLib.records.training_log import FollowedLog
from other_anatomy import seven_points

ANATOMY = default_anatomy()


def plan_of(arguments: list[str]) -> Any:
    """The plan that a command line means."""
    from argparse import ArgumentParser

    parser = ArgumentParser()
    add_training_commands(parser.add_subparsers(), lambda: None)  # type: ignore[arg-type, return-value]
    return chosen_plan(parser.parse_args(arguments))


class TestPresets:
    """Presets without torch."""

    @pytest.mark.parametrize("setting", SETTINGS)
    def test_every_setting_of_the_panel_is_explained(self, setting: str) -> None:
        assert explanation(setting).endswith(".")


class TestCommandLine:
    """What is shown is what is meant."""

    @pytest.mark.parametrize("preset", PRESETS)
    @pytest.mark.parametrize("modality", MODALITIES)
    def test_the_choices_of_the_panel_give_the_plan_they_name(self, preset: str, modality: str) -> None:
        values = {setting: PRESETS[preset].value(setting) for setting in SETTINGS}
        arguments = TrainingChoices(Path("a"), Path("o"), preset, modality, "cpu", values).arguments()
        assert "--set" not in arguments, "values of the preset need no option"
        plan = plan_of(arguments)
        assert (plan.data.image_modality, plan.data.prior) == MODALITIES[modality]
        image, prior = MODALITIES[modality]
        assert plan == PRESETS[preset].with_values(data={"image_modality": image, "prior": prior})

    def test_changed_settings_reach_the_plan(self) -> None:
        values = {"discriminator.weight": 0.02, "training.seed": 7, "discriminator.coordinates": False}
        plan = plan_of(TrainingChoices(Path("a"), Path("o"), values=values).arguments())
        assert (plan.discriminator.weight, plan.training.seed, plan.discriminator.coordinates) == (0.02, 7, False)

    @pytest.mark.parametrize("start", ["", "default", "my models/own.cow.pt"])
    @pytest.mark.parametrize("share", [0.0, 0.3])
    def test_what_it_begins_from_and_phantoms_have_options_of_their_own(self, start: str, share: float) -> None:
        values = {"training.start_from": start, "data.phantom_share": share}
        choices = TrainingChoices(Path("a"), Path("o"), values=values)
        arguments = choices.arguments()
        assert ("--start-from" in arguments, "--phantoms" in arguments) == (bool(start), bool(share))
        assert "--set" not in arguments
        plan = plan_of(arguments)
        assert (plan.training.start_from, plan.data.phantom_share) == (start, share)
        assert choices.plan() == plan.to_dict()

    def test_a_path_with_blanks_can_be_copied(self) -> None:
        assert "'my cases'" in shown(TrainingChoices(Path("my cases"), Path("o")).arguments()) or '"my cases"' in shown(
            TrainingChoices(Path("my cases"), Path("o")).arguments()
        )

    def test_resuming_twice_says_so_once(self) -> None:
        assert resuming_arguments(resuming_arguments(["train", "a"])) == ["train", "a", "--resume"]

    @pytest.mark.parametrize(
        ("one", "other", "same"),
        [(1e-4, 0.0001, True), (1, 1.0, True), (0.1, 0.2, False), (True, True, True), (True, 1, True), (0, 0.0, True)],
    )
    def test_values_of_spin_boxes_are_compared_as_numbers(self, one: Any, other: Any, same: bool) -> None:
        assert same_value(one, other) is same

    @pytest.mark.parametrize(
        ("option", "message"),
        [
            ("training.seed", "SECTION.KEY=VALUE"),
            ("seed=3", "SECTION.KEY=VALUE"),
            ("trainin.seed=3", "training"),
            ("training.sed=3", "seed"),
            ("training.seed=many", "a whole number is needed"),
        ],
    )
    def test_a_wrong_setting_is_one_sentence(self, option: str, message: str) -> None:
        with pytest.raises(ConfigurationError, match=message):
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

    def test_a_long_log_is_read_in_chunks(self, tmp_path: Path) -> None:
        path = tmp_path / "log.jsonl"
        self.write(path, list(range(1, 6001)), note="x" * 100)
        log = FollowedLog(path)
        assert log.update()
        assert 0 < len(log.entries) < 3000
        while log.update():
            pass
        assert [entry["step"] for entry in log.entries] == list(range(1, 6001))

    def test_phases_are_distinguished_and_what_comes_later_ends_what_was_before(self, tmp_path: Path) -> None:
        training = FollowedTraining(tmp_path)
        plan = PRESETS["cpu"].with_values(
            coarse={"steps": 25}, circle={"steps": 10}, fine={"steps": 100, "adversarial_steps": 50}
        )
        planned = planned_parts(plan.to_dict())
        assert [(part.stage, part.phase) for part in planned] == [
            ("coarse", 1),
            ("circle", 1),
            ("fine", 1),
            ("fine", 2),
        ]
        self.write(tmp_path / "coarse" / "log.jsonl", [10, 20])
        training.update()
        progress = training.progress(planned)
        assert [part.step for part in progress] == [20, 0, 0, 0]
        assert current_part(progress) is progress[0]
        self.write(tmp_path / "fine" / "log.jsonl", [30, 90], phase=1)
        training.update()
        progress = training.progress(planned)
        assert [part.step for part in progress] == [25, 10, 90, 0]
        assert current_part(progress) is progress[2]
        self.write(tmp_path / "fine" / "log.jsonl", [120], phase=2, discriminator_accuracy=0.6)
        training.update()
        progress = training.progress(planned)
        assert [part.step for part in progress] == [25, 10, 100, 20]
        assert progress[3].figures["discriminator_accuracy"] == 0.6
        assert progress[2].figures["loss"] == pytest.approx(1 / 90)

    def test_a_stage_whose_time_is_over_is_done(self, tmp_path: Path) -> None:
        plan = PRESETS["cpu"].with_values(training={"stages": ("coarse", "fine")}, fine={"minutes": 1.0}).to_dict()
        training = FollowedTraining(tmp_path)
        self.write(tmp_path / "fine" / "log.jsonl", [30], seconds=50.0, seconds_per_step=1.0)
        training.update()
        progress = training.progress(planned_parts(plan))
        assert current_part(progress) is progress[1]
        assert progress[1].seconds_left(1.0) == pytest.approx(10.0)
        self.write(tmp_path / "fine" / "log.jsonl", [41], seconds=61.0, seconds_per_step=1.0)
        training.update()
        progress = training.progress(planned_parts(plan))
        assert current_part(progress) is None
        assert seconds_left(plan, progress) == 0.0

    @pytest.mark.parametrize(
        "content", ["", "{}", '{"plan": {}}', '{"plan": {"training": {"pretrain_steps": 3}}}', "[]"]
    )
    def test_a_plan_that_is_damaged_or_of_another_version_is_none(self, tmp_path: Path, content: str) -> None:
        assert begun_plan(tmp_path) is None
        (tmp_path / "plan.json").write_text(content, encoding="utf-8")
        assert begun_plan(tmp_path) is None


class TestEffort:
    """What a training takes."""

    def test_steps_batches_phantoms_and_networks_take_their_time(self) -> None:
        base = PRESETS["cpu"].to_dict()
        before = effort(base)
        more = {
            "steps": PRESETS["cpu"].with_values(fine={"steps": 4800}),
            "batch": PRESETS["cpu"].with_values(fine={"batch_size": 4}),
            "width": PRESETS["cpu"].with_values(fine={"base_width": 64}),
            "window": PRESETS["cpu"].with_values(fine={"window": (0, 0, 0)}),
            "phantoms": PRESETS["cpu"].with_values(data={"phantom_share": 0.5}),
            "phase 2": PRESETS["cpu"].with_values(fine={"adversarial_steps": 100}),
        }
        for what, plan in more.items():
            after = effort(plan.to_dict())
            assert after.processor_seconds > before.processor_seconds, what
            assert after.gpu_seconds >= before.gpu_seconds, f"{what}: on a GPU it may wait for its batches"
        assert before.gpu_seconds < before.processor_seconds
        assert effort(more["phantoms"].to_dict()).disk_mb > before.disk_mb
        two = PRESETS["cpu"].with_values(training={"stages": ("coarse", "fine")}).to_dict()
        assert effort(two).disk_mb < before.disk_mb

    def test_the_cpu_preset_takes_the_hour_and_a_quarter_that_was_measured(self) -> None:
        """Steps of 0.58, 1.04 and 0.54 s (Docs/use/training.md)."""
        measured = 800 * 0.58 + 2400 * 1.04 + 2400 * 0.54
        assert effort(PRESETS["cpu"].to_dict()).processor_seconds == pytest.approx(measured, rel=0.02)
        alone = PRESETS["cpu"].with_values(training={"workers": 0}).to_dict()
        making = 2 * 800 * 0.05 + 2400 * 0.35 + 2 * 2400 * 0.03
        assert effort(alone).processor_seconds == pytest.approx(measured + making, rel=0.02)

    def test_the_methods_to_compare_with_take_their_own_time(self) -> None:
        for preset, share in (("payer", 9.4 * 15.0), ("noothout", 1.4)):  # the whole crop has 15 times as many voxels
            plan = PRESETS[preset].to_dict()
            [part] = [part for part in planned_parts(plan) if part.stage == "fine" and part.phase == 1]
            expected = plan["fine"]["batch_size"] * 0.27 * 1.8 * share
            assert step_seconds(plan, part, PROCESSOR) == pytest.approx(expected, rel=1e-6)

    def test_the_large_network_of_noothout_takes_its_disk_space(self) -> None:
        """Checkpoints of 426 MB were measured; the coarse stage has those of the other presets."""
        assert effort(PRESETS["payer"].to_dict()).disk_mb == pytest.approx((2 * 2 + 1) * 98.0 + 18.0)
        needed = 2 * 98.0 + 3 * 426.0
        assert needed <= effort(PRESETS["noothout"].to_dict()).disk_mb <= needed + 100.0

    def test_a_phantom_is_used_several_times(self) -> None:
        plan = PRESETS["cpu"].with_values(
            data={
                "phantom_share": 0.5,
                "phantom_cases": 1000,
                "phantom_reuse": 4,
                "image_modality": "both",
                "prior": "none",
            },
            coarse={"steps": 0},
            circle={"steps": 100, "batch_size": 1},
            fine={"steps": 200, "batch_size": 2},
        )
        assert phantom_count(plan.to_dict()) == 100
        assert phantom_count(plan.with_values(data={"image_modality": "mra"}).to_dict()) == 50
        assert phantom_count(plan.with_values(data={"phantom_cases": 30}).to_dict()) == 30
        assert phantom_count(plan.with_values(data={"phantom_share": 0.0}).to_dict()) == 0

    @pytest.mark.parametrize("machine", [PROCESSOR, GPU])
    @pytest.mark.parametrize("factor", [0.7, 3.0])
    def test_time_left_goes_by_the_pace_of_the_training_itself(
        self, tmp_path: Path, machine: Any, factor: float
    ) -> None:
        plan = PRESETS["gpu"].with_values(fine={"adversarial_steps": 100}).to_dict()
        planned = planned_parts(plan)
        training = FollowedTraining(tmp_path)
        assert seconds_left(plan, training.progress(planned)) is None
        own = factor * step_seconds(plan, planned[0], machine)
        (tmp_path / "coarse").mkdir()
        line = json.dumps({"step": 300, "loss": 0.1, "seconds_per_step": own})
        (tmp_path / "coarse" / "log.jsonl").write_text(line + "\n", encoding="utf-8")
        training.update()
        left = 11_700 * own + sum(factor * part.steps * step_seconds(plan, part, machine) for part in planned[1:])
        assert seconds_left(plan, training.progress(planned)) == pytest.approx(left)

    def test_the_first_step_waits_for_its_batch_and_for_phantoms(self, tmp_path: Path) -> None:
        plan = PRESETS["cpu"].to_dict()
        nothing = FollowedTraining(tmp_path).progress(planned_parts(plan))
        with_phantoms = PRESETS["cpu"].with_values(data={"phantom_share": 0.5}).to_dict()
        assert 0.0 < first_step_seconds(plan, nothing) < first_step_seconds(with_phantoms, nothing)


class TestComparison:
    """Whether a training helped."""

    def test_it_is_read_as_the_training_has_written_it(self, tmp_path: Path) -> None:
        assert read_comparison(tmp_path) is None
        for interval in ((-0.4, -0.1), None):
            wanted = Improvement(3, 57, 1.5, 1.2, interval)
            write_comparison(tmp_path, wanted)
            assert read_comparison(tmp_path) == wanted

    @pytest.mark.parametrize("content", ["{", "[]", "{}", '{"scans": 3, "landmarks": 4, "old_mre_mm": null}'])
    def test_a_damaged_one_is_one_sentence(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "comparison.json").write_text(content, encoding="utf-8")
        with pytest.raises((AnnotationError, OutputError), match="run the step again"):
            read_comparison(tmp_path)


@pytest.mark.slow
def test_an_aligned_folder_tells_whether_phantoms_have_its_landmarks(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="cowlandmarks-train align"):
        AlignedCohort.read(tmp_path)
    write_bead_cohort(tmp_path / "own", mra=1, sets=1)
    write_bead_cohort(tmp_path / "seven", mra=1, sets=1, anatomy=anatomy_from_dict(seven_points()))
    assert AlignedCohort.read(tmp_path / "own").has_default_landmarks
    assert not AlignedCohort.read(tmp_path / "seven").has_default_landmarks


class TestRejection:
    """Cases that a person leaves out."""

    @pytest.mark.slow
    def test_a_rejected_case_is_left_out_until_it_is_taken_back(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_bead_cohort(tmp_path, mra=2, sets=1)
        name = AlignedCohort.read(tmp_path).cases("train")[0].name
        assert main(["reject", str(tmp_path), name]) == 0
        assert name in capsys.readouterr().out
        cohort = AlignedCohort.read(tmp_path)
        assert [case.name for case in cohort.rejected()] == [name]
        assert [case.accepted for case in cohort.rejected()] == [False]
        assert [case.name for case in cohort.all_cases if case.rejected_by_person] == [name]
        assert main(["reject", str(tmp_path), name, "--undo"]) == 0
        assert AlignedCohort.read(tmp_path).rejected() == ()

    @pytest.mark.slow
    def test_a_name_that_is_not_there_is_refused(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write_bead_cohort(tmp_path, mra=1, sets=1)
        assert main(["reject", str(tmp_path), "nobody"]) == 1
        assert "nobody" in capsys.readouterr().err
        assert not (tmp_path / REJECTED_FILE).exists()

    @pytest.mark.slow
    def test_a_damaged_list_is_not_taken_for_an_empty_one(self, tmp_path: Path) -> None:
        write_bead_cohort(tmp_path, mra=1, sets=1)
        (tmp_path / REJECTED_FILE).write_text("{}", encoding="utf-8")
        with pytest.raises(AnnotationError, match="damaged"):
            AlignedCohort.read(tmp_path)

    @pytest.mark.slow
    def test_rejected_cases_stay_rejected_when_align_runs_again(self, tmp_path: Path) -> None:
        write_cohort(tmp_path / "mra", ANATOMY, 3)
        align = ["align", str(tmp_path / "mra"), "--out", str(tmp_path / "aligned"), "--by", "landmarks"]
        assert main([*align, "--processes", "1"]) == 0
        assert main(["reject", str(tmp_path / "aligned"), "mra01"]) == 0
        assert main([*align, "--processes", "1"]) == 2
        assert [case.name for case in AlignedCohort.read(tmp_path / "aligned").rejected()] == ["mra01"]
        cases = AlignedCohort.read(tmp_path / "aligned").all_cases
        pictures = [case_picture(tmp_path / "aligned", case.name) for case in cases]
        assert all(path.stat().st_size > 10_000 for path in pictures)


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


def test_a_check_is_read_back_and_a_scene_without_scan_is_no_template(tmp_path: Path) -> None:
    only = CheckedCase("only", "p1", "mra", "case", image=NO_IMAGE, placed=19, scene=tmp_path / "only.mrb")
    whole = replace(only, name="whole", patient="p2", image="8 x 8 x 8, 1.00 x 1.00 x 1.00 mm")
    problems = [("whole", "note", "Seen."), ("lost", "error", "Damaged."), ("", "warning", "One patient.")]
    write_checked(tmp_path / "check.json", [only, whole], 19, problems)
    cohort = read_checked(tmp_path / "check.json")
    lost = CheckedCase("lost", readable=False, problems=(("error", "Damaged."),))
    assert cohort.cases == (lost, only, replace(whole, problems=(("note", "Seen."),)))
    assert cohort.problems == (("warning", "One patient."),)
    assert cohort.names("mra") == ["whole"]


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"problems": [], "landmarks": 19, "cases": [{"name": "a"}]}'])
def test_a_damaged_check_or_evaluation_is_one_sentence(tmp_path: Path, content: str) -> None:
    for name in ("check.json", EVALUATION_FILE):
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises((AnnotationError, OutputError), match="run the check again"):
        read_checked(tmp_path / "check.json")
    with pytest.raises((AnnotationError, OutputError), match="run the evaluation again"):
        read_evaluation(tmp_path)
