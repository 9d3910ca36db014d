"""Choices most people never need: kind of scan, device, decoding, drawing, and the model with its description."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from CoWLandmarksLib.jobs.job_queue import DetectOptions
from slicer.i18n import tr as _

from .machine_settings import MachineSettings
from .panel_widgets import choose, chosenKey, fillComboBox, loadedInto


class AdvancedPanel:
    """The section "Advanced"; `onShowDescription` fetches the text for `showDescription`."""

    def __init__(self, parentWidget: Any, settings: MachineSettings, defaultModel: Path) -> None:
        self.ui = loadedInto(parentWidget, "Advanced")
        self.onShowDescription: Callable[[Path], None] = lambda path: None
        self.onModalityChanged: Callable[[str], None] = lambda modality: None
        self.onDecodingChanged: Callable[[str], None] = lambda decoding: None
        self.onVolumeRenderingChanged: Callable[[], None] = lambda: None
        self._settings = settings
        self._defaultModel = defaultModel
        ui = self.ui
        fillComboBox(
            ui.modalityComboBox, (("auto", _("Recognise it")), ("mra", _("MRA (time of flight)")), ("cta", _("CTA")))
        )
        fillComboBox(
            ui.deviceComboBox,
            (
                ("auto", _("Graphics card, if there is one")),
                ("cpu", _("CPU")),
                ("cuda", _("NVIDIA graphics card (CUDA)")),
                ("mps", _("Apple graphics (MPS)")),
            ),
        )
        fillComboBox(
            ui.decodingComboBox, (("subvoxel", _("Between voxels")), ("argmax", _("Brightest voxel (argmax)")))
        )
        fillComboBox(
            ui.renderingComboBox,
            (("auto", _("If a graphics card draws")), ("on", _("Always")), ("off", _("Never: surfaces only"))),
        )
        choose(ui.deviceComboBox, settings.device)
        choose(ui.renderingComboBox, settings.volumeRendering)
        ui.modelFileEdit.currentPath = "" if settings.modelFile is None else str(settings.modelFile)
        ui.modalityComboBox.connect("currentIndexChanged(int)", self._onModality)
        ui.decodingComboBox.connect("currentIndexChanged(int)", self._onDecoding)
        ui.deviceComboBox.connect("currentIndexChanged(int)", self._onDevice)
        ui.renderingComboBox.connect("currentIndexChanged(int)", self._onRendering)
        ui.modelFileEdit.connect("currentPathChanged(QString)", self._onModelFile)
        ui.modelFileEdit.connect("validInputChanged(bool)", self._onValidInput)
        ui.defaultModelButton.connect("clicked(bool)", self._onDefaultModel)
        parentWidget.connect("contentsCollapsed(bool)", self._onCollapsed)
        self._shown: Path | None = None
        self._showModelName(settings.modelFile)

    def setChoices(self, modality: str, decoding: str) -> None:
        """Show what the scene holds."""
        choose(self.ui.modalityComboBox, modality)
        choose(self.ui.decodingComboBox, decoding)

    def options(self, arteries: bool, heatmaps: bool) -> DetectOptions:
        """What is chosen, for a detection."""
        return DetectOptions(
            modality=chosenKey(self.ui.modalityComboBox),
            device=self._settings.device,
            decoding=chosenKey(self.ui.decodingComboBox),
            model=self._settings.modelFile,
            arteries=arteries,
            heatmaps=heatmaps,
        )

    def refresh(self) -> None:
        """Show the settings, which another module may have changed meanwhile."""
        path = self._settings.modelFile
        self.ui.modelFileEdit.currentPath = "" if path is None else str(path)
        choose(self.ui.deviceComboBox, self._settings.device)
        choose(self.ui.renderingComboBox, self._settings.volumeRendering)

    def showDescription(self, path: Path, text: str) -> None:
        """Show the description of a model file, or why there is none."""
        if path == self._shown:
            self.ui.modelDescriptionText.plainText = text

    def _showModelName(self, path: Path | None) -> None:
        self.ui.modelNameLabel.text = (
            _("Model: the default that comes with the extension.")
            if path is None
            else _("Model: your own, {name}.").format(name=path.name)
        )

    def _fetchDescription(self, path: Path) -> None:
        if path == self._shown:
            return
        self._shown = path
        if not path.is_file():
            self.showDescription(path, _("This file does not exist; choose another one, or the default."))
            return
        self.showDescription(path, _("Reading the model..."))
        self.onShowDescription(path)

    def _onCollapsed(self, collapsed: bool) -> None:
        if not collapsed:
            self._fetchDescription(self._settings.modelFile or self._defaultModel)

    def _onModality(self, index: int) -> None:
        self.onModalityChanged(chosenKey(self.ui.modalityComboBox))

    def _onDecoding(self, index: int) -> None:
        self.onDecodingChanged(chosenKey(self.ui.decodingComboBox))

    def _onDevice(self, index: int) -> None:
        self._settings.device = chosenKey(self.ui.deviceComboBox)

    def _onRendering(self, index: int) -> None:
        choice = chosenKey(self.ui.renderingComboBox)
        if choice != self._settings.volumeRendering:
            self._settings.volumeRendering = choice
            self.onVolumeRenderingChanged()

    def _onModelFile(self, text: str) -> None:
        path = Path(text.strip()) if text.strip() else None
        self._settings.modelFile = path
        self._showModelName(path)
        self._fetchDescription(path or self._defaultModel)

    def _onValidInput(self, valid: bool) -> None:
        self._onModelFile(self.ui.modelFileEdit.currentPath)

    def _onDefaultModel(self, checked: bool = False) -> None:
        self.ui.modelFileEdit.currentPath = ""
        self._onModelFile("")  # the line may keep silent about a path that is none
