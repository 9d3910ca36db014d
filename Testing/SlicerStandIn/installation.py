"""Puts the stand-in's modules where `import qt`, `import ctk` and `from slicer... import` find them."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import slicer
import slicer.util


def _small_module(name: str, **members: object) -> types.ModuleType:
    module = types.ModuleType(name)
    vars(module).update(members)
    return module


def widget_class(name: str) -> type:
    """A widget class of a `.ui` file; LookupError where the stand-in has none."""
    for place in (sys.modules["qt"], sys.modules["ctk"], slicer):
        if hasattr(place, name):
            return getattr(place, name)
    raise LookupError(f"the stand-in has no widget class {name}; see Docs/testing.md")


def install() -> None:
    """Install them once; repeating does nothing. ImportError where PySide6 is missing."""
    if "qt" in sys.modules:
        return
    from .application_object import ScriptedModule, ScriptedModuleWidget
    from .ctk_widgets import make_ctk
    from .mrml_widgets import make_mrml_widgets
    from .qt_module import make_qt

    sys.modules["qt"] = make_qt()
    sys.modules["ctk"] = make_ctk()
    for name, made in make_mrml_widgets().items():
        setattr(slicer, name, made)
    slicer.qSlicerScriptedLoadableModule = ScriptedModule
    slicer.qSlicerScriptedLoadableModuleWidget = ScriptedModuleWidget

    from . import packaging_module, parameter_nodes, sample_data, scripted_modules

    sys.modules["SampleData"] = sample_data.make_module()
    for module in (
        _small_module(
            "slicer.i18n",
            tr=lambda text: text,
            translate=lambda context, text: text,
            getContext=lambda sourceFile: Path(sourceFile).stem,
        ),
        scripted_modules.make_module(),
        parameter_nodes.make_module(),
        packaging_module.make_module(),
    ):
        sys.modules[module.__name__] = module
        setattr(slicer, module.__name__.split(".")[1], module)
