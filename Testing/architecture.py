"""What Docs/architecture.md and CONTRIBUTING.md say of the sub-packages, and the diagrams, against the code.

`--write` (or `make lists`) renews tables and lists of sub-packages; diagrams are drawn by hand.

A diagram is Mermaid: boxes `name["file.py<br>function"]`, where the file is below the library that the diagram's
comment names (`%% CoWLandmarksLib`), and arrows between them. `a --> b` says that the function of `a` uses that of
`b`, itself or by a function or property of the same file; the file of `a` imports `b` from its file. `a -.-> b` says
that it calls the method `b` of an object that it was given. The arrows that leave a box stand in the order in which its
function first comes to them.
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from import_graph import LIBRARIES, ROOT, modules, package_graph, packages

PAGE = ROOT / "Docs" / "architecture.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- begin {library} -->\n", "<!-- end {library} -->\n"
_BOX = re.compile(r'^(\w+)\["([\w/]+\.py)<br>([\w.]+)"\]$')
_ARROW = re.compile(r"^(\w+) (-->|-\.->) (\w+)$")
_LAYOUT = re.compile(r"^(flowchart \w+|subgraph .*|direction \w+|end|%% \w+)$")


def package_table(library: str) -> str:
    """The sub-packages of a library as a Markdown table, those that rest on others below these."""
    graph = _graph()
    rows = ["| package | what | may import | rests on |", "|---|---|---|---|"]
    for name in _in_order(library):
        package = importlib.import_module(name)
        what = (package.__doc__ or "").partition("\n")[0]
        third = ", ".join(sorted(package.THIRD_PARTY, key=str.lower)) or "-"
        rows.append(f"| `{name.partition('.')[2]}` | {what} | {third} | {_listed(graph[name], library) or '-'} |")
    return "\n".join(rows) + "\n"


def package_list(library: str) -> str:
    """The sub-packages of a library as a Markdown list, in the order of the table."""
    docs = {name: (importlib.import_module(name).__doc__ or "").partition("\n")[0] for name in _in_order(library)}
    return "".join(f"- `{name.partition('.')[2]}`: {what}\n" for name, what in docs.items())


def _graph() -> dict[str, set[str]]:
    """The sub-packages with those that each imports."""
    return {name: below & set(packages()) for name, below in package_graph().items() if name in packages()}


def _in_order(library: str) -> list[str]:
    """The sub-packages of a library, those that rest on others after these."""
    graph = _graph()
    own = [name for name in graph if name.partition(".")[0] == library]
    return sorted(own, key=lambda name: (_height(name, graph), name))


def _height(name: str, graph: dict[str, set[str]]) -> int:
    return 1 + max((_height(below, graph) for below in graph[name]), default=0)


def _listed(used: set[str], library: str) -> str:
    """Packages by their names, those of the other library after its name."""
    names: dict[str, list[str]] = {}
    for package in sorted(used, key=lambda package: (not package.startswith(f"{library}."), package)):
        top, _, name = package.partition(".")
        names.setdefault(top, []).append(name)
    return "; ".join(("" if top == library else f"{top}: ") + ", ".join(below) for top, below in names.items())


def renewed(page: Path) -> str:
    """A page with its tables or lists of sub-packages as they are now; ValueError where a mark is missing."""
    make: Callable[[str], str] = package_table if page.name == PAGE.name else package_list
    text = page.read_text(encoding="utf-8")
    for library in LIBRARIES:
        begin, end = BEGIN.format(library=library), END.format(library=library)
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"{page.name} lacks the marks '{begin.strip()}' and '{end.strip()}'.")
        head, rest = text.split(begin)
        text = head + begin + make(library) + end + rest.split(end)[1]
    return text


@dataclass(frozen=True)
class Box:
    """A function or class of a module."""

    module: str
    name: str

    @property
    def last(self) -> str:
        """Its name without that of its class."""
        return self.name.rpartition(".")[2]

    @property
    def first(self) -> str:
        """What another file imports to use it."""
        return self.name.partition(".")[0]


@dataclass(frozen=True)
class Arrow:
    """From the box that uses to the box that is used; `given`: by an object that it was given."""

    user: str
    used: str
    given: bool


@dataclass(frozen=True)
class Diagram:
    """Boxes by their names in the diagram, arrows in the order in which they stand there."""

    boxes: dict[str, Box]
    arrows: tuple[Arrow, ...]


def diagrams(page: str) -> list[Diagram]:
    """The Mermaid diagrams of a page; ValueError for a line that is neither box nor arrow nor layout."""
    return [_diagram(text) for text in re.findall(r"^```mermaid\n(.*?)^```", page, re.MULTILINE | re.DOTALL)]


def _diagram(text: str) -> Diagram:
    boxes: dict[str, Box] = {}
    arrows = []
    library = ""
    for line in filter(None, map(str.strip, text.splitlines())):
        if found := _BOX.match(line):
            name, path, function = found.groups()
            boxes[name] = Box(f"{library}.{path[:-3].replace('/', '.')}", function)
        elif found := _ARROW.match(line):
            arrows.append(Arrow(found[1], found[3], found[2] == "-.->"))
        elif line.startswith("%% ") and line[3:] in LIBRARIES:
            library = line[3:]
        elif not _LAYOUT.match(line):
            raise ValueError(f"'{line}' is neither a box nor an arrow.")
    return Diagram(boxes, tuple(arrows))


def faults(diagram: Diagram) -> Iterator[str]:
    """One sentence for each box and arrow that the code does not have."""
    missing = {name for name, box in diagram.boxes.items() if definition(box) is None}
    for name in sorted(missing):
        yield f"{name}: {diagram.boxes[name].module} has no {diagram.boxes[name].name}."
    last: dict[str, tuple[int, str]] = {}
    for arrow in diagram.arrows:
        if unknown := {arrow.user, arrow.used} - set(diagram.boxes):
            yield f"{arrow.user} to {arrow.used}: there is no box {', '.join(sorted(unknown))}."
            continue
        if {arrow.user, arrow.used} & missing:
            continue
        user, used = diagram.boxes[arrow.user], diagram.boxes[arrow.used]
        if arrow.given and used.last == used.first:
            yield f"{arrow.user} to {arrow.used}: {used.name} is no method of an object."
        if not arrow.given and not _imports(user, used):
            yield f"{arrow.user} to {arrow.used}: {user.module} does not import it."
        names = names_used(user)
        if used.last not in names:
            yield f"{arrow.user} to {arrow.used}: {user.name} never comes to {used.name}."
            continue
        place = names.index(used.last)
        before, other = last.get(arrow.user, (-1, ""))
        if place < before:
            yield f"{arrow.user} to {arrow.used}: it comes before {other}."
        last[arrow.user] = (place, arrow.used)


def _imports(user: Box, used: Box) -> bool:
    imported = modules()[user.module].all
    return user.module == used.module or f"{used.module}.{used.first}" in imported


def definition(box: Box) -> ast.AST | None:
    """Where a function, class or method is defined; None where the module or the name does not exist."""
    node: ast.AST | None = _tree(box.module) if box.module in modules() else None
    for part in box.name.split("."):
        node = next((child for child in ast.iter_child_nodes(node) if _name(child) == part), None) if node else None
    return node


def names_used(box: Box) -> list[str]:
    """Names in the order in which a function first comes to them, by way of functions of its own file as well."""
    found = definition(box)
    assert found is not None, box
    own: dict[str, list[ast.AST]] = {}
    for node in ast.walk(_tree(box.module)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            own.setdefault(node.name, []).append(node)
    names: dict[str, None] = {}
    entered = {id(found)}

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.Call):  # what is called comes after its arguments
            for child in [*ast.iter_child_nodes(node.func), *node.args, *node.keywords]:
                visit(child)
            note(node.func)
            return
        for child in _without_types(node):
            visit(child)
        note(node)

    def note(node: ast.AST) -> None:
        name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None
        if name is None:
            return
        names.setdefault(name)
        for function in own.get(name, ()):
            if id(function) not in entered:
                entered.add(id(function))
                for statement in function.body:
                    visit(statement)

    visit(found)
    return list(names)


def _without_types(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a node but for annotations, which use nothing."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        yield from (default for default in [*node.args.defaults, *node.args.kw_defaults] if default is not None)
        yield from node.body
    elif isinstance(node, ast.AnnAssign):
        yield from () if node.value is None else (node.value,)
    else:
        yield from ast.iter_child_nodes(node)


def _name(node: ast.AST) -> str | None:
    return node.name if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) else None


@cache
def _tree(module: str) -> ast.Module:
    top = module.partition(".")[0]
    path = LIBRARIES[top].joinpath(*module.split(".")).with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


def main(arguments: list[str], pages: tuple[Path, ...] = (PAGE, CONTRIBUTING)) -> int:
    """Say what is wrong with the pages (exit code 1 if anything is), or renew tables and lists with `--write`."""
    if arguments not in ([], ["--write"]):
        print(__doc__)
        return 1
    for folder in LIBRARIES.values():
        sys.path.insert(0, str(folder))
    wrong = []
    for page in pages:
        before, now = page.read_text(encoding="utf-8"), renewed(page)
        if arguments:
            page.write_text(now, encoding="utf-8")
            print(f"{page.name}: {'was up to date' if now == before else 'renewed'}")
        elif now != before:
            wrong.append(f"What {page.name} says of the sub-packages is out of date; run 'make lists'.")
        if not arguments:
            wrong += [fault for diagram in diagrams(before) for fault in faults(diagram)]
    print("\n".join(wrong), end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
