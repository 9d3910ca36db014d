"""The whole panel: cases, alignment, training and evaluation, and what they tell each other."""

from __future__ import annotations

from typing import Any

from CoWLandmarksPanel.section_guard import SectionGuard

from .alignment_section import AlignmentSection
from .cases_section import CasesSection
from .evaluation_section import EvaluationSection
from .local_settings import LocalSettings
from .training_section import TrainingSection


class TrainingPanel:
    """`ui` are the widgets of CoWLandmarksTraining.ui."""

    def __init__(self, ui: Any) -> None:
        settings = LocalSettings()
        self._guard = SectionGuard(ui.sectionErrorLabel)
        self._titles = tuple(
            button.text
            for button in (
                ui.casesCollapsibleButton,
                ui.alignCollapsibleButton,
                ui.trainCollapsibleButton,
                ui.evaluateCollapsibleButton,
            )
        )
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
        self.training.choices.onKept = self._keep
        self.training.choices.defaultLandmarks = lambda: self.alignment.defaultLandmarks
        self.training.onFolder = self.evaluation.suggestModel
        self.training.guarded = lambda step: self._guard.call(ui.trainCollapsibleButton.text, step)
        self.training.onEnd = self.evaluation.suggestModel
        self.refresh()

    def setParameterNode(self, parameterNode: Any) -> None:
        """Show and keep the choices of a scene (None: of none)."""
        self.parameterNode = parameterNode
        if parameterNode is not None:
            self.alignment.setMethod(parameterNode.alignBy)
            self.training.choices.setChoices(parameterNode.preset, parameterNode.modality, parameterNode.beginFrom)
            self.training.refresh()

    def refresh(self) -> None:
        """Show what is the case now, in all sections."""
        cases, alignment, training, evaluation = self._titles
        for title, step in (
            (cases, self.cases.refresh),
            (alignment, self.alignment.showTemplates),
            (training, self.training.advance),
            (training, self.training.refresh),
            (evaluation, self.evaluation.suggestModel),
        ):
            self._guard.call(title, step)

    def sceneCloses(self) -> None:
        """The scene is about to be closed."""
        self.training.sceneCloses()

    def cleanup(self) -> None:
        """End what belongs to this panel; a training goes on."""
        self.parameterNode = None
        sections = (self.cases, self.alignment, self.training, self.evaluation)
        for title, section in zip(self._titles, sections, strict=True):
            self._guard.call(title, section.cleanup)

    def _onCases(self) -> None:
        self.alignment.showTemplates()
        self.evaluation.suggestModel()

    def _keep(self, name: str, value: str) -> None:
        if self.parameterNode is not None:
            setattr(self.parameterNode, name, value)
