"""What the panels of both modules share of Qt: sections from `.ui` files, combo boxes with keys, paths, tables, height.

Setting a combo box sends no signal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import qt
import slicer

_PADDING = 7
UI_FOLDER = Path(__file__).resolve().parent.parent / "Resources" / "UI"


def loadedInto(container: object, name: str) -> object:
    """Load `Resources/UI/NAME.ui`, add it to the layout of `container` and return its widgets by their names."""
    widget = slicer.util.loadUI(str(UI_FOLDER / f"{name}.ui"))
    container.layout().addWidget(widget)
    widget.setMRMLScene(slicer.mrmlScene)
    return slicer.util.childWidgetVariables(widget)


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


def compactRows(table: Any) -> Any:
    """Rows as high as their text and without numbers; returns the header of the columns."""
    table.verticalHeader().hide()
    table.verticalHeader().setDefaultSectionSize(table.fontMetrics().height() + 6)
    return table.horizontalHeader()


def columnsAsWideAs(table: Any, longest: Mapping[int, str], stretched: int) -> Any:
    """Compact rows with columns as wide as their `longest` texts, and the column `stretched` as wide as there is room.

    So names have room in a narrow panel and nothing moves while working. Returns the header.
    """
    header = compactRows(table)
    header.setMinimumSectionSize(24)
    header.setSectionResizeMode(stretched, qt.QHeaderView.Stretch)
    for column, text in longest.items():
        header.resizeSection(column, table.fontMetrics().horizontalAdvance(text) + _PADDING)
    return header


class PanelHeight(qt.QWidget):
    """Follows the width of a panel and sets its minimum height to what the panel needs at that width.

    The minimum that Qt derives counts one line for a text that wraps. Where a container goes by it, what is missing is
    taken from the highest part of the panel: rows are squeezed into each other. With this minimum it scrolls instead.
    It follows as long as somebody holds it.
    """

    def __init__(self, panel: Any) -> None:
        super().__init__()
        self._panel = panel
        panel.installEventFilter(self)
        self._keep()

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Called by Qt with everything that happens to the panel; nothing is kept from it."""
        if event.type() in (qt.QEvent.Resize, qt.QEvent.LayoutRequest):
            self._keep()
        return False

    def _keep(self) -> None:
        height = self._panel.layout().totalHeightForWidth(self._panel.width)
        if height > 0 and height != self._panel.minimumHeight:
            self._panel.minimumHeight = height
