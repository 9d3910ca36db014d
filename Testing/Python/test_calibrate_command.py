"""`cowlandmarks-train calibrate`: a site's own scans change the confidences of a model and nothing else."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from beads import COUNT, bead_scan, sided_places, tiny_model
from CoWLandmarksLib.core.alignment import ShapeModel
from CoWLandmarksLib.core.anatomy import anatomy_from_dict
from CoWLandmarksLib.core.atomic_files import write_json
from CoWLandmarksLib.core.calibration import LARGEST_ERROR_MM, Calibration
from CoWLandmarksLib.core.detection import LandmarkEstimate, LandmarkState
from CoWLandmarksLib.core.volume import axis_aligned_grid
from CoWLandmarksLib.detect.model import Model, load_model, save_model
from CoWLandmarksLib.files.markups import write_annotation
from CoWLandmarksLib.io.volume_io import write_volume
from CoWLandmarksLib.networks.generator import Generator, GeneratorConfig
from CoWLandmarksTrainingLib.__main__ import main
from CoWLandmarksTrainingLib.evaluate.fit_calibration import PRIOR_LANDMARKS
from other_anatomy import seven_points

pytestmark = pytest.mark.slow

ANATOMY = tiny_model().anatomy
GRID = axis_aligned_grid(np.array([2.0, 17.0, 1.0]), np.array([1.7, 1.9, 2.1]), (44, 46, 52))
PEAKS = np.linspace(0.0, 1.0, 21)[:, None].repeat(COUNT, axis=1)
SCANS = 2
EVERY_ERROR = 4.0
"""mm that the model expects of every landmark before."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with untrained networks that knows little, and a cohort of two annotated scans."""
    folder = tmp_path_factory.mktemp("site")
    table = Calibration(np.array([0.0, 1.0]), np.full(2, EVERY_ERROR), np.array([0.2, 0.9]), 0.07, 0.6)
    model = tiny_model()
    parts = {name: replace(part, calibration=table) for name, part in model.stages}
    save_model(replace(model, provenance={"seed": 3}, **parts), folder / "model.cow.pt")  # type: ignore[arg-type]
    for number in range(SCANS):
        write_case(folder / "cohort" / f"case-{number}", number)
    return folder


@pytest.fixture(scope="module")
def calibrated(folder: Path) -> Model:
    before = (folder / "model.cow.pt").read_bytes()
    assert main(arguments(folder, folder / "cohort", folder / "new.cow.pt")) == 0
    assert (folder / "model.cow.pt").read_bytes() == before
    return load_model(folder / "new.cow.pt")


def arguments(folder: Path, cohort: Path, out: Path, *more: str) -> list[str]:
    return ["calibrate", str(folder / "model.cow.pt"), str(cohort), "--out", str(out), "--device", "cpu", *more]


