"""Landmark annotations as Slicer point lists: writes `.mrk.json`, reads `.mrk.json` and legacy `.fcsv`.

The files are LPS (or RAS, where they say so) in mm; positions inside the program are always RAS. The state of a
landmark travels in the description of its control point (`LandmarkEstimate.description`) and in the position
status: defined (found, uncertain), missing (absent), undefined (outside).
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from ..core.anatomy import Anatomy
from ..core.atomic_files import write_json
from ..core.coordinates import swap_lps_ras
from ..core.declaration import Declaration, Declarations, artery_codes, declarations_from_list, declarations_to_list
from ..core.detection import LandmarkEstimate, LandmarkState, described_state, parse_description
from ..core.errors import AnnotationError
from .dicom_reading import is_dicom_file, read_dicom_report

SCHEMA = "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.3.json#"
POSITION_STATUS = {
    LandmarkState.FOUND: "defined",
    LandmarkState.UNCERTAIN: "defined",
    LandmarkState.ABSENT: "missing",
    LandmarkState.OUTSIDE: "undefined",
}
OWN_ENTRY = "CoWLandmarks"
REVIEW_KEYS = ("annotator", "reviewed_at")
DECLARED_KEY = "declared"
"""In the same entry: what a person says of arteries; unlike the points of the file its waypoints are RAS mm."""
_PLACED_BY_THE_PROGRAM = (LandmarkState.FOUND.value, LandmarkState.UNCERTAIN.value)
_ORIENTATION = [-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0]
_FCSV_COLUMNS = "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"
_FCSV_STATUS = {"0": "undefined", "1": "undefined", "2": "defined", "3": "missing"}


def write_annotation(
    path: str | PathLike[str],
    landmarks: Sequence[LandmarkEstimate],
    anatomy: Anatomy,
    review: Mapping[str, str] | None = None,
    declared: Declarations | None = None,
) -> None:
    """Write a Slicer point list (`.mrk.json`, LPS) with one control point per landmark, in the anatomy's order.

    A landmark that is not in `landmarks` becomes a control point without position and description ("not placed
    yet"). `review` (REVIEW_KEYS: initials, time) and what is `declared` of arteries are kept in an entry of our own,
    which Slicer passes over; None of the latter says nothing, an empty mapping that nothing is declared. Raises
    AnnotationError for a code that is unknown or given twice, OutputError if the file cannot be written.
    """
    own: dict[str, Any] = {key: review.get(key, "") for key in REVIEW_KEYS} if review else {}
    if declared is not None:
        own[DECLARED_KEY] = declarations_to_list(declared)
    given = _by_code(landmarks, anatomy)
    points = [_control_point(number, code, given.get(code)) for number, code in enumerate(anatomy.codes, start=1)]
    write_json(
        path,
        {
            "@schema": SCHEMA,
            **({OWN_ENTRY: own} if own else {}),
            "markups": [
                {
                    "type": "Fiducial",
                    "coordinateSystem": "LPS",
                    "coordinateUnits": "mm",
                    "locked": True,
                    "fixedNumberOfControlPoints": True,
                    "labelFormat": "%N-%d",
                    "lastUsedControlPointNumber": len(points),
                    "controlPoints": points,
                }
            ],
        },
    )


def read_review(path: str | PathLike[str]) -> dict[str, str]:
    """Initials and time of review (REVIEW_KEYS) in a `.mrk.json` file; blank where it does not tell them."""
    try:
        entry = json.loads(Path(path).read_text(encoding="utf-8-sig"))[OWN_ENTRY]
        return {key: str(entry.get(key, "")) for key in REVIEW_KEYS}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return dict.fromkeys(REVIEW_KEYS, "")  # an .fcsv file, or somebody else's .mrk.json


def read_declared(path: str | PathLike[str], anatomy: Anatomy) -> dict[str, Declaration] | None:
    """What a `.mrk.json` file declares of arteries; None where it says nothing. Raises AnnotationError."""
    try:
        entry = json.loads(Path(path).read_text(encoding="utf-8-sig"))[OWN_ENTRY][DECLARED_KEY]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None  # an .fcsv file, or a .mrk.json without it; reading its points says what is wrong
    return declarations_from_list(entry, artery_codes(anatomy), f"'{path}'")


def read_annotation(
    path: str | PathLike[str], anatomy: Anatomy, warnings: list[str] | None = None
) -> tuple[LandmarkEstimate, ...]:
    """Read a `.mrk.json` point list or a legacy `.fcsv` file; returns its landmarks in the anatomy's order.

    The file may list its points in any order, in RAS or LPS, and only some of the landmarks. A point whose label
    is no landmark raises AnnotationError, unless `warnings` is given: then it is skipped and a sentence is
    appended there. Raises AnnotationError for a landmark listed twice and for a file that is no point list.
    """
    return tuple(estimate for estimate, _ in _landmarks_of(path, anatomy, warnings))


def read_placed_by_person(
    path: str | PathLike[str], anatomy: Anatomy, warnings: list[str] | None = None
) -> tuple[LandmarkEstimate, ...]:
    """The placed landmarks of an annotation that a person put there; arguments and errors as in `read_annotation`.

    These are points whose description the program did not write, or that are marked as corrected or reviewed, or
    that stand where the program saw none.
    """
    return tuple(
        estimate
        for estimate, point in _landmarks_of(path, anatomy, warnings)
        if estimate.position is not None
        and (
            estimate.corrected or estimate.reviewed or described_state(point.description) not in _PLACED_BY_THE_PROGRAM
        )
    )


def _landmarks_of(
    path: str | PathLike[str], anatomy: Anatomy, warnings: list[str] | None
) -> list[tuple[LandmarkEstimate, LabelledPoint]]:
    path = Path(path)
    landmarks: dict[str, tuple[LandmarkEstimate, LabelledPoint]] = {}
    for point in read_points(path):
        if point.label not in anatomy.codes:
            sentence = (
                f"'{path}' has a point labelled '{point.label}', which is no landmark of '{anatomy.name}'; "
                f"use {anatomy.codes[0]}, {anatomy.codes[1]} and so on."
            )
            if warnings is None:
                raise AnnotationError(sentence)
            warnings.append(sentence)
            continue
        if point.label in landmarks:
            raise AnnotationError(f"'{path}' lists landmark '{point.label}' twice; delete one of the two points.")
        if point.not_placed_yet:
            continue
        try:
            estimate = estimate_from_point(point.label, point.description, point.position, point.status)
        except AnnotationError as error:
            raise AnnotationError(f"'{path}': {error}") from error
        landmarks[point.label] = estimate, point
    return [landmarks[code] for code in anatomy.codes if code in landmarks]


def estimate_from_point(
    code: str, description: str, position: tuple[float, float, float] | None, status: str
) -> LandmarkEstimate:
    """Landmark from a control point: `position` in RAS mm, `status` as Slicer names it (POSITION_STATUS).

    Where there is no position the status decides between absent and outside, because it is what a person sets.
    """
    estimate = parse_description(code, description, position)
    if position is None:
        state = LandmarkState.ABSENT if status == "missing" else LandmarkState.OUTSIDE
        return replace(estimate, state=state)
    return estimate


@dataclass(frozen=True)
class LabelledPoint:
    """A control point as a file or a node has it: `position` RAS mm or None, `status` as Slicer names it."""

    label: str
    description: str
    position: tuple[float, float, float] | None
    status: str

    @property
    def not_placed_yet(self) -> bool:
        """Whether nobody, neither person nor program, has said anything of this point."""
        return self.status == "undefined" and not self.description


def _by_code(landmarks: Sequence[LandmarkEstimate], anatomy: Anatomy) -> dict[str, LandmarkEstimate]:
    given: dict[str, LandmarkEstimate] = {}
    for estimate in landmarks:
        if estimate.code not in anatomy.codes:
            raise AnnotationError(f"'{estimate.code}' is no landmark of '{anatomy.name}' and cannot be written.")
        if estimate.code in given:
            raise AnnotationError(f"Landmark '{estimate.code}' is given twice and cannot be written.")
        given[estimate.code] = estimate
    return given


def _control_point(number: int, code: str, estimate: LandmarkEstimate | None) -> dict[str, Any]:
    position: list[float] | str = ""  # Slicer writes the empty string for a point without position
    if estimate is not None and estimate.position is not None:
        position = [round(value, 4) + 0.0 for value in swap_lps_ras(estimate.position).tolist()]
    return {
        "id": str(number),
        "label": code,
        "description": estimate.description() if estimate is not None else "",
        "associatedNodeID": "",
        "position": position,
        "orientation": _ORIENTATION,
        "selected": estimate is None or estimate.state is not LandmarkState.UNCERTAIN,
        "locked": False,
        "visibility": True,
        "positionStatus": POSITION_STATUS[estimate.state] if estimate is not None else "undefined",
    }


def read_points(path: Path) -> list[LabelledPoint]:
    """Every control point of a `.mrk.json` or `.fcsv` file, whatever its label, or every landmark of a DICOM report.

    Raises AnnotationError.
    """
    if is_dicom_file(path):
        return [
            LabelledPoint(e.code, e.description(), e.position, POSITION_STATUS[e.state])
            for e in read_dicom_report(path)
        ]
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise AnnotationError(
            f"The annotation '{path}' cannot be read ({error.strerror}); check path and permissions."
        ) from error
    except UnicodeDecodeError as error:
        raise AnnotationError(
            f"The annotation '{path}' cannot be read (it is no text file); save a point list as .mrk.json."
        ) from error
    if path.suffix.lower() == ".fcsv":
        return _points_of_fcsv(path, text)
    return _points_of_json(path, text)


def _points_of_json(path: Path, text: str) -> list[LabelledPoint]:
    try:
        content = json.loads(text)
        lists = [markup for markup in content["markups"] if markup["type"] == "Fiducial"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise AnnotationError(f"'{path}' is no Slicer markups file; save a point list as .mrk.json.") from error
    if len(lists) != 1:
        raise AnnotationError(f"'{path}' holds {len(lists)} point lists; exactly one is needed.")
    markup = lists[0]
    if markup.get("coordinateUnits", "mm") not in ("mm", ["mm", "mm", "mm"]):
        raise AnnotationError(
            f"The coordinates of '{path}' are in {markup['coordinateUnits']}; millimetres are needed."
        )
    lps = _is_lps(path, str(markup.get("coordinateSystem", "LPS")))
    points = []
    try:
        for point in markup.get("controlPoints", []):
            label = str(point.get("label", "")).strip()
            status = str(point.get("positionStatus", "defined" if point.get("position") else "undefined"))
            position = _position(path, label, point.get("position"), lps) if status == "defined" else None
            status = "undefined" if status == "preview" else status
            points.append(LabelledPoint(label, str(point.get("description", "")).strip(), position, status))
    except (AttributeError, TypeError) as error:
        raise AnnotationError(f"The control points of '{path}' are not readable; save the point list again.") from error
    return points


def _points_of_fcsv(path: Path, text: str) -> list[LabelledPoint]:
    lines = text.splitlines()
    header = {
        key.strip().lower(): value.strip()
        for key, equals, value in (line.lstrip("# ").partition("=") for line in lines if line.startswith("#"))
        if equals
    }
    # Files before Slicer 4.11 are RAS and say 0, or nothing.
    lps = _is_lps(
        path, {"0": "RAS", "1": "LPS"}.get(header.get("coordinatesystem", "0"), header.get("coordinatesystem", ""))
    )
    columns = [column.strip() for column in header.get("columns", _FCSV_COLUMNS).split(",")]
    if not {"label", "x", "y", "z"} <= set(columns):
        raise AnnotationError(f"'{path}' is no Slicer fiducial file; its columns are {', '.join(columns)}.")
    points = []
    for cells in csv.reader(line for line in lines if line.strip() and not line.startswith("#")):
        row = dict(zip(columns, cells, strict=False))
        label = row.get("label", "").strip()
        status = _FCSV_STATUS.get(cells[len(columns)].strip() if len(cells) > len(columns) else "2", "defined")
        xyz = [row.get("x"), row.get("y"), row.get("z")]
        position = _position(path, label, xyz, lps) if status == "defined" else None
        points.append(LabelledPoint(label, row.get("desc", "").strip(), position, status))
    return points


def _is_lps(path: Path, coordinate_system: str) -> bool:
    try:
        return {"LPS": True, "RAS": False}[coordinate_system.upper()]
    except KeyError:
        raise AnnotationError(
            f"'{path}' uses the coordinate system '{coordinate_system}'; LPS or RAS is needed."
        ) from None


def _position(path: Path, label: str, values: Any, lps: bool) -> tuple[float, float, float]:
    try:
        x, y, z = (float(value) for value in values)
    except (TypeError, ValueError):
        x = math.nan
    if not math.isfinite(x) or not math.isfinite(y) or not math.isfinite(z):
        raise AnnotationError(f"The position of '{label}' in '{path}' is {values}; three numbers are needed.")
    if lps:
        x, y, z = swap_lps_ras((x, y, z)).tolist()
    return x + 0.0, y + 0.0, z
