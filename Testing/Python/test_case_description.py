"""case.json: written and read in one place, by both of its writers and whatever a person wrote by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from CoWLandmarksLib.core.errors import AnnotationError
from CoWLandmarksLib.core.volume import Modality
from CoWLandmarksLib.files.case_description import (
    CASE_FILE,
    CaseDescription,
    Role,
    case_description,
    read_case_json,
    write_case_json,
)

POSE = np.array([[0.0, -1.0, 0.0, 3.5], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, -2.0], [0.0, 0.0, 0.0, 1.0]])
PHANTOM = CaseDescription(
    "mra-3-0001",
    "mra-3-0001",
    Modality.MRA,
    image="image.nii.gz",
    landmarks="landmarks.mrk.json",
    vessel_mask="arteries.nii.gz",
    transform=POSE,
    annotator="phantom",
    reviewed=True,
    phantom={"seed": 3, "variants": {"ACoA": "single"}},
)
EXPORTED = CaseDescription(
    "case-001",
    "p1",
    Modality.CTA,
    image="scan.nrrd",
    landmarks="landmarks.mrk.json",
    anatomy="Circle of Willis",
    annotator="AB",
    reviewed_at="2026-03-01T10:00:00Z",
)


@pytest.mark.parametrize(
    ("description", "keys"),
    [
        (
            PHANTOM,
            "schema case patient modality role image landmarks vessel_mask transform annotator reviewed phantom",
        ),
        (
            EXPORTED,
            "schema case patient modality role image landmarks anatomy annotator reviewed reviewed_at",
        ),
    ],
)
def test_what_is_known_is_written_in_a_fixed_order_and_read_back(
    tmp_path: Path, description: CaseDescription, keys: str
) -> None:
    write_case_json(tmp_path / CASE_FILE, description)
    content = json.loads((tmp_path / CASE_FILE).read_text(encoding="utf-8"))
    assert list(content) == keys.split()
    assert content["schema"] == "cow-case/1"
    back = read_case_json(tmp_path / CASE_FILE)
    write_case_json(tmp_path / "again.json", back)
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / CASE_FILE).read_bytes()
    assert back.modality is description.modality and back.reviewed is description.reviewed
    assert (back.transform is None) == (description.transform is None)


def test_a_description_written_by_hand_needs_few_keys(tmp_path: Path) -> None:
    (tmp_path / CASE_FILE).write_bytes(b'\xef\xbb\xbf{"landmarks": "p.mrk.json", "image": null, "patient": 17}')
    described = read_case_json(tmp_path / CASE_FILE)
    assert described == CaseDescription(patient="17", landmarks="p.mrk.json")
    assert described.role is Role.CASE and described.modality is None and not described.reviewed


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no readable case description"),
        ("[]", "no JSON object"),
        ('{"role": "queen"}', "'queen' is not a valid Role"),
        ('{"modality": "pet"}', "'pet' is not a valid Modality"),
        ('{"transform": [1, 2]}', "cannot reshape"),
        ('{"transform": [-1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1]}', "keeps left and right apart"),
    ],
)
def test_what_is_wrong_is_one_sentence_with_the_file(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / CASE_FILE).write_text(content, encoding="utf-8")
    with pytest.raises(AnnotationError, match=message) as raised:
        read_case_json(tmp_path / CASE_FILE)
    assert CASE_FILE in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("attributes", "reviewed"), [({"reviewed": "1"}, True), ({"reviewed": "True"}, True), ({"reviewed": "0"}, False)]
)
def test_attributes_of_a_scene_say_the_same_in_texts(attributes: dict[str, Any], reviewed: bool) -> None:
    described = case_description({**attributes, "modality": "CTA", "role": "Template-Pair"})
    assert (described.modality, described.role) == (Modality.CTA, Role.TEMPLATE_PAIR)
    assert described.reviewed is reviewed
