"""What a training is to be: preset, data, begin, parameters, device and folder, and the command line they mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
from CoWLandmarksPanel.panel_widgets import choose, chosenKey, chosenPath, fillComboBox
from CoWLandmarksTrainingLib.config.presets import PRESETS
from CoWLandmarksTrainingLib.config.settings import DEFAULT_START
from CoWLandmarksTrainingLib.config.training_plan import explanation
from CoWLandmarksTrainingLib.panel.training_command import NOTHING, TrainingChoices
from slicer.i18n import tr as _

from .local_settings import DEVICE, OUTPUT_FOLDER, START_FILE, LocalSettings

_FILE = "file"

PARAMETERS = {
    "coarseSteps": ("coarse.steps", "coarseStepsSpinBox"),
    "circleSteps": ("circle.steps", "circleStepsSpinBox"),
    "fineSteps": ("fine.steps", "fineStepsSpinBox"),
    "adversarialSteps": ("fine.adversarial_steps", "adversarialStepsSpinBox"),
    "adversarialWeight": ("discriminator.weight", "lambdaSpinBox"),
    "gradientShare": ("discriminator.gradient_share", "gradientShareSpinBox"),
    "learningRate": ("fine.learning_rate", "learningRateSpinBox"),
    "batchSize": ("fine.batch_size", "batchSizeSpinBox"),
    "alpha": ("fine.alpha", "alphaSpinBox"),
    "sigma": ("fine.sigma_mm", "sigmaSpinBox"),
    "seed": ("training.seed", "seedSpinBox"),
    "coordinates": ("discriminator.coordinates", "coordinatesCheckBox"),
    "distance": ("discriminator.distance", "distanceCheckBox"),
}
"""Field of the parameter node -> (setting of the trainer, widget)."""


class TrainingChoicesPanel:
    """The upper part of the section "Training". `onChanged` is called when a choice has changed, `onFolder` when the
    training folder has; `onKept` tells the parameter node; `defaultLandmarks` says whether the aligned cases have the
    landmarks that phantoms have."""

    def __init__(self, ui: Any, settings: LocalSettings) -> None:
        self._ui, self._settings = ui, settings
        self.onChanged: Callable[[], None] = lambda: None
        self.onFolder: Callable[[], None] = lambda: None
        self.onKept: Callable[[str, str], None] = lambda field, value: None
        self.defaultLandmarks: Callable[[], bool] = lambda: False
        fillComboBox(
            ui.presetComboBox,
            (
                ("cpu", _("CPU: an hour or two on two cores")),
                ("gpu", _("Graphics card: the same, far longer")),
                ("paper", _("Paper: as published; graphics card")),
                ("payer", _("Payer et al. 2019, to compare; graphics card")),
                ("noothout", _("Noothout et al. 2020, to compare; graphics card")),
            ),
        )
        fillComboBox(
            ui.modalityComboBox,
            (
                ("mra-cta", _("MRA scans + CTA landmarks (paper)")),
                ("mra", _("MRA scans only")),
                ("both", _("MRA and CTA scans, one model for both")),
                ("cta-mra", _("CTA scans + MRA landmarks")),
                ("cta", _("CTA scans only")),
            ),
        )
        fillComboBox(
            ui.startComboBox,
            (
                (NOTHING, _("nothing (random weights)")),
                (DEFAULT_START, _("the model that ships")),
                (_FILE, _("a model file")),
            ),
            DEFAULT_START,
        )
        ui.startFileEdit.filters = ctk.ctkPathLineEdit.Files
        ui.startFileEdit.nameFilters = ["*.cow.pt"]
        ui.startFileEdit.currentPath = settings.text(START_FILE)
        fillComboBox(
            ui.deviceComboBox,
            (
                ("auto", _("Graphics card, if there is one")),
                ("cpu", _("CPU")),
                ("cuda", _("NVIDIA graphics card (CUDA)")),
            ),
            settings.text(DEVICE) or "auto",
        )
        ui.outputFolderEdit.filters = ctk.ctkPathLineEdit.Dirs
        ui.outputFolderEdit.currentPath = settings.text(OUTPUT_FOLDER)
        for setting, name in PARAMETERS.values():
            widget = getattr(ui, name)
            widget.toolTip = explanation(setting)
            kinds = {bool: "toggled(bool)", int: "valueChanged(int)", float: "valueChanged(double)"}
            widget.connect(kinds[type(PRESETS["cpu"].value(setting))], self._onValue)
        ui.phantomSpinBox.connect("valueChanged(int)", self._onValue)
        ui.presetComboBox.connect("currentIndexChanged(int)", self._onPreset)
        ui.modalityComboBox.connect("currentIndexChanged(int)", self._onModality)
        ui.startComboBox.connect("currentIndexChanged(int)", self._onStart)
        ui.startFileEdit.connect("currentPathChanged(QString)", self._onStartFile)
        ui.deviceComboBox.connect("currentIndexChanged(int)", self._onDevice)
        ui.outputFolderEdit.connect("currentPathChanged(QString)", self._onFolder)
        ui.presetValuesButton.connect("clicked(bool)", self._onPresetValues)
        self._showPresetValues()

    @property
    def output(self) -> Path | None:
        """The training folder; None where none is chosen."""
        return chosenPath(self._ui.outputFolderEdit)

    @property
    def device(self) -> str:
        """ "auto", "cpu" or "cuda"."""
        return chosenKey(self._ui.deviceComboBox)

    @property
    def missing(self) -> str:
        """What is still to be chosen, as a sentence; empty where nothing is."""
        path = chosenPath(self._ui.startFileEdit)
        if chosenKey(self._ui.startComboBox) != _FILE or (path is not None and path.is_file()):
            return ""
        if path is None:
            return _("Choose the model file to begin from.")
        return _("There is no file '{file}' to begin from.").format(file=path.name)

    def choices(self, aligned: Path, out: Path) -> TrainingChoices:
        """What is chosen."""
        start, file = chosenKey(self._ui.startComboBox), self._ui.startFileEdit.currentPath.strip()
        return TrainingChoices(
            aligned=aligned,
            out=out,
            preset=chosenKey(self._ui.presetComboBox),
            modality=chosenKey(self._ui.modalityComboBox),
            device=self.device,
            values={
                "training.start_from": {NOTHING: "", _FILE: file}.get(start, start),
                "data.phantom_share": 0.0 if self._noPhantoms() else self._ui.phantomSpinBox.value / 100,
                **{setting: self._value(name) for setting, name in PARAMETERS.values()},
            },
        )

    def plan(self) -> dict[str, Any]:
        """All settings of what is chosen."""
        return self.choices(Path(), Path()).plan()

    def setChoices(self, preset: str, modality: str, start: str) -> None:
        """Show what the scene holds; the parameters come by their connection to the parameter node."""
        choose(self._ui.presetComboBox, preset)
        choose(self._ui.modalityComboBox, modality)
        choose(self._ui.startComboBox, start)

    def refresh(self, enabled: bool) -> None:
        """Show what can be chosen; `enabled`: whether anything can be changed. The folder always can."""
        ui = self._ui
        for widget in (
            ui.presetComboBox,
            ui.modalityComboBox,
            ui.startComboBox,
            ui.startFileEdit,
            ui.deviceComboBox,
            ui.parametersGroupBox,
        ):
            widget.enabled = enabled
        ui.startFileLabel.visible = ui.startFileEdit.visible = chosenKey(ui.startComboBox) == _FILE
        reason = self._noPhantoms()
        ui.phantomSpinBox.enabled = enabled and not reason
        ui.phantomSpinBox.toolTip = reason or explanation("data.phantom_share")
        ui.circleStepsSpinBox.enabled = "circle" in PRESETS[chosenKey(ui.presetComboBox)].training.stages
        ui.gradientShareSpinBox.enabled = ui.lambdaSpinBox.value == 0

    def _noPhantoms(self) -> str:
        """Why there can be no phantoms beside the scans; empty where there can."""
        if min(PRESETS[chosenKey(self._ui.presetComboBox)].fine.window) == 0:
            return _("Phantoms are made for networks that read windows; this preset reads the whole crop.")
        if not self.defaultLandmarks():
            return _("Phantoms have the 19 landmarks of the paper; choose aligned cases with these.")
        return ""

    def _value(self, name: str) -> Any:
        widget = getattr(self._ui, name)
        if name.endswith("CheckBox"):
            return bool(widget.checked)
        return widget.value

    def _showPresetValues(self) -> None:
        plan = PRESETS[chosenKey(self._ui.presetComboBox)]
        for setting, name in PARAMETERS.values():
            widget, value = getattr(self._ui, name), plan.value(setting)
            if name.endswith("CheckBox"):
                widget.checked = value
            else:
                widget.value = value

    def _onValue(self, value: Any = None) -> None:
        self.onChanged()

    def _onPreset(self, index: int) -> None:
        preset = chosenKey(self._ui.presetComboBox)
        self.onKept("preset", preset)
        if chosenKey(self._ui.startComboBox) != _FILE:  # the model that ships is none of the paper's method
            start = NOTHING if min(PRESETS[preset].fine.window) == 0 else DEFAULT_START
            choose(self._ui.startComboBox, start)
            self.onKept("beginFrom", start)
        self._onPresetValues()

    def _onPresetValues(self, checked: bool = False) -> None:
        self._showPresetValues()
        self.onChanged()

    def _onModality(self, index: int) -> None:
        self.onKept("modality", chosenKey(self._ui.modalityComboBox))
        self.onChanged()

    def _onStart(self, index: int) -> None:
        self.onKept("beginFrom", chosenKey(self._ui.startComboBox))
        self.onChanged()

    def _onStartFile(self, path: str = "") -> None:
        self._settings.setText(START_FILE, self._ui.startFileEdit.currentPath.strip())
        self.onChanged()

    def _onDevice(self, index: int) -> None:
        self._settings.setText(DEVICE, self.device)
        self.onChanged()

    def _onFolder(self, path: str = "") -> None:
        self._settings.setText(OUTPUT_FOLDER, self._ui.outputFolderEdit.currentPath.strip())
        self.onFolder()
