"""Combo boxes whose entries have keys, and paths that are chosen; setting them sends no signal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def fillComboBox(box: Any, choices: Sequence[tuple[str, str]], chosen: str | None = None) -> None:
    """(key, text) entries; what was chosen stays chosen where it still is, else the first is."""
    if chosen is None:
        chosen = chosenKey(box) if box.count else choices[0][0]
    box.blockSignals(True)
    box.clear()
    for key, text in choices:
        box.addItem(text, key)
    box.setCurrentIndex(max(0, box.findData(chosen)))
    box.blockSignals(False)


def chosenKey(box: Any) -> str:
    """The key of the entry that is chosen; empty without entries."""
    key = box.itemData(box.currentIndex)
    return "" if key is None else str(key)


def choose(box: Any, key: str) -> None:
    """Choose the entry with this key; the first where there is none."""
    box.blockSignals(True)
    box.setCurrentIndex(max(0, box.findData(key)))
    box.blockSignals(False)


def chosenPath(edit: Any) -> Path | None:
    """The path in a path line; None where it is empty."""
    text = edit.currentPath.strip()
    return Path(text) if text else None
