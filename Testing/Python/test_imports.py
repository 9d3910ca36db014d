"""The layers: what each package says in its `__init__` that it may import, against what its modules do import."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import pytest
from aligned_beads import write_bead_cohort
from CoWLandmarksLib.detect.model import load_model
from CoWLandmarksTrainingLib.config.settings import STAGE_NAMES
from import_graph import (
    LIBRARIES,
    PANELS,
    ROOT,
    Imports,
    imports_of,
    in_slicers_process,
    loaded_with,
    modules,
    ours,
    package_graph,
    package_of,
    packages,
    third_party,
)
from tiny_training import tiny_arguments
from trained_elsewhere import APPLICATION, WITHOUT_ON_A_GPU_MACHINE, trained_without

NUMERIC = ("torch", "SimpleITK", "scipy")
"""What 3D Slicer's own process never imports: it may not be installed yet, or belongs to the child process."""


@pytest.mark.parametrize("package", packages())
def test_a_package_imports_the_third_parties_that_it_names_and_no_others(package: str) -> None:
    named = set(importlib.import_module(package).THIRD_PARTY)
    members = [imports for name, imports in modules().items() if package_of(name) == package]
    assert third_party(name for imports in members for name in imports.all) == named


def test_the_packages_are_layers_without_cycles() -> None:
    assert cycle_in(package_graph()) == []


def test_no_module_imports_itself_through_others() -> None:
    graph = {name: ours(modules()[name].all) - {name, *LIBRARIES} for name in modules() if name not in LIBRARIES}
    graph = {name: {used for used in below if not name.startswith(f"{used}.")} for name, below in graph.items()}
    assert cycle_in(graph) == []


def cycle_in(graph: dict[str, set[str]]) -> list[str]:
    """What is left of a graph when everything that rests on nothing is taken away again and again."""
    left = dict(graph)
    while free := {name for name, below in left.items() if not below & left.keys()}:
        for name in free:
            del left[name]
    return sorted(left)


