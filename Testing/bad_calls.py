"""Calls that must be refused: wrong usage, bad hints, and places where nothing can be written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from bad_input import FEW_FILES, BadCase, Maker, detect
from bad_models import sound_model
from beads import bead_places
from CoWLandmarksLib.core.anatomy import default_anatomy
from fixed_detector import write_scan

CODES = default_anatomy().codes


def usage(*arguments: str) -> Maker:
    """These arguments of `cowlandmarks`, in a folder that holds the scans a.nii and b.nii."""

    def make(folder: Path) -> Sequence[object]:
        write_scan(folder / "a.nii")
        write_scan(folder / "b.nii")
        return arguments

    return make


def point(code: str, *position: object, **more: object) -> dict[str, object]:
    """A control point that a person placed."""
    return {"label": code, "position": list(position), "positionStatus": "defined", **more}


THREE = [point(CODES[n], 10.0 * n, 5.0 * n * n, 3.0) for n in (0, 4, 9)]


def point_list(points: Sequence[object], **more: object) -> dict[str, object]:
    """A markups file of one list."""
    return {"markups": [{"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": list(points), **more}]}


def hint(content: object, name: str = "hint.mrk.json", real: bool = False) -> Maker:
    """A detection with this hint: bytes, or what is written as JSON."""

    def make(folder: Path) -> Sequence[object]:
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        arguments = detect(folder, write_scan(folder / "head.nii"), "--hint", path)
        if real:
            (folder / "tiny.cow.pt").write_bytes(sound_model())
            arguments += ["--model", folder / "tiny.cow.pt", "--modality", "mra"]
        return arguments

    return make


def _hint_path(path: Callable[[Path], object]) -> Maker:
    return lambda folder: detect(folder, write_scan(folder / "head.nii"), "--hint", path(folder))


def into(out: Callable[[Path], object], *more: object) -> Maker:
    """A detection whose results go to `out(folder)`."""
    return lambda folder: ["detect", write_scan(folder / "head.nii"), "--out", out(folder), *FEW_FILES, *more]


def _file_in_the_way(folder: Path) -> Path:
    (folder / "out").write_text("a file", encoding="utf-8")
    return folder / "out"


def _file_above(folder: Path) -> Path:
    return _file_in_the_way(folder) / "below"


def _file_named_like_the_result(folder: Path) -> Path:
    (folder / "out").mkdir()
    (folder / "out" / "head").write_text("a file", encoding="utf-8")
    return folder / "out"


def _result_is_there(folder: Path) -> Path:
    (folder / "out" / "head").mkdir(parents=True)
    (folder / "out" / "head" / "detection.json").write_text("{}", encoding="utf-8")
    return folder / "out"


def _folder_of_somebody(folder: Path) -> Path:
    (folder / "out" / "head").mkdir(parents=True)
    (folder / "out" / "head" / "thesis.tex").write_text("years of work", encoding="utf-8")
    return folder / "out"


def _link_as_result(folder: Path) -> Path:
    (folder / "out").mkdir()
    (folder / "elsewhere").mkdir()
    (folder / "out" / "head").symlink_to(folder / "elsewhere")
    return folder / "out"


def _link_to_nothing(folder: Path) -> Path:
    (folder / "out").symlink_to(folder / "gone" / "away")
    return folder / "out"


def _mirrored() -> list[dict[str, object]]:
    """Points of a true circle under the names of the other side."""
    pairs = [(0, 1), (4, 5), (6, 7), (9, 10)]
    places = bead_places() - (24.0, 42.0, -21.0)  # into the scan of `write_scan`
    return [
        point(CODES[a], -places[b, 0], -places[b, 1], places[b, 2]) for pair in pairs for a, b in (pair, pair[::-1])
    ]


WRONG: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("nothing", (), ("COMMAND",)),
    ("an unknown command", ("wash",), ("wash", "--help")),
    ("no scan", ("detect", "--out", "out"), ("no SCAN", "--sample")),
    ("no output", ("detect", "a.nii"), ("--out",)),
    ("an output without value", ("detect", "a.nii", "--out"), ("--out",)),
    ("an empty output", ("detect", "a.nii", "--out", ""), ("--out",)),
    ("an empty scan", ("detect", "", "--out", "out"), ("SCAN",)),
    ("an unknown option", ("detect", "a.nii", "--out", "out", "--gently"), ("--gently", "--help")),
    ("an unknown device", ("detect", "a.nii", "--out", "out", "--device", "abacus"), ("abacus", "auto")),
    ("an unknown modality", ("detect", "a.nii", "--out", "out", "--modality", "pet"), ("pet", "cta")),
    ("an unknown decoding", ("detect", "a.nii", "--out", "out", "--decoding", "guess"), ("guess", "subvoxel")),
    ("a scan and the sample", ("detect", "a.nii", "--out", "out", "--sample"), ("--sample", "one of the two")),
    ("a hint for two scans", ("detect", "a.nii", "b.nii", "--out", "out", "--hint", "h"), ("--hint", "single SCAN")),
    ("a value for a switch", ("detect", "a.nii", "--out", "out", "--force=yes"), ("--force",)),
    ("info about nothing", ("info",), ("MODEL-or-SCAN",)),
    ("info about two things", ("info", "a.nii", "b.nii"), ("b.nii",)),
)

CALLS: tuple[BadCase, ...] = (
    *(BadCase(f"usage: {name}", usage(*arguments), fragments) for name, arguments, fragments in WRONG),
    BadCase(
        "a hint that is not there", _hint_path(lambda folder: folder / "no.mrk.json"), ("no.mrk.json", "cannot be read")
    ),
    BadCase("a folder as hint", _hint_path(lambda folder: folder), ("cannot be read",)),
    BadCase("a scan as hint", _hint_path(lambda folder: folder / "head.nii"), ("head.nii",)),
    BadCase("an empty hint", hint(b""), ("hint.mrk.json", "save a point list")),
    BadCase("half a hint", hint(json.dumps(point_list(THREE)).encode()[:90]), ("hint.mrk.json", "save a point list")),
    BadCase("a hint of noise", hint(bytes(range(256))), ("hint.mrk.json", "cannot be read")),
    BadCase("a hint of deep brackets", hint(b"[" * 100_000), ("hint.mrk.json",)),
    BadCase("a hint that is a list", hint([1, 2]), ("hint.mrk.json", "save a point list")),
    BadCase("a hint that is a number", hint(7), ("hint.mrk.json", "save a point list")),
    BadCase("a hint without lists", hint({"markups": []}), ("hint.mrk.json", "0 point lists")),
    BadCase("a hint of a curve", hint(point_list(THREE, type="Curve")), ("hint.mrk.json", "0 point lists")),
    BadCase(
        "a hint of two lists", hint({"markups": point_list(THREE)["markups"] * 2}), ("hint.mrk.json", "2 point lists")
    ),  # type: ignore[operator]
    BadCase("a hint of two points", hint(point_list(THREE[:2])), ("hint.mrk.json", "3 or more")),
    BadCase(
        "a hint of points without place", hint(point_list([point(code) for code in CODES[:4]])), ("hint.mrk.json",)
    ),
    BadCase(
        "a hint of NaN",
        hint(point_list([*THREE, point(CODES[5], float("nan"), 1, 2)])),
        ("hint.mrk.json", CODES[5], "three numbers"),
    ),
    BadCase(
        "a hint of text",
        hint(point_list([*THREE, point(CODES[5], "left", "of", "it")])),
        ("hint.mrk.json", "three numbers"),
    ),
    BadCase(
        "a hint of two coordinates",
        hint(point_list([*THREE, point(CODES[5], 1, 2)])),
        ("hint.mrk.json", "three numbers"),
    ),
    BadCase("a hint with a point twice", hint(point_list([*THREE, THREE[0]])), ("hint.mrk.json", "twice")),
    BadCase("a hint in voxels", hint(point_list(THREE, coordinateSystem="IJK")), ("hint.mrk.json", "LPS or RAS")),
    BadCase("a hint in centimetres", hint(point_list(THREE, coordinateUnits="cm")), ("hint.mrk.json", "millimetres")),
    BadCase("a hint whose points are text", hint(point_list(["BA-T"])), ("hint.mrk.json", "save the point list again")),
    BadCase(
        "a hint whose points are a number",
        hint(point_list([]) | {"markups": [{"type": "Fiducial", "controlPoints": 5}]}),
        ("hint.mrk.json",),
    ),
    BadCase(
        "a hint found by the program",
        hint(
            point_list(
                [
                    point(
                        code,
                        1,
                        2,
                        3,
                        description="state=found; by_rule=0; confidence=0.9; error_mm=1; corrected=0; reviewed=0",
                    )
                    for code in CODES
                ]
            )
        ),
        ("hint.mrk.json", "corrected=1"),
    ),
    BadCase(
        "a hint with a broken description",
        hint(point_list([point(code, 1, 2, 3, description="state=lost; confidence=much") for code in CODES])),
        ("hint.mrk.json",),
    ),
    BadCase(
        "a fiducial table without coordinates",
        hint(b"# columns = id,label\n1,BA-T\n", "hint.fcsv"),
        ("hint.fcsv", "columns"),
    ),
    BadCase(
        "a hint on one line",
        hint(point_list([point(CODES[n], 5.0 * n, 0, 0) for n in range(4)]), real=True),
        ("hint", "one line", "add a point"),
        real=True,
    ),
    BadCase(
        "a hint of one place",
        hint(point_list([point(CODES[n], 1, 2, 3) for n in range(4)]), real=True),
        ("hint",),
        real=True,
    ),
    BadCase(
        "a hint with sides exchanged", hint(point_list(_mirrored()), real=True), ("hint", "right and left"), real=True
    ),
    BadCase(
        "a hint in another scanner",
        hint(point_list([point(CODES[n], 1e6 + 9.0 * n, 7.0 * n * n, 3.0) for n in (0, 4, 9)]), real=True),
        ("hint",),
        real=True,
    ),
    BadCase("a file as output", into(_file_in_the_way), ("out", "cannot be written", "--out")),
    BadCase("an output below a file", into(_file_above), ("below", "cannot be written", "--out")),
    BadCase(
        "a file in the place of the result",
        into(_file_named_like_the_result, "--force"),
        ("head", "no folder", "--out"),
    ),
    BadCase("a result that is there", into(_result_is_there), ("head", "already holds a result", "--force")),
    BadCase("somebody's folder", into(_folder_of_somebody, "--force"), ("head", "no result of this program", "--out")),
    BadCase(
        "an output path that is too long",
        into(lambda folder: folder.joinpath(*["x" * 200] * 30)),
        ("cannot be written", "--out"),
    ),
    BadCase("an output name of 300 letters", into(lambda folder: folder / ("y" * 300)), ("cannot be written", "--out")),
    *(
        (
            BadCase("a link as result", into(_link_as_result, "--force"), ("head", "no folder", "--out")),
            BadCase("a link to nothing as output", into(_link_to_nothing), ("out", "cannot be written")),
            BadCase("the null device as output", into(lambda folder: "/dev/null"), ("/dev/null", "cannot be written")),
        )
        if os.name == "posix"
        else ()
    ),
    *(
        (
            BadCase(
                "a place of the system as output", into(lambda folder: "/proc/out"), ("/proc/out", "cannot be written")
            ),
        )
        if Path("/proc/self").is_dir()
        else ()
    ),
)


def arteries(points: object, *more: object, name: str = "points.mrk.json") -> Maker:
    """Arteries from these landmarks: bytes, or what is written as JSON."""

    def make(folder: Path) -> Sequence[object]:
        path = folder / name
        path.write_bytes(points if isinstance(points, bytes) else json.dumps(points).encode())
        scan = write_scan(folder / "head.nii")
        return ["arteries", scan, path, "--out", folder / "out", "--no-scene", "--no-pictures", *more]

    return make


ALL_POINTS = [point(code, 2.0 * n, 30.0, 20.0) for n, code in enumerate(CODES)]

ARTERIES: tuple[BadCase, ...] = (
    BadCase("arteries without landmarks", usage("arteries", "a.nii", "--out", "out"), ("LANDMARKS.mrk.json", "--help")),
    BadCase(
        "arteries of a lost file",
        lambda f: ["arteries", write_scan(f / "head.nii"), f / "no.mrk.json", "--out", f / "out"],
        ("no.mrk.json", "cannot be read"),
    ),
    BadCase(
        "arteries of a lost scan",
        lambda f: ["arteries", f / "no.nii", hint(point_list(ALL_POINTS))(f)[-1], "--out", f / "out"],
        ("no.nii", "does not exist"),
    ),
    BadCase("arteries of an empty file", arteries(b""), ("points.mrk.json", "save a point list")),
    BadCase("arteries of noise", arteries(bytes(range(256))), ("points.mrk.json", "cannot be read")),
    BadCase(
        "arteries of two lists",
        arteries({"markups": point_list([])["markups"] * 2}),
        ("points.mrk.json", "2 point lists"),
    ),  # type: ignore[operator]
    BadCase(
        "arteries with a point twice", arteries(point_list([*ALL_POINTS, ALL_POINTS[0]])), ("points.mrk.json", "twice")
    ),
    BadCase("arteries of no landmark", arteries(point_list([])), ("points.mrk.json",)),
    BadCase("arteries of foreign points", arteries(point_list([point("F-1", 1, 2, 3)])), ("points.mrk.json",)),
    BadCase(
        "arteries of points elsewhere",
        arteries(point_list([point(code, 900.0 + n, 30.0, 20.0) for n, code in enumerate(CODES)])),
        ("points.mrk.json", "outside the scan", "another scan?"),
    ),
    BadCase(
        "arteries after a lost result",
        arteries(point_list(ALL_POINTS), "--previous", "nowhere"),
        ("nowhere", "cannot be read"),
    ),
    BadCase(
        "arteries after no result",
        arteries(point_list(ALL_POINTS), "--previous", "."),
        ("detection.json", "cannot be read"),
    ),
)
