"""Where the results of a batch lie: each in a folder of its own. Another layout: `pipeline/bids_layout.py`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

from .result_folders import RECORD_FILE, check_free, result_folder


class ResultLayout(Protocol):
    """Places and names of the files of results below one directory."""

    def name_of(self, scan: Path, wished: str | None) -> str | None:
        """The name of a scan's result, `wished` where any will do; raises ConfigurationError where there is none."""

    def file(self, name: str, usual: str) -> Path:
        """Where the file of a result lies that is usually called `usual`."""

    def record(self, name: str) -> Path:
        """Where the record of a result lies; its files lie beside it."""

    def records(self) -> Iterator[Path]:
        """The records of all results, sorted."""

    def result_of(self, record: Path) -> str:
        """The name of the result that a record belongs to."""

    def shown(self, name: str) -> Path:
        """The folder in which a result lies."""

    def check_free(self, name: str, force: bool) -> None:
        """Raise OutputError if something is there that this call may not replace."""

    def result(
        self, name: str, force: bool, uninterrupted: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> AbstractContextManager[Path]:
        """A hidden folder to write the files of a result to; they are in place when the block succeeds."""

    def arrange(self, folder: Path, name: str) -> None:
        """Give the files in the hidden folder the names of the layout."""

    def remove_leftovers(self, name: str) -> None:
        """Remove the hidden folders that a killed process left of a result."""


class SeparateFolders:
    """`DIR/<name>/` with the files of a result under their usual names."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def name_of(self, scan: Path, wished: str | None) -> str | None:
        """The name that was wished."""
        return wished

    def file(self, name: str, usual: str) -> Path:
        """`DIR/<name>/<usual>`."""
        return self._directory / name / usual

    def record(self, name: str) -> Path:
        """`DIR/<name>/record.json`."""
        return self.file(name, RECORD_FILE)

    def records(self) -> Iterator[Path]:
        """The records of all results, sorted; hidden folders hold none."""
        for path in sorted(self._directory.glob(f"*/{RECORD_FILE}")):
            if not path.parent.name.startswith("."):
                yield path

    def result_of(self, record: Path) -> str:
        """The name of the folder."""
        return record.parent.name

    def shown(self, name: str) -> Path:
        """`DIR/<name>`."""
        return self._directory / name

    def check_free(self, name: str, force: bool) -> None:
        """Raise OutputError if something is there that this call may not replace."""
        check_free(self._directory, name, force)

    def result(
        self, name: str, force: bool, uninterrupted: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> AbstractContextManager[Path]:
        """A hidden folder that becomes the result folder when the block succeeds."""
        return result_folder(self._directory, name, force, uninterrupted)

    def arrange(self, folder: Path, name: str) -> None:
        """The files have their names already."""

    def remove_leftovers(self, name: str) -> None:
        """Remove the hidden folders that a killed process left of a result."""
        remove_hidden(self._directory, name)


def remove_hidden(directory: Path, name: str) -> None:
    """Remove the hidden folders in which `result_folder` prepared or set aside a result of this name."""
    if not directory.is_dir():
        return
    for entry in directory.iterdir():
        if entry.name.startswith((f".{name}.partial-", f".{name}.replaced-")):
            shutil.rmtree(entry, ignore_errors=True)  # what cannot be removed is hidden and harms nobody
