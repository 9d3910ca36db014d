"""Text and names use the terms of the field: coined ones do not come back."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = {".py", ".md", ".ui", ".toml", ".yaml", ".yml", ".cff", ".txt"}

# In halves, so that this file holds none of them; use the term on the right.
COINED = {
    ("strange", "ness"): "Mahalanobis distance",
    ("lean", "ing"): "prior bias, or tilt",
    ("lean", "ings"): "prior bias",
    ("another ", "look"): "intensity augmentation",
    ("by the ", "clock"): "wall-clock time",
    ("floors of ", "the house"): "layers",
    ("warm ", "worker"): "persistent worker",
    ("whole ", "road"): "pipeline, or workflow",
}
KEPT = {("CoWLandmarks/CoWLandmarksLib/detect/verdict.py", "strange" + "ness"): 1}
"""How often files may hold one all the same: keys of files that users have."""

UNCLEAR = {"told", "word", "words", "piece", "pieces", "road", "roads", "card", "cards"}
"""Parts of names; say whether it is a prediction, a message, an argument, a part, a pipeline, a GPU..."""
NAMES_OF_QT = {"wordWrap", "setWordWrap"}


def tracked() -> list[Path]:
    """The files of the repository, those that are deleted but not yet committed left out."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def coined_terms(text: str) -> Iterator[str]:
    """Every occurrence of a coined term: as text, over the end of a line, and within a name."""
    for halves in COINED:
        term = "".join(halves)
        pattern = r"[\s_-]+".join(map(re.escape, term.split()))
        yield from [term] * len(re.findall(rf"(?<![a-z]){pattern}(?![a-z])", text, re.IGNORECASE))


def names(tree: ast.AST) -> Iterator[str]:
    """Every name that a module defines or uses, f-strings included: all text of the tree but constants."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant):
            for _, value in ast.iter_fields(node):
                for name in value if isinstance(value, list) else [value]:
                    if isinstance(name, str):
                        yield from name.split(".")


def unclear_names(source: str) -> set[str]:
    """The names in which a part is one of `UNCLEAR`."""
    return {name for name in names(ast.parse(source)) if parts(name) & UNCLEAR} - NAMES_OF_QT


def parts(name: str) -> set[str]:
    """Parts of a name in snake_case or camelCase, in lower case."""
    return set(re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower().split("_"))


def test_no_text_holds_a_coined_term() -> None:
    files = [path for path in tracked() if path.suffix in TEXT or path.name == "Makefile"]
    assert len(files) > 300
    found: dict[tuple[str, str], int] = {}
    for path in files:
        for term in coined_terms(path.read_text(encoding="utf-8")):
            key = (path.relative_to(ROOT).as_posix(), term)
            found[key] = found.get(key, 0) + 1
    assert found == KEPT


def test_no_name_in_code_is_unclear() -> None:
    files = [path for path in tracked() if path.suffix == ".py"]
    assert len(files) > 300
    found = {str(path.relative_to(ROOT)): unclear_names(path.read_text(encoding="utf-8")) for path in files}
    assert {file: unclear for file, unclear in found.items() if unclear} == {}
    assert {path.stem for path in files if parts(path.stem) & UNCLEAR} == {Path(__file__).stem}


@pytest.mark.parametrize("halves", COINED)
def test_a_coined_term_is_noticed_wherever_it_stands(halves: tuple[str, str]) -> None:
    term = "".join(halves)
    for text in (term, f"({term.capitalize()})", term.replace(" ", "\n"), f"the_{term.replace(' ', '_')}_of_it"):
        assert list(coined_terms(text)) == [term]
    assert list(coined_terms(f"c{term}")) == []


@pytest.mark.parametrize(
    "source",
    [
        "told",
        "def a_word_b(): ...",
        "class FullCard: ...",
        "def f(*words): ...",
        "f(road=1)",
        "a.onCards.b",
        "f'{piece!r:>9}'",
        "f'{1:{_told}}'",
        "import a.tiny_words",
        "from a import b as roads",
        "def f():\n    global PIECES",
        "try: ...\nexcept E as word: ...",
    ],
)
def test_an_unclear_name_is_noticed_wherever_it_stands(source: str) -> None:
    assert unclear_names(source)


def test_other_names_are_left_alone() -> None:
    assert unclear_names("keyword(label.wordWrap, wildcard='told', password=abroad.piecewise)\n") == set()
