"""Keeps a panel as high as its texts need, wherever it is shown."""

from __future__ import annotations

from typing import Any

import qt


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
