"""Batches for a trainer, made ahead in a second thread if wanted, without losing the place to resume from."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from .batch import Batch, EpochSampler, Sampler
from .checkpoint import random_state, set_random_state


@dataclass(frozen=True)
class Place:
    """Where a sampler stands: state of its random numbers, and samples given so far (None: it does not count)."""

    random: str
    position: int | None


class Feed:
    """Iterator over a sampler's batches; `place` is where the sampler stood after the batch given last.

    With `ahead` > 0 a thread makes that many batches in advance. `close` puts the sampler back to `place`.
    """

    def __init__(self, sampler: Sampler, rng: np.random.Generator, ahead: int = 0) -> None:
        self._sampler, self._rng, self._ahead = sampler, rng, ahead
        self._pool = ThreadPoolExecutor(1, "batches") if ahead else None
        self._waiting: deque[Future[tuple[Batch, Place]]] = deque()
        self.place = self._here()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if self._pool is None:
            batch, self.place = self._make()
            return batch
        while len(self._waiting) <= self._ahead:
            self._waiting.append(self._pool.submit(self._make))
        batch, self.place = self._waiting.popleft().result()
        return batch

    def close(self) -> None:
        """Stop the thread and forget what was made ahead."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._waiting.clear()
            self._pool = None
            self.go_to(self.place)

    def go_to(self, place: Place) -> None:
        """Continue from another place."""
        set_random_state(self._rng, place.random)
        if isinstance(self._sampler, EpochSampler) and place.position is not None:
            self._sampler.position = place.position
        self.place = place

    def _make(self) -> tuple[Batch, Place]:
        return self._sampler(self._rng), self._here()

    def _here(self) -> Place:
        counted = self._sampler.position if isinstance(self._sampler, EpochSampler) else None
        return Place(random_state(self._rng), counted)
