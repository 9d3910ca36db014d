"""Many scans at once: all volumes of the scene, or a folder; a table says what became of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
from CoWLandmarksLib.core.errors import CoWLandmarksError
from CoWLandmarksLib.core.scan_files import find_scans
from CoWLandmarksLib.scene.batch_table import BatchRow, add_batch_table, batch_summary
from CoWLandmarksLib.scene.results import scans_of
from slicer.i18n import tr as _

from .batch_runs import FolderBatch, SceneBatch
from .machine_settings import RESULT_FOLDER, SCAN_FOLDER, MachineSettings
from .panel_widgets import loadedInto

PanelBatch = SceneBatch | FolderBatch


class BatchPanel:
    """The section "Many scans".

    `startScene(volumeNodes, onChanged)` and `startFolder(scans, out, onChanged)` make the batch, or return None where
    it cannot start now. `onResult` gets each row that comes, `onOpen` shows the result of one: of one that is
    double-clicked, and at the end of the last in the scene. `onRunningChanged` is called at the start and at the end.
    """

    def __init__(self, parentWidget: Any, settings: MachineSettings) -> None:
        self.ui = loadedInto(parentWidget, "Batch")
        self.startScene: Callable[[Sequence[Any], Callable[[], None]], PanelBatch | None] = lambda nodes, onChanged: (
            None
        )
        self.startFolder: Callable[[Sequence[Path], Path, Callable[[], None]], PanelBatch | None] = (
            lambda scans, out, onChanged: None
        )
        self.onResult: Callable[[BatchRow], None] = lambda row: None
        self.onOpen: Callable[[BatchRow], None] = lambda row: None
        self.onRunningChanged: Callable[[], None] = lambda: None
        self._settings = settings
        self._batch: PanelBatch | None = None
        self._allowed = True
        self._seen = 0
        ui = self.ui
        for edit, key in ((ui.scanFolderEdit, SCAN_FOLDER), (ui.resultFolderEdit, RESULT_FOLDER)):
            edit.filters = ctk.ctkPathLineEdit.Dirs
            edit.currentPath = settings.text(key)
            edit.connect("currentPathChanged(QString)", self._onFolder)
        ui.batchTable.verticalHeader().hide()
        ui.batchTable.horizontalHeader().setStretchLastSection(True)
        ui.sceneRadioButton.connect("toggled(bool)", self._onSource)
        ui.batchButton.connect("clicked(bool)", self._onButton)
        ui.batchTable.connect("cellDoubleClicked(int,int)", self._onDoubleClick)
        self._onSource()
        self._show()

    @property
    def running(self) -> bool:
        """Whether a batch runs."""
        return self._batch is not None and self._batch.running

    def cleanup(self) -> None:
        """Stop what runs, silently."""
        batch = self._batch
        if batch is not None and batch.running:
            self._batch = None
            batch.cancel()
            self.ui.batchLabel.text = ""
            self._show()

    def setEnabled(self, enabled: bool) -> None:
        """Whether a batch may be started now, as far as other work is concerned; looks at the scene anew."""
        self._allowed = enabled
        lack = "" if self.running else self._lack()
        self.ui.batchButton.enabled = not lack
        self.ui.batchButton.toolTip = lack

    def _lack(self) -> str:
        """Why no batch can be started now; empty where one can."""
        ui = self.ui
        if not self._allowed:
            return _("Wait for the detection above, or cancel it.")
        if ui.sceneRadioButton.checked:
            return "" if scans_of(slicer.mrmlScene) else _("Load a brain angiogram first.")
        chosen = ui.scanFolderEdit.currentPath.strip() and ui.resultFolderEdit.currentPath.strip()
        return "" if chosen else _("Choose a folder of scans and a folder for the results.")

    def _onSource(self, checked: bool = True) -> None:
        self.ui.folderFrame.visible = self.ui.folderRadioButton.checked
        self.setEnabled(self._allowed)

    def _onFolder(self, path: str = "") -> None:
        self.setEnabled(self._allowed)

    def _onButton(self, checked: bool = False) -> None:
        if self._batch is not None and self._batch.running:
            self._batch.cancel()
            self.ui.batchLabel.text = _("Cancelling...")
            return
        self._batch, self._seen = None, 0
        try:
            self._batch = self._started()
        except CoWLandmarksError as error:
            self.ui.batchLabel.text = str(error)
            return
        if self._batch is not None:
            self._onChanged()
            self.onRunningChanged()

    def _started(self) -> PanelBatch | None:
        if self.ui.sceneRadioButton.checked:
            return self.startScene(scans_of(slicer.mrmlScene), self._onChanged)
        folder, out = self.ui.scanFolderEdit.currentPath.strip(), self.ui.resultFolderEdit.currentPath.strip()
        self._settings.setText(SCAN_FOLDER, folder)
        self._settings.setText(RESULT_FOLDER, out)
        return self.startFolder(find_scans(Path(folder), Path(out)), Path(out), self._onChanged)

    def _onChanged(self) -> None:
        batch = self._batch
        self._show()
        new = [] if batch is None else batch.rows[self._seen :]
        self._seen += len(new)
        for row in new:
            self.onResult(row)
        if batch is not None and not batch.running and batch.rows:
            add_batch_table(slicer.mrmlScene, batch.rows, "CoW Landmarks batch")
        if batch is not None and not batch.running:
            shown = [row for row in batch.rows if row.markups is not None]
            if shown:
                self.onOpen(shown[-1])
            self.onRunningChanged()

    def _show(self) -> None:
        ui, batch = self.ui, self._batch
        running = batch is not None and batch.running
        ui.batchButton.text = _("Cancel") if running else _("Detect in all")
        ui.batchProgressBar.visible = running
        ui.batchTable.visible = batch is not None and bool(batch.rows)
        if batch is None:
            return
        ui.batchProgressBar.maximum = 100 if batch.fraction > 0.0 else 0  # busy while PyTorch starts
        ui.batchProgressBar.value = round(100 * batch.fraction)
        done = batch_summary(batch.rows, batch.count)
        error = getattr(batch, "error", None)
        ui.batchLabel.text = f"{done}. {batch.message}" if running else error or f"{done}."
        ui.batchTable.setRowCount(len(batch.rows))
        for number, row in enumerate(batch.rows):
            for column, text in enumerate((row.scan, _(row.verdict), row.result)):
                if ui.batchTable.item(number, column) is None:
                    ui.batchTable.setItem(number, column, qt.QTableWidgetItem())
                item = ui.batchTable.item(number, column)
                item.setText(text)
                item.setToolTip(text)

    def _onDoubleClick(self, row: int, column: int) -> None:
        self.openRow(row)

    def openRow(self, row: int) -> None:
        """Show the result in a row of the table."""
        if self._batch is not None and row < len(self._batch.rows):
            self.onOpen(self._batch.rows[row])
