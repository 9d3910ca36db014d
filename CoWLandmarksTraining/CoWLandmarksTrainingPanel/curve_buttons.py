"""The buttons that draw the curves of a training in the plot view of the layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from CoWLandmarksTrainingLib.panel.log_following import FollowedTraining
from CoWLandmarksTrainingLib.panel.scene_plots import DISCRIMINATOR, LOSS, VALIDATION, TrainingCurves
from slicer.i18n import tr as _


class CurveButtons:
    """Curves come into the scene when they are asked for; one that has no figures yet is shown with its first."""

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self._curves = TrainingCurves(slicer.mrmlScene)
        self._log: FollowedTraining | None = None
        self._drawn: Path | None = None
        self._wanted = False
        self._awaited: str | None = None
        self._active = False
        self._buttons = {LOSS: ui.lossButton, VALIDATION: ui.validationButton, DISCRIMINATOR: ui.discriminatorButton}
        for which, button in self._buttons.items():
            button.connect("clicked(bool)", lambda checked=False, which=which: self.show(which))

    def follow(self, log: FollowedTraining | None, wanted: bool = False) -> None:
        """Belong to another training; `wanted`: its curves come into the scene as they grow."""
        self._log, self._wanted, self._awaited = log, wanted, None

    def sceneCloses(self) -> None:
        """The curves go with the scene; they come back with their buttons."""
        self._wanted, self._awaited = False, None

    def refresh(self, known: bool, active: bool) -> None:
        """Show the buttons where the steps of a training are `known`; `active`: figures may still come."""
        self._active = active
        for widget in (self._ui.curvesLabel, *self._buttons.values()):
            widget.visible = known
        note = self._note() if known else ""
        self._ui.curvesNoteLabel.text = note
        self._ui.curvesNoteLabel.visible = bool(note)

    def update(self) -> None:
        """The log has grown."""
        if not self._wanted or self._log is None:
            return
        if self._drawn != self._log.folder:
            self._curves.clear()
            self._drawn = self._log.folder
        self._curves.update(self._log)
        chart = None if self._awaited is None else self._curves.chart(self._awaited)
        if chart is not None:
            self._curves.fit(self._awaited)
            self._awaited = None
            slicer.modules.plots.logic().ShowChartInLayout(chart)

    def show(self, which: str) -> None:
        """Show a chart with all of its curve in sight, now or as soon as it has figures."""
        self._wanted, self._awaited = True, which
        self.update()
        self.refresh(True, self._active)

    def _note(self) -> str:
        if self._awaited is None:
            return ""
        name = self._buttons[self._awaited].text
        if self._active:
            return _("'{name}' has no figures yet; it is shown as soon as they come.").format(name=name)
        return _("This training has no figures of '{name}'.").format(name=name)
