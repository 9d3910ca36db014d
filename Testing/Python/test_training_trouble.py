"""What goes wrong between a cohort and a model, through the commands: one sentence, an exit code, nothing lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from aligned_beads import write_bead_cohort
from cohort_cases import places, tilted, write_case, write_cohort
from CoWLandmarksLib.core.anatomy import anatomy_from_dict, default_anatomy
from CoWLandmarksLib.core.errors import ConfigurationError
from CoWLandmarksLib.core.volume import Modality, Volume, apply_affine
from CoWLandmarksLib.detect.detector import Detector
from CoWLandmarksLib.detect.model import load_model
from CoWLandmarksTrainingLib.__main__ import main
from CoWLandmarksTrainingLib.config.config_file import ConfigFile
from CoWLandmarksTrainingLib.config.presets import PRESETS
from CoWLandmarksTrainingLib.records.aligned_folder import UNKNOWN, AlignedCohort
from CoWLandmarksTrainingLib.train.cohort_data import CohortData
from CoWLandmarksTrainingLib.train.training import Training
from head_images import head_image
from tiny_training import tiny_sections

sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
ANATOMY = default_anatomy()
ALIGN = {"align": {"shape": [24, 40, 48], "spacing_mm": [2.0, 2.0, 2.4], "by": "landmarks", "processes": 1}}
TERMINATED_ALIGN = """
import os, signal, sys
from CoWLandmarksTrainingLib.align import scan_registration
from CoWLandmarksTrainingLib.__main__ import main
write = scan_registration.write_json
def write_and_be_terminated(*arguments):
    write(*arguments)
    scan_registration.write_json = write
    os.kill(os.getpid(), signal.SIGTERM)
