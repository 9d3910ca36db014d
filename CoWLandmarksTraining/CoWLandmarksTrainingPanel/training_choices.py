"""What a training is to be: preset, modalities, parameters, device and folder, and the command line they mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
from CoWLandmarksPanel.choices import choose, chosenKey, chosenPath, fillComboBox
from CoWLandmarksTrainingLib.preset_values import preset_values
from CoWLandmarksTrainingLib.training_command import TrainingChoices
from slicer.i18n import tr as _

from .local_settings import DEVICE, OUTPUT_FOLDER, LocalSettings

PARAMETERS = {
    "pretrainSteps": ("training.pretrain_steps", "pretrainStepsSpinBox"),
    "adversarialSteps": ("training.adversarial_steps", "adversarialStepsSpinBox"),
    "adversarialWeight": ("discriminator.weight", "lambdaSpinBox"),
    "gradientShare": ("discriminator.gradient_share", "gradientShareSpinBox"),
    "learningRate": ("training.learning_rate", "learningRateSpinBox"),
    "batchSize": ("training.batch_size", "batchSizeSpinBox"),
    "alpha": ("training.alpha", "alphaSpinBox"),
    "sigma": ("generator.sigma_mm", "sigmaSpinBox"),
    "coarseSteps": ("coarse.steps", "coarseStepsSpinBox"),
    "seed": ("training.seed", "seedSpinBox"),
    "coordinates": ("discriminator.coordinates", "coordinatesCheckBox"),
    "distance": ("discriminator.distance", "distanceCheckBox"),
}
"""Field of the parameter node -> (setting of the trainer, widget)."""


class TrainingChoicesPanel:
    """The upper part of the section "Training". `onChanged` is called when a choice has changed, `onFolder` when the
    training folder has; `onPreset` and `onModality` tell the parameter node."""

    def __init__(self, ui: Any, settings: LocalSettings) -> None:
        self._ui, self._settings = ui, settings
        self.onChanged: Callable[[], None] = lambda: None
        self.onFolder: Callable[[], None] = lambda: None
        self.onPreset: Callable[[str], None] = lambda preset: None
        self.onModality: Callable[[str], None] = lambda modality: None
        fillComboBox(
            ui.presetComboBox,
            (
                ("cpu", _("CPU: small network, two cores")),
                ("gpu", _("Fast: one graphics card")),
                ("paper", _("Paper: as published; one graphics card")),
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
            widget.toolTip = preset_values().explanation(setting)
            kinds = {bool: "toggled(bool)", int: "valueChanged(int)", float: "valueChanged(double)"}
            widget.connect(kinds[type(preset_values().value("cpu", setting))], self._onValue)
        ui.presetComboBox.connect("currentIndexChanged(int)", self._onPreset)
        ui.modalityComboBox.connect("currentIndexChanged(int)", self._onModality)
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

    def choices(self, aligned: Path, out: Path) -> TrainingChoices:
        """What is chosen."""
        return TrainingChoices(
            aligned=aligned,
            out=out,
            preset=chosenKey(self._ui.presetComboBox),
            modality=chosenKey(self._ui.modalityComboBox),
            device=self.device,
            values={setting: self._value(name) for setting, name in PARAMETERS.values()},
        )

    def setChoices(self, preset: str, modality: str) -> None:
        """Show what the scene holds; the parameters come by their connection to the parameter node."""
        choose(self._ui.presetComboBox, preset)
        choose(self._ui.modalityComboBox, modality)

    def setEnabled(self, enabled: bool) -> None:
        """Whether the choices can be changed; the folder always can."""
        for box in (self._ui.presetComboBox, self._ui.modalityComboBox, self._ui.deviceComboBox):
            box.enabled = enabled
        self._ui.parametersGroupBox.enabled = enabled

    def _value(self, name: str) -> Any:
        widget = getattr(self._ui, name)
        if name.endswith("CheckBox"):
            return bool(widget.checked)
        return widget.value

    def _showPresetValues(self) -> None:
        preset = chosenKey(self._ui.presetComboBox)
        for setting, name in PARAMETERS.values():
            widget, value = getattr(self._ui, name), preset_values().value(preset, setting)
            if name.endswith("CheckBox"):
                widget.checked = value
            else:
                widget.value = value

    def _onValue(self, value: Any = None) -> None:
        self._ui.gradientShareSpinBox.enabled = self._ui.lambdaSpinBox.value == 0
        self.onChanged()

    def _onPreset(self, index: int) -> None:
        self.onPreset(chosenKey(self._ui.presetComboBox))
        self._onPresetValues()

    def _onPresetValues(self, checked: bool = False) -> None:
        self._showPresetValues()
        self.onChanged()

    def _onModality(self, index: int) -> None:
        self.onModality(chosenKey(self._ui.modalityComboBox))
        self.onChanged()

    def _onDevice(self, index: int) -> None:
        self._settings.setText(DEVICE, self.device)
        self.onChanged()

    def _onFolder(self, path: str = "") -> None:
        self._settings.setText(OUTPUT_FOLDER, self._ui.outputFolderEdit.currentPath.strip())
        self.onFolder()
