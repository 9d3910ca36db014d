"""One row of the table of bad input: how it is made, what is called, and what has to come of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

Maker = Callable[[Path], Sequence[object]]
"""Makes the files of a case in an empty folder; returns the arguments of `cowlandmarks`."""

FEW_FILES = ("--no-arteries", "--no-scene", "--no-pictures")


@dataclass(frozen=True)
class BadCase:
    """`fragments` have to be in the one sentence; `real` cases run networks instead of a fixed detector."""

    id: str
    make: Maker
    fragments: tuple[str, ...]
    code: int = 1
    real: bool = False


def detect(folder: Path, scan: object, *more: object) -> list[object]:
    """The arguments of a detection into `folder`/out."""
    return ["detect", scan, "--out", folder / "out", *FEW_FILES, *more]


def on_bytes(name: str, content: bytes) -> Maker:
    """A case of one file of these bytes."""

    def make(folder: Path) -> Sequence[object]:
        (folder / name).write_bytes(content)
        return detect(folder, folder / name)

    return make
