"""What belongs to this computer and not to a scene: folders of cases and trainings, a model file, and the device."""

from __future__ import annotations

from CoWLandmarksPanel.machine_settings import MachineSettings

MRA_FOLDER = "CoWLandmarksTraining/MraFolder"
CTA_FOLDER = "CoWLandmarksTraining/CtaFolder"
ALIGNED_FOLDER = "CoWLandmarksTraining/AlignedFolder"
OUTPUT_FOLDER = "CoWLandmarksTraining/OutputFolder"
START_FILE = "CoWLandmarksTraining/StartFile"
DEVICE = "CoWLandmarksTraining/Device"


class LocalSettings:
    """Texts in the application's settings; the training folder is how a training is found again."""

    def __init__(self) -> None:
        self.machine = MachineSettings()

    def text(self, key: str) -> str:
        """A setting, empty where there is none."""
        return self.machine.text(key)

    def setText(self, key: str, text: str) -> None:
        """Keep a setting where it is new."""
        if self.machine.text(key) != text:
            self.machine.setText(key, text)
