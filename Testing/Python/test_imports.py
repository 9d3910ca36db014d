"""The floors of the house: what a module may import, and what it must do without."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest
from aligned_beads import write_bead_cohort
from CoWLandmarksLib.model import load_model
from CoWLandmarksTrainingLib.settings import STAGE_NAMES
from tiny_training import tiny_words

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "CoWLandmarks" / "CoWLandmarksLib"
TRAINING = ROOT / "CoWLandmarksTraining" / "CoWLandmarksTrainingLib"

CORE_PACKAGES = {"numpy", "scipy", "torch", "SimpleITK", "CoWLandmarksLib"}
TRAVELLING_PACKAGES = {"numpy", "scipy", "torch", "CoWLandmarksLib", "CoWLandmarksTrainingLib"}
APPLICATION = ("slicer", "slicer_core", "vtk", "vtkmodules", "qt", "ctk", "mrml", "sitkUtils")
SCENE = ("CoWLandmarksLib.scene", "CoWLandmarksLib.review")
"""Floor 2 of the library, which alone speaks MRML: `scene` and its parts `scene_...`, and the review in a scene."""
LAZY_VTK = {"CoWLandmarksLib.report", "CoWLandmarksLib.picture", "CoWLandmarksLib.canvas"}
"""The report and its parts, which may import vtk inside a function, for pictures."""

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


def modules_below(package: Path) -> dict[str, Path]:
    """Files of a package by the name under which they are imported."""
    modules = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def imported_packages(path: Path, *, at_file_scope: bool) -> set[str]:
    """Top-level packages that a file imports absolutely, at file scope or inside functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return set(_imports(tree, inside=not at_file_scope, now_inside=False))


