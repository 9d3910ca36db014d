"""Code that is handed to other processes as text imports what exists: no linter and no import graph reads it."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator

from import_graph import LIBRARIES, ROOT

OWN_NAME = "test_code_in_text.py"
_IMPORT = re.compile(r"^\s*from (CoWLandmarks\w*Lib)((?:\.\w+)*) import ([\w, ]+)", re.MULTILINE)


def imported(text: str) -> Iterator[tuple[str, str]]:
    """(module, name) of every import from our libraries in the lines of a text."""
    for library, module, names in _IMPORT.findall(text):
        for name in names.split(","):
            yield library + module, name.split(" as ")[0].strip()


def exists(module: str, name: str) -> bool:
    """Whether there is such a module, and the name in it."""
    path = LIBRARIES[module.split(".")[0]].joinpath(*module.split("."))
    if (path / f"{name}.py").is_file() or (path / name / "__init__.py").is_file():
        return True
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return file.is_file() and re.search(rf"\b{name}\b", file.read_text(encoding="utf-8")) is not None


def test_every_import_in_a_text_names_what_exists() -> None:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    texts = [
        (file, node.value)
        for file in listed.splitlines()
        if (ROOT / file).is_file()
        for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    found = [(file, *pair) for file, text in texts for pair in imported(text) if not file.endswith(OWN_NAME)]
    assert len(found) > 5
    assert [one for one in found if not exists(*one[1:])] == []


def test_an_import_of_what_is_gone_is_noticed() -> None:
    text = (
        "import sys\nfrom CoWLandmarksLib.core.volume import Volume, Grid\n  from CoWLandmarksLib.gone import x as y\n"
    )
    assert [(*pair, exists(*pair)) for pair in imported(text)] == [
        ("CoWLandmarksLib.core.volume", "Volume", True),
        ("CoWLandmarksLib.core.volume", "Grid", True),
        ("CoWLandmarksLib.gone", "x", False),
    ]
    assert exists("CoWLandmarksLib.core", "volume") and not exists("CoWLandmarksLib.core.volume", "Kitchen")
