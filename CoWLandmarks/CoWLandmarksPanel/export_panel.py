"""The section "Export": an annotation as files to hand on, or as a case of a training cohort."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.core.consent import CONSENT_LINE
from CoWLandmarksLib.core.errors import CoWLandmarksError
from CoWLandmarksLib.files.annotation_files import Annotation, FileChoice, writing_annotation
from CoWLandmarksLib.files.case_folder import check_pseudonym, free_pseudonym
from CoWLandmarksLib.scene.annotation_export import adding_to_cohort, annotation_of, identifying_texts
from CoWLandmarksLib.scene.dicom_origin import dicom_origin, from_dicom
from CoWLandmarksLib.scene.nodes import volume_node_of
from CoWLandmarksLib.scene.review import Review
from slicer.i18n import tr as _

from .dicom_setup import ensureHighdicom, fileForInstance
from .panel_widgets import loadedInto
from .review_panel import INITIALS
from .stepwise import Stepwise

_BREAK = "\u200b"
"""Where a line may end, between the parts of a long path; nothing is drawn."""
FILES_FOLDER, COHORT_FOLDER = "CoWLandmarks/ExportFolder", "CoWLandmarks/CohortFolder"


class ExportPanel:
    """Writes a little at a time, so that the application stays alive; a second click on the button breaks it off."""

    def __init__(self, parentWidget: Any, anatomy: Anatomy) -> None:
        self.ui = loadedInto(parentWidget, "Export")
        self._anatomy = anatomy
        self._markups: Any | None = None
        self._work = Stepwise(self._onProgress, self._onEnd)
        self._button: Any | None = None
        self._target = ""
        self._namesPatient = False
        ui = self.ui
        for edit, key in ((ui.folderEdit, FILES_FOLDER), (ui.cohortEdit, COHORT_FOLDER)):
            edit.filters = ctk.ctkPathLineEdit.Dirs
            edit.currentPath = str(qt.QSettings().value(key, "") or "")
        ui.consentLabel.text = _(CONSENT_LINE)
        ui.cohortEdit.connect("currentPathChanged(QString)", self._onCohort)
        for box in (*self._fileBoxes(), ui.consentCheckBox):
            box.connect("toggled(bool)", self._onChoice)
        ui.filesButton.connect("clicked(bool)", self._onFiles)
        ui.cohortButton.connect("clicked(bool)", self._onAdd)
        self._onCohort()
        self._showMessage("")

    @property
    def running(self) -> bool:
        """Whether something is being written."""
        return self._work.running

    def setDetection(self, markupsNode: Any | None) -> None:
        """Export this detection from now on (None: none)."""
        if markupsNode is not self._markups:
            self._showMessage("")
            self.ui.fileNameEdit.text = self.ui.caseEdit.text = self.ui.patientEdit.text = ""
            self.ui.consentCheckBox.checked = self.ui.dicomCheckBox.checked = False
        self._markups = markupsNode
        self.refresh()

    def cleanup(self) -> None:
        """Break off what is being written; nothing half-written remains."""
        self._work.cancel()
        self._markups = None
        self.refresh()

    def refresh(self) -> None:
        """Show what is possible now."""
        if self._markups is not None and self._markups.GetScene() is None:
            self._markups = None
        ui = self.ui
        ui.exportEmptyLabel.visible = self._markups is None and not self.running
        ui.exportFrame.visible = self._markups is not None or self.running
        ui.exportProgressBar.visible = self.running
        scan = None if self._markups is None else volume_node_of(self._markups)
        ui.dicomCheckBox.enabled = from_dicom(scan)
        if not ui.dicomCheckBox.enabled:
            ui.dicomCheckBox.checked = False
        for button, text, possible in (
            (ui.filesButton, _("Export files"), any(box.checked for box in self._fileBoxes())),
            (ui.cohortButton, _("Add to training cohort"), ui.consentCheckBox.checked),
        ):
            mine = self.running and button is self._button
            button.text = _("Cancel") if mine else text
            button.enabled = mine or (possible and not self.running)

    def _fileBoxes(self) -> tuple[Any, ...]:
        ui = self.ui
        return ui.landmarksCheckBox, ui.tablesCheckBox, ui.segmentationCheckBox, ui.dicomCheckBox

    def _freeCase(self) -> str:
        cohort = self.ui.cohortEdit.currentPath.strip()
        return free_pseudonym(Path(cohort)) if cohort else "case-001"

    def _onCohort(self, path: str = "") -> None:
        self.ui.caseEdit.placeholderText = self._freeCase()
        self.refresh()

    def _onChoice(self, checked: bool = False) -> None:
        self.refresh()

    def _onFiles(self, checked: bool = False) -> None:
        ui = self.ui
        if self._stopped():
            return
        folder, name = ui.folderEdit.currentPath.strip(), ui.fileNameEdit.text.strip()
        if not folder or not name:
            self._showMessage(_("Choose a folder and a name for the files."))
            return
        try:
            check_pseudonym(name, identifying_texts(volume_node_of(self._markups)))
            choice = self._choice()
            if choice is None:
                self._showMessage(_("Nothing was written: without highdicom leave out the DICOM files."))
                return
            annotation = annotation_of(self._markups, self._anatomy)
            there = [path.name for path in choice.files(Path(folder), name, annotation) if path.exists()]
        except CoWLandmarksError as error:
            self._showMessage(str(error))
            return
        if there and not self._mayReplace(there):
            self._showMessage(_("Nothing was written: {files} exist already.").format(files=", ".join(there)))
            return
        qt.QSettings().setValue(FILES_FOLDER, folder)
        self._start(ui.filesButton, self._writing(Path(folder), name, annotation, choice, bool(there)), folder)

    def _choice(self) -> FileChoice | None:
        """The files that are wanted; None where the package for DICOM is missing and not to be installed."""
        ui, dicom = self.ui, None
        if ui.dicomCheckBox.checked:
            dicom = dicom_origin(self._markups, fileForInstance())
            if not ensureHighdicom():
                return None
        return FileChoice(
            ui.landmarksCheckBox.checked, ui.tablesCheckBox.checked, ui.segmentationCheckBox.checked, dicom
        )

    def _writing(
        self, folder: Path, name: str, annotation: Annotation, choice: FileChoice, overwrite: bool
    ) -> Iterator[float]:
        return writing_annotation(folder, name, annotation, self._anatomy, choice, overwrite=overwrite)

    def _onAdd(self, checked: bool = False) -> None:
        ui = self.ui
        if self._stopped():
            return
        cohort = ui.cohortEdit.currentPath.strip()
        if not cohort:
            self._showMessage(_("Choose the folder of the cohort."))
            return
        case, patient = ui.caseEdit.text.strip() or self._freeCase(), ui.patientEdit.text.strip()
        qt.QSettings().setValue(COHORT_FOLDER, cohort)
        initials = str(qt.QSettings().value(INITIALS, "") or "")
        steps = adding_to_cohort(self._markups, self._anatomy, Path(cohort), case, patient, initials)
        self._start(ui.cohortButton, steps, str(Path(cohort) / case))

    def _mayReplace(self, files: list[str]) -> bool:
        question = _("Replace {files}?").format(files=", ".join(files))
        return bool(slicer.util.confirmOkCancelDisplay(question, windowTitle=_("CoW Landmarks")))

    def _stopped(self) -> bool:
        """Break off what is being written, if anything is."""
        if not self.running:
            return False
        self._work.cancel()
        self._showMessage(_("Broken off; nothing half-written remains."))
        self.refresh()
        return True

    def _start(self, button: Any, steps: Iterator[float], target: str) -> None:
        self._button, self._target = button, target
        self._namesPatient = button is self.ui.filesButton and self.ui.dicomCheckBox.checked
        self.ui.exportProgressBar.value = 0
        self._showMessage("")
        self._work.start(steps)
        self.refresh()

    def _onProgress(self, fraction: float) -> None:
        self.ui.exportProgressBar.value = round(100 * fraction)

    def _onEnd(self, error: str | None) -> None:
        self._showMessage(error or self._report())
        if error is None and self._button is self.ui.cohortButton:
            self.ui.caseEdit.text = ""
        self._onCohort()

    def _report(self) -> str:
        place = self._target.replace("/", f"/{_BREAK}").replace("\\", f"\\{_BREAK}")
        message = _("Written to {place}.").format(place=place)
        if self._namesPatient:
            message += " " + _("The DICOM files name the patient as the scan does.")
        if self._markups is None or self._markups.GetScene() is None:
            return message
        done, count = Review(self._markups, self._anatomy).progress()
        if done < count:
            message += " " + _("Only {done} of {count} landmarks are reviewed.").format(done=done, count=count)
        return message

    def _showMessage(self, text: str) -> None:
        self.ui.exportMessageLabel.text = text
        self.ui.exportMessageLabel.visible = bool(text)
