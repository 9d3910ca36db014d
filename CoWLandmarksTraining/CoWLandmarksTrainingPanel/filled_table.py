"""Fills table widgets, changing only what differs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import qt

PROBLEM_COLOUR = "#b03a2e"
_WIDEST = 150


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


def fitColumns(table: Any, count: int) -> None:
    """Make the columns as wide as their texts, the first `count` at most so wide that the last has room."""
    table.resizeColumnsToContents()
    for column in range(count):
        table.setColumnWidth(column, min(table.columnWidth(column), _WIDEST))
