"""Splits: by patient, repeatable, sealed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cohort_cases import estimates, places, seven_points
from CoWLandmarksLib.core.errors import AnnotationError, ConfigurationError
from CoWLandmarksLib.core.volume import Modality
from CoWLandmarksTrainingLib.cohort.annotated_cases import AnnotatedScan, ImageSource
from CoWLandmarksTrainingLib.cohort.splits import Splits, content_hash, draw_splits

ANATOMY = seven_points()


def scans_of(folder: Path, count: int, *, modality: Modality = Modality.MRA, image: bool = True) -> list[AnnotatedScan]:
    rng = np.random.default_rng(count)
    scans = []
    for number in range(count):
        file = folder / f"{modality.value}{number}.nrrd"
        file.write_bytes(bytes([number]))
        scans.append(
            AnnotatedScan(
                name=file.stem, patient=f"p{file.stem}", modality=modality,
                landmarks=estimates(ANATOMY, places(ANATOMY, rng)), files=(file,),
                image=ImageSource(file) if image else None,
            )
        )  # fmt: skip
    return scans


def sizes(splits: Splits) -> dict[str, int]:
    return {name: len(patients) for name, patients in splits.patients.items()}


def test_shares_are_those_asked_for_and_repeatable(tmp_path: Path) -> None:
    scans = scans_of(tmp_path, 20)
    splits = draw_splits(scans, 7, 0.15, 0.2)
    assert sizes(splits) == {"train": 13, "validation": 3, "test": 4}
    assert draw_splits(scans[::-1], 7, 0.15, 0.2) == splits
    assert draw_splits(scans, 8, 0.15, 0.2).patients != splits.patients


def test_all_scans_of_a_patient_go_together(tmp_path: Path) -> None:
    mra, cta = scans_of(tmp_path, 9), scans_of(tmp_path, 9, modality=Modality.CTA)
    scans = [replace(scan, patient=f"p{number % 9}") for number, scan in enumerate([*mra, *cta])]
    splits = draw_splits(scans)
    for patient in range(9):
        assert len({splits.of(scan) for scan in scans if scan.patient == f"p{patient}"}) == 1


def test_each_modality_is_in_each_split_and_landmarks_alone_are_for_training(tmp_path: Path) -> None:
    scans = scans_of(tmp_path, 5) + scans_of(tmp_path, 5, modality=Modality.CTA)
    for split in ("train", "validation", "test"):
        own = {s.modality for s in scans if draw_splits(scans).of(s) == split}
        assert own == set(Modality)
    alone = scans_of(tmp_path, 10, modality=Modality.CTA, image=False)
    assert sizes(draw_splits(alone)) == {"train": 10, "validation": 0, "test": 0}


def test_folders_named_like_splits_decide(tmp_path: Path) -> None:
    named = [
        replace(scan, split=split)
        for scan, split in zip(scans_of(tmp_path, 3), ("test", "train", "validation"), strict=True)
    ]
    splits = draw_splits(named)
    assert [splits.of(scan) for scan in named] == ["test", "train", "validation"]
    twice = [replace(scan, patient="same") for scan in named]
    with pytest.raises(AnnotationError, match=r"Patient 'same' has cases in test and train .*one split"):
        draw_splits(twice)


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    splits = draw_splits(scans_of(tmp_path, 8))
    splits.write(tmp_path / "splits.json")
    assert Splits.read(tmp_path / "splits.json") == splits


def test_the_seal_holds_only_what_was_sealed(tmp_path: Path) -> None:
    scans = scans_of(tmp_path, 8)
    splits = draw_splits(scans)
    splits.check(scans)
    [victim, *_] = [scan for scan in scans if splits.of(scan) == "test"]
    moved = replace(victim, landmarks=estimates(ANATOMY, places(ANATOMY, np.random.default_rng(99))))
    with pytest.raises(AnnotationError, match=rf"sealed test split has changed \(cases {victim.name}\)"):
        splits.check([moved if scan is victim else scan for scan in scans])
    with pytest.raises(AnnotationError, match="sealed test split has changed"):
        splits.check([scan for scan in scans if scan is not victim])
    assert victim.image is not None
    victim.image.path.write_bytes(b"another image")
    with pytest.raises(AnnotationError, match="sealed test split has changed"):
        splits.check(scans)


def test_a_patient_moved_out_of_the_test_by_hand_is_noticed(tmp_path: Path) -> None:
    scans = scans_of(tmp_path, 8)
    path = tmp_path / "splits.json"
    draw_splits(scans).write(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    content["patients"]["train"].append(content["patients"]["test"].pop())
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(AnnotationError, match="changed by hand"):
        Splits.read(path).check(scans)
    content["patients"]["test"].append(content["patients"]["train"][-1])
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(AnnotationError, match="in more than one split"):
        Splits.read(path)


def test_new_patients_get_a_split_but_never_the_test(tmp_path: Path) -> None:
    scans = scans_of(tmp_path, 30)
    before = draw_splits(scans[:10])
    with pytest.raises(AnnotationError, match="do not know the patients"):
        before.check(scans)
    after = draw_splits(scans, keep=before)
    assert (after.patients["test"], after.seal) == (before.patients["test"], before.seal)
    assert all(after.of(scan) == before.of(scan) for scan in scans[:10])
    assert {after.of(scan) for scan in scans[10:]} == {"train", "validation"}
    after.check(scans)


def test_the_hash_of_a_case_is_that_of_its_content(tmp_path: Path) -> None:
    scan = scans_of(tmp_path, 1)[0]
    assert content_hash(scan) == content_hash(replace(scan, name="renamed", annotator="someone"))
    assert content_hash(scan) != content_hash(replace(scan, patient="other"))


def test_voxels_beside_their_header_are_sealed_too(tmp_path: Path) -> None:
    header, voxels = tmp_path / "scan.mhd", tmp_path / "scan.raw"
    header.write_text(
        "NDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementDataFile = scan.raw\n", encoding="utf-8"
    )
    voxels.write_bytes(bytes(8))
    scan = replace(scans_of(tmp_path, 1)[0], image=ImageSource(header))
    assert scan.image_files() == (header, voxels)
    before = content_hash(scan)
    voxels.write_bytes(bytes(range(8)))
    assert content_hash(scan) != before


def test_wrong_shares_and_files_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="shares"):
        draw_splits([], 1, 0.5, 0.5)
    path = tmp_path / "splits.json"
    for text in ("", "[]", '{"schema": "cow-splits/2"}'):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(AnnotationError, match="no readable splits file"):
            Splits.read(path)
