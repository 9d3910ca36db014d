"""What the provenance of a model tells of the cases that it has learnt from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def known_seeds(told: Any, *, are_seeds: bool = False) -> Iterator[int]:
    """Seeds in a model's provenance: its own, its networks', those of their cases and of the models before it.

    A provenance is free in form; what is no whole number is passed over. `are_seeds`: all numbers in it are.
    """
    if isinstance(told, Mapping):
        for key, value in told.items():
            if key not in ("calibration", "plan"):
                yield from known_seeds(value, are_seeds=are_seeds or key in ("seed", "case_seeds"))
    elif isinstance(told, (list, tuple)):
        for value in told:
            yield from known_seeds(value, are_seeds=are_seeds)
    elif are_seeds and isinstance(told, int) and not isinstance(told, bool):
        yield told
