"""Point-list files: what is written, what is read, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.detection import LandmarkEstimate, LandmarkState
from CoWLandmarksLib.core.errors import AnnotationError, OutputError
from CoWLandmarksLib.files.markups import read_annotation, read_placed_by_person, write_annotation
from hypothesis import given, settings
from hypothesis import strategies as st

ANATOMY = default_anatomy()
REAL = Path("/work/shared/data/real/chris_MRA.mrk.json")


def all_landmarks() -> tuple[LandmarkEstimate, ...]:
    """Every landmark: BA-T uncertain, L-A1-A2 absent, R-A2-A3 outside, the rest found."""
    special = {"L-A1-A2": LandmarkState.ABSENT, "R-A2-A3": LandmarkState.OUTSIDE, "BA-T": LandmarkState.UNCERTAIN}
    landmarks = []
    for number, code in enumerate(ANATOMY.codes):
        state = special.get(code, LandmarkState.FOUND)
        placed = state in (LandmarkState.FOUND, LandmarkState.UNCERTAIN)
        position = (1.5 * number, -2.25 * number, 3.0 + number) if placed else None
        landmarks.append(
            LandmarkEstimate(
                code, position, state, 0.93, 0.8, by_rule=number == 5, note='größe, "x"' if number == 6 else ""
            )
        )
    return tuple(landmarks)


def point_list(points: list[dict], **changes: object) -> dict:
    markup = {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "controlPoints": points,
        **changes,
    }
    return {"markups": [markup]}


def save(path: Path, content: dict) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write_annotation(tmp_path / "landmarks.mrk.json", all_landmarks(), ANATOMY)
    assert read_annotation(tmp_path / "landmarks.mrk.json", ANATOMY) == all_landmarks()


def test_the_file_is_lps_in_anatomy_order_with_position_status(tmp_path: Path) -> None:
    path = tmp_path / "landmarks.mrk.json"
    write_annotation(path, tuple(reversed(all_landmarks())), ANATOMY)
    markup = json.loads(path.read_text(encoding="utf-8"))["markups"][0]
    points = markup["controlPoints"]
    assert [point["label"] for point in points] == list(ANATOMY.codes)
    assert markup["coordinateSystem"] == "LPS" and markup["fixedNumberOfControlPoints"] is True
    assert points[2]["position"] == [-3.0, 4.5, 5.0]  # R-A1-A2 is (3, -4.5, 5) in RAS
    assert points[2]["description"] == "state=found; by_rule=0; confidence=0.93; error_mm=0.8; corrected=0; reviewed=0"
    assert [points[i]["positionStatus"] for i in (0, 3, 8)] == ["undefined", "missing", "defined"]
    assert points[0]["position"] == points[3]["position"] == ""


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(-300, 300), min_size=3, max_size=3),
    st.text(st.characters(exclude_categories=("C",)), max_size=20),
)
def test_any_position_and_note_survive(tmp_path_factory: pytest.TempPathFactory, ras: list[float], note: str) -> None:
    path = tmp_path_factory.mktemp("round") / "p.mrk.json"
    write_annotation(
        path,
        [LandmarkEstimate("BA-T", (ras[0], ras[1], ras[2]), LandmarkState.FOUND, 1, 0, note=note.strip())],
        ANATOMY,
    )
    (read,) = read_annotation(path, ANATOMY)
    assert read.position == pytest.approx(ras, abs=1e-4) and read.note == note.strip()


def test_foreign_order_subset_and_ras_are_read(tmp_path: Path) -> None:
    points = [
        {"label": " BA-T ", "position": [1, 2, 3]},
        {"label": "R-A2-A3", "position": [4, 5, 6], "positionStatus": "defined"},
    ]
    path = save(tmp_path / "a.mrk.json", point_list(points, coordinateSystem="RAS"))
    read = read_annotation(path, ANATOMY)
    assert [(e.code, e.position, e.state) for e in read] == [
        ("R-A2-A3", (4.0, 5.0, 6.0), LandmarkState.FOUND),
        ("BA-T", (1.0, 2.0, 3.0), LandmarkState.FOUND),
    ]


def test_a_point_a_person_marked_missing_is_absent_whatever_its_text_says(tmp_path: Path) -> None:
    points = [
        {"label": "BA-T", "position": "", "positionStatus": "missing"},
        {"label": "L-M1-M2", "position": "", "positionStatus": "missing", "description": "state=found; confidence=0.9"},
        {
            "label": "R-M1-M2",
            "position": "",
            "positionStatus": "undefined",
            "description": "state=found; confidence=0.9",
        },
        {"label": "R-A2-A3", "position": "", "positionStatus": "undefined"},
    ]
    read = read_annotation(save(tmp_path / "a.mrk.json", point_list(points)), ANATOMY)
    assert {e.code: e.state.value for e in read} == {"R-M1-M2": "outside", "L-M1-M2": "absent", "BA-T": "absent"}


def test_points_of_a_person_are_distinguished_from_those_of_the_program(tmp_path: Path) -> None:
    codes = default_anatomy().codes
    descriptions = {
        codes[0]: "",
        codes[1]: "placed by AB",
        codes[2]: "state=found; corrected=0; reviewed=0",
        codes[3]: "state=uncertain; corrected=0; reviewed=0 | note",
        codes[4]: "state=found; corrected=1; reviewed=0",
        codes[5]: "state=uncertain; corrected=0; reviewed=1",
        codes[6]: "state=absent; corrected=0; reviewed=0",
    }
    points = [{"label": code, "description": text, "position": [1, 2, 3]} for code, text in descriptions.items()]
    points.append({"label": codes[7], "description": "state=absent; reviewed=1", "positionStatus": "missing"})
    path = save(tmp_path / "points.mrk.json", point_list(points))
    placed = read_placed_by_person(path, default_anatomy())
    assert [estimate.code for estimate in placed] == [codes[n] for n in (0, 1, 4, 5, 6)]
    assert placed[0].position == (-1.0, -2.0, 3.0)


def test_a_landmark_not_given_is_not_invented_when_read_back(tmp_path: Path) -> None:
    write_annotation(tmp_path / "a.mrk.json", all_landmarks()[4:6], ANATOMY)
    assert read_annotation(tmp_path / "a.mrk.json", ANATOMY) == all_landmarks()[4:6]


def test_an_unknown_label_is_refused_or_skipped_with_a_warning(tmp_path: Path) -> None:
    path = save(
        tmp_path / "a.mrk.json",
        point_list([{"label": "F-1", "position": [1, 2, 3]}, {"label": "BA-T", "position": [1, 2, 3]}]),
    )
    with pytest.raises(AnnotationError, match=r"a\.mrk\.json' has a point labelled 'F-1'"):
        read_annotation(path, ANATOMY)
    warnings: list[str] = []
    assert [e.code for e in read_annotation(path, ANATOMY, warnings)] == ["BA-T"]
    assert len(warnings) == 1 and "'F-1'" in warnings[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (point_list([{"label": "BA-T", "position": [1, 2, 3]}] * 2), "'BA-T' twice"),
        (point_list([{"label": "BA-T", "position": [1, 2]}]), "'BA-T'.*three numbers"),
        (point_list([{"label": "BA-T", "position": [1, 2, float("nan")]}]), "'BA-T'.*three numbers"),
        (point_list([], coordinateSystem="IJK"), "'IJK'"),
        (point_list([], coordinateUnits="cm"), "in cm"),
        (point_list([], type="Curve"), "holds 0 point lists"),
        (point_list(["BA-T"]), "not readable"),
        ({"landmarks": []}, "no Slicer markups file"),
    ],
)
def test_a_bad_file_is_refused_with_a_sentence_that_names_it(tmp_path: Path, content: dict, message: str) -> None:
    with pytest.raises(AnnotationError, match=message) as caught:
        read_annotation(save(tmp_path / "bad.mrk.json", content), ANATOMY)
    assert "bad.mrk.json" in str(caught.value)


def test_a_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_annotation(tmp_path / "none.mrk.json", ANATOMY)
    (tmp_path / "b.mrk.json").write_bytes(b"\xff\x00\x93")
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_annotation(tmp_path / "b.mrk.json", ANATOMY)


@pytest.mark.parametrize(
    ("system", "expected"), [("0", (1.0, 2.0, 3.0)), ("LPS", (-1.0, -2.0, 3.0)), ("1", (-1.0, -2.0, 3.0))]
)
def test_legacy_fcsv_is_read(tmp_path: Path, system: str, expected: tuple[float, float, float]) -> None:
    text = (
        f"# Markups fiducial file version = 4.11\n# CoordinateSystem = {system}\n"
        "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
        'vtkMRMLMarkupsFiducialNode_0,1,2,3,0,0,0,1,1,1,0,BA-T,"seen, surely",\n'
        "2,9,9,9,0,0,0,1,1,1,0,L-M1-M2,,,3,0\n3,9,9,9,0,0,0,1,1,1,0,R-M1-M2,,,0,0\n"
    )
    (tmp_path / "old.fcsv").write_text(text)
    read = read_annotation(tmp_path / "old.fcsv", ANATOMY)
    assert {e.code: (e.position, e.state.value) for e in read} == {
        "L-M1-M2": (None, "absent"),
        "BA-T": (expected, "found"),
    }
    assert read[1].note == "seen, surely"


def test_unknown_or_doubled_codes_are_not_written(tmp_path: Path) -> None:
    odd = LandmarkEstimate("X", None, LandmarkState.ABSENT, 0, 0)
    with pytest.raises(AnnotationError, match="'X'"):
        write_annotation(tmp_path / "a.mrk.json", [odd], ANATOMY)
    with pytest.raises(AnnotationError, match="twice"):
        write_annotation(tmp_path / "a.mrk.json", all_landmarks()[:1] * 2, ANATOMY)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "folder.mrk.json").mkdir()
    with pytest.raises(OutputError, match=r"folder\.mrk\.json"):
        write_annotation(tmp_path / "folder.mrk.json", all_landmarks(), ANATOMY)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.mrk.json"]


@pytest.mark.skipif(not REAL.exists(), reason="needs /work/shared/data")
def test_the_real_annotation_is_read() -> None:
    read = read_annotation(REAL, ANATOMY)
    assert len(read) == 19
    assert read[ANATOMY.index("BA-T")].position == (-1.1, 23.8, -15.4)