def write_case(folder: Path, seed: int) -> None:
    """A case folder with a scan of beads and its landmarks, pairs on their sides."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    places = sided_places() + rng.normal(0, 0.5, (COUNT, 3))
    write_volume(bead_scan(GRID, places), folder / "image.nii.gz")
    truth = [
        LandmarkEstimate(code, (float(p[0]), float(p[1]), float(p[2])), LandmarkState.FOUND, 1.0, 0.0)
        for code, p in zip(ANATOMY.codes, places, strict=True)
    ]
    write_annotation(folder / "landmarks.mrk.json", truth, ANATOMY)
    names = {"image": "image.nii.gz", "landmarks": "landmarks.mrk.json"}
    write_json(folder / "case.json", {"case": folder.name, "patient": folder.name, "modality": "cta", **names})


def test_the_model_stays_as_it_was_but_for_its_confidences(folder: Path, calibrated: Model) -> None:
    before = load_model(folder / "model.cow.pt")
    for (name, part), (_, other) in zip(before.stages, calibrated.stages, strict=True):
        assert part.config == other.config
        assert (part.sigma_mm, part.weights.keys()) == (other.sigma_mm, other.weights.keys()), name
        for key, value in part.weights.items():
            assert torch.equal(value, other.weights[key]), f"{name} {key}"
    for field in ("name", "anatomy", "window", "prior_sigma_mm", "grid", "intensity", "licence", "description"):
        assert getattr(before, field) == getattr(calibrated, field), field
    assert before.decode_with_prior == calibrated.decode_with_prior
    assert before.read_mirrored == calibrated.read_mirrored
    assert before.least_recognition == calibrated.least_recognition, "two scans tell nothing of it"
    np.testing.assert_array_equal(before.shape.mean, calibrated.shape.mean)
    assert calibrated.provenance["seed"] == 3
    assert calibrated.provenance["recalibration"]["scans"] == SCANS


def test_few_scans_move_the_tables_a_little(folder: Path, calibrated: Model) -> None:
    """Errors of untrained networks are far above the 4 mm that the model expected before."""
    share = SCANS * COUNT / (SCANS * COUNT + PRIOR_LANDMARKS)
    assert 0.1 < share < 0.2
    for name, part in calibrated.stages:
        table = replace(part.calibration, error_factor=np.zeros(0), confidence_logit=np.zeros(0))
        expected = table.expected_error_mm(PEAKS)
        assert (expected >= EVERY_ERROR).all(), name
        assert (expected <= (1.0 - share) * EVERY_ERROR + share * LARGEST_ERROR_MM + 1e-6).all(), name
        assert expected.max() > EVERY_ERROR + 0.5 * share * (LARGEST_ERROR_MM - EVERY_ERROR), name
        before = dict(load_model(folder / "model.cow.pt").stages)[name].calibration
        assert (table.confidence_of(PEAKS) <= before.confidence_of(PEAKS) + share).all(), name
        assert (table.confidence_of(PEAKS) >= (1.0 - share) * before.confidence_of(PEAKS) - 1e-9).all(), name
        assert table.uncertain_below == before.uncertain_below


def test_a_model_in_eight_bits_stays_in_eight_bits(folder: Path, tmp_path: Path) -> None:
    save_model(load_model(folder / "model.cow.pt"), tmp_path / "model.cow.pt", eight_bit=True)
    assert main(arguments(tmp_path, folder / "cohort" / "case-0", tmp_path / "new.cow.pt")) == 0
    before, after = load_model(tmp_path / "model.cow.pt"), load_model(tmp_path / "new.cow.pt")
    for key, value in before.fine.weights.items():
        torch.testing.assert_close(after.fine.weights[key], value, rtol=1e-6, atol=0)
    sizes = [(tmp_path / name).stat().st_size for name in ("model.cow.pt", "new.cow.pt")]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.1)


def test_a_bad_case_is_reported_and_left_out(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cohort = tmp_path / "cohort"
    shutil.copytree(folder / "cohort" / "case-0", cohort / "good")
    write_case(cohort / "bad", 7)
    (cohort / "bad" / "image.nii.gz").write_bytes(b"no scan")
    write_case(cohort / "gone", 8)
    (cohort / "gone" / "case.json").write_text("{}", encoding="utf-8")
    assert main(arguments(folder, cohort, tmp_path / "new.cow.pt")) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == ["gone:", "bad:"]
    assert load_model(tmp_path / "new.cow.pt").provenance["recalibration"]["scans"] == 1


@pytest.mark.parametrize(
    "wrong", ["no model", "no cohort", "ending", "no scans", "anatomy", "all bad", "split", "place"]
)
def test_what_cannot_be_calibrated_is_one_sentence(
    folder: Path, tmp_path: Path, wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(folder / "model.cow.pt", tmp_path)
    cohort, out, more = folder / "cohort", tmp_path / "new.cow.pt", []
    expected = {
        "no model": "There is no model file",
        "no cohort": "does not exist",
        "ending": "does not end in .cow.pt",
        "no scans": "no annotated scan to calibrate on",
        "anatomy": "annotated with another landmark set",
        "all bad": "no annotated scan to calibrate on",
        "split": "is in the split 'validation'",
        "place": "cannot be",
    }[wrong]
    if wrong == "no model":
        (tmp_path / "model.cow.pt").unlink()
    elif wrong == "no cohort":
        cohort = tmp_path / "cohort"
    elif wrong == "ending":
        out = tmp_path / "new.pt"
    elif wrong == "no scans":
        cohort = tmp_path / "cohort"
        shutil.copytree(folder / "cohort", cohort)
        for number in range(SCANS):
            write_json(
                cohort / f"case-{number}" / "case.json",
                {"case": f"{number}", "landmarks": "landmarks.mrk.json", "modality": "cta"},
            )
            (cohort / f"case-{number}" / "image.nii.gz").unlink()
    elif wrong == "anatomy":
        write_seven(tmp_path / "model.cow.pt")
    elif wrong == "all bad":
        cohort = tmp_path / "cohort"
        write_case(cohort / "bad", 7)
        (cohort / "bad" / "image.nii.gz").write_bytes(b"no scan")
    elif wrong == "split":
        more = ["--split", "validation"]
    elif wrong == "place":
        (tmp_path / "file").write_text("in the way", encoding="utf-8")
        out = tmp_path / "file" / "new.cow.pt"
    assert main(arguments(tmp_path, cohort, out, *more)) == 1
    *before, error = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ") and error.endswith(".")
    assert expected in "\n".join([*before, error]), "what is wrong with a case is reported before"
    assert all(line.startswith("error: ") for line in before)
    assert not out.exists()


def write_seven(path: Path) -> None:
    """A model of another landmark set."""
    anatomy, model = anatomy_from_dict(seven_points()), tiny_model()
    parts = {}
    for name, part in model.stages:
        config = GeneratorConfig(1 if name == "fine" else 2, 7, base_width=4, levels=2, fold=2)
        parts[name] = replace(part, config=config, weights=Generator(config).state_dict())
    shape = ShapeModel(model.shape.mean[:7], model.shape.covariance[:21, :21])
    save_model(replace(model, anatomy=anatomy, shape=shape, **parts), path)  # type: ignore[arg-type]
