"""The CMake file lists and the tree say the same: a file that is not listed is missing in the packaged extension."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from list_module_files import KINDS, MODULES, ROOT, files_in_cmake, files_in_tree, write_lists

LARGEST_FILE_BYTES = 16 * 1024 * 1024
LARGEST_MODEL_BYTES = 25 * 1024 * 1024
MODEL_ENDING = ".cow.pt"


def largest_bytes(name: str) -> int:
    """How large a file that is packaged may be."""
    return LARGEST_MODEL_BYTES if name.endswith(MODEL_ENDING) else LARGEST_FILE_BYTES


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_file_of_a_module_is_listed_once(module: str, kind: str) -> None:
    listed = files_in_cmake(module)[kind]
    assert sorted(set(listed)) == sorted(listed), "a file is listed twice"
    missing = sorted(set(files_in_tree(module)[kind]) - set(listed))
    assert not missing, f"run 'make lists': {module}/CMakeLists.txt does not name {', '.join(missing)}"


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_listed_file_exists_and_is_packaged(module: str, kind: str) -> None:
    listed = files_in_cmake(module)[kind]
    absent = [name for name in listed if not (ROOT / module / name).is_file()]
    assert not absent, f"run 'make lists': {module} has no {', '.join(absent)}"
    ignored = sorted(set(listed) - set(files_in_tree(module)[kind]))
    assert not ignored, f"git ignores {', '.join(ignored)}: a fresh clone would not have it"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_its_file_its_icon_and_no_heavy_file(module: str) -> None:
    listed = files_in_cmake(module)
    assert f"{module}.py" in listed["scripts"]
    assert f"Resources/Icons/{module}.png" in listed["resources"]
    for name in listed["scripts"] + listed["resources"]:
        size, limit = (ROOT / module / name).stat().st_size, largest_bytes(name)
        assert size <= limit, f"{name} has {size / 2**20:.1f} MB; at most {limit / 2**20:.0f} MB are allowed"


def test_the_models_together_stay_small() -> None:
    models = [ROOT / m / name for m in MODULES for name in files_in_tree(m)["resources"] if name.endswith(MODEL_ENDING)]
    assert sum(model.stat().st_size for model in models) <= LARGEST_MODEL_BYTES


@pytest.mark.parametrize(
    ("name", "megabytes"), [("Models/default.cow.pt", 25), ("other.pt", 16), ("sample.nii.gz", 16)]
)
def test_only_model_files_may_be_larger(name: str, megabytes: int) -> None:
    assert largest_bytes(name) == megabytes * 2**20


def test_the_extension_builds_every_module() -> None:
    text = re.sub(r"#.*", "", (ROOT / "CMakeLists.txt").read_text(encoding="utf-8"))
    assert tuple(re.findall(r"add_subdirectory\((\w+)\)", text)) == MODULES


def test_names_in_the_shared_module_folder_are_unique() -> None:
    names = [name for module in MODULES for names in files_in_cmake(module).values() for name in names]
    assert sorted(names) == sorted(set(names)), "modules of an extension are installed into one folder"


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_writing_the_lists_names_new_files_and_forgets_deleted_and_ignored_ones(tmp_path: Path) -> None:
    module = tmp_path / "CoWLandmarks"
    (module / "CoWLandmarksLib" / "Resources").mkdir(parents=True)
    shutil.copy(ROOT / "CoWLandmarks" / "CMakeLists.txt", module)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / ".gitignore").write_text("__pycache__/\n", encoding="utf-8")
    for name in ("CoWLandmarks.py", "CoWLandmarksLib/__init__.py", "CoWLandmarksLib/Resources/anatomy.json"):
        (module / name).write_text("", encoding="utf-8")
    (module / "__pycache__").mkdir()
    (module / "__pycache__" / "CoWLandmarks.py").write_text("", encoding="utf-8")

    assert write_lists("CoWLandmarks", tmp_path)
    assert files_in_cmake("CoWLandmarks", tmp_path) == {
        "scripts": ["CoWLandmarks.py", "CoWLandmarksLib/__init__.py"],
        "resources": ["CoWLandmarksLib/Resources/anatomy.json"],
    }
    assert not write_lists("CoWLandmarks", tmp_path), "a second call changes nothing"
