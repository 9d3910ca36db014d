"""The panel of CoW Landmarks Training in the stand-in for Slicer, and what its widgets show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cohort_cases import write_cohort
from CoWLandmarksLib.core.anatomy import default_anatomy


def opened(application: Any) -> Any:
    return application.load_module("CoWLandmarksTraining")


def texts(table: Any, column: int) -> list[str]:
    return [table.item(row, column).text() for row in range(table.rowCount)]


def choose(box: Any, key: str) -> None:
    index = box.findData(key)
    assert index >= 0, key
    box.setCurrentIndex(index)


def write_flawed_cohort(folder: Path) -> Path:
    """Write four MRA cases, of which one has its sides exchanged, and one that cannot be read; returns the folder."""
    write_cohort(folder, default_anatomy(), 4)
    landmarks = folder / "mra01" / "landmarks.mrk.json"
    text = landmarks.read_text(encoding="utf-8")
    landmarks.write_text(text.replace('"R-', '"X-').replace('"L-', '"R-').replace('"X-', '"L-'), encoding="utf-8")
    broken = folder / "broken"
    broken.mkdir()
    (broken / "case.json").write_text("{", encoding="utf-8")
    return folder