def _imports(node: ast.AST, *, inside: bool, now_inside: bool) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if _is_type_checking(child):
            continue
        if inside == now_inside:
            if isinstance(child, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.level == 0 and child.module:
                yield child.module.partition(".")[0]
        in_function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        yield from _imports(child, inside=inside, now_inside=now_inside or in_function)


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


@lru_cache
def problems_without(blocked: tuple[str, ...], names: tuple[str, ...]) -> dict[str, str]:
    """Import `names` in a fresh interpreter where `blocked` packages are missing; returns what failed."""
    path = [str(CORE.parent), str(TRAINING.parent)]
    code = f"import sys; sys.path[:0] = {path!r}\n{IMPORT_ALL}"
    run = subprocess.run(
        [sys.executable, "-c", code, json.dumps([blocked, names])], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    problems: dict[str, str] = json.loads(run.stdout.splitlines()[-1])
    return problems


CORE_MODULES = {name: path for name, path in modules_below(CORE).items() if not name.startswith(SCENE)}
TRAINING_MODULES = modules_below(TRAINING)
ON_A_CARD = ("settings", "trainer", "training", "training_data", "training_commands", "evaluation", "processes")
TRAVELLING = tuple(
    name
    for name in TRAINING_MODULES
    if name.startswith("CoWLandmarksTrainingLib.phantom") or name.rpartition(".")[2] in ON_A_CARD
)
"""What goes to a machine with a GPU that has torch but neither SimpleITK nor vtk nor Slicer."""

IN_SLICERS_PROCESS = (
    *(name for name in modules_below(CORE) if name.startswith(SCENE)),
    *(
        f"CoWLandmarksLib.{name}"
        for name in (
            "anatomy",
            "annotation_files",
            "case_folder",
            "comparison",
            "detection",
            "given",
            "jobs",
            "markups",
            "outputs",
            "report",
            "schematic",
        )
    ),
    *(
        f"CoWLandmarksTrainingLib.{name}"
        for name in (
            "attached_command",
            "config_file",
            "detached_job",
            "improvement",
            "job_files",
            "log_following",
            "panel_data",
            "rejection",
            "scene_plots",
            "settings",
            "training_command",
            "training_config",
            "training_effort",
        )
    ),
)
"""What the panels use: torch may not be installed yet, and numeric work belongs to the child process."""


@pytest.mark.parametrize("name", CORE_MODULES)
def test_the_core_imports_without_slicer_vtk_and_qt(name: str) -> None:
    assert name not in problems_without(APPLICATION, tuple(CORE_MODULES))


@pytest.mark.parametrize("name", CORE_MODULES)
def test_the_core_imports_only_its_few_packages(name: str) -> None:
    allowed = CORE_PACKAGES | sys.stdlib_module_names
    path = CORE_MODULES[name]
    assert imported_packages(path, at_file_scope=True) <= allowed
    lazily = {"vtk", "vtkmodules"} if name in LAZY_VTK else set()
    assert imported_packages(path, at_file_scope=False) <= allowed | lazily


@pytest.mark.parametrize("name", modules_below(CORE))
def test_the_core_never_imports_the_training_library(name: str) -> None:
    path = modules_below(CORE)[name]
    everything = imported_packages(path, at_file_scope=True) | imported_packages(path, at_file_scope=False)
    assert "CoWLandmarksTrainingLib" not in everything


@pytest.mark.parametrize("name", TRAVELLING)
def test_phantom_and_trainer_import_without_simpleitk_vtk_and_slicer(name: str) -> None:
    assert name not in problems_without(("SimpleITK", *APPLICATION), TRAVELLING)
    assert (
        imported_packages(TRAINING_MODULES[name], at_file_scope=True) <= TRAVELLING_PACKAGES | sys.stdlib_module_names
    )


@pytest.mark.parametrize("name", IN_SLICERS_PROCESS)
def test_what_slicers_own_process_uses_does_without_torch_simpleitk_and_scipy(name: str) -> None:
    assert name not in problems_without(("torch", "SimpleITK", "scipy"), IN_SLICERS_PROCESS)


def test_there_is_a_phantom_that_travels() -> None:
    assert TRAVELLING
    assert {name.rpartition(".")[2] for name in TRAVELLING} > set(ON_A_CARD)


def trained_without(blocked: tuple[str, ...], words: list[str]) -> subprocess.CompletedProcess[str]:
    """`cowlandmarks-train WORDS` in a fresh interpreter where `blocked` packages are missing."""
    path = [str(CORE.parent), str(TRAINING.parent)]
    probe = (
        f"import sys; sys.path[:0] = {path!r}; sys.modules.update(dict.fromkeys({blocked!r}))\n"
        "from CoWLandmarksTrainingLib import training_data; training_data.SHAPE_SAMPLES = 40  # for speed\n"
        f"from CoWLandmarksTrainingLib.__main__ import main; sys.exit(main({words!r}))"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-c", probe], env=environment, capture_output=True, text=True)


def test_a_training_on_phantoms_runs_without_simpleitk_vtk_and_slicer(tmp_path: Path) -> None:
    words = ["default", "--preset", "small", "--out", str(tmp_path / "work"), "--device", "cpu"]
    few = ["--set", "data.phantom_cases=1", "--set", "training.calibration_scans=1"]
    done = trained_without(("SimpleITK", *APPLICATION), [*words, *few, "--state-to", str(tmp_path / "carried")])
    assert done.returncode == 0, done.stderr
    assert "The model is" in done.stdout
    model = load_model(tmp_path / "work" / "model.cow.pt")
    assert [name for name, _ in model.stages] == list(STAGE_NAMES)
    assert all(model.provenance[name]["steps"] == 4 for name in STAGE_NAMES)
    states = {f"state-{name}.pt" for name in STAGE_NAMES} | {f"log-{name}.jsonl" for name in STAGE_NAMES}
    assert {path.name for path in (tmp_path / "carried").iterdir()} == states


def test_a_training_on_a_cohort_runs_without_simpleitk_vtk_and_slicer(tmp_path: Path) -> None:
    write_bead_cohort(tmp_path / "aligned", mra=1, sets=1, validation=1)
    done = trained_without(
        ("SimpleITK", *APPLICATION), tiny_words(tmp_path / "aligned", tmp_path / "out", pretrain=1, adversarial=1)
    )
    assert done.returncode == 0, done.stderr
    assert load_model(tmp_path / "out" / "model.cow.pt").provenance["fine"]["steps"] == 2
    assert "No picture of step 2" in done.stderr


@pytest.mark.parametrize("module", ["CoWLandmarks", "CoWLandmarksTraining"])
def test_a_slicer_module_file_imports_only_what_slicer_brings(module: str) -> None:
    brought = {"numpy", "SimpleITK", "vtk", "slicer", "qt", "ctk"} | sys.stdlib_module_names
    own = {"CoWLandmarksLib", f"{module}Lib", f"{module}Panel"}
    assert imported_packages(ROOT / module / f"{module}.py", at_file_scope=True) <= brought | own


@pytest.mark.parametrize(
    ("source", "file_scope", "functions"),
    [
        ("import numpy.linalg\nfrom torch import nn\n", {"numpy", "torch"}, set()),
        ("def f():\n    import vtk\n", set(), {"vtk"}),
        ("class A:\n    import qt\n    def f(self):\n        from slicer import util\n", {"qt"}, {"slicer"}),
        ("try:\n    import ctk\nexcept ImportError:\n    pass\n", {"ctk"}, set()),
        ("from . import anatomy\nfrom .errors import VolumeError\n", set(), set()),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import vtk\n", {"typing"}, set()),
    ],
)
def test_imports_are_told_apart_by_their_place(
    tmp_path: Path, source: str, file_scope: set[str], functions: set[str]
) -> None:
    path = tmp_path / "module.py"
    path.write_text(source, encoding="utf-8")
    assert imported_packages(path, at_file_scope=True) == file_scope
    assert imported_packages(path, at_file_scope=False) == functions


def test_a_missing_package_is_noticed() -> None:
    assert problems_without(("colorsys",), ("colorsys", "fractions")).keys() == {"colorsys"}
