"""The module `slicer.packaging`, as far as it changes nothing: a test installs no packages."""

from __future__ import annotations

import importlib.metadata
import types
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement


def load_requirements(path: str | Path) -> list[Requirement]:
    """The requirements of a text file."""
    lines = (line.split("#")[0].strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return [Requirement(line) for line in lines if line]


def pip_check(req: Any, _seen: Any = None) -> bool:
    """Whether requirements are met."""
    requirements = req if isinstance(req, list) else [req]
    for requirement in map(Requirement, map(str, requirements)):
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            return False
        if not requirement.specifier.contains(version, prereleases=True):
            return False
    return True


def pip_ensure(requirements: Any, *, prompt_install: bool = True, requester: str | None = None) -> list[str] | None:
    """Nothing where the requirements are met; else RuntimeError, as where there is no internet."""
    if not pip_check(requirements):
        raise RuntimeError("the stand-in installs no packages")
    return None


def make_module() -> types.ModuleType:
    """`slicer.packaging`."""
    module = types.ModuleType("slicer.packaging")
    module.load_requirements, module.pip_check, module.pip_ensure = load_requirements, pip_check, pip_ensure
    return module
