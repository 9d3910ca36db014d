"""Compares the file lists in the modules' CMakeLists.txt with the tree; `--write` (or `make lists`) renews them.

A file counts when git tracks it or would track it (untracked and not ignored).
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULES = ("CoWLandmarks", "CoWLandmarksTraining")
KINDS = {"scripts": "MODULE_PYTHON_SCRIPTS", "resources": "MODULE_PYTHON_RESOURCES"}


def files_in_tree(module: str, root: Path = ROOT) -> dict[str, list[str]]:
    """Paths that must be packaged, relative to the module's folder, sorted, by kind ("scripts", "resources")."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    folder = root / module
    listed = subprocess.run(command, cwd=folder, check=True, capture_output=True).stdout.decode("utf-8")
    paths = sorted({path for path in listed.split("\0") if path and (folder / path).is_file()})
    packaged = [path for path in paths if Path(path).name not in ("CMakeLists.txt", ".gitkeep", ".gitignore")]
    return {
        "scripts": [path for path in packaged if path.endswith(".py")],
        "resources": [path for path in packaged if not path.endswith(".py")],
    }


def files_in_cmake(module: str, root: Path = ROOT) -> dict[str, list[str]]:
    """Paths that the module's CMakeLists.txt names, in its order, by kind."""
    text = (root / module / "CMakeLists.txt").read_text(encoding="utf-8")
    text = re.sub(r"#.*", "", text).replace("${MODULE_NAME}", module)
    listed = {}
    for kind, variable in KINDS.items():
        body = re.search(rf"set\({variable}\b([^)]*)\)", text)
        listed[kind] = body.group(1).split() if body else []
    return listed


def write_lists(module: str, root: Path = ROOT) -> bool:
    """Renew the lists between the marks; returns whether the file changed."""
    path = root / module / "CMakeLists.txt"
    before = text = path.read_text(encoding="utf-8")
    for kind, paths in files_in_tree(module, root).items():
        lines = "".join(f"  {name}\n" for name in paths)
        text, count = re.subn(
            rf"(?<=  # begin {kind}\n).*?(?=  # end {kind}\n)", lambda _, lines=lines: lines, text, flags=re.DOTALL
        )
        if count != 1:
            raise SystemExit(f"{path} lacks the marks '# begin {kind}' and '# end {kind}'.")
    path.write_text(text, encoding="utf-8")
    return text != before


def main(arguments: list[str]) -> int:
    """Report the differences (exit code 1 if there are any), or remove them with `--write`."""
    if arguments not in ([], ["--write"]):
        print(__doc__)
        return 1
    differences = 0
    for module in MODULES:
        if arguments:
            print(f"{module}/CMakeLists.txt: {'renewed' if write_lists(module) else 'was up to date'}")
            continue
        tree, cmake = files_in_tree(module), files_in_cmake(module)
        for kind in KINDS:
            for name in sorted(set(tree[kind]) ^ set(cmake[kind])):
                state = "not in the tree" if name in cmake[kind] else "not in the list"
                print(f"{module}/{name}: {state}")
                differences += 1
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
