"""Runs one command of cowlandmarks-train at a time in a child process and follows it with a timer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import qt
from CoWLandmarksLib.core.errors import CoWLandmarksError
from CoWLandmarksPanel.machine_settings import pythonExecutable
from CoWLandmarksPanel.pytorch_setup import torchInstalled
from CoWLandmarksTrainingLib.jobs.attached_command import AttachedCommand
from slicer.i18n import tr as _

_POLL_MS = 200


class CommandRunner:
    """`onLine` gets every line that the command prints; `onEnd` the finished command (`code`, `error`, `cancelled`)."""

    def __init__(self, onLine: Callable[[str], None], onEnd: Callable[[AttachedCommand], None]) -> None:
        self._onLine, self._onEnd = onLine, onEnd
        self.command: AttachedCommand | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MS)
        self._timer.connect("timeout()", self.advance)

    @property
    def running(self) -> bool:
        """Whether a command is at work."""
        return self.command is not None

    def start(self, arguments: Sequence[str]) -> None:
        """Start a command; raises CoWLandmarksError. A second one is not started."""
        if self.command is not None:
            return
        requireTorch()
        self.command = AttachedCommand(arguments, pythonExecutable())
        self._timer.start()

    def startOrCancel(self, arguments: Callable[[], Sequence[str]], showMessage: Callable[[str], None]) -> bool:
        """What the button of a section does: end the command at work, else start that of `arguments`.

        `showMessage` gets what there is to say. Returns whether a command was started.
        """
        if self.running:
            self.cancel()
            showMessage(_("Cancelling..."))
            return False
        try:
            self.start(arguments())
        except CoWLandmarksError as error:
            showMessage(str(error))
            return False
        showMessage(_("Reading the cases..."))
        return True

    def cancel(self) -> None:
        """Ask the command to end; `onEnd` is called when it has."""
        if self.command is not None and not self.command.cancelled:
            self.command.cancel()

    def close(self) -> None:
        """End the command at once, silently."""
        self._timer.stop()
        command, self.command = self.command, None
        if command is not None:
            command.close()

    def advance(self) -> None:
        """Take what happened since the last time; called by the timer."""
        command = self.command
        if command is None:
            return
        ended = command.code is not None
        for line in command.lines():
            self._onLine(line)
        if ended:
            self._timer.stop()
            self.command = None
            self._onEnd(command)


def requireTorch() -> None:
    """Raise CoWLandmarksError where PyTorch, which all commands need, is not installed yet."""
    if not torchInstalled():
        raise CoWLandmarksError(
            _(
                "PyTorch is not installed yet. Open the module CoW Landmarks and press 'Detect landmarks': it asks "
                "before it installs anything."
            )
        )


def endSentence(command: AttachedCommand) -> str:
    """What to tell of a command that did not deliver."""
    if command.cancelled:
        return _("Cancelled.")
    return command.error or _("The command ended without a message (exit code {code}).").format(code=command.code)
