"""3D Slicer module "CoW Landmarks": the 19 landmarks of the Circle of Willis on a brain angiogram."""

from __future__ import annotations

import shutil
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)


class CoWLandmarks(ScriptedLoadableModule):
    """What the module list and the help section show."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("CoW Landmarks")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Quantification")]
        self.parent.dependencies = []
        self.parent.contributors = ["CoW Landmarks contributors"]
        self.parent.helpText = _(
            "Finds the 19 landmarks that divide the Circle of Willis into 20 arteries, "
            "on brain MR and CT angiograms.<br>"
            "<b>For research only. This is not a medical device and must not be used for diagnosis or treatment.</b>"
        )
        self.parent.acknowledgementText = _(
            "The method follows Tan et al., IEEE International Symposium on Biomedical Imaging (ISBI) 2023. "
            "Anatomical statistics are derived in part from GNN-ART-LABEL (Chen et al., MICCAI 2020) and AICAL, "
            "both under the Apache License 2.0."
        )


class CoWLandmarksWidget(ScriptedLoadableModuleWidget):
    """Says what this version can do and shows the command to type."""

    def setup(self):
        """Build the panel."""
        ScriptedLoadableModuleWidget.setup(self)

        status = qt.QLabel(
            _(
                "This version has no interactive panel yet; it comes with a later version. "
                "Detection runs from the command line, with the command below. It needs PyTorch, which the PyTorch "
                "extension installs. Then drag 'landmarks.mrk.json' from the results folder into Slicer.\n\n"
                "For research only. Not a medical device."
            )
        )
        status.wordWrap = True
        self.layout.addWidget(status)

        self.commandText = qt.QPlainTextEdit(self.commandLine())
        self.commandText.readOnly = True
        self.commandText.maximumHeight = 120
        self.layout.addWidget(self.commandText)
        self.layout.addStretch(1)

    def commandLine(self):
        """The lines that run a detection with Slicer's own Python, for a terminal."""
        python = shutil.which("PythonSlicer") or "PythonSlicer"
        folder = Path(slicer.util.modulePath("CoWLandmarks")).parent
        return (
            f'cd "{folder}"\n'
            f'"{python}" -m CoWLandmarksLib detect "/path/to/scan.nii.gz" --out "/path/to/results" --no-scene'
        )


class CoWLandmarksTest(ScriptedLoadableModuleTest):
    """Self test for Slicer's developer mode and ctest."""

    def runTest(self):
        """Run all tests."""
        self.setUp()
        self.test_TheNumericCoreIsPackagedWithItsAnatomy()
        self.test_ThePanelShowsTheCommand()

    def setUp(self):
        """Start from an empty scene."""
        slicer.mrmlScene.Clear()

    def test_TheNumericCoreIsPackagedWithItsAnatomy(self):
        """The library and its data travelled with the module."""
        from CoWLandmarksLib.anatomy import default_anatomy

        self.assertEqual(len(default_anatomy().landmarks), 19)
        self.assertEqual(len(default_anatomy().arteries), 20)

    def test_ThePanelShowsTheCommand(self):
        """The command that the panel shows names this module's folder."""
        widget = slicer.util.getModuleWidget("CoWLandmarks")
        self.assertIn("-m CoWLandmarksLib detect", widget.commandText.plainText)
