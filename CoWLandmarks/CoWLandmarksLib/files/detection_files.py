"""What a detection is handed over as, beside the point list and the picture: a table and a JSON file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..core.anatomy import Anatomy
from ..core.artery_map import ArteryMap
from ..core.atomic_files import write_json, write_text
from ..core.detection import Detection, LandmarkEstimate, LandmarkState, read_verdict
from ..core.errors import AnnotationError
from ..core.volume import Modality
from .arteries_files import RecordedArteries, arteries_from_dict, arteries_to_dict

SCHEMA = "cow-detection/2"
READABLE = ("cow-detection/1", SCHEMA)
"""In the first version landmarks from a file carried a verdict, too."""
DETECTION_SCHEMA_FILE = Path(__file__).parent.parent / "Resources" / "Schemas" / "detection.schema.json"
_COLUMNS = ("code", "name", "R", "A", "S", "state", "by_rule", "confidence", "error_mm")
_REVIEW_COLUMNS = ("corrected", "reviewed", "reviewer", "reviewed_at")


def write_landmarks_csv(
    path: str | PathLike[str],
    detection: Detection,
    anatomy: Anatomy,
    reviews: Mapping[str, tuple[str, str]] | None = None,
) -> None:
    """Write one row per landmark: position in RAS mm (blank where there is no point), state, confidence, error.

    With `reviews` (code -> initials, time) the columns of a review follow.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS if reviews is None else (*_COLUMNS, *_REVIEW_COLUMNS))
    for estimate in detection.landmarks:
        position = [f"{value + 0.0:.3f}" for value in estimate.position] if estimate.position else ["", "", ""]
        writer.writerow(
            [
                estimate.code,
                anatomy.landmark(estimate.code).name,
                *position,
                estimate.state.value,
                int(estimate.by_rule),
                f"{estimate.confidence:.3f}",
                f"{estimate.error_mm:.2f}",
                *([] if reviews is None else _review_cells(estimate, reviews)),
            ]
        )
    write_text(path, text.getvalue())


def _review_cells(estimate: LandmarkEstimate, reviews: Mapping[str, tuple[str, str]]) -> list[Any]:
    return [int(estimate.corrected), int(estimate.reviewed), *reviews.get(estimate.code, ("", ""))]


def write_detection_json(path: str | PathLike[str], detection: Detection, arteries: ArteryMap | None = None) -> None:
    """Write what is known of a scan, as `Resources/Schemas/detection.schema.json` describes it."""
    write_json(
        path,
        {
            "schema": SCHEMA,
            "scan": detection.scan,
            "modality": detection.modality.value,
            "verdict": None if detection.verdict is None else detection.verdict.value,
            "reasons": list(detection.reasons),
            "warnings": list(detection.warnings),
            "coordinates": "RAS mm",
            "landmarks": [_landmark_to_dict(estimate) for estimate in detection.landmarks],
            "ras_to_reference": np.asarray(detection.ras_to_reference, float).tolist(),
            "provenance": dict(detection.provenance),
            **({} if arteries is None else {"arteries": arteries_to_dict(arteries)}),
        },
    )


def read_detection_json(path: str | PathLike[str]) -> Detection:
    """Read what `write_detection_json` wrote; raises AnnotationError in one sentence for anything else."""
    return _detection_from_dict(_content(path), path)


def read_detection_and_arteries(path: str | PathLike[str]) -> tuple[Detection, RecordedArteries]:
    """The same with what the file keeps of the arteries; it is read once. Raises AnnotationError."""
    content = _content(path)
    try:
        arteries = arteries_from_dict(content.get("arteries", {}))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise AnnotationError(f"The arteries of '{path}' cannot be read ({error!r}); trace them again.") from error
    return _detection_from_dict(content, path), arteries


def _content(path: str | PathLike[str]) -> dict[str, Any]:
    """The file's JSON object, of a schema that can be read."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise AnnotationError(
            f"The detection '{path}' cannot be read ({error.strerror}); check path and permissions."
        ) from error
    except (ValueError, RecursionError) as error:
        raise AnnotationError(
            f"The detection '{path}' cannot be read (it is damaged); run the detection again."
        ) from error
    version = content.get("schema") if isinstance(content, dict) else None
    if not isinstance(content, dict) or version not in READABLE:
        raise AnnotationError(f"'{path}' is no detection of this version: its schema is '{version}', not '{SCHEMA}'.")
    return content


def _detection_from_dict(content: Mapping[str, Any], path: str | PathLike[str]) -> Detection:
    try:
        return Detection(
            scan=content["scan"],
            modality=Modality(content["modality"]),
            verdict=read_verdict(content["verdict"], dict(content["provenance"])),
            reasons=tuple(content["reasons"]),
            landmarks=tuple(_landmark_from_dict(entry) for entry in content["landmarks"]),
            ras_to_reference=np.array(content["ras_to_reference"], float).reshape(4, 4),
            warnings=tuple(content["warnings"]),
            provenance=content["provenance"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise AnnotationError(f"The detection '{path}' is damaged: {error!r}.") from error


def _landmark_to_dict(estimate: LandmarkEstimate) -> dict[str, Any]:
    return {
        "code": estimate.code,
        "position": None if estimate.position is None else [round(float(v), 4) + 0.0 for v in estimate.position],
        "state": estimate.state.value,
        "by_rule": bool(estimate.by_rule),
        "confidence": round(float(estimate.confidence), 4),
        "error_mm": round(float(estimate.error_mm), 3),
        "corrected": bool(estimate.corrected),
        "reviewed": bool(estimate.reviewed),
        "note": estimate.note,
    }


def _landmark_from_dict(entry: dict[str, Any]) -> LandmarkEstimate:
    position = entry["position"]
    if position is not None:
        r, a, s = (float(value) for value in position)
        position = (r, a, s)
    return LandmarkEstimate(
        code=entry["code"],
        position=position,
        state=LandmarkState(entry["state"]),
        confidence=float(entry["confidence"]),
        error_mm=float(entry["error_mm"]),
        by_rule=bool(entry["by_rule"]),
        corrected=bool(entry["corrected"]),
        reviewed=bool(entry["reviewed"]),
        note=entry["note"],
    )
