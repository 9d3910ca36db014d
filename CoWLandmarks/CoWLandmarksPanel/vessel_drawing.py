"""How the vessels are drawn in 3-D after a detection: by volume rendering only where a graphics card does it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import slicer
from CoWLandmarksLib.scene.vessel_rendering import (
    SLOW_FRAME_SECONDS,
    draws_in_software,
    hide_vessels,
    renderer_name,
    show_vessels,
)
from slicer.i18n import tr as _

from .machine_settings import MachineSettings


class VesselDrawing:
    """Shows the vessels of a scan as this computer can, and the settings say."""

    def __init__(self, settings: MachineSettings) -> None:
        self._settings = settings

    def show(self, volumeNode: Any, markupsNode: Any) -> str:
        """Draw the vessels round the points; returns a sentence where volume rendering is left out, else nothing."""
        choice = self._settings.volumeRendering
        reason = self._reasonAgainst() if choice == "auto" else ""
        if choice == "off" or reason is None or reason:
            hide_vessels(volumeNode.GetScene())
            return reason or ""
        show_vessels(slicer.modules.volumerendering.logic(), volumeNode, markupsNode)
        return ""

    def _reasonAgainst(self) -> str | None:
        """Why volume rendering would be slow here, nothing where it would not; None where no 3-D view is shown."""
        views = list(_shownViews())
        if not views:
            return None
        for view in views:
            name, seconds = _renderer(view)
            if draws_in_software(name):
                return _(
                    "3-D is drawn without a graphics card here ({name}): the arteries are shown as surfaces, without "
                    "volume rendering, which would stop the window for a minute (Advanced: Volume rendering)."
                ).format(name=name)
            if seconds > SLOW_FRAME_SECONDS:
                return _(
                    "3-D is slow here ({milliseconds} ms a frame): the arteries are shown as surfaces, without volume "
                    "rendering (Advanced: Volume rendering)."
                ).format(milliseconds=round(1000 * seconds))
        return ""


def _shownViews() -> Iterator[Any]:
    layoutManager = slicer.app.layoutManager()
    for number in range(0 if layoutManager is None else layoutManager.threeDViewCount):
        view = layoutManager.threeDWidget(number).threeDView()
        if view.visible:
            yield view


def _renderer(view: Any) -> tuple[str, float]:
    """Name of what draws a view, and seconds of a frame: 0 where there is a name."""
    window = view.renderWindow()
    if window.GetNeverRendered():
        view.forceRender()  # before, there is nothing to ask
    name = renderer_name(window.ReportCapabilities())
    if name:
        return name, 0.0
    started = time.perf_counter()
    view.forceRender()
    return "", time.perf_counter() - started
