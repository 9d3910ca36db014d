"""Temporary folders that say which process they belong to, so that what a killed one left behind can be removed.

They may hold scans of patients: a scan that is handed to a child process, or a scene that was unpacked.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import tempfile
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

from .process_identity import still_lives, this_process

OWNER_FILE = "owner.json"
OWNER_SCHEMA = "cow-handover/1"
MOST_DAYS = 7.0
"""A folder in which nothing changed for so long goes, where nobody can tell whether its process lives."""
SCAN, SCENE, TRAINING = "cow-landmarks-", "cow-scene-", "cow-training-"
"""What the names of the folders begin with: of a scan for a child process, an unpacked scene, a report of cases."""
_FOLDER_NAME = re.compile(rf"({SCAN}|{SCENE}|{TRAINING})[a-z0-9_]{{8}}")
_CONTENT = {
    SCAN: re.compile(r"owner.*\.json|.+\.nrrd|hint\.mrk\.json|\.?result-.+"),
    SCENE: re.compile(r"owner.*\.json"),
    TRAINING: re.compile(r"owner.*\.json|check\.json"),
}
"""What is in a folder of ours where no owner can be read: an earlier version did not write it, or it is damaged."""


def make_owned_folder(prefix: str, parent: Path | None = None) -> Path:
    """A new folder below `parent` (None: the system's) that belongs to this process; raises OSError.

    `prefix`: SCAN, SCENE or TRAINING.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    owner = {"schema": OWNER_SCHEMA, **this_process()}
    (folder / OWNER_FILE).write_text(json.dumps(owner), encoding="utf-8")
    return folder


class OwnedFolder:
    """Such a folder that is there until `remove`, or until nobody holds this object any more; raises OSError."""

    def __init__(self, prefix: str, parent: Path | None = None) -> None:
        self.path = make_owned_folder(prefix, parent)
        self._remove = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)

    def remove(self) -> None:
        """Remove it with everything in it."""
        self._remove()


def remove_orphans(parent: Path, now: float | None = None) -> list[Path]:
    """Remove the folders below `parent` whose process is gone without having removed them; returns those.

    Where that cannot be known (another computer, a folder of an earlier version) those go in which nothing changed for
    MOST_DAYS. Folders of living processes, of other users, and whatever is not ours, stay. Raises nothing.
    """
    removed = []
    for folder in _folders(parent):
        lives = still_lives(_owner(folder))
        if lives is None:
            lives = _newest(folder) > (time.time() if now is None else now) - MOST_DAYS * 86400.0
        if not lives:
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder)
    return removed


def _folders(parent: Path) -> list[Path]:
    """Hand-over folders of this user."""
    found = []
    with suppress(OSError):
        for folder in sorted(parent.iterdir()):
            with suppress(OSError):
                if _FOLDER_NAME.fullmatch(folder.name) and not folder.is_symlink() and _is_ours(folder):
                    found.append(folder)
    return found


def _is_ours(folder: Path) -> bool:
    if not folder.is_dir() or (hasattr(os, "getuid") and folder.stat().st_uid != os.getuid()):
        return False
    return bool(_owner(folder)) or _looks_like_ours(folder)


def _looks_like_ours(folder: Path) -> bool:
    """Whether a folder without an owner is as we make them: private, of one scan or report, and nothing else in it.

    A person's own folder may have such a name, too; what is not sure stays.
    """
    if os.name == "posix" and stat.S_IMODE(folder.stat().st_mode) != 0o700:
        return False
    names = [path.name for path in folder.iterdir()]
    content = next(pattern for prefix, pattern in _CONTENT.items() if folder.name.startswith(prefix))
    one_scan = sum(name.endswith(".nrrd") for name in names) <= 1
    return bool(names) and one_scan and all(content.fullmatch(name) for name in names)


def _owner(folder: Path) -> dict[str, Any]:
    """What the owner file says; empty where there is none that can be read."""
    try:
        content = json.loads((folder / OWNER_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and content.get("schema") == OWNER_SCHEMA else {}


def _newest(folder: Path) -> float:
    """When something changed in a folder, in seconds since 1970."""
    newest = 0.0
    with suppress(OSError):  # somebody else may be removing it
        for path in (folder, *folder.iterdir()):
            newest = max(newest, path.stat().st_mtime)
    return newest
