"""Training cases as small files, one for all three networks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from .circle_cases import CircleCase, render_circle_case
from .training_cases import CoarseCase, FineCase, render_training_case


def training_case_path(folder: Path, seed: int, index: int) -> Path:
    """The file of one cached case."""
    return folder / f"{seed}-{index:07d}.npz"


def cache_training_cases(folder: Path, seed: int, indices: Iterator[int] | range, device: torch.device) -> None:
    """Render cases into `folder` (one file each, written atomically); existing ones are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in indices:
        path = training_case_path(folder, seed, index)
        if path.exists():
            continue
        coarse, fine = render_training_case(seed, index, device)
        circle = render_circle_case(seed, index, device)
        write_case(
            path,
            modality=np.array(coarse.modality),
            coarse_image=coarse.image,
            coarse_landmarks=coarse.landmarks,
            coarse_status=coarse.status,
            fine_image=np.stack([case.image for case in fine]),
            fine_landmarks=np.stack([case.landmarks for case in fine]),
            fine_status=np.stack([case.status for case in fine]),
            circle_image=circle.image,
            circle_landmarks=circle.landmarks,
            circle_status=circle.status,
        )


def write_case(path: Path, **arrays: np.ndarray) -> None:
    """Write a cached case atomically; until it is whole its name does not end in .npz, which samplers look for."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with temporary.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]
    temporary.replace(path)


def read_coarse_case(path: Path) -> CoarseCase:
    """The coarse part of a cached case."""
    with np.load(path) as content:
        return CoarseCase(
            content["coarse_image"], content["coarse_landmarks"], content["coarse_status"], str(content["modality"])
        )


def read_fine_case(path: Path, window: int) -> FineCase:
    """One fine window of a cached case."""
    with np.load(path) as content:
        return FineCase(
            content["fine_image"][window],
            content["fine_landmarks"][window],
            content["fine_status"][window],
            str(content["modality"]),
        )


def read_circle_case(path: Path) -> CircleCase:
    """The whole circle of a cached case."""
    with np.load(path) as content:
        return CircleCase(
            content["circle_image"], content["circle_landmarks"], content["circle_status"], str(content["modality"])
        )
