"""The table and the JSON file of a detection, worked out by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.detection import GIVEN, Detection, LandmarkEstimate, LandmarkState, Verdict
from CoWLandmarksLib.core.errors import AnnotationError
from CoWLandmarksLib.core.volume import Modality
from CoWLandmarksLib.files.detection_files import (
    DETECTION_SCHEMA_FILE,
    read_detection_json,
    write_detection_json,
    write_landmarks_csv,
)

ANATOMY = default_anatomy()


def make_detection() -> Detection:
    """R-A2-A3 outside, L-A2-A3 uncertain by rule, R-A1-A2 absent, all others found at (k, -k, 0.5)."""
    landmarks = [
        LandmarkEstimate("R-A2-A3", None, LandmarkState.OUTSIDE, 0.0, 0.0),
        LandmarkEstimate("L-A2-A3", (-1.23456, 40.0, 22.5), LandmarkState.UNCERTAIN, 0.41, 3.25, by_rule=True),
        LandmarkEstimate("R-A1-A2", None, LandmarkState.ABSENT, 0.875, 0.0, reviewed=True, note="A1 fehlt ü"),
    ]
    for number, code in enumerate(ANATOMY.codes[3:], start=3):
        landmarks.append(LandmarkEstimate(code, (number, -number, 0.5), LandmarkState.FOUND, 0.9, 1.2))
    return Detection(
        scan="sub-01",
        modality=Modality.MRA,
        verdict=Verdict.REVIEW,
        reasons=("L-A2-A3 is uncertain.",),
        landmarks=tuple(landmarks),
        ras_to_reference=np.array([[1, 0, 0, 5], [0, 1, 0, 6], [0, 0, 1, 1 / 3], [0, 0, 0, 1]], float),
        warnings=("Uneven slices.",),
        provenance={"model": "m", "metrics": {"mre": np.float64(1.5), "sdr": np.array([0.5, 0.75])}},
    )


def test_the_table_has_one_row_per_landmark_and_blanks_where_there_is_no_point(tmp_path: Path) -> None:
    write_landmarks_csv(tmp_path / "landmarks.csv", make_detection(), ANATOMY)
    lines = (tmp_path / "landmarks.csv").read_bytes().decode("utf-8").split("\n")
    assert lines[:5] == [
        "code,name,R,A,S,state,by_rule,confidence,error_mm",
        "R-A2-A3,Right A2-A3 boundary (genu of the corpus callosum),,,,outside,0,0.000,0.00",
        "L-A2-A3,Left A2-A3 boundary (genu of the corpus callosum),-1.235,40.000,22.500,uncertain,1,0.410,3.25",
        "R-A1-A2,Right A1-A2 junction (ACA / ACoA),,,,absent,0,0.875,0.00",
        "L-A1-A2,Left A1-A2 junction (ACA / ACoA),3.000,-3.000,0.500,found,0,0.900,1.20",
    ]
    assert len(lines) == 21 and lines[20] == ""


def test_the_json_file_says_what_the_detection_says(tmp_path: Path) -> None:
    write_detection_json(tmp_path / "detection.json", make_detection())
    content = json.loads((tmp_path / "detection.json").read_text(encoding="utf-8"))
    assert content["schema"] == "cow-detection/2" and content["coordinates"] == "RAS mm"
    assert content["verdict"] == "review" and content["modality"] == "mra"
    assert content["landmarks"][1]["position"] == [-1.2346, 40.0, 22.5]
    assert content["landmarks"][2] == {
        "code": "R-A1-A2",
        "position": None,
        "state": "absent",
        "by_rule": False,
        "confidence": 0.875,
        "error_mm": 0.0,
        "corrected": False,
        "reviewed": True,
        "note": "A1 fehlt ü",
    }
    assert content["provenance"] == {"model": "m", "metrics": {"mre": 1.5, "sdr": [0.5, 0.75]}}


def test_the_json_file_fits_its_schema_and_the_schema_is_strict(tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="needs the package jsonschema")
    schema = json.loads(DETECTION_SCHEMA_FILE.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    write_detection_json(tmp_path / "detection.json", make_detection())
    content = json.loads((tmp_path / "detection.json").read_text(encoding="utf-8"))
    validator.validate(content)
    for key, value in (("position", [1, 2, 3]), ("state", "found"), ("confidence", 1.5), ("error_mm", None)):
        wrong = json.loads(json.dumps(content))
        wrong["landmarks"][0][key] = value  # R-A2-A3 is outside
        assert not validator.is_valid(wrong), key
    assert not validator.is_valid({**content, "patient": "a name"})
    assert validator.is_valid({**content, "verdict": None})
    assert validator.is_valid({**content, "schema": "cow-detection/1"})
    assert not validator.is_valid({**content, "schema": "cow-detection/1", "verdict": None})


@pytest.mark.parametrize("schema", ["cow-detection/1", "cow-detection/2"])
@pytest.mark.parametrize(
    ("provenance", "verdict"),
    [({"model": "m"}, Verdict.REVIEW), ({"model": GIVEN}, None), ({"model": "m", "landmarks": "corrected"}, None)],
)
def test_landmarks_from_a_file_have_no_verdict_whatever_an_earlier_version_wrote(
    tmp_path: Path, schema: str, provenance: dict[str, str], verdict: Verdict | None
) -> None:
    path = tmp_path / "detection.json"
    write_detection_json(path, replace(make_detection(), provenance=provenance))
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["verdict"] == "review"
    path.write_text(json.dumps({**content, "schema": schema}), encoding="utf-8")
    read = read_detection_json(path)
    assert read.verdict is verdict
    write_detection_json(path, read)
    assert json.loads(path.read_text(encoding="utf-8"))["verdict"] == (None if verdict is None else "review")
    assert read_detection_json(path).verdict_label == ("from a file, not judged" if verdict is None else "review")


def test_the_json_file_is_read_back(tmp_path: Path) -> None:
    write_detection_json(tmp_path / "detection.json", make_detection())
    read = read_detection_json(tmp_path / "detection.json")
    expected = make_detection().with_landmark(
        replace(make_detection().landmarks[1], position=(-1.2346, 40.0, 22.5))  # written to 0.1 micrometre
    )
    assert read.landmarks == expected.landmarks
    np.testing.assert_array_equal(read.ras_to_reference, expected.ras_to_reference)
    assert (read.scan, read.verdict, read.reasons, read.warnings) == (
        "sub-01",
        Verdict.REVIEW,
        ("L-A2-A3 is uncertain.",),
        ("Uneven slices.",),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "no detection of this version"),
        ('{"schema": "cow-detection/3"}', "cow-detection/3"),
        ('{"schema": "cow-detection/1"}', "damaged"),
    ],
)
def test_other_files_are_refused_with_a_sentence(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "detection.json").write_text(text)
    with pytest.raises(AnnotationError, match=message):
        read_detection_json(tmp_path / "detection.json")
