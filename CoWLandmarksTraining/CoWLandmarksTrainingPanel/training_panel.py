"""The whole panel: cases, alignment, training and evaluation, and what they tell each other."""

from __future__ import annotations

from typing import Any

from .alignment_section import AlignmentSection
from .cases_section import CasesSection
from .evaluation_section import EvaluationSection
from .local_settings import LocalSettings
from .training_section import TrainingSection


class TrainingPanel:
    """`ui` are the widgets of CoWLandmarksTraining.ui."""

    def __init__(self, ui: Any) -> None:
        settings = LocalSettings()
        self.parameterNode = None
        self.cases = CasesSection(ui, settings)
        self.alignment = AlignmentSection(ui, settings)
        self.training = TrainingSection(ui, settings)
        self.evaluation = EvaluationSection(ui, settings)
        self.alignment.folders = lambda: self.cases.folders
        self.alignment.cohort = lambda: self.cases.cohort
        self.alignment.onOpen = self.cases.openCase
        self.training.aligned = lambda: self.alignment.aligned
        self.evaluation.folders = lambda: self.cases.folders
        self.evaluation.device = lambda: self.training.choices.device
        self.evaluation.trainedModel = lambda: self.training.modelFile
        self.cases.onChanged = self._onCases
        self.alignment.onChanged = self.training.refresh
        self.alignment.onMethod = lambda method: self._keep("alignBy", method)
        self.training.choices.onPreset = lambda preset: self._keep("preset", preset)
        self.training.choices.onModality = lambda modality: self._keep("modality", modality)
        self.training.onFolder = self.evaluation.suggestModel
        self.training.onEnd = self.evaluation.suggestModel
        self.refresh()

    def setParameterNode(self, parameterNode: Any) -> None:
        """Show and keep the choices of a scene (None: of none)."""
        self.parameterNode = parameterNode
        if parameterNode is not None:
            self.alignment.setMethod(parameterNode.alignBy)
            self.training.choices.setChoices(parameterNode.preset, parameterNode.modality)
            self.training.refresh()

    def refresh(self) -> None:
        """Show what is the case now, in all sections."""
        self.cases.refresh()
        self.alignment.showTemplates()
        self.training.advance()
        self.training.refresh()
        self.evaluation.suggestModel()

    def sceneCloses(self) -> None:
        """The scene is about to be closed."""
        self.training.sceneCloses()

    def cleanup(self) -> None:
        """End what belongs to this panel; a training goes on."""
        self.parameterNode = None
        for section in (self.cases, self.alignment, self.training, self.evaluation):
            section.cleanup()

    def _onCases(self) -> None:
        self.alignment.showTemplates()
        self.evaluation.suggestModel()

    def _keep(self, name: str, value: str) -> None:
        if self.parameterNode is not None:
            setattr(self.parameterNode, name, value)
