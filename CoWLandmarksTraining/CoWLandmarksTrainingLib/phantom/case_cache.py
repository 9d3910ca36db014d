"""Phantom cases for training as small files, each rendered when it is first wanted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import numpy as np
import torch
from CoWLandmarksLib.core.errors import OutputError
from CoWLandmarksLib.core.intensity import DEFAULT_INTENSITY_RULES
from CoWLandmarksLib.core.volume import Modality

from ..config.settings import PHANTOM_VERSION
from .circle_cases import CircleCase, render_circle_case
from .training_cases import CoarseCase, FineCase, render_training_case

_CPU = torch.device("cpu")


class CaseKind(str, Enum):
    """HEAD: the coarse field and the fine windows, which are rendered together; CIRCLE: the whole circle."""

    HEAD = "head"
    CIRCLE = "circle"


def coarse_case(folder: Path, seed: int, index: int, version: int = PHANTOM_VERSION) -> CoarseCase:
    """The field of view of case `index` of the stream `seed`, for the coarse network."""
    with np.load(_rendered_head(folder, seed, index, version)) as content:
        return CoarseCase(
            content["coarse_image"],
            content["coarse_landmarks"],
            content["coarse_status"],
            _kind(content),
            _values(content, "coarse_values"),
        )


def fine_case(folder: Path, seed: int, index: int, window: int, version: int = PHANTOM_VERSION) -> FineCase:
    """One of the windows of a case, for the fine network."""
    with np.load(_rendered_head(folder, seed, index, version)) as content:
        return FineCase(
            content["fine_image"][window],
            content["fine_landmarks"][window],
            content["fine_status"][window],
            _kind(content),
            content["fine_origin"][window],
            _values(content, "fine_values", window),
        )


def fill(
    folder: Path, seed: int, count: int, version: int = PHANTOM_VERSION, kinds: tuple[CaseKind, ...] = tuple(CaseKind)
) -> Iterator[tuple[int, int]]:
    """Render, with one thread, the first `count` cases of the stream `seed` that are not there yet.

    Yields (cases that are there, files just rendered). A training in the same folder takes what is there and renders
    the rest itself; what it learns does not depend on who rendered a case. Raises OutputError.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for index in range(count):
            rendered = 0
            for kind in kinds:
                make = _rendered_head if kind is CaseKind.HEAD else _rendered_circle
                rendered += not _path(folder, kind, seed, index, version).exists()
                make(folder, seed, index, version)
            yield index + 1, rendered
    finally:
        torch.set_num_threads(threads)


def circle_case(folder: Path, seed: int, index: int, version: int = PHANTOM_VERSION) -> CircleCase:
    """The whole circle of a case, for the circle network."""
    with np.load(_rendered_circle(folder, seed, index, version)) as content:
        return CircleCase(
            content["image"], content["landmarks"], content["status"], _kind(content), _values(content, "values")
        )


def _path(folder: Path, kind: CaseKind, seed: int, index: int, version: int) -> Path:
    return folder / f"{kind.value}{_mark(version)}-{seed}-{index:07d}.npz"


def _rendered_circle(folder: Path, seed: int, index: int, version: int) -> Path:
    """The file of the whole circle of a case."""
    path = _path(folder, CaseKind.CIRCLE, seed, index, version)
    if not path.exists():
        case = render_circle_case(seed, index, _CPU, version)
        _write(
            path,
            modality=np.array(case.modality),
            image=case.image,
            landmarks=case.landmarks,
            status=case.status,
            values=np.array(case.values),
        )
    return path


def _rendered_head(folder: Path, seed: int, index: int, version: int) -> Path:
    """The file of the coarse field and the fine windows of a case, which are rendered together."""
    path = _path(folder, CaseKind.HEAD, seed, index, version)
    if not path.exists():
        coarse, fine = render_training_case(seed, index, _CPU, version)
        _write(
            path,
            modality=np.array(coarse.modality),
            coarse_image=coarse.image,
            coarse_landmarks=coarse.landmarks,
            coarse_status=coarse.status,
            coarse_values=np.array(coarse.values),
            fine_image=np.stack([case.image for case in fine]),
            fine_landmarks=np.stack([case.landmarks for case in fine]),
            fine_status=np.stack([case.status for case in fine]),
            fine_origin=np.stack([case.origin for case in fine]),
            fine_values=np.array([case.values for case in fine]),
        )
    return path


def _write(path: Path, **arrays: np.ndarray) -> None:
    """Write a case atomically: several processes may render the same one. Raises OutputError."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if path.exists():  # another process was quicker, and Windows replaces no file that is being read
            return
        raise OutputError(
            f"The phantom '{path}' cannot be written ({error.strerror or error}); make room on the disk."
        ) from error


def _mark(version: int) -> str:
    """What the name of a file says of the version: nothing for version 3, as it was before there were others."""
    return "" if version == 3 else f"-v{version}"


def _kind(content: np.lib.npyio.NpzFile) -> str:
    return str(content["modality"])


def _values(content: np.lib.npyio.NpzFile, name: str, row: int | None = None) -> tuple[float, float]:
    """Network values of the bytes 0 and 255; files from before they were kept have those of the modality's rule."""
    if name not in content:
        rule = DEFAULT_INTENSITY_RULES[Modality(_kind(content))]
        return rule.low, rule.high
    low, high = content[name] if row is None else content[name][row]
    return float(low), float(high)
