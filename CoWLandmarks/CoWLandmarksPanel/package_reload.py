"""*Reload* in developer mode takes a module's packages anew: Slicer itself runs only the module file again."""

from __future__ import annotations

import importlib
import sys


def forgetPackages(*names: str) -> None:
    """Let the next import read these packages, with all that is in them, from their files again."""
    for name in [name for name in sys.modules if name.partition(".")[0] in names]:
        del sys.modules[name]
    importlib.invalidate_caches()
