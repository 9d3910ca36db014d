"""Fills table widgets and combo boxes, changing only what differs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import qt

PROBLEM_COLOUR = "#b03a2e"
QUIET_COLOUR = "#808080"


def fillTable(table: Any, rows: Sequence[Sequence[str]], colours: Sequence[str | None], tips: Sequence[str]) -> None:
    """One line of texts per row, in a colour of its own (None: the usual one), with a tool tip."""
    table.setRowCount(len(rows))
    for number, (texts, colour, tip) in enumerate(zip(rows, colours, tips, strict=True)):
        for column, text in enumerate(texts):
            item = table.item(number, column)
            # A colour cannot be taken from an item again.
            if item is None or item.data(qt.Qt.UserRole) != (colour or ""):
                item = qt.QTableWidgetItem()
                item.setData(qt.Qt.UserRole, colour or "")
                if colour is not None:
                    item.setForeground(qt.QBrush(qt.QColor(colour)))
                table.setItem(number, column, item)
            if item.text() != text:
                item.setText(text)
            if item.toolTip() != tip:
                item.setToolTip(tip)


def fillComboBox(box: Any, choices: Sequence[tuple[str, str]], chosen: str | None = None) -> None:
    """(key, text) entries, without a signal; what was chosen stays chosen where it still is, else the first is."""
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
    """Choose the entry with this key without a signal."""
    box.blockSignals(True)
    box.setCurrentIndex(max(0, box.findData(key)))
    box.blockSignals(False)
