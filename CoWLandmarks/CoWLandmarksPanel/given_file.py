"""Landmarks from a file in the section "Review": loaded beside their scan, to be reviewed like a detection."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import slicer
from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.core.errors import CoWLandmarksError
from CoWLandmarksLib.scene.given_points import add_given_file
from CoWLandmarksLib.scene.views import show_only_result
from slicer.i18n import tr as _


class GivenFile:
    """The widgets of Review.ui that load a file; `onAdded` gets the point list of its landmarks."""

    def __init__(self, ui: Any, anatomy: Anatomy, onAdded: Callable[[Any], None]) -> None:
        self._ui = ui
        self._anatomy = anatomy
        self._onAdded = onAdded
        ui.loadFileEdit.filters = ctk.ctkPathLineEdit.Files
        ui.loadFileEdit.nameFilters = ["Landmarks (*.mrk.json *.fcsv *.dcm)"]
        ui.loadButton.connect("clicked(bool)", self._onLoad)
        self._showMessage("")

    def offer(self, volumeNode: Any | None) -> None:
        """Take this scan as the one that landmarks are loaded for, where there is one."""
        if volumeNode is not None:
            self._ui.loadVolumeComboBox.setCurrentNode(volumeNode)
        self._showMessage("")

    def _onLoad(self, checked: bool = False) -> None:
        ui = self._ui
        volume, path = ui.loadVolumeComboBox.currentNode(), ui.loadFileEdit.currentPath.strip()
        self._showMessage("")
        if volume is None or not path:
            self._showMessage(_("Choose the scan and the file of its landmarks."))
            return
        messages: list[str] = []
        try:
            nodes = add_given_file(slicer.mrmlScene, volume, Path(path), self._anatomy, messages)
        except CoWLandmarksError as error:
            self._showMessage(str(error))
            return
        show_only_result(slicer.mrmlScene, nodes.markups)  # they would lie over the earlier ones
        self._onAdded(nodes.markups)
        self._showMessage(" ".join(messages) or _("Loaded; the landmarks can be reviewed now."))

    def _showMessage(self, text: str) -> None:
        """Beside the button, which is far below the other messages."""
        self._ui.loadMessageLabel.text = text
        self._ui.loadMessageLabel.visible = bool(text)
