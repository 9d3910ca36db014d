"""Names of classes: each stands for one thing in all four packages."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("CoWLandmarks", "CoWLandmarksTraining")


def classes_twice(sources: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Class names, without leading underscores, of more than one place among (name of file, source)."""
    places: dict[str, list[str]] = {}
    for file, source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name.lstrip("_"), []).append(f"{file}:{node.lineno}")
    return {name: found for name, found in places.items() if len(found) > 1}


def test_no_two_classes_share_a_name() -> None:
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(files) > 100
    assert classes_twice((str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")) for path in files) == {}


def test_a_private_class_of_the_same_name_counts() -> None:
    sources = [("a.py", "class Job:\n    pass\n"), ("b.py", "\nclass _Job:\n    class Part:\n        pass\n")]
    assert classes_twice(sources) == {"Job": ["a.py:1", "b.py:2"]}
