"""Runs the scripted modules of this extension without the application: slicer-core, PySide6 offscreen and look-alikes.

Importing this package puts `qt`, `ctk`, `SampleData`, `slicer.i18n` and the other parts of Slicer that slicer-core
lacks where the modules import them from; ImportError where PySide6 or slicer-core is missing. `Application` is an
application with an empty scene. Each name that is offered is one of the real application (`slicer_api.json`).
"""

from .installation import install
from .session import Application

install()

__all__ = ["Application", "install"]
