"""Training on an aligned cohort through the command: a model file that detects, modalities, bad cohorts, plans."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from aligned_beads import GRID, bead_image, mean_places, write_bead_cohort
from CoWLandmarksLib import PROGRAM
from CoWLandmarksLib.__main__ import main as detect_main
from CoWLandmarksLib.core.anatomy import anatomy_from_dict
from CoWLandmarksLib.core.errors import ConfigurationError
from CoWLandmarksLib.core.volume import Modality, Volume, axis_aligned_grid
from CoWLandmarksLib.detect.model import load_model
from CoWLandmarksLib.io.volume_io import write_volume
from CoWLandmarksLib.networks.generator import GeneratorConfig
from CoWLandmarksTrainingLib.__main__ import main
from CoWLandmarksTrainingLib.cli.training_commands import chosen_plan
from CoWLandmarksTrainingLib.config.config_file import ConfigFile
from CoWLandmarksTrainingLib.config.presets import PRESETS
from CoWLandmarksTrainingLib.config.settings import DiscriminatorView, Objective
from CoWLandmarksTrainingLib.config.trainer_config import TrainerConfig, trainer_config
from CoWLandmarksTrainingLib.config.training_config import SECTIONS
from CoWLandmarksTrainingLib.config.training_plan import FORMER_SETTINGS, TrainingPlan
from CoWLandmarksTrainingLib.records.aligned_folder import AlignedCohort
from CoWLandmarksTrainingLib.records.training_log import LOG_SCHEMA_FILE
from CoWLandmarksTrainingLib.train.batches import Sample
from CoWLandmarksTrainingLib.train.cohort_data import CohortData
from CoWLandmarksTrainingLib.train.methods import HeatmapRegression
from CoWLandmarksTrainingLib.train.trainer import Trainer
from CoWLandmarksTrainingLib.train.training import Training
from other_anatomy import seven_points
from scipy.ndimage import gaussian_filter
from tiny_training import tiny_sections
from torch.utils.data import Dataset

CPU = torch.device("cpu")
TOY = tiny_sections(fine={"steps": 2, "adversarial_steps": 2}, augmentation={"elastic_mm": 0.5, "mirror": False})
WHOLE = ("coarse", "circle", "fine")


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


def toy_plan(**sections: dict[str, Any]) -> TrainingPlan:
    return PRESETS["cpu"].with_file(ConfigFile(Path("toy"), TOY)).with_values(**sections)


def training_on(cohort: AlignedCohort, plan: TrainingPlan, out: Path) -> Training:
    return Training(CohortData(cohort, plan), plan, out, CPU)


def command(aligned: Path, out: Path, config: Path, *more: str) -> list[str]:
    return ["train", str(aligned), "--out", str(out), "--config", str(config), "--device", "cpu", *more]


def log_of(out: Path, stage: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / stage / "log.jsonl").read_text(encoding="utf-8").splitlines()]


class TestPipeline:
    """From the command to the model file and on to a detection."""

    @pytest.mark.slow
    def test_a_trained_model_detects(
        self, aligned: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "training"
        all_stages = ["--set", f"training.stages={json.dumps(WHOLE)}", "--set", "circle.steps=2"]
        assert main(command(aligned, out, config, *all_stages, "--json-progress")) == 0
        model = load_model(out / "model.cow.pt")
        assert not model.reads_priors
        assert model.window == GRID.shape
        assert model.provenance["scans"] == 2
        assert model.provenance["landmark_sets"] == 2 + 2 + 3
        assert "mra-0" not in json.dumps(model.provenance)
        assert "not a medical device" in model.description
        assert model.provenance["program"] == PROGRAM and PROGRAM in model.description
        assert [name for name, _ in model.stages] == list(WHOLE)
        assert {name: model.provenance[name]["steps"] for name in WHOLE} == {"coarse": 2, "circle": 2, "fine": 4}
        assert [line["phase"] for line in log_of(out, "fine") if "loss" in line] == [1, 1, 2, 2]
        for stage in WHOLE:
            for line in log_of(out, stage):
                jsonschema.validate(line, json.loads(LOG_SCHEMA_FILE.read_text(encoding="utf-8")))
            assert log_of(out, stage)[-1]["validation"]["landmarks"] == 19
        assert [path.name for path in (out / "fine" / "pictures").iterdir()] == ["step-000004.png"]
        printed = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
        assert list(dict.fromkeys(entry["stage"] for entry in printed)) == [*WHOLE, "calibration"]
        assert [entry for entry in printed if entry["stage"] == "fine"] == [
            {"stage": "fine", **line} for line in log_of(out, "fine")
        ]
        image = bead_image(GRID, mean_places(model.anatomy)) * 300
        write_volume(Volume(image.astype(np.int16), GRID.ijk_to_ras, "beads"), tmp_path / "beads.nii.gz")
        arguments = [
            "detect",
            str(tmp_path / "beads.nii.gz"),
            "--model",
            str(out / "model.cow.pt"),
            "--modality",
            "mra",
        ]
        few = ["--no-pictures", "--no-arteries", "--no-scene", "--device", "cpu"]
        assert detect_main([*arguments, "--out", str(tmp_path / "found"), *few]) in (0, 3)
        assert (tmp_path / "found" / "beads" / "landmarks.csv").exists()

    @pytest.mark.slow
    def test_the_paper_s_preset_trains_and_detects_at_a_reduced_scale(self, aligned: Path, tmp_path: Path) -> None:
        out = tmp_path / "training"
        settings = {
            "training.workers": 0,
            "training.log_seconds": 0.0,
            "training.validate_every": 0,
            "coarse.steps": 1,
            "coarse.batch_size": 1,
            "coarse.base_width": 8,
            "coarse.levels": 2,
            "fine.base_width": 8,
            "fine.levels": 3,
            "fine.steps": 2,
            "fine.adversarial_steps": 9,
            "discriminator.base_width": 4,
            "discriminator.layers": 2,
        }
        changed = [argument for key, value in settings.items() for argument in ("--set", f"{key}={json.dumps(value)}")]
        arguments = ["train", str(aligned), "--out", str(out), "--preset", "paper", "--device", "cpu"]
        assert main([*arguments, *changed]) == 0
        model = load_model(out / "model.cow.pt")
        assert [name for name, _ in model.stages] == ["coarse", "fine"]
        assert (model.window, model.reads_priors, model.decode_with_prior) == (GRID.shape, False, False)
        joint = [line for line in log_of(out, "fine") if line.get("phase") == 2]
        assert len(joint) == 9
        assert all(0.0 <= line["discriminator_accuracy"] <= 1.0 and line["gradient_ratio"] > 0.0 for line in joint)
        assert any(line["confused_points"] > 0 and -1.0 <= line["cosine_to_truth"] <= 1.0 for line in joint)
        image = bead_image(GRID, mean_places(model.anatomy)) * 300
        write_volume(Volume(image.astype(np.int16), GRID.ijk_to_ras, "beads"), tmp_path / "beads.nii.gz")
        detect = ["detect", str(tmp_path / "beads.nii.gz"), "--model", str(out / "model.cow.pt"), "--modality", "mra"]
        few = ["--no-pictures", "--no-arteries", "--no-scene", "--device", "cpu"]
        assert detect_main([*detect, "--out", str(tmp_path / "found"), *few]) in (0, 3)
        assert (tmp_path / "found" / "beads" / "landmarks.csv").exists()

    def test_all_three_networks_are_trained_by_default(self) -> None:
        for name in ("cpu", "gpu", "small"):
            plan = PRESETS[name]
            assert plan.training.stages == WHOLE
            assert all(plan.stage(stage).steps > 0 for stage in WHOLE)

    @pytest.mark.parametrize(
        ("arguments", "scans", "sets"),
        [
            (("--image-modality", "cta", "--prior", "mra"), 2, 7),
            (("--image-modality", "cta"), 2, 7),
            (("--image-modality", "both", "--prior", "none"), 4, 7),
            (("--image-modality", "mra", "--prior", "none"), 2, 2),
        ],
    )
    def test_modalities_are_a_matter_of_options(
        self, aligned: Path, tmp_path: Path, arguments: tuple[str, ...], scans: int, sets: int
    ) -> None:
        given = dict(zip(arguments[::2], arguments[1::2], strict=True))
        options = argparse.Namespace(
            set=None,
            preset="cpu",
            config=None,
            image_modality=given.get("--image-modality"),
            prior=given.get("--prior"),
            phantoms=None,
            seed=None,
            start_from=None,
        )
        data = CohortData(AlignedCohort.read(aligned), chosen_plan(options))
        assert [len(cases) for cases in (data.train_cases, data.real_cases)] == [scans, sets]
        assert {case.modality for case in data.train_cases} == set(data.plan.data.image_modalities)

    @pytest.mark.slow
    def test_another_landmark_set_just_works(self, config: Path, tmp_path: Path) -> None:
        anatomy = anatomy_from_dict(seven_points())
        write_bead_cohort(tmp_path / "seven", mra=1, sets=1, validation=0, anatomy=anatomy)
        assert main(command(tmp_path / "seven", tmp_path / "out", config)) == 0
        model = load_model(tmp_path / "out" / "model.cow.pt")
        assert model.anatomy.codes == anatomy.codes
        assert model.fine.config.out_channels == 7
        assert model.circle is None
        assert "There was no validation scan" in model.description

    @pytest.mark.slow
    def test_one_case_is_learnt_by_heart_to_a_third_of_a_millimetre(self, tmp_path: Path) -> None:
        grid = axis_aligned_grid(np.zeros(3), np.array([0.9, 0.9, 1.1]), (12, 16, 16))
        points = np.array([[-3.3, -3.1, -2.2], [3.4, -2.7, 1.6], [0.3, 3.6, 2.3], [3.2, 2.4, -2.1]])
        texture = gaussian_filter(np.random.default_rng(1).normal(0, 8, grid.shape), 1.5)
        image = torch.from_numpy(texture.astype(np.float32))[None]
        places = torch.from_numpy((points - grid.ijk_to_ras[:3, 3]).astype(np.float32))

        class OneCase(Dataset):  # type: ignore[type-arg]
            def __getitem__(self, number: int) -> Sample:
                return Sample(image, places, torch.ones(4), None, torch.zeros(3), "the case")

        network = GeneratorConfig(out_channels=4, base_width=8, levels=3)
        method = HeatmapRegression(network, grid.shape, (0.9, 0.9, 1.1), 1.5)
        settings = TrainerConfig(steps=100, learning_rate=5e-3, warm_up_steps=5, mixed_precision=False)
        trainer = Trainer(method, method.network(1), OneCase(), 1, settings, tmp_path, CPU)
        trainer.run()
        with torch.inference_mode():
            outputs = trainer.averaged_generator()(image[None])[0]
        found, _ = method.decode(outputs, grid)
        assert np.linalg.norm(found - points, axis=1).max() < 0.3


class TestBadCohorts:
    """One sentence, before anything is trained."""

    def problem(self, cohort: AlignedCohort, plan: TrainingPlan, tmp_path: Path) -> str:
        with pytest.raises(ConfigurationError) as error:
            CohortData(cohort, plan).check()
            assert training_on(cohort, plan, tmp_path).stages
        return str(error.value)

    def test_an_empty_cohort(self, aligned: Path, tmp_path: Path) -> None:
        cohort = replace(AlignedCohort.read(aligned), all_cases=())
        assert "has no MRA training scan" in self.problem(cohort, toy_plan(), tmp_path)

    def test_no_landmarks_of_the_prior_modality(self, aligned: Path, tmp_path: Path) -> None:
        cohort = AlignedCohort.read(aligned)
        only = replace(cohort, all_cases=cohort.cases(modality=Modality.MRA))
        assert "has no CTA landmarks for training" in self.problem(only, toy_plan(), tmp_path)
        CohortData(only, toy_plan(data={"prior": "none"})).check()

    def test_a_landmark_that_nobody_annotated(self, aligned: Path, tmp_path: Path) -> None:
        cohort = AlignedCohort.read(aligned)
        status = np.ones(19, np.int8)
        status[3] = -1
        half = replace(cohort, all_cases=tuple(replace(case, status=status) for case in cohort.all_cases))
        message = self.problem(half, toy_plan(), tmp_path)
        assert cohort.anatomy.codes[3] in message
        assert "annotate it" in message

    def test_a_crop_that_does_not_fit_the_network(self, aligned: Path, tmp_path: Path) -> None:
        plan = toy_plan(fine={"levels": 5})
        assert "multiples of 32" in self.problem(AlignedCohort.read(aligned), plan, tmp_path)
        wide = toy_plan(fine={"window": (96, 96, 96)})
        assert "larger than the crop" in self.problem(AlignedCohort.read(aligned), wide, tmp_path)

    def test_a_folder_that_is_no_aligned_cohort(
        self, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(command(tmp_path, tmp_path / "out", config)) == 1
        [error] = capsys.readouterr().err.splitlines()
        assert "aligned.json" in error

    def test_a_folder_that_an_earlier_version_aligned(
        self, aligned: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        content = json.loads((aligned / "aligned.json").read_text(encoding="utf-8"))
        (tmp_path / "aligned.json").write_text(json.dumps({**content, "schema": "cow-aligned/1"}), encoding="utf-8")
        assert main(command(tmp_path, tmp_path / "out", config)) == 1
        [error] = capsys.readouterr().err.splitlines()
        assert error.endswith("run cowlandmarks-train align again.")
        assert not (tmp_path / "out").exists()


class TestPlans:
    """Presets and configuration files."""

    def test_the_paper_s_preset_is_the_paper_where_it_is_explicit(self) -> None:
        plan = PRESETS["paper"]
        assert plan.training.stages == ("coarse", "fine")
        assert plan.fine.window == (0, 0, 0)
        assert not plan.fine.priors
        assert not plan.fine.decode_with_prior
        assert plan.fine.fold == 1
        assert plan.fine.alpha == 1000.0
        assert plan.data.image_modalities == (Modality.MRA,)
        assert plan.data.real_modalities == (Modality.MRA, Modality.CTA)
        trainer = trainer_config(plan, "fine", continued=False)
        assert {trainer.learning_rate_at(p, 5) for p in (0.0, 0.5, 1.0)} == {1e-4}
        assert {trainer.alpha_at(p) for p in (0.0, 0.5, 1.0)} == {1000.0}
        assert plan.discriminator.learning_rate == 1e-4
        assert plan.discriminator.objective is Objective.LOGISTIC
        assert plan.discriminator.view is DiscriminatorView.PLAIN
        assert plan.discriminator.extra_channels == 4
        assert not plan.augmentation.mirror
        assert not plan.augmentation.intensity
        assert plan.augmentation.whole_voxels
        assert trainer.average_decay == 0.0
        assert trainer.gradient_norm == float("inf")

    def test_a_file_changes_only_what_it_says(self) -> None:
        file = ConfigFile(Path("x"), {"training": {"seed": 9}, "discriminator": {"objective": "lsgan"}})
        plan = PRESETS["paper"].with_file(file)
        assert plan.training == replace(PRESETS["paper"].training, seed=9)
        assert plan.discriminator == replace(PRESETS["paper"].discriminator, objective=Objective.LEAST_SQUARES)
        assert plan.fine == PRESETS["paper"].fine

    @pytest.mark.parametrize("preset", list(PRESETS))
    @pytest.mark.parametrize("ending", [".json", ".toml"])
    def test_an_initial_file_of_a_preset_is_that_preset(self, tmp_path: Path, preset: str, ending: str) -> None:
        if ending == ".toml" and sys.version_info < (3, 11):
            pytest.skip("TOML needs Python 3.11")
        path = tmp_path / f"config{ending}"
        assert main(["init", str(path), "--preset", preset]) == 0
        read = PRESETS["cpu"].with_file(ConfigFile.read(path, SECTIONS, FORMER_SETTINGS))
        assert replace(read, name=preset) == PRESETS[preset]

    @pytest.mark.parametrize(
        ("section", "wrong"),
        [
            ("data", {"prior": "mra"}),
            ("data", {"phantom_share": 1.0}),
            ("fine", {"accumulate": 3}),
            ("fine", {"average_decay": 1.0}),
            ("coarse", {"adversarial_steps": 2}),
            ("training", {"stages": ("fine", "coarse")}),
            ("training", {"stages": ("fine",)}),
            ("training", {"stages": ("coarse", "medium", "fine")}),
        ],
    )
    def test_settings_that_contradict_each_other_are_one_sentence(self, section: str, wrong: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError, match=rf"^\[{section}\] of .*\.$"):
            toy_plan(**{section: wrong})

    def test_a_network_without_steps_needs_one_to_begin_with(self, aligned: Path, tmp_path: Path) -> None:
        plan = toy_plan(fine={"steps": 0, "adversarial_steps": 0})
        with pytest.raises(ConfigurationError, match=r"fine\.steps is 0.*set training\.start_from\.$"):
            assert training_on(AlignedCohort.read(aligned), plan, tmp_path).stages

    def test_the_shape_of_few_cases_is_wider_than_they_show(self, aligned: Path) -> None:
        shape = CohortData(AlignedCohort.read(aligned), toy_plan()).shape_model()
        assert shape.mean.shape == (19, 3)
        assert np.sqrt(np.diag(shape.covariance)).min() > 1.5
        assert np.linalg.eigvalsh(shape.covariance).min() > 0.0
