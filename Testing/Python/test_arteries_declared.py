"""A person has the last word on an artery: declared present, absent, or led through a point, and honoured again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from CoWLandmarksLib.arteries.ends import ends_of
from CoWLandmarksLib.arteries.tracer import ArteryTracer
from CoWLandmarksLib.cli.program import main
from CoWLandmarksLib.core.artery_map import ArteryMap, ArteryState
from CoWLandmarksLib.core.declaration import Declaration, Declarations, declarations_to_list, with_texts
from CoWLandmarksLib.core.detection import LandmarkEstimate, LandmarkState
from CoWLandmarksLib.core.errors import AnnotationError
from CoWLandmarksLib.core.volume import Modality, Volume
from CoWLandmarksLib.files.artery_graph import GRAPH_SCHEMA_FILE
from CoWLandmarksLib.files.detection_files import DETECTION_SCHEMA_FILE
from CoWLandmarksLib.files.markups import read_declared, write_annotation
from CoWLandmarksLib.io.volume_io import write_volume
from tube_circle import ANATOMY, landmarks, position, tube, tube_scan

FEW_FILES = ("--no-scene", "--no-pictures")
VOXELS = (0.8, 0.8, 0.9)
AWAY = 0.5 * (position("R-C6-C7") + position("R-P1-P2A")) + (4.5, 0.0, 3.0)
"""Where a tube that bends takes the right PCoA."""


def declared(*entries: Declaration) -> Declarations:
    return {entry.code: entry for entry in entries}


def place(point: np.ndarray) -> tuple[float, float, float]:
    r, a, s = (round(float(value), 3) for value in point)
    return r, a, s


LED = Declaration("R-PCoA", True, (place(AWAY),))


@pytest.fixture(scope="module")
def scan() -> Volume:
    """A circle with two ways from the right carotid to the posterior cerebral artery: straight and thin, and bent."""
    bent = (tube(position("R-C6-C7"), AWAY, 1.6, 400.0), tube(AWAY, position("R-P1-P2A"), 1.6, 400.0))
    return tube_scan(left_out=("L-PCoA",), diameters={"R-PCoA": 1.6}, extra=bent, spacing=VOXELS)


@pytest.fixture(scope="module")
def tracer(scan: Volume) -> ArteryTracer:
    return ArteryTracer(scan, Modality.MRA, ANATOMY)


@pytest.fixture(scope="module")
def before(tracer: ArteryTracer) -> ArteryMap:
    return tracer.trace(landmarks())


def voxels_of(found: ArteryMap, code: str) -> int:
    return int((found.labels == ANATOMY.artery(code).label).sum())


def assert_same(one: ArteryMap, other: ArteryMap) -> None:
    for first, second in zip(one.arteries, other.arteries, strict=True):
        assert (first.state, first.reason) == (second.state, second.reason), first.code
        assert np.array_equal(first.centerline, second.centerline), first.code
    assert np.array_equal(one.label_volume("a").voxels, other.label_volume("b").voxels)


@pytest.mark.slow
def test_an_artery_declared_absent_leaves_its_voxels_and_is_back_when_that_is_taken_back(
    scan: Volume, tracer: ArteryTracer, before: ArteryMap
) -> None:
    said = declared(Declaration("R-PCoA", False))
    assert before.artery("R-PCoA").traced
    after = tracer.trace(landmarks(), said)
    gone = after.artery("R-PCoA")
    assert (gone.state, gone.reason, gone.confidence) == (ArteryState.ABSENT, "declared absent by a person", 1.0)
    assert voxels_of(after, "R-PCoA") == 0 and "right PCoA absent" in after.summary
    assert_same(after, ArteryTracer(scan, Modality.MRA, ANATOMY).trace(landmarks(), said))
    moved = [replace(p, position=place(position(p.code) + 0.7)) if p.code == "R-C6-C7" else p for p in landmarks()]
    assert tracer.trace(moved).artery("R-PCoA").reason == "declared absent by a person"  # it stays said
    assert_same(tracer.trace(landmarks(), {}), before)


@pytest.mark.slow
def test_an_artery_declared_present_keeps_its_best_path_whatever_speaks_against_it(
    scan: Volume, tracer: ArteryTracer, before: ArteryMap
) -> None:
    assert before.artery("L-PCoA").state is ArteryState.ABSENT
    after = tracer.trace(landmarks(), declared(Declaration("L-PCoA", True)))
    found = after.artery("L-PCoA")
    assert found.traced and found.reason.endswith("declared present by a person") and found.confidence == 1.0
    assert found.measures is not None and voxels_of(after, "L-PCoA") > 0
    assert (found.state is ArteryState.HYPOPLASTIC) == (found.measures.diameter_mean_mm < 1.0)
    untouched = ("L-MCA-M1", "L-ACA-A2", "ACoA", "R-MCA-M1")
    for code in untouched:
        assert np.array_equal(after.artery(code).centerline, before.artery(code).centerline), code
        assert after.artery(code).state is before.artery(code).state and voxels_of(after, code) == voxels_of(
            before, code
        )


@pytest.mark.slow
def test_a_waypoint_leads_the_artery_along_the_vessel_that_the_person_means(tracer: ArteryTracer) -> None:
    straight = tracer.trace(landmarks(), {}).artery("R-PCoA")
    led = tracer.trace(landmarks(), declared(LED)).artery("R-PCoA")
    away = [float(np.linalg.norm(trace.centerline - AWAY, axis=1).min()) for trace in (straight, led)]
    assert away[0] > 3.0 and away[1] < 0.7
    assert led.traced and led.measures is not None and straight.measures is not None
    assert led.measures.length_mm > straight.measures.length_mm + 1.0
    assert np.linalg.norm(led.centerline[0] - position("R-C6-C7")) < 1.0


@pytest.mark.slow
@pytest.mark.parametrize("code", ["BA", "R-ACA-A2"])
def test_the_basilar_artery_and_one_that_leaves_the_scan_take_waypoints_too(scan: Volume, code: str) -> None:
    artery = ANATOMY.artery(code)
    start = np.array((0.0, -2.0, -25.5)) if artery.start is None else position(artery.start)
    way = 0.5 * (start + position(str(artery.end)))
    points = landmarks(**({} if artery.start is None else {"R_A2_A3": LandmarkState.OUTSIDE}))
    traced = ArteryTracer(scan, Modality.MRA, ANATOMY).trace(points, declared(Declaration(code, True, (place(way),))))
    line = traced.artery(code).centerline
    assert len(line) and np.linalg.norm(line - way, axis=1).min() < 0.7
    assert (np.linalg.norm(np.diff(line, axis=0), axis=1) < 2.0).all()


@pytest.mark.slow
def test_of_two_arteries_in_one_vessel_the_declared_one_has_it() -> None:
    tracer = ArteryTracer(tube_scan(left_out=("L-ACA-A2",), spacing=VOXELS), Modality.MRA, ANATOMY)
    assert tracer.trace(landmarks()).artery("L-ACA-A2").state is ArteryState.UNKNOWN
    one = tracer.trace(landmarks(), declared(Declaration("L-ACA-A2", True)))
    assert one.artery("L-ACA-A2").traced
    assert (
        one.artery("R-ACA-A2").reason == "it could not be distinguished from L-ACA-A2, which runs along the same vessel"
    )
    both = tracer.trace(landmarks(), declared(Declaration("L-ACA-A2", True), Declaration("R-ACA-A2", True)))
    for code in ("L-ACA-A2", "R-ACA-A2"):
        assert both.artery(code).traced and voxels_of(both, code) > 0


@pytest.mark.slow
def test_others_keep_out_of_the_lumen_of_a_declared_artery() -> None:
    # A faint straight way of M1 and a bright bent one, which a person leads A1 along nearly to its end.
    start, end = position("R-ICA-T"), position("R-M1-M2")
    bend = 0.5 * (start + end) + (0.0, 0.0, 6.0)
    bright = (tube(start, bend, 1.8, 400.0), tube(bend, end, 1.8, 400.0))
    scan = tube_scan(left_out=("R-MCA-M1",), spacing=VOXELS, extra=(*bright, tube(start, end, 1.8, 250.0)))
    tracer = ArteryTracer(scan, Modality.MRA, ANATOMY)
    said = declared(Declaration("R-ACA-A1", True, (place(bend), place(0.4 * bend + 0.6 * end))))
    away = [
        float(np.linalg.norm(tracer.trace(landmarks(), entry).artery("R-MCA-M1").centerline - bend, axis=1).min())
        for entry in ({}, said)
    ]
    assert away[0] < 1.0 and away[1] > 3.0


def test_without_an_end_a_declared_artery_is_unknown_and_says_what_to_place(tracer: ArteryTracer) -> None:
    points = landmarks(R_P1_P2A=LandmarkState.ABSENT)
    trace = tracer.trace(points, declared(Declaration("R-PCoA", True))).artery("R-PCoA")
    assert trace.state is ArteryState.UNKNOWN
    assert trace.reason == "declared present by a person, but its end R-P1-P2A is absent"


def test_an_a2_that_is_declared_absent_is_not_fed_from_the_other_side(tracer: ArteryTracer) -> None:
    points = landmarks(L_A1_A2=LandmarkState.ABSENT)
    traced = tracer.trace(points, declared(Declaration("L-ACA-A2", False)))
    assert traced.artery("L-ACA-A2").reason == "declared absent by a person"
    assert traced.artery("ACoA").reason == "its end L-A1-A2 is absent"


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ((500.0, 0.0, 0.0), "of R-PCoA lies 458 mm outside the scan; place it on the artery"),
        (place(position("L-M1-M2")), "of R-PCoA lies 41 mm from its nearer end; place it on the artery"),
    ],
)
def test_a_waypoint_in_the_wrong_place_is_one_sentence_and_nothing_changes(
    tracer: ArteryTracer, point: tuple[float, float, float], message: str
) -> None:
    kept = tracer.trace(landmarks(), {})
    with pytest.raises(AnnotationError, match=message):
        tracer.trace(landmarks(), declared(Declaration("R-PCoA", True, (point,))))
    assert_same(tracer.trace(landmarks()), kept)


def test_declarations_are_written_as_texts() -> None:
    earlier = declared(Declaration("BA", False), Declaration("ACoA", True), LED)
    texts = ["BA=auto", "ACoA=absent", "R-PCoA=1,2,-3.5", "R-PCoA = 2,3,4", "L-PCoA=present"]
    assert with_texts(earlier, texts, ANATOMY) == declared(
        Declaration("ACoA", False),
        Declaration("R-PCoA", True, ((1.0, 2.0, -3.5), (2.0, 3.0, 4.0))),
        Declaration("L-PCoA", True),
    )


@pytest.mark.parametrize("text", ["R-PCoA", "R-PCoA=", "R-PCoA=1,2", "R-PCoA=a,b,c", "R-PCoA=1,2,nan", "PCoA=absent"])
def test_a_text_that_is_no_declaration_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(AnnotationError, match="PCoA"):
        with_texts({}, [text], ANATOMY)


def write_points(path: Path, points: list[LandmarkEstimate], said: Declarations | None) -> str:
    write_annotation(path, points, ANATOMY, None, said)
    return str(path)


@pytest.mark.slow
def test_the_command_honours_declarations_of_the_file_the_earlier_result_and_the_option(
    scan: Volume, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_volume(scan, tmp_path / "head.nii.gz")

    def run(out: str, points: str, *more: str) -> dict[str, object]:
        where = ["arteries", str(tmp_path / "head.nii.gz"), points, "--out", str(tmp_path / out)]
        assert main([*where, *FEW_FILES, *more]) == 0
        content = json.loads((tmp_path / out / "head" / "detection.json").read_text(encoding="utf-8"))
        jsonschema.validate(content, json.loads(DETECTION_SCHEMA_FILE.read_text(encoding="utf-8")))
        return {
            "declared": content["arteries"].get("declared"),
            **{segment["code"]: segment["reason"] for segment in content["arteries"]["segments"]},
        }

    plain = write_points(tmp_path / "plain.mrk.json", landmarks(), None)
    said = declared(Declaration("L-PCoA", True), Declaration("ACoA", False))
    first = run("file", write_points(tmp_path / "said.mrk.json", landmarks(), said))
    assert first["declared"] == declarations_to_list(said)
    assert first["ACoA"] == "declared absent by a person" and "declared present" in str(first["L-PCoA"])
    graph = json.loads((tmp_path / "file" / "head" / "arteries.graph.json").read_text(encoding="utf-8"))
    jsonschema.validate(graph, json.loads(GRAPH_SCHEMA_FILE.read_text(encoding="utf-8")))
    assert {edge["code"]: edge.get("declared") for edge in graph["edges"]}["ACoA"] == "absent"
    table = (tmp_path / "file" / "head" / "arteries.csv").read_text(encoding="utf-8")
    assert [line.rsplit(",", 1)[1] for line in table.splitlines() if line.startswith(("ACoA", "L-PCoA", "BA"))] == [
        "absent",
        "present",
        "",
    ]
    assert read_declared(tmp_path / "file" / "head" / "landmarks.mrk.json", ANATOMY) == said
    previous = ("--previous", str(tmp_path / "file" / "head"))
    again = run("previous", plain, *previous)  # a file that says nothing leaves what was said
    assert {key: again[key] for key in ("declared", "ACoA")} == {key: first[key] for key in ("declared", "ACoA")}
    changed = run("option", plain, *previous, "--declare", "ACoA=auto", "--declare", "L-PCoA=absent")
    assert changed["declared"] == declarations_to_list(declared(Declaration("L-PCoA", False)))
    assert changed["ACoA"] == ""
    taken_back = run("nothing", write_points(tmp_path / "none.mrk.json", landmarks(), {}), *previous)
    assert taken_back["declared"] is None and "declared" not in str(taken_back["L-PCoA"])
    capsys.readouterr()
    bad = ["arteries", str(tmp_path / "head.nii.gz"), plain, "--out", str(tmp_path / "bad"), *FEW_FILES]
    assert main([*bad, "--declare", "R-PCoA=500,0,0"]) == 1
    assert "outside the scan" in capsys.readouterr().err and not (tmp_path / "bad" / "head").exists()


def test_what_a_damaged_file_declares_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "points.mrk.json"
    write_points(path, landmarks(), declared(LED))
    assert read_declared(path, ANATOMY) == declared(LED)
    content = json.loads(path.read_text(encoding="utf-8"))
    entry = content["CoWLandmarks"]["declared"][0]
    for damage in ({"code": "mine"}, {"presence": "maybe"}, {"waypoints": [[1, 2]]}, {"presence": "absent"}):
        content["CoWLandmarks"]["declared"] = [{**entry, **damage}]
        path.write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(AnnotationError, match=r"points\.mrk\.json|R-PCoA"):
            read_declared(path, ANATOMY)


def test_by_rule_counts_against_an_artery_where_a_person_says_so_and_not_where_the_program_found_no_artery() -> None:
    positions = {code: position(code) for code in ANATOMY.codes}

    def seen_by(**changes: object) -> bool:
        points = {p.code: replace(p, by_rule=True, **changes) for p in landmarks()}  # type: ignore[arg-type]
        return ends_of(ANATOMY.artery("R-PCoA"), points, positions).by_rule

    assert seen_by(reviewed=True, error_mm=1.5)  # accepted in a review
    assert seen_by(error_mm=0.0)  # an annotation
    assert not seen_by(error_mm=0.8)  # a detection, which fills it in after tracing
    assert not seen_by(error_mm=1.5, corrected=True)  # moved by a person, perhaps to the mouth of the artery
