"""3D Slicer module "CoW Landmarks Training": annotated cohorts, training and evaluation of landmark models."""

from __future__ import annotations

import qt
import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)


class CoWLandmarksTraining(ScriptedLoadableModule):
    """What the module list and the help section show."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("CoW Landmarks Training")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Quantification")]
        self.parent.dependencies = ["CoWLandmarks"]
        self.parent.contributors = ["CoW Landmarks contributors"]
        self.parent.helpText = _(
            "Trains and evaluates models that find the landmarks of the Circle of Willis.<br>"
            "<b>For research only. This is not a medical device and must not be used for diagnosis or treatment.</b>"
        )
        self.parent.acknowledgementText = _(
            "The method follows Tan et al., IEEE International Symposium on Biomedical Imaging (ISBI) 2023. "
            "Anatomical statistics are derived in part from GNN-ART-LABEL (Chen et al., MICCAI 2020) and AICAL, "
            "both under the Apache License 2.0."
        )


class CoWLandmarksTrainingWidget(ScriptedLoadableModuleWidget):
    """Says what this version can do and shows the commands to type."""

    def setup(self):
        """Build the panel."""
        ScriptedLoadableModuleWidget.setup(self)

        status = qt.QLabel(
            _(
                "This version has no interactive panel yet; it comes with a later version. "
                "Synthetic cohorts and the shipped model are made from the command line, outside Slicer, "
                "after 'pip install .' in the source folder of the extension.\n\n"
                "For research only. Not a medical device."
            )
        )
        status.wordWrap = True
        self.layout.addWidget(status)

        self.commandText = qt.QPlainTextEdit("cowlandmarks-train phantom --help\ncowlandmarks-train default --help")
        self.commandText.readOnly = True
        self.commandText.maximumHeight = 120
        self.layout.addWidget(self.commandText)
        self.layout.addStretch(1)


class CoWLandmarksTrainingTest(ScriptedLoadableModuleTest):
    """Self test for Slicer's developer mode and ctest."""

    def runTest(self):
        """Run all tests."""
        self.setUp()
        self.test_TheTrainingLibraryIsPackaged()
        self.test_ThePanelShowsTheCommands()

    def setUp(self):
        """Start from an empty scene."""
        slicer.mrmlScene.Clear()

    def test_TheTrainingLibraryIsPackaged(self):
        """The library travelled with the module."""
        import CoWLandmarksTrainingLib

        self.assertTrue(CoWLandmarksTrainingLib.__doc__)

    def test_ThePanelShowsTheCommands(self):
        """The commands are in the panel."""
        widget = slicer.util.getModuleWidget("CoWLandmarksTraining")
        self.assertIn("cowlandmarks-train", widget.commandText.plainText)
