"""The slice views as the panel follows them: which scan they show, and when that has become another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
import vtk
from CoWLandmarksLib.scene.views import composites_of, scan_in_views, show_scan
from slicer.util import VTKObservationMixin


class ScanViews(VTKObservationMixin):
    """Calls `onChanged` in a turn of its own when what the slice views show may have changed."""

    def __init__(self, onChanged: Callable[[], None]) -> None:
        VTKObservationMixin.__init__(self)
        self._known: Any | None = None
        # The views change one after the other; they are looked at once, when all have.
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.connect("timeout()", onChanged)

    def observe(self) -> None:
        """Observe the views that are there now."""
        for composite in composites_of(slicer.mrmlScene):
            if not self.hasObserver(composite, vtk.vtkCommand.ModifiedEvent, self._onModified):
                self.addObserver(composite, vtk.vtkCommand.ModifiedEvent, self._onModified)

    def newScan(self) -> Any | None:
        """The scan in the views, if it is another one than when this was asked or `show` was called before."""
        shown = scan_in_views(slicer.mrmlScene)
        if shown is None or shown is self._known:
            return None
        self._known = shown
        return shown

    @property
    def blank(self) -> bool:
        """Whether no view shows a volume that is in the scene."""
        scene = slicer.mrmlScene
        return all(scene.GetNodeByID(node.GetBackgroundVolumeID() or "") is None for node in composites_of(scene))

    def show(self, volumeNode: Any) -> None:
        """Show a scan in all views."""
        self._known = volumeNode
        show_scan(slicer.mrmlScene, volumeNode)

    def forget(self) -> None:
        """The scene closes: the next scan is a new one."""
        self._known = None

    def cleanup(self) -> None:
        """Observe nothing any more."""
        self._timer.stop()
        self.removeObservers()

    def _onModified(self, caller: Any, event: Any) -> None:
        self._timer.start()
