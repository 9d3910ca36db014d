"""A window that shows one picture large, beside the application."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer

_LARGE = 1100
_MOST_WIDTH, _MOST_HEIGHT = 1200, 900
_ROOM = 40
"""Points beside the picture for margins and scroll bars."""


class PictureWindow:
    """Made when it is opened for the first time; it is not modal, Escape closes it."""

    def __init__(self) -> None:
        self.dialog: qt.QDialog | None = None
        self.label: qt.QLabel | None = None

    def show(self, picture: Path, title: str) -> None:
        """Show a picture file, small ones enlarged; what was shown before is replaced."""
        pixmap = qt.QPixmap(str(picture))
        if pixmap.isNull():
            return
        if pixmap.width() < _LARGE:
            pixmap = pixmap.scaledToWidth(_LARGE, qt.Qt.SmoothTransformation)
        if self.dialog is None or self.label is None:
            self.dialog, self.label = qt.QDialog(slicer.util.mainWindow()), qt.QLabel()
            area = qt.QScrollArea()
            area.setWidget(self.label)
            layout = qt.QVBoxLayout(self.dialog)
            layout.addWidget(area)
        self.label.setPixmap(pixmap)
        self.label.adjustSize()
        self.dialog.windowTitle = title
        self.dialog.resize(min(pixmap.width() + _ROOM, _MOST_WIDTH), min(pixmap.height() + _ROOM, _MOST_HEIGHT))
        self.dialog.show()
        self.dialog.raise_()
        self.dialog.activateWindow()

    def cleanup(self) -> None:
        """Close it for good."""
        if self.dialog is not None:
            self.dialog.close()
            self.dialog.deleteLater()
        self.dialog, self.label = None, None
