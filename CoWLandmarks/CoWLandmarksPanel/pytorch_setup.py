"""PyTorch on first use, through Slicer's PyTorch extension. Asks nothing and shows nothing by itself."""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import io
import subprocess
import sys
from collections.abc import Callable

import slicer
from CoWLandmarksLib.core.errors import ConfigurationError
from CoWLandmarksLib.jobs.child_process import end_process_tree
from slicer.i18n import tr as _

from .package_installation import wayOut

TORCH_REQUIREMENT = ">=2.2"


class InstallationCancelled(Exception):  # noqa: N818 - it is no error
    """The user stopped the installation."""


def torchInstalled() -> bool:
    """Whether PyTorch is there; does not load it."""
    importlib.invalidate_caches()
    return importlib.util.find_spec("torch") is not None


def installTorch(onLine: Callable[[str], None], isCancelled: Callable[[], bool]) -> None:
    """Install PyTorch; `onLine` gets what pip says, `isCancelled` is asked as often.

    Raises ConfigurationError with the way out, or InstallationCancelled.
    """
    try:
        import PyTorchUtils  # optional
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            _(
                "PyTorch is missing, and so is Slicer's PyTorch extension that installs it. Open the Extensions "
                "Manager, install the extension 'PyTorch', restart Slicer and try again."
            )
        ) from error
    before = _livingProcesses()
    try:
        with contextlib.redirect_stdout(_Listener(onLine, isCancelled)):
            PyTorchUtils.PyTorchUtilsLogic().installTorch(
                askConfirmation=False, torchVersionRequirement=TORCH_REQUIREMENT
            )
    except InstallationCancelled:
        for process in _livingProcesses():
            if process not in before:
                _end(process)
        raise
    except Exception as error:
        raise ConfigurationError(wayOut("PyTorch", "torch", f"{error}")) from error
    if not torchInstalled():
        raise ConfigurationError(wayOut("PyTorch", "torch", _("the installation ended without it")))


class _Listener(io.TextIOBase):
    """Standard output for as long as pip runs: every line is reported, and the application stays responsive."""

    def __init__(self, onLine: Callable[[str], None], isCancelled: Callable[[], bool]) -> None:
        self._onLine = onLine
        self._isCancelled = isCancelled
        self._before = sys.stdout

    def write(self, text: str) -> int:
        self._before.write(text)
        if text.strip():
            self._onLine(text.strip().splitlines()[-1])
        slicer.app.processEvents()
        if self._isCancelled():
            raise InstallationCancelled
        return len(text)


def _livingProcesses() -> list[subprocess.Popen]:
    """Child processes of this one that Python started and that still run."""
    found = [thing for thing in gc.get_objects() if issubclass(type(thing), subprocess.Popen)]
    return [process for process in found if process.poll() is None]


def _end(process: subprocess.Popen) -> None:
    if sys.platform == "win32":
        end_process_tree(process)
    else:  # it shares this process's group, which must live; Slicer's Python ends its own child when it is asked to end
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3.0)
        process.kill()