def test_a_cycle_is_noticed() -> None:
    assert cycle_in({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert cycle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["a", "b", "c"]


def test_the_library_never_imports_the_training_library_or_a_panel() -> None:
    for name, imports in modules().items():
        if name.partition(".")[0] == "CoWLandmarksLib":
            assert not {used for used in imports.all if used.partition(".")[0] in {"CoWLandmarksTrainingLib", *PANELS}}


def test_names_of_modules_are_unique() -> None:
    names = [name.rpartition(".")[2] for name in modules() if name not in packages() and name.count(".") > 1]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []


IMPORT_ALL = """
import importlib, json, sys
blocked, names = json.loads(sys.argv[1])
for name in blocked:
    sys.modules[name] = None
problems = {}
for name in names:
    try:
        importlib.import_module(name)
    except BaseException as error:
        problems[name] = repr(error)
print(json.dumps(problems))
"""


@lru_cache
def problems_without(blocked: tuple[str, ...], names: tuple[str, ...]) -> dict[str, str]:
    """Import `names` in a fresh interpreter where `blocked` packages are missing; returns what failed."""
    path = [str(folder) for folder in LIBRARIES.values()]
    code = f"import sys; sys.path[:0] = {path!r}\n{IMPORT_ALL}"
    run = subprocess.run(
        [sys.executable, "-c", code, json.dumps([blocked, names])], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    problems: dict[str, str] = json.loads(run.stdout.splitlines()[-1])
    return problems


@pytest.mark.slow
def test_slicers_own_process_does_without_torch_simpleitk_and_scipy() -> None:
    used = in_slicers_process()
    assert {f"CoWLandmarksLib.{name}" for name in ("scene", "files", "jobs")} <= {package_of(name) for name in used}
    for name in used:
        assert not third_party(modules()[name].now) & set(NUMERIC), name
    assert problems_without(NUMERIC, tuple(sorted(used))) == {}


def test_packages_of_slicers_process_name_none_of_the_numeric_libraries() -> None:
    """So that whoever writes in one of them sees it in its `__init__`."""
    for package in {package_of(name) for name in in_slicers_process()} & set(packages()):
        assert not set(importlib.import_module(package).THIRD_PARTY) & set(NUMERIC), package


def test_only_scene_and_pictures_know_slicer_or_vtk() -> None:
    named = {package: set(importlib.import_module(package).THIRD_PARTY) for package in packages()}
    assert {package for package in packages() if named[package] & set(APPLICATION)} == {
        "CoWLandmarksLib.scene",
        "CoWLandmarksLib.files",
        "CoWLandmarksLib.pictures",
        "CoWLandmarksTrainingLib.panel",
    }


@pytest.mark.slow
def test_everything_else_imports_without_slicer_vtk_and_qt() -> None:
    bound = {"CoWLandmarksLib.scene", "CoWLandmarksTrainingLib.panel.scene_plots"}
    bound |= {"CoWLandmarksLib.files.surfaces", "CoWLandmarksLib.files.centerline_file"}
    free = [name for name in modules() if name.partition(".")[0] in LIBRARIES and not name.endswith("__main__")]
    free = [name for name in free if not any(name == b or name.startswith(f"{b}.") for b in bound)]
    assert problems_without(APPLICATION, tuple(free)) == {}


GPU_MACHINE = ("train", "phantom", "augment", "config", "records", "cli")
"""Packages that run on a machine with a GPU that has torch but neither SimpleITK nor vtk nor Slicer."""


@pytest.mark.slow
def test_phantoms_and_training_import_without_simpleitk_vtk_and_slicer() -> None:
    travelling = {f"CoWLandmarksTrainingLib.{name}" for name in GPU_MACHINE}
    names = tuple(name for name in modules() if package_of(name) in travelling)
    assert travelling <= set(packages())
    assert problems_without(WITHOUT_ON_A_GPU_MACHINE, names) == {}


@pytest.mark.slow
def test_a_training_on_phantoms_runs_without_simpleitk_vtk_and_slicer(default_training: Path) -> None:
    """That is how it was made."""
    assert "The model is" in (default_training / "printed.txt").read_text(encoding="utf-8")
    model = load_model(default_training / "work" / "model.cow.pt")
    assert [name for name, _ in model.stages] == list(STAGE_NAMES)
    assert all(model.provenance[name]["steps"] == 4 for name in STAGE_NAMES)
    states = {f"state-{name}.pt" for name in STAGE_NAMES} | {f"log-{name}.jsonl" for name in STAGE_NAMES}
    assert {path.name for path in (default_training / "carried").iterdir()} == states


@pytest.mark.slow
def test_a_training_on_a_cohort_runs_without_simpleitk_vtk_and_slicer(tmp_path: Path) -> None:
    write_bead_cohort(tmp_path / "aligned", mra=1, sets=1, validation=1)
    done = trained_without(
        WITHOUT_ON_A_GPU_MACHINE, tiny_arguments(tmp_path / "aligned", tmp_path / "out", pretrain=1, adversarial=1)
    )
    assert done.returncode == 0, done.stderr
    assert load_model(tmp_path / "out" / "model.cow.pt").provenance["fine"]["steps"] == 2
    assert "No picture of step 2" in done.stderr


@pytest.mark.parametrize("module", ["CoWLandmarks", "CoWLandmarksTraining"])
def test_a_slicer_module_file_imports_only_what_slicer_brings(module: str) -> None:
    source = (ROOT / module / f"{module}.py").read_text(encoding="utf-8")
    assert third_party(imports_of(source).now) <= {"numpy", "vtk", "slicer", "qt", "ctk"}


@pytest.mark.parametrize(
    ("source", "now", "later"),
    [
        ("import numpy.linalg\nfrom torch import nn\n", {"numpy.linalg", "torch", "torch.nn"}, set()),
        ("def f():\n    import vtk\n", set(), {"vtk"}),
        ("class A:\n    import qt\n    def f(self):\n        import slicer\n", {"qt"}, {"slicer"}),
        ("try:\n    import ctk\nexcept ImportError:\n    pass\n", {"ctk"}, set()),
        ("from . import b\nfrom ..c import D\n", {"top.a", "top.a.b", "top.c", "top.c.D"}, set()),
        ("if TYPE_CHECKING:\n    import vtk\nimport io\n", {"io"}, set()),
        ("if __name__ == '__main__':\n    import vtk\n", set(), {"vtk"}),
    ],
)
def test_imports_are_distinguished_by_their_place(source: str, now: set[str], later: set[str]) -> None:
    assert imports_of(source, "top.a") == Imports(frozenset(now), frozenset(later))


REASONS = {
    "start-up time": "brings a package that takes its time, to what shall answer at once",
    "optional": "brings a package that may be missing",
    "child process": "of a package that 3D Slicer's own process does without",
    "load order": "of a module that 3D Slicer may load after ours",
    "Windows only": "of what other systems lack",
}
"""What is said behind an import inside a function, and when."""


def function_imports(source: str, package: str = "") -> list[tuple[str, str, frozenset[str]]]:
    """The imports inside functions: each as it stands there, the comment behind it, and the modules it imports."""
    lines = source.splitlines()
    found = []
    functions = [
        node for node in ast.walk(ast.parse(source)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    nodes = {node for function in functions for node in ast.walk(function)}
    for node in sorted((n for n in nodes if isinstance(n, (ast.Import, ast.ImportFrom))), key=lambda n: n.lineno):
        text = ast.unparse(node)
        comments = [line.partition("  # ")[2].strip() for line in lines[node.lineno - 1 : node.end_lineno]]
        found.append((text, "".join(comments), imports_of(text, package).now))
    return found


def all_function_imports() -> Iterator[tuple[str, str, str, frozenset[str]]]:
    """Module, import, comment and imported modules for every import inside a function, module files included."""
    for folder in {*LIBRARIES.values(), *PANELS.values()}:
        files = [*folder.glob("CoWLandmarks*.py"), *folder.glob("CoWLandmarks*/**/*.py")]
        for path in sorted(files):
            parts = path.relative_to(folder).with_suffix("").parts
            for found in function_imports(path.read_text(encoding="utf-8"), ".".join(parts[:-1])):
                yield (".".join(parts), *found)


def test_an_import_inside_a_function_says_why_it_is_not_at_the_top() -> None:
    unsaid = [f"{module}: {text}" for module, text, comment, _ in all_function_imports() if comment not in REASONS]
    assert unsaid == []


def test_an_import_for_start_up_time_brings_a_package_that_its_module_does_without() -> None:
    def brought(names: Iterable[str]) -> set[str]:
        return {package for name in names for package in third_party(modules()[name].now)}

    idle = []
    for module, text, comment, names in all_function_imports():
        if comment == "start-up time" and module in modules() and not third_party(names):
            later = {used for name in ours(names) for used in loaded_with(name)}
            if not brought(later) - brought(loaded_with(module)):
                idle.append(f"{module}: {text}")
    assert idle == []


def test_comments_behind_imports_are_read() -> None:
    source = "import io\ndef f():\n    import vtk  # optional\n    from .a import (\n        b,\n    )\n"
    assert function_imports(source, "top.sub") == [
        ("import vtk", "optional", frozenset({"vtk"})),
        ("from .a import b", "", frozenset({"top.sub.a", "top.sub.a.b"})),
    ]


@pytest.mark.slow
def test_a_missing_package_is_noticed() -> None:
    assert problems_without(("colorsys",), ("colorsys", "fractions")).keys() == {"colorsys"}