scan_registration.write_json = write_and_be_terminated
sys.exit(main(sys.argv[1:]))
"""
"""`cowlandmarks-train align` that a scheduler terminates when the first scan is registered."""
TOY = tiny_sections(data={"prior": "none"}, coarse={"steps": 1}, fine={"steps": 3})


def toy_with(**changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {**TOY, **{section: {**TOY.get(section, {}), **values} for section, values in changes.items()}}


def toy_training(cohort: AlignedCohort, out: Path, **changes: dict[str, Any]) -> Training:
    plan = PRESETS["cpu"].with_file(ConfigFile(Path("toy"), toy_with(**changes)))
    return Training(CohortData(cohort, plan), plan, out, torch.device("cpu"))


def written(folder: Path, name: str, content: Mapping[str, object]) -> Path:
    path = folder / name
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def train(aligned: Path, out: Path, config: Path, *more: str) -> int:
    return main(["train", str(aligned), "--out", str(out), "--config", str(config), "--device", "cpu", *more])


@pytest.mark.slow
@pytest.mark.parametrize("by", ["landmarks", "template"])
def test_a_cohort_of_one_case_goes_from_check_to_a_model(by: str, tmp_path: Path) -> None:
    """Nothing can be validated or tested with it, which the model card says; nothing breaks."""
    cohort = tmp_path / "cohort"
    write_cohort(cohort / "train", ANATOMY, 1)
    assert main(["check", str(cohort)]) == 0
    settings = written(tmp_path, "align.json", {**ALIGN, "cohort": {"folders": ["cohort"]}})
    assert main(["align", str(settings), "--by", by, "--out", str(tmp_path / "aligned")]) == 0
    assert train(tmp_path / "aligned", tmp_path / "out", written(tmp_path, "toy.json", TOY)) == 0
    assert "There was no validation scan" in load_model(tmp_path / "out" / "model.cow.pt").description


def test_a_cohort_without_any_landmarks_is_one_sentence_at_every_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        write_case(tmp_path / "cohort" / f"m{number}", ANATOMY, places(ANATOMY, np.random.default_rng(number)))
        (tmp_path / "cohort" / f"m{number}" / "landmarks.mrk.json").unlink()
    for arguments in (["check"], ["split"], ["align", "--out", str(tmp_path / "aligned")]):
        assert main([arguments[0], str(tmp_path / "cohort"), *arguments[1:]]) == 1
        output = capsys.readouterr()
        assert "landmarks" in output.out + output.err
        assert "Traceback" not in output.err
    assert not (tmp_path / "aligned").exists()


@pytest.mark.slow
def test_a_case_that_changes_after_align_is_refused_by_train_until_it_is_aligned_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort, toy = tmp_path / "cohort", written(tmp_path, "toy.json", TOY)
    write_cohort(cohort / "train", ANATOMY, 2)
    settings = written(tmp_path, "align.json", {**ALIGN, "cohort": {"folders": ["cohort"]}})
    align = ["align", str(settings), "--out", str(tmp_path / "aligned")]
    assert main(align) == 0
    points = cohort / "train" / "mra00" / "landmarks.mrk.json"
    content = json.loads(points.read_text(encoding="utf-8"))
    content["markups"][0]["controlPoints"][4]["position"][0] += 2.0
    points.write_text(json.dumps(content), encoding="utf-8")
    capsys.readouterr()
    assert train(tmp_path / "aligned", tmp_path / "out", toy) == 1
    [error] = capsys.readouterr().err.splitlines()
    assert "mra00" in error
    assert "align again" in error
    assert not (tmp_path / "out").exists()
    assert main(align) == 0
    assert train(tmp_path / "aligned", tmp_path / "out", toy) == 0


@pytest.mark.slow
def test_values_that_are_no_numbers_stop_a_training_which_names_the_case_and_can_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    aligned, out, toy = tmp_path / "aligned", tmp_path / "out", written(tmp_path, "toy.json", TOY)
    write_bead_cohort(aligned, mra=2, sets=0, validation=0)
    crop = aligned / "mra-1" / "crop.npy"
    good = np.load(crop)
    np.save(crop, np.full_like(good, np.nan))
    assert train(aligned, out, toy) == 1
    [error] = capsys.readouterr().err.splitlines()
    assert "is not finite at step" in error
    assert "mra-1" in error
    assert not (out / "model.cow.pt").exists()
    np.save(crop, good)
    assert train(aligned, out, toy, "--resume") == 0
    weights = load_model(out / "model.cow.pt").fine.weights
    assert all(np.isfinite(value.float().numpy()).all() for value in weights.values())


def test_a_landmark_that_only_sets_have_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    aligned, toy = tmp_path / "aligned", written(tmp_path, "toy.json", TOY)
    cohort = write_bead_cohort(aligned, mra=2, sets=2, validation=0)
    content = json.loads((aligned / "aligned.json").read_text(encoding="utf-8"))
    for case in content["cases"]:
        if case["name"].startswith("mra"):
            case["status"][3] = UNKNOWN
    (aligned / "aligned.json").write_text(json.dumps(content), encoding="utf-8")
    assert train(aligned, tmp_path / "out", toy) == 1
    assert f"No training scan has the landmark {cohort.anatomy.codes[3]} in its crop;" in capsys.readouterr().err


def test_both_modalities_need_scans_of_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    aligned, toy = tmp_path / "aligned", written(tmp_path, "toy.json", TOY)
    write_bead_cohort(aligned, mra=2, sets=2, validation=0)
    assert train(aligned, tmp_path / "out", toy, "--image-modality", "both") == 1
    assert "no CTA training scan" in capsys.readouterr().err


@pytest.mark.slow
def test_a_cohort_in_another_frame_is_no_reason_to_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    aligned, out, toy = tmp_path / "aligned", tmp_path / "out", written(tmp_path, "toy.json", TOY)
    write_bead_cohort(aligned, mra=2, sets=0, validation=0)
    assert train(aligned, out, toy) == 0
    content = json.loads((aligned / "aligned.json").read_text(encoding="utf-8"))
    content["frame"]["mean_landmarks"][0][0] += 1.0
    (aligned / "aligned.json").write_text(json.dumps(content), encoding="utf-8")
    capsys.readouterr()
    assert train(aligned, out, toy, "--resume") == 1
    assert "Settings or cases differ" in capsys.readouterr().err


def test_landmarks_of_one_side_alone_are_never_mirrored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = ANATOMY.source
    kept = [entry for entry in source["landmarks"] if entry["side"] != "right"]
    one_sided = anatomy_from_dict(
        {**source, "landmarks": [{**entry, "mirror": entry["code"]} for entry in kept], "arteries": []}
    )
    cohort = write_bead_cohort(tmp_path, mra=1, sets=0, validation=0, anatomy=one_sided)
    training = toy_training(cohort, tmp_path / "out")
    assert training.plan.augmentation.mirror
    assert not training.augmentation.mirror
    assert "L-ICA-T" in caplog.text
    assert "has no counterpart on the other side" in caplog.text
    samples = training.samples(training.stage("coarse"))
    left, middle = one_sided.codes.index("L-M1-M2"), one_sided.codes.index("BA-T")
    for number in range(6):
        places = samples[number].landmarks
        assert places[left, 0] < places[middle, 0]


@pytest.mark.slow
def test_a_training_whose_checkpoints_are_both_damaged_says_what_to_delete(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    aligned, out, toy = tmp_path / "aligned", tmp_path / "out", written(tmp_path, "toy.json", TOY)
    write_bead_cohort(aligned, mra=1, sets=0, validation=0)
    assert train(aligned, out, toy) == 0
    for path in (out / "fine").glob("checkpoint*.pt"):
        path.write_bytes(b"no checkpoint")
    capsys.readouterr()
    assert train(aligned, out, toy, "--resume") == 1
    [error] = capsys.readouterr().err.splitlines()[-1:]
    assert "delete it to start again" in error


def test_two_cases_of_one_patient_in_two_splits_are_reported_and_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cohort(tmp_path / "cohort" / "train", ANATOMY, 2)
    for split in ("train", "test"):
        points = places(ANATOMY, np.random.default_rng(9))
        write_case(tmp_path / "cohort" / split / f"same-{split}", ANATOMY, points, patient="same")
    settings = written(tmp_path, "align.json", {**ALIGN, "cohort": {"folders": ["cohort"]}})
    assert main(["check", str(tmp_path / "cohort")]) == 2
    assert "'same'" in capsys.readouterr().out
    assert main(["align", str(settings), "--out", str(tmp_path / "aligned")]) in (1, 2)
    if (tmp_path / "aligned" / "aligned.json").exists():
        assert "same" not in {case.patient for case in AlignedCohort.read(tmp_path / "aligned").all_cases}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_a_terminated_align_ends_with_code_75_and_goes_on_from_what_it_has(tmp_path: Path) -> None:
    for number in range(3):
        points = places(ANATOMY, np.random.default_rng(number))
        pose = tilted(pitch=4.0 * number)
        image = head_image(points, pose, Modality.MRA, seed=number)
        write_case(tmp_path / "cohort" / f"m{number}", ANATOMY, apply_affine(pose, points), image=image)
    quick = {"pitch_starts_deg": [0.0], "registration_spacing_mm": 2.5, "mra_template": "m0", "processes": 1}
    settings = {"shape": [24, 40, 48], "spacing_mm": [2.0, 2.0, 2.4], **quick}
    shares = {"folders": ["cohort"], "validation_share": 0.0, "test_share": 0.0}
    config = written(tmp_path, "align.json", {"align": settings, "cohort": shares})
    out = tmp_path / "aligned"
    arguments = ["align", str(config), "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", TERMINATED_ALIGN, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 75, done.stderr
    assert "the same command goes on" in done.stderr
    kept = {path: path.stat().st_mtime_ns for path in out.glob("*/registration.json")}
    assert kept
    assert not (out / "aligned.json").exists()
    assert main(arguments) == 0
    assert all(path.stat().st_mtime_ns == before for path, before in kept.items())
    assert len(AlignedCohort.read(out).cases()) == 3


@pytest.mark.slow
def test_images_replaced_before_resuming_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    aligned, out, toy = tmp_path / "aligned", tmp_path / "out", written(tmp_path, "toy.json", TOY)
    write_bead_cohort(aligned, mra=2, sets=0, validation=0)
    assert train(aligned, out, toy) == 0
    assert train(aligned, out, toy, "--resume") == 0
    assert "replaced" not in caplog.text
    crop = aligned / "mra-1" / "crop.npy"
    np.save(crop, np.load(crop) * np.float16(0.5))
    assert train(aligned, out, toy, "--resume") == 0
    [message] = [line for line in caplog.messages if "replaced" in line]
    assert message.endswith(": mra-1.")


def test_a_landmark_beyond_the_crop_of_every_scan_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    aligned, toy = tmp_path / "aligned", written(tmp_path, "toy.json", TOY)
    cohort = write_bead_cohort(aligned, mra=2, sets=0, validation=0)
    content = json.loads((aligned / "aligned.json").read_text(encoding="utf-8"))
    for case in content["cases"]:
        case["landmarks"][3][2] += 200.0
    (aligned / "aligned.json").write_text(json.dumps(content), encoding="utf-8")
    assert train(aligned, tmp_path / "out", toy) == 1
    error = capsys.readouterr().err
    assert f"the landmark {cohort.anatomy.codes[3]} in its crop;" in error
    assert "align.shape" in error


@pytest.mark.parametrize("which", ["coarse", "circle", "fine"])
def test_too_little_memory_is_reported_with_the_settings_of_that_network(which: str, tmp_path: Path) -> None:
    cohort = write_bead_cohort(tmp_path / "aligned", mra=1, sets=0, validation=0)
    training = toy_training(cohort, tmp_path / "out", training={"stages": ["coarse", "circle", "fine"]})
    trainer = training.trainer(training.stage(which))
    trainer.generator.register_forward_pre_hook(lambda *_: torch.empty(1 << 60))
    trainer.generator.stem.register_forward_pre_hook(lambda *_: torch.empty(1 << 60))  # type: ignore[union-attr]
    with pytest.raises(
        ConfigurationError, match=rf"too little memory for step 0; raise {which}\.accumulate.*{which}\.batch_size"
    ):
        trainer.run()


@pytest.mark.slow
def test_a_network_larger_than_the_memory_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    huge = toy_with(fine={"base_width": 1 << 30, "max_width": 1 << 30})
    write_bead_cohort(tmp_path / "aligned", mra=1, sets=0, validation=0)
    assert train(tmp_path / "aligned", tmp_path / "out", written(tmp_path, "huge.json", huge)) == 1
    [error] = capsys.readouterr().err.splitlines()
    assert error.startswith("error: The memory is full;")


@pytest.mark.slow
def test_pictures_that_cannot_be_written_do_not_end_a_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    aligned, out = tmp_path / "aligned", tmp_path / "out"
    write_bead_cohort(aligned, mra=1, sets=0, validation=1)
    toy = toy_with(training={"validate_every": 1})
    (out / "fine").mkdir(parents=True)
    (out / "fine" / "pictures").write_text("no folder", encoding="utf-8")
    assert train(aligned, out, written(tmp_path, "toy.json", toy)) == 0
    assert "picture" in caplog.text
    assert load_model(out / "model.cow.pt").provenance["scans"] == 1


def test_a_preset_that_changes_nothing_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Reported before the cohort is read, which is none here."""
    whole = tmp_path / "whole.json"
    assert main(["init", str(whole)]) == 0
    small = written(tmp_path, "toy.json", TOY)
    for config, warned in ((whole, True), (small, False)):
        assert train(tmp_path, tmp_path / "out", config, "--preset", "gpu") == 1
        assert ("sets everything; --preset gpu changes nothing" in capsys.readouterr().err) == warned


@pytest.mark.slow
@pytest.mark.parametrize(
    ("image", "prior", "scans", "sets"), [("cta", "mra", 2, 5), ("both", "none", 5, 5), ("cta", "none", 2, 2)]
)
def test_other_modalities_are_trained_to_a_model_that_detects(
    image: str, prior: str, scans: int, sets: int, tmp_path: Path
) -> None:
    toy = toy_with(fine={"adversarial_steps": 2})
    write_bead_cohort(tmp_path / "aligned", mra=3, cta=2, sets=0, validation=0)
    arguments = ["--image-modality", image, "--prior", prior]
    assert train(tmp_path / "aligned", tmp_path / "out", written(tmp_path, "toy.json", toy), *arguments) == 0
    model = load_model(tmp_path / "out" / "model.cow.pt")
    assert (model.provenance["scans"], model.provenance["landmark_sets"]) == (scans, sets)
    rng = np.random.default_rng(3)
    volume = Volume(rng.normal(size=(40, 40, 40)).astype(np.float32), np.diag([4.0, 4.0, 4.0, 1.0]), "noise")
    assert len(Detector(model, "cpu").detect(volume, modality=Modality.CTA).landmarks) == 19
