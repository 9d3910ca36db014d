"""Result folders: their names, and their delivery all at once or not at all."""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import shutil
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from ..core.errors import OutputError, short_path
from ..core.scan_files import is_readable_name

logger = logging.getLogger(__name__)

LANDMARKS_FILE = "landmarks.mrk.json"
TABLE_FILE = "landmarks.csv"
DETECTION_FILE = "detection.json"
PICTURE_FILE = "report.png"
SCENE_FILE = "scene.mrb"
SEGMENTATION_FILE = "arteries.seg.nrrd"
ARTERIES_FILE = "arteries.csv"
GRAPH_FILE = "arteries.graph.json"
CENTERLINES_FILE = "arteries.vtp"
LABELS_FILE = "arteries.{scheme}.nii.gz"
DICOM_SEGMENTATION_FILE = "arteries.seg.dcm"
DICOM_REPORT_FILE = "landmarks.sr.dcm"
SURFACES_FILE = "arteries.surfaces.npz"
RECORD_FILE = "record.json"
HEATMAP_FILE = "heatmap-{code}.nrrd"
RESULT_MARK = DETECTION_FILE
"""The file that tells a result folder of ours from a folder of somebody else."""

RUN_FILE, SUMMARY_FILE, PAGE_FILE, SHARD_FOLDER = "run.json", "summary.csv", "summary.html", "shards"
BATCH_FILES = (RUN_FILE, SUMMARY_FILE, PAGE_FILE, SHARD_FOLDER)
"""What lies beside the results of a batch; no result is called so."""

_MAX_NAME_BYTES = 160  # a file system allows 255; the temporary sibling adds to the name
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def safe_name(text: str) -> str:
    """`text` as a folder name that Windows, macOS and Linux all accept; long names end in a short digest."""
    readable = text.encode("utf-8", "replace").decode("utf-8")
    cleaned = re.sub(r'[<>:"/\\|?*\x00-\x1f\x7f]', "_", unicodedata.normalize("NFC", readable))
    cleaned = cleaned.strip().lstrip(".").rstrip(". ") or "scan"
    if _RESERVED.fullmatch(cleaned):
        cleaned = f"{cleaned}_"
    if len(cleaned.encode("utf-8")) > _MAX_NAME_BYTES:
        digest = hashlib.sha256(cleaned.encode("utf-8")).hexdigest()[:8]
        kept = cleaned.encode("utf-8")[: _MAX_NAME_BYTES - 9].decode("utf-8", "ignore")
        cleaned = f"{kept}-{digest}"
    return cleaned


class ResultNames:
    """Gives every scan of one call its own name: a second `head` becomes `head-2`, a third `head-3`.

    Names that differ only in case count as one, because Windows and macOS make them one folder.
    """

    def __init__(self) -> None:
        self._taken = set(BATCH_FILES)

    def claim(self, text: str) -> str:
        """A name that nobody else of this call has, as close to `text` as possible."""
        name = wished = safe_name(text)
        number = 1
        while name.casefold() in self._taken:
            number += 1
            name = f"{wished}-{number}"
        self._taken.add(name.casefold())
        return name


def check_free(directory: Path, name: str, force: bool) -> None:
    """Raise OutputError if `directory/name` holds something that this call may not replace."""
    if not is_readable_name(directory):
        raise OutputError(f"The name of {str(directory)!a} holds bytes that are no text (UTF-8); choose another.")
    target = directory / name
    try:
        if target.is_symlink() or (target.exists() and not target.is_dir()):
            raise OutputError(f"'{target}' exists and is no folder; choose another --out or remove it.")
        content = {entry.name for entry in target.iterdir()} if target.is_dir() else set()
    except OSError as error:
        raise _not_writable(target, error) from error
    if not content:
        return
    if not force:
        raise OutputError(f"'{target}' already holds a result; use --force to replace it or choose another --out.")
    if RESULT_MARK not in content and RECORD_FILE not in content:
        raise OutputError(
            f"'{target}' holds files but no {RESULT_MARK}, so it is no result of this program and is not "
            "replaced, not even with --force; choose another --out."
        )


@contextmanager
def result_folder(
    directory: Path,
    name: str,
    force: bool = False,
    uninterrupted: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Iterator[Path]:
    """Yield a hidden temporary folder to write to; it becomes `directory/name` when the block succeeds.

    If the block raises (or is interrupted) nothing new remains, and an earlier result is untouched. With
    `force` an earlier result is moved aside first and removed after the new one is in place. An interrupt waits
    while the contexts of `uninterrupted` last: folders are made, moved and removed in them. Raises OutputError,
    whose message names the final place.
    """
    check_free(directory, name, force)
    target = directory / name
    staging = directory / f".{name}.partial-{secrets.token_hex(4)}"
    made: list[Path] = []
    try:
        try:
            with uninterrupted():
                made = make_folders(directory)
                staging.mkdir()
        except OSError as error:
            raise _not_writable(target, error) from error
        yield staging
        try:
            with uninterrupted():
                _put_in_place(staging, target, force)
        except OSError as error:
            raise _not_writable(target, error) from error
    except OutputError as error:
        raise OutputError(str(error).replace(str(staging), str(target))) from error
    finally:
        with uninterrupted():
            if staging.exists():
                shutil.rmtree(staging, ignore_errors=True)  # the error that led here is on its way already
            remove_if_empty(made)


def _put_in_place(staging: Path, target: Path, force: bool) -> None:
    check_free(target.parent, target.name, force)  # somebody else may have delivered meanwhile
    if not target.exists():
        staging.rename(target)
        return
    aside = target.with_name(f".{target.name}.replaced-{secrets.token_hex(4)}")
    target.rename(aside)
    try:
        staging.rename(target)
    finally:
        if target.exists():
            _remove(aside)
        else:
            aside.rename(target)


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        logger.warning("The replaced result '%s' could not be removed: %s.", folder, error.strerror or error)


def make_folders(directory: Path) -> list[Path]:
    """Make `directory` with its parents; returns those that were missing, the innermost first."""
    missing = [folder for folder in (directory, *directory.parents) if not folder.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    return missing


def remove_if_empty(folders: list[Path]) -> None:
    """Remove folders that `make_folders` has made, as long as they are empty."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return  # something was delivered into it


def _not_writable(target: Path, error: OSError) -> OutputError:
    return OutputError(
        f"'{short_path(target)}' cannot be written: {error.strerror or error}; choose another --out or make room there."
    )
