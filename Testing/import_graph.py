"""Which module of the libraries and panels imports which, read from the source."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = {"CoWLandmarksLib": ROOT / "CoWLandmarks", "CoWLandmarksTrainingLib": ROOT / "CoWLandmarksTraining"}
PANELS = {"CoWLandmarksPanel": ROOT / "CoWLandmarks", "CoWLandmarksTrainingPanel": ROOT / "CoWLandmarksTraining"}


@dataclass(frozen=True)
class Imports:
    """Modules that a file imports, `now` while it is imported itself and `later` inside functions or when it is run."""

    now: frozenset[str]
    later: frozenset[str]

    @property
    def all(self) -> frozenset[str]:
        """Both."""
        return self.now | self.later


def imports_of(source: str, package: str = "") -> Imports:
    """Absolute names of the modules that Python source imports; `package` is where relative imports begin.

    What only type checkers see does not count.
    """
    now: set[str] = set()
    later: set[str] = set()

    def visit(node: ast.AST, found: set[str]) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                above = package.split(".")[: len(package.split(".")) - child.level + 1] if child.level else []
                module = ".".join([*above, *([child.module] if child.module else [])])
                found.add(module)
                found.update(f"{module}.{alias.name}" for alias in child.names)
            inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            run = isinstance(child, ast.If) and "__name__" in ast.unparse(child.test)
            visit(child, later if inside or run else found)

    visit(ast.parse(source), now)
    return Imports(frozenset(now), frozenset(later))


@cache
def modules() -> dict[str, Imports]:
    """Imports of every module of the libraries and the panels; a package stands for its `__init__`."""
    found = {}
    for top, folder in (LIBRARIES | PANELS).items():
        for path in sorted((folder / top).rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            inside = parts[:-1]
            name = ".".join(inside if parts[-1] == "__init__" else parts)
            found[name] = imports_of(path.read_text(encoding="utf-8"), ".".join(inside))
    return found


def packages() -> list[str]:
    """The sub-packages of the libraries."""
    return sorted({package_of(name) for name in modules() if name.count(".") > 1})


def package_of(module: str) -> str:
    """The sub-package that a module belongs to; entry points beside the sub-packages are their own."""
    return ".".join(module.split(".")[:2])


def ours(names: Iterable[str]) -> set[str]:
    """Those that are modules of the libraries."""
    return {name for name in names if name in modules() and name.partition(".")[0] in LIBRARIES}


def third_party(names: Iterable[str]) -> set[str]:
    """Top-level packages among imported names that are neither ours nor Python's."""
    tops = {name.partition(".")[0] for name in names}
    return tops - sys.stdlib_module_names - set(LIBRARIES) - set(PANELS)


def loaded_with(module: str) -> set[str]:
    """Every module of ours that importing `module` imports, packages above it included."""
    reached: set[str] = set()
    open_ends = {module}
    while open_ends:
        name = open_ends.pop()
        reached.add(name)
        above = {name.rsplit(".", count)[0] for count in range(1, name.count(".") + 1)}
        open_ends |= (ours(modules()[name].now) | above) - reached
    return reached


def in_slicers_process() -> set[str]:
    """Modules that importing the panels imports, or that a function of a panel imports."""
    panels = {name for name in modules() if name.partition(".")[0] in PANELS}
    entered = {used for panel in panels for used in ours(modules()[panel].all)}
    return {module for used in entered for module in loaded_with(used)}


def package_graph() -> dict[str, set[str]]:
    """The sub-packages, and entry points beside them, with those that each imports."""
    graph: dict[str, set[str]] = {}
    for name in ours(modules()) - set(LIBRARIES):
        used = {package_of(used) for used in ours(modules()[name].all)}
        graph.setdefault(package_of(name), set()).update(used - {package_of(name), *LIBRARIES})
    return graph
