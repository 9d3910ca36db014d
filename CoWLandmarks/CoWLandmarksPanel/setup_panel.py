"""First use: one question before PyTorch is installed, progress while it is, and a way to stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from CoWLandmarksLib.core.errors import ConfigurationError
from slicer.i18n import tr as _

from .pytorch_setup import InstallationCancelled, installTorch


class SetupPanel:
    """The question in the section "Detect"; `ui` are the widgets of CoWLandmarks.ui."""

    def __init__(self, ui: Any, onChanged: Callable[[], None]) -> None:
        self._ui = ui
        self._onChanged = onChanged
        self._then: Callable[[], None] = lambda: None
        self._cancelled = False
        self.asking = False
        self.installing = False
        ui.setupFrame.visible = False
        ui.installButton.connect("clicked(bool)", self._onInstall)
        ui.notNowButton.connect("clicked(bool)", self._onNotNow)

    def offer(self, then: Callable[[], None]) -> None:
        """Ask; `then` is called when PyTorch is there."""
        self._then = then
        self._showMessage("")
        self._ask(True)

    def cancel(self) -> None:
        """Stop an installation that runs."""
        self._cancelled = True

    def _onNotNow(self, checked: bool = False) -> None:
        self._ask(False)
        self._showMessage(
            _(
                "Nothing was installed. Detection needs PyTorch: press 'Detect landmarks' to be asked again, or "
                "install it with the PyTorch Utils module of the PyTorch extension."
            )
        )

    def _onInstall(self, checked: bool = False) -> None:
        if self.installing:
            return
        ui = self._ui
        self._ask(False)
        self.installing, self._cancelled = True, False
        ui.progressBar.maximum = 0  # pip does not say how much is left
        ui.stageLabel.text = _("Installing PyTorch; this takes some minutes...")
        self._onChanged()
        message, done = "", False
        try:
            installTorch(self._onLine, lambda: self._cancelled)
            done = True
        except InstallationCancelled:
            message = _("The installation was cancelled. Press 'Detect landmarks' to try again.")
        except ConfigurationError as error:
            message = str(error)
        finally:
            self.installing = False
            ui.progressBar.maximum = 100
        self._showMessage(message)
        self._onChanged()
        if done:
            self._then()

    def _onLine(self, line: str) -> None:
        self._ui.stageLabel.text = _("Installing PyTorch: {line}").format(line=line[:120])

    def _ask(self, asking: bool) -> None:
        self.asking = asking
        self._ui.setupFrame.visible = asking

    def _showMessage(self, text: str) -> None:
        self._ui.messageLabel.text = text
        self._ui.messageLabel.visible = bool(text)
