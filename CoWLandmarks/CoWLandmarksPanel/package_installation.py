"""What is said where a Python package that the panels install on request could not be installed."""

from __future__ import annotations

from slicer.i18n import tr as _


def wayOut(name: str, package: str, reason: str) -> str:
    """What to do where the Python `package` (called `name`) could not be installed for this reason."""
    return _(
        "{name} could not be installed ({reason}). Check the internet connection or the proxy and try again. On a "
        "computer without internet, fetch the packages on another one (pip download {package}) and install them here "
        "with: PythonSlicer -m pip install --no-index --find-links FOLDER {package}"
    ).format(name=name, package=package, reason=" ".join(reason.split())[:200])
