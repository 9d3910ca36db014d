"""The results of many scans as one table node in a MRML scene. No Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vtk

from .nodes import all_or_nothing

COLUMNS = ("scan", "verdict", "result", "folder")
FAILED = "failed"


@dataclass(frozen=True)
class BatchRow:
    """What became of one scan: `result` is its summary, or the sentence that says why it failed.

    `scan_file` and `folder` are where scan and result lie on disk; `markups` is the point list of a result in the
    scene.
    """

    scan: str
    verdict: str
    result: str
    scan_file: Path | None = None
    folder: Path | None = None
    markups: Any | None = None

    @property
    def failed(self) -> bool:
        """Whether there is no result."""
        return self.verdict == FAILED


def batch_summary(rows: Sequence[BatchRow], of: int) -> str:
    """One sentence: '5 of 6 scans done; 1 failed (a.nii.gz)'."""
    failed = [row.scan for row in rows if row.failed]
    text = f"{len(rows) - len(failed)} of {of} scan{'s' if of != 1 else ''} done"
    return f"{text}; {len(failed)} failed ({', '.join(failed)})" if failed else text


def add_batch_table(scene: Any, rows: Sequence[BatchRow], name: str) -> Any:
    """Add a table with one row per scan; returns its node."""
    with all_or_nothing(scene):
        node = scene.AddNewNodeByClass("vtkMRMLTableNode", scene.GenerateUniqueName(name))
        for title in COLUMNS:
            column = vtk.vtkStringArray()
            column.SetName(title)
            for row in rows:
                value = getattr(row, title)
                column.InsertNextValue("" if value is None else str(value))
            node.AddColumn(column)
        node.SetUseColumnTitleAsColumnHeader(True)
        node.SetLocked(True)
    return node
