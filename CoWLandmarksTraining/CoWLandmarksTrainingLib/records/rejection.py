"""Cases of an aligned folder that a person has rejected after looking at their registration."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from CoWLandmarksLib.core.atomic_files import write_json
from CoWLandmarksLib.core.errors import AnnotationError

SCHEMA = "cow-rejected/1"
REJECTED_FILE = "rejected.json"
REASON = "rejected by a person"


def rejected_names(folder: Path) -> frozenset[str]:
    """Names of the rejected cases; they stay rejected when `align` runs again. Raises AnnotationError."""
    path = folder / REJECTED_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']!r}")
        return frozenset(str(name) for name in content["cases"])
    except FileNotFoundError:
        return frozenset()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AnnotationError(
            f"'{path}' is damaged ({error}); delete it, and reject cases again with cowlandmarks-train reject."
        ) from error


def write_rejected(folder: Path, names: Iterable[str]) -> None:
    """Keep which cases are rejected; raises OutputError."""
    write_json(folder / REJECTED_FILE, {"schema": SCHEMA, "cases": sorted(set(names))})
