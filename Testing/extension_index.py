"""The Extensions Index checklist (tier 1), as far as the source tree can answer it.

`python Testing/extension_index.py` prints one line per question and ends with 1 if the answer to one is no. What only
the publisher of a repository can answer (its address, its topic) is listed at the end and does not count.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from list_module_files import MODULES, ROOT

LARGEST_REPOSITORY_BYTES = 100 * 1024 * 1024
IMPORTS_AT_FILE_SCOPE = {"numpy", "SimpleITK", "vtk", "slicer", "qt", "ctk"}
"""What a module may import when Slicer starts, beside the standard library and its own package."""
FOR_THE_PUBLISHER = (
    "the repository is public, named Slicer + the extension's name or usable without Slicer",
    "the repository carries the topic 3d-slicer-extension",
    "EXTENSION_HOMEPAGE, EXTENSION_ICONURL and EXTENSION_SCREENSHOTURLS are addresses in that repository",
    "the catalog entry (scm_url, scm_revision, category, build dependency PyTorch) is offered to the index",
)


@dataclass(frozen=True)
class Answer:
    """One question of the checklist; `wrong` says what is missing, empty where nothing is."""

    question: str
    wrong: str = ""


def answers(root: Path = ROOT) -> Iterator[Answer]:
    """The checklist, question by question."""
    cmake = (root / "CMakeLists.txt").read_text(encoding="utf-8")
    readme = (root / "README.md").read_text(encoding="utf-8")
    name = _set(cmake, r"project\((\w+)\)")
    description = _set(cmake, r'EXTENSION_DESCRIPTION "([^"]*)"')
    yield Answer("the name does not begin with Slicer", "" if name and not name.startswith("Slicer") else repr(name))
    sentences = len(re.findall(r"[.!?](?:\s|$)", description))
    yield Answer("one or two sentences describe it", "" if 1 <= sentences <= 2 else f"{sentences} sentences")
    yield Answer("the description says that it is for research", _absent(description, "research"))
    for setting in ("CONTRIBUTORS", "CATEGORY", "DEPENDS"):
        yield Answer(f"EXTENSION_{setting} is set", "" if _set(cmake, rf'EXTENSION_{setting} "([^"]+)"') else "empty")
    licence = root / "LICENSE.txt"
    yield Answer("LICENSE.txt lies in the root", "" if licence.is_file() else "no such file")
    yield Answer("the README names the licence", _absent(readme, "Apache License 2.0"))
    yield Answer("the README says how to cite", _absent(readme, "cite"))
    yield Answer("the README says what is uploaded", _absent(readme, "uploaded"))
    yield Answer("the README says what is downloaded", _absent(readme, "downloaded"))
    yield Answer("the README says that it is no medical device", _absent(readme, "not a medical device"))
    yield Answer("the extension has an icon", _not_an_image(root / f"{name}.png"))
    tutorial = root / "Docs" / "use" / "tutorial.md"
    yield Answer("a tutorial is linked from the README", _absent(readme, "Docs/use/tutorial.md"))
    yield Answer("the tutorial's pictures exist", _missing_pictures(tutorial))
    yield Answer("the README's pictures exist", _missing_pictures(root / "README.md"))
    size = sum((root / path).stat().st_size for path in tracked(root))
    yield Answer("the files are under 100 MB", "" if size < LARGEST_REPOSITORY_BYTES else f"{size / 1e6:.0f} MB")
    for module in MODULES:
        yield from _module_answers(root, module)


def _module_answers(root: Path, module: str) -> Iterator[Answer]:
    path = root / module / f"{module}.py"
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    yield Answer(f"{module} has an icon", _not_an_image(root / module / "Resources" / "Icons" / f"{module}.png"))
    yield Answer(f"{module} runs nothing when it is imported", ", ".join(_statements_that_run(tree)))
    own = {f"{name}{kind}" for name in MODULES for kind in ("Lib", "Panel")}
    foreign = sorted(_imported(tree) - IMPORTS_AT_FILE_SCOPE - own - set(sys.stdlib_module_names))
    yield Answer(f"{module} imports only what Slicer has", ", ".join(foreign))
    yield Answer(f"{module} says in its help what it is for", _absent(source, "helpText"))
    yield Answer(f"{module} acknowledges its sources", _absent(source, "acknowledgementText"))
    yield Answer(f"{module} has a self test", _absent(source, f"class {module}Test"))


def _set(text: str, pattern: str) -> str:
    found = re.search(pattern, text)
    return found.group(1) if found else ""


def _absent(text: str, phrase: str) -> str:
    return "" if phrase.lower() in text.lower() else f"'{phrase}' is not there"


def _not_an_image(path: Path) -> str:
    if not path.is_file():
        return f"no {path.name}"
    return "" if path.read_bytes().startswith(b"\x89PNG\r\n") else f"{path.name} is no PNG file"


def _missing_pictures(page: Path) -> str:
    if not page.is_file():
        return f"no {page.name}"
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    if not pictures:
        return "it shows none"
    return ", ".join(picture for picture in pictures if not (page.parent / picture).is_file())


def tracked(root: Path) -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True).stdout.decode("utf-8")
    return [path for path in listed.split("\0") if path and (root / path).is_file()]


def _statements_that_run(tree: ast.Module) -> Iterator[str]:
    """Statements at file scope that do more than define, import or name something."""
    for node in tree.body:
        documents = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        defines = isinstance(node, (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef))
        names = isinstance(node, (ast.Assign, ast.AnnAssign)) and not any(
            isinstance(part, ast.Call) for part in ast.walk(node)
        )
        if not (documents or defines or names):
            yield f"line {node.lineno}"


def _imported(tree: ast.Module) -> set[str]:
    """Top-level packages imported at file scope."""
    packages: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            packages |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            packages.add(node.module.split(".")[0])
    return packages


def main() -> int:
    """Print the answers; 1 if one of them is no."""
    given = list(answers())
    for answer in given:
        print(f"{'NO ' if answer.wrong else 'yes'}  {answer.question}" + (f": {answer.wrong}" if answer.wrong else ""))
    print("\nFor whoever publishes it:")
    for question in FOR_THE_PUBLISHER:
        print(f"  -  {question}")
    return 1 if any(answer.wrong for answer in given) else 0


if __name__ == "__main__":
    sys.exit(main())
