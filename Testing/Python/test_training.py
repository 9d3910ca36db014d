"""Training on an aligned cohort through the command: a model file that detects, resuming, modalities, bad cohorts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from aligned_beads import GRID, bead_image, mean_places, write_bead_cohort
from CoWLandmarksLib.__main__ import main as detect_main
from CoWLandmarksLib.anatomy import anatomy_from_dict
from CoWLandmarksLib.errors import ConfigurationError
from CoWLandmarksLib.generator import Generator, GeneratorConfig
from CoWLandmarksLib.heatmap import decode_subvoxel, encode
from CoWLandmarksLib.modality import Modality
from CoWLandmarksLib.model import load_model, save_model
from CoWLandmarksLib.volume import Volume, axis_aligned_grid
from CoWLandmarksLib.volume_io import write_volume
from CoWLandmarksTrainingLib.__main__ import main
from CoWLandmarksTrainingLib.adversary_study import arms_of
from CoWLandmarksTrainingLib.aligned import AlignedCohort
from CoWLandmarksTrainingLib.batch import Batch
from CoWLandmarksTrainingLib.config_file import ConfigFile
from CoWLandmarksTrainingLib.discriminator import View
from CoWLandmarksTrainingLib.losses import Objective
from CoWLandmarksTrainingLib.processes import Processes
from CoWLandmarksTrainingLib.trainer import Trainer, TrainerConfig
from CoWLandmarksTrainingLib.training import CohortTraining, check_cohort, cohort_shape_model
from CoWLandmarksTrainingLib.training_config import SECTIONS
from CoWLandmarksTrainingLib.training_log import LOG_SCHEMA_FILE
from CoWLandmarksTrainingLib.training_plan import PRESETS, TrainingPlan
from other_anatomy import seven_points
from scipy.ndimage import gaussian_filter

TOY: dict[str, dict[str, Any]] = {
    "generator": {"base_width": 8, "levels": 2, "fold": 2, "window": [0, 0, 0], "priors": False, "sigma_mm": 3.0},
    "discriminator": {"base_width": 4, "layers": 2},
    "training": {
        "pretrain_steps": 2,
        "adversarial_steps": 2,
        "warm_up_steps": 1,
        "validate_every": 0,
        "log_every": 1,
        "mixed_precision": False,
        "checkpoint_seconds": 0.0,
    },
    "augmentation": {"elastic_mm": 0.5},
    "coarse": {"base_width": 8, "levels": 2, "steps": 2, "batch_size": 1},
}


@pytest.fixture(scope="module")
def aligned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("aligned")
    write_bead_cohort(folder, mra=2, cta=2, sets=3)
    return folder


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "toy.json"
    path.write_text(json.dumps(TOY), encoding="utf-8")
    return path


def toy_plan(**training: Any) -> TrainingPlan:
    return PRESETS["cpu"].with_file(ConfigFile(Path("toy"), TOY)).with_values(training=training)


def command(aligned: Path, out: Path, config: Path, *more: str) -> list[str]:
    return ["train", str(aligned), "--out", str(out), "--config", str(config), "--device", "cpu", *more]


class TestRoad:
    """From the command to the model file and on to a detection."""

    def test_a_trained_model_detects(self, aligned: Path, config: Path, tmp_path: Path) -> None:
        out = tmp_path / "training"
        assert main(command(aligned, out, config, "--json-progress")) == 0
        model = load_model(out / "model.cow.pt")
        assert not model.reads_priors
        assert model.window == GRID.shape
        assert model.provenance["scans"] == 2
        assert model.provenance["landmark_sets"] == 2 + 2 + 3
        assert "mra-0" not in json.dumps(model.provenance)
        assert "not a medical device" in model.card
        lines = [json.loads(line) for line in (out / "fine" / "log.jsonl").read_text(encoding="utf-8").splitlines()]
        assert [line["phase"] for line in lines if "loss" in line] == [1, 1, 2, 2]
        for line in lines:
            jsonschema.validate(line, json.loads(LOG_SCHEMA_FILE.read_text(encoding="utf-8")))
        assert lines[-1]["validation"]["landmarks"] == 19
        assert [path.name for path in (out / "fine" / "pictures").iterdir()] == ["step-000004.png"]
        image = bead_image(GRID, mean_places(model.anatomy)) * 300
        write_volume(Volume(image.astype(np.int16), GRID.ijk_to_ras, "beads"), tmp_path / "beads.nii.gz")
        words = ["detect", str(tmp_path / "beads.nii.gz"), "--model", str(out / "model.cow.pt"), "--modality", "mra"]
        assert detect_main([*words, "--out", str(tmp_path / "found"), "--device", "cpu", "--no-pictures"]) in (0, 3)
        assert (tmp_path / "found" / "beads" / "landmarks.csv").exists()

    @pytest.mark.parametrize(
        ("words", "scans", "sets"),
        [
            (("--image-modality", "cta", "--prior", "mra"), 2, 7),
            (("--image-modality", "cta"), 2, 7),
            (("--image-modality", "both", "--prior", "none"), 4, 7),
            (("--image-modality", "mra", "--prior", "none"), 2, 2),
        ],
    )
    def test_modalities_are_a_matter_of_options(
        self, aligned: Path, tmp_path: Path, words: tuple[str, ...], scans: int, sets: int
    ) -> None:
        import argparse

        from CoWLandmarksTrainingLib.training_commands import chosen_plan

        given = dict(zip(words[::2], words[1::2], strict=True))
        options = argparse.Namespace(
            set=None,
            preset="cpu",
            config=None,
            image_modality=given.get("--image-modality"),
            prior=given.get("--prior"),
            seed=None,
        )
        training = CohortTraining(
            AlignedCohort.read(aligned), chosen_plan(options), tmp_path, torch.device("cpu"), Processes()
        )
        check = [training.train_cases, training.real_cases]
        assert [len(cases) for cases in check] == [scans, sets]
        assert {case.modality for case in training.train_cases} == set(training.plan.training.image_modalities)

    def test_another_landmark_set_just_works(self, config: Path, tmp_path: Path) -> None:
        anatomy = anatomy_from_dict(seven_points())
        write_bead_cohort(tmp_path / "seven", mra=1, sets=1, validation=0, anatomy=anatomy)
        assert main(command(tmp_path / "seven", tmp_path / "out", config)) == 0
        model = load_model(tmp_path / "out" / "model.cow.pt")
        assert model.anatomy.codes == anatomy.codes
        assert model.fine.config.out_channels == 7
        assert "There was no validation scan" in model.card

    def test_one_case_is_learnt_by_heart_to_a_third_of_a_millimetre(self, tmp_path: Path) -> None:
        grid = axis_aligned_grid(np.zeros(3), np.array([0.9, 0.9, 1.1]), (12, 16, 16))
        points = np.array([[-3.3, -3.1, -2.2], [3.4, -2.7, 1.6], [0.3, 3.6, 2.3], [3.2, 2.4, -2.1]])
        texture = gaussian_filter(np.random.default_rng(1).normal(0, 8, grid.shape), 1.5)
        image = torch.from_numpy(texture.astype(np.float32))[None, None]
        batch = Batch(image, encode(points, grid, 1.5)[None], torch.ones(1, 4))
        torch.manual_seed(1)
        generator = Generator(GeneratorConfig(out_channels=4, base_width=8, levels=3))
        settings = TrainerConfig(steps=100, learning_rate=5e-3, warm_up_steps=5, mixed_precision=False)
        trainer = Trainer(generator, lambda rng: batch, settings, tmp_path, torch.device("cpu"))
        trainer.run()
        with torch.inference_mode():
            heatmaps = trainer.averaged_generator()(image)[0]
        found, _ = decode_subvoxel(heatmaps, grid, 1.5)
        assert np.linalg.norm(found - points, axis=1).max() < 0.3


class TestResuming:
    """Stopping costs nothing."""

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
    def test_a_terminated_training_goes_on_to_the_same_weights(self, config: Path, tmp_path: Path) -> None:
        aligned = tmp_path / "aligned"
        write_bead_cohort(aligned, mra=1, sets=1, validation=0)
        process = subprocess.Popen(
            [sys.executable, "-m", "CoWLandmarksTrainingLib", *command(aligned, tmp_path / "parts", config)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 120.0
        while not (tmp_path / "parts" / "plan.json").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.terminate()
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 75, errors
        assert "the same command with --resume goes on" in errors
        assert main(command(aligned, tmp_path / "parts", config)) == 1
        assert main(command(aligned, tmp_path / "parts", config, "--resume")) == 0
        assert main(command(aligned, tmp_path / "whole", config)) == 0
        one, other = (load_model(tmp_path / name / "model.cow.pt") for name in ("parts", "whole"))
        for part in ("coarse", "fine"):
            for name, value in getattr(one, part).weights.items():
                assert torch.equal(value, getattr(other, part).weights[name]), name

    def test_a_finished_training_and_other_settings_are_told(
        self, aligned: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "plan.json").write_text("{}", encoding="utf-8")
        assert main(command(aligned, tmp_path / "out", config)) == 1
        assert "holds a training; go on with --resume" in capsys.readouterr().err
        assert main(command(aligned, tmp_path / "out", config, "--resume")) == 1
        assert "Settings or cases differ" in capsys.readouterr().err


class TestBadCohorts:
    """One sentence, before anything is trained."""

    def problem(self, cohort: AlignedCohort, plan: TrainingPlan, tmp_path: Path) -> str:
        with pytest.raises(ConfigurationError) as error:
            check_cohort(CohortTraining(cohort, plan, tmp_path, torch.device("cpu"), Processes()))
        return str(error.value)

    def test_an_empty_cohort(self, aligned: Path, tmp_path: Path) -> None:
        cohort = replace(AlignedCohort.read(aligned), all_cases=())
        assert "has no MRA training scan" in self.problem(cohort, toy_plan(), tmp_path)

    def test_no_landmarks_of_the_prior_modality(self, aligned: Path, tmp_path: Path) -> None:
        cohort = AlignedCohort.read(aligned)
        only = replace(cohort, all_cases=cohort.cases(modality=Modality.MRA))
        assert "has no CTA landmarks for training" in self.problem(only, toy_plan(), tmp_path)
        check_cohort(CohortTraining(only, toy_plan(prior="none"), tmp_path, torch.device("cpu"), Processes()))

    def test_a_landmark_that_nobody_annotated(self, aligned: Path, tmp_path: Path) -> None:
        cohort = AlignedCohort.read(aligned)
        status = np.ones(19, np.int8)
        status[3] = -1
        half = replace(cohort, all_cases=tuple(replace(case, status=status) for case in cohort.all_cases))
        told = self.problem(half, toy_plan(), tmp_path)
        assert cohort.anatomy.codes[3] in told
        assert "annotate it" in told

    def test_a_crop_that_does_not_fit_the_network(self, aligned: Path, tmp_path: Path) -> None:
        plan = toy_plan().with_values(generator={"levels": 5})
        assert "multiples of 32" in self.problem(AlignedCohort.read(aligned), plan, tmp_path)
        wide = toy_plan().with_values(generator={"window": (96, 96, 96)})
        assert "larger than the crop" in self.problem(AlignedCohort.read(aligned), wide, tmp_path)

    def test_a_folder_that_is_no_aligned_cohort(
        self, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(command(tmp_path, tmp_path / "out", config)) == 1
        [error] = capsys.readouterr().err.splitlines()
        assert "aligned.json" in error


class TestPlans:
    """Presets and configuration files."""

    def test_the_paper_s_preset_is_the_paper_where_it_is_explicit(self) -> None:
        plan = PRESETS["paper"]
        assert plan.generator.window == (0, 0, 0)
        assert not plan.generator.priors
        assert not plan.generator.decode_with_prior
        assert plan.generator.fold == 1
        assert plan.training.alpha == 1000.0
        assert plan.training.image_modalities == (Modality.MRA,)
        assert plan.training.real_modalities == (Modality.MRA, Modality.CTA)
        trainer = plan.trainer_config()
        assert {trainer.learning_rate_at(p, 5) for p in (0.0, 0.5, 1.0)} == {1e-4}
        assert plan.discriminator.learning_rate == 1e-4
        assert plan.discriminator.objective is Objective.LOGISTIC
        assert plan.discriminator.view is View.PLAIN
        assert plan.discriminator.extra_channels == 4
        assert not plan.augmentation.mirror
        assert plan.augmentation.whole_voxels
        assert trainer.average_decay == 0.0
        assert trainer.gradient_norm == float("inf")

    def test_a_file_changes_only_what_it_says(self) -> None:
        file = ConfigFile(Path("x"), {"training": {"seed": 9}, "discriminator": {"objective": "hinge"}})
        plan = PRESETS["paper"].with_file(file)
        assert plan.training == replace(PRESETS["paper"].training, seed=9)
        assert plan.discriminator == replace(PRESETS["paper"].discriminator, objective=Objective.HINGE)
        assert plan.generator == PRESETS["paper"].generator

    @pytest.mark.parametrize("preset", list(PRESETS))
    @pytest.mark.parametrize("ending", [".json", ".toml"])
    def test_an_initial_file_of_a_preset_is_that_preset(self, tmp_path: Path, preset: str, ending: str) -> None:
        if ending == ".toml" and sys.version_info < (3, 11):
            pytest.skip("TOML needs Python 3.11")
        path = tmp_path / f"config{ending}"
        assert main(["init", str(path), "--preset", preset]) == 0
        read = PRESETS["cpu"].with_file(ConfigFile.read(path, SECTIONS))
        assert replace(read, name=preset) == PRESETS[preset]

    @pytest.mark.parametrize(
        "wrong",
        [{"prior": "mra"}, {"accumulate": 3}, {"pretrain_steps": 0, "adversarial_steps": 0}, {"average_decay": 1.0}],
    )
    def test_settings_that_contradict_each_other_are_one_sentence(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError, match=r"^\[training\] of .*\.$"):
            toy_plan(**wrong)

    def test_the_shape_of_few_cases_is_wider_than_they_show(self, aligned: Path) -> None:
        shape = cohort_shape_model(AlignedCohort.read(aligned))
        assert shape.mean.shape == (19, 3)
        assert np.sqrt(np.diag(shape.covariance)).min() > 1.5
        assert np.linalg.eigvalsh(shape.covariance).min() > 0.0


class TestStudy:
    """The comparison of the arms."""

    def test_every_arm_has_the_same_steps_and_its_own_discriminator(self) -> None:
        plans = {name: arm.plan(toy_plan(), 7) for name, arm in arms_of(toy_plan()).items()}
        assert {plan.trainer_config().steps for plan in plans.values()} == {4}
        assert {plan.training.seed for plan in plans.values()} == {7}
        assert plans["baseline"].trainer_config().adversarial_from is None
        assert plans["D-MRA"].training.real_modalities == (Modality.MRA,)
        assert plans["D-MRA"].discriminator.extra_channels == 0
        last = plans["D-MRA-CTA + coordinates and distance"]
        assert last.training.real_modalities == (Modality.MRA, Modality.CTA)
        assert last.discriminator.extra_channels == 4
        reverse = arms_of(toy_plan(image_modality="cta", prior="mra"))
        assert list(reverse)[3] == "D-CTA-MRA"

    def test_the_study_is_one_command(
        self, aligned: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ["study", str(aligned), "--out", str(tmp_path / "study"), "--config", str(config), "--device", "cpu"]
        assert main([*words, "--seeds", "2", "--arm", "baseline", "--arm", "D-MRA-CTA"]) == 0
        report = json.loads((tmp_path / "study" / "study.json").read_text(encoding="utf-8"))
        assert list(report["arms"]) == ["baseline", "D-MRA-CTA"]
        runs = report["arms"]["baseline"]["runs"]
        assert [run["seed"] for run in runs] == [1, 2]
        mean = report["arms"]["baseline"]["mean"]["mre_mm"]
        assert mean["mean"] == pytest.approx(np.mean([run["mre_mm"] for run in runs]))
        assert "| D-MRA-CTA | 2 |" in capsys.readouterr().out

    def test_a_coarse_network_can_be_kept(self, aligned: Path, config: Path, tmp_path: Path) -> None:
        assert main(command(aligned, tmp_path / "first", config)) == 0
        content = {**TOY, "coarse": {"steps": 0, "start_from": str(tmp_path / "first" / "model.cow.pt")}}
        config.write_text(json.dumps(content), encoding="utf-8")
        assert main(command(aligned, tmp_path / "second", config)) == 0
        one, other = (load_model(tmp_path / name / "model.cow.pt") for name in ("first", "second"))
        assert all(torch.equal(value, other.coarse.weights[name]) for name, value in one.coarse.weights.items())

    @pytest.mark.parametrize("off_mm", [0.0, 20.0])
    def test_the_circle_network_is_kept_where_it_knows_the_frame(
        self, aligned: Path, config: Path, tmp_path: Path, off_mm: float
    ) -> None:
        toy = {**TOY, "generator": {**TOY["generator"], "priors": True}}
        config.write_text(json.dumps(toy), encoding="utf-8")
        assert main(command(aligned, tmp_path / "first", config)) == 0
        first = load_model(tmp_path / "first" / "model.cow.pt")
        assert first.circle is None
        shape = replace(first.shape, mean=first.shape.mean + off_mm)
        save_model(replace(first, circle=first.coarse, shape=shape), tmp_path / "start.cow.pt")
        training = {**TOY["training"], "start_from": str(tmp_path / "start.cow.pt")}
        config.write_text(json.dumps({**toy, "training": training}), encoding="utf-8")
        assert main(command(aligned, tmp_path / "second", config)) == 0
        second = load_model(tmp_path / "second" / "model.cow.pt")
        if off_mm:
            assert second.circle is None
        else:
            assert second.circle is not None
            assert torch.equal(second.circle.weights["stem.weight"], first.coarse.weights["stem.weight"])
            assert second.provenance["circle"] == {"steps": 0}
