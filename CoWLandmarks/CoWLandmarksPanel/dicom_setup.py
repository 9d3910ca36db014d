"""What the DICOM export needs of the application: its DICOM database, and the package highdicom, asked for once."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import slicer
from CoWLandmarksLib.core.errors import ConfigurationError
from CoWLandmarksLib.files.dicom_source import highdicom_installed
from slicer.i18n import tr as _

from .package_installation import wayOut

REQUIREMENT = "highdicom>=0.27"


def fileForInstance() -> Callable[[str], str] | None:
    """What finds the file of an image in the DICOM database; None where the application has no database."""
    if getattr(slicer, "dicomDatabase", None) is None:
        return None
    return slicer.dicomDatabase.fileForInstance


def highdicomInstalled() -> bool:
    """Whether DICOM files can be written."""
    importlib.invalidate_caches()
    return highdicom_installed()


def ensureHighdicom() -> bool:
    """Where highdicom is missing, ask whether to install it; returns whether it is there.

    Raises ConfigurationError with the way out where the installation fails.
    """
    if highdicomInstalled():
        return True
    question = _(
        "DICOM files are written with the Python package highdicom, which is not installed. Download and install it "
        "now (about 4 MB)?"
    )
    if not slicer.util.confirmOkCancelDisplay(question, windowTitle=_("CoW Landmarks")):
        return False
    try:
        _install()
    except Exception as error:
        raise ConfigurationError(wayOut("highdicom", "highdicom", str(error))) from error
    if not highdicomInstalled():
        raise ConfigurationError(wayOut("highdicom", "highdicom", _("the installation ended without it")))
    return True


def _install() -> None:
    """Slicer before 5.12 has no packaging module, and shows no progress."""
    try:
        from slicer.packaging import pip_ensure  # optional
    except ImportError:
        slicer.util.pip_install(REQUIREMENT)
        return
    pip_ensure(REQUIREMENT, prompt_install=False, requester="CoW Landmarks")
