"""Phantoms beside the scans of a cohort: mixed as asked for, and refused in one sentence where they do not fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from aligned_beads import GRID, write_bead_cohort
from CoWLandmarksLib.core.alignment import reference_grid
from CoWLandmarksLib.core.anatomy import anatomy_from_dict
from CoWLandmarksLib.core.errors import ConfigurationError
from CoWLandmarksLib.detect.model import load_model
from CoWLandmarksTrainingLib.__main__ import main
from CoWLandmarksTrainingLib.config.config_file import ConfigFile
from CoWLandmarksTrainingLib.config.presets import PRESETS
from CoWLandmarksTrainingLib.records.aligned_folder import AlignedCohort
from CoWLandmarksTrainingLib.train.cohort_data import CohortData
from CoWLandmarksTrainingLib.train.model_provenance import model_provenance
from CoWLandmarksTrainingLib.train.training import Training
from other_anatomy import seven_points
from tiny_training import tiny_sections

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
TOY = tiny_sections(
    training={"stages": ["coarse", "circle", "fine"]},
    data={"prior": "none", "phantom_cases": 1},
    coarse={"steps": 1, "batch_size": 4},
    circle={"steps": 1, "batch_size": 4},
    fine={"steps": 1, "batch_size": 4, "window": [48, 64, 64], "priors": True},
)


@pytest.fixture(scope="module")
def aligned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort of one scan, aligned in the frame and on the grid of `align`'s defaults."""
    folder = tmp_path_factory.mktemp("aligned")
    write_bead_cohort(folder, mra=1, sets=0, validation=0, grid=reference_grid())
    return folder


@pytest.fixture(scope="module")
def trained(aligned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training with one phantom beside the scan."""
    out = tmp_path_factory.mktemp("trained")
    assert main(command(aligned, out, "--phantoms", "0.5")) == 0
    return out


def command(aligned: Path, out: Path, *more: str, **changes: dict[str, Any]) -> list[str]:
    sections = {name: {**TOY.get(name, {}), **changes.get(name, {})} for name in {*TOY, *changes}}
    config = out.parent / f"{out.name}.json"
    config.write_text(json.dumps(sections), encoding="utf-8")
    return ["train", str(aligned), "--out", str(out), "--config", str(config), "--device", "cpu", *more]


def mixed(aligned: Path, out: Path, share: float) -> Training:
    plan = PRESETS["cpu"].with_file(ConfigFile(Path("toy"), TOY)).with_values(data={"phantom_share": share})
    return Training(CohortData(AlignedCohort.read(aligned), plan), plan, out, CPU)


def test_a_model_is_trained_on_both_and_says_so(trained: Path) -> None:
    model = load_model(trained / "model.cow.pt")
    assert [name for name, _ in model.stages] == ["coarse", "circle", "fine"]
    assert "1 annotated scans (mra), with 50 % synthetic phantoms beside them" in model.description
    assert model.provenance["case_seeds"] == [1]
    kept = [path.name.partition("-")[0] for path in sorted((trained / "phantoms").iterdir())]
    assert kept == ["circle", "head"]


@pytest.mark.parametrize("name", ["coarse", "circle", "fine"])
def test_every_stage_draws_from_both_in_their_shares(aligned: Path, trained: Path, name: str) -> None:
    """The phantom that the training has rendered is used again."""
    training = mixed(aligned, trained, 0.25)
    samples = training.samples(training.stage(name))
    [(scans, own), (phantoms, beside)] = samples.sources
    assert (own, beside) == (0.75, 0.25)
    before = {path: path.stat().st_mtime_ns for path in (trained / "phantoms").iterdir()}
    drawn = [samples[number] for number in range(8)]
    assert {sample.name for sample in drawn} == {"mra-0", "phantom 1-0"}
    for sample in drawn:
        assert sample.image.shape == (len(samples.stage.channels), *samples.stage.shape)
        assert torch.isfinite(sample.image).all()
        assert (sample.expected is not None) == (name == "fine")
    chosen = [samples._source(np.random.default_rng(number)) for number in range(400)]
    assert sum(source is phantoms for source in chosen) == pytest.approx(100, abs=35)
    assert sum(source is scans for source in chosen) == 400 - sum(source is phantoms for source in chosen)
    assert {path: path.stat().st_mtime_ns for path in (trained / "phantoms").iterdir()} == before


def test_phantoms_are_those_of_the_modality_of_the_scans(aligned: Path, tmp_path: Path) -> None:
    training = mixed(aligned, tmp_path, 0.5)
    for image, modalities in (("mra", {"mra"}), ("cta", {"cta"}), ("both", {"mra", "cta"})):
        plan = training.plan.with_values(data={"image_modality": image, "prior": "none"})
        phantoms = replace(training, plan=plan, data=CohortData(AlignedCohort.read(aligned), plan)).phantoms
        assert {modality.value for modality in phantoms.modalities} == modalities


def test_without_a_share_nothing_is_rendered(aligned: Path, tmp_path: Path) -> None:
    training = mixed(aligned, tmp_path, 0.0)
    for stage in training.stages:
        [(_, share)] = training.samples(stage).sources
        assert share == 1.0
    assert "case_seeds" not in model_provenance(training, {})


@pytest.mark.parametrize("wrong", ["another anatomy", "another frame", "another window", "another grid"])
def test_phantoms_that_do_not_fit_are_one_sentence_before_anything_is_trained(
    aligned: Path, tmp_path: Path, wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    own, changes, sentence = aligned, {}, "use data.phantom_share = 0."
    if wrong in ("another anatomy", "another frame", "another grid"):
        own = tmp_path / "aligned"
        anatomy = anatomy_from_dict(seven_points()) if wrong == "another anatomy" else None
        cohort = write_bead_cohort(own, mra=1, sets=0, validation=0, anatomy=anatomy, grid=GRID)
        if wrong == "another frame":
            moved = replace(cohort.frame, mean_landmarks=cohort.frame.mean_landmarks + np.array([0.0, 9.0, 0.0]))
            replace(cohort, frame=moved).write(own)
        changes = {"fine": {"window": [0, 0, 0], "priors": False}}
    else:
        changes = {"fine": {"window": [32, 64, 64]}}
    assert main(command(own, tmp_path / "out", "--phantoms", "0.5", **changes)) == 1
    [error] = capsys.readouterr().err.splitlines()
    assert sentence in error
    assert ("fine.window" in error) == (wrong in ("another window", "another grid"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("share", ["1", "-0.1", "nan"])
def test_a_share_that_is_none_is_one_sentence(
    aligned: Path, tmp_path: Path, share: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(aligned, tmp_path / "out", "--phantoms", share)) == 1
    [error] = capsys.readouterr().err.splitlines()
    assert "phantom_share must be from 0 to below 1" in error


def test_another_share_is_another_training(aligned: Path, trained: Path) -> None:
    with pytest.raises(ConfigurationError, match="Settings or cases differ"):
        from CoWLandmarksTrainingLib.train.begun_training import claim

        claim(mixed(aligned, trained, 0.25), resume=True)
