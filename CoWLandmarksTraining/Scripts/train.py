"""Training without a window, in 3D Slicer or with plain Python.

    Slicer --no-main-window --python-script train.py --config training.toml
    python train.py --config training.toml

aligns the cohort and trains on it, as the configuration says (`cowlandmarks-train run`). Any other command of
cowlandmarks-train may stand in front: `train.py check COHORT`. The exit code tells how it went. No Qt is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

_SOURCES = Path(__file__).resolve().parents[2]
for _folder in (_SOURCES / "CoWLandmarksTraining", _SOURCES / "CoWLandmarks"):
    # In Slicer's module folder, or when installed, the packages are found without this.
    if (_folder / f"{_folder.name}Lib").is_dir() and str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))


def command_of(words: Sequence[str]) -> list[str]:
    """The command line of cowlandmarks-train that the words behind the script mean; `--` in front is left out."""
    own = list(words[1:] if words and words[0] == "--" else words)
    return own if own and not own[0].startswith("-") else ["run", *own]


def finish(code: int) -> None:
    """Leave with an exit code, through the application where there is one."""
    slicer = sys.modules.get("slicer")
    if slicer is not None and hasattr(slicer, "app"):
        sys.stdout.flush()
        slicer.util.exit(code)
    else:
        sys.exit(code)


if __name__ == "__main__":
    from CoWLandmarksTrainingLib.__main__ import main

    finish(main(command_of(sys.argv[1:])))
