"""`case.json` (`cow-case/1`): what a case of a cohort says of itself, written and read here alone.

In a Slicer scene the same keys are attributes of the point list.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..core.atomic_files import write_json
from ..core.errors import AnnotationError
from ..core.volume import Modality

SCHEMA = "cow-case/1"
CASE_FILE = "case.json"


class Role(str, Enum):
    """What a case is for: template-pair is the other modality of the template's patient."""

    CASE = "case"
    TEMPLATE = "template"
    TEMPLATE_PAIR = "template-pair"


@dataclass(frozen=True)
class CaseDescription:
    """The content of a case.json; what is empty or None is not said there.

    `case` and `patient` are pseudonyms; `image`, `landmarks` and `vessel_mask` names of files beside it; `transform`
    (4, 4) takes RAS mm of the scan to the reference frame; `anatomy` is the name of the landmark set; `reviewed_at` is
    UTC; `phantom` says how a synthetic case was drawn.
    """

    case: str = ""
    patient: str = ""
    modality: Modality | None = None
    role: Role = Role.CASE
    image: str | None = None
    landmarks: str | None = None
    vessel_mask: str | None = None
    transform: np.ndarray | None = None
    anatomy: str | None = None
    annotator: str = ""
    reviewed: bool = False
    reviewed_at: str | None = None
    phantom: Mapping[str, Any] = field(default_factory=dict)


def write_case_json(path: str | PathLike[str], description: CaseDescription) -> None:
    """Write a description; raises OutputError."""
    content = {
        "schema": SCHEMA,
        "case": description.case,
        "patient": description.patient,
        "modality": None if description.modality is None else description.modality.value,
        "role": description.role.value,
        "image": description.image,
        "landmarks": description.landmarks,
        "vessel_mask": description.vessel_mask,
        "transform": description.transform,
        "anatomy": description.anatomy,
        "annotator": description.annotator,
        "reviewed": description.reviewed,
        "reviewed_at": description.reviewed_at,
        "phantom": description.phantom or None,
    }
    write_json(path, {key: value for key, value in content.items() if value is not None})


def read_case_json(path: str | PathLike[str]) -> CaseDescription:
    """Read a description, also one that a person wrote with few of the keys; raises AnnotationError."""
    try:
        return case_description(json.loads(Path(path).read_text(encoding="utf-8-sig")))
    except (OSError, ValueError, TypeError, RecursionError) as wrong:
        reason = " ".join(str(wrong).split())
        raise AnnotationError(f"'{path}' is no readable case description ({reason}).") from wrong


def case_description(content: Any) -> CaseDescription:
    """The description in parsed JSON or in the attributes of a point list; raises ValueError, TypeError."""
    if not isinstance(content, Mapping):
        raise ValueError("it is no JSON object")
    phantom = content.get("phantom")
    return CaseDescription(
        case=_text(content, "case"),
        patient=_text(content, "patient"),
        modality=Modality(_text(content, "modality").lower()) if content.get("modality") not in (None, "") else None,
        role=Role((_text(content, "role") or Role.CASE.value).lower()),
        image=_text(content, "image") or None,
        landmarks=_text(content, "landmarks") or None,
        vessel_mask=_text(content, "vessel_mask") or None,
        transform=_transform(content.get("transform")),
        anatomy=_text(content, "anatomy") or None,
        annotator=_text(content, "annotator"),
        reviewed=str(content.get("reviewed", "")).lower() in ("1", "true"),
        reviewed_at=_text(content, "reviewed_at") or None,
        phantom=phantom if isinstance(phantom, Mapping) else {},
    )


def _text(content: Mapping[str, Any], key: str) -> str:
    """A value as text; empty where it is missing, null, false or zero."""
    return str(content.get(key) or "")


def _transform(value: Any) -> np.ndarray | None:
    """(4, 4) matrix from nested or flat lists; raises ValueError."""
    if value is None:
        return None
    matrix = np.array(value, float).reshape(4, 4)
    if not np.isfinite(matrix).all() or not np.allclose(matrix[3], (0, 0, 0, 1)) or np.linalg.det(matrix[:3, :3]) <= 0:
        raise ValueError("the transform is not a 4 x 4 matrix that keeps left and right apart")
    return matrix
