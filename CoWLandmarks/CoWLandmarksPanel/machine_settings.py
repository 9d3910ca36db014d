"""What belongs to this computer and not to a scene, kept in the application's settings."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import qt
import slicer
from CoWLandmarksLib.jobs.job_queue import DEVICES

MODEL_FILE = "CoWLandmarks/ModelFile"
DEVICE = "CoWLandmarks/Device"
VOLUME_RENDERING = "CoWLandmarks/VolumeRendering"
VOLUME_RENDERING_CHOICES = ("auto", "on", "off")
ALL_LABELS = "CoWLandmarks/AllLabels"
SCAN_FOLDER = "CoWLandmarks/ScanFolder"
RESULT_FOLDER = "CoWLandmarks/ResultFolder"


class MachineSettings:
    """Model file, device, folders and how 3-D views draw; empty texts and missing entries mean the default."""

    @property
    def modelFile(self) -> Path | None:
        """A model file of the user's own; None for the one that is shipped."""
        text = self.text(MODEL_FILE)
        return Path(text) if text else None

    @modelFile.setter
    def modelFile(self, path: Path | None) -> None:
        self.setText(MODEL_FILE, "" if path is None else str(path))

    @property
    def device(self) -> str:
        """One of DEVICES."""
        text = self.text(DEVICE)
        return text if text in DEVICES else "auto"

    @device.setter
    def device(self, name: str) -> None:
        self.setText(DEVICE, name)

    @property
    def volumeRendering(self) -> str:
        """One of VOLUME_RENDERING_CHOICES; "auto": where a graphics card draws."""
        text = self.text(VOLUME_RENDERING)
        return text if text in VOLUME_RENDERING_CHOICES else "auto"

    @volumeRendering.setter
    def volumeRendering(self, choice: str) -> None:
        self.setText(VOLUME_RENDERING, choice)

    @property
    def allLabels(self) -> bool:
        """Whether 3-D views label every landmark, not only the selected and the doubtful."""
        return self.text(ALL_LABELS) == "1"

    @allLabels.setter
    def allLabels(self, everything: bool) -> None:
        self.setText(ALL_LABELS, "1" if everything else "")

    def text(self, key: str) -> str:
        """A setting as text, empty where there is none."""
        return str(qt.QSettings().value(key, "") or "")

    def setText(self, key: str, text: str) -> None:
        """Keep a setting."""
        qt.QSettings().setValue(key, text)


def pythonExecutable() -> str:
    """Slicer's own Python for the command line (PythonSlicer), which knows Slicer's packages.

    Slicer puts its folder on the PATH; where that was changed it lies in `bin` of Slicer's home. A Python outside
    Slicer (the tests) is its own interpreter.
    """
    found = shutil.which("PythonSlicer")
    if found is not None:
        return found
    for name in ("PythonSlicer", "PythonSlicer.exe"):
        path = Path(slicer.app.slicerHome) / "bin" / name
        if path.is_file():
            return str(path)
    return sys.executable
