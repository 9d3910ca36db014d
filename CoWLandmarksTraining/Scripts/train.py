"""Training without a window, in 3D Slicer or with plain Python.

    Slicer --no-main-window --python-script train.py --config training.toml
    python train.py --config training.toml         # or PythonSlicer, Slicer's own Python

aligns the cohort and trains on it, as the configuration says (`cowlandmarks-train run`). Any other command of
cowlandmarks-train may stand in front: `train.py check COHORT`. The exit code tells how it went. No Qt is imported.

On a computer without a display (Linux: a server, a cluster, a container) the two Pythons need nothing more. Slicer ends
there before it reads this script, unless it is started without one, or is given one:

    QT_QPA_PLATFORM=offscreen Slicer --no-main-window --python-script train.py --config training.toml
    xvfb-run -a Slicer --no-main-window --python-script train.py --config training.toml
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_SOURCES = Path(__file__).resolve().parents[2]
for _folder in (_SOURCES / "CoWLandmarksTraining", _SOURCES / "CoWLandmarks"):
    # In Slicer's module folder, or when installed, the packages are found without this.
    if (_folder / f"{_folder.name}Lib").is_dir() and str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))


def command_of(arguments: Sequence[str]) -> list[str]:
    """The command line of cowlandmarks-train that the arguments of the script mean; `--` in front is left out."""
    own = list(arguments[1:] if arguments and arguments[0] == "--" else arguments)
    return own if own and not own[0].startswith("-") else ["run", *own]


def in_application() -> bool:
    """Whether Slicer itself runs this script, not only its Python."""
    return hasattr(sys.modules.get("slicer"), "app")


def display_note(environment: Mapping[str, str], platform: str) -> str:
    """What to say in Slicer when it holds a display, with which it would end; empty where it needs none."""
    display = environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")
    own = "xvfb-run" in environment.get("XAUTHORITY", "")
    if not platform.startswith("linux") or environment.get("QT_QPA_PLATFORM") or not display or own:
        return ""
    return (
        f"Note: this Slicer uses the display '{display}' and ends with it (a closed ssh connection, a logout); "
        "started with QT_QPA_PLATFORM=offscreen, or under xvfb-run, it needs none."
    )


def finish(code: int) -> None:
    """Leave with an exit code, through the application where there is one."""
    if in_application():
        sys.stdout.flush()
        sys.modules["slicer"].util.exit(int(code))
    else:
        sys.exit(code)


if __name__ == "__main__":
    from CoWLandmarksTrainingLib.__main__ import main

    arguments = command_of(sys.argv[1:])
    if arguments in (["run", "-h"], ["run", "--help"]):
        print(__doc__)
    if in_application() and (note := display_note(os.environ, sys.platform)):
        print(note, file=sys.stderr, flush=True)
    finish(main(arguments))
